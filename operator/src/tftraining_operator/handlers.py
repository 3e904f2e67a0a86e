"""kopf's part: its watches feed the store, and nothing else. The only module beside `__main__` that knows kopf."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import kopf
import structlog
from kopf._cogs.clients.watching import Bookmark, infinite_watch
from kopf._cogs.structs.references import Namespace, NamespaceName, Resource

from tftraining_operator.core.observe import job_record, pod_record
from tftraining_operator.kube.backoff import EndlessBackoff
from tftraining_operator.kube.client import PAGE
from tftraining_operator.kube.credentials import Credentials
from tftraining_operator.runtime.informer import Informer
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.process import Process
from tftraining_operator.runtime.rivals import Rivals
from tftraining_operator.runtime.sweep import POD_SELECTOR

_log = structlog.get_logger()
_JOBS: Final = Resource("tftraining.dev", "v1alpha1", "tftrainingjobs", namespaced=True)
_PODS: Final = Resource("", "v1", "pods", namespaced=True)

Take = Callable[[Any, str | None], None]
"""Takes an object, and what a watch says has happened to it: None of one in the list that a watch begins with."""


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: lists in pages, and what is asked for, lists and watches, asked for ever."""
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = True
    chosen.watching.chunk_size = PAGE
    chosen.watching.connect_timeout = 10
    chosen.watching.label_selectors["pods"] = POD_SELECTOR
    chosen.networking.request_timeout = 60
    chosen.networking.error_backoffs = EndlessBackoff()
    chosen.process.ultimate_exiting_timeout = 25
    return chosen


def register(registry: kopf.OperatorRegistry, process: Process, credentials: Credentials) -> None:
    """Register what begins and ends with kopf, and how it is known to the API server."""

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


async def watch(chosen: kopf.OperatorSettings, namespaces: Sequence[str], informer: Informer, rivals: Rivals, metrics: Metrics) -> None:
    """Project and hand on what kopf's watches tell of jobs and pods, in these namespaces or in all, until cancelled or a watch fails."""

    def take_job(raw: Any, event: str | None) -> None:
        rivals.see(raw, event)
        job = job_record(raw)
        if job is None:
            metrics.bad_objects.labels("job").inc()
        else:
            informer.job(job, deleted=event == "DELETED", listed=event is None)

    def take_pod(raw: Any, event: str | None) -> None:
        pod = pod_record(raw)
        if pod is None:
            metrics.bad_objects.labels("pod").inc()
        else:
            informer.pod(pod, deleted=event == "DELETED", listed=event is None)

    places: Sequence[Namespace] = [NamespaceName(each) for each in namespaces] or [None]
    await asyncio.gather(
        *(_follow(chosen, _JOBS, place, take_job) for place in places), *(_follow(chosen, _PODS, place, take_pod) for place in places)
    )


async def _follow(chosen: kopf.OperatorSettings, kind: Resource, place: Namespace, take: Take) -> None:
    async for event in infinite_watch(settings=chosen, resource=kind, namespace=place):
        if not isinstance(event, Bookmark):
            hand_on(event, take)


def hand_on(event: Any, take: Take) -> None:
    """Hand on one event. An object that nobody has thought of is told in the log, and does not make the process deaf to all others."""
    if event["type"] == "BOOKMARK":
        return
    try:
        take(event["object"], event["type"])
    except Exception:
        _log.exception("event not taken")
