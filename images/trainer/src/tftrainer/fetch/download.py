"""All wanted objects into the workspace, many small ones at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tftrainer.at_once import for_each
from tftrainer.fetch.pins import pinned
from tftrainer.fetch.selection import conflict
from tftrainer.fetch.wanted import Wanted
from tftrainer.messages.contract import Pinned, Reason
from tftrainer.phase_error import PhaseError
from tftrainer.progress import Progress
from tftrainer.storage.store import digest
from tftrainer.storage.transfer import GivenUpError

OBJECTS_AT_ONCE: Final = 8
Arrived = Callable[[int, Wanted, Path], None]
"""Is told of an object, by its number, that is whole at a path and not yet in its place."""


def all_findings(tasks: Sequence[Callable[[], None]]) -> list[PhaseError]:
    """Run the tasks, several at a time, and return every failure, in the order of the tasks."""

    def guarded(task: Callable[[], None]) -> PhaseError | None:
        try:
            task()
        except PhaseError as failed:
            return failed
        return None

    if len(tasks) == 1:
        found = [guarded(tasks[0])]
    else:
        with ThreadPoolExecutor(min(OBJECTS_AT_ONCE, len(tasks) or 1)) as pool:
            found = list(pool.map(guarded, tasks))
    return [failed for failed in found if failed is not None]


def fetch_code(wanted: Sequence[Wanted], staging: Path, progress: Progress) -> list[Pinned]:
    """Fetch objects of code as `fetch_all` does, and return what they are, in the order of `wanted`.

    Raises:
        PhaseError: as for `fetch_all`, or `DigestMismatch`; `InputConflict`, two objects for one place differ.
    """
    pins: dict[int, Pinned] = {}

    def arrived(number: int, each: Wanted, path: Path) -> None:
        sha256 = digest(path)
        for twin in each.also:
            if not twin.is_same_object(each):
                beside = path.with_name(f"{path.name}-twin")
                twin.store.download(twin.info, beside)
                if digest(beside) != sha256:
                    raise conflict(each, twin)
                beside.unlink()
        for named in each.names:
            if named.sha256 and named.sha256.lower() != sha256:
                raise PhaseError(
                    Reason.DIGEST_MISMATCH,
                    f"{each.uri} has the SHA-256 {sha256}, but {named.field.removesuffix('.uri')}.sha256 is {named.sha256}",
                    "correct sha256, or put the right object back",
                )
        pins[number] = pinned(each, sha256)

    fetch_all(wanted, staging, progress, arrived)
    return [pins[number] for number in range(len(wanted))]


def fetch_all(wanted: Iterable[Wanted], staging: Path, progress: Progress, arrived: Arrived = lambda *_: None) -> None:
    """Fetch every object to its place, by way of the folder `staging`, which must not exist.

    Raises:
        PhaseError: what went wrong first; it ends the other transfers too.
    """
    staging.mkdir()
    given_up = threading.Event()

    def fetch(numbered: tuple[int, Wanted]) -> None:
        number, each = numbered
        temporary = staging / str(number)
        try:
            each.store.download(each.info, temporary, progress=progress.add, cancelled=given_up)
            arrived(number, each, temporary)
        except GivenUpError:
            return
        except PhaseError:
            given_up.set()
            raise
        temporary.rename(each.target)
        progress.complete()

    try:
        for_each(enumerate(_with_folders(wanted)), fetch, OBJECTS_AT_ONCE)
    except PhaseError as error:
        failed = error.failure
        if failed.reason is not Reason.PENDING_DEADLINE_EXCEEDED:
            raise
        raise PhaseError(failed.reason, f"{failed.message}: {progress.words()}", failed.hint) from None
    staging.rmdir()


def _with_folders(wanted: Iterable[Wanted]) -> Iterator[Wanted]:
    """Yield the objects, each when its folder is there."""
    made: Path | None = None
    for each in wanted:
        folder = each.target.parent
        if folder != made:
            make_folder(folder)
            made = folder
        yield each


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
