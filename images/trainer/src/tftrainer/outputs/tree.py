"""What lies under a folder that user code has written: data, never followed out of it.

Every component of every path is opened without following links, so that neither a file nor a folder can lead elsewhere. A link to a
file of the same folder counts as that file; where it leads is found out by reading links, one component after the other, from the
root: what the script changes meanwhile can lead to an error, but not out of the folder.

Whatever mode a script has given to its files, they are its owner's, who is the owner of this process: what the owner may not read is
made readable for the owner, and nothing else is changed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tftrainer.messages.contract import RESERVED
from tftrainer.messages.manifest import Skipped
from tftrainer.uri import KEY_LIMIT, UriError, segments

SKIPPED_LIMIT: Final = 1000
"""Skipped things that are listed one by one."""
LINKS_LIMIT: Final = 40
"""Links on the way to one file, as the kernel has it: more are a circle."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HANDLE: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS: Final = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_OUT: Final = "that leads out of the folder, not followed"
_NOTHING: Final = "to nothing"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file below the root; `path` is relative to it.

    Of a link, `target` is the path of the file that it leads to, without a link on the way; all but `path` is of that file. Tools that
    copy or unpack set `mtime_ns`; `ctime_ns` is the kernel's, nobody can set it back.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int
    target: str = ""
    ctime_ns: int = 0

    @property
    def source(self) -> str:
        """The path below the root at which its bytes are read."""
        return self.target or self.path


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or folder below the root that cannot be read, `reason` in the system's words: what it holds is not known."""

    path: str
    reason: str


class NotAFileError(OSError):
    """What should be opened is no regular file any more."""


class _LinkError(Exception):
    """A link that is not followed. Its text ends a sentence that begins with "a symbolic link"."""


def walk(root: Path, key_prefix: str, start: str = "") -> Iterator[LocalFile | Skipped | Unreadable]:
    """Yield every regular file below `root`, links to such files too, and what is not uploaded with the reason, by their names.

    `key_prefix` is what the keys will start with: it counts for their length. Only the folder `start` is looked at, if one is given;
    paths are relative to `root` all the same.
    """
    folders = [start]
    while folders:
        folder = folders.pop()
        if len(os.fsencode(f"{key_prefix}{folder}/")) >= KEY_LIMIT:
            # One for all below it: each would be opened from the root, and there may be thousands, one inside the other.
            yield Skipped(path=_printable(folder), reason="a folder whose files can have no key: its path is over 1,024 bytes", data=True)
            continue
        try:
            descriptor = _open_folder(root, folder)
        except OSError as error:
            yield Unreadable(_printable(folder), _why(error))
            continue
        below: list[str] = []
        try:
            with os.scandir(descriptor) as entries:
                names = sorted(entry.name for entry in entries)
            for name in names:
                path = f"{folder}/{name}" if folder else name
                try:
                    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and not status.st_mode & stat.S_IRUSR:
                        _allow(name, descriptor)
                except OSError as error:
                    yield Unreadable(_printable(path), _why(error))
                    continue
                if name == RESERVED:
                    data = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
                    yield Skipped(path=_printable(path), reason="the name is reserved", data=data)
                elif stat.S_ISDIR(status.st_mode):
                    below.append(path)
                else:
                    yield _one(root, path, key_prefix, status)
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
        descriptor = _open(name, _FILE, parent)
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
    descriptor = _open(str(root), _FOLDER)
    for name in path.split("/") if path else ():
        try:
            inner = _open(name, _FOLDER, descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _open(name: str, flags: int, folder: int | None = None) -> int:
    """Open what lies in a folder, made readable for its owner if it is not."""
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except PermissionError:
        _allow(name, folder)
        return os.open(name, flags, dir_fd=folder)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode) and not mode & stat.S_IXUSR:
        # It can be listed, but nothing in it can be opened.
        try:
            _allow(name, folder)
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def _allow(name: str, folder: int | None) -> None:
    """Let the owner read a file, or a folder and what lies in it. A link is not followed: this is not the way out of the root either.

    Raises:
        OSError: this process is not the owner, or the file system cannot be changed.
    """
    handle = os.open(name, _HANDLE, dir_fd=folder)
    try:
        mode = os.fstat(handle).st_mode
        wanted = stat.S_IRUSR | stat.S_IXUSR if stat.S_ISDIR(mode) else stat.S_IRUSR if stat.S_ISREG(mode) else 0
        if wanted & ~mode:
            # A handle cannot be changed itself, but its entry in /proc leads to what it stands for, whatever lies at the name by now.
            Path(f"/proc/self/fd/{handle}").chmod(stat.S_IMODE(mode) | wanted)
    finally:
        os.close(handle)


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _one(root: Path, path: str, key_prefix: str, status: os.stat_result) -> LocalFile | Skipped:
    target = ""
    try:
        if stat.S_ISLNK(status.st_mode):
            target, status = _followed(root, path)
    except _LinkError as error:
        return Skipped(path=_printable(path), reason=f"a symbolic link {error}")
    except OSError as error:
        return Skipped(path=_printable(path), reason=f"a symbolic link that cannot be followed: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return Skipped(path=_printable(path), reason=f"{'a symbolic link to ' * bool(target)}{_kind(status)}, not followed")
    if "\\" in path:
        return Skipped(path=_printable(path), reason="the name holds a backslash, which a store may take for a slash", data=not target)
    try:
        segments(key_prefix + path)
    except UriError:
        reason = "the name cannot be a key: control characters, not UTF-8, or over 1,024 bytes"
        return Skipped(path=_printable(path), reason=reason, data=not target)
    return LocalFile(path, status.st_size, status.st_mtime_ns, status.st_ino, target, status.st_ctime_ns)


def _kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "not a file")


