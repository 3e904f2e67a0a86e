"""The attempts of a job, made of what was observed: each is the pods of one number, and one of them is the current one.

A pod belongs to a job by its owner's uid, and to an attempt and a replica by its name: labels can be edited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tftrainer.messages.contract import FETCH, TRAINER

from tftraining_operator.api.spec import REPLICAS_LIMIT
from tftraining_operator.api.status import CheckResult
from tftraining_operator.core import claims, names, recorded
from tftraining_operator.core.names import PodName
from tftraining_operator.core.observe import UNKNOWN, integer, mapping, sequence, text
from tftraining_operator.core.recorded import Ending
from tftraining_operator.core.records import ContainerRecord, Deletion, JobRecord, Observed, PodRecord, Raw

_ALONE: Final = ((names.CHIEF, 0),)


@dataclass(frozen=True, slots=True)
class Replica:
    """One pod of an attempt: `pod` is what the API server has of it, `last` that, or what it was when it was last seen.

    `recorded` is the phase that the status has of it, which nobody else may remember; empty where it has none.
    """

    role: str
    index: int
    name: str
    pod: PodRecord | None = None
    last: PodRecord | None = None
    recorded: str = ""

    @property
    def task(self) -> str:
        """What people call it, as in TF_CONFIG: `worker 1`."""
        return f"{self.role} {self.index}"

    @property
    def silent(self) -> bool:
        """Whether nobody hears of it any more, though by the last that was heard its script runs."""
        pod, trainer = self.pod, self.container(TRAINER)
        if pod is None or trainer is None or trainer.state != "running":
            return False
        # A gate that somebody has put on the pod gives its reason; who marks the pods of a silent node gives none.
        return pod.condition("Ready")[:2] == ("False", "") and pod.condition("ContainersReady").status == "True"

    @property
    def existed(self) -> bool:
        """Whether there has been a pod, as far as anybody remembers."""
        return bool(self.recorded) or self.last is not None

    @property
    def ended_well(self) -> bool:
        """Whether its script has ended with 0, as far as anybody remembers: of the chief that is not yet success."""
        return claims.ended_well(self.last) if self.last is not None else self.recorded == claims.ENDED_WELL

    @property
    def started(self) -> bool:
        """Whether its script has been started."""
        trainer = self.container(TRAINER)
        return trainer is not None and trainer.state != "waiting"

    @property
    def publishing(self) -> ContainerRecord | None:
        """The container of its script, where that has ended and the pod has not: what it wrote is on its way into the bucket."""
        trainer = self.container(TRAINER)
        over = self.pod is None or claims.ended(self.pod) or trainer is None or trainer.state != "terminated"
        return None if over else trainer

    @property
    def stage(self) -> tuple[bool, bool]:
        """How far it is, to be compared: whether its script has been started, and whether code and data are being fetched."""
        fetch = self.container(FETCH)
        return self.started, fetch is not None and fetch.state == "running"

    @property
    def unseen(self) -> tuple[PodRecord, ...]:
        """The pod that only looks gone, perhaps: one whose labels somebody removed must not run on unseen."""
        last = self.last
        return (last,) if self.pod is None and last is not None and not last.absent and not claims.ended(last) else ()

    def container(self, name: str) -> ContainerRecord | None:
        """Return a container of the pod that there is."""
        return self.pod.container(name) if self.pod is not None else None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of the whole job."""

    number: int
    replicas: tuple[Replica, ...]

    @property
    def chief(self) -> Replica:
        """The replica whose end is the end of the run: TensorFlow's chief, which is worker 0 where none has that role."""
        return self.replicas[0]

    @property
    def alone(self) -> bool:
        """Whether it has one replica only."""
        return len(self.replicas) == 1

    @property
    def pods(self) -> tuple[PodRecord, ...]:
        """The pods that the API server has."""
        return tuple(replica.pod for replica in self.replicas if replica.pod is not None)

    @property
    def existed(self) -> bool:
        """Whether it has had a pod, as far as anybody remembers."""
        return any(replica.existed for replica in self.replicas)

    @property
    def alive(self) -> tuple[PodRecord, ...]:
        """The pods that there are of which something may run."""
        return tuple(pod for pod in self.pods if not claims.ended(pod))

    @property
    def unseen(self) -> tuple[PodRecord, ...]:
        """The pods that only look gone, perhaps."""
        return tuple(pod for replica in self.replicas for pod in replica.unseen)

    def lost(self) -> tuple[Deletion, ...]:
        """Return the deletions of the pods that only look gone, perhaps: repeated until the API server says that there is none."""
        return tuple(Deletion(pod.name, pod.uid) for pod in self.unseen)

    def with_pod(self, name: str) -> Replica:
        """Return the replica whose pod has that name, the chief where none has."""
        return next((each for each in self.replicas if each.name == name), self.chief)


