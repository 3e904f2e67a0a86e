"""Files as they are at one moment, to be uploaded at leisure while a script writes on.

There is no lock that a script would heed. So each file is opened, and copied if it is one that may be rewritten in place; what all of
them look like before and after says whether nobody has written meanwhile. The copies have no name: nobody counts, finds or changes them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tftrainer.checkpoints.form import Form, form
from tftrainer.outputs.settled import notes_mapped_writes
from tftrainer.outputs.tree import LocalFile, open_file

CALM_SECONDS: Final = 0.02
"""A change that is younger may be followed by one of the same time stamp: older kernels count times in ticks of up to 10 ms."""
OPEN_LIMIT: Final = 256
"""Files that are held open at once."""
_SPARE: Final = 2
"""How many times its size a copy leaves free on the disk."""
_BLOCK: Final = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes to be uploaded as those of `file`: its own, or of a copy, which nobody changes."""

    file: LocalFile
    opened: IO[bytes]
    copied: bool = False

    def is_same(self) -> bool:
        """Whether the bytes are still those that were there when it was taken."""
        return self.copied or is_as(self.opened.fileno(), self.file)


@contextlib.contextmanager
def taken(
    root: Path,
    files: Mapping[str, LocalFile],
    copied: Collection[str],
    unchanged: Callable[[], bool],
    clock: Callable[[], float],
) -> Iterator[dict[str, Source] | None]:
    """Open the files, all as they look and at one moment; None if one has changed. Of too many files, none is held.

    `files` are below `root`. Of those that are `copied` the result is a copy, if the disk has room for one; a file that is whole by its
    form is so in its copy. `unchanged` looks at all again. `clock` is in Unix seconds.
    """
    with contextlib.ExitStack() as stack:
        yield _taken(stack, root, files, copied, unchanged, clock)


def is_as(descriptor: int, file: LocalFile) -> bool:
    """Whether an open file is still as it looked; of one that was removed since, the change time is that of the removal."""
    status = os.fstat(descriptor)
    same = (status.st_size, status.st_mtime_ns, status.st_ino) == (file.size, file.mtime_ns, file.inode)
    return same and (status.st_nlink == 0 or status.st_ctime_ns == file.ctime_ns)


def _taken(
    stack: contextlib.ExitStack,
    root: Path,
    files: Mapping[str, LocalFile],
    copied: Collection[str],
    unchanged: Callable[[], bool],
    clock: Callable[[], float],
) -> dict[str, Source] | None:
    if len(files) > OPEN_LIMIT:
        return {}
    youngest = max((files[path].ctime_ns / 1e9 for path in copied if path in files), default=0.0)
    if 0 <= clock() - youngest < CALM_SECONDS:
        time.sleep(CALM_SECONDS)
    found: dict[str, Source] = {}
    for path, file in files.items():
        try:
            opened = stack.enter_context(os.fdopen(open_file(root, file.source), "rb", buffering=0))
        except OSError:
            return None
        if not is_as(opened.fileno(), file):
            return None
        found[path] = Source(file, opened)
    for path in copied:
        if path in found and (copy := _copy(stack, root, found[path].opened, path)) is not None:
            found[path] = Source(found[path].file, copy, copied=True)
    return found if unchanged() else None


def _copy(stack: contextlib.ExitStack, root: Path, source: IO[bytes], path: str) -> IO[bytes] | None:
    """Return a copy beside the folder, where a file system that can shares the blocks; None where there is no room."""
    status = os.fstat(source.fileno())
    if not notes_mapped_writes(status.st_dev):
        # A file system in memory: the copy would be this container's memory.
        return None
    if shutil.disk_usage(root).free < (1 + _SPARE) * status.st_size:
        return None
    try:
        copy = stack.enter_context(tempfile.TemporaryFile(dir=root.parent, buffering=0))  # noqa: SIM115 (closed with the stack)
        position = 0
        while position < status.st_size and (
            count := os.copy_file_range(source.fileno(), copy.fileno(), min(_BLOCK, status.st_size - position), position, position)
        ):
            position += count
    except OSError:
        return None
    torn = position < status.st_size or form(copy.fileno(), path) is Form.TORN
    return None if torn else copy
