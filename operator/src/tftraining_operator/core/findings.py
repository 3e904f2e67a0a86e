"""What a rule says of a job: where it stands and what is to be done, or that its attempt is over and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tftrainer.messages.contract import Reason

from tftraining_operator.api.status import ConditionType, Phase
from tftraining_operator.core import recorded
from tftraining_operator.core.attempts import Attempt
from tftraining_operator.core.case import Case
from tftraining_operator.core.causes import Verdict, verdict
from tftraining_operator.core.nodes import Need
from tftraining_operator.core.pending import Pending, steadied
from tftraining_operator.core.records import Deletion, Event, Raw
from tftraining_operator.core.situation import Situation
from tftraining_operator.core.words import sentence

PASSING_SECONDS: Final = 3.0
"""A state that passes sooner is not worth a write. Containers state whole seconds: three since then are two for certain."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Where a job stands, None where its status says so already, and what is to be done; `amends` are fields of its status to put right.

    `look_again_at` is the Unix second at which the job has to be looked at though nothing has changed, None for never. `need` is what the
    job's pod needs of a node where none takes it. `expires` tells that the job itself is to be deleted. `check` is a pod that checks the
    job while it waits, `workload` the place in a queue that is to be asked for.
    """

    situation: Situation | None = None
    creates: tuple[Raw, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    events: tuple[Event, ...] = ()
    look_again_at: float | None = None
    amends: Mapping[str, Any] = field(default_factory=dict)
    need: Need | None = None
    expires: bool = False
    check: Raw | None = None
    workload: Raw | None = None


@dataclass(frozen=True, slots=True)
class Over:
    """That the current attempt has failed, why, and since when (Unix seconds, None where its containers tell).

    `reasons` are why replicas of several failed, by their pods.
    """

    verdict: Verdict
    ended_at: float | None = None
    deletions: tuple[Deletion, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)


def if_it_lasts(case: Case, situation: Situation, worth_writing_at: float, look_again_at: float | None) -> Finding:
    """Write a state only if it lasts, or if the status says what is no longer so: one that passes at once is not worth it."""
    stale = any(recorded.holds(case.job.status, kind) for kind in (ConditionType.SUSPENDED, ConditionType.FINISHED))
    if case.now < worth_writing_at and not stale:
        return Finding(look_again_at=earliest(worth_writing_at, look_again_at))
    return Finding(situation, look_again_at=look_again_at)


def earliest(*times: float | None) -> float | None:
    """Return the first of some Unix seconds, None for never."""
    return min((at for at in times if at is not None), default=None)


def waits(
    case: Case, found: Pending, attempt: Attempt, worth_writing_at: float, look_again_at: float | None, phase: Phase = Phase.PENDING
) -> Finding:
    """Tell what an attempt waits for; what changes by itself is told anew now and then."""
    wait, more_at = steadied(found, case.job.status, case.now)
    situation = Situation(phase, wait.reason, sentence(wait.message), attempt, pending=wait)
    return if_it_lasts(case, situation, worth_writing_at, earliest(look_again_at, more_at))


def invalid(problem: str) -> Verdict:
    """Return the verdict on a spec that cannot be used."""
    return verdict(Reason.INVALID_SPEC, f"the spec cannot be used: {problem}", "correct it and create the job again")


def overdue(case: Case, what: str, pod: str = "") -> Verdict:
    """Return the verdict on a job that has waited too long, for `what`, with its pod of that name."""
    message = f"the script did not run within spec.pendingDeadlineSeconds ({case.wanted.pending_seconds}); it waited because {what}"
    return verdict(Reason.PENDING_DEADLINE_EXCEEDED, message, "remove the cause, then create the job again", pod=pod)
