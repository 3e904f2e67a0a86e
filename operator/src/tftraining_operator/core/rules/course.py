"""The course of an attempt: from having no pod to what its pod is doing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from tftrainer.messages.contract import FETCH, PUBLISHER, TRAINER, Reason
from tftrainer.withholding import ADVICE, arguments_without, variable_without

from tftraining_operator.api.status import Phase
from tftraining_operator.core import build, claims, placement, recorded
from tftraining_operator.core.attempts import Replica
from tftraining_operator.core.case import Case
from tftraining_operator.core.causes import verdict
from tftraining_operator.core.conditions import RESUMED, rfc3339
from tftraining_operator.core.findings import PASSING_SECONDS, Finding, Over, if_it_lasts, invalid, overdue, waits
from tftraining_operator.core.pending import Pending, steadied
from tftraining_operator.core.records import Event, PodRecord
from tftraining_operator.core.refusals import refused
from tftraining_operator.core.situation import Situation, shown_phase
from tftraining_operator.core.waiting import pending
from tftraining_operator.core.words import sentence

STARTING_SECONDS: Final = 10.0
"""How long an ordinary start may take before it is told: the status of a new job says Pending anyhow."""
DEADLINE_SLACK_SECONDS: Final = 120.0
"""How long after its deadline (and grace period) a script is left to the launcher, which keeps its log readable."""
PUBLISH_SLACK_SECONDS: Final = 60.0
SLOWEST_PUBLISH: Final = 4 * 1024**2
"""Bytes per second below which publishing counts as stuck."""
UNREACHABLE_SECONDS: Final = 60.0
"""How long after its deletion is due a pod counts as ending; then its node counts as lost."""
CREDENTIAL_IN_SIGHT: Final = "CredentialInSight"
"""Reason of the event that tells of a password, a token or a key that stands in the job itself."""


def out_of_time(case: Case) -> Over | None:
    """End a job that would begin another attempt, but whose attempts have run for as long as they may."""
    if not case.history.missing or case.wanted.active_seconds_left != 0:
        return None
    message = f"attempt {case.history.upcoming.number} does not start: nothing is left of {case.wanted.active_words}"
    found = verdict(Reason.DEADLINE_EXCEEDED, message, case.wanted.more_time)
    return Over(found, ended_at=case.now, deletions=case.history.deletions())


def restarting(case: Case) -> Finding | None:
    """Begin the next attempt when its time has come and nothing of the last one runs; that it begins is written before it has a pod."""
    restart = recorded.restart(case.job.status)
    if case.suspended or restart is None or restart.begun:
        return None
    alive = [pod for pod in (*case.history.pods, *case.history.posing(case.history.told)) if not claims.ended(pod)]
    if alive:
        return _not_gone(case, alive)
    if case.now < restart.at:
        return Finding(look_again_at=restart.at)
    message = sentence(f"attempt {restart.attempt} starts")
    # It may have waited for the last one's pods far longer than that: its own time to start begins now.
    begun = replace(restart, begun=True, at=max(restart.at, case.now))
    situation = Situation(Phase.PENDING, "Restarted", message, case.current, restart=begun)
    return Finding(situation, look_again_at=case.now)


def _not_gone(case: Case, alive: Sequence[PodRecord]) -> Finding:
    """Delete what still runs of the last attempt, leave it its time to go, and then say what the next attempt waits for."""
    told_to_go = [(pod.deleted_at, pod) for pod in alive if pod.deleted_at is not None]
    if len(told_to_go) < len(alive):
        return Finding(deletions=case.history.deletions())
    deleted_at, pod = min(told_to_go, key=lambda each: each[0])
    found = going(case, pod, deleted_at, then=f"attempt {case.history.told.number} starts")
    if found.situation is None:
        return found
    return Finding(replace(found.situation, phase=Phase.RESTARTING, attempt=case.history.told))


def resumed(case: Case) -> Finding | None:
    """Write down that a job is resumed, and as which attempt, before that has a pod: a number must not run twice, nor be anybody's."""
    if not case.history.cleared or not (case.suspended or case.history.ending is not None):
        return None
    attempt, restart = case.history.upcoming, recorded.restart(case.job.status)
    situation = Situation(
        Phase.PENDING,
        RESUMED,
        sentence(f"the job is resumed: attempt {attempt.number} starts"),
        attempt,
        # A suspension that was taken back midway has ended an attempt too.
        before=None if case.suspended else case.current,
        restart=replace(restart, begun=True, at=max(restart.at, case.now)) if restart is not None else None,
    )
    return Finding(situation, look_again_at=case.now)


