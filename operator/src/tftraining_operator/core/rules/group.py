"""What becomes of a group that has a place for some of its pods only: of two such, each may hold what the other one waits for."""

from __future__ import annotations

from typing import Final

from tftraining_operator.api.status import MESSAGE_LIMIT, Because, Phase
from tftraining_operator.core import placement, recorded
from tftraining_operator.core.case import Case
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.findings import Finding, Over, overdue
from tftraining_operator.core.observe import mapping, text
from tftraining_operator.core.pending import Pending, steadied
from tftraining_operator.core.recorded import Restart
from tftraining_operator.core.retries import LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS, spread
from tftraining_operator.core.rules import course, will
from tftraining_operator.core.situation import Situation, shown_phase
from tftraining_operator.core.words import sentence

HOLDS_SECONDS: Final = 300.0
"""How long some pods of a group hold their places while others have none: an autoscaler takes minutes to add a node."""
_TRIES: Final = 4
"""So often it is tried at least within the pending deadline."""


def half_placed(case: Case) -> Finding | None:
    """Free a group of which some pods have no place, once that has lasted, and try again later: another may wait for what it holds.

    It takes no retry, and the pending deadline goes on. In a queue all pods have their quota at once.
    """
    ending = case.history.ending
    begun = ending is not None and ending.because is Because.REGROUP
    at = due_at(case)
    due = at is not None and at <= case.now < case.pending_until
    if case.spec.suspend or case.spec.stop or not (begun or due):
        return None
    current = case.current
    if not (current.alive or current.unseen):
        return _again(case)
    some = f"there is a place for only {_placed(case) or len(current.pods)} of {len(current.replicas)} pods"
    message = sentence(f"{some}, and others may wait for what they hold: {will.told(current)}")
    phase = shown_phase((*current.alive, *current.unseen)[0])
    return will.told_to_go(case, Because.REGROUP, Situation(phase, "Regrouping", message, current, pending=_lacked(case)))


def out_of_time(case: Case) -> Over | None:
    """End a group that waits for its next try when its pending deadline is over: it was the last one."""
    restart = recorded.restart(case.job.status)
    waits = restart is not None and restart.waiting_since is not None and not restart.begun
    if not waits or case.current.alive or case.suspended or case.now < case.pending_until:
        return None
    why = text(mapping(case.job.status.get("pending")).get("message"), MESSAGE_LIMIT) or "it had a place for some of its pods only"
    return Over(overdue(case, why))


def due_at(case: Case) -> float | None:
    """Return when a group that has a place for some of its pods gives them up, None where it has one for all, or for none."""
    current, missing = case.current, case.history.missing
    if current.alone or case.history.ending is not None or isinstance(case.parsed, str) or case.spec.scheduling.queue is not None:
        return None
    if not current.pods or len(current.alive) < len(current.pods) or any(pod.deleted_at is not None for pod in current.pods):
        return None
    homeless = [pod for pod in current.pods if placement.refused_by_all(pod)]
    # What a quota counts is held by pods that have no node as well.
    refused = bool(missing and case.observed.refusal)
    if not refused and not (homeless and _placed(case)):
        return None
    since = max(max(pod.created_at, pod.condition("PodScheduled").since or 0.0) for pod in current.pods)
    return since + min(HOLDS_SECONDS, case.wanted.pending_seconds / _TRIES) * spread(case.job.uid, current.number)


def _placed(case: Case) -> int:
    return sum(1 for pod in case.current.pods if pod.node)


def _again(case: Case) -> Finding:
    """Write down when it is tried again: later each time, as the wait has been longer, and not when every other is."""
    since, number = case.waiting_since, case.current.number + 1
    pause = min(max((case.now - since) / 2, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS) * spread(case.job.uid, number)
    # At the deadline it is looked at for the last time.
    at = float(int(min(case.now + pause, case.pending_until)))
    message = sentence(
        f"attempt {case.current.number} had a place for some of its pods only, and has freed them",
        f"attempt {number} starts at {rfc3339(at)}, and spec.pendingDeadlineSeconds goes on",
    )
    restart = Restart(number, at, waiting_since=since)
    situation = Situation(
        Phase.RESTARTING, "HalfPlaced", message, case.history.next, pending=_lacked(case), before=case.current, restart=restart
    )
    return Finding(situation, look_again_at=at)


def _lacked(case: Case) -> Pending | None:
    """Return what the pods without a place waited for; as long as the others go, that is what was told of it before."""
    told = mapping(case.job.status.get("pending"))
    if case.history.ending is not None and (reason := text(told.get("reason"), 64)):
        wait: Pending | None = Pending(reason, text(told.get("message"), MESSAGE_LIMIT))
    else:
        wait = next(course.obstacles(case, case.current.replicas), None) or (course.refusal(case) if case.history.missing else None)
    return None if wait is None else steadied(wait, case.job.status, case.now)[0]
