"""What somebody wants of a job: that it goes, that it ends, or that it pauses."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tftraining_operator.api.status import Because, Phase
from tftraining_operator.core import claims, reports
from tftraining_operator.core.attempts import Attempt
from tftraining_operator.core.case import Case
from tftraining_operator.core.findings import Finding
from tftraining_operator.core.recorded import Ending
from tftraining_operator.core.records import PodRecord
from tftraining_operator.core.rules import course, end
from tftraining_operator.core.situation import Situation, shown_phase
from tftraining_operator.core.words import sentence

_THEN: Final = {
    Because.STOP: "the job is stopped",
    Because.SUSPEND: "the job is suspended",
    Because.EVICT: "the job waits in its queue again",
    Because.REGROUP: "the job waits for a place for all of its pods again",
}
"""What follows when the pods have ended that the operator ends."""


def being_deleted(case: Case) -> Finding | None:
    """Free what a job holds that is going: another's finalizer can keep it, and until then the garbage collector lets its pods run."""
    if case.job.deleted_at is None:
        return None
    return Finding(deletions=() if case.job.orphaning else case.history.deletions())


def stop(case: Case) -> Finding | None:
    """End for good a job that is to be stopped: its pods go as those of a suspended one do, and no attempt follows.

    A pod that came to an end of its own before has the say: a failure that would not be tried again is a failure.
    """
    if not case.spec.stop:
        return None
    if case.current.alive or case.current.unseen:
        message = sentence(f"the job is being stopped: {told(case.current)}")
        return told_to_go(case, Because.STOP, Situation(Phase.STOPPING, "Stopping", message, case.current))
    if case.history.ending is None and any(pod.deleted_at is None for pod in case.current.pods):
        return None
    return end.stopped(case)


def suspend(case: Case) -> Finding | None:
    """Free all that a suspended job holds: its pods go, the job stays, and a resume is the next attempt.

    That the operator itself deletes them is written down first, so that a resume in the same moment is not taken for a pod that
    somebody else has deleted. A pod that came to an end of its own before is no longer a matter of suspending.
    """
    current, ending = case.current, case.history.ending
    if not (case.spec.suspend or ending):
        return None
    # Of several, what is left when others have gone is of no use, also where the suspension was taken back meanwhile.
    torn = case.history.torn
    if _going(current) or current.unseen or (current.alive and (case.spec.suspend or torn)):
        message = sentence(f"the job is being suspended: {told(current)}")
        about = case.history.told
        if about.number > current.number:
            # It waits for its next attempt already while pods of the last one still go.
            return told_to_go(case, Because.SUSPEND, Situation(Phase.RESTARTING, "Suspending", message, about))
        phase = shown_phase(next(each.last for each in current.replicas if each.last is not None))
        return told_to_go(case, Because.SUSPEND, Situation(phase, "Suspending", message, current))
    if not case.history.cleared or not case.spec.suspend:
        return None
    attempt = case.history.next if case.current.existed and not case.suspended else case.current
    message = sentence(f"the job is suspended; spec.suspend: false starts attempt {attempt.number}")
    situation = Situation(Phase.SUSPENDED, "Suspended", message, attempt, before=case.current, note=reports.note(case.chief.last))
    return Finding(situation)


def _going(attempt: Attempt) -> list[tuple[float, PodRecord]]:
    """Return the pods of an attempt that are on their way out, that which has to be gone first at the beginning.

    What has ended goes in a moment, unless somebody's finalizer keeps it, and then nobody has to wait for it.
    """
    going = ((pod.deleted_at, pod) for pod in attempt.pods if pod.deleted_at is not None and not (pod.held and claims.ended(pod)))
    return sorted(going, key=lambda each: each[0])


def told(attempt: Attempt) -> str:
    """Return in words that the pods of an attempt are told to stop."""
    pods = (*attempt.alive, *attempt.unseen) or attempt.pods
    if len(pods) == 1:
        return f"pod {pods[0].name} is told to stop and publishes what it has"
    return f"{len(pods)} pods are told to stop and publish what they have"


def told_to_go(case: Case, because: Because, situation: Situation) -> Finding:
    """Delete the pods of an attempt, once it is written down why, and then leave them their time to go."""
    ending, told_now = case.history.ending, (*case.history.deletions(), *case.current.lost())
    if ending is None or ending.because is not because:
        ending = Ending(case.current.number, because, case.now)
    elif not told_now and (going := _going(case.current)):
        deleted_at, pod = going[0]
        found = course.going(case, pod, deleted_at, then=_THEN[because])
        lost = replace(found.situation, phase=situation.phase, ending=ending) if found.situation is not None else None
        return replace(found, situation=lost)
    return Finding(replace(situation, ending=ending), deletions=told_now)
