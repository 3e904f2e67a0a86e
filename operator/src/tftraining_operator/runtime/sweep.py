"""Lists everything now and then and compares: what a broken watch never told is found here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from tftraining_operator.core.observe import job_record, pod_record
from tftraining_operator.kube import paths
from tftraining_operator.kube.client import KubeApi
from tftraining_operator.kube.errors import ApiError
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.workqueue import WorkQueue

_log = structlog.get_logger()
POD_SELECTOR = "tftraining.dev/job-uid"
_FIRST_PAUSE_SECONDS = 30.0
_PAUSE_SECONDS = 600.0


class Sweep:
    """Compares store and API server. `namespaces` empty means all; `jitter` is a factor around 1 for the pauses."""

    def __init__(
        self, api: KubeApi, store: Store, queue: WorkQueue, namespaces: Sequence[str], jitter: Callable[[], float], metrics: Metrics
    ) -> None:
        self._api = api
        self._store = store
        self._queue = queue
        self._namespaces: Sequence[str | None] = list(namespaces) or [None]
        self._jitter = jitter
        self._metrics = metrics

    async def once(self) -> None:
        """List pods, then jobs, so that no job is ever judged without its pods; every job is looked at afterwards.

        Raises:
            ApiError: a list failed; nothing was dropped for it.

        """
        for namespace in self._namespaces:
            await self._pods(namespace)
        for namespace in self._namespaces:
            await self._jobs(namespace)
        for job in self._store.jobs():
            self._queue.add(job.key, background=True)

    async def run(self) -> None:
        """Sweep again and again until cancelled: soon after the start, when watches have just begun, then every ten minutes."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            await asyncio.sleep(pause * self._jitter())
            try:
                await self.once()
                pause = _PAUSE_SECONDS
            except ApiError as error:
                pause = _FIRST_PAUSE_SECONDS
                _log.warning("sweep failed, tried again soon", error=str(error))

    async def _pods(self, namespace: str | None) -> None:
        present: list[str] = []
        version = ""
        async for page_version, items in self._api.pages(paths.collection(paths.PODS, namespace), POD_SELECTOR):
            version = version or page_version
            for raw in items:
                pod = pod_record(raw)
                if pod is not None:
                    self._store.put_pod(pod)
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
                    self._store.put_job(job)
                    present.append(job.uid)
        ghosts = self._store.prune_jobs(present, version, namespace)
        self._metrics.ghosts.labels("job").inc(len(ghosts))
