"""What must hold of a key for an upload to take place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no object of that key."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The object is still the one of this ETag, as `ObjectInfo` has it."""

    etag: str


Condition = Absent | Unchanged
