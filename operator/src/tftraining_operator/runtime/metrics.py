"""What the operator counts about itself and its jobs. Labels are of closed or bounded sets: nothing that a user writes becomes one."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from tftrainer.messages.contract import Cause

from tftraining_operator.api.status import ConditionType, Phase
from tftraining_operator.core import recorded
from tftraining_operator.core.attempts import asked_gpus
from tftraining_operator.core.observe import integer, mapping, sequence, text, timestamp
from tftraining_operator.core.records import JobRecord, Raw
from tftraining_operator.runtime.compact import Compact
from tftraining_operator.runtime.rivals import Rivals
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.workqueue import WorkQueue

OTHERS: Final = "(others)"
"""The value of a label beyond its bound. No namespace and no reason is called so."""
_REASONS: Final = 128
"""More than there are: a kubelet's words are among them, and those of whoever may write a status."""
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAITS: Final = (1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600)
_RUNS: Final = (10, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 3 * 24 * 3600, 7 * 24 * 3600)
_PHASES: Final = frozenset(phase.value for phase in Phase)
_CAUSES: Final = frozenset(cause.value for cause in Cause)
_USED: Final = {
    "queuedSeconds": ("pod", "queued"),
    "fetchingSeconds": ("pod", "fetching"),
    "runningSeconds": ("pod", "running"),
    "publishingSeconds": ("pod", "publishing"),
    "wastedSeconds": ("pod", "wasted"),
    "gpuSeconds": ("gpu", "held"),
    "wastedGpuSeconds": ("gpu", "wasted"),
    "cpuSeconds": ("cpu", "held"),
    "wastedCpuSeconds": ("cpu", "wasted"),
}
"""Fields of `status.usage`, and the resource and state that they are counted as."""
_HOLDING: Final = frozenset({Phase.FETCHING, Phase.RUNNING, Phase.PUBLISHING, Phase.STOPPING})
_RESTING: Final = frozenset({Phase.SUSPENDED, Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED})

# When each series was first seen: twice the series, for what nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Bounded:
    """Label values: the first `limit` that come are themselves, all further ones are `OTHERS`, for as long as the process lives."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return the label for a value."""
        if value not in self._known:
            if len(self._known) >= self._limit:
                return OTHERS
            self._known.add(value)
        return value


