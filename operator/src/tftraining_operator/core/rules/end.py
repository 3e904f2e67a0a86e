"""How attempts end, and what follows: success, failure, and what stays of a job afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tftrainer.messages.contract import TRAINER, PublishReport, Reason

from tftraining_operator.api.status import Phase
from tftraining_operator.core import causes, claims, culprit, names, recorded, reports, retries, stopping, workloads
from tftraining_operator.core.attempts import Attempt, Replica, deletions
from tftraining_operator.core.case import Case
from tftraining_operator.core.causes import Verdict, verdict
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.effective import least
from tftraining_operator.core.findings import Finding, Over
from tftraining_operator.core.observe import integer, timestamp
from tftraining_operator.core.records import Deletion, PodRecord
from tftraining_operator.core.retries import Again
from tftraining_operator.core.situation import Situation
from tftraining_operator.core.usage import running_seconds
from tftraining_operator.core.words import sentence

EVALUATION_SECONDS: Final = 900.0
"""How long an evaluator may go on when the job's success is decided: Estimators look for a checkpoint every ten minutes."""
_SWEPT_SECONDS: Final = 900.0
"""What is due later than that needs no timer: every job is looked at more often."""


def after_attempt(case: Case, over: Over) -> Finding:
    """Return what follows from an attempt that has failed: another one, or the end of the job."""
    found, last = over.verdict, case.chief.last
    ended_at = over.ended_at or claims.ended_at(last) or timestamp(case.job.status.get("completionTime")) or case.now
    again = retries.after(case, found)
    if isinstance(again, Again) and not case.spec.stop and _time_is_up(case, ended_at):
        found, again = _out_of_time(case, found), ""
    if isinstance(again, Again):
        return stopped(case) if case.spec.stop else _again(case, over, again, ended_at)
    situation = Situation(
        phase=Phase.FAILED,
        reason=found.failure.reason.value,
        message=sentence(found.failure.message, again, found.failure.hint),
        # A job that ends while it waits for its next attempt ends with what the last one has left.
        attempt=case.history.begun,
        verdict=found,
        ended_at=ended_at,
        note=reports.note(case.history.begun.chief.last),
        reasons=over.reasons,
    )
    return Finding(situation, deletions=over.deletions)


def _time_is_up(case: Case, ended_at: float) -> bool:
    limit = case.wanted.active_seconds
    return limit is not None and running_seconds(case, ended_at) >= limit


def _out_of_time(case: Case, found: Verdict) -> Verdict:
    """Return the verdict on a job whose last attempt failed of something else, but which has no time for another one."""
    message = f"attempt {case.current.number} failed ({found.failure.reason}), and nothing is left of {case.wanted.active_words}"
    why = f"{message}: {found.failure.message}"
    return replace(verdict(Reason.DEADLINE_EXCEEDED, why, case.wanted.more_time, pod=found.pod), exit_code=found.exit_code)


def _again(case: Case, over: Over, again: Again, ended_at: float) -> Finding:
    """Write down that another attempt follows, and when, before anything is done for it."""
    failure, number = over.verdict.failure, case.current.number
    message = sentence(
        f"attempt {number} failed ({failure.reason}): {failure.message}",
        f"attempt {number + 1} starts at {rfc3339(again.restart.at)} ({again.words})",
    )
    situation = Situation(
        phase=Phase.RESTARTING,
        reason=failure.reason.value,
        message=message,
        attempt=case.history.next,
        verdict=over.verdict,
        ended_at=ended_at,
        before=case.current,
        again=again,
        note=reports.note(case.chief.last),
    )
    return Finding(situation, deletions=over.deletions, look_again_at=again.restart.at)


def stopped(case: Case) -> Finding:
    """Return the end of a job that is stopped, of whose attempt nothing runs any more."""
    reason, message = stopping.stopped(case)
    attempt = case.history.begun
    ended_at = claims.ended_at(case.current.chief.last) or case.now
    note = reports.note(attempt.chief.last)
    situation = Situation(Phase.STOPPED, reason, message, attempt, ended_at=ended_at, note=note)
    return Finding(situation, deletions=case.history.deletions())


def expired(case: Case) -> Finding | None:
    """Delete a job that has ended long enough ago, with all that belongs to it; what it has published stays."""
    end, expires_at = claims.end(case.job), _expires_at(case)
    if end is None or expires_at is None or case.now < expires_at or not claims.credible(case.job, end, case.chief.pod):
        return None
    return Finding(expires=True)


def finished(case: Case) -> Finding | None:
    """Keep an end for ever, whatever is changed afterwards; only that the change was seen is still written down."""
    end, pod = claims.end(case.job), case.chief.pod
    if end is None or not claims.credible(case.job, end, pod):
        return None
    # A changed spec that nobody answers would look unfinished to tools that compare generations.
    amends = {"phase": end.value, "observedGeneration": case.job.generation}
    pods = [*case.history.pods, *([] if case.history.check is None else [case.history.check])]
    due = [*_outdated_at(case, pods), *([] if (at := _expires_at(case)) is None else [at])]
    soon = [at for at in due if case.now < at < case.now + _SWEPT_SECONDS]
    running = (*deletions(each for each in pods if not claims.ended(each)), *case.current.lost())
    return Finding(deletions=(*running, *_outdated(case, pods)), amends=amends, look_again_at=min(soon, default=None))


