"""Lists everything now and then and compares: what a broken watch never told is found here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus

import structlog

from tftraining_operator.core.observe import job_record, pod_record
from tftraining_operator.kube import paths
from tftraining_operator.kube.client import KubeApi
from tftraining_operator.kube.clock import ServerClock
from tftraining_operator.kube.errors import ApiError
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.watches import Watches
from tftraining_operator.runtime.workqueue import Priority, WorkQueue

_log = structlog.get_logger()
POD_SELECTOR = "tftraining.dev/job-uid"
_SOON_SECONDS = 30.0
_PAUSE_SECONDS = 600.0
_AGAIN_SECONDS = 2.0
"""Between two sweeps at the least: also after one that failed, or that was in doubt again before it was over."""
_AWAY = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
"""What the lists of a namespace answer that was deleted, and with it the role that allowed them."""


class Sweep:
    """Compares store and API server. `namespaces` empty means all; `jitter` is a factor around 1 for the pauses."""

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        queue: WorkQueue,
        namespaces: Sequence[str],
        jitter: Callable[[], float],
        metrics: Metrics,
        watches: Watches,
        clock: ServerClock,
    ) -> None:
        self._api = api
        self._store = store
        self._queue = queue
        self._namespaces: Sequence[str | None] = list(namespaces) or [None]
        self._jitter = jitter
        self._metrics = metrics
        self._watches = watches
        self._clock = clock
        self._skipped: frozenset[str] = frozenset()

    async def once(self) -> None:
        """List all namespaces; every job of those that could be listed is looked at afterwards.

        One of several namespaces that is not there, or that this process may not read (any more), is skipped and holds up no other.

        Raises:
            ApiError: a list failed, or that of every namespace; nothing was dropped for it.

        """
        self._watches.begin_sweep()
        jumps = self._clock.jumps
        skipped: dict[str, ApiError] = {}
        for namespace in self._namespaces:
            try:
                await self._list(namespace)
            except ApiError as error:
                if namespace is None or error.status not in _AWAY or len(skipped) + 1 == len(self._namespaces):
                    raise
                skipped[namespace] = error
        self._log_skipped(skipped)
        self._clock.settle(jumps)
        self.enqueue()

    def enqueue(self) -> None:
        """Have every job looked at that is known, but for those of skipped namespaces."""
        for key in self._store:
            if key.namespace not in self._skipped:
                self._queue.add(key, Priority.BACKGROUND)

    async def run(self) -> None:
        """Sweep until cancelled: every ten minutes, and sooner after the start or a failure, and as long as something is in doubt."""
        clock = asyncio.get_running_loop().time
        last: float | None = None
        while True:
            await self._clock.jump(_SOON_SECONDS * self._jitter())
            doubt = self._skipped or self._watches.doubtful or not self._clock.steady
            if last is not None and clock() - last < _PAUSE_SECONDS and not doubt:
                continue
            last = clock()
            try:
                await self.once()
            except ApiError as error:
                last = None
                _log.warning("sweep failed, tried again soon", error=str(error))
            await asyncio.sleep(_AGAIN_SECONDS)

    def _log_skipped(self, skipped: dict[str, ApiError]) -> None:
        for namespace, error in skipped.items():
            if namespace not in self._skipped:
                _log.warning("namespace skipped until it can be listed again", namespace=namespace, error=str(error))
        for namespace in self._skipped - skipped.keys():
            _log.info("namespace taken up again", namespace=namespace)
        self._skipped = frozenset(skipped)
        self._metrics.skipped.set(len(skipped))

    async def _list(self, namespace: str | None) -> None:
        # Pods before jobs: no job is ever judged without its pods.
        await self._pods(namespace)
        await self._jobs(namespace)

    async def _pods(self, namespace: str | None) -> None:
        present: list[str] = []
        version = ""
        async for page_version, items in self._api.pages(paths.collection(paths.PODS, namespace), POD_SELECTOR):
            version = version or page_version
            for raw in items:
                pod = pod_record(raw)
                if pod is not None:
                    if self._store.put_pod(pod):
                        self._watches.missed(pod.uid)
                    present.append(pod.uid)
        ghosts = self._store.prune_pods(present, version, namespace)
        self._metrics.ghosts.labels("pod").inc(len(ghosts))

    async def _jobs(self, namespace: str | None) -> None:
        present: list[str] = []
        version = ""
        async for page_version, items in self._api.pages(paths.collection(paths.JOBS, namespace)):
            version = version or page_version
            for raw in items:
                job = job_record(raw)
                if job is not None:
                    if self._store.put_job(job):
                        self._watches.missed(job.uid)
                    present.append(job.uid)
        ghosts = self._store.prune_jobs(present, version, namespace)
        self._metrics.ghosts.labels("job").inc(len(ghosts))