@dataclass(frozen=True, slots=True)
class History:
    """What a job has tried: the current attempt, the one that would come next, and the earlier ones that still have pods.

    `begun` is the last attempt that has begun: while a job is suspended, or waits for a retry, the one before the current one. `ending`
    is how the operator is about to end the current attempt, None where it does not. `told` is the attempt that the status is about: while a
    pod of an earlier one runs, not the current one. `impostors` are pods of attempts that have not begun:
    somebody who may create pods has given them the job for an owner. `check` is the pod that checks the job while it waits, which belongs
    to no attempt.
    """

    current: Attempt
    begun: Attempt
    next: Attempt
    told: Attempt
    past: tuple[Attempt, ...]
    ending: Ending | None
    impostors: tuple[PodRecord, ...]
    check: PodRecord | None = None

    @property
    def upcoming(self) -> Attempt:
        """The attempt that a pod created now belongs to: after a suspension that was taken back midway, the next one."""
        return self.current if self.ending is None else self.next

    @property
    def torn(self) -> bool:
        """Whether pods of the current attempt have gone because the operator ends it: what is left of several is of no use."""
        return self.ending is not None and any(each.existed and each.pod is None for each in self.current.replicas)

    @property
    def cleared(self) -> bool:
        """Whether no pod of the current attempt is in the way of another attempt, where the operator has ended that.

        One that has ended and is deleted may stay as long as another's finalizer wants it to.
        """
        left = [pod for pod in self.current.pods if self.ending is None or pod.deleted_at is None or not pod.held]
        return not self.current.alive and not self.current.unseen and (self.torn or not left)

    def posing(self, attempt: Attempt) -> tuple[PodRecord, ...]:
        """Return the impostors that have the names of an attempt's pods: it does not begin while one of them is there."""
        return tuple(pod for pod in self.impostors if pod.name in {each.name for each in attempt.replicas})

    @property
    def missing(self) -> tuple[Replica, ...]:
        """The replicas of the attempt that a pod created now belongs to which have never had a pod."""
        if self.ending is not None and not self.cleared:
            return ()
        return tuple(each for each in self.upcoming.replicas if not each.existed)

    def deletions(self) -> tuple[Deletion, ...]:
        """Return the deletions of all pods of which something may run, and that are not on their way out yet."""
        return deletions(pod for pod in self.pods if not claims.ended(pod))

    @property
    def pods(self) -> tuple[PodRecord, ...]:
        """The pods of all attempts, the current one's first."""
        return tuple(pod for attempt in (self.current, *self.past) for pod in attempt.pods)


def deletions(pods: Iterable[PodRecord]) -> tuple[Deletion, ...]:
    """Return the deletions of those pods that are not on their way out yet."""
    return tuple(Deletion(pod.name, pod.uid) for pod in pods if pod.deleted_at is None)


def members(spec: Raw) -> tuple[tuple[str, int], ...]:
    """Return role and index of every replica of an attempt, the chief first, of a spec that nobody has checked."""
    groups = mapping(spec.get("replicas"))
    counts = {role: _count(groups[role]) for role in names.ROLES if groups.get(role) is not None}
    return tuple((role, index) for role, count in counts.items() for index in range(count)) or _ALONE


def _count(group: object) -> int:
    count = integer(mapping(group).get("count", 1)) or 0
    return min(max(count, 0), REPLICAS_LIMIT)


def asked_gpus(job: JobRecord) -> int:
    """Return how many GPUs all replicas of an attempt ask for: by themselves, by the job, or by its class, of which its status tells."""
    of_job = max(_gpus(job.spec.get("resources")), _gpus(job.status.get("resources")))
    own = {role: mapping(group).get("resources") for role, group in mapping(job.spec.get("replicas")).items()}
    return sum(of_job if own.get(role) is None else _gpus(own[role]) for role, _ in members(job.spec))


def _gpus(resources: object) -> int:
    return integer(mapping(resources).get("gpus")) or 0


