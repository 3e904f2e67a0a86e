"""Gather, decide, act: one look at one job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from tftraining_operator.core import claims, names
from tftraining_operator.core.configuration import Configuration
from tftraining_operator.core.decide import decide
from tftraining_operator.core.observe import job_record, mapping, pod_record, sequence, text
from tftraining_operator.core.records import Deletion, JobRecord, Key, Observed, Plan, Raw
from tftraining_operator.kube import paths
from tftraining_operator.kube.client import KubeApi
from tftraining_operator.kube.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError, RefusedError
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.recorder import Recorder
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.workqueue import WorkQueue

_log = structlog.get_logger()
_NOT_LEADING_SECONDS = 1.0


class Reconciler:
    """Makes what is what should be, one job at a time for each worker. `clock` gives Unix seconds.

    `may_write` tells whether this process still leads.
    """

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        queue: WorkQueue,
        recorder: Recorder,
        configuration: Configuration,
        clock: Callable[[], float],
        metrics: Metrics,
        may_write: Callable[[], bool],
    ) -> None:
        self._api = api
        self._store = store
        self._queue = queue
        self._recorder = recorder
        self._configuration = configuration
        self._clock = clock
        self._metrics = metrics
        self._may_write = may_write

    async def work(self) -> None:
        """Look at one job after the other until cancelled. A job that fails comes again, later each time."""
        while True:
            key = await self._queue.get()
            begin = time.perf_counter()
            try:
                if self._may_write():
                    await self.reconcile(key)
                else:
                    self._queue.add_after(key, _NOT_LEADING_SECONDS)
            except ApiError as error:
                self._again(key, error, error.retry_after or 0.0)
            except Exception as error:
                _log.exception("unexpected", namespace=key.namespace, job=key.name)
                self._again(key, error, 1.0)
            finally:
                self._queue.done(key)
                self._metrics.seconds.observe(time.perf_counter() - begin)
            # Most looks at a job wait for nothing; thousands in a row would keep the loop from the lease and from probes.
            await asyncio.sleep(0)

    async def reconcile(self, key: Key) -> None:
        """Look at one job and do what has to be done.

        Raises:
            ApiError: the API server did not do what it was asked for; what was done stays, the next look does the rest.

        """
        observed = await self._gather(key)
        if observed is None:
            self._queue.forget(key)
            return
        plan = decide(observed, self._configuration, self._clock())
        self._metrics.reconciles.labels(plan.rule).inc()
        await self._act(observed, plan)
        self._queue.forget(key)
        if plan.rule == "finished":
            self._store.lighten(observed.job)
        if plan.requeue_at is not None:
            self._queue.add_after(key, plan.requeue_at - self._clock())

    async def _gather(self, key: Key) -> Observed | None:
        observed = self._store.observe(key)
        if observed is None:
            return None
        doubtful = {pod.name: pod.uid for pod in observed.pods if pod.owner_uid != observed.job.uid}
        doubtful |= dict.fromkeys(_unseen(observed), "")
        for name, uid in doubtful.items():
            # A stranger need not carry our labels, and a watch may be behind: before anybody concludes anything, the server is asked.
            try:
                await self._look_at(key, name)
            except NotFoundError:
                self._store.forget_pod(key, name, uid)
        return self._store.observe(key) if doubtful else observed

    async def _act(self, observed: Observed, plan: Plan) -> None:
        job = observed.job
        refusal = await self._create(job, plan)
        if plan.status is not None and not await self._write_status(job, plan.status):
            return
        for note in plan.notes:
            self._recorder.post(job, note)
        # Why a pod goes is written down first: killed in between, the next process would take it for deleted by somebody else.
        for deletion in plan.deletions:
            await self._delete_pod(job, deletion)
        if (plan.pods and refusal is None) or plan.deletions or plan.status is not None:
            _tell(job, plan, created=refusal is None)
        if refusal is not None:
            raise refusal

    async def _create(self, job: JobRecord, plan: Plan) -> RefusedError | None:
        """Create what the plan wants. A refusal is returned, so that the job's status can still tell of it."""
        try:
            for body in plan.configmaps:
                await self._create_configmap(job, body)
            for body in plan.pods:
                await self._create_pod(job, body)
        except RefusedError as error:
            self._store.refuse(job.key, error.message)
            return error
        return None

    async def _create_configmap(self, job: JobRecord, body: Raw) -> None:
        try:
            await self._api.create(paths.collection(paths.CONFIGMAPS, job.key.namespace), body)
        except AlreadyExistsError:
            # Its name holds the job's uid, and it is immutable: it can only be what an earlier look at the job made.
            return

    async def _create_pod(self, job: JobRecord, body: Raw) -> None:
        try:
            created = pod_record(await self._api.create(paths.collection(paths.PODS, job.key.namespace), body))
        except AlreadyExistsError:
            # What was decided, was decided without it; a failure's delay keeps a name that stays taken from becoming a hot loop.
            await self._look_at(job.key, str(body["metadata"]["name"]))
            raise
        self._store.refuse(job.key, "")
        if created is not None:
            # The watch may be late; the answer is not.
            self._store.put_pod(created)

    async def _delete_pod(self, job: JobRecord, deletion: Deletion) -> None:
        try:
            await self._api.delete(
                paths.item(paths.PODS, job.key.namespace, deletion.name), uid=deletion.uid, grace_seconds=deletion.grace_seconds
            )
        except (NotFoundError, ConflictError):
            return

    async def _write_status(self, job: JobRecord, status: Raw) -> bool:
        """Write the status and tell whether there still is a job."""
        path = paths.item(paths.JOBS, job.key.namespace, job.key.name)
        try:
            written = await self._api.set_status(path, status, resource_version=job.resource_version)
        except NotFoundError:
            self._store.drop_job(job.key, job.uid)
            return False
        except ConflictError:
            # The decision was made on an older version; the newest one is fetched, because the watch that should bring it may be broken.
            await self._refresh(job)
            raise
        record = job_record(written)
        if record is not None:
            self._store.put_job(record)
        return True

    async def _refresh(self, job: JobRecord) -> None:
        try:
            record = job_record(await self._api.get(paths.item(paths.JOBS, job.key.namespace, job.key.name)))
        except NotFoundError:
            self._store.drop_job(job.key, job.uid)
            return
        if record is not None:
            self._store.put_job(record)

    async def _look_at(self, key: Key, name: str) -> None:
        record = pod_record(await self._api.get(paths.item(paths.PODS, key.namespace, name)))
        if record is not None:
            self._store.adopt(key, record)

    def _again(self, key: Key, error: Exception, at_least: float) -> None:
        delay = self._queue.retry(key, at_least)
        self._metrics.failures.labels(type(error).__name__).inc()
        if not isinstance(error, ConflictError | AlreadyExistsError):
            _log.warning("tried again", namespace=key.namespace, job=key.name, error=str(error), seconds=round(delay, 2))


def _unseen(observed: Observed) -> list[str]:
    """Return the pods that the job's status tells of and that nobody has seen, neither there nor gone."""
    if claims.end(observed.job) is not None:
        return []
    seen = {pod.name for pod in (*observed.pods, *observed.gone)}
    told = {text(mapping(item).get("name")) for item in sequence(observed.job.status.get("pods"))}
    return sorted(name for name in told - seen if names.attempt_of(observed.job.key.name, name) is not None)


def _tell(job: JobRecord, plan: Plan, *, created: bool) -> None:
    """Log a decision that changed something."""
    status = plan.status or job.status
    said = {
        "attempt": status.get("attempt", 0),
        "created": [body["metadata"]["name"] for body in plan.pods if created] or None,
        "deleted": [item.name for item in plan.deletions] or None,
        "phase": plan.status.get("phase") if plan.status is not None else None,
        "why": plan.status.get("message") if plan.status is not None else None,
    }
    _log.info(
        "decided",
        namespace=job.key.namespace,
        job=job.key.name,
        rule=plan.rule,
        **{name: value for name, value in said.items() if value is not None},
    )
