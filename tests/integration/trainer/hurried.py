"""A phase as a process of its own in which minutes of patience are seconds, large files smaller, clocks go wrong, and everything is logged.

What it changes are constants of the product that have no knob: a job has none either.
"""

from __future__ import annotations

import datetime
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

if TYPE_CHECKING:
    from tftrainer.messages.contract import Plan
    from zygote import Forked

    from tests.integration.trainer.pods import Pod


PART = 8 * 1024**2
"""Bytes of a part; what is larger goes in parts."""


class Hurry(msgspec.Struct, frozen=True):
    """What is different from a pod. Times are seconds.

    `first` and `later` are the `Patience`; `connect`, `read` and `longest_delay` how long one request waits to be heard, to be taken or
    answered, and the next one for its turn. The client's clock is ahead by `skew`. `wire` is a file that gets what the HTTP library
    tells of each request, while all loggers speak. The method `broken` of the store raises what it should not, with secrets in it.
    """

    first: float = 2.0
    later: float = 2.0
    connect: float = 1.0
    read: float = 1.0
    longest_delay: float = 0.5
    skew: float = 0.0
    wire: str = ""
    broken: str = ""


def start(pod: Pod, phase: str, plan: Plan, hurry: Hurry | None = None) -> Forked:
    """Start a phase of the pod; `Pod.end` waits for it."""
    import zygote

    return zygote.of(phase).start([__file__, msgspec.json.encode(hurry or Hurry()).decode(), phase], pod.environment(plan))


def _main(hurry: Hurry, phase: str) -> int:
    from tftrainer.__main__ import main
    from tftrainer.storage import store

    # Whoever makes a `Patience` in a phase leaves its first two as they are.
    hurried = functools.partialmethod(store.Patience.__init__, first=hurry.first, later=hurry.later)
    store.Patience.__init__ = hurried  # type: ignore[assignment,method-assign]
    _replace("CONNECT_SECONDS", hurry.connect)
    _replace("READ_SECONDS", hurry.read)
    _replace("STALLED_SECONDS", hurry.read)
    _replace("LONGEST_DELAY", hurry.longest_delay)
    _replace("SINGLE", PART)
    _replace("PART", PART)
    if hurry.skew:
        _set_clock(hurry.skew)
    if hurry.wire:
        _speak(Path(hurry.wire))
    if hurry.broken:
        _break(hurry.broken)
    return main([phase])


def _replace(name: str, value: float) -> None:
    """Change a constant wherever a module of the storage has it."""
    holders = [module for path, module in sys.modules.items() if path.startswith("tftrainer.storage.") and hasattr(module, name)]
    if not holders:
        raise AssertionError(f"no module of the storage has {name}: say here what it is called now")
    for module in holders:
        setattr(module, name, value)


def _set_clock(skew: float) -> None:
    from minio import time
    from tftrainer.storage import requests

    ahead = datetime.timedelta(seconds=skew)
    theirs, ours = time.utcnow, requests.utc_now
    time.utcnow = lambda: theirs() + ahead
    requests.utc_now = lambda: ours() + ahead


def _speak(wire: Path) -> None:
    import builtins
    import http.client
    import logging

    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    logging.getLogger("test").debug("all loggers speak")
    file = wire.open("w")
    # Signatures are on the wire, and nowhere else: what goes over it is told apart from what the phase says.
    vars(http.client)["print"] = lambda *words: builtins.print(*words, file=file, flush=True)
    http.client.HTTPConnection.debuglevel = 1


def _break(name: str) -> None:
    from tftrainer.storage.store import Store

    def broken(self: Store, *_: object, **__: object) -> NoReturn:
        address = self._client.get_presigned_url("PUT", self.credentials.bucket, "key")
        raise RuntimeError(f"{self.credentials.access_key}:{self.credentials.secret_key} at {address}")

    if not hasattr(Store, name):
        raise AssertionError(f"a store has no {name}")
    setattr(Store, name, broken)


if __name__ == "__main__":
    sys.exit(_main(msgspec.json.decode(sys.argv[1], type=Hurry), sys.argv[2]))
