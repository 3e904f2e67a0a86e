"""Gather, decide, act: one look at one job."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog

from tftraining_operator.core import attempts
from tftraining_operator.core.configuration import Configuration
from tftraining_operator.core.decide import decide
from tftraining_operator.core.observe import inline_script, job_record, pod_record
from tftraining_operator.core.records import Deletion, JobRecord, Key, Observed, Plan, Raw, WorkloadUpdate
from tftraining_operator.kube import paths
from tftraining_operator.kube.client import KubeApi
from tftraining_operator.kube.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError, RefusedError
from tftraining_operator.runtime.checks import AGAIN_SECONDS
from tftraining_operator.runtime.guard import NotLeadingError
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.queues import Queues
from tftraining_operator.runtime.recorder import Recorder
from tftraining_operator.runtime.rivals import Rivals
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.survey import NodeSurvey
from tftraining_operator.runtime.workqueue import WorkQueue

_log = structlog.get_logger()
_COLLECTIONS: Final[Mapping[str, tuple[str, str]]] = {"ConfigMap": paths.CONFIGMAPS, "Service": paths.SERVICES, "Pod": paths.PODS}
_EVEN_BESIDE_A_RIVAL: Final = frozenset({"being_deleted", "suspend", "stop"})
"""Rules whose deletions of pods are done whoever else works there: a rival does the same, and a forged one must not keep pods running."""
_AT_ONCE = 8
"""So many pods of one job are created at once: of a hundred, all would stand before those of every other job."""
_NOT_NOW_SECONDS = 1.0
_DELETED_SECONDS = 2.0
"""After which a watch should have told of a pod that was deleted. One that began only after it was gone never will: it is asked for."""
REFUSED_SECONDS = 9.0
"""How long a pod that was refused waits at most, with jitter under 10: nobody tells when a quota has room again."""
REFUSED_PER_SECOND = 25.0
"""How many pods are tried in a second that were refused before, of all jobs together: the API server has other work."""


class Reconciler:
    """Makes what is what should be, one job at a time for each worker. `clock` gives the API server's Unix seconds.

    `may_act` tells whether this process leads, and what it knows is of now.
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
        may_act: Callable[[], bool],
        survey: NodeSurvey,
        rivals: Rivals,
        queues: Queues,
    ) -> None:
        self._api = api
        self._store = store
        self._queue = queue
        self._recorder = recorder
        self._configuration = configuration
        self._clock = clock
        self._metrics = metrics
        self._may_act = may_act
        self._survey = survey
        self._rivals = rivals
        self._queues = queues

    async def work(self) -> None:
        """Look at one job after the other until cancelled. A job that fails comes again, later each time."""
        while True:
            key = await self._queue.get()
            begin = time.perf_counter()
            try:
                if self._may_act():
                    await self.reconcile(key)
                else:
                    self._queue.add_after(key, _NOT_NOW_SECONDS)
            except NotLeadingError:
                self._queue.add_after(key, _NOT_NOW_SECONDS)
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
            self._queues.forget(key)
            return
        await self._queues.read(observed.job)
        plan = self._decide(observed)
        seconds = self._rivals.seconds_to_give_way(key.namespace)
        if seconds and not (plan.rule in _EVEN_BESIDE_A_RIVAL and plan.deletions):
            self._queue.add_after(key, seconds)
            return
        self._metrics.reconciles.labels(plan.rule).inc()
        try:
            await self._act(observed, plan)
        except ApiError:
            # What is due later stays due: the delays of a request that is refused again and again grow past any deadline.
            if plan.requeue_at is None or plan.requeue_at > self._clock():
                self._expect(key, plan)
            raise
        self._queue.forget(key)
        if not plan.creates:
            # Ended or suspended it wants no pod, and counts no longer among those that are refused.
            self._store.refuse(key, "")
        if plan.rule == "finished":
            self._store.drop_report(key)
        self._look_again(key, plan)

    def _decide(self, observed: Observed) -> Plan:
        job = observed.job
        known = replace(observed, nodes=self._survey.seen, nodes_awaited=self._survey.awaits(job.key), queueing=self._queues.known(job))
        return decide(known, self._configuration, self._clock())

    def _look_again(self, key: Key, plan: Plan) -> None:
        """Have the job looked at when it has to be. What this look has written is no news when a watch tells of it later."""
        wrote = plan.creates or plan.status is not None or plan.check is not None or plan.workload is not None or plan.updates
        observed = self._store.observe(key) if wrote else None
        if observed is not None and not plan.deletions:
            plan = self._decide(observed)
            due = plan.creates or plan.deletions or plan.expires or plan.updates
            if due or any(each is not None for each in (plan.status, plan.check, plan.workload)):
                self._queue.add(key)
            elif not (attempts.ahead(observed) or attempts.doubtful(observed)):
                # A watch tells of what was written before the server's answer does.
                self._queue.settle(key)
        if plan.deletions:
            self._queue.add_after(key, _DELETED_SECONDS)
        self._expect(key, plan)

    def _expect(self, key: Key, plan: Plan) -> None:
        """See to it that what a plan waits for brings its job back."""
        if plan.need is not None:
            self._survey.ask(key, plan.need)
        if plan.requeue_at is not None:
            seconds = plan.requeue_at - self._clock()
            # What is due now and has anything to be done brings the job back by itself: nothing may do so again and again at once.
            self._queue.add_after(key, seconds if seconds > 0.0 else _NOT_NOW_SECONDS)

    async def _gather(self, key: Key) -> Observed | None:
        observed = self._store.observe(key)
        if observed is None:
            return None
        if attempts.ahead(observed):
            await self._refresh(observed.job)
            observed = self._store.observe(key)
            if observed is None:
                return None
        doubtful = attempts.doubtful(observed)
        for name, uid in doubtful.items():
            try:
                await self._look_at(key, name)
            except NotFoundError:
                self._store.forget_pod(key, name, uid)
        return self._store.observe(key) if doubtful else observed

    async def _act(self, observed: Observed, plan: Plan) -> None:
        job = observed.job
        refusal = await self._create_all(job, plan.creates)
        if plan.status is not None and not await self._write_status(job, plan.status):
            return
        for event in plan.events:
            self._recorder.post(job, event)
        # Why a pod goes is written down first: killed in between, the next process would take it for deleted by somebody else.
        kept = await self._delete_pods(job, plan.deletions)
        if plan.expires:
            await self._delete_job(job)
        created = [*(plan.creates if refusal is None else ()), *await self._create_check(job, plan.check)]
        if plan.workload is not None and await self._queues.create(job.key, plan.workload):
            created.append(plan.workload)
        updated = await self._update_workloads(job, plan.updates)
        if created or plan.deletions or plan.status is not None or plan.expires or plan.updates:
            _log_decision(job, plan, created)
        if (failure := refusal or kept or updated) is not None:
            raise failure

    async def _update_workloads(self, job: JobRecord, updates: Sequence[WorkloadUpdate]) -> ApiError | None:
        """Do what is to be done with a job's places in queues; the first failure is returned."""
        failure: ApiError | None = None
        for update in updates:
            try:
                await self._queues.update(job.key, update)
            except NotLeadingError:
                raise
            except ApiError as error:
                failure = failure or error
        return failure

    async def _create_all(self, job: JobRecord, bodies: Sequence[Raw]) -> RefusedError | None:
        """Create what pods need beside themselves, a pod, and then the others. A refusal is returned, so that the status can tell of it.

        Where one pod is refused the others would be too; where it is taken, they wait for each other, and are created some at a time.
        """
        # While a pod was refused, somebody may have deleted what an earlier look has made beside it: that is made sure of afterwards.
        earlier = [body for body in bodies if self._store.has_beside(job.key, body["metadata"]["name"])]
        try:
            alone = 1 + sum(body["kind"] != "Pod" for body in bodies)
            for body in bodies[:alone]:
                await self._create(job, body)
            for begin in range(alone, len(bodies), _AT_ONCE):
                some = (self._create(job, body) for body in bodies[begin : begin + _AT_ONCE])
                failures = [each for each in await asyncio.gather(*some, return_exceptions=True) if each is not None]
                if failures:
                    raise failures[0]
            for body in earlier:
                await self._create(job, body)
                self._store.refuse(job.key, "")
        except RefusedError as error:
            self._store.refuse(job.key, error.message)
            return error
        return None

    async def _create(self, job: JobRecord, body: Raw) -> None:
        name, path = str(body["metadata"]["name"]), paths.collection(_COLLECTIONS[body["kind"]], job.key.namespace)
        if body["kind"] != "Pod":
            await self._create_beside(job, name, path, body)
            return
        try:
            created = pod_record(await self._api.create(path, body))
        except AlreadyExistsError:
            # What was decided, was decided without it; a failure's delay keeps a name that stays taken from becoming a hot loop.
            await self._look_at(job.key, name)
            raise
        self._store.refuse(job.key, "")
        # There was room, perhaps for one more.
        for key in self._store.refused(job.key.namespace, 1):
            self._queue.add(key)
        if created is not None:
            # The watch may be late; the answer is not.
            self._store.put_pod(created)

    async def _create_check(self, job: JobRecord, body: Raw | None) -> tuple[Raw, ...]:
        """Create the pod that checks a job while it waits, if there is to be one, and return it; without it the job waits all the same."""
        if body is None or not self._store.checks.admit(job.key):
            return ()
        checks, taken = self._store.checks, False
        try:
            taken = await self._create_pod_of_check(job, body)
        except NotLeadingError:
            raise
        except ApiError as error:
            seconds = math.inf if isinstance(error, RefusedError) else max(AGAIN_SECONDS, error.retry_after or 0.0)
            checks.refuse(job.key, seconds)
            if seconds < math.inf:
                self._queue.add_after(job.key, seconds)
            _log.info("not checked while it waits", namespace=job.key.namespace, job=job.key.name, error=str(error))
        finally:
            checks.release(job.key)
            # A place that was kept for it may be another's.
            for key in checks.next(job.key.namespace):
                self._queue.add(key)
        return (body,) if taken else ()

    async def _create_pod_of_check(self, job: JobRecord, body: Raw) -> bool:
        """Create the pod of a check and tell whether the name was free."""
        try:
            created = pod_record(await self._api.create(paths.collection(paths.PODS, job.key.namespace), body))
        except AlreadyExistsError:
            await self._look_at(job.key, str(body["metadata"]["name"]))
            return False
        if created is not None:
            self._store.put_pod(created)
        return True

    async def _create_beside(self, job: JobRecord, name: str, path: str, body: Raw) -> None:
        """Create what pods need beside themselves: the ConfigMap of an inline script, the Service by which they find each other."""
        if self._store.has_beside(job.key, name):
            return
        if body["kind"] == "ConfigMap":
            body = {**body, "data": dict.fromkeys(body["data"], await self._inline_script(job))}
        # Its name holds the job's uid, and a pod's plan the script's digest: what is there already is an earlier look's, or of no use.
        with suppress(AlreadyExistsError):
            await self._api.create(path, body)
        self._store.put_beside(job.key, name)

    async def _inline_script(self, job: JobRecord) -> str:
        """Return the text of an inline script. It is the job's, asked for now and kept nowhere in this process."""
        found, known = await self._refresh(job), self._store.observe(job.key)
        if found is None or known is None or known.job.inline != job.inline:
            raise ConflictError(409, "Conflict", f"job {job.key.name} is not the one that was decided about")
        return inline_script(found)

    async def _delete_pods(self, job: JobRecord, deletions: Sequence[Deletion]) -> ApiError | None:
        """Delete one after the other. The first failure is returned: one pod that a policy keeps must not keep all else from being done."""
        failure: ApiError | None = None
        for deletion in deletions:
            try:
                await self._api.delete(paths.item(paths.PODS, job.key.namespace, deletion.name), uid=deletion.uid)
            except (NotFoundError, ConflictError):
                # A watch that has missed its end would not tell of it any more.
                self._store.forget_pod(job.key, deletion.name, deletion.uid)
                self._queue.add(job.key)
            except ApiError as error:
                failure = failure or error
        return failure

    async def _delete_job(self, job: JobRecord) -> None:
        """Delete a job whose time has come, if it still is what was decided about; what it owns goes with it."""
        path = paths.item(paths.JOBS, job.key.namespace, job.key.name)
        try:
            await self._api.delete(path, uid=job.uid, resource_version=job.resource_version)
        except NotFoundError:
            self._store.drop_job(job.key, job.uid)
        except ConflictError:
            # Somebody may have given it more time; the watch that should tell of that may be broken.
            await self._refresh(job)
            raise

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
        self._metrics.changed(job, status)
        record = job_record(written)
        if record is not None:
            self._store.put_job(record)
        return True

    async def _refresh(self, job: JobRecord) -> Raw | None:
        """Return the job as the server has it now, whose newest version the store then has; None if this very job is gone."""
        try:
            found = await self._api.get(paths.item(paths.JOBS, job.key.namespace, job.key.name))
        except NotFoundError:
            self._store.drop_job(job.key, job.uid)
            return None
        record = job_record(found)
        if record is not None:
            self._store.put_job(record)
        return found if record is not None and record.uid == job.uid else None

    async def _look_at(self, key: Key, name: str) -> None:
        record = pod_record(await self._api.get(paths.item(paths.PODS, key.namespace, name)))
        if record is not None:
            self._store.adopt(key, record)

    def _again(self, key: Key, error: Exception, at_least: float) -> None:
        if isinstance(error, RefusedError):
            spread = self._store.refused_count / REFUSED_PER_SECOND
            delay = self._queue.retry(key, at_least, REFUSED_SECONDS, spread)
        else:
            delay = self._queue.retry(key, at_least)
        self._metrics.failures.labels(type(error).__name__).inc()
        if not isinstance(error, ConflictError | AlreadyExistsError):
            _log.warning("tried again", namespace=key.namespace, job=key.name, error=str(error), seconds=round(delay, 2))


def _log_decision(job: JobRecord, plan: Plan, created: Sequence[Raw]) -> None:
    """Log a decision that changed something."""
    status = plan.status or job.status
    said = {
        "attempt": status.get("attempt", 0),
        "created": [body["metadata"]["name"] for body in created] or None,
        "deleted": [item.name for item in plan.deletions] or None,
        "workloads": {item.name: "deleted" if item.delete else sorted(item.conditions) for item in plan.updates} or None,
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
