"""What is to be fetched for a field of the job: objects, and where each will lie."""

from __future__ import annotations

import heapq
import os
import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tftrainer.fetch.seen import NOTHING_SEEN, Seen
from tftrainer.storage.interface import Store
from tftrainer.storage.store import ObjectInfo

SCRIPT_FIELD: Final = "spec.script.uri"
ARCHIVE_FIELD: Final = "spec.dependencies.archive.uri"
ROLES: Final = ("script", "archive", "files", "data")
"""What an object is to the job, the strongest first: all but data is code, which is pinned."""
_RECORD: Final = struct.Struct("<qHI")
"""Bytes of an object, of the rest of its key, and of its ETag."""
_RUN: Final = 1 << 15


def file_field(index: int) -> str:
    """Return the field that names an entry of `dependencies.files`."""
    return f"spec.dependencies.files[{index}].uri"


def input_field(name: str) -> str:
    """Return the field that names a declared input."""
    return f"spec.inputs[{name}].uri"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object to fetch, named by `field` of the spec.

    `role` is one of `ROLES`; `sha256` what the job demands. `also` is the same object for the same place as other fields name it, each
    with its own role and demand; or, of code, another of the same size, whose content has to be the same.
    """

    store: Store
    info: ObjectInfo
    target: Path
    role: str
    field: str
    sha256: str | None = None
    also: tuple[Wanted, ...] = ()

    @property
    def names(self) -> tuple[Wanted, ...]:
        """The object as each field names it."""
        return (self, *self.also)

    @property
    def uri(self) -> str:
        """The object's URI."""
        return self.store.uri(self.info.key)

    def is_same_object(self, other: Wanted) -> bool:
        """Whether another field names the very same object."""
        return (self.store.credentials.host, self.uri) == (other.store.credentials.host, other.uri)

    @property
    def place(self) -> bytes:
        """What objects are ordered by: a folder's come one after the other, and directly after an object that has the folder's name."""
        return _place(os.fsencode(self.target))


class Batch:
    """Data of one bucket, named by `field`: objects whose keys begin with `prefix`, each to lie below `root` at the rest of its key.

    There may be a million of them. One takes as many bytes as the rest of its key and its ETag have, and twenty more; a `Wanted` is
    made of it when it is its turn. They come in the order of their places, in whatever order `objects` has them.
    """

    def __init__(self, store: Store, prefix: str, root: Path, field: str, objects: Iterable[ObjectInfo]) -> None:
        self._store = store
        self._prefix = prefix
        self._root = root
        self._field = field
        self._records = bytearray()
        self._starts = array("Q")
        before = b""
        in_order = True
        for each in objects:
            rest, etag = each.key.removeprefix(prefix).encode(), each.etag.encode()
            self._starts.append(len(self._records))
            self._records += _RECORD.pack(each.size, len(rest), len(etag)) + rest + etag
            place = _place(rest)
            in_order = in_order and before < place
            before = place
        if not in_order:
            # In runs, so that there are never the keys of all at once.
            runs = (self._starts[at : at + _RUN] for at in range(0, len(self._starts), _RUN))
            self._starts = array("Q", heapq.merge(*(array("Q", sorted(run, key=self._place)) for run in runs), key=self._place))

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Wanted]:
        root = f"{self._root}/"
        for start in self._starts:
            size, rest, etag = self._read(start)
            path = rest.decode()
            yield Wanted(self._store, ObjectInfo(self._prefix + path, size, etag.decode()), Path(root + path), "data", self._field)

    def _place(self, start: int) -> bytes:
        return _place(self._read(start)[1])

    def _read(self, start: int) -> tuple[int, bytes, bytes]:
        size, rest, etag = _RECORD.unpack_from(self._records, start)
        middle = start + _RECORD.size + rest
        return size, bytes(self._records[middle - rest : middle]), bytes(self._records[middle : middle + etag])


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one look-up: objects to fetch, folders to make, sentences for the log, and what was seen of the job's bucket.

    `near` pairs the local path of something that is not there with what lies beside it and may have been meant.
    """

    wanted: tuple[Wanted, ...] | Batch = ()
    folders: tuple[Path, ...] = ()
    facts: tuple[str, ...] = ()
    seen: Seen = NOTHING_SEEN
    near: tuple[tuple[str, str], ...] = ()


def _place(path: bytes) -> bytes:
    return path.replace(b"/", b"\0")
