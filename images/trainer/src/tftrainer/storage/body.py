"""Bytes of a file that are sent as they lie there, and what is said of them before."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

BLOCK: Final = 256 * 1024
"""Bytes that are read at a time: what is hashed twice comes from the processor's cache the second time."""


SHORTER: Final = "became shorter"


class SourceChangedError(Exception):
    """A file does not hold any more what it held when its upload began; the text says what it did."""


class UnreadableError(Exception):
    """A file cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes of an open file from `start` up to `end`, the body of a request.

    `moved` is told up to where they have been sent, whenever it is further; what it raises ends the request.
    """

    descriptor: int
    start: int
    end: int
    moved: Callable[[int], None]


class Reached:
    """How far the spans of one upload have come: `progress` is told of each byte once, however often it is sent."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._furthest: dict[int, int] = {}

    def move(self, start: int, at: int) -> None:
        """Take note that the span from `start` on has been sent up to `at`."""
        before = self._furthest.get(start, start)
        if at > before:
            self._furthest[start] = at
            self._progress(at - before)


class _Own(threading.local):
    """What each thread reads into: for small files a new buffer would cost as much as hashing them."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(BLOCK))


_own = _Own()


def fill(descriptor: int, buffer: memoryview, at: int) -> int:
    """Read bytes of a file from `at` on into the buffer; return how many there were.

    Raises:
        SourceChangedError: there are none.
        UnreadableError: they cannot be read.
    """
    try:
        count = os.preadv(descriptor, [buffer], at)
    except OSError as error:
        raise UnreadableError(error.strerror or "no reason given") from None
    if not count:
        raise SourceChangedError(SHORTER)
    return count


def feed(descriptor: int, start: int, end: int, *updates: Callable[[memoryview], object]) -> None:
    """Read the bytes of a file once, and give them to each of the `updates`.

    Raises:
        SourceChangedError: the file is shorter.
        UnreadableError: it cannot be read.
    """
    buffer = _own.buffer
    while start < end:
        count = fill(descriptor, buffer[: end - start], start)
        block = buffer[:count]
        for update in updates:
            update(block)
        start += count
