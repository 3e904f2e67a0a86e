"""How long to wait before a request is repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 30.0


class EndlessBackoff:
    """Delays in seconds, doubled each time up to half a minute, without an end: a server that is away comes back.

    Can be iterated over again and again; each iteration starts anew.
    """

    def __iter__(self) -> Iterator[float]:
        delay = _FIRST_SECONDS
        while True:
            yield delay * random.uniform(0.8, 1.2)  # noqa: S311  spreads load, guards nothing
            delay = min(delay * 2, _LONGEST_SECONDS)
