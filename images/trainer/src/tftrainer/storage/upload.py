"""Files and bytes into objects: each file is read once to be hashed, and sent from where it lies.

One request takes all but large files: the SHA-256 that the manifest has of a file signs it, and is the checksum that the store compares
with what has arrived. A large file goes in parts, each guarded by a CRC-32C: a digest of the whole cannot be that of a part. What a
store refuses for its checksum is sent again if the file is still the same; a file that is not starts anew.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from crc32c import CRC32CHash
from urllib3.exceptions import HTTPError

from tftrainer.storage import errors, multipart
from tftrainer.storage.body import SHORTER, Reached, SourceChangedError, Span, feed
from tftrainer.storage.condition import Absent, Condition, Unchanged
from tftrainer.storage.errors import CorruptedError, LostError, RefusedError
from tftrainer.storage.library import MinioException, S3Error
from tftrainer.storage.multipart import Part
from tftrainer.storage.patience import Patience, PatientRetry, Tries
from tftrainer.storage.requests import Requests
from tftrainer.storage.signature import UNSIGNED

SINGLE: Final = 64 * 1024**2
"""Bytes of the largest file that is sent in one request."""
PART: Final = 16 * 1024**2
"""Bytes of one part of a large file; grows so that no object takes more than `PARTS` of them."""
PARTS: Final = 9_000
PARTS_AT_ONCE: Final = 4
TIMES: Final = 3
"""How often an upload begins anew because its file changed, or because nobody can tell what became of it."""
ABORT_SECONDS: Final = 5.0
"""For how long the parts of an upload that has failed are tried to be removed."""


class _EndedError(Exception):
    """Another part has failed."""


@dataclass(frozen=True, slots=True)
class Written:
    """An object that was written. `sha256` is over the bytes that were sent."""

    size: int
    sha256: str
    etag: str


class _Content(Protocol):
    """What becomes an object by one request."""

    @property
    def size(self) -> int: ...

    @property
    def body(self) -> Any: ...

    def digest(self, algorithm: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Bytes:
    body: bytes

    @property
    def size(self) -> int:
        return len(self.body)

    def digest(self, algorithm: str) -> bytes:
        return hashlib.new(algorithm, self.body, usedforsecurity=False).digest()


@dataclass(frozen=True, slots=True)
class _File:
    descriptor: int
    size: int
    moved: Callable[[int], None]

    @property
    def body(self) -> Any:
        return Span(self.descriptor, 0, self.size, self.moved) if self.size else b""

    def digest(self, algorithm: str) -> bytes:
        found = hashlib.new(algorithm, usedforsecurity=False)
        feed(self.descriptor, 0, self.size, found.update)
        return found.digest()


class Uploads:
    """Writes objects of one bucket. Safe to use from several threads."""

    def __init__(self, requests: Requests, patience: Patience) -> None:
        self._requests = requests
        self._patience = patience

    def write(self, key: str, data: bytes, condition: Condition | None = None) -> Written:
        """Write a small object.

        Raises:
            RefusedError: the condition does not hold.
            Exception: the store fails.
        """
        return self._put(key, _Bytes(data), condition)

    def upload(self, key: str, descriptor: int, size: int, progress: Callable[[int], None], condition: Condition | None = None) -> Written:
        """Write an object of the first `size` bytes of an open file; `progress` is told of bytes as they are sent, and may end it.

        Raises:
            RefusedError: the condition does not hold.
            SourceChangedError, UnreadableError: the file does not stay as it is, or cannot be read.
            CorruptedError, LostError: the store has not got what was sent.
            Exception: the store fails.
        """
        reached = Reached(progress)
        once: Callable[[], Written] = (
            partial(self._put_file, key, _File(descriptor, size, partial(reached.move, 0)), condition)
            if size <= SINGLE
            else partial(self._in_parts, key, descriptor, size, reached, condition)
        )
        for _ in range(TIMES - 1):
            with contextlib.suppress(LostError, SourceChangedError):
                return once()
            if os.fstat(descriptor).st_size < size:
                raise SourceChangedError(SHORTER)
        return once()

    def _put(self, key: str, content: _Content, condition: Condition | None) -> Written:
        sha256 = content.digest("sha256")
        headers = {"x-amz-checksum-sha256": _base64(sha256), **_headers(condition)}

        def send() -> str:
            return _etag(self._requests.ask("PUT", key, headers=headers, body=content.body, size=content.size, payload=sha256.hex()))

        try:
            etag = self._guarded(send, lambda: content.digest("sha256") == sha256)
        except S3Error as refused:
            if not _refuses(condition, refused):
                raise
            retries = refused.response.retries
            raise RefusedError(repeated=retries is not None and bool(retries.history)) from None
        return Written(content.size, sha256.hex(), etag)

    def _put_file(self, key: str, file: _File, condition: Condition | None) -> Written:
        """Write a file; where its condition is refused, find out whether an earlier try has arrived, whose answer was lost."""
        try:
            return self._put(key, file, condition)
        except RefusedError as refused:
            found = self._look(key) if refused.repeated else None
            if found is None or not found.holds(file):
                raise
            return Written(file.size, file.digest("sha256").hex(), found.etag)

    def _guarded(self, send: Callable[[], str], unchanged: Callable[[], bool]) -> str:
        """Send until the store has got it as it is, within the patience since it first had not."""
        tries: Tries | None = None
        while True:
            try:
                return send()
            except S3Error as refused:
                if not errors.is_corrupted(refused):
                    raise
                if not unchanged():
                    raise SourceChangedError("was written to") from None
                tries = tries or Tries(self._patience)
                if not tries.again():
                    raise CorruptedError from None

    def _in_parts(self, key: str, descriptor: int, size: int, reached: Reached, condition: Condition | None) -> Written:
        answer = self._requests.ask("POST", key, query={"uploads": ""}, headers={"x-amz-checksum-algorithm": "CRC32C"})
        upload = multipart.begun(answer.data)
        try:
            parts, sha256 = self._send_parts(key, upload, descriptor, size, reached)
            etag = self._complete(key, upload, parts, size, condition)
        except BaseException:
            self._abort(key, upload)
            raise
        return Written(size, sha256, etag)

    def _send_parts(self, key: str, upload: str, descriptor: int, size: int, reached: Reached) -> tuple[list[Part], str]:
        """Hash the file part by part, and send each while the next is hashed."""
        whole = hashlib.sha256()
        length = max(PART, -(-size // PARTS))
        ended = threading.Event()
        under_way: deque[Future[Part]] = deque()
        parts: list[Part] = []
        with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
            try:
                for number, start in enumerate(range(0, size, length), 1):
                    end = min(start + length, size)
                    checksum = CRC32CHash()
                    feed(descriptor, start, end, whole.update, checksum.update)
                    span = Span(descriptor, start, end, partial(_move, reached, start, ended))
                    under_way.append(pool.submit(self._send_part, key, upload, number, span, _base64(checksum.digest())))
                    if len(under_way) > PARTS_AT_ONCE:
                        parts.append(under_way.popleft().result())
                parts += [each.result() for each in under_way]
            except BaseException as first:
                ended.set()
                for each in under_way:
                    each.cancel()
                raise _cause(first, under_way) from None
        return parts, whole.hexdigest()

    def _send_part(self, key: str, upload: str, number: int, span: Span, crc32c: str) -> Part:
        def send() -> str:
            return _etag(
                self._requests.ask(
                    "PUT",
                    key,
                    query={"partNumber": str(number), "uploadId": upload},
                    headers={"x-amz-checksum-crc32c": crc32c},
                    body=span,
                    size=span.end - span.start,
                    payload=UNSIGNED,
                )
            )

        def unchanged() -> bool:
            again = CRC32CHash()
            feed(span.descriptor, span.start, span.end, again.update)
            return _base64(again.digest()) == crc32c

        return Part(number, self._guarded(send, unchanged), crc32c)

    def _complete(self, key: str, upload: str, parts: list[Part], size: int, condition: Condition | None) -> str:
        """Have the store put the parts together, and make sure that it has: it may fail after it has answered with success.

        Where an answer was lost, the upload is unknown, or its condition refused, though the object is there.
        """
        body, expected = multipart.completion(parts), multipart.expected_etag(parts)
        etag = ""
        try:
            answer = self._requests.ask(
                "POST",
                key,
                query={"uploadId": upload},
                headers=_headers(condition),
                body=body,
                size=len(body),
                payload=hashlib.sha256(body).hexdigest(),
            )
            etag = multipart.completed_etag(answer.data)
        except S3Error as refused:
            if not _refuses(condition, refused) and refused.code != "NoSuchUpload" and refused.response.status != 404:
                raise
            if self._is(key, size, expected):
                return expected
            raise (RefusedError() if _refuses(condition, refused) else LostError()) from None
        if self._is(key, size, etag or expected):
            return etag or expected
        raise LostError

    def _is(self, key: str, size: int, etag: str) -> bool:
        found = self._look(key) if etag else None
        return found is not None and (found.size, found.etag) == (size, etag)

    def _look(self, key: str) -> _Found | None:
        try:
            answer = self._requests.ask("HEAD", key, headers={"x-amz-checksum-mode": "ENABLED"})
        except S3Error as refused:
            if refused.response.status != 404:
                raise
            return None
        return _Found(int(answer.headers.get("Content-Length", "-1")), _etag(answer), answer.headers.get("x-amz-checksum-sha256", ""))

    def _abort(self, key: str, upload: str) -> None:
        """Remove the parts, if the store takes it: nobody can use them."""
        with contextlib.suppress(MinioException, HTTPError, OSError, SyntaxError):
            patience = Patience(first=ABORT_SECONDS, later=ABORT_SECONDS)
            self._requests.ask("DELETE", key, query={"uploadId": upload}, retries=PatientRetry.within(patience))


@dataclass(frozen=True, slots=True)
class _Found:
    """An object as a look at it shows it. `sha256` is in Base64, empty if the store has none."""

    size: int
    etag: str
    sha256: str

    def holds(self, file: _File) -> bool:
        """Whether it is the file, by what the store knows of it."""
        if self.size != file.size:
            return False
        return self.sha256 == _base64(file.digest("sha256")) if self.sha256 else self.etag == file.digest("md5").hex()


def _move(reached: Reached, start: int, ended: threading.Event, at: int) -> None:
    if ended.is_set():
        raise _EndedError
    reached.move(start, at)


def _cause(first: BaseException, others: deque[Future[Part]]) -> BaseException:
    """Return what ended the upload: not that a part was ended for another's sake."""
    found = (error for each in others if each.done() and not each.cancelled() and (error := each.exception()) is not None)
    return next((each for each in (first, *found) if not isinstance(each, _EndedError)), first)


def _refuses(condition: Condition | None, refused: S3Error) -> bool:
    if condition is None:
        return False
    # Not all stores say of an object that is gone that it is not the same any more.
    return errors.is_condition(refused) or (isinstance(condition, Unchanged) and errors.is_gone(refused))


def _headers(condition: Condition | None) -> dict[str, str]:
    if condition is None:
        return {}
    return {"If-None-Match": "*"} if isinstance(condition, Absent) else {"If-Match": f'"{condition.etag}"'}


def _etag(answer: Any) -> str:
    return str(answer.headers.get("ETag", "")).strip('"')


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
