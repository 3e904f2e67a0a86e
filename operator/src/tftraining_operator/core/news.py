"""Which events a change of a job's status is worth: one for each real change, never one for each look."""

from __future__ import annotations

from typing import Final

from tftraining_operator.api.status import CheckResult, ConditionType, Phase, Stop
from tftraining_operator.core import recorded
from tftraining_operator.core.observe import mapping, text
from tftraining_operator.core.records import Event, Raw
from tftraining_operator.core.situation import Situation
from tftraining_operator.core.words import sentence

OUTPUTS_INCOMPLETE: Final = "OutputsIncomplete"
"""Reason of the event that tells what has to be known of an attempt's outputs."""
CHECKED: Final = "Checked"
"""Reason of the event that tells of a check that was made while the job waits, and has found all in order."""
_MILESTONES: Final = {
    Phase.RUNNING: ConditionType.RUNNING,
    Phase.SUCCEEDED: ConditionType.SUCCEEDED,
    Phase.SUSPENDED: ConditionType.SUSPENDED,
}


def news(situation: Situation, previous: Raw) -> tuple[Event, ...]:
    """Return one event per real change: a milestone, or another reason to wait. A state that passes by itself is none."""
    note = sentence(situation.note)
    outputs = (Event("Warning", OUTPUTS_INCOMPLETE, note),) if note else ()
    noted = _noted(situation, previous)
    if situation.lost:
        return (*_falls_silent(situation, previous), *noted)
    if situation.phase in {Phase.FAILED, Phase.RESTARTING}:
        return (Event("Warning", situation.reason, situation.message), *outputs, *noted)
    if situation.phase is Phase.STOPPED:
        kind = "Normal" if situation.reason == Stop.STOPPED else "Warning"
        return (Event(kind, situation.reason, situation.message), *outputs, *noted)
    milestone = _MILESTONES.get(situation.phase)
    reached: tuple[Event, ...] = ()
    if milestone is not None and not recorded.holds(previous, milestone):
        reached = (Event("Normal", situation.phase.value, situation.message), *outputs)
    return (*reached, *_waits(situation, previous), *_checked(situation, previous), *noted)


def _falls_silent(situation: Situation, previous: Raw) -> tuple[Event, ...]:
    """Return the event of a node that does not answer, if that is something new."""
    if recorded.holds(previous, ConditionType.RUNNING, "Unknown"):
        return ()
    # A node that comes and goes is told once: only the times of its messages are new.
    return (Event("Warning", situation.reason, situation.message, topic="lost"),)


def _waits(situation: Situation, previous: Raw) -> tuple[Event, ...]:
    """Return the event of something that the job waits for, if that is something new."""
    found = situation.pending
    if found is None or text(mapping(previous.get("pending")).get("reason")) == found.reason:
        return ()
    # Two reasons that alternate are told once each: only the numbers of their messages are new.
    return (Event("Warning", found.reason, sentence(found.message), topic="pending"),)


def _checked(situation: Situation, previous: Raw) -> tuple[Event, ...]:
    """Return the event of a check that has found all in order, if that is something new."""
    check, before = situation.check, recorded.check(previous)
    if check is None or check.result is not CheckResult.PASSED or (before is not None and before.result is check.result):
        return ()
    return (Event("Normal", CHECKED, sentence(check.message)),)


def _noted(situation: Situation, previous: Raw) -> tuple[Event, ...]:
    """Return one event of each kind of note, however often a script makes its pod tell it."""
    known = {each.reason for each in recorded.notes(previous, situation.attempt.number)}
    reasons = dict.fromkeys(each.reason for each in situation.notes if each.reason not in known)
    return tuple(
        Event("Warning", reason, sentence(*(each.message for each in situation.notes if each.reason == reason))) for reason in reasons
    )