class Metrics:
    """All metrics, in a registry of their own. `namespaces` is how many namespaces have a label of their own."""

    def __init__(self, namespaces: int = 0) -> None:
        registry = self._registry = CollectorRegistry()
        self.namespace, self.reason = Bounded(namespaces), Bounded(_REASONS)
        self.reconciles = Counter("tftraining_reconciles", "Jobs looked at, by the rule that decided.", ["rule"], registry=registry)
        self.failures = Counter(
            "tftraining_reconcile_failures", "Looks at a job that failed and are tried again.", ["error"], registry=registry
        )
        self.seconds = Histogram("tftraining_reconcile_seconds", "Time that one look at a job took.", registry=registry, buckets=_BUCKETS)
        self.requests = Counter("tftraining_api_requests", "Requests to the API server.", ["verb", "code"], registry=registry)
        self.events_dropped = Counter("tftraining_events_dropped", "Kubernetes events that were not posted.", ["why"], registry=registry)
        self.bad_objects = Counter("tftraining_bad_objects", "Objects that could not be read.", ["kind"], registry=registry)
        self.ghosts = Counter("tftraining_sweep_ghosts", "Objects whose deletion only the sweep noticed.", ["kind"], registry=registry)
        self.skipped = Gauge(
            "tftraining_namespaces_skipped", "Watched namespaces that are not there, or may not be read.", registry=registry
        )
        self.depth = Gauge("tftraining_queue_depth", "Jobs waiting to be looked at.", registry=registry)
        self.waited = Histogram(
            "tftraining_queue_seconds", "Time that a job waited to be looked at.", registry=registry, buckets=(*_BUCKETS, 60, 300)
        )
        self.oldest = Gauge("tftraining_queue_oldest_seconds", "Age of the oldest of them.", registry=registry)
        self.lag = Gauge("tftraining_loop_lag_seconds", "How late the event loop was when last measured.", registry=registry)
        self.leader = Gauge("tftraining_leader", "1 while this process holds the Lease.", registry=registry)
        self.pods = Gauge("tftraining_pods", "Pods of jobs that are known.", registry=registry)
        self.rivals = Gauge(
            "tftraining_rival_namespaces", "Namespaces in which another installation has worked in the last ten minutes.", registry=registry
        )
        self.behind = Gauge(
            "tftraining_api_clock_behind_seconds",
            "By how much the clock of an API server that answered in the last minute is behind another's.",
            registry=registry,
        )
        self.finished = Counter(
            "tftraining_jobs_finished",
            "Jobs that came to their end, by its phase and, of a failure, its reason.",
            ["namespace", "phase", "reason"],
            registry=registry,
        )
        self.attempts = Counter("tftraining_attempts_failed", "Attempts that failed, by cause.", ["cause"], registry=registry)
        self.pending = Histogram(
            "tftraining_job_pending_seconds",
            "Time from a job's creation, or its release where it was created suspended, until its script first ran.",
            registry=registry,
            buckets=_WAITS,
        )
        self.runs = Histogram(
            "tftraining_job_run_seconds",
            "Time from the start of a job's script to the job's end, by the phase of the end.",
            ["phase"],
            registry=registry,
            buckets=_RUNS,
        )
        self.used = Counter(
            "tftraining_used_seconds",
            "Seconds that attempts which have ended took, times what they held: pods, GPUs or reserved CPUs.",
            ["namespace", "resource", "state"],
            registry=registry,
        )
        ProcessCollector(registry=registry)

    def follow(self, store: Store, queue: WorkQueue, rivals: Rivals, leads: Callable[[], bool], lag: Callable[[], float]) -> None:
        """Have what is known anyway read when the metrics are: jobs and pods, the queue, rivals, who leads, and the event loop's lag."""
        self.rivals.set_function(lambda: rivals.namespaces)
        self.depth.set_function(lambda: len(queue))
        self.oldest.set_function(lambda: queue.oldest_seconds)
        self.lag.set_function(lag)
        self.leader.set_function(leads)
        self.pods.set_function(lambda: store.pod_count)
        self._registry.register(_Jobs(store, self.namespace, self.reason))

    def count_request(self, verb: str, code: int) -> None:
        """Count a request to the API server; code 0 is one without an answer."""
        self.requests.labels(verb, str(code)).inc()

    def changed(self, job: JobRecord, status: Raw) -> None:
        """Count what a status tells that has just taken the place of the job's earlier one."""
        before = job.status
        known = _failed_attempts(before)
        for number, cause in _failed_attempts(status).items():
            if number not in known:
                self.attempts.labels(cause if cause in _CAUSES else OTHERS).inc()
        used, counted = mapping(status.get("usage")), mapping(before.get("usage"))
        for field, (resource, state) in _USED.items():
            more = (integer(used.get(field)) or 0) - (integer(counted.get(field)) or 0)
            if more > 0:
                self.used.labels(self.namespace(job.key.namespace), resource, state).inc(more)
        started, ended = timestamp(status.get("runningTime")), timestamp(status.get("completionTime"))
        if started is not None and "runningTime" not in before and not integer(status.get("attempt")):
            self.pending.observe(max(0.0, started - _waiting_since(job)))
        if recorded.holds(status, ConditionType.FINISHED) and not recorded.holds(before, ConditionType.FINISHED):
            phase = text(status.get("phase"))
            self.finished.labels(self.namespace(job.key.namespace), phase, self.reason(recorded.reason(status))).inc()
            if started is not None and ended is not None:
                self.runs.labels(phase).observe(max(0.0, ended - started))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Jobs(Collector):
    """What the store knows of jobs at the moment of the scrape: nothing has to be counted up and down."""

    def __init__(self, store: Store, namespace: Bounded, reason: Bounded) -> None:
        self._store = store
        self._namespace = namespace
        self._reason = reason

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        jobs: Tally[tuple[str, ...]] = Tally()
        gpus: Tally[tuple[str, ...]] = Tally()
        for job in self._store.jobs():
            namespace = self._namespace(job.key.namespace)
            if isinstance(job, Compact):
                jobs[namespace, job.phase if job.phase in _PHASES else OTHERS, self._reason(job.reason)] += 1
                continue
            phase = text(job.status.get("phase")) or Phase.PENDING
            jobs[namespace, phase if phase in _PHASES else OTHERS, self._reason(recorded.reason(job.status))] += 1
            asked = asked_gpus(job)
            if asked > 0 and phase not in _RESTING:
                gpus[namespace, "held" if phase in _HOLDING else "wanted"] += asked
        yield _family("tftraining_jobs", "Jobs that there are, by phase and reason.", ("namespace", "phase", "reason"), jobs)
        yield _family("tftraining_gpus", "GPUs that jobs hold, and that pending jobs want.", ("namespace", "state"), gpus)

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: what there is to know of the families, `collect` says."""
        return iter(())


def _family(name: str, documentation: str, labels: tuple[str, ...], tally: Tally[tuple[str, ...]]) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for values, count in sorted(tally.items()):
        family.add_metric(values, count)
    return family


def _failed_attempts(status: Raw) -> dict[int | None, str]:
    """Return the causes of all failed attempts that a status tells of, by their numbers."""
    failed = list(sequence(status.get("attempts")))
    if "failure" in status:
        failed.append(status.get("failure"))
    return {integer(each.get("attempt")): text(each.get("cause")) for each in map(mapping, failed)}


def _waiting_since(job: JobRecord) -> float:
    return max(job.created_at, recorded.transitions(job.status).get(ConditionType.SUSPENDED, 0.0))
