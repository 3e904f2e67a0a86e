"""The API server for who leads: before every single write it is asked whether this process still may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from tftraining_operator.kube.client import KubeApi, Raw
from tftraining_operator.kube.errors import ApiError


class NotLeadingError(ApiError):
    """The process must not write: another may lead by now."""

    def __init__(self) -> None:
        super().__init__(0, "NotLeading", "the lease may be another process's by now")


class Guard:
    """A `KubeApi` that writes only while `may_write` says so; a look at a job takes longer than a lease may last."""

    def __init__(self, api: KubeApi, may_write: Callable[[], bool]) -> None:
        self._api = api
        self._may_write = may_write

    async def get(self, path: str) -> Raw:
        """Return an object."""
        return await self._api.get(path)

    def pages(self, path: str, selector: str = "", *, fields: str = "") -> AsyncIterator[tuple[str, list[Raw]]]:
        """Yield the list's version and items, page by page; `selector` is of labels, `fields` of fields."""
        return self._api.pages(path, selector, fields=fields)

    def watch(self, path: str, selector: str, version: str) -> AsyncIterator[tuple[str, Raw]]:
        """Yield what happens to a collection's objects after a version of it."""
        return self._api.watch(path, selector, version)

    async def create(self, path: str, body: Raw) -> Raw:
        """Create an object in a collection and return it as stored."""
        return await self._writing().create(path, body)

    async def replace(self, path: str, body: Raw) -> Raw:
        """Replace an object as a whole; the version that it carries must be the stored one."""
        return await self._writing().replace(path, body)

    async def set_status(self, path: str, status: Raw, *, resource_version: str) -> Raw:
        """Replace an object's status if it is still in that version, and return the object."""
        return await self._writing().set_status(path, status, resource_version=resource_version)

    async def delete(self, path: str, *, uid: str, resource_version: str = "") -> None:
        """Delete an object if it still is the one with that uid, and in that version where one is named."""
        await self._writing().delete(path, uid=uid, resource_version=resource_version)

    def _writing(self) -> KubeApi:
        if not self._may_write():
            raise NotLeadingError
        return self._api
