"""What to do about a job: a pure function from what was observed to a plan, and the rules that it is made of.

The rules are asked in order and the first that has an answer decides; read in order, they are the life of a job. Whatever was
observed, none of them raises, and none of them reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Final

from pydantic import ValidationError
from tftrainer.contract import FETCH, PUBLISHER, TRAINER, Reason

from tftraining_operator.api.spec import Spec
from tftraining_operator.api.status import ConditionType, Phase
from tftraining_operator.core import build, causes, claims, names
from tftraining_operator.core.build import Effective
from tftraining_operator.core.causes import Verdict, verdict
from tftraining_operator.core.conditions import SUSPENDING, read
from tftraining_operator.core.configuration import Configuration, Runtime
from tftraining_operator.core.observe import integer, mapping, sequence, text, timestamp
from tftraining_operator.core.pending import Pending, pending, refused
from tftraining_operator.core.records import ContainerRecord, Deletion, JobRecord, Note, Observed, Plan, PodRecord, Raw
from tftraining_operator.core.situation import Situation
from tftraining_operator.core.status import render, sentence

PASSING_SECONDS: Final = 3.0
"""A state that passes sooner is not worth a write. Containers state whole seconds: three since then are two for certain."""
STARTING_SECONDS: Final = 10.0
"""The same for an ordinary start, which the status shows as Pending without being told."""
DEADLINE_SLACK_SECONDS: Final = 120.0
"""How long after its deadline (and grace period) a script is left to the launcher, which keeps its log readable."""
PUBLISH_SLACK_SECONDS: Final = 60.0
SLOWEST_PUBLISH: Final = 4 * 1024**2
"""Bytes per second below which publishing counts as stuck."""
PREDECESSOR_SECONDS: Final = 60.0
"""How long the garbage collector gets to remove the pod of a deleted job of the same name."""
UNREACHABLE_SECONDS: Final = 60.0
"""How long after its deletion is due a pod counts as ending; then its node counts as lost."""


@dataclass(frozen=True)
class Case:
    """One job at one moment, with all that rules ask of it. `pod` is the current attempt's, as the API server has it."""

    observed: Observed
    configuration: Configuration
    now: float

    @property
    def job(self) -> JobRecord:
        """The job itself."""
        return self.observed.job

    @cached_property
    def mine(self) -> tuple[PodRecord, ...]:
        """The pods that this very job owns, each with the attempt that its name states: labels can be edited, names cannot."""
        return self._own(self.observed.pods)

    @cached_property
    def attempt(self) -> int:
        """The current attempt: that of the pods where there are some, else as recorded."""
        if self.mine:
            return max(pod.attempt for pod in self.mine)
        recorded = integer(self.job.status.get("attempt")) or 0
        recorded = recorded if 0 <= recorded < 10**6 else 0
        return max([recorded, *(pod.attempt for pod in self._own(self.observed.gone))])

    @cached_property
    def pod(self) -> PodRecord | None:
        """The current attempt's pod."""
        return next((pod for pod in self.mine if pod.attempt == self.attempt), None)

    @cached_property
    def last(self) -> PodRecord | None:
        """The current attempt's pod, or what it was when it was last seen."""
        gone = [pod for pod in self._own(self.observed.gone) if pod.attempt == self.attempt]
        return self.pod or (gone[-1] if gone else None)

    @cached_property
    def existed(self) -> bool:
        """Whether the current attempt has had a pod, as far as anybody remembers."""
        return self.last is not None or self.suspending or bool(sequence(self.job.status.get("pods")))

    @cached_property
    def suspending(self) -> bool:
        """Whether the operator itself has deleted the current pod, in order to suspend the job."""
        return any(entry["type"] == ConditionType.SUSPENDED and entry["reason"] == SUSPENDING for entry in read(self.job.status))

    @cached_property
    def suspended(self) -> bool:
        """Whether the job is recorded as suspended."""
        return any(entry["type"] == ConditionType.SUSPENDED and entry["status"] == "True" for entry in read(self.job.status))

    @cached_property
    def parsed(self) -> Spec | str:
        """The spec, or what is wrong with it."""
        try:
            return Spec.model_validate(self.job.spec)
        except ValidationError as error:
            findings = [f"spec.{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)[:3]]
            return text("; ".join(findings), 900)
        except RecursionError:
            return "spec is nested too deeply"

    @cached_property
    def spec(self) -> Spec:
        """The spec; asked only by rules after the one that has made sure of it."""
        if isinstance(self.parsed, str):
            raise TypeError(self.parsed)
        return self.parsed

    @property
    def runtime_name(self) -> str:
        """The runtime that the job names; without one the default, or what the default was when the job was first judged."""
        recorded = text(self.job.status.get("runtime"))
        default = recorded if recorded in self.configuration.runtimes else self.configuration.default_runtime
        return self.spec.runtime or default

    @cached_property
    def wanted(self) -> Effective:
        """The spec with defaults; a runtime that an admin has removed meanwhile does not end a running job."""
        runtime = self.configuration.runtimes.get(self.runtime_name) or Runtime(image="(no longer in the catalogue)")
        return build.effective(self.spec, self.configuration, self.runtime_name, runtime)

    @cached_property
    def waiting_since(self) -> float:
        """Since when the job waits to run: its pod's creation; without a pod, its resume or its own creation."""
        if self.pod is not None:
            return self.pod.created_at
        resumed = [
            timestamp(entry["lastTransitionTime"]) or 0.0 for entry in read(self.job.status) if entry["type"] == ConditionType.SUSPENDED
        ]
        return min(max([self.job.created_at, *resumed]), self.now)

    def container(self, name: str) -> ContainerRecord | None:
        """Return a container of the current pod."""
        return self.pod.container(name) if self.pod is not None else None

    def plan(self, rule: str, situation: Situation, **rest: Any) -> Plan:
        """Return the plan that makes the status say this, with an event if that is news; nothing if it says so already."""
        status = render(situation, self.job, self.now, "" if isinstance(self.parsed, str) else self.runtime_name)
        if status == self.job.status:
            return Plan(rule=rule, **rest)
        return Plan(rule=rule, status=status, notes=_news(situation, self.job.status), **rest)

    def failed(self, rule: str, found: Verdict, *, ended_at: float | None = None, delete: bool = False) -> Plan:
        """Return the plan that ends the job as failed."""
        situation = Situation(
            phase=Phase.FAILED,
            reason=found.failure.reason.value,
            message=sentence(found.failure.message, found.failure.hint),
            attempt=self.attempt,
            pod=self.last,
            verdict=found,
            ended_at=ended_at or _ended_at(self.last) or self._recorded_end() or self.now,
        )
        return self.plan(rule, situation, deletions=self.deletions() if delete else ())

    def deletions(self) -> tuple[Deletion, ...]:
        """Return the deletions of all own pods that are not on their way out yet."""
        return tuple(Deletion(pod.name, pod.uid) for pod in self.mine if pod.deleted_at is None)

    def _own(self, pods: tuple[PodRecord, ...]) -> tuple[PodRecord, ...]:
        return tuple(
            replace(pod, attempt=attempt)
            for pod in pods
            if pod.owner_uid == self.job.uid and (attempt := names.attempt_of(self.job.key.name, pod.name)) is not None
        )

    def _recorded_end(self) -> float | None:
        return timestamp(self.job.status.get("completionTime"))


def decide(observed: Observed, configuration: Configuration, now: float) -> Plan:
    """Return what is to be done about the observed job at the Unix second `now`. Never raises, whatever was observed."""
    case = Case(observed, configuration, now)
    for rule in RULES:
        plan = rule(case)
        if plan is not None:
            return plan
    return Plan(rule="none")


def being_deleted(case: Case) -> Plan | None:
    """Free what a job holds that is going: another's finalizer can keep it, and until then the garbage collector lets its pods run."""
    if case.job.deleted_at is None:
        return None
    return Plan(rule="being_deleted", deletions=() if case.job.orphaning else case.deletions())


def finished(case: Case) -> Plan | None:
    """Keep an end for ever, whatever is changed afterwards; only that the change was seen is still written down."""
    end = claims.end(case.job)
    if end is None or not claims.credible(case.job, end, case.pod):
        return None
    deletions = case.deletions() if case.pod is not None and not claims.ended(case.pod) else ()
    status = {**case.job.status, "phase": end.value, "observedGeneration": case.job.generation}
    # A changed spec that nobody answers would look unfinished to tools that compare generations.
    return Plan(rule="finished", deletions=deletions, status=None if status == case.job.status else status)


def invalid_spec(case: Case) -> Plan | None:
    """Fail a spec that the API server refuses: an older definition, or one edited by hand, may have let it through."""
    if isinstance(case.parsed, Spec):
        return None
    return case.failed("invalid_spec", _invalid(case.parsed), delete=True)


def succeeded(case: Case) -> Plan | None:
    """End a job whose script ended well and whose manifest is in the bucket, whatever happens to its pod then."""
    pod = case.last
    final = claims.success(case.job, pod) if pod is not None else None
    if pod is None or final is None:
        return None
    objects = "1 object is" if final.objects == 1 else f"{final.objects} objects are"
    situation = Situation(
        phase=Phase.SUCCEEDED,
        reason="Published",
        message=sentence(f"the script succeeded and {objects} published"),
        attempt=case.attempt,
        pod=pod,
        ended_at=_ended_at(pod) or case.now,
    )
    return case.plan("succeeded", situation)


def suspend(case: Case) -> Plan | None:
    """Free all that a suspended job holds: its pod goes, the job stays, and a resume is the next attempt.

    That the operator itself deletes the pod is written down, so that a resume in the same moment is not taken for a pod that
    somebody else has deleted. A pod that came to an end of its own before is no longer a matter of suspending.
    """
    if not (case.spec.suspend or case.suspending):
        return None
    pod = case.pod
    if pod is not None:
        if pod.deleted_at is None and (claims.ended(pod) or not case.spec.suspend):
            return None
        if case.suspending and not case.deletions():
            return Plan(rule="suspend")
        message = sentence(f"the job is being suspended: pod {pod.name} is told to stop and publishes what it has")
        phase = _shown_phase(pod)
        situation = Situation(phase, "Suspending", message, case.attempt, pod, suspending=True)
        return case.plan("suspend", situation, deletions=case.deletions())
    if not case.spec.suspend:
        return None
    attempt = case.attempt + 1 if case.existed and not case.suspended else case.attempt
    message = sentence(f"the job is suspended; spec.suspend: false starts attempt {attempt}")
    return case.plan("suspend", Situation(Phase.SUSPENDED, "Suspended", message, attempt, stopped=case.last))


def unknown_runtime(case: Case) -> Plan | None:
    """Fail a job whose runtime the catalogue does not have: no pod can be made of it; one that exists already runs on."""
    if case.pod is not None or case.runtime_name in case.configuration.runtimes:
        return None
    known = ", ".join(sorted(case.configuration.runtimes))
    message = f"the runtime {case.runtime_name!r} of spec.runtime is not in the operator's catalogue; known are {known}"
    close = get_close_matches(case.runtime_name, case.configuration.runtimes, 1)
    start = f"did you mean {close[0]}? Create" if close else "create"
    hint = f"{start} the job again with one of these, or ask an admin to add it"
    return case.failed("unknown_runtime", verdict(Reason.UNKNOWN_RUNTIME, message, hint))


def no_package_index(case: Case) -> Plan | None:
    """Fail a job that names packages where the admin allows no index to take them from."""
    if case.pod is not None or case.configuration.package_index.url or not case.spec.dependencies.requirements:
        return None
    message = f"spec.dependencies.requirements names {case.spec.dependencies.requirements[0]!r}, but this installation has no package index"
    hint = "put the package into spec.dependencies.archive, or ask an admin to set packageIndex.url of the chart"
    return case.failed("no_package_index", verdict(Reason.INVALID_SPEC, message, hint))


def name_taken(case: Case) -> Plan | None:
    """Never adopt a pod that is not ours, whatever it claims: only the owner's uid counts."""
    if case.pod is not None:
        return None
    name = names.pod_name(case.job.key.name, names.CHIEF, 0, _next_attempt(case))
    other = next((pod for pod in case.observed.pods if pod.name == name and pod.owner_uid != case.job.uid), None)
    if other is None:
        return None
    patience = case.job.created_at + PREDECESSOR_SECONDS
    if other.deleted_at is not None:
        return _predecessor_ends(case, name, max(other.deleted_at, case.now) + PREDECESSOR_SECONDS)
    if other.owner_uid and case.now < patience:
        return _predecessor_ends(case, name, patience)
    message = f"pod {name} exists already in namespace {case.job.key.namespace} and does not belong to this job"
    return case.failed("name_taken", verdict(Reason.NAME_CONFLICT, message, "delete that pod, then create the job again", pod=name))


def pod_gone(case: Case) -> Plan | None:
    """Fail a job whose pod is gone rather than make it anew: nobody knows what it has done."""
    if case.pod is not None or case.suspending or case.suspended or not case.existed:
        return None
    last = case.last
    if last is None:
        name = names.pod_name(case.job.key.name, names.CHIEF, 0, case.attempt)
        return case.failed("pod_gone", causes.deleted(name))
    found = causes.failed(replace(last, deleted_at=last.deleted_at or case.now), case.wanted)
    if found.failure.reason in {Reason.UNKNOWN, Reason.POD_DELETED}:
        # Where nobody saw it being told to go: to a watch, a pod that loses its label looks like one that is deleted at once.
        found = causes.deleted(last.name, f" or lost its label {names.JOB_UID}" if last.deleted_at is None else "")
    plan = case.failed("pod_gone", found)
    # A pod whose labels somebody removed only looks gone: it must not run on unseen.
    return plan if claims.ended(last) or plan.status is None else replace(plan, deletions=(Deletion(last.name, last.uid),))


def no_pod(case: Case) -> Plan | None:
    """Give a job its pod; creating it twice is creating it once, because its name is always the same."""
    if case.pod is not None:
        return None
    attempt = _next_attempt(case)
    overdue = case.waiting_since + case.wanted.pending_seconds
    if case.observed.refusal and case.now >= overdue:
        return case.failed("no_pod", _overdue(case, refused(case.observed.refusal).message))
    try:
        pod = build.pod(case.job, case.wanted, case.configuration, attempt)
        script = build.configmap(case.job, case.spec, attempt)
    except ValueError as error:
        return case.failed("no_pod", _invalid(str(error)))
    created = Plan(rule="no_pod", configmaps=(script,) if script is not None else (), pods=(pod,))
    if case.observed.refusal:
        wait = refused(case.observed.refusal)
        situation = Situation(Phase.PENDING, wait.reason, sentence(wait.message), attempt, pending=wait)
        told = case.plan("no_pod", situation, requeue_at=overdue)
        return replace(told, configmaps=created.configmaps, pods=created.pods)
    if case.suspended or case.suspending:
        message = sentence(f"the job is resumed: attempt {attempt} starts")
        told = case.plan("no_pod", Situation(Phase.PENDING, "Resumed", message, attempt))
        return replace(told, configmaps=created.configmaps, pods=created.pods)
    return created


def superseded(case: Case) -> Plan | None:
    """Delete the pods of earlier attempts: of two only the later may live."""
    deletions = tuple(
        Deletion(pod.name, pod.uid) for pod in case.mine if pod.attempt < case.attempt and pod.deleted_at is None and not claims.ended(pod)
    )
    return Plan(rule="superseded", deletions=deletions) if deletions else None


def failed(case: Case) -> Plan | None:
    """Fail a job whose pod has ended without the proof of success; its containers say why."""
    pod = case.pod
    if pod is None or not claims.ended(pod):
        return None
    return case.failed("failed", causes.failed(pod, case.wanted))


def never_starts(case: Case) -> Plan | None:
    """Delete a pod whose trainer cannot be started: it would leave the publisher waiting."""
    trainer = case.container(TRAINER)
    if case.pod is None or trainer is None or trainer.state != "terminated" or trainer.reason not in causes.NOT_STARTED:
        return None
    return case.failed("never_starts", causes.failed(case.pod, case.wanted), delete=True)


def pod_going(case: Case) -> Plan | None:
    """Wait for a pod that somebody deletes: it still publishes what it has, and is judged when it has ended.

    One that stays although its time is over is on a node that does not answer: then the job says so, and waits, because a
    script that nobody sees may still run.
    """
    pod = case.pod
    if pod is None or pod.deleted_at is None:
        return None
    unreachable_at = pod.deleted_at + UNREACHABLE_SECONDS
    tainted = (pod.conditions or {}).get("DisruptionTarget", ("", "", ""))
    if case.now < unreachable_at and tainted[:2] != ("True", "DeletionByTaintManager"):
        return Plan(rule="pod_going", requeue_at=unreachable_at)
    message = sentence(
        f"node {pod.node or 'unknown'} does not answer, so that nobody knows whether pod {pod.name} still runs",
        "the job goes on when the node is back, or ends when the node is removed from the cluster",
    )
    return case.plan("pod_going", Situation(_shown_phase(pod), Reason.NODE_LOST.value, message, case.attempt, pod, lost=True))


def hopeless(case: Case) -> Plan | None:
    """End at once what cannot become right by waiting."""
    wait = pending(case.pod, case.wanted) if case.pod is not None else None
    if case.pod is None or wait is None or not wait.certain:
        return None
    found = verdict(Reason.IMAGE_UNAVAILABLE, wait.message, "then create the job again", pod=case.pod.name)
    return case.failed("hopeless", found, ended_at=case.now, delete=True)


def publishing(case: Case) -> Plan | None:
    """Leave a publisher the time for all it may have to upload, and stop only one that is stuck."""
    trainer = case.container(TRAINER)
    if case.pod is None or trainer is None or trainer.state != "terminated":
        return None
    since = trainer.finished_at or case.pod.created_at
    patience = build.PUBLISH_SECONDS + PUBLISH_SLACK_SECONDS + case.wanted.workspace_bytes / SLOWEST_PUBLISH
    if case.now >= since + patience:
        message = f"the script ended, but what it wrote was not published within {int(patience)} s"
        hint = f"look at kubectl logs {case.pod.name} -c {PUBLISHER}, and at the object store"
        found = verdict(Reason.PUBLISH_FAILED, message, hint, exit_code=trainer.exit_code, pod=case.pod.name)
        return case.failed("publishing", found, ended_at=case.now, delete=True)
    words = "succeeded" if trainer.exit_code == 0 else f"ended with exit code {trainer.exit_code}"
    situation = Situation(
        Phase.PUBLISHING, "Publishing", sentence(f"the script {words}; what it wrote is being published"), case.attempt, case.pod
    )
    return _if_it_lasts(case, "publishing", situation, since + PASSING_SECONDS, since + patience)


def running(case: Case) -> Plan | None:
    """Say that the script runs. Its deadline is the launcher's to keep; only where that fails is the pod deleted."""
    trainer = case.container(TRAINER)
    if case.pod is None or trainer is None or trainer.state != "running":
        return None
    limit = case.spec.active_deadline_seconds
    ends_at = None
    if limit is not None:
        ends_at = (trainer.started_at or case.pod.created_at) + limit + case.wanted.grace_seconds + DEADLINE_SLACK_SECONDS
        if case.now >= ends_at:
            message = f"the script ran longer than spec.activeDeadlineSeconds ({limit}) and did not stop when it was told to"
            found = verdict(Reason.DEADLINE_EXCEEDED, message, "raise spec.activeDeadlineSeconds in a new job", pod=case.pod.name)
            return case.failed("running", found, ended_at=case.now, delete=True)
    where = f" on node {case.pod.node}" if case.pod.node else ""
    situation = Situation(Phase.RUNNING, "Running", sentence(f"the script runs in pod {case.pod.name}{where}"), case.attempt, case.pod)
    return case.plan("running", situation, requeue_at=ends_at)


def fetching(case: Case) -> Plan | None:
    """Say that code and data are being fetched, where that takes its time."""
    fetch = case.container(FETCH)
    if case.pod is None or fetch is None or fetch.state != "running":
        return None
    overdue = case.waiting_since + case.wanted.pending_seconds
    if case.now >= overdue:
        return case.failed("fetching", _overdue(case, "code and data were still being fetched"), ended_at=case.now, delete=True)
    log = f"kubectl logs -n {case.job.key.namespace} {case.pod.name} -c {FETCH}"
    message = sentence(f"pod {case.pod.name} fetches code and data ({log} says how far it is)")
    situation = Situation(Phase.FETCHING, "Fetching", message, case.attempt, case.pod)
    return _if_it_lasts(case, "fetching", situation, (fetch.started_at or case.pod.created_at) + PASSING_SECONDS, overdue)


def waiting(case: Case) -> Plan | None:
    """Say what the pod waits for: a node, an image, a Secret, or only for its containers to be made."""
    if case.pod is None:
        return None
    wait = pending(case.pod, case.wanted)
    overdue = case.waiting_since + case.wanted.pending_seconds
    if case.now >= overdue:
        what = wait.message if wait is not None else "its containers were not started"
        return case.failed("waiting", _overdue(case, what), ended_at=case.now, delete=True)
    if wait is not None:
        situation = Situation(Phase.PENDING, wait.reason, sentence(wait.message), case.attempt, case.pod, pending=wait)
        return _if_it_lasts(case, "waiting", situation, case.waiting_since + PASSING_SECONDS, overdue)
    where = f" on node {case.pod.node}" if case.pod.node else ""
    situation = Situation(Phase.PENDING, "Starting", sentence(f"pod {case.pod.name} is being started{where}"), case.attempt, case.pod)
    # A reason that is no longer true must not stay.
    cleared = "pending" in case.job.status
    return _if_it_lasts(case, "waiting", situation, case.now if cleared else case.waiting_since + STARTING_SECONDS, overdue)


Rule = Callable[[Case], Plan | None]
RULES: Final[tuple[Rule, ...]] = (
    being_deleted,
    finished,
    invalid_spec,
    succeeded,
    suspend,
    unknown_runtime,
    no_package_index,
    name_taken,
    pod_gone,
    no_pod,
    superseded,
    failed,
    never_starts,
    pod_going,
    hopeless,
    publishing,
    running,
    fetching,
    waiting,
)


def _next_attempt(case: Case) -> int:
    """Return the attempt that a pod created now belongs to: after a suspension that was taken back midway, the next one."""
    return case.attempt + 1 if case.suspending else case.attempt


def _predecessor_ends(case: Case, name: str, look_again_at: float) -> Plan:
    wait = Pending("PredecessorEnding", f"pod {name} of an earlier job of this name is still ending; this job starts when it is gone")
    situation = Situation(Phase.PENDING, wait.reason, sentence(wait.message), _next_attempt(case), pending=wait)
    return _if_it_lasts(case, "name_taken", situation, case.waiting_since + PASSING_SECONDS, look_again_at)


def _if_it_lasts(case: Case, rule: str, situation: Situation, worth_writing_at: float, look_again_at: float) -> Plan:
    """Write a state only if it lasts: one that passes at once is not worth it."""
    if case.now < worth_writing_at and text(case.job.status.get("phase")) in {"", Phase.PENDING, Phase.RUNNING, Phase.FETCHING}:
        return Plan(rule=rule, requeue_at=min(worth_writing_at, look_again_at))
    return case.plan(rule, situation, requeue_at=look_again_at)


def _overdue(case: Case, what: str) -> Verdict:
    message = f"the script did not run within spec.pendingDeadlineSeconds ({case.wanted.pending_seconds}); it waited because {what}"
    pod = case.pod.name if case.pod is not None else ""
    return verdict(Reason.PENDING_DEADLINE_EXCEEDED, message, "remove the cause, then create the job again", pod=pod)


def _invalid(finding: str) -> Verdict:
    return verdict(Reason.INVALID_SPEC, f"the spec cannot be used: {finding}", "correct it and create the job again")


def _shown_phase(pod: PodRecord) -> Phase:
    for name, phase in ((TRAINER, Phase.RUNNING), (FETCH, Phase.FETCHING)):
        container = pod.container(name)
        if container is not None and container.state == "running":
            return phase
        if container is not None and container.state == "terminated" and name == TRAINER:
            return Phase.PUBLISHING
    return Phase.PENDING


def _ended_at(pod: PodRecord | None) -> float | None:
    ends = [container.finished_at for container in pod.containers if container.finished_at is not None] if pod is not None else []
    return max(ends, default=None)


def _news(situation: Situation, previous: Raw) -> tuple[Note, ...]:
    """Return one event per real change: another phase, or another reason to wait. A state that passes by itself is none."""
    before = (text(previous.get("phase")), text(mapping(previous.get("pending")).get("reason")))
    after = (situation.phase.value, situation.pending.reason if situation.pending else "")
    if situation.phase is Phase.FAILED:
        return (Note("Warning", situation.reason, situation.message),)
    if situation.pending is not None:
        return (Note("Warning", situation.reason, situation.message),) if before != after else ()
    if situation.phase in {Phase.RUNNING, Phase.SUCCEEDED, Phase.SUSPENDED} and before[0] != after[0]:
        return (Note("Normal", situation.phase.value, situation.message),)
    return ()