def no_pod(case: Case) -> Finding | Over | None:
    """Give a job its pods, all of them; creating one twice is creating it once, because its name is always the same.

    Pods that are there while others are refused hold their places, until all are there or the job has waited for too long.
    """
    missing, attempt = case.history.missing, case.history.upcoming
    if not missing:
        return None
    wait = refusal(case)
    if wait is not None and case.now >= case.pending_until:
        return Over(overdue(case, wait.message), deletions=case.history.deletions())
    try:
        # Where one is refused, the next would be too.
        pods = (
            build.pod(case.job, case.wanted_of(each), case.configuration, attempt.number, each.index, new=not case.taken_up)
            for each in (missing if wait is None else missing[:1])
        )
        creates = (*build.beside(case.job, case.spec, attempt.number), *pods)
    except ValueError as error:
        return Over(invalid(case.plain.without(str(error))), deletions=case.history.deletions())
    if wait is not None:
        return replace(waits(case, wait, attempt, case.now, case.pending_until), creates=creates)
    return Finding(creates=creates, events=_credentials_in_sight(case))


def refusal(case: Case) -> Pending | None:
    """Return why the API server has refused the pod that is made next, None where it has not."""
    said = case.plain.without(case.observed.refusal)
    found = refused(said, case.spec.resource_class) if said else None
    if found is None or case.current.alone:
        return found
    there = f"{len(case.current.pods)} of {len(case.current.replicas)} pods are there"
    return replace(found, message=f"{there}; {case.said_of(case.history.missing[0], found.message)}")


def pod_going(case: Case) -> Finding | Over | None:
    """Wait for a pod that somebody deletes: it still publishes what it has, and is judged when it has ended.

    One that stays although its time is over is on a node that does not answer: then the job says so, and waits, because a
    script that nobody sees may still run.
    """
    told_to_go = [(pod.deleted_at, pod) for pod in case.current.alive if pod.deleted_at is not None]
    if not told_to_go:
        return None
    deleted_at, pod = min(told_to_go, key=lambda each: each[0])
    return going(case, pod, deleted_at)


def going(case: Case, pod: PodRecord, deleted_at: float, then: str = "") -> Finding:
    """Leave a pod its time to go, until the Unix second `deleted_at` and a little more; then say that its node does not answer.

    `then` is what happens when the pod is gone, for those whose attempt has ended already.
    """
    unreachable_at = deleted_at + UNREACHABLE_SECONDS
    if case.now < unreachable_at and pod.condition("DisruptionTarget")[:2] != ("True", "DeletionByTaintManager"):
        return Finding(look_again_at=unreachable_at)
    return Finding(_lost(case, pod, "does not answer", then))


def out_of_sight(case: Case) -> Finding | Over | None:
    """Say that nobody knows whether a script still runs whose node has fallen silent, and since when.

    Where every node is away, nothing is ever deleted: all that Kubernetes does is to call the pod not ready, although by their last
    word its containers are.
    """
    silent = next((each.pod for each in case.current.replicas if each.silent), None)
    if silent is None:
        return None
    ends_at, _ = _deadline(case)
    if ends_at is not None and case.now >= ends_at:
        return None
    since = f" since {rfc3339(ready)}" if (ready := silent.condition("Ready").since) is not None else ""
    return Finding(_lost(case, silent, f"has not answered{since}"), look_again_at=ends_at)


def _lost(case: Case, pod: PodRecord, silence: str, then: str = "") -> Situation:
    message = sentence(
        f"node {pod.node or 'unknown'} {silence}, so that nobody knows whether pod {pod.name} still runs",
        f"{then} when the node is back, or is removed from the cluster"
        if then
        else "the job goes on when the node is back, or ends when the node is removed from the cluster",
    )
    return Situation(shown_phase(pod), Reason.NODE_LOST.value, message, case.current, lost=True)


