"""Kubernetes events about jobs, posted beside the loop so that none ever holds a job up.

Own code: kopf's recorder needs the context of one of its handlers, and decisions are made outside of them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from tftraining_operator.core.records import Event, JobRecord
from tftraining_operator.kube import paths
from tftraining_operator.kube.client import KubeApi
from tftraining_operator.kube.errors import AlreadyExistsError, ApiError, UnavailableError
from tftraining_operator.runtime.metrics import Metrics

_log = structlog.get_logger()
POSTERS = 4
"""How many events are posted at a time."""
FRESH_SECONDS = 2.0
"""How long a Normal event may wait: after that it is no news any more, and the status tells it anyway."""
WORTH_SECONDS = 60.0
"""How long a Warning is tried again that the server could not take: it says what to do."""
AGAIN_SECONDS = 1.0
_WAITING = 1000
_NOTE_LIMIT = 1024
_NAME_LIMIT = 200
_REMEMBERED = 4096
_DRAIN_SECONDS = 0.8
REPEAT_SECONDS = 600.0
"""For how long the same event about the same job is only counted."""
CONTROLLER = "tftraining.dev/operator"


@dataclass(slots=True)
class _Posted:
    """When an event was last posted (Unix seconds), and how often it has happened by now."""

    posted_at: float
    count: int = 1


@dataclass(frozen=True, slots=True, order=True)
class _Waiting:
    """An event that is to be posted: Warnings come before all others, each in their order. `since` are Unix seconds."""

    normal: bool
    serial: int
    since: float = field(compare=False)
    body: dict[str, Any] = field(compare=False)


class Recorder:
    """Posts events. What cannot be posted, or waits for too long, is dropped and counted: an event is news, not truth.

    A Warning that the server cannot take now is tried again for a minute.

    An event that repeats itself is posted again only after ten minutes, then with the number of times it has happened: a state that
    flaps costs no writes. `clock` gives Unix seconds.
    """

    def __init__(self, api: KubeApi, identity: str, clock: Callable[[], float], metrics: Metrics) -> None:
        self._api = api
        self._identity = identity
        self._clock = clock
        self._metrics = metrics
        self._waiting: asyncio.PriorityQueue[_Waiting] = asyncio.PriorityQueue()
        self._posted: OrderedDict[tuple[str, str, str], _Posted] = OrderedDict()
        self._serial = itertools.count()

    def post(self, job: JobRecord, note: Event) -> None:
        """Have an event posted soon."""
        now = self._clock()
        posted = self._count(job, note, now)
        if posted.count > 1 and now - posted.posted_at < REPEAT_SECONDS:
            self._metrics.events_dropped.labels("repeated").inc()
            return
        posted.posted_at = now
        normal, serial = note.type == "Normal", next(self._serial)
        if self._waiting.qsize() >= (_WAITING if normal else 2 * _WAITING):
            self._metrics.events_dropped.labels("too many").inc()
            return
        body = event(job, note, now, self._identity, serial=serial, count=posted.count)
        self._waiting.put_nowait(_Waiting(normal, serial, now, body))

    async def run(self) -> None:
        """Post events until cancelled, as one of several that do."""
        while True:
            waiting = await self._waiting.get()
            try:
                if waiting.normal and self._clock() - waiting.since > FRESH_SECONDS:
                    self._metrics.events_dropped.labels("late").inc()
                else:
                    await self._create(waiting)
            finally:
                self._waiting.task_done()

    async def _create(self, waiting: _Waiting) -> None:
        body, job = waiting.body, waiting.body["regarding"]
        try:
            await self._api.create(paths.collection(paths.EVENTS, job["namespace"]), body)
        except AlreadyExistsError:
            # An earlier try of the same event, whose answer was lost.
            return
        except ApiError as error:
            if isinstance(error, UnavailableError) and not waiting.normal and self._clock() - waiting.since < WORTH_SECONDS:
                asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._waiting.put_nowait, waiting)
                return
            self._metrics.events_dropped.labels("refused").inc()
            _log.warning("event not posted", job=job["name"], namespace=job["namespace"], reason=body["reason"], error=str(error))

    async def drain(self) -> None:
        """Wait for the events that are still to be posted, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._waiting.join()

    def _count(self, job: JobRecord, note: Event, now: float) -> _Posted:
        identity = (job.uid, note.reason, note.topic or note.message)
        posted = self._posted.get(identity)
        if posted is None:
            posted = self._posted[identity] = _Posted(now)
            if len(self._posted) > _REMEMBERED:
                self._posted.popitem(last=False)
        else:
            posted.count += 1
            self._posted.move_to_end(identity)
        return posted


def event(job: JobRecord, note: Event, at: float, identity: str, *, serial: int = 0, count: int = 1) -> dict[str, Any]:
    """Return the Event object; `at` are Unix seconds, `serial` tells events of one instant apart, `count` is how often it has happened."""
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    body: dict[str, Any] = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{job.key.name[:_NAME_LIMIT].rstrip('.-')}.{int(at * 1e6):x}{serial % 4096:03x}",
            "namespace": job.key.namespace,
        },
        "eventTime": stamp,
        "reportingController": CONTROLLER,
        "reportingInstance": identity[:128],
        "action": "Reconcile",
        "reason": note.reason[:128],
        "type": note.type,
        "note": _bounded(note.message),
        "regarding": {
            "apiVersion": "tftraining.dev/v1alpha1",
            "kind": "TFTrainingJob",
            "namespace": job.key.namespace,
            "name": job.key.name,
            "uid": job.uid,
        },
    }
    if count > 1:
        body["series"] = {"count": count, "lastObservedTime": stamp}
    return body


def _bounded(text: str) -> str:
    """Cut a text to what an event may hold: bytes, not characters."""
    return text.encode("utf-8", "replace")[:_NOTE_LIMIT].decode("utf-8", "ignore")
