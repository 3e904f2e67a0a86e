"""The operator's loop without its process: the real reconciler before the real API server, looking when a test tells it to.

A process needs seconds to start and to hear; this needs milliseconds, and sees exactly what a test lets it see. What is left out is
what other tests are about: kopf's watches, the Lease, events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from tftraining_operator.core.configuration import Configuration
from tftraining_operator.core.observe import job_record, pod_record
from tftraining_operator.core.records import Key
from tftraining_operator.kube import paths
from tftraining_operator.kube.client import KubeApi, Raw
from tftraining_operator.kube.errors import AlreadyExistsError, ConflictError
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.queues import Queues
from tftraining_operator.runtime.reconciler import Reconciler
from tftraining_operator.runtime.recorder import Recorder
from tftraining_operator.runtime.rivals import Rivals
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.survey import NodeSurvey
from tftraining_operator.runtime.sweep import POD_SELECTOR
from tftraining_operator.runtime.workqueue import WorkQueue

_METRICS = Metrics()


class KilledError(Exception):
    """The process was killed."""


class Mortal:
    """A `KubeApi` that is killed at a write: `writes_left` before that, None for never; `applied` tells whether that one is done."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self.writes = 0
        self.writes_left: int | None = None
        self.applied = False

    async def get(self, path: str) -> Raw:
        return await self._api.get(path)

    def pages(self, path: str, selector: str = "", *, fields: str = "") -> AsyncIterator[tuple[str, list[Raw]]]:
        return self._api.pages(path, selector, fields=fields)

    def watch(self, path: str, selector: str, version: str) -> AsyncIterator[tuple[str, Raw]]:
        return self._api.watch(path, selector, version)

    async def create(self, path: str, body: Raw) -> Raw:
        return await self._write(lambda: self._api.create(path, body))

    async def replace(self, path: str, body: Raw) -> Raw:
        return await self._write(lambda: self._api.replace(path, body))

    async def set_status(self, path: str, status: Raw, *, resource_version: str) -> Raw:
        return await self._write(lambda: self._api.set_status(path, status, resource_version=resource_version))

    async def delete(self, path: str, *, uid: str, resource_version: str = "") -> None:
        await self._write(lambda: self._api.delete(path, uid=uid, resource_version=resource_version))

    async def _write(self, request: Callable[[], object]) -> Raw:
        last = self.writes_left == 0
        if last and not self.applied:
            raise KilledError
        self.writes += 1
        found = await request()  # type: ignore[misc]
        if last:
            raise KilledError
        if self.writes_left is not None:
            self.writes_left -= 1
        return found  # type: ignore[return-value]


class Operator:
    """One process of the operator for one job. It knows what it is shown, and does nothing by itself. `clock` gives Unix seconds."""

    def __init__(self, api: KubeApi, key: Key, configuration: Configuration, clock: Callable[[], float]) -> None:
        self.api = Mortal(api)
        self._key = key
        self._store = Store()
        self._queue = WorkQueue(clock, lambda: 1.0)
        self._queue.start()
        recorder, rivals = Recorder(self.api, "test", clock, _METRICS), Rivals("test", clock)
        survey = NodeSurvey(self.api, self._queue, set(), clock)
        queues = Queues(self.api, self._queue, (), clock, clock, enabled=configuration.kueue.enabled)
        self._reconciler = Reconciler(
            self.api, self._store, self._queue, recorder, configuration, clock, _METRICS, lambda: True, survey, rivals, queues
        )

    async def sees_all(self) -> None:
        """Let it see everything as it is."""
        await asyncio.gather(self.sees_pods(), self.sees_jobs())

    async def sees_pods(self) -> None:
        """Let it see the pods as they are."""
        present, listed_at = [], ""
        async for version, items in self.api.pages(paths.collection(paths.PODS, self._key.namespace), POD_SELECTOR):
            listed_at = listed_at or version
            for pod in filter(None, map(pod_record, items)):
                self._store.put_pod(pod)
                present.append(pod.uid)
        self._store.prune_pods(present, listed_at, self._key.namespace)

    async def sees_jobs(self) -> None:
        """Let it see the jobs as they are."""
        present, listed_at = [], ""
        async for version, items in self.api.pages(paths.collection(paths.JOBS, self._key.namespace)):
            listed_at = listed_at or version
            for job in filter(None, map(job_record, items)):
                self._store.put_job(job)
                present.append(job.uid)
        self._store.prune_jobs(present, listed_at, self._key.namespace)

    async def look(self, most: int = 8) -> int:
        """Look at the job until there is nothing more to do at once, and return how many writes that took.

        Raises:
            KilledError: it was killed meanwhile.
            AssertionError: it never comes to an end.

        """
        before = self.api.writes
        for _ in range(most):
            # What was decided on an older view is decided anew.
            with suppress(ConflictError, AlreadyExistsError):
                await self._reconciler.reconcile(self._key)
                if not len(self._queue):
                    return self.api.writes - before
            while len(self._queue):
                self._queue.done(await self._queue.get())
        raise AssertionError(f"still something to do after {most} looks")
