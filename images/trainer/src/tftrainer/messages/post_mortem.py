"""`post-mortem.json`: what there is to read of an attempt that failed, in one small file beside its manifest."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tftrainer.messages.contract import CHIEF, Failure, Message, Notes, Usage

NAME: Final = "post-mortem.json"
VERSION: Final = 1
LINES: Final = 50
LINE_LIMIT: Final = 1000
"""Characters of a line, of a longer one its end."""
EVIDENCE_LIMIT: Final = 32
STACKS_LIMIT: Final = 64 * 1024
FINDINGS_LIMIT: Final = 1024**2
"""Bytes of encoded findings."""

Lines = Annotated[tuple[Annotated[str, Meta(max_length=LINE_LIMIT)], ...], Meta(max_length=LINES)]
Evidence = Annotated[tuple[Annotated[str, Meta(max_length=1024)], ...], Meta(max_length=EVIDENCE_LIMIT)]
Stacks = Annotated[str, Meta(max_length=STACKS_LIMIT)]


class Findings(Message, frozen=True):
    """What the launcher knows of the end: on what the verdict rests, the last lines of both streams, and where threads stood.

    Written beside user code: words. Without the credentials of the job, of which nobody else knows all.
    """

    evidence: Evidence = ()
    stdout: Lines = ()
    stderr: Lines = ()
    stacks: Stacks = ""


class PostMortem(Message, frozen=True):
    """One failed attempt of the replica `role` and `index`. Times are Unix seconds, sizes bytes.

    `exit_code` is the script's, `killed` tells whether it is that of a signal. `evidence` is in sentences what the failure was told from.
    `usage` is the most that the script has used, `workspace_limit`, `shared_memory_limit` and `usage.memory_limit` what it had. `notes` is
    what was told while it ran. `stdout` and `stderr` are the last lines of its output, `stacks` is where its threads stood when it did
    nothing any more. `versions` are those of Python, the kernel, the product, and the packages that count.
    """

    version: int
    namespace: str
    job: str
    uid: str
    attempt: int
    failure: Failure
    role: str = CHIEF
    index: int = 0
    runtime: str = ""
    image: str = ""
    exit_code: int | None = None
    killed: bool = False
    memory_kills: int = 0
    left_running: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    written_at: float = 0.0
    evidence: Evidence = ()
    usage: Usage | None = None
    workspace_limit: int = 0
    shared_memory_limit: int = 0
    gpus: int = 0
    notes: Notes = ()
    stdout: Lines = ()
    stderr: Lines = ()
    stacks: Stacks = ""
    logs_uri: str = ""
    versions: dict[str, str] = msgspec.field(default_factory=dict)


def last_lines(text: str) -> tuple[str, ...]:
    """Return the last lines of a text; of one that was overwritten on a terminal, as by a progress bar, what was last there."""
    lines = text.rstrip("\n").rsplit("\n", LINES)[-LINES:]
    shown = (line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return tuple(line[-LINE_LIMIT:] for line in shown) if text.strip() else ()
