"""What lies under a folder that user code has written: data, never followed anywhere.

Every component of every path is opened without following links, so that neither a file nor a folder can lead elsewhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tftrainer.manifest import Skipped
from tftrainer.saved import RESERVED
from tftrainer.uri import UriError, segments

SKIPPED_LIMIT: Final = 1000
"""Skipped things that are listed one by one."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS: Final = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file below the root; `path` is relative to it."""

    path: str
    size: int
    mtime_ns: int
    inode: int


class NotAFileError(OSError):
    """What should be opened is no regular file any more."""


def walk(root: Path, key_prefix: str, start: str = "") -> Iterator[LocalFile | Skipped]:
    """Yield every regular file below `root`, and what is not uploaded with the reason, in the order of their names.

    `key_prefix` is what the keys will start with: it counts for their length. Only the folder `start` is looked at, if one is given;
    paths are relative to `root` all the same.
    """
    folders = [start]
    while folders:
        folder = folders.pop()
        try:
            descriptor = _open_folder(root, folder)
        except OSError as error:
            yield Skipped(path=_printable(folder), reason=f"cannot be read: {error.strerror}")
            continue
        below: list[str] = []
        try:
            with os.scandir(descriptor) as entries:
                names = sorted(entry.name for entry in entries)
            for name in names:
                path = f"{folder}/{name}" if folder else name
                try:
                    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except OSError as error:
                    yield Skipped(path=_printable(path), reason=f"cannot be read: {error.strerror}")
                    continue
                if name == RESERVED:
                    yield Skipped(path=_printable(path), reason="the name is reserved")
                elif stat.S_ISDIR(status.st_mode):
                    below.append(path)
                else:
                    yield _one(path, key_prefix, status)
        finally:
            os.close(descriptor)
        folders.extend(reversed(below))


def open_file(root: Path, path: str) -> int:
    """Open a regular file below `root` and return its descriptor; no link on the way is followed.

    Raises:
        OSError: it is missing, a link is in the way, or it is no regular file.
    """
    folder, _, name = path.rpartition("/")
    parent = _open_folder(root, folder)
    try:
        descriptor = os.open(name, _FILE, dir_fd=parent)
    finally:
        os.close(parent)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError(f"{path} is not a regular file")
    return descriptor


def read_small(root: Path, path: str, limit: int) -> bytes | None:
    """Return a small file below `root`; None if it is missing, no regular file, or longer than `limit` bytes."""
    try:
        descriptor = open_file(root, path)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(limit + 1)
    return data if len(data) <= limit else None


def _open_folder(root: Path, path: str) -> int:
    descriptor = os.open(root, _FOLDER)
    for name in path.split("/") if path else ():
        try:
            inner = os.open(name, _FOLDER, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _one(path: str, key_prefix: str, status: os.stat_result) -> LocalFile | Skipped:
    if not stat.S_ISREG(status.st_mode):
        return Skipped(path=_printable(path), reason=f"{_KINDS.get(stat.S_IFMT(status.st_mode), 'not a file')}, not followed")
    try:
        segments(key_prefix + path)
    except UriError:
        return Skipped(path=_printable(path), reason="the name cannot be a key: control characters, not UTF-8, or over 1,024 bytes")
    return LocalFile(path, status.st_size, status.st_mtime_ns, status.st_ino)


def _printable(path: str) -> str:
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "�" for character in text)[:1024]
