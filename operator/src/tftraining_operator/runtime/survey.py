"""Looks at the cluster's nodes while pods wait for one, and only then: nodes say what the scheduler does not, and nobody watches them.

A watch would bring every change of every node of the cluster, all day, for the few minutes in which somebody wants to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from itertools import chain, islice, zip_longest
from typing import NamedTuple

import structlog

from tftraining_operator.core.capacity import node_of, used_by
from tftraining_operator.core.nodes import Amounts, Need, Nodes
from tftraining_operator.core.records import Key
from tftraining_operator.kube import paths
from tftraining_operator.kube.client import KubeApi
from tftraining_operator.kube.errors import ApiError, RefusedError
from tftraining_operator.runtime.workqueue import Priority, WorkQueue

_log = structlog.get_logger()
GAP_SECONDS = 5.0
"""Between two looks at the least."""
_SHARE = 20.0
"""The pause is that many times as long as the last look took: looking never is more than a twentieth of the work."""
RENEW_SECONDS = 30.0
"""How long what was seen is good enough for a job that has been answered; longer where many wait."""
_JOBS_PER_SECOND = 10.0
_PATIENCE_SECONDS = 3.0
"""How long an answer is worth waiting for before something is said without it."""
_KEPT_SECONDS = 120.0
"""After that, what was seen says nothing about now."""
_REFUSED_SECONDS = 600.0
_COUNTED_NODES = 32
"""The pods of that many nodes are listed for one job to find what is free; where more could take its pod, only what they have is told."""
_KINDS = 32
"""For how many different pods; most jobs ask for the same."""
_COUNTED_FOR_ALL = 128
"""The same for all jobs together; those that few nodes could take come first."""


class _Asked(NamedTuple):
    """What a job has asked for, and when: monotonic seconds, of the question, later of the answer."""

    need: Need
    at: float


class NodeSurvey:
    """What the nodes have, for the jobs that ask. `labels` are those that any runtime selects by; `clock` gives monotonic seconds."""

    def __init__(self, api: KubeApi, queue: WorkQueue, labels: Iterable[str], clock: Callable[[], float]) -> None:
        self._api = api
        self._queue = queue
        self._labels = frozenset(labels)
        self._clock = clock
        self._waiting: dict[Key, _Asked] = {}
        self._asked = asyncio.Event()
        self._answered: dict[Key, _Asked] = {}
        self._seen: tuple[float, Nodes] | None = None
        self._refused_until = self._counts_from = float("-inf")

    @property
    def seen(self) -> Nodes | None:
        """The nodes as they were a moment ago; None where nobody has looked lately, or may."""
        fresh = self._seen is not None and self._clock() < self._seen[0] + max(_KEPT_SECONDS, 2 * self._renew_seconds)
        return self._seen[1] if self._seen is not None and fresh else None

    def awaits(self, key: Key) -> bool:
        """Tell whether a job gets its first answer in a moment, so that it need not say anything without it."""
        if key in self._answered or self._clock() < self._refused_until:
            return False
        asked = self._waiting.get(key)
        return asked is None or self._clock() < asked.at + _PATIENCE_SECONDS

    def ask(self, key: Key, need: Need) -> None:
        """Have the nodes looked at for a job's pod that needs this, and the job looked at again then, and from time to time."""
        answered = self._answered.get(key)
        wait = answered.at + self._renew_seconds - self._clock() if answered is not None else 0.0
        if wait > 0.0:
            self._queue.add_after(key, wait)
            return
        if key not in self._waiting:
            self._waiting[key] = _Asked(need, self._clock())
            self._queue.add_after(key, _PATIENCE_SECONDS)
        self._asked.set()

    async def run(self) -> None:
        """Look when somebody has asked, until cancelled."""
        while True:
            await self._asked.wait()
            begin = self._clock()
            pause = await self._answer()
            await asyncio.sleep(max(pause, _SHARE * (self._clock() - begin)))

    async def _answer(self) -> float:
        """Look at the nodes for all that have asked by now, and return the seconds to the next look at the least."""
        waiting, self._waiting = self._waiting, {}
        self._asked.clear()
        pause = GAP_SECONDS
        try:
            # Those that were answered before are looked at again with what is seen now.
            needs = _in_turn(chain(waiting.items(), self._answered.items()))
            self._seen = (self._clock(), await self._look(islice(needs, _KINDS)))
        except RefusedError as error:
            pause = _REFUSED_SECONDS
            self._refused_until = self._clock() + _REFUSED_SECONDS
            _log.info("nodes may not be read: messages about pods that no node takes have the scheduler's words alone", error=str(error))
        except ApiError as error:
            _log.warning("nodes could not be read", error=str(error))
        now = self._clock()
        self._answered = {key: asked for key, asked in self._answered.items() if now < asked.at + 2 * self._renew_seconds}
        for key, asked in waiting.items():
            self._answered[key] = asked._replace(at=now)
            self._queue.add(key, Priority.BACKGROUND)
        return pause

    async def _look(self, needs: Iterable[Need]) -> Nodes:
        nodes = []
        async for _, items in self._api.pages(paths.collection(paths.NODES)):
            nodes += [node for raw in items if (node := node_of(raw, self._labels)) is not None]
        seen = Nodes(tuple(nodes))
        if self._clock() < self._counts_from:
            return seen
        try:
            return replace(seen, used={name: await self._used(name) for name in await _worth_counting(seen, needs)})
        except RefusedError:
            # The operator of some namespaces sees the pods of these alone.
            self._counts_from = self._clock() + _REFUSED_SECONDS
            return seen

    async def _used(self, node: str) -> Amounts:
        pods = []
        async for _, items in self._api.pages(paths.collection(paths.PODS), fields=f"spec.nodeName={node}"):
            pods += items
        return used_by(pods)

    @property
    def _renew_seconds(self) -> float:
        return max(RENEW_SECONDS, len(self._answered) / _JOBS_PER_SECOND)


def _in_turn(asked: Iterable[tuple[Key, _Asked]]) -> list[Need]:
    """Return what was asked for, each kind once, one of each namespace in turn: no namespace's many stand before another's only one."""
    kinds: dict[str, dict[Hashable, Need]] = {}
    for key, each in asked:
        kinds.setdefault(key.namespace, {}).setdefault(each.need.kind, each.need)
    rounds = zip_longest(*(needs.items() for needs in kinds.values()))
    return list(dict(each for one in rounds for each in one if each is not None).values())


async def _worth_counting(seen: Nodes, needs: Iterable[Need]) -> list[str]:
    """Return the nodes of which it is worth knowing what is free: those that would take a pod if they were empty."""
    chosen: set[str] = set()
    candidates = set()
    for need in needs:
        candidates.add(frozenset(node.name for node in seen.open_to(need)))
        # With thousands of nodes each takes its time, and the Lease has to be renewed.
        await asyncio.sleep(0)
    for names in sorted(candidates, key=lambda names: (len(names), sorted(names))):
        if len(names) <= _COUNTED_NODES and len(chosen | names) <= _COUNTED_FOR_ALL:
            chosen |= names
    return sorted(chosen)