def _followed(root: Path, path: str) -> tuple[str, os.stat_result]:
    """Return what a link leads to, if that is not a folder: its path below `root` without a link on the way, and its status.

    Raises:
        _LinkError: it leads out of `root`, to a folder, to nothing, or in a circle.
        OSError: something on the way cannot be read.
    """
    reached: list[str] = []
    ahead = _steps(path)
    file: os.stat_result | None = None
    links = 0
    while ahead:
        name = ahead.pop()
        if name == "..":
            if not reached:
                raise _LinkError(_OUT)
            reached.pop()
            continue
        status, leads_to = _look(root, "/".join(reached), name)
        if leads_to is not None:
            links += 1
            if links > LINKS_LIMIT:
                raise _LinkError("that leads in a circle")
            if leads_to.startswith("/"):
                leads_to, reached = _below(root, leads_to), []
            ahead += _steps(leads_to)
            continue
        reached.append(name)
        if not stat.S_ISDIR(status.st_mode):
            if ahead:
                raise _LinkError(_NOTHING)
            file = status
    found = "/".join(reached)
    if file is None:
        raise _LinkError(f"to the folder {_printable(found) or '.'}, whose files are uploaded under their own names")
    return found, file


def _steps(path: str) -> list[str]:
    """Return the names of a path that lead anywhere, the last first."""
    return [name for name in path.split("/") if name not in ("", ".")][::-1]


def _look(root: Path, folder: str, name: str) -> tuple[os.stat_result, str | None]:
    """Return the status of what lies in a folder below `root`, and where it leads if it is a link."""
    try:
        descriptor = _open_folder(root, folder)
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            return status, os.readlink(name, dir_fd=descriptor) if stat.S_ISLNK(status.st_mode) else None
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise _LinkError(_NOTHING) from None
        raise


def _below(root: Path, path: str) -> str:
    """Return what of an absolute path comes after the root, as the script names it."""
    for top in (str(root.absolute()), str(root.resolve())):
        if f"{path}/".startswith(f"{top}/"):
            return path.removeprefix(top).lstrip("/")
    raise _LinkError(_OUT)


def _printable(path: str) -> str:
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "�" for character in text)[:1024]
