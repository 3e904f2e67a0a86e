"""What the containers of a pod have left as their last words. Untrusted: user code runs beside one of them."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

from tftrainer.messages.contract import (
    FETCH,
    PUBLISHER,
    ContractError,
    FetchReport,
    Note,
    PublishReport,
    RunReport,
    decode_report,
    run_prefix,
)

from tftraining_operator.core import names
from tftraining_operator.core.records import ContainerRecord, PodRecord

ReportT = TypeVar("ReportT", FetchReport, RunReport, PublishReport)


def report(container: ContainerRecord | None, kind: type[ReportT]) -> ReportT | None:
    """Return what a terminated container left as its last word, None where that is nothing, or not what it should be."""
    if container is None or container.state != "terminated" or not container.message:
        return None
    return _decoded(container.message, kind)


@lru_cache(maxsize=64)
def _decoded(message: str, kind: type[ReportT]) -> ReportT | None:
    """Decode a message once: a look at a running job asks for its `fetch`'s three times, and so does the next."""
    try:
        return decode_report(message, kind)
    except ContractError:
        return None


def published(pod: PodRecord, namespace: str, job: str, uid: str) -> PublishReport | None:
    """Return the publisher's report if it says that this very attempt's manifest lies in the bucket, None otherwise."""
    final = report(pod.container(PUBLISHER), PublishReport)
    own = names.parse(job, pod.name)
    if final is None or own is None:
        return None
    return final if f"/{run_prefix(namespace, job, uid, own.attempt)}" in f"/{final.manifest_uri}" else None


def note(pod: PodRecord | None) -> str:
    """Return what the pod's publisher has to say of the outputs; empty if nothing."""
    final = report(pod.container(PUBLISHER), PublishReport) if pod is not None else None
    return final.note if final is not None else ""


def notes_of_fetch(pod: PodRecord | None) -> tuple[Note, ...]:
    """Return the notes that the pod's `fetch` has left."""
    found = report(pod.container(FETCH), FetchReport) if pod is not None else None
    return found.notes if found is not None else ()
