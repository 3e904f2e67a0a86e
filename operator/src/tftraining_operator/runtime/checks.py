"""Whose turn it is to be checked while it waits: thousands of jobs can begin to wait in the same minute."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import islice
from typing import Final

from tftraining_operator.core import claims, names
from tftraining_operator.core.records import Key, PodRecord

AT_ONCE: Final = 10
"""Checks that run in one namespace: what many jobs need beside what runs there must not take its place."""
AGAIN_SECONDS: Final = 60.0
"""After which a check is tried again that the API server could not answer for: nobody waits for it, and the server has other work."""


class Checks:
    """The pods of checks that run, by namespace, and the jobs that wait for one of them to end, in their order.

    `clock` gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: dict[str, set[str]] = {}
        self._admitted: dict[str, set[Key]] = {}
        self._waiting: dict[str, dict[Key, None]] = {}
        self._refused: dict[Key, float] = {}

    def see(self, pod: PodRecord) -> None:
        """Count a pod, if it checks something, for as long as it runs; one that goes ends in seconds, or is on a node that is lost."""
        if not names.is_check(pod.name):
            return
        if claims.ended(pod) or pod.deleted_at is not None:
            self.lose(pod.key.namespace, pod.uid)
        else:
            self._running.setdefault(pod.key.namespace, set()).add(pod.uid)

    def lose(self, namespace: str, uid: str) -> None:
        """Count a pod no longer."""
        running = self._running.get(namespace, set())
        running.discard(uid)
        if not running:
            self._running.pop(namespace, None)

    def admit(self, key: Key) -> bool:
        """Tell whether a job may be checked now; if not, it is remembered for its turn. Its place is kept until `release`."""
        if self._room(key.namespace) > 0:
            self._leave_queue(key)
            self._admitted.setdefault(key.namespace, set()).add(key)
            return True
        self._waiting.setdefault(key.namespace, {})[key] = None
        return False

    def release(self, key: Key) -> None:
        """Keep no place for a job any more: the pod that checks it is counted, or there is none."""
        admitted = self._admitted.get(key.namespace, set())
        admitted.discard(key)
        if not admitted:
            self._admitted.pop(key.namespace, None)

    def refuse(self, key: Key, seconds: float = math.inf) -> None:
        """Remember that the API server has not taken the pod that would check a job, and for how long it is not to be asked again."""
        self._refused[key] = self._clock() + seconds

    def bars(self, key: Key) -> bool:
        """Tell whether a job is not to be checked now: its pod was refused, or it is not its turn."""
        refused = self._clock() < self._refused.get(key, -math.inf)
        return refused or (key in self._waiting.get(key.namespace, ()) and self._room(key.namespace) <= 0)

    def next(self, namespace: str) -> list[Key]:
        """Return the jobs whose turn it is, which wait no longer: one that still is to be checked asks again."""
        keys = list(islice(self._waiting.get(namespace, ()), max(self._room(namespace), 0)))
        for key in keys:
            self._leave_queue(key)
        return keys

    def forget(self, key: Key) -> None:
        """Forget a job that is gone."""
        self._refused.pop(key, None)
        self._leave_queue(key)

    def _room(self, namespace: str) -> int:
        return AT_ONCE - len(self._running.get(namespace, ())) - len(self._admitted.get(namespace, ()))

    def _leave_queue(self, key: Key) -> None:
        waiting = self._waiting.get(key.namespace, {})
        waiting.pop(key, None)
        if not waiting:
            self._waiting.pop(key.namespace, None)
