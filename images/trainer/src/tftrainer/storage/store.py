"""A bucket: look, list, read, write, and write only if nothing is there. Every error is a `PhaseError` in the user's words."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import urllib3

from tftrainer.messages.contract import Reason
from tftrainer.storage import transfer
from tftrainer.storage.condition import Absent, Condition
from tftrainer.storage.connection import POOLS
from tftrainer.storage.credentials import PATH_STYLE, VIRTUAL_STYLE, Credentials
from tftrainer.storage.errors import ConditionError, RefusedError, StorageError, is_missing, missing_bucket, translate
from tftrainer.storage.library import CopySource, Minio, S3Error
from tftrainer.storage.patience import Patience, PatientRetry
from tftrainer.storage.requests import Requests
from tftrainer.storage.upload import Uploads, Written

CONNECTIONS: Final = 24
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
UNKNOWN_CONDITION: Final = frozenset({400, 501})
"""Answers of stores that do not know a conditional write."""

T = TypeVar("T")

# urllib3 logs the addresses it tries again: they hold object names and, for conditional writes, a signature.
logging.getLogger("urllib3").disabled = True
for _module in ("connectionpool", "util.retry", "connection", "response", "poolmanager"):
    logging.getLogger(f"urllib3.{_module}").disabled = True


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as the server describes it. `key` is the whole key, `size` in bytes."""

    key: str
    size: int
    etag: str


