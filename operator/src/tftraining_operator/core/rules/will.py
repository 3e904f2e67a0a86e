"""What somebody wants of a job: that it goes, or that it pauses."""

from __future__ import annotations

from dataclasses import replace

from tftraining_operator.api.status import Because, Phase
from tftraining_operator.core import claims, reports
from tftraining_operator.core.case import Case
from tftraining_operator.core.findings import Finding
from tftraining_operator.core.recorded import Ending
from tftraining_operator.core.rules import course
from tftraining_operator.core.situation import Situation, shown_phase
from tftraining_operator.core.words import sentence


def being_deleted(case: Case) -> Finding | None:
    """Free what a job holds that is going: another's finalizer can keep it, and until then the garbage collector lets its pods run."""
    if case.job.deleted_at is None:
        return None
    return Finding(deletions=() if case.job.orphaning else case.history.deletions())


def suspend(case: Case) -> Finding | None:
    """Free all that a suspended job holds: its pods go, the job stays, and a resume is the next attempt.

    That the operator itself deletes them is written down first, so that a resume in the same moment is not taken for a pod that
    somebody else has deleted. A pod that came to an end of its own before is no longer a matter of suspending.
    """
    ending, pod = case.history.ending, case.chief.pod
    if not (case.spec.suspend or ending):
        return None
    if pod is not None:
        if pod.deleted_at is None and (claims.ended(pod) or not case.spec.suspend):
            return None
        deletions = case.history.deletions()
        if ending is not None and not deletions and pod.deleted_at is not None:
            found = course.going(case, pod, pod.deleted_at)
            return replace(found, situation=replace(found.situation, ending=ending)) if found.situation is not None else found
        message = sentence(f"the job is being suspended: pod {pod.name} is told to stop and publishes what it has")
        ending = ending or Ending(case.current.number, Because.SUSPEND, case.now)
        return Finding(Situation(shown_phase(pod), "Suspending", message, case.current, ending=ending), deletions=deletions)
    if not case.spec.suspend:
        return None
    attempt = case.history.next if case.current.existed and not case.suspended else case.current
    message = sentence(f"the job is suspended; spec.suspend: false starts attempt {attempt.number}")
    last = case.chief.last
    return Finding(Situation(Phase.SUSPENDED, "Suspended", message, attempt, before=case.current, note=reports.note(last)))
