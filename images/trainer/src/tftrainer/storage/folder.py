"""A folder as a bucket: an object is a file below it, its key the file's path. For runs without a cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, NoReturn

from tftrainer import uri
from tftrainer.messages.contract import Reason
from tftrainer.storage.body import SourceChangedError, UnreadableError, feed
from tftrainer.storage.condition import Absent, Condition
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.errors import ConditionError, RefusedError, StorageError, translate
from tftrainer.storage.store import ObjectInfo
from tftrainer.storage.transfer import FULL, GivenUpError, unheard
from tftrainer.storage.upload import Written

INCOMING: Final = ".tftraining-incoming-"
"""Begins the name of what is being written, so that an object is there whole or not at all. It lies beside the object: any other folder
may be on another disk, from where nothing can be moved to it at once."""
_BLOCK: Final = 1024**2
Write = Callable[[memoryview], None]
_STAYS: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EBUSY})
"""Why a folder is not removed: it is not empty, not there, a link to one, or a disk's own."""
_NO_NAMELESS: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})
"""What is said to a file without a name, by disks that have none and by old systems."""
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class FolderStore:
    """The bucket named `bucket` that is a folder. Its ETags are marks of a file's version, not digests."""

    def __init__(self, folder: Path, bucket: str) -> None:
        self.credentials = Credentials(label=f"folder {folder}", secure=False, host="", bucket=bucket)
        self._folder = folder

    def uri(self, key: str) -> str:
        """Return the path of a whole key."""
        return f"{self._folder}/{key}"

    def find(self, key: str) -> ObjectInfo | None:
        """Return the object of that key, None if there is no such file."""
        path = self._path(key)
        try:
            return _info(key, path.stat()) if path.is_file() else None
        except FileNotFoundError:
            return None
        except OSError as error:
            self._fail(error, key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the files whose keys start with `prefix`, in the order of their keys; what is being written is left out."""
        folder = prefix.rpartition("/")[0]
        top = self._path(folder) if folder else self._folder
        try:
            found = [key for key in self._below(top, folder) if key.startswith(prefix)]
        except OSError as error:
            self._fail(error, prefix)
        for key in sorted(found):
            info = self.find(key)
            if info is not None:
                yield info

    def read(self, key: str, limit: int) -> bytes | None:
        """Return a small file, None if there is none.

        Raises:
            PhaseError: it is longer than `limit` bytes, or cannot be read.
        """
        try:
            with self._path(key).open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._fail(error, key)
        if len(data) > limit:
            raise StorageError(Reason.STORAGE_UNAVAILABLE, f"{self.uri(key)} is longer than {limit} bytes, expected a file of this product")
        return data

    def download(
        self, info: ObjectInfo, target: Path, *, progress: Callable[[int], None] = unheard, cancelled: threading.Event | None = None
    ) -> None:
        """Copy the file into a new one; it is whole and of that version, or there is none.

        Raises:
            PhaseError: the file changed meanwhile, cannot be read, or does not fit.
            GivenUpError: `cancelled` was set.
        """
        try:
            self._copy(info, target, progress, cancelled or threading.Event())
        except OSError as error:
            target.unlink(missing_ok=True)
            self._fail(error, info.key)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def _copy(self, info: ObjectInfo, target: Path, progress: Callable[[int], None], cancelled: threading.Event) -> None:
        with self._path(info.key).open("rb", buffering=0) as source, target.open("xb", buffering=0) as copy:
            while block := source.read(_BLOCK):
                if cancelled.is_set():
                    raise GivenUpError
                copy.write(block)
                progress(len(block))
            same = _info(info.key, os.fstat(source.fileno())) == info and copy.tell() == info.size
        if not same:
            raise StorageError(
                Reason.DIGEST_MISMATCH, f"{self.uri(info.key)} was changed while it was fetched", "run the job again when nobody writes it"
            )

    def write(self, key: str, data: bytes) -> Written:
        """Write a small object."""
        return self._write(key, lambda write: write(memoryview(data)))

    def upload(
        self,
        key: str,
        source: IO[bytes],
        size: int,
        progress: Callable[[int], None] = unheard,
        *,
        condition: Condition | None = None,
    ) -> Written:
        """Write an object of the first `size` bytes of an open file; it takes the place of an older one at once.

        Raises:
            ConditionError: the condition did not hold.
            PhaseError: the folder cannot be written, or the file is shorter.
        """

        def fill(write: Write) -> None:
            feed(source.fileno(), 0, size, write, lambda block: progress(len(block)))

        return self._write(key, fill, condition, size)

    def copy(self, key: str, target: str) -> Written:
        """Copy a file. The digest of the result is not known."""

        def fill(write: Write) -> None:
            with self._path(key).open("rb", buffering=0) as source:
                feed(source.fileno(), 0, os.fstat(source.fileno()).st_size, write)

        return dataclasses.replace(self._write(target, fill), sha256="")

    def delete(self, key: str) -> None:
        """Remove a file, and folders that are empty without it; it is no fault if there is none."""
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self._folder or not folder.is_relative_to(self._folder):
                    break
                folder.rmdir()
        except OSError as error:
            if error.errno not in _STAYS:
                self._fail(error, key)

    def keeps_conditions(self, key: str, data: bytes) -> bool:  # noqa: ARG002  other stores have to try
        """Whether `write_if_absent` can be relied on: a file system links a name once."""
        return True

    def write_if_absent(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one of that key; whether it was written."""
        try:
            self._write(key, lambda write: write(memoryview(data)), Absent())
        except ConditionError:
            return False
        return True

    def _write(self, key: str, fill: Callable[[Write], None], condition: Condition | None = None, size: int = 0) -> Written:
        """Give the key to a new file, which `fill` writes, if the disk has room for `size` bytes."""
        digest = hashlib.sha256()
        try:
            with _incoming(self._place(key)) as incoming:
                incoming.check_room(size)

                def write(block: memoryview) -> None:
                    digest.update(block)
                    incoming.write(block)

                fill(write)
                incoming.become(condition)
                info = _info(key, incoming.status())
        except OSError as error:
            self._fail(error, key)
        except (SourceChangedError, UnreadableError, RefusedError) as error:
            raise translate(error, self.uri(key), self.credentials) from None
        return Written(info.size, digest.hexdigest(), info.etag)

    def _place(self, key: str) -> Path:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _path(self, key: str) -> Path:
        try:
            return uri.local_path(self._folder, key)
        except uri.UriError as error:
            raise StorageError(Reason.INVALID_SPEC, f"{error}; it cannot be a file of {self._folder}") from None

    def _below(self, top: Path, folder: str) -> Iterator[str]:
        for path, folders, files in os.walk(top, onerror=_raise_unless_missing, followlinks=True):
            parents = {(status.st_dev, status.st_ino) for status in (each.stat() for each in Path(path, "_").parents)}
            # A link to a folder that it lies in would never end.
            folders[:] = [each for each in folders if (status := Path(path, each).stat()) and (status.st_dev, status.st_ino) not in parents]
            relative = os.path.relpath(path, top)
            names = [part for part in (folder, "" if relative == "." else relative) if part]
            for name in files:
                if not name.startswith(INCOMING):
                    yield "/".join((*names, name))

    def _fail(self, error: OSError, key: str) -> NoReturn:
        if error.errno in FULL:
            raise StorageError(Reason.WORKSPACE_FULL, f"the disk is full: {self.uri(key)} does not fit", "free some space") from None
        if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError):
            raise StorageError(
                Reason.PUBLISH_FAILED,
                f"{self.uri(key)} cannot be both a file and a folder, as it can in a bucket",
                "rename one of the two",
            ) from None
        raise StorageError(
            Reason.STORAGE_DENIED if isinstance(error, PermissionError) else Reason.STORAGE_UNAVAILABLE,
            f"{error.filename or self.uri(key)} cannot be used: {error.strerror}",
            "let the bucket's folder be one that you may read and write",
        ) from None


