"""Another installation that works on the same jobs: found out by its writes, said, and given way to instead of fought.

The API server notes of every write of a status whose it was: the first word of the client's User-Agent, which is the installation's
name. So it costs no object, no right and no request to see that somebody else has written. Who has written before this process came is
a predecessor; who writes while it watches is a rival. Of two, the one whose name sorts first goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from tftraining_operator.core.observe import mapping, sequence, text

_log = structlog.get_logger()
PRODUCT: Final = "tftraining-operator"
GIVE_WAY_SECONDS: Final = 600.0
"""For how long after a rival's last write its namespace is left to it: one that was uninstalled must not hold jobs up for ever."""
_MANAGER_LIMIT: Final = 128
"""Bytes of a field manager that the API server takes from a User-Agent."""

Stamp = tuple[str, str]
"""A field manager, and the second of its last write as the API server has noted it."""


def installation(namespace: str, lease: str) -> str:
    """Return the name of the installation whose Lease is that one."""
    return f"{PRODUCT}.{namespace}.{lease}"[:_MANAGER_LIMIT]


@dataclass(slots=True)
class _Rival:
    name: str
    seen_at: float


class Rivals:
    """Who else works on jobs, by namespace. `own` is this installation's name, `clock` gives monotonic seconds."""

    def __init__(self, own: str, clock: Callable[[], float]) -> None:
        self._own = own
        self._clock = clock
        self._stamps: dict[str, frozenset[Stamp]] = {}
        self._found: dict[str, _Rival] = {}

    def see(self, job: Any, event: str | None) -> None:
        """Note who has written the status of a job; `event` is the watch's, None of one that was there before the watch began."""
        metadata = mapping(mapping(job).get("metadata"))
        uid, stamps = text(metadata.get("uid")), self._foreign(metadata)
        before = self._stamps.pop(uid, frozenset())
        if stamps and event != "DELETED":
            self._stamps[uid] = stamps
        new = sorted(stamps - before, key=lambda stamp: stamp[1])
        if new and (before or event is not None):
            self._note(metadata, new[-1][0])

    def seconds_to_give_way(self, namespace: str) -> float:
        """Return for how long the jobs of a namespace are left alone; 0 where nobody else works, or this installation goes on."""
        rival = self._found.get(namespace)
        if rival is None or rival.name > self._own:
            return 0.0
        return max(0.0, rival.seen_at + GIVE_WAY_SECONDS - self._clock())

    @property
    def namespaces(self) -> int:
        """In how many namespaces somebody else has worked of late."""
        return sum(1 for rival in self._found.values() if self._clock() - rival.seen_at < GIVE_WAY_SECONDS)

    def _foreign(self, metadata: Any) -> frozenset[Stamp]:
        entries = map(mapping, sequence(metadata.get("managedFields")))
        found = ((text(entry.get("manager")), text(entry.get("time"))) for entry in entries if entry.get("subresource") == "status")
        return frozenset(stamp for stamp in found if stamp[0].startswith(f"{PRODUCT}.") and stamp[0] != self._own)

    def _note(self, metadata: Any, name: str) -> None:
        namespace, now = text(metadata.get("namespace")), self._clock()
        known = self._found.get(namespace)
        self._found[namespace] = _Rival(name, now)
        if known is None or known.name != name or now - known.seen_at >= GIVE_WAY_SECONDS:
            _log.error(
                "another installation works on the same jobs",
                namespace=namespace,
                job=text(metadata.get("name")),
                installation=name,
                own=self._own,
                gives_way=name < self._own,
            )
