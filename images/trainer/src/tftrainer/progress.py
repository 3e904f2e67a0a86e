"""How far a transfer is, in words: every few seconds while it lasts, and nothing of one that is over before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

PAUSE_SECONDS: Final = 5.0


def size(count: float) -> str:
    """Return a number of bytes in a readable unit."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def counted(count: int, noun: str) -> str:
    """Return a number with what it counts: `1 object`, `2 objects`."""
    return f"{count} {noun}{'s' * (count != 1)}"


class Progress:
    """Says every few seconds how much has arrived, at what rate, and what is left; threads may share it."""

    def __init__(self, objects: int, total: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._objects = objects
        self._total = total
        self._say = say
        self._clock = clock
        self._start = self._spoken = clock()
        self._bytes = 0
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes that arrived."""
        self._count(count, 0)

    def complete(self) -> None:
        """Count an object that arrived whole."""
        self._count(0, 1)

    def _count(self, count: int, objects: int) -> None:
        with self._lock:
            self._bytes += count
            self._done += objects
            now = self._clock()
            if now - self._spoken < PAUSE_SECONDS:
                return
            self._spoken = now
        self._say(self.words())

    def words(self) -> str:
        """Return how far it is now."""
        seconds = max(self._clock() - self._start, 1e-3)
        rate = self._bytes / seconds
        # What was sent twice counts twice, so that there may seem to be more than all.
        remaining = max(self._total - self._bytes, 0)
        left = f", {remaining / rate:.0f} s left" if rate else ""
        whole = f"{self._done} of {counted(self._objects, 'object')}"
        return f"{whole}, {size(self._bytes)} of {size(self._total)}, {size(rate)}/s{left}"
