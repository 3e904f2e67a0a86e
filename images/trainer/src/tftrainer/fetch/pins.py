"""What a run was given, for the manifest and for who runs it again: which objects, and of which version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from tftrainer.fetch.wanted import Wanted
from tftrainer.messages.contract import Pinned
from tftrainer.messages.manifest import MoreInputs
from tftrainer.phase_error import clip

INPUTS_LIMIT: Final = 10_000
"""Inputs that are listed one by one."""


def pinned(each: Wanted, sha256: str = "") -> Pinned:
    """Return what an object was when it was fetched."""
    return Pinned(uri=clip(each.uri, 1200), sha256=sha256, bytes=each.info.size, etag=clip(each.info.etag, 128))


class Inputs:
    """Collects the data of a job: `listed` has the first objects, `more` what is known of the rest."""

    def __init__(self) -> None:
        self.listed: list[Pinned] = []
        self._count = 0
        self._bytes = 0
        self._digest = hashlib.sha256()

    def counted(self, data: Iterable[Wanted]) -> Iterator[Wanted]:
        """Yield the objects, and collect each."""
        for each in data:
            if len(self.listed) < INPUTS_LIMIT:
                self.listed.append(pinned(each))
            else:
                self._count += 1
                self._bytes += each.info.size
                self._digest.update(f"{each.info.etag} {each.info.size} {each.uri}\n".encode())
            yield each

    @property
    def more(self) -> MoreInputs | None:
        """What the objects come to that are not listed, None if all are."""
        return MoreInputs(objects=self._count, bytes=self._bytes, sha256=self._digest.hexdigest()) if self._count else None