def outlived(case: Case) -> tuple[Deletion, ...]:
    """Return the deletions of what is of no attempt that is wanted.

    Of two attempts only the later may live, and what has ended of earlier ones is kept for its logs. Pods that claim to be of attempts
    which have not begun somebody else has made: who may create pods can give them any owner.
    """
    if case.job.deleted_at is not None:
        return ()
    pods = [pod for attempt in case.history.past for pod in attempt.pods]
    return (*deletions(pod for pod in pods if not claims.ended(pod)), *_outdated(case, pods), *deletions(case.history.impostors))


def _outdated(case: Case, pods: Sequence[PodRecord]) -> tuple[Deletion, ...]:
    """Return the deletions of pods that have ended long enough ago."""
    return deletions(pod for pod, at in zip(pods, _outdated_at(case, pods), strict=True) if case.now >= at)


def _outdated_at(case: Case, pods: Sequence[PodRecord]) -> list[float]:
    """Return when each of the pods is kept no longer: never, while anything of it may run."""
    wanted = integer(case.job.spec.get("podRetentionSeconds"))
    seconds = case.configuration.defaults.pod_retention_seconds if wanted is None else wanted
    ends = [_known_to_end(pod) if claims.ended(pod) else math.inf for pod in pods]
    return [at + seconds for at in ends]


def _known_to_end(pod: PodRecord) -> float:
    """Return the Unix second at which a pod has ended, as late as anything says.

    A lost node does not tell of its containers' ends, and one whose clock is slow must not cost the log.
    """
    told = (*(each.finished_at for each in pod.containers), *(each.since for each in pod.conditions.values()))
    return max([pod.created_at, *(at for at in told if at is not None)])


def _expires_at(case: Case) -> float | None:
    seconds = least(integer(case.job.spec.get("ttlSecondsAfterFinished")), case.configuration.maxima.ttl_seconds_after_finished)
    ended_at = timestamp(case.job.status.get("completionTime"))
    return None if seconds is None or ended_at is None else max(ended_at, case.job.created_at) + seconds


def succeeded(case: Case) -> Finding | None:
    """End a job whose script ended well and whose manifest is in the bucket, whatever happens to its pod then.

    Also one that waits for a retry: a publisher that counted as stuck may have come to its end in the time that it had to go.
    """
    attempt = case.history.begun
    pod = attempt.chief.last
    final = claims.success(case.job, pod) if pod is not None else None
    if final is None or not _is_decided(case, attempt):
        return None
    ended_at = claims.ended_at(pod) or case.now
    # Servers of parameters, and workers under most strategies of TensorFlow, never end by themselves.
    until = max([ended_at, *(claims.ended_at(each.last) or 0 for each in _needed(case, attempt))]) + EVALUATION_SECONDS
    evaluating = _evaluating(case, attempt, until)
    if evaluating is not None:
        message = sentence(_what_came_out(final), f"{evaluating.task} may go on until {rfc3339(until)}")
        situation = Situation(Phase.PUBLISHING, "Evaluating", message, attempt, decided=True)
        return Finding(situation, deletions=deletions(each for each in attempt.alive if each is not evaluating.pod), look_again_at=until)
    situation = Situation(Phase.SUCCEEDED, "Published", sentence(_what_came_out(final)), attempt, ended_at=ended_at, note=final.note)
    return Finding(situation, deletions=deletions(attempt.alive))


def _evaluating(case: Case, attempt: Attempt, until: float) -> Replica | None:
    """Return the evaluator that may go on until then, though the job's success is decided; None where nobody waits for one."""
    if case.spec.suspend or case.spec.stop or case.now >= until or workloads.taken_back(case) is not None:
        return None
    return next((each for each in attempt.replicas if each.role == names.EVALUATOR and each.started and each.pod in attempt.alive), None)


def _is_decided(case: Case, attempt: Attempt) -> bool:
    """Whether all have succeeded whose success is the job's, beside the chief."""
    return all(each.ended_well for each in _needed(case, attempt))


def _needed(case: Case, attempt: Attempt) -> list[Replica]:
    """Return the replicas whose success is needed beside the chief's."""
    if not claims.needs_all_workers(case.job):
        return []
    return [each for each in attempt.replicas if each.role == names.WORKER and each is not attempt.chief]


def pod_gone(case: Case) -> Finding | Over | None:
    """End an attempt of which a pod is gone rather than make that anew: nobody knows what it has done."""
    gone = any(each.existed and each.pod is None for each in case.current.replicas)
    # Of an attempt that has failed already, or that the operator ends, pods go by the operator's own hand.
    retry = recorded.restart(case.job.status)
    failed = retry is not None and case.current.number < retry.attempt
    return culprit.judged(case) if gone and not (failed or case.suspended or case.history.ending is not None) else None


def failed(case: Case) -> Finding | Over | None:
    """End an attempt of which a pod has ended without the proof of success; its containers say why."""
    return culprit.judged(case)


def never_starts(case: Case) -> Over | None:
    """Delete pods of which a trainer cannot be started: it would leave the publisher waiting."""
    for each in case.current.replicas:
        trainer = each.container(TRAINER)
        if each.pod is not None and trainer is not None and trainer.state == "terminated" and trainer.reason in causes.NOT_STARTED:
            return Over(causes.failed(each.pod, case.wanted_of(each)), deletions=case.history.deletions())
    return None


def _what_came_out(final: PublishReport) -> str:
    if final.objects:
        objects = "1 object is" if final.objects == 1 else f"{final.objects} objects are"
        return f"the script succeeded and {objects} published"
    if final.kept or final.skipped:
        return "the script succeeded, but nothing is published under its own key"
    return "the script succeeded, but wrote nothing below ${bucket}, and only what lies there is published"
