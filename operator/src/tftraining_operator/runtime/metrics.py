"""What the operator counts about itself. Labels are of closed sets: nothing that a user writes becomes one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.reconciles = Counter("tftraining_reconciles", "Jobs looked at, by the rule that decided.", ["rule"], registry=registry)
        self.failures = Counter(
            "tftraining_reconcile_failures", "Looks at a job that failed and are tried again.", ["error"], registry=registry
        )
        self.seconds = Histogram("tftraining_reconcile_seconds", "Time that one look at a job took.", registry=registry, buckets=_BUCKETS)
        self.requests = Counter("tftraining_api_requests", "Requests to the API server.", ["verb", "code"], registry=registry)
        self.events_dropped = Counter("tftraining_events_dropped", "Kubernetes events that were not posted.", ["why"], registry=registry)
        self.bad_objects = Counter("tftraining_bad_objects", "Objects that could not be read.", ["kind"], registry=registry)
        self.ghosts = Counter("tftraining_sweep_ghosts", "Objects whose deletion only the sweep noticed.", ["kind"], registry=registry)
        self.depth = Gauge("tftraining_queue_depth", "Jobs waiting to be looked at.", registry=registry)
        self.waited = Histogram(
            "tftraining_queue_seconds", "Time that a job waited to be looked at.", registry=registry, buckets=(*_BUCKETS, 60, 300)
        )
        self.oldest = Gauge("tftraining_queue_oldest_seconds", "Age of the oldest of them.", registry=registry)
        self.lag = Gauge("tftraining_loop_lag_seconds", "How late the event loop was when last measured.", registry=registry)
        self.leader = Gauge("tftraining_leader", "1 while this process holds the Lease.", registry=registry)
        self.pods = Gauge("tftraining_pods", "Pods of jobs that are known.", registry=registry)
        self.jobs = Gauge("tftraining_jobs", "Jobs by phase.", ["phase"], registry=registry)

    def count_request(self, verb: str, code: int) -> None:
        """Count a request to the API server; code 0 is one without an answer."""
        self.requests.labels(verb, str(code)).inc()

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
