"""What may be believed: of a status, which anyone with the right to may have written, and of a pod's end."""

from __future__ import annotations

import math
from typing import Final

from tftrainer.messages.contract import FETCH, PUBLISHER, TRAINER, PublishReport, Reason, SuccessPolicy

from tftraining_operator.api.status import CheckResult, ConditionType, Phase
from tftraining_operator.core import recorded
from tftraining_operator.core.observe import mapping, text, timestamp
from tftraining_operator.core.records import JobRecord, PodRecord
from tftraining_operator.core.reports import published

ENDED_WELL: Final = "Succeeded"
"""The phase that a status has of a pod that has ended well."""
ENDED_WITH_JOB: Final = "Ended"
"""The phase that it has of one that was ended because nobody needed it any more."""
OPERATORS_OWN: Final = frozenset(
    {
        Reason.INVALID_SPEC,
        Reason.UNKNOWN_RUNTIME,
        Reason.UNKNOWN_RESOURCE_CLASS,
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


def end(job: JobRecord) -> Phase | None:
    """Return the end that the status claims, None where it claims none or is not whole, as one that somebody made up.

    An end has a shape: `Finished`, the time, and one of the pair, where `Failed` is that of a stopped job too, which has `Stopped` beside
    it. Its words and places may be those of another version: a job that has ended must not run again because nobody here knows the reason.
    """
    true = {entry["type"] for entry in recorded.conditions(job.status) if entry["status"] == "True"}
    ends = true & {ConditionType.SUCCEEDED, ConditionType.FAILED}
    if ConditionType.FINISHED not in true or len(ends) != 1 or timestamp(job.status.get("completionTime")) is None:
        return None
    if ConditionType.SUCCEEDED in ends:
        return Phase.SUCCEEDED
    return Phase.STOPPED if ConditionType.STOPPED in true else Phase.FAILED


def credible(job: JobRecord, claimed: Phase, pod: PodRecord | None) -> bool:
    """Tell whether the current pod, as far as there still is one, does not contradict the claimed end.

    One that came after the end somebody else has made. Of several, the pod of the one that coordinates them is asked, which may live on
    for a while where another has failed.
    """
    if pod is None or pod.deleted_at is not None or pod.created_at > (timestamp(job.status.get("completionTime")) or math.inf):
        return True
    if claimed is Phase.FAILED and job.spec.get("replicas") is not None and _claimed_pod(job) not in {"", pod.name}:
        return True
    if claimed is Phase.SUCCEEDED:
        return all(container is not None and container.exit_code == 0 for container in map(pod.container, (TRAINER, PUBLISHER)))
    if claimed is Phase.STOPPED:
        # What a job that never ran is shown as having published is no success: who may create pods can give them any owner.
        return ended(pod)
    if (check := recorded.check(job.status)) is not None and check.result is CheckResult.FAILED:
        return True
    return _claimed_reason(job) in OPERATORS_OWN or (ended(pod) and (needs_all_workers(job) or success(job, pod) is None))


def needs_all_workers(job: JobRecord) -> bool:
    """Whether all workers have to succeed, so that the chief's success is not yet the job's."""
    return bool(job.spec.get("successPolicy") == SuccessPolicy.ALL_WORKERS)


def ended(pod: PodRecord) -> bool:
    """Tell whether nothing of the pod will run any more: its containers say so before its phase does."""
    if pod.phase in {"Succeeded", "Failed"}:
        return True
    fetch, trainer, publisher = (pod.container(name) for name in (FETCH, TRAINER, PUBLISHER))
    if fetch is not None and fetch.state == "terminated" and fetch.exit_code != 0:
        return True
    return all(container is not None and container.state == "terminated" for container in (trainer, publisher))


def ended_well(pod: PodRecord) -> bool:
    """Tell whether the pod's script has ended with 0, and nothing of the pod runs any more."""
    trainer = pod.container(TRAINER)
    return ended(pod) and trainer is not None and trainer.exit_code == 0


def ended_at(pod: PodRecord | None) -> float | None:
    """Return the Unix second at which the last of the pod's containers ended, None where none has, or nobody knows.

    Of a pod whose node is lost one may be shown as running for ever: then what ended before it tells nothing.
    """
    if pod is None or any(container.state == "running" for container in pod.containers):
        return None
    return max((container.finished_at for container in pod.containers if container.finished_at is not None), default=None)


def success(job: JobRecord, pod: PodRecord) -> PublishReport | None:
    """Return the publisher's report if it and the script's end together prove success, None otherwise."""
    trainer = pod.container(TRAINER)
    if trainer is None or trainer.state != "terminated" or trainer.exit_code != 0:
        return None
    final = published(pod, job.key.namespace, job.key.name, job.uid)
    return final if final is not None and final.succeeded and final.failure is None else None


def _claimed_pod(job: JobRecord) -> str:
    return text(mapping(job.status.get("failure")).get("pod"))


def _claimed_reason(job: JobRecord) -> str:
    return text(mapping(job.status.get("failure")).get("reason"))