class Store:
    """The bucket of one Secret. Safe to use from several threads."""

    def __init__(self, credentials: Credentials, patience: Patience | None = None) -> None:
        self.credentials = credentials
        self.patience = patience or Patience()
        self._bucket_seen = False
        self._pool = _pool(credentials, self.patience)
        self._client = Minio(
            credentials.host,
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
            secure=credentials.secure,
            # Amazon's servers tell a bucket's region; others take this one and save the question.
            region=credentials.region or (None if ".amazonaws.com" in credentials.host else "us-east-1"),
            http_client=self._pool,
        )
        if credentials.addressing == VIRTUAL_STYLE:
            self._client.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        elif credentials.addressing == PATH_STYLE:
            self._client.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        self._uploads = Uploads(Requests(self._client, self._pool, credentials), self.patience)

    def uri(self, key: str) -> str:
        """Return the URI of a whole key."""
        return self.credentials.uri(key)

    def find(self, key: str) -> ObjectInfo | None:
        """Return the object of that key, None if there is none."""
        try:
            found = self._client.stat_object(self.credentials.bucket, key)
        except Exception as error:
            if not is_missing(error):
                raise translate(error, self.uri(key), self.credentials) from None
            self._check_bucket()
            return None
        self._answered()
        return ObjectInfo(key, found.size or 0, found.etag or "")

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose keys start with `prefix`, in whatever order the store gives them, without markers of folders."""
        try:
            for found in self._client.list_objects(self.credentials.bucket, prefix=prefix, recursive=True):
                self.patience.check()
                if not found.object_name.endswith("/"):
                    yield ObjectInfo(found.object_name, found.size or 0, (found.etag or "").strip('"'))
        except GeneratorExit:
            raise
        except Exception as error:
            raise translate(error, self.uri(prefix), self.credentials) from None

    def read(self, key: str, limit: int) -> bytes | None:
        """Return a small object, None if there is none.

        Raises:
            PhaseError: it is longer than `limit` bytes, or the store fails.
        """
        try:
            data = transfer.read_whole(lambda: self._client.get_object(self.credentials.bucket, key), limit + 1, self.patience)
        except Exception as error:
            if not is_missing(error):
                raise translate(error, self.uri(key), self.credentials) from None
            self._answered()
            return None
        self._answered()
        if len(data) > limit:
            raise StorageError(Reason.STORAGE_UNAVAILABLE, f"{self.uri(key)} is longer than {limit} bytes, expected a file of this product")
        return data

    def download(
        self,
        info: ObjectInfo,
        target: Path,
        *,
        progress: Callable[[int], None] = transfer.unheard,
        cancelled: threading.Event | None = None,
    ) -> None:
        """Fetch the object into a new file; it is whole and of that ETag, or there is none.

        `progress` is told of bytes as they arrive.

        Raises:
            PhaseError: the store fails, the object changed, or the file does not fit.
            transfer.GivenUpError: `cancelled` was set.
        """

        def open_range(offset: int, length: int) -> Any:
            headers: dict[str, Any] = {"If-Match": f'"{info.etag}"'} if info.etag else {}
            whole = offset == 0 and length == info.size
            return self._client.get_object(
                self.credentials.bucket,
                info.key,
                offset=0 if whole else offset,
                length=0 if whole else length,
                request_headers=headers,
            )

        try:
            transfer.download(open_range, info.size, info.etag, target, self.patience, progress, cancelled or threading.Event())
        except transfer.GivenUpError:
            raise
        except Exception as error:
            raise translate(error, self.uri(info.key), self.credentials) from None

    def write(self, key: str, data: bytes) -> Written:
        """Write a small object."""
        return self._write(key, lambda: self._uploads.write(key, data))

    def upload(
        self,
        key: str,
        source: IO[bytes],
        size: int,
        progress: Callable[[int], None] = transfer.unheard,
        *,
        condition: Condition | None = None,
    ) -> Written:
        """Write an object of the first `size` bytes of an open file; large ones in parts, which are removed if given up.

        Raises:
            ConditionError: the condition did not hold.
            PhaseError: the store fails, or the file did not stay as it was.
            transfer.GivenUpError: `progress` has raised it.
        """
        return self._write(key, lambda: self._uploads.upload(key, source.fileno(), size, progress, condition))

    def _write(self, key: str, write: Callable[[], Written]) -> Written:
        try:
            written = write()
        except transfer.GivenUpError:
            raise
        except Exception as error:
            raise translate(error, self.uri(key), self.credentials) from None
        self._answered()
        return written

    def copy(self, key: str, target: str) -> Written:
        """Have the server write another object with the bytes of the first. The digest of the result is not known."""
        bucket = self.credentials.bucket
        try:
            self._client.copy_object(bucket, target, CopySource(bucket, key))
        except Exception as error:
            raise translate(error, self.uri(key), self.credentials) from None
        # What a server answers to a copy differs in its ETag's form; a look at the object does not.
        found = self.find(target)
        if found is None:
            raise StorageError(Reason.STORAGE_UNAVAILABLE, f"{self.uri(target)} is not there after a copy", "have the store repaired")
        return Written(found.size, "", found.etag)

    def delete(self, key: str) -> None:
        """Remove an object; it is no fault if there is none."""
        try:
            self._client.remove_object(self.credentials.bucket, key)
        except Exception as error:
            if not is_missing(error):
                raise translate(error, self.uri(key), self.credentials) from None

    def keeps_conditions(self, key: str, data: bytes) -> bool:
        """Whether `write_if_absent` can be relied on. There is an object of that key, and `data` is what it holds.

        Some stores take no notice of `If-None-Match` and overwrite; others do not know it and refuse.
        """
        try:
            self._uploads.write(key, data, Absent())
        except RefusedError:
            return True
        except Exception as error:
            if isinstance(error, S3Error) and error.response.status in UNKNOWN_CONDITION:
                return False
            raise translate(error, self.uri(key), self.credentials) from None
        return False

    def write_if_absent(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one of that key; whether it was written."""
        try:
            self._write(key, lambda: self._uploads.write(key, data, Absent()))
        except ConditionError:
            return False
        return True

    def _answered(self) -> None:
        self.patience.answered()
        self._bucket_seen = True

    def _check_bucket(self) -> None:
        """Tell a missing bucket from a missing object: the answer to a look at an object does not."""
        if self._bucket_seen:
            return
        exists = self._do(lambda: self._client.bucket_exists(self.credentials.bucket), self.uri(""))
        if not exists:
            raise missing_bucket(self.credentials)
        self._bucket_seen = True

    def _do(self, request: Callable[[], T], what: str) -> T:
        try:
            result = request()
        except Exception as error:
            raise translate(error, what, self.credentials) from None
        self.patience.answered()
        return result


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pool(credentials: Credentials, patience: Patience) -> urllib3.PoolManager:
    options: dict[str, Any] = {}
    if credentials.secure:
        options["ssl_context"] = _tls(credentials)
    pool = urllib3.PoolManager(
        maxsize=CONNECTIONS,
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        retries=PatientRetry.within(patience),
        **options,
    )
    pool.pool_classes_by_scheme = POOLS
    return pool


def _tls(credentials: Credentials) -> Any:
    import ssl

    import certifi

    context = ssl.create_default_context(cafile=certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if credentials.ca_certificate:
        try:
            context.load_verify_locations(cadata=credentials.ca_certificate)
        except (ssl.SSLError, ValueError, TypeError):
            raise StorageError(
                Reason.STORAGE_MISCONFIGURED,
                f"key caCertificate of the {credentials.label} is not a certificate, expected PEM text",
                "correct caCertificate in the Secret, or remove it",
            ) from None
    return context