def hopeless(case: Case) -> Finding | Over | None:
    """End at once what cannot become right by waiting."""
    for each in case.current.replicas:
        for wait in obstacles(case, [each]):
            if wait.certain and each.pod is not None and each.pod.deleted_at is None:
                found = verdict(Reason.IMAGE_UNAVAILABLE, wait.message, "then create the job again", pod=each.name)
                return Over(found, ended_at=case.now, deletions=case.history.deletions())
    return None


def publishing(case: Case) -> Finding | Over | None:
    """Leave a publisher the time for all it may have to upload, and stop only one that is stuck.

    That of a worker which ended well has nothing to publish but its log: it is ended with the job.
    """
    patience = build.PUBLISH_SECONDS + PUBLISH_SLACK_SECONDS + case.wanted.workspace_bytes / SLOWEST_PUBLISH
    ended = [(each, pod, trainer) for each in case.current.replicas if (pod := each.pod) and (trainer := each.publishing)]
    for each, pod, trainer in ended:
        if case.now >= (trainer.finished_at or pod.created_at) + patience and (each is case.chief or trainer.exit_code != 0):
            message = case.said_of(each, f"the script ended, but what it wrote was not published within {int(patience)} s")
            hint = f"look at kubectl logs {pod.name} -c {PUBLISHER}, and at the object store"
            found = verdict(Reason.PUBLISH_FAILED, message, hint, exit_code=trainer.exit_code, pod=pod.name)
            return Over(found, ended_at=case.now, deletions=case.history.deletions())
    if not ended or ended[0][0] is not case.chief:
        return None
    _, pod, trainer = ended[0]
    since = trainer.finished_at or pod.created_at
    words = "succeeded" if trainer.exit_code == 0 else f"ended with exit code {trainer.exit_code}"
    situation = Situation(Phase.PUBLISHING, "Publishing", sentence(f"the script {words}; what it wrote is being published"), case.current)
    return if_it_lasts(case, situation, since + PASSING_SECONDS, since + patience)


def running(case: Case) -> Finding | Over | None:
    """Say that the script runs, and what of its pods does not. Its deadline is the launcher's to keep, as far as that was told of it."""
    slowest = case.laggard
    if slowest is None or not slowest.started:
        return None
    ends_at, why = _deadline(case)
    if ends_at is not None and case.now >= ends_at:
        found = verdict(Reason.DEADLINE_EXCEEDED, why, case.wanted.more_time, pod=case.chief.name)
        return Over(found, ended_at=case.now, deletions=case.history.deletions())
    # A publisher that cannot start, as without its Secret, would lose what the script writes.
    lacking = next(obstacles(case, case.current.replicas), None)
    wait = steadied(lacking, case.job.status, case.now)[0] if lacking is not None else None
    message = sentence(_where_it_runs(case, slowest), wait.message if wait is not None else "")
    return Finding(Situation(Phase.RUNNING, "Running", message, case.current, pending=wait), look_again_at=ends_at)


def _where_it_runs(case: Case, slowest: Replica) -> str:
    pods = case.current.alive
    if case.current.alone:
        return f"the script runs in pod {slowest.name}{f' on node {pods[0].node}' if pods and pods[0].node else ''}"
    words = f"the script runs in {len(pods)} of {len(case.current.replicas)} pods"
    return f"{words}; that of {case.chief.task} has succeeded" if case.chief.ended_well else words


def _deadline(case: Case) -> tuple[float | None, str]:
    """Return when the running script has to be ended from outside, and why; None for never.

    Its time begins where that of the last replica does: before, the others wait for it.
    """
    pods = case.current.pods
    pod = case.chief.pod or pods[0]
    trainers = [(each.container(TRAINER), each.created_at) for each in pods]
    begun = max((trainer.started_at if trainer is not None else None) or created for trainer, created in trainers)
    asked, told = case.spec.active_deadline_seconds, pod.deadline_seconds
    left = max(asked - case.wanted.ran_seconds, 0) if asked is not None else None
    too_long = f"the script ran longer than {case.wanted.active_words}"
    # A pod of a version that counted each attempt for itself has all of the job's deadline, whatever was used before.
    if asked is not None and left is not None and told is not None and told + pod.earlier_seconds > asked:
        return begun + left, f"{too_long}, which was shortened while it ran"
    # A bound that an admin has set since then is for pods that come: what runs keeps what it was told.
    longest = max((each for each in (left, told) if each is not None and each != math.inf), default=None)
    if longest is None:
        return None, ""
    return begun + longest + case.wanted.grace_seconds + DEADLINE_SLACK_SECONDS, f"{too_long} and did not stop when it was told to"


