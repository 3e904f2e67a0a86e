"""All wanted objects into the workspace, many small ones at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from tftrainer.contract import Pinned, Reason
from tftrainer.fetch.wanted import Wanted
from tftrainer.phase_error import PhaseError, clip
from tftrainer.progress import Progress
from tftrainer.storage.store import digest
from tftrainer.storage.transfer import GivenUpError

OBJECTS_AT_ONCE: Final = 8
CODE_ROLES: Final = frozenset({"script", "archive", "files"})


def all_findings(tasks: Iterable[Callable[[], None]]) -> list[PhaseError]:
    """Run the tasks, several at a time, and return every failure, in the order of the tasks."""

    def guarded(task: Callable[[], None]) -> PhaseError | None:
        try:
            task()
        except PhaseError as failed:
            return failed
        return None

    tasks = list(tasks)
    if len(tasks) == 1:
        found = [guarded(tasks[0])]
    else:
        with ThreadPoolExecutor(min(OBJECTS_AT_ONCE, len(tasks) or 1)) as pool:
            found = list(pool.map(guarded, tasks))
    return [failed for failed in found if failed is not None]


def fetch_all(wanted: Sequence[Wanted], staging: Path, progress: Progress) -> list[Pinned]:
    """Fetch every object to its place; the result is in the order of `wanted`, with digests of code.

    Raises:
        PhaseError: what went wrong first; it ends the other transfers too.
    """
    staging.mkdir()
    for folder in {each.target.parent for each in wanted}:
        make_folder(folder)
    pins: list[Pinned | None] = [None] * len(wanted)
    given_up = threading.Event()

    def fetch(index: int) -> None:
        each = wanted[index]
        if given_up.is_set():
            return
        temporary = staging / str(index)
        try:
            each.store.download(each.info, temporary, progress=progress.add, cancelled=given_up)
            pins[index] = _pinned(each, temporary)
        except GivenUpError:
            return
        except PhaseError:
            given_up.set()
            raise
        temporary.rename(each.target)
        progress.complete()

    failures = all_findings([partial(fetch, index) for index in range(len(wanted))])
    if failures and failures[0].failure.reason is Reason.PENDING_DEADLINE_EXCEEDED:
        found = failures[0].failure
        raise PhaseError(found.reason, f"{found.message}: {progress.words()}", found.hint)
    if failures:
        raise failures[0]
    staging.rmdir()
    return [pin for pin in pins if pin is not None]


def make_folder(folder: Path) -> None:
    """Create a folder and those above it.

    Raises:
        PhaseError: `InputConflict`, one of them is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise PhaseError(
            Reason.INPUT_CONFLICT, f"{folder} should be a folder, but an object of the job lies there", "rename the object or the folder"
        ) from None


def _pinned(each: Wanted, path: Path) -> Pinned:
    sha256 = digest(path) if any(named.role in CODE_ROLES or named.sha256 for named in each.names) else ""
    for named in each.names:
        if named.sha256 and named.sha256.lower() != sha256:
            raise PhaseError(
                Reason.DIGEST_MISMATCH,
                f"{each.uri} has the SHA-256 {sha256}, but {named.field.removesuffix('.uri')}.sha256 is {named.sha256}",
                "correct sha256, or put the right object back",
            )
    return Pinned(uri=clip(each.uri, 1200), sha256=sha256, bytes=each.info.size, etag=clip(each.info.etag, 128))
