"""Bytes between an object and a file: ranges in parallel into a file of the right size, never a corrupt one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import urllib3.exceptions as http

from tftrainer.storage.patience import Patience, Tries
from tftrainer.storage.receive import Receiver

RANGE: Final = 16 * 1024**2
"""Bytes of one range; an object up to this size takes one request."""
RANGES_AT_ONCE: Final = 4

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says when a file does not fit."""

OpenRange = Callable[[int, int], Any]
Progress = Callable[[int], None]


class BrokenTransferError(http.HTTPError):
    """The answer is not the bytes that were asked for; asking again may help."""


class GivenUpError(Exception):
    """The transfer was cancelled."""


class ChangedError(Exception):
    """The answer is of another state of the object than was asked for."""


class RangeIgnoredError(Exception):
    """The server sends the whole object for a range."""


def unheard(_: int) -> None:
    """Take no notice of how far a transfer is."""


def download(
    open_range: OpenRange, size: int, etag: str, target: Path, patience: Patience, progress: Progress, cancelled: threading.Event
) -> None:
    """Fetch `size` bytes into the new file `target`; on any error there is no file.

    `open_range(offset, length)` answers with a response of the client library; its own retries have been used up when it raises. All
    answers have to be of `etag`, as far as they say: not every store keeps to the condition that a request has.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        _reserve(descriptor, size)
        transfer = _Transfer(open_range, size, etag, descriptor, patience, progress, cancelled)
        if size <= RANGE:
            transfer.fetch(0, size)
        else:
            try:
                transfer.fetch_parallel()
            except RangeIgnoredError:
                transfer.restart()
                transfer.fetch(0, size)
        transfer.check_not_cancelled()
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _reserve(descriptor: int, size: int) -> None:
    if not size:
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        os.ftruncate(descriptor, size)


class _Transfer:
    def __init__(
        self,
        open_range: OpenRange,
        size: int,
        etag: str,
        descriptor: int,
        patience: Patience,
        progress: Progress,
        cancelled: threading.Event,
    ) -> None:
        self._open = open_range
        self._etag = etag
        self._size = size
        self._descriptor = descriptor
        self._patience = patience
        self._progress = progress
        self._cancelled = cancelled
        self._stopped = threading.Event()
        self._done = 0

    def check_not_cancelled(self) -> None:
        """Make sure that the file may be taken for whole.

        Raises:
            GivenUpError: the transfer ended early because it was asked to.
        """
        if self._cancelled.is_set():
            raise GivenUpError

    def restart(self) -> None:
        """Forget what has arrived, and start anew."""
        self._stopped = threading.Event()
        self._progress(-self._done)
        self._done = 0

    def fetch_parallel(self) -> None:
        """Fetch all ranges, several at once; the first error ends all."""
        with ThreadPoolExecutor(RANGES_AT_ONCE) as pool:
            parts = [pool.submit(self.fetch, start, min(start + RANGE, self._size)) for start in range(0, self._size, RANGE)]
            finished, waiting = wait(parts, return_when=FIRST_EXCEPTION)
            if waiting:
                self._stopped.set()
                for part in waiting:
                    part.cancel()
        errors = [error for part in finished if not part.cancelled() and (error := part.exception())]
        for error in errors:
            if isinstance(error, RangeIgnoredError):
                raise error
        if errors:
            raise errors[0]

    def fetch(self, start: int, end: int) -> None:
        """Fetch one range, going on where a broken answer ended, within the patience for no progress at all."""
        cursor, furthest, tries = _Cursor(start), start, Tries(self._patience, self._cancelled)
        while cursor.at < end and not self._ended():
            try:
                self._receive(cursor, end)
            except RangeIgnoredError:
                if (start, end) != (0, self._size):
                    raise
                self._progress(-cursor.at)
                cursor.at = 0
            except http.MaxRetryError:
                raise
            except (http.HTTPError, OSError) as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    raise
                if cursor.at > furthest:
                    furthest = cursor.at
                    tries.progressed()
                if not tries.again():
                    raise

    def _ended(self) -> bool:
        return self._cancelled.is_set() or self._stopped.is_set()

    def _receive(self, cursor: _Cursor, end: int) -> None:
        response = self._open(cursor.at, end - cursor.at)
        try:
            found = response.headers.get("ETag", "").removeprefix("W/").strip('"')
            if self._etag and found and found != self._etag:
                raise ChangedError
            counted = _check(response, cursor.at, end, self._size)
            with contextlib.closing(Receiver(response, self._descriptor, self._patience.now)) as receiver:
                while cursor.at < end and not self._ended():
                    self._patience.check()
                    count = receiver.take(cursor.at, end - cursor.at)
                    if not count:
                        raise BrokenTransferError(f"{end - cursor.at} bytes are missing")
                    cursor.at += count
                    self._done += count
                    self._progress(count)
            if not counted and cursor.at == end and response.read(1, decode_content=False):
                cursor.at -= 1
                raise BrokenTransferError("more bytes come than the object has")
        finally:
            if cursor.at < end:
                with contextlib.suppress(OSError, http.HTTPError):
                    response.close()
            response.release_conn()


@dataclass(slots=True)
class _Cursor:
    at: int


def _check(response: Any, position: int, end: int, size: int) -> bool:
    """Make sure that the answer is the range that was asked for; whether it says how long it is."""
    length = response.headers.get("Content-Length")
    if length is None and response.headers.get("Content-Encoding", "identity") != "identity":
        # An object may be stored compressed, but then its length is known: this was compressed on the way, though nobody asked for it.
        raise BrokenTransferError("the answer is compressed on the way")
    if position == 0 and end == size:
        if length is not None and length != str(size):
            raise BrokenTransferError(f"{length} bytes announced, expected {size}")
        return length is not None
    if response.status == 200:
        raise RangeIgnoredError
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if not found or (int(found[1]), int(found[2])) != (position, end - 1) or found[3] not in ("*", str(size)):
        raise BrokenTransferError("the answer is of another range")
    if length is not None and length != str(end - position):
        raise BrokenTransferError(f"{length} bytes announced, expected {end - position}")
    return length is not None


def read_whole(open_object: Callable[[], Any], most: int, patience: Patience) -> bytes:
    """Return the bytes of a small object, at most so many; an answer that is cut off is asked for again.

    Raises:
        urllib3.exceptions.HTTPError, OSError: no whole answer came within the patience.
    """
    tries = Tries(patience)
    while True:
        patience.check()
        try:
            response = open_object()
            try:
                found = bytearray()
                while len(found) < most and (block := response.read1(most - len(found), decode_content=False)):
                    found += block
                return bytes(found)
            finally:
                response.close()
                response.release_conn()
        except http.MaxRetryError:
            raise
        except (http.HTTPError, OSError):
            if not tries.again():
                raise
