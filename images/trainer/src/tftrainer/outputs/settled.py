"""Whether a change of a file would show: what a publisher has to know before it takes a file that looks the same for the same."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tftrainer.outputs.tree import LocalFile, open_file

SETTLED_SECONDS: Final = 2.0
"""A file of which the last change is older has no other change of the same time stamp still to come."""
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_MOUNTS: Final = Path("/proc/self/mountinfo")


@functools.cache
def notes_mapped_writes(device: int, mounts: Path = _MOUNTS) -> bool:
    """Whether the file system of that number (`st_dev`) gives a file a new time when it is written through a mapping (`mmap`).

    One that lies in memory alone does not: it has nothing to write back, so the kernel does not watch its pages.
    """
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.read_text("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == number:
            return after.split()[0] not in _IN_MEMORY
    return True


def settle(root: Path, file: LocalFile, clock: Callable[[], float]) -> bool:
    """Whether every change of the file from now on gives it another status than `file` has. `clock` is in Unix seconds.

    A page that is written through a mapping changes the times of the file when it becomes dirty, and not again before it is clean: on
    ext4 for half a minute. So the file is written back; and it must look the same before and after, else a page has become dirty
    meanwhile.
    """
    try:
        descriptor = open_file(root, file.source)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        if clock() - status.st_ctime_ns / 1e9 <= SETTLED_SECONDS or not notes_mapped_writes(status.st_dev) or not _is(file, status):
            return False
        os.fsync(descriptor)
        return _is(file, os.fstat(descriptor))
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _is(file: LocalFile, status: os.stat_result) -> bool:
    return (file.size, file.mtime_ns, file.ctime_ns, file.inode) == (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
    )
