"""The few verbs that the operator needs, over raw objects.

Bare aiohttp instead of the official client's calls: the same request costs less than a third of the CPU, and the API server's answer to a
created pod is what the operator waits for (figures in docs/design/0005-http-client.md).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

import aiohttp
import msgspec

from tftraining_operator.kube.credentials import Credentials, tls
from tftraining_operator.kube.errors import ApiError, UnavailableError, error_of

Raw = Mapping[str, Any]
PAGE = 25
"""Objects of one page of a list: of jobs with the longest inline scripts, some 25 MB of text."""
_TIMEOUT_SECONDS = 30.0
_WATCH_SECONDS = 300
_SILENT_SECONDS = 150.0
"""How long a watch may be silent: a server bookmarks each minute where it has nothing to tell."""


class KubeApi(Protocol):
    """What the operator asks of an API server. Every verb raises ApiError's subclasses."""

    async def get(self, path: str) -> Raw:
        """Return an object."""

    async def create(self, path: str, body: Raw) -> Raw:
        """Create an object in a collection and return it as stored."""

    async def replace(self, path: str, body: Raw) -> Raw:
        """Replace an object as a whole; the version that it carries must be the stored one."""

    async def set_status(self, path: str, status: Raw, *, resource_version: str) -> Raw:
        """Replace an object's status if it is still in that version, and return the object."""

    async def delete(self, path: str, *, uid: str, resource_version: str = "") -> None:
        """Delete an object if it still is the one with that uid, and in that version where one is named."""

    def pages(self, path: str, selector: str = "", *, fields: str = "") -> AsyncIterator[tuple[str, list[Raw]]]:
        """Yield the list's version and items, page by page; `selector` is of labels, `fields` of fields."""

    def watch(self, path: str, selector: str, version: str) -> AsyncIterator[tuple[str, Raw]]:
        """Yield what happens to a collection's objects after a version, not for ever: ADDED, MODIFIED, DELETED or BOOKMARK, and each."""


class KubeClient:
    """A `KubeApi` over one pool of connections.

    `count` is told the verb and HTTP code of every request, `dated` each answer's date and the monotonic seconds of request and answer.
    """

    def __init__(
        self,
        credentials: Credentials,
        user_agent: str,
        count: Callable[[str, int], None] = lambda *_: None,
        dated: Callable[[str, float, float], None] = lambda *_: None,
    ) -> None:
        self._credentials = credentials
        self._count = count
        self._dated = dated
        connector = aiohttp.TCPConnector(ssl=tls(credentials), limit=32)
        self._session = aiohttp.ClientSession(
            connector=connector, headers={"User-Agent": user_agent}, timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def get(self, path: str) -> Raw:
        """Return an object."""
        return await self._request("GET", path)

    async def create(self, path: str, body: Raw) -> Raw:
        """Create an object in a collection and return it as stored."""
        return await self._request("POST", path, body)

    async def replace(self, path: str, body: Raw) -> Raw:
        """Replace an object as a whole; the version that it carries must be the stored one."""
        return await self._request("PUT", path, body)

    async def set_status(self, path: str, status: Raw, *, resource_version: str) -> Raw:
        """Replace an object's status if it is still in that version, and return the object.

        A version is of one object only, so that a successor of the same name is never hit. Replacing it, unlike testing it, makes the
        server answer that the object has changed (409), not that the request is invalid (422).
        """
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "add", "path": "/status", "value": status},
        ]
        return await self._request("PATCH", f"{path}/status", patch, "application/json-patch+json")

    async def delete(self, path: str, *, uid: str, resource_version: str = "") -> None:
        """Delete an object if it still is the one with that uid, and in that version where one is named."""
        conditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions}
        await self._request("DELETE", path, options)

    async def pages(self, path: str, selector: str = "", *, fields: str = "") -> AsyncIterator[tuple[str, list[Raw]]]:
        """Yield the list's version and items, page by page; `selector` is of labels, `fields` of fields."""
        proceed = ""
        while True:
            narrowed = {"labelSelector": selector, "fieldSelector": fields, "continue": proceed}
            query = {"limit": str(PAGE)} | {name: value for name, value in narrowed.items() if value}
            answer = await self._request("GET", path, query=query)
            metadata = answer.get("metadata") or {}
            yield str(metadata.get("resourceVersion", "")), list(answer.get("items") or [])
            del answer  # One page at a time: it may hold long scripts.
            proceed = str(metadata.get("continue") or "")
            if not proceed:
                return

    async def watch(self, path: str, selector: str, version: str) -> AsyncIterator[tuple[str, Raw]]:
        """Yield what happens to a collection's objects after a version, not for ever: ADDED, MODIFIED, DELETED or BOOKMARK, and each."""
        token = self._credentials.token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        query = {"watch": "true", "labelSelector": selector, "resourceVersion": version, "timeoutSeconds": str(_WATCH_SECONDS)}
        query["allowWatchBookmarks"] = "true"
        limits = aiohttp.ClientTimeout(total=_WATCH_SECONDS + _TIMEOUT_SECONDS, sock_connect=_TIMEOUT_SECONDS, sock_read=_SILENT_SECONDS)
        try:
            async with self._session.get(self._credentials.server + path, params=query, headers=headers, timeout=limits) as response:
                self._count("GET", response.status)
                if response.status >= 400:
                    raise error_of(response.status, _decoded(await response.read()), response.headers.get("Retry-After"))
                async for line in _lines(response.content):
                    event = _decoded(line)
                    if event.get("type") == "ERROR":
                        status = event.get("object") or {}
                        raise error_of(int(status.get("code") or 500), status, None)
                    yield str(event.get("type", "")), event.get("object") or {}
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._count("GET", 0)
            raise UnavailableError(0, type(error).__name__, f"watch of {path}: {error}") from error

    async def _request(
        self, verb: str, path: str, body: Any = None, kind: str = "application/json", *, query: Mapping[str, str] | None = None
    ) -> Raw:
        token = self._credentials.token()
        headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else msgspec.json.encode(body)
        sent = time.monotonic()
        try:
            async with self._session.request(verb, self._credentials.server + path, data=data, params=query, headers=headers) as response:
                self._count(verb, response.status)
                self._dated(response.headers.get("Date", ""), sent, time.monotonic())
                content = await response.read()
                answer = _decoded(content)
                if response.status >= 400:
                    raise error_of(response.status, answer, response.headers.get("Retry-After"))
                return answer
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._count(verb, 0)
            raise UnavailableError(0, type(error).__name__, f"{verb} {path}: {error}") from error


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield whole lines, however long: the stream's own are bounded."""
    rest = b""
    async for chunk in stream.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line


def _decoded(content: bytes) -> Raw:
    try:
        answer = msgspec.json.decode(content) if content else {}
    except ValueError:
        return {"message": content[:200].decode("utf-8", "replace")}
    return answer if isinstance(answer, dict) else {}


__all__ = ["PAGE", "ApiError", "KubeApi", "KubeClient", "Raw"]
