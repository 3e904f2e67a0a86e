"""What the phases need of a bucket, wherever it lies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

from tftrainer.storage.condition import Condition
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.store import ObjectInfo
from tftrainer.storage.upload import Written


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
        """Yield the objects whose keys start with `prefix`, in whatever order the store gives them."""

    def read(self, key: str, limit: int) -> bytes | None:
        """Return a small object of at most `limit` bytes, None if there is none."""

    def download(
        self, info: ObjectInfo, target: Path, *, progress: Callable[[int], None] = ..., cancelled: threading.Event | None = None
    ) -> None:
        """Fetch the object into a new file; it is whole and of that ETag, or there is none."""

    def write(self, key: str, data: bytes) -> Written:
        """Write a small object."""

    def upload(
        self, key: str, source: IO[bytes], size: int, progress: Callable[[int], None] = ..., *, condition: Condition | None = None
    ) -> Written:
        """Write an object of the first `size` bytes of an open file, wherever it stands; `progress` is told of the bytes as they are sent.

        What `progress` raises ends the upload. With a `condition` the object is written only if that holds at the store, and keeps to it
        whatever becomes of answers on their way. Of writers at the same time on the same condition, one wins for certain as long as the
        file is of no more than `SINGLE` bytes: not every store puts parts together one upload at a time.

        Raises:
            errors.ConditionError: the condition did not hold, and nothing was written.
        """

    def copy(self, key: str, target: str) -> Written:
        """Write another object with the bytes of the first, without their going through this process."""

    def delete(self, key: str) -> None:
        """Remove an object; it is no fault if there is none."""

    def keeps_conditions(self, key: str, data: bytes) -> bool:
        """Whether `write_if_absent` can be relied on. There is an object of that key, and `data` is what it holds."""

    def write_if_absent(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one of that key; whether it was written."""
