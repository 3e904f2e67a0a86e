"""The other replicas of the job: what TensorFlow is told of them, and the wait until their names are known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from tftrainer.messages.contract import EVALUATOR, Plan

VARIABLE: Final = "TF_CONFIG"
_TOLD_AFTER_SECONDS: Final = 5.0
_SHORTEST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 2.0
"""A hundred replicas that begin together ask for ten thousand names."""
_NAMED: Final = 3

Resolve = Callable[[str], bool]
"""Whether the name of a host is known; may take its time."""


def variables(plan: Plan, *, version_1: bool) -> dict[str, str]:
    """Return what TensorFlow finds its cluster by, and the replica its own part in it; nothing for one that is alone.

    An evaluator is part of the cluster for TensorFlow 2, whose collective strategies do not find themselves otherwise, and not for the
    Estimators of version 1.
    """
    if not plan.peers:
        return {}
    cluster = {role: addresses for role, addresses in plan.peers.items() if not (version_1 and role == EVALUATOR)}
    task = {"type": plan.role, "index": plan.index}
    return {VARIABLE: msgspec.json.encode({"cluster": cluster, "task": task}).decode()}


class Waiting:
    """Asks for the names of hosts, each in a thread of its own, again and again until it is known: the answer to one may take long.

    `hosts` are by the replicas' names.
    """

    def __init__(self, hosts: Mapping[str, str], resolve: Resolve) -> None:
        self._hosts = hosts
        self._resolve = resolve
        self._over = threading.Event()
        self._missing = set(hosts)
        for name in hosts:
            threading.Thread(target=self._ask, args=(name,), name=f"look for {name}", daemon=True).start()

    @property
    def missing(self) -> list[str]:
        """The replicas whose hosts are not known yet, as `worker-1 (host)`."""
        return [f"{name} ({host})" for name, host in self._hosts.items() if name in self._missing]

    def end(self) -> None:
        """Ask no more; does not wait for an answer that is under way."""
        self._over.set()

    def _ask(self, name: str) -> None:
        pause = _SHORTEST_PAUSE
        while not self._resolve(self._hosts[name]):
            if self._over.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._missing.discard(name)


def missing(
    plan: Plan,
    pause: Callable[[], object],
    say: Callable[[str], None],
    resolve: Resolve | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[str]:
    """Wait until the names of all replicas resolve, and return those that do not after the plan's time, as `worker-1 (host)`.

    The own name is one of them: by it the others come. Between two looks it calls `pause`, which may end the waiting by an exception.
    """
    hosts = {f"{role}-{index}": _host(address) for role, addresses in plan.peers.items() for index, address in enumerate(addresses)}
    waiting = Waiting(hosts, resolve or _is_known)
    begun, told = clock(), False
    try:
        while left := waiting.missing:
            waited = clock() - begun
            if waited >= plan.peers_seconds:
                return left
            if waited >= _TOLD_AFTER_SECONDS and not told:
                told = True
                say(f"waiting, at most {plan.peers_seconds} s, for the names of {len(left)} of {len(hosts)} replicas: {in_words(left)}")
            pause()
    finally:
        waiting.end()
    if told:
        say(f"the names of all {len(hosts)} replicas are known")
    return []


def in_words(replicas: Iterable[str]) -> str:
    """Return the first of some replicas with commas between, and how many more there are."""
    named = list(replicas)
    more = len(named) - _NAMED
    return ", ".join(named[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _is_known(host: str) -> bool:
    # A script that is alone does not wait for this import.
    import socket

    try:
        return bool(socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return False
