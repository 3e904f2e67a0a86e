"""A folder as a bucket: an object is a file below it, its key the file's path. For runs without a cluster."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, NoReturn

from tftrainer import uri
from tftrainer.contract import Reason
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.errors import StorageError
from tftrainer.storage.store import ObjectInfo, Written
from tftrainer.storage.transfer import FULL, GivenUpError, HashingReader, unheard

INCOMING: Final = ".tftraining-incoming-"
"""Begins the name of what is being written, so that an object is there whole or not at all. It lies beside the object: any other folder
may be on another disk, from where nothing can be moved to it at once."""
_BLOCK: Final = 1024**2
_STAYS: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EBUSY})
"""Why a folder is not removed: it is not empty, not there, a link to one, or a disk's own."""
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
        return self.upload(key, io.BytesIO(data), len(data))

    def upload(self, key: str, source: IO[bytes], size: int, progress: Callable[[int], None] = unheard) -> Written:
        """Write an object of `size` bytes from a stream that is read once; it takes the place of an older one at once.

        Raises:
            PhaseError: the folder cannot be written, or the stream is shorter.
        """
        hashing = HashingReader(source, progress)
        try:
            place = self._place(key)
            with _incoming(place) as temporary:
                with temporary.open("xb", buffering=0) as file:
                    left = size
                    while left and (block := hashing.read(min(_BLOCK, left))):
                        file.write(block)
                        left -= len(block)
                if left:
                    raise StorageError(
                        Reason.PUBLISH_FAILED, f"{key} is {left} bytes shorter than it was", "do not write outputs after the end"
                    )
                temporary.replace(place)
                info = _info(key, place.stat())
        except OSError as error:
            self._fail(error, key)
        return Written(size, hashing.hexdigest(), info.etag)

    def copy(self, key: str, target: str) -> Written:
        """Copy a file. The digest of the result is not known."""
        try:
            place = self._place(target)
            with _incoming(place) as temporary:
                shutil.copyfile(self._path(key), temporary)
                temporary.replace(place)
                info = _info(target, place.stat())
        except OSError as error:
            self._fail(error, key)
        return Written(info.size, "", info.etag)

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
            place = self._place(key)
            with _incoming(place) as temporary:
                temporary.write_bytes(data)
                return _link(temporary, place, data)
        except OSError as error:
            self._fail(error, key)

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


@contextlib.contextmanager
def _incoming(place: Path) -> Iterator[Path]:
    temporary = place.parent / f"{INCOMING}{uuid.uuid4().hex}"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, place: Path, data: bytes) -> bool:
    """Give a whole file its name unless the name is taken; whether it was given."""
    try:
        os.link(temporary, place)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            with place.open("xb") as file:
                file.write(data)
        except FileExistsError:
            return False
    return True


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}")
