"""What the phases need of a bucket, wherever it lies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

from tftrainer.storage.credentials import Credentials
from tftrainer.storage.store import ObjectInfo, Written


class Store(Protocol):
    """One bucket. Every error is a `PhaseError` in the user's words; safe to use from several threads."""

    @property
    def credentials(self) -> Credentials:
        """What reaches the bucket: its name, and the prefix of all keys."""

    def uri(self, key: str) -> str:
        """Return by what name the user knows a whole key."""

    def find(self, key: str) -> ObjectInfo | None:
        """Return the object of that key, None if there is none."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose keys start with `prefix`, in the order of their keys."""

    def read(self, key: str, limit: int) -> bytes | None:
        """Return a small object of at most `limit` bytes, None if there is none."""

    def download(
        self, info: ObjectInfo, target: Path, *, progress: Callable[[int], None] = ..., cancelled: threading.Event | None = None
    ) -> None:
        """Fetch the object into a new file; it is whole and of that ETag, or there is none."""

    def write(self, key: str, data: bytes) -> Written:
        """Write a small object."""

    def upload(self, key: str, source: IO[bytes], size: int, progress: Callable[[int], None] = ...) -> Written:
        """Write an object of `size` bytes from a stream that is read once; `progress` is told of the bytes as they are read."""

    def copy(self, key: str, target: str) -> Written:
        """Write another object with the bytes of the first, without their going through this process."""

    def delete(self, key: str) -> None:
        """Remove an object; it is no fault if there is none."""

    def keeps_conditions(self, key: str, data: bytes) -> bool:
        """Whether `write_if_absent` can be relied on. There is an object of that key, and `data` is what it holds."""

    def write_if_absent(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one of that key; whether it was written."""
