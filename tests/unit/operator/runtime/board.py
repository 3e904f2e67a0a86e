"""An API server's memory for tests of timing: one dictionary of objects, with versions, and failures at will."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

from tftraining_operator.core.records import Raw
from tftraining_operator.kube.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError

CREATED = "2027-01-15T08:00:00Z"
"""When everything on a board was created: Unix second 1,800,000,000."""


class Board:
    """A `KubeApi` whose server is a dictionary. `trouble` is asked before each request and may raise; `silent` never answers."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.trouble: Callable[[str], ApiError | None] = lambda _: None
        self.silent = False
        self.told: list[tuple[str, Raw]] = []
        self._versions = itertools.count(1)

    async def get(self, path: str) -> Raw:
        await self._begin("get", path)
        if path not in self.objects:
            raise NotFoundError(404, "NotFound", path)
        return self.objects[path]

    async def create(self, path: str, body: Raw) -> Raw:
        await self._begin("create", path)
        place = f"{path}/{body['metadata']['name']}"
        if place in self.objects:
            raise AlreadyExistsError(409, "AlreadyExists", place)
        return self._put(place, body)

    async def replace(self, path: str, body: Raw) -> Raw:
        await self._begin("replace", path)
        if path not in self.objects:
            raise NotFoundError(404, "NotFound", path)
        if self.objects[path]["metadata"]["resourceVersion"] != body["metadata"].get("resourceVersion"):
            raise ConflictError(409, "Conflict", path)
        return self._put(path, body)

    async def set_status(self, path: str, status: Raw, *, resource_version: str) -> Raw:
        await self._begin("set_status", path)
        body = {**self.objects[path], "status": dict(status)}
        body["metadata"] = {**body["metadata"], "resourceVersion": resource_version}
        return await self.replace(path, body)

    async def delete(self, path: str, *, uid: str, resource_version: str = "") -> None:
        await self._begin("delete", path)
        if resource_version and path in self.objects and self.objects[path]["metadata"]["resourceVersion"] != resource_version:
            raise ConflictError(409, "Conflict", path)
        if self.objects.pop(path, None) is None:
            raise NotFoundError(404, "NotFound", path)

    async def pages(self, path: str, selector: str = "", *, fields: str = "") -> AsyncIterator[tuple[str, list[Raw]]]:
        await self._begin("list", path)
        yield str(next(self._versions)), [item for place, item in self.objects.items() if place.startswith(f"{path}/")]

    async def watch(self, path: str, selector: str, version: str) -> AsyncIterator[tuple[str, Raw]]:
        await self._begin("watch", path)
        for each in self.told:
            yield each

    def _put(self, place: str, body: Raw) -> Raw:
        version = str(next(self._versions))
        stored = {
            **body,
            "metadata": {"uid": f"uid-{version}", "creationTimestamp": CREATED, **body["metadata"], "resourceVersion": version},
        }
        self.objects[place] = stored
        return stored

    async def _begin(self, verb: str, path: str) -> None:
        self.requests.append((verb, path))
        if self.silent:
            await asyncio.Event().wait()
        error = self.trouble(path)
        if error is not None:
            raise error
