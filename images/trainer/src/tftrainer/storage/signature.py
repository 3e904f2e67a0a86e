"""Signatures of requests, version 4: over method, address, chosen headers and the digest of the body. The key of a day is derived once."""

from __future__ import annotations

import hashlib
import hmac
import urllib.parse
from collections.abc import Mapping
from datetime import datetime
from typing import Final

UNSIGNED: Final = "UNSIGNED-PAYLOAD"
"""Stands for the digest of a body that is guarded otherwise."""
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SIGNED: Final = "x-amz-"
"""Begins the names of the headers that are signed beside the host's."""


def encoded(path: str) -> str:
    """Return a path as it stands in an address."""
    return urllib.parse.quote(path, safe="/")


def query_string(query: Mapping[str, str]) -> str:
    """Return the query of an address as it is sent and signed."""
    return "&".join(f"{urllib.parse.quote(name, safe='')}={urllib.parse.quote(query[name], safe='')}" for name in sorted(query))


class Signer:
    """Signs the requests of one access key in one region. Safe to use from several threads."""

    def __init__(self, access_key: str, secret_key: str, region: str) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._region = region
        self._day = ("", b"")

    def signed(
        self, method: str, host: str, path: str, query: str, headers: Mapping[str, str], payload: str, at: datetime
    ) -> dict[str, str]:
        """Return the headers of a request with its signature among them.

        `path` and `query` are as they are sent. `payload` is the SHA-256 of the body, 64 hex digits, or `UNSIGNED`; `at` is in UTC.
        """
        moment = at.strftime("%Y%m%dT%H%M%SZ")
        own = {**headers, "Host": host, "x-amz-date": moment, "x-amz-content-sha256": payload}
        signed = sorted((name.lower(), value) for name, value in own.items() if name == "Host" or name.lower().startswith(_SIGNED))
        names = ";".join(name for name, _ in signed)
        lines = "".join(f"{name}:{value.strip()}\n" for name, value in signed)
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}"
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key(moment[:8]), text.encode(), "sha256").hex()
        own["Authorization"] = f"{_ALGORITHM} Credential={self._access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        return own

    def _key(self, day: str) -> bytes:
        known, key = self._day
        if known != day:
            key = f"AWS4{self._secret_key}".encode()
            for step in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, step.encode(), "sha256")
            self._day = (day, key)
        return key
