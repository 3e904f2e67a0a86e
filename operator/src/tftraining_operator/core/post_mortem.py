"""What is known of an attempt that failed, in short: the evidence as the operator saw it, and where the publisher has left the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tftrainer.messages.contract import PUBLISHER, PublishReport

from tftraining_operator.api.status import EVIDENCE_LIMIT
from tftraining_operator.core import recorded
from tftraining_operator.core.case import Case
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.records import ContainerRecord, PodRecord, Raw
from tftraining_operator.core.reports import report
from tftraining_operator.core.situation import Situation
from tftraining_operator.core.words import line

_LENGTH: Final = 256
_OF_INTEREST: Final = {"PodScheduled": "False", "DisruptionTarget": "True", "PodReadyToStartContainers": "False"}
"""Conditions of a pod that tell of a failure, by the status with which they do."""


def post_mortem(case: Case, situation: Situation) -> dict[str, Any]:
    """Return the post-mortem of the attempt that has just failed, or that of an earlier one which the status has.

    A job that ends while its next attempt is still to come has nothing newer to tell.
    """
    if situation.verdict is None or case.history.begun is not case.current:
        return _recorded(case.job.status)
    attempt = situation.ended or situation.attempt
    pod = attempt.with_pod(situation.verdict.pod).last
    final = report(pod.container(PUBLISHER), PublishReport) if pod is not None else None
    return {
        "attempt": attempt.number,
        "uri": final.post_mortem_uri if final is not None else "",
        "evidence": [line(case.plain.without(each))[:_LENGTH] for each in evidence(pod)][:EVIDENCE_LIMIT] if pod is not None else [],
    }


def evidence(pod: PodRecord) -> Iterator[str]:
    """Yield what a pod's status says of its end, in sentences."""
    for container in pod.containers:
        yield _container(container)
    yield f"pod {pod.name} is in phase {pod.phase}{_said(pod.reason, pod.message)}"
    if pod.deleted_at is not None:
        yield f"pod {pod.name} was told to go, by {rfc3339(pod.deleted_at)}"
    if pod.node:
        yield f"it was on node {pod.node}"
    for kind, found in sorted(pod.conditions.items()):
        if _OF_INTEREST.get(kind) == found.status:
            yield f"condition {kind} is {found.status}{_said(found.reason, found.message)}"


def _container(container: ContainerRecord) -> str:
    if container.state != "terminated":
        return f"container {container.name} is {container.state or 'unknown'}{_said(container.reason, container.message)}"
    at = f" at {rfc3339(container.finished_at)}" if container.finished_at is not None else ""
    # The message of one that has ended is its report, which the failure is made of.
    return f"container {container.name} ended with exit code {container.exit_code}{at}{_said(container.reason, '')}"


def _said(reason: str, message: str) -> str:
    return "".join([f" ({reason})" if reason else "", f": {message}" if message else ""])


def _recorded(previous: Raw) -> dict[str, Any]:
    found = recorded.part(previous, "postMortem").post_mortem
    return found.model_dump(by_alias=True, exclude_defaults=True, mode="json") if found is not None else {}