def history(observed: Observed) -> History:
    """Return what a job has tried, as far as anybody knows."""
    job, expected = observed.job, members(observed.job.spec)
    begun, ending = recorded.begun(job.status, suspend=job.spec.get("suspend") is True), recorded.ending(job.status)
    claimed = _own(observed, observed.pods)
    pods = {name: pod for name, pod in claimed.items() if name.attempt <= begun}
    gone = {name: pod for name, pod in _own(observed, observed.gone).items() if name.attempt <= begun}
    number = max([recorded.attempt(job.status), *(name.attempt for name in gone)])
    latest = max((name.attempt for name in pods), default=-1)
    # Somebody may have written a number: while a pod runs, that is the attempt.
    if latest >= number or any(name.attempt == latest and not claims.ended(pod) for name, pod in pods.items()):
        number = latest
    ending = ending if ending is not None and ending.attempt == number else None

    def attempt(number: int, phases: Mapping[str, str] | None = None) -> Attempt:
        each = (PodName(role, index, number) for role, index in expected)
        return Attempt(number, tuple(_replica(job.key.name, name, pods, gone, phases or {}) for name in each))

    current = attempt(number, _remembered(observed, expected, ending))
    return History(
        current=current,
        begun=attempt(number - 1) if number == recorded.attempt(job.status) > 0 and recorded.awaited(job.status) else current,
        next=attempt(number + 1),
        told=attempt(recorded.attempt(job.status)),
        past=tuple(attempt(each) for each in sorted({name.attempt for name in pods} - {number})),
        ending=ending,
        impostors=tuple(pod for name, pod in claimed.items() if name.attempt > begun),
        check=_check(observed),
    )


def doubtful(observed: Observed) -> dict[str, str]:
    """Return names of pods that the API server has to be asked for before anything is concluded, with the uid that is known, or none.

    A stranger need not carry our labels, so that nobody tells of its end; and a watch may be behind the status.
    """
    job = observed.job
    if claims.end(job) is not None:
        return {}
    seen = {pod.name for pod in (*observed.pods, *observed.gone)}
    told = {text(mapping(item).get("name")) for item in sequence(job.status.get("pods"))}
    unseen = {name: "" for name in sorted(told - seen) if names.parse(job.key.name, name) is not None}
    retry = recorded.restart(job.status)
    if retry is not None and not retry.begun:
        # A pod that has lost our label looks gone: before another attempt begins, the server is asked for those of the last one.
        # While another of its pods lives, it does not begin.
        there, own = {pod.name for pod in observed.pods}, _own(observed, observed.pods).values()
        last = (names.pod_name(job.key.name, *each, retry.attempt - 1) for each in members(job.spec))
        unseen |= {} if any(not claims.ended(pod) for pod in own) else {name: "" for name in last if name not in there}
    check, name = recorded.check(job.status), names.check_name(job.key.name, job.uid)
    if check is not None and check.result is CheckResult.STARTED and name not in seen:
        unseen[name] = ""
    strangers = [pod for pod in observed.pods if pod.owner_uid != job.uid]
    if not strangers:
        return unseen
    tried = history(observed)
    # Of strangers only those can be in the way that have the name of a pod which is made next.
    wanted = {each.name for each in tried.missing}
    return unseen | {pod.name: pod.uid for pod in strangers if pod.name in wanted}


def ahead(observed: Observed) -> bool:
    """Tell whether the job has to be asked for before anything is concluded: a pod of an attempt that its status has not begun is there.

    It is an impostor's, or the status is old: watches of jobs and of pods are not in one order.
    """
    begun = recorded.begun(observed.job.status, suspend=observed.job.spec.get("suspend") is True)
    return any(name.attempt > begun and pod.deleted_at is None for name, pod in _own(observed, observed.pods).items())


def _check(observed: Observed) -> PodRecord | None:
    name = names.check_name(observed.job.key.name, observed.job.uid)
    return next((pod for pod in observed.pods if pod.name == name and pod.owner_uid == observed.job.uid), None)


def _own(observed: Observed, pods: Iterable[PodRecord]) -> dict[PodName, PodRecord]:
    """Return the pods that this very job owns, by what their names say."""
    key, uid = observed.job.key, observed.job.uid
    named = ((names.parse(key.name, pod.name), pod) for pod in pods if pod.owner_uid == uid)
    expected = set(members(observed.job.spec))
    return {name: pod for name, pod in named if name is not None and (name.role, name.index) in expected}


def _remembered(observed: Observed, expected: Sequence[tuple[str, int]], ending: Ending | None) -> dict[str, str]:
    """Return the phases that the status has of pods of the current attempt, by their names; what it says otherwise counts as Unknown."""
    told = map(mapping, sequence(observed.job.status.get("pods")))
    phases = {text(each.get("name")): text(each.get("phase")) or UNKNOWN for each in told}
    if ending is not None or (phases and len(expected) == 1):
        # Of an attempt that is being ended none is made any more; and where there is one pod only, that is the one.
        number = recorded.attempt(observed.job.status)
        return {names.pod_name(observed.job.key.name, *each, number): UNKNOWN for each in expected} | phases
    return phases


def _replica(
    job: str, name: PodName, pods: Mapping[PodName, PodRecord], gone: Mapping[PodName, PodRecord], phases: Mapping[str, str]
) -> Replica:
    pod, called = pods.get(name), names.pod_name(job, name.role, name.index, name.attempt)
    return Replica(name.role, name.index, called, pod, pod or gone.get(name), phases.get(called, ""))
