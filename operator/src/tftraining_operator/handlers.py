"""kopf's part: its watches feed the store, and nothing else. The only module beside `__main__` that knows kopf."""

from __future__ import annotations

import secrets
from typing import Any

import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from tftraining_operator.core.observe import job_record, pod_record
from tftraining_operator.kube.backoff import EndlessBackoff
from tftraining_operator.kube.client import PAGE
from tftraining_operator.kube.credentials import Credentials
from tftraining_operator.runtime.informer import Informer
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.process import Process
from tftraining_operator.runtime.rivals import Rivals
from tftraining_operator.runtime.sweep import POD_SELECTOR


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


class NoMemories(ResourceMemories):
    """Keeps nothing about any object between its events: a kilobyte each that no handler here has a use for."""

    async def recall(self, raw_body: Any, **options: Any) -> ResourceMemory:
        """Return a memory that is new with each event."""
        return await super().recall(raw_body, **options | {"ephemeral": True})


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: no writes of its own, lists in pages, and what it still asks for, lists and watches, asked for ever."""
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.persistence.diffbase_storage = NoDiffBase()
    chosen.persistence.progress_storage = NoProgress()
    # kopf takes its own finalizer off wherever it finds it, which we may not write; this one nobody can have put on.
    chosen.persistence.finalizer = f"tftraining.dev/{secrets.token_hex(8)}"
    chosen.watching.chunk_size = PAGE
    chosen.watching.connect_timeout = 10
    chosen.watching.label_selectors["pods"] = POD_SELECTOR
    # A worker keeps the last event of its object as long as it is idle.
    chosen.queueing.idle_timeout = 0.02
    chosen.queueing.exit_timeout = 0.5
    chosen.networking.request_timeout = 60
    chosen.networking.error_backoffs = EndlessBackoff()
    chosen.process.ultimate_exiting_timeout = 25
    return chosen


def register(
    registry: kopf.OperatorRegistry, process: Process, informer: Informer, rivals: Rivals, credentials: Credentials, metrics: Metrics
) -> None:
    """Register the handlers: each projects and hands on. An event without a type is of kopf's first list."""

    @kopf.on.event("tftraining.dev", "v1alpha1", "tftrainingjobs", id="jobs", registry=registry)
    async def job_event(event: Any, **_: Any) -> None:
        rivals.see(event["object"], event["type"])
        job = job_record(event["object"])
        if job is None:
            metrics.bad_objects.labels("job").inc()
            return
        informer.job(job, deleted=event["type"] == "DELETED", listed=event["type"] is None)

    @kopf.on.event("", "v1", "pods", id="pods", registry=registry)
    async def pod_event(event: Any, **_: Any) -> None:
        pod = pod_record(event["object"])
        if pod is None:
            metrics.bad_objects.labels("pod").inc()
            return
        informer.pod(pod, deleted=event["type"] == "DELETED", listed=event["type"] is None)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        await credentials.renew()
        return kopf.ConnectionInfo(
            server=credentials.server,
            ca_path=credentials.authority_path,
            insecure=credentials.insecure,
            certificate_path=credentials.certificate_path,
            private_key_path=credentials.key_path,
            scheme="Bearer",
            token=credentials.token(),
        )

    @kopf.on.startup(registry=registry)
    async def start(**_: Any) -> None:
        await process.start()

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await process.stop()
