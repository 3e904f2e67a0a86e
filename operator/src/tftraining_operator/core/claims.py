"""What may be believed: of a status, which anyone with the right to may have written, and of a pod's end."""

from __future__ import annotations

from typing import Final

from tftrainer.contract import FETCH, PUBLISHER, TRAINER, PublishReport, Reason, run_prefix

from tftraining_operator.api.status import ConditionType, Phase
from tftraining_operator.core.causes import published
from tftraining_operator.core.conditions import read
from tftraining_operator.core.observe import integer, mapping, text, timestamp
from tftraining_operator.core.records import JobRecord, PodRecord

OPERATORS_OWN: Final = frozenset(
    {
        Reason.INVALID_SPEC,
        Reason.UNKNOWN_RUNTIME,
        Reason.NAME_CONFLICT,
        Reason.PENDING_DEADLINE_EXCEEDED,
        Reason.DEADLINE_EXCEEDED,
        Reason.IMAGE_UNAVAILABLE,
        Reason.CONTAINER_NOT_STARTED,
        Reason.PUBLISH_FAILED,
        Reason.POD_DELETED,
    }
)
"""Ends that the operator itself brings about, also while a pod still lives."""
_REASONS: Final = frozenset(reason.value for reason in Reason)


def end(job: JobRecord) -> Phase | None:
    """Return the end that the status claims, None where it claims none or is not whole, as one that somebody made up."""
    true = {entry["type"] for entry in read(job.status) if entry["status"] == "True"}
    if ConditionType.FINISHED not in true or timestamp(job.status.get("completionTime")) is None:
        return None
    ends = true & {ConditionType.SUCCEEDED, ConditionType.FAILED}
    if ends == {ConditionType.FAILED}:
        return Phase.FAILED if _claimed_reason(job) in _REASONS else None
    if ends != {ConditionType.SUCCEEDED}:
        return None
    attempt = integer(job.status.get("attempt")) or 0
    place = run_prefix(job.key.namespace, job.key.name, job.uid, attempt)
    return Phase.SUCCEEDED if place in text(mapping(job.status.get("outputs")).get("manifest"), 2048) else None


def credible(job: JobRecord, claimed: Phase, pod: PodRecord | None) -> bool:
    """Tell whether the current pod, as far as there still is one, bears the claimed end out."""
    if pod is None or pod.deleted_at is not None:
        return True
    proven = success(job, pod) is not None
    if claimed is Phase.SUCCEEDED:
        return proven
    return _claimed_reason(job) in OPERATORS_OWN or (ended(pod) and not proven)


def ended(pod: PodRecord) -> bool:
    """Tell whether nothing of the pod will run any more: its containers say so before its phase does."""
    if pod.phase in {"Succeeded", "Failed"}:
        return True
    fetch, trainer, publisher = (pod.container(name) for name in (FETCH, TRAINER, PUBLISHER))
    if fetch is not None and fetch.state == "terminated" and fetch.exit_code != 0:
        return True
    return all(container is not None and container.state == "terminated" for container in (trainer, publisher))


def success(job: JobRecord, pod: PodRecord) -> PublishReport | None:
    """Return the publisher's report if it and the script's end together prove success, None otherwise."""
    trainer = pod.container(TRAINER)
    if trainer is None or trainer.state != "terminated" or trainer.exit_code != 0:
        return None
    final = published(pod, job.key.namespace, job.key.name, job.uid)
    return final if final is not None and final.succeeded and final.failure is None else None


def _claimed_reason(job: JobRecord) -> str:
    return text(mapping(job.status.get("failure")).get("reason"))
