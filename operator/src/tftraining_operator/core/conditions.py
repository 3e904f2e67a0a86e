"""The conditions of a job, made of its situation; a transition time changes only when a status does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tftrainer.messages.contract import TRAINER

from tftraining_operator.api.status import Because, ConditionType, Phase
from tftraining_operator.core import recorded
from tftraining_operator.core.records import Raw
from tftraining_operator.core.situation import Situation

_ON_ITS_WAY: Final = frozenset({Phase.PENDING, Phase.QUEUED, Phase.FETCHING, Phase.RESTARTING, Phase.STOPPING})
RESUMED: Final = "Resumed"
"""Reason of Suspended once the job goes on."""
_LATEST: Final = 253_402_300_799.0


@dataclass(frozen=True, slots=True)
class Fact:
    """One condition before it is dated. `at` is the Unix second since which it holds, None where nothing tells."""

    type: ConditionType
    status: str
    reason: str
    message: str = ""
    at: float | None = None


def rfc3339(seconds: float) -> str:
    """Return Unix seconds as the API server writes times: UTC, whole seconds."""
    return datetime.fromtimestamp(int(min(max(seconds, 0.0), _LATEST)), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def conditions(situation: Situation, previous: Raw, now: float) -> list[dict[str, Any]]:
    """Return all conditions of the job, dated against those of the `previous` status."""
    before = {entry["type"]: entry for entry in recorded.conditions(previous)}
    return [_dated(fact, before.get(fact.type, {}), now) for fact in _facts(situation, before)]


def _facts(situation: Situation, before: Mapping[str, Any]) -> Iterator[Fact]:
    phase, reason, message = situation.phase, situation.reason, situation.message
    if situation.accepted:
        yield Fact(ConditionType.ACCEPTED, "True", "Accepted")
    else:
        yield Fact(ConditionType.ACCEPTED, "False", reason, message)
    # At the end, the two below say it all, and a description of the job fits a screen.
    if not situation.finished:
        if phase is not Phase.SUSPENDED:
            yield _scheduled(situation)
        yield _running(situation)
    yield from _willed(situation, before)
    if situation.finished:
        end = ConditionType.SUCCEEDED if phase is Phase.SUCCEEDED else ConditionType.FAILED
        yield Fact(end, "True", reason, message, situation.ended_at)
        yield Fact(ConditionType.FINISHED, "True", reason, at=situation.ended_at)
    # Generic tools: still on its way until the pod runs, or is gone where it has to; failed for good with Stalled. Never both, and
    # neither while it trains.
    if phase in _ON_ITS_WAY or situation.ending is not None:
        yield Fact(ConditionType.RECONCILING, "True", reason)
    if phase is Phase.FAILED:
        yield Fact(ConditionType.STALLED, "True", reason, at=situation.ended_at)


def _willed(situation: Situation, before: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what somebody wants of the job, and how far that is."""
    phase, message = situation.phase, situation.message
    if phase is Phase.STOPPING:
        yield Fact(ConditionType.STOPPED, "False", "Stopping", message)
    elif phase is Phase.STOPPED:
        yield Fact(ConditionType.STOPPED, "True", situation.reason, at=situation.ended_at)
    elif phase is Phase.SUSPENDED:
        yield Fact(ConditionType.SUSPENDED, "True", "Suspended", message)
    elif situation.ending is not None and situation.ending.because is Because.SUSPEND:
        yield Fact(ConditionType.SUSPENDED, "False", recorded.SUSPENDING, message)
    elif ConditionType.SUSPENDED in before and not situation.finished:
        yield Fact(ConditionType.SUSPENDED, "False", RESUMED)


def _scheduled(situation: Situation) -> Fact:
    pods = [each.last for each in situation.attempt.replicas]
    if all(pod is not None and (pod.node or pod.condition("PodScheduled").status == "True") for pod in pods):
        nodes = sorted({pod.node for pod in pods if pod is not None and pod.node})
        where = f"on node {nodes[0]}" if len(nodes) == 1 else f"on {len(nodes)} nodes" if nodes else ""
        return Fact(ConditionType.SCHEDULED, "True", "Scheduled", where)
    return Fact(ConditionType.SCHEDULED, "False", situation.reason, situation.message)


def _running(situation: Situation) -> Fact:
    if situation.lost:
        return Fact(ConditionType.RUNNING, "Unknown", situation.reason, situation.message)
    if situation.phase is not Phase.RUNNING:
        return Fact(ConditionType.RUNNING, "False", situation.reason)
    pod = situation.attempt.chief.last
    trainer = pod.container(TRAINER) if pod is not None else None
    return Fact(ConditionType.RUNNING, "True", situation.reason, situation.message, trainer.started_at if trainer else None)


def _dated(fact: Fact, before: Mapping[str, Any], now: float) -> dict[str, Any]:
    happened = now if fact.at is None else min(fact.at, now)
    # Kubernetes has one word, False, for a suspension that is on its way and for one that was taken back.
    resumed = before.get("reason") == recorded.SUSPENDING and fact.reason == RESUMED
    since = before["lastTransitionTime"] if before.get("status") == fact.status and not resumed else rfc3339(happened)
    condition = {
        "type": fact.type.value,
        "status": fact.status,
        "reason": fact.reason[:64],
        "lastTransitionTime": since,
    }
    return condition | ({"message": fact.message[:2048]} if fact.message else {})