class _Incoming:
    """A file beside its `place` that has no name until it is whole: nothing of it stays where its writer is killed.

    On a disk that has no such files it has a hidden `name`.
    """

    def __init__(self, place: str, folder: int, descriptor: int, name: str) -> None:
        self._place = place
        self._folder = folder
        self._descriptor = descriptor
        self.name = name

    def write(self, block: memoryview) -> None:
        """Add bytes at the end."""
        while block:
            block = block[os.write(self._descriptor, block) :]

    def check_room(self, size: int) -> None:
        """Refuse what does not fit before it takes the room of files that are written beside it.

        Raises:
            OSError: ENOSPC.
        """
        disk = os.fstatvfs(self._descriptor)
        if size > disk.f_bavail * disk.f_frsize:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def status(self) -> os.stat_result:
        """Return the file's status."""
        return os.fstat(self._descriptor)

    def become(self, condition: Condition | None) -> None:
        """Take the place, if the condition holds.

        Raises:
            RefusedError: it does not.
        """
        _wait_for_turn(self._folder)
        if isinstance(condition, Absent):
            self._take_empty()
            return
        if condition is not None and self._etag() != condition.etag:
            raise RefusedError
        self._take()

    def _take_empty(self) -> None:
        try:
            self._link(self._place)
        except FileExistsError:
            raise RefusedError from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if self._etag():
                raise RefusedError from None
            self._take()

    def _take(self) -> None:
        if not self.name:
            hidden = _hidden()
            self._link(hidden)
            self.name = hidden
        os.replace(self.name, self._place, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self.name = ""

    def _link(self, name: str) -> None:
        path = self.name or f"/proc/self/fd/{self._descriptor}"
        os.link(path, name, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=not self.name)

    def _etag(self) -> str:
        """Return the ETag of what is at the place, empty if nothing is."""
        try:
            return _info("", os.stat(self._place, dir_fd=self._folder)).etag
        except FileNotFoundError:
            return ""


@contextlib.contextmanager
def _incoming(place: Path) -> Iterator[_Incoming]:
    with contextlib.ExitStack() as left:
        folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        left.callback(os.close, folder)
        name = ""
        try:
            descriptor = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=folder)
        except OSError as error:
            if error.errno not in _NO_NAMELESS:
                raise
            name = _hidden()
            descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=folder)
        left.callback(os.close, descriptor)
        incoming = _Incoming(place.name, folder, descriptor, name)
        try:
            yield incoming
        finally:
            if incoming.name:
                os.unlink(incoming.name, dir_fd=folder)


def _hidden() -> str:
    return f"{INCOMING}{uuid.uuid4().hex}"


def _wait_for_turn(folder: int) -> None:
    """Have one writer at a time take a place in the folder, until it is closed; of all processes, if the disk knows locks."""
    with contextlib.suppress(OSError):
        fcntl.flock(folder, fcntl.LOCK_EX)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}")
