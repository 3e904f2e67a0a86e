"""Leaving files in a folder that lies beside the user's files, and reading what was left: anything may have become of their places."""

from __future__ import annotations

import itertools
import math
import os
import stat
from pathlib import Path


def left(path: Path, limit: int, *, before: float = math.inf) -> bytes | None:
    """Return the beginning of a file; None if there is none that can be read, or it was not written `before` that Unix second."""
    # What lies there may be a link, a pipe or a folder of the script's.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.read(handle, limit) if os.fstat(handle).st_mtime <= before else None
    except OSError:
        return None
    finally:
        os.close(handle)


def leave(folder: Path, name: str, data: bytes) -> None:
    """Write a file of the folder anew, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(exist_ok=True)
    temporary = folder / f"{name}.new"
    # The script may have put anything there, even a pipe that nobody reads.
    temporary.unlink(missing_ok=True)
    with temporary.open("xb") as file:
        file.write(data)
    temporary.replace(folder / name)


def leave_last(folder: Path, name: str, data: bytes) -> None:
    """Do the same when no user code runs any more: what it has put in the way is moved aside, into the folder above.

    Raises:
        OSError: it cannot be written.
    """
    claim(folder)
    for each in (folder / name, folder / f"{name}.new"):
        if _is_folder(each):
            clear(each, folder.parent)
    leave(folder, name, data)


def claim(folder: Path) -> None:
    """Make it a folder that can be written, whatever lies in its place.

    Raises:
        OSError: it cannot be.
    """
    if not _is_folder(folder):
        clear(folder, folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(stat.S_IMODE(folder.lstat().st_mode) | stat.S_IRWXU)


def clear(path: Path, folder: Path) -> None:
    """Move what lies in our place, if anything does, to a free name in a folder, where it is kept like other files.

    Raises:
        OSError: it cannot be renamed.
    """
    names = (f"replaced-{number}-{path.name.lstrip('.')}" for number in itertools.count(1))
    if _exists(path):
        path.rename(next(folder / name for name in names if not _exists(folder / name)))


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except OSError:
        return False
    return True
