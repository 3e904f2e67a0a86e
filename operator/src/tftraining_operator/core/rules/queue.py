"""What a queue has to say: that an attempt waits for its place there, and that its place is taken back."""

from __future__ import annotations

from dataclasses import replace

from tftrainer.messages.contract import TRAINER, Reason

from tftraining_operator.api.status import Because, Phase
from tftraining_operator.core import culprit, places, queues, workloads
from tftraining_operator.core.case import Case
from tftraining_operator.core.causes import RUN_AGAIN, verdict
from tftraining_operator.core.findings import PASSING_SECONDS, Finding, Over, invalid, overdue, waits
from tftraining_operator.core.pending import Pending
from tftraining_operator.core.rules import will
from tftraining_operator.core.situation import Situation, shown_phase
from tftraining_operator.core.words import sentence

_READ_SECONDS = 1.0
"""How soon what could not be known yet, because nobody had read it, is known."""
_AGAIN_SECONDS = 10.0
"""How soon an admin may have put right what stands in the way."""


def evicted(case: Case) -> Finding | Over | None:
    """End an attempt whose place in the queue is taken back: its pods go, and it counts as preempted. One that has ended has the say."""
    current, ending = case.current, case.history.ending
    begun = ending is not None and ending.because is Because.EVICT
    taken = workloads.taken_back(case)
    due = taken is not None and bool(current.alive) and case.now >= taken.at
    if case.spec.suspend or case.spec.stop or not (begun or due):
        return None
    why = taken.why if taken is not None else "its Workload is gone"
    if current.alive or current.unseen:
        message = sentence(f"the queue takes the job's place back ({why}): {will.told(current)}")
        phase = shown_phase((*current.alive, *current.unseen)[0])
        return will.told_to_go(case, Because.EVICT, Situation(phase, "Evicting", message, current))
    if case.observed.queueing is None and case.configuration.kueue.enabled:
        # Why it was taken back, the first list of Workloads has still to tell.
        return Finding(look_again_at=case.now + _READ_SECONDS)
    judged = culprit.judged(case) if _had_failed(case) else None
    if judged is None or (isinstance(judged, Over) and judged.verdict.failure.reason is Reason.POD_DELETED):
        # What ended as scripts do that are told to stop was stopped, whatever the clock of its node says.
        return Over(verdict(Reason.PREEMPTED, f"the queue took the job's place back ({why})", RUN_AGAIN, pod=current.chief.name))
    return judged


def _had_failed(case: Case) -> bool:
    """Whether a script had failed by itself before the place was taken back: that is no preemption, whatever became of its pod then."""
    told = (places.evicted(case.observed, case.current.number), case.history.ending)
    at = min((each.since for each in told if each is not None and each.since is not None), default=0.0)
    trainers = (each.last.container(TRAINER) for each in case.current.replicas if each.last is not None)
    # Scripts that are told to stop may end within the same second.
    return any(each is not None and each.exit_code not in {None, 0} and (each.finished_at or at) < at for each in trainers)


def queued(case: Case) -> Finding | Over | None:
    """Wait for a place in the queue that the job names: no pod is made before all of them have one."""
    workload, queueing = case.workload, case.observed.queueing
    if case.spec.scheduling.queue is None or not case.history.missing:
        return None
    away, begun = queues.away(case), case.history.upcoming.existed
    if away is not None:
        # Without Kueue nobody else can have the place that it had when the first of its pods was made; none begins by what was known once.
        return None if begun else _waits(case, away, case.now)
    if workload is not None and places.is_taken(workload) and not places.unknown_flavors(case.observed, workload):
        return None
    if begun:
        return _half_made(case)
    if queueing is None:
        return Finding(look_again_at=case.now + _READ_SECONDS)
    if workload is not None:
        silent_at = workload.created_at + queues.SILENT_SECONDS
        again_at = silent_at if case.now < silent_at else case.now + _AGAIN_SECONDS if places.is_taken(workload) else None
        # What a queue refuses waits for others; what it has not looked at yet passes in milliseconds.
        refused = workload.condition("QuotaReserved").status == "False"
        return _waits(case, queues.wait(case, workload), case.now if refused else workload.created_at + PASSING_SECONDS, again_at)
    return _asks(case)


def _half_made(case: Case) -> Finding | Over:
    """Wait for the place of a group that has some of its pods already, but has lost its Workload: not beyond its pending deadline."""
    if case.observed.queueing is None:
        return Finding(look_again_at=case.now + _READ_SECONDS)
    workload = case.workload
    wait = queues.wait(case, workload) if workload is not None else queues.refused(case)
    if case.now >= case.pending_until:
        why = wait.message if wait is not None else "the place of its other pods in the queue was lost"
        return Over(overdue(case, why), deletions=case.history.deletions())
    again_at = min(case.now + _AGAIN_SECONDS, case.pending_until)
    if wait is None:
        return Finding(look_again_at=again_at)
    since = case.now if workload is None else workload.created_at + PASSING_SECONDS
    return waits(case, wait, case.history.upcoming, since, again_at)


def _asks(case: Case) -> Finding | Over:
    """Ask for a place, unless something is known to stand in the way."""
    queueing = case.observed.queueing
    refusal = queues.refused(case)
    asked = Finding() if refusal is None else _waits(case, refusal, case.now, case.now + _AGAIN_SECONDS)
    if workloads.known_priorities(case) is None:
        return asked if refusal is not None else Finding(look_again_at=case.now + _READ_SECONDS)
    if queueing is None or queueing.barred or (refusal is not None and not queueing.refusal):
        return asked
    try:
        return replace(asked, workload=workloads.body(case))
    except ValueError as error:
        return Over(invalid(case.plain.without(str(error))), deletions=case.history.deletions())


def _waits(case: Case, wait: Pending, worth_writing_at: float, look_again_at: float | None = None) -> Finding:
    return waits(case, wait, case.history.upcoming, worth_writing_at, look_again_at, Phase.QUEUED)
