"""Faults by chance between operator and API server, one kind at a time, none longer than the Lease bears."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from faults import Fault, FaultProxy

_LONGEST_SECONDS = 4.0
"""The Lease is renewed every two seconds, and lost after ten: the process is to live for as long as it is measured."""


async def make(proxy: FaultProxy, chance: random.Random, made: Counter[str]) -> None:
    """Make one fault after the other, with pauses, until cancelled; `made` counts them."""
    while True:
        await asyncio.sleep(chance.uniform(1, 6))
        name = chance.choice(list(KINDS))
        made[name] += 1
        with KINDS[name](proxy, chance):
            await asyncio.sleep(chance.uniform(0.5, _LONGEST_SECONDS))


def _some(fault: Fault) -> Callable[[FaultProxy, random.Random], contextmanager[None]]:
    """Return what does something to each third write or so, but for the Lease's."""

    @contextmanager
    def within(proxy: FaultProxy, chance: random.Random) -> Iterator[None]:
        proxy.judge = lambda _, path: fault if "/leases" not in path and chance.random() < 0.3 else None
        yield
        proxy.judge = lambda *_: None

    return within


@contextmanager
def _late(proxy: FaultProxy, chance: random.Random) -> Iterator[None]:
    proxy.late_seconds = chance.uniform(0.2, 3)
    yield
    proxy.late_seconds = 0.0


@contextmanager
def _doubled(proxy: FaultProxy, _: random.Random) -> Iterator[None]:
    proxy.tells = lambda line: (line, line)
    yield
    proxy.tells = lambda line: (line,)


@contextmanager
def _lost(proxy: FaultProxy, chance: random.Random) -> Iterator[None]:
    """Lose some events, and then say that the watch cannot go on from where it was."""
    proxy.tells = lambda line: () if chance.random() < 0.3 else (line,)
    yield
    proxy.tells = lambda line: (line,)
    proxy.break_watches(410, "too old resource version")


@contextmanager
def _away(proxy: FaultProxy, _: random.Random) -> Iterator[None]:
    proxy.go_away()
    yield
    proxy.away = False


KINDS = {
    "answers lost": _some(Fault(504, apply=True)),
    "answers cut off": _some(Fault(0, apply=True)),
    "writes refused": _some(Fault(503)),
    "told to come later": _some(Fault(429, retry_after="1")),
    "watches late": _late,
    "events doubled": _doubled,
    "events lost": _lost,
    "server away": _away,
}
