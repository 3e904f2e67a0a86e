"""A load generator's view of the API server: raw objects over one pool of connections, as cheap as Python can be."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Object = dict[str, Any]
MERGE = {"Content-Type": "application/merge-patch+json"}


@dataclass(frozen=True, slots=True)
class Api:
    """An open session with the API server. `url` has no trailing slash."""

    session: aiohttp.ClientSession
    url: str

    async def create(self, path: str, body: Object) -> Object:
        """Create an object; raises aiohttp.ClientResponseError when it is refused."""
        async with self.session.post(self.url + path, json=body, raise_for_status=True) as response:
            return dict(await response.json())

    async def get(self, path: str) -> Object:
        """Return an object."""
        async with self.session.get(self.url + path, raise_for_status=True) as response:
            return dict(await response.json())

    async def merge(self, path: str, body: Object) -> None:
        """Merge-patch an object; raises aiohttp.ClientResponseError when it is refused."""
        async with self.session.patch(self.url + path, data=json.dumps(body), headers=MERGE, raise_for_status=True) as response:
            await response.read()

    async def names(self, path: str) -> list[str]:
        """Return the names of a collection's objects."""
        async with self.session.get(self.url + path, raise_for_status=True) as response:
            return [item["metadata"]["name"] for item in (await response.json())["items"]]

    async def clear(self, path: str) -> None:
        """Delete all objects of a collection at once."""
        body = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
        async with self.session.delete(self.url + path, json=body, raise_for_status=True) as response:
            await response.read()

    async def watch(self, path: str) -> AsyncIterator[tuple[str, Object]]:
        """Yield (event type, object) of a collection, from its present state on, without end.

        Raises:
            RuntimeError: the server has ended the watch, as it does with one that is too slow: what was missed would be waited for.
        """
        query = {"watch": "true", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=None)
        async with self.session.get(self.url + path, params=query, timeout=timeout, raise_for_status=True) as response:
            pending = b""
            async for chunk in response.content.iter_any():
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    yield event["type"], event["object"]
        raise RuntimeError(f"the server has ended the watch of {path}")


def open_session(kubeconfig: Path) -> Api:
    """Return a session as the user of the kubeconfig's current context (client certificates only)."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = next(item["context"] for item in config["contexts"] if item["name"] == config["current-context"])
    cluster = next(item["cluster"] for item in config["clusters"] if item["name"] == context["cluster"])
    user = next(item["user"] for item in config["users"] if item["name"] == context["user"])
    with tempfile.TemporaryDirectory() as folder:
        authority, certificate, key = (
            _file(Path(folder), source, name)
            for source, name in ((cluster, "certificate-authority"), (user, "client-certificate"), (user, "client-key"))
        )
        tls = ssl.create_default_context(cafile=str(authority))
        tls.load_cert_chain(certificate, key)
    connector = aiohttp.TCPConnector(ssl=tls, limit=64)
    return Api(aiohttp.ClientSession(connector=connector), cluster["server"].rstrip("/"))


def _file(folder: Path, source: Object, name: str) -> Path:
    if name in source:
        return Path(source[name])
    path = folder / name
    path.write_bytes(base64.b64decode(source[f"{name}-data"]))
    return path
