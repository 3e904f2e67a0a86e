"""Whose turn it is to be checked while it waits: thousands of jobs can begin to wait in the same minute."""

from __future__ import annotations

from itertools import islice
from typing import Final

from tftraining_operator.core import claims, names
from tftraining_operator.core.records import Key, PodRecord

AT_ONCE: Final = 10
"""Checks that run in one namespace: what many jobs need beside what runs there must not take its place."""


class Checks:
    """The pods of checks that run, by namespace, and the jobs that wait for one of them to end, in their order."""

    def __init__(self) -> None:
        self._running: dict[str, set[str]] = {}
        self._waiting: dict[str, dict[Key, None]] = {}
        self._refused: set[Key] = set()

    def see(self, pod: PodRecord) -> None:
        """Count a pod, if it checks something, for as long as it runs."""
        if not names.is_check(pod.name):
            return
        if claims.ended(pod):
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
        """Tell whether a job may be checked now; if not, it is remembered for its turn."""
        if self._has_room(key.namespace):
            self._leave_queue(key)
            return True
        self._waiting.setdefault(key.namespace, {})[key] = None
        return False

    def refuse(self, key: Key) -> None:
        """Remember that the API server has refused the pod that would check a job."""
        self._refused.add(key)

    def bars(self, key: Key) -> bool:
        """Tell whether a job is not to be checked now: its pod was refused, or it is not its turn."""
        return key in self._refused or (key in self._waiting.get(key.namespace, ()) and not self._has_room(key.namespace))

    def next(self, namespace: str) -> list[Key]:
        """Return the jobs whose turn it is, which wait no longer: one that still is to be checked asks again."""
        room = AT_ONCE - len(self._running.get(namespace, ()))
        keys = list(islice(self._waiting.get(namespace, ()), max(room, 0)))
        for key in keys:
            self._leave_queue(key)
        return keys

    def forget(self, key: Key) -> None:
        """Forget a job that is gone."""
        self._refused.discard(key)
        self._leave_queue(key)

    def _has_room(self, namespace: str) -> bool:
        return len(self._running.get(namespace, ())) < AT_ONCE

    def _leave_queue(self, key: Key) -> None:
        waiting = self._waiting.get(key.namespace, {})
        waiting.pop(key, None)
        if not waiting:
            self._waiting.pop(key.namespace, None)
