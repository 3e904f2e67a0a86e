"""What `fetch` leaves in the state folder for the two containers that start after it.

`Resolved` is for the trainer, which sees the folder read-only; `Baseline` for the publisher. Neither carries a secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tftrainer import contract
from tftrainer.contract import Message, Pinned

RESOLVED_NAME: Final = "resolved.json"
BASELINE_NAME: Final = "baseline.json"
LOCK_NAME: Final = "trainer.lock"


class Resolved(Message, frozen=True):
    """The run, ready to start.

    `script` is the path of the entry script, `argv` the arguments after it, placeholders resolved. `cwd` is the working folder.
    `path` follows the script's folder on `sys.path`. `environment` holds the aliases of hosted platforms (`SM_MODEL_DIR`, …),
    never what the job's own `env` sets. With `already_done`, an earlier pod of this attempt has published its success: the
    script must not run again.
    """

    script: str
    cwd: str
    argv: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    already_done: bool = False


class FetchedFile(Message, frozen=True):
    """One object as it lay under the workspace's bucket folder when the script started.

    `path` is relative to that folder. `mtime_ns` and `inode` tell a rewritten file from an untouched one.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int


class Package(Message, frozen=True):
    """One installed package: `file` is the name of its wheel, `sha256` that file's digest."""

    name: str
    version: str
    file: str
    sha256: str


class Baseline(Message, frozen=True):
    """What was there before the script: unchanged files are not uploaded again.

    `script` and `archive` are code, `code` every object of `dependencies.files`, and `files_of_code` one pin for each of its entries;
    `inputs` are all other fetched objects. `packages` were installed from the index. `inline` is the text of a script that no object
    holds. With `conditional_writes` the store refuses to overwrite when it is asked to.
    """

    files: tuple[FetchedFile, ...] = ()
    script: Pinned | None = None
    archive: Pinned | None = None
    code: tuple[Pinned, ...] = ()
    files_of_code: tuple[Pinned, ...] = ()
    inline: str = ""
    inputs: tuple[Pinned, ...] = ()
    packages: tuple[Package, ...] = ()
    resolved_args: tuple[str, ...] = ()
    conditional_writes: bool = True
    already_done: bool = False


HandoverT = TypeVar("HandoverT", Resolved, Baseline)


def write(message: Resolved | Baseline, path: Path) -> None:
    """Write the message so that a reader sees all of it or nothing."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(msgspec.json.encode(message))
    temporary.replace(path)


def read(kind: type[HandoverT], path: Path) -> HandoverT:
    """Read what `write` wrote.

    Raises:
        contract.ContractError: the file is missing or is not such a message.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        raise contract.ContractError(f"{path} is not what fetch writes: {error}") from error