def fetching(case: Case) -> Finding | Over | None:
    """Say that code and data are being fetched, where that takes its time."""
    slowest = case.laggard
    pod, fetch = (slowest.pod, slowest.container(FETCH)) if slowest is not None else (None, None)
    if slowest is None or pod is None or fetch is None or slowest.started or fetch.state != "running":
        return None
    if case.now >= case.pending_until:
        why = case.said_of(slowest, "code and data were still being fetched")
        return Over(overdue(case, why, pod.name), ended_at=case.now, deletions=case.history.deletions())
    log = f"kubectl logs -n {case.job.key.namespace} {pod.name} -c {FETCH}"
    message = sentence(f"pod {pod.name} fetches code and data ({log} says how far it is)")
    situation = Situation(Phase.FETCHING, "Fetching", message, case.current)
    return if_it_lasts(case, situation, (fetch.started_at or pod.created_at) + PASSING_SECONDS, case.pending_until)


def waiting(case: Case) -> Finding | Over | None:
    """Say what the pods wait for: a node, an image, a Secret, or only for their containers to be made."""
    slow = [each for each in case.current.replicas if each.pod is not None and not each.started]
    if not slow:
        return None
    waiting_for = [each for each in slow if next(obstacles(case, [each]), None) is not None]
    each = waiting_for[0] if waiting_for else min(slow, key=lambda each: each.stage)
    pod, wait = each.pod, next(obstacles(case, [each]), None)
    if pod is None:
        return None
    if case.now >= case.pending_until:
        what = wait.message if wait is not None else case.said_of(each, "its containers were not started")
        return Over(overdue(case, what, pod.name), ended_at=case.now, deletions=case.history.deletions())
    if wait is not None:
        told = waits(case, wait, case.current, case.waiting_since + PASSING_SECONDS, case.pending_until)
        if not placement.refused_by_all(pod):
            return told
        # Words without numbers, which are put right a moment later, are not worth a write.
        told = Finding(look_again_at=case.pending_until) if case.observed.nodes_awaited else told
        return replace(told, need=placement.need(case.wanted_of(each)))
    where = f" on node {pod.node}" if pod.node else ""
    situation = Situation(Phase.PENDING, "Starting", sentence(f"pod {pod.name} is being started{where}"), case.current)
    # A reason that is no longer true must not stay.
    cleared = "pending" in case.job.status
    return if_it_lasts(case, situation, case.now if cleared else case.waiting_since + STARTING_SECONDS, case.pending_until)


def obstacles(case: Case, replicas: Iterable[Replica]) -> Iterator[Pending]:
    """Yield what keeps pods of these replicas from running, in their order."""
    for each in replicas:
        found = pending(each.pod, case.wanted_of(each), case.observed.nodes) if each.pod is not None else None
        if found is not None:
            yield replace(found, message=case.said_of(each, found.message))


def _credentials_in_sight(case: Case) -> tuple[Event, ...]:
    """Return the event that tells of values which all who may read the job can read, though they look like credentials."""
    fields = [
        f"spec.env[{at}].value ({each.name})"
        for at, each in enumerate(case.spec.env)
        if variable_without(each.name, each.value) != each.value
    ]
    kept = arguments_without(case.spec.args)
    fields += [f"spec.args[{at}]" for at, each in enumerate(case.spec.args) if kept[at] != each]
    if not fields:
        return ()
    more = f" and {len(fields) - 3} more" if len(fields) > 3 else ""
    return (Event("Warning", CREDENTIAL_IN_SIGHT, sentence(f"{', '.join(fields[:3])}{more}: {ADVICE}")),)
