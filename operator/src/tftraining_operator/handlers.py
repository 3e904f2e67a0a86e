"""kopf's part: its watches feed the store, and nothing else. The only module beside `__main__` that knows kopf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from tftraining_operator.core.observe import job_record, pod_record
from tftraining_operator.kube.backoff import EndlessBackoff
from tftraining_operator.kube.credentials import Credentials
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.shell import Shell
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.sweep import POD_SELECTOR
from tftraining_operator.runtime.workqueue import WorkQueue


def _nothing(*_: Any, **__: Any) -> None: ...


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no last-handled state: no handler here is told of differences, and computing them is half of an event's cost."""

    def build(self, **_: Any) -> Any:
        return {}

    fetch = store = _nothing


class NoProgress(kopf.ProgressStorage):
    """Keeps no progress: no handler here has any."""

    def clear(self, *, essence: Any) -> Any:
        return essence

    fetch = store = purge = touch = _nothing


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: no writes of its own, lists in pages, retries for ever."""
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.persistence.diffbase_storage = NoDiffBase()
    chosen.persistence.progress_storage = NoProgress()
    chosen.watching.chunk_size = 100
    chosen.watching.connect_timeout = 10
    chosen.watching.label_selectors["pods"] = POD_SELECTOR
    chosen.queueing.idle_timeout = chosen.queueing.exit_timeout = 0.5
    chosen.networking.request_timeout = 60
    chosen.networking.error_backoffs = EndlessBackoff()
    chosen.process.ultimate_exiting_timeout = 25
    return chosen


def register(
    registry: kopf.OperatorRegistry, shell: Shell, store: Store, queue: WorkQueue, credentials: Credentials, metrics: Metrics
) -> None:
    """Register the handlers: each projects, stores and enqueues."""

    def feed(kind: str, project: Callable[[Any], Any], put: Callable[[Any], None], drop: Callable[[Any], None]) -> Callable[..., Any]:
        async def handle(event: Any, **_: Any) -> None:
            with metrics.bad_objects.labels(kind).count_exceptions():
                record = project(event["object"])
            if record is None:
                metrics.bad_objects.labels(kind).inc()
                return
            (drop if event["type"] == "DELETED" else put)(record)
            # An event without a type is of kopf's first list, not news.
            queue.add(record.key, background=event["type"] is None)

        return handle

    jobs = feed("job", job_record, store.put_job, lambda job: store.drop_job(job.key, job.uid))
    pods = feed("pod", pod_record, store.put_pod, store.drop_pod)
    kopf.on.event("tftraining.dev", "v1alpha1", "tftrainingjobs", id="jobs", registry=registry)(jobs)
    kopf.on.event("", "v1", "pods", id="pods", registry=registry)(pods)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        await credentials.renew()
        found = credentials.configuration
        return kopf.ConnectionInfo(
            server=credentials.server,
            ca_path=found.ssl_ca_cert,
            insecure=not found.verify_ssl,
            certificate_path=found.cert_file,
            private_key_path=found.key_file,
            scheme="Bearer",
            token=credentials.token(),
        )

    @kopf.on.startup(registry=registry)
    async def start(**_: Any) -> None:
        await shell.start()

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await shell.stop()
