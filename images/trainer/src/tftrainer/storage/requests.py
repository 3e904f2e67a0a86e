"""Signed requests for the objects of one bucket."""

from __future__ import annotations

import hashlib
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import urllib3

from tftrainer.storage.credentials import Credentials
from tftrainer.storage.library import InvalidResponseError, Minio, S3Error
from tftrainer.storage.patience import PatientRetry
from tftrainer.storage.signature import Signer, encoded, query_string

NOTHING: Final = hashlib.sha256().hexdigest()
"""The SHA-256 of a body that is empty."""
_XML: Final = frozenset({"application/xml", "text/xml"})
_AGENT: Final = "tftraining"


def utc_now() -> datetime:
    """Return the time that signatures are of."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Address:
    """Where the bucket is: `path` begins the path of all its objects."""

    host: str
    path: str
    connections: Any
    signer: Signer


class Requests:
    """Asks for objects over the connections of a pool, which repeats what fails. Safe to use from several threads."""

    def __init__(self, client: Minio, pool: urllib3.PoolManager, credentials: Credentials) -> None:
        self._client = client
        self._pool = pool
        self._credentials = credentials

    def ask(
        self,
        method: str,
        key: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = b"",
        size: int = 0,
        payload: str = NOTHING,
        retries: PatientRetry | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Return the answer to a request that the store has granted.

        `body` is bytes or a span of `size` bytes, `payload` the digest of it that is signed.

        Raises:
            S3Error: the store refuses.
            InvalidResponseError: what answers is no store.
            urllib3.exceptions.HTTPError: no answer came within the patience of `retries`, else of the pool.
        """
        at = self._address
        path, asked = at.path + encoded(key), query_string(query or {})
        own = {"User-Agent": _AGENT, **(headers or {})}
        if method in ("PUT", "POST"):
            own |= {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        response: urllib3.BaseHTTPResponse = at.connections.urlopen(
            method,
            f"{path}?{asked}" if asked else path,
            body=body if isinstance(body, bytes) else (body,),
            headers=at.signer.signed(method, at.host, path, asked, own, payload, utc_now()),
            redirect=False,
            retries=retries,
        )
        if response.status not in (200, 201, 204):
            raise _refusal(response)
        return response

    @cached_property
    def _address(self) -> _Address:
        # The library knows the ways to name a bucket, and finds out its region: a signed address says both.
        known, own = self._credentials, "key"
        parts = urllib.parse.urlsplit(self._client.get_presigned_url("PUT", known.bucket, own))
        region = urllib.parse.parse_qs(parts.query)["X-Amz-Credential"][0].rsplit("/", 3)[1]
        return _Address(
            parts.netloc,
            parts.path.removesuffix(own),
            self._pool.connection_from_url(f"{parts.scheme}://{parts.netloc}"),
            Signer(known.access_key, known.secret_key, region),
        )


def _refusal(response: urllib3.BaseHTTPResponse) -> Exception:
    if not response.data:
        return S3Error(response, "", "", "", "", "")
    if response.headers.get("Content-Type", "").partition(";")[0].strip() not in _XML:
        return InvalidResponseError(response.status, "", None)
    return S3Error.fromxml(response)
