"""The records that pass between the rooms: what was observed of a job, and what is to be done about it.

Frozen and slotted: thousands are held at a time, and `decide` must not be able to change what it was given. Times are Unix
seconds as the API server or a container stated them, never "now".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tftrainer.messages.contract import LiveReport

from tftraining_operator.api import MANAGER
from tftraining_operator.core.configuration import Toleration
from tftraining_operator.core.nodes import Need, Nodes

Raw = Mapping[str, Any]
"""An object as the API server sent it."""


class Key(NamedTuple):
    """The job that a record belongs to: what the work queue holds."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """One container of a pod. `state` is waiting, running or terminated; `message` is a termination message, untrusted."""

    name: str
    state: str
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started_at: float | None = None
    finished_at: float | None = None


class Condition(NamedTuple):
    """A condition of a pod or of a Workload; `since` is the Unix second of its last change, None where nobody says."""

    status: str = ""
    reason: str = ""
    message: str = ""
    since: float | None = None


@dataclass(frozen=True, slots=True)
class PodRecord:
    """A pod that claims to be a job's: what `decide` needs of it and nothing else.

    `owner_uid` is the uid of the controlling owner reference, empty without one. `conditions` are those of the pod by their types.
    `deleted_at` is the deletion timestamp of a pod that is going, `grace_seconds` how long before that it was told to. `nominated_node`
    is where the scheduler ends other pods to make room for this one. `deadline_seconds` is after how many seconds its launcher ends the
    script, infinite for never, None where it does not say; `earlier_seconds` is what of the job's deadline had been used before.
    `checked_with` is the image with which a job that waits with this pod may be checked, or with which this one checks it; empty for
    none, as in pods of operators that made no checks. `resources` is what a resource class has given it, as `effective.told` writes it.
    `memory` is the limit of its script. `held` tells that a finalizer keeps it when it is deleted, `absent` that the
    API server itself has said that it is gone: a watch says so too of one that has lost its label.
    """

    key: Key
    name: str
    uid: str
    owner_uid: str
    phase: str
    created_at: float
    resource_version: str
    reason: str = ""
    message: str = ""
    node: str = ""
    nominated_node: str = ""
    deleted_at: float | None = None
    grace_seconds: float = 0.0
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    containers: tuple[ContainerRecord, ...] = ()
    deadline_seconds: float | None = None
    earlier_seconds: float = 0.0
    checked_with: str = ""
    resources: str = ""
    memory: str = ""
    held: bool = False
    absent: bool = False

    @property
    def told_to_go_at(self) -> float | None:
        """The Unix second at which somebody deleted the pod, None where nobody has."""
        return None if self.deleted_at is None else self.deleted_at - self.grace_seconds

    def condition(self, kind: str) -> Condition:
        """Return the condition of that type, an empty one where the pod has none."""
        return self.conditions.get(kind, Condition())

    def container(self, name: str) -> ContainerRecord | None:
        """Return the container of that name, None where the kubelet has not reported it yet."""
        return next((container for container in self.containers if container.name == name), None)


@dataclass(frozen=True, slots=True)
class WorkloadRecord:
    """A Workload of Kueue that claims to be a job's: the place of one attempt in a queue.

    `active` is false where somebody has taken it out of its queue. `flavors` are the names of the ResourceFlavors that an admission has
    given, by pod sets; `updates` what admission checks want of the pods, by pod sets too. `checks` are the admission checks that are
    not ready, each with what it says.
    """

    key: Key
    name: str
    uid: str
    owner_uid: str
    created_at: float
    resource_version: str
    active: bool = True
    deleted: bool = False
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    flavors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    updates: Mapping[str, Place] = field(default_factory=dict)
    checks: tuple[str, ...] = ()

    def condition(self, kind: str) -> Condition:
        """Return the condition of that type, an empty one where the Workload has none."""
        return self.conditions.get(kind, Condition())

    def holds(self, kind: str) -> bool:
        """Whether the condition of that type is true."""
        return self.condition(kind).status == "True"


@dataclass(frozen=True, slots=True)
class Place:
    """What a place in a queue demands of the pods that take it, beside what they have."""

    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Queueing:
    """What is known of Kueue, and of the Workloads that claim one job.

    `away` says why there are no Workloads to be had, empty where there are. `refusal` is what the API server said when it last did not
    take the job's, or what it could not be read for; `barred` tells that it is not to be asked again yet. `flavors` are places by the
    names of ResourceFlavors, `priorities` the values of PriorityClasses, under the empty name the cluster's default; None as long as
    they could not be read.
    """

    away: str = ""
    workloads: tuple[WorkloadRecord, ...] = ()
    refusal: str = ""
    barred: bool = False
    flavors: Mapping[str, Place] = field(default_factory=dict)
    priorities: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class InlineScript:
    """What is known of an inline script without its text: the SHA-256 of its UTF-8 form, and its length in characters."""

    sha256: str
    characters: int


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A TFTrainingJob as it was last seen: identity, the raw spec (checked when it is used), and the status as it stands.

    The text of an inline script is not kept, thousands of jobs could have one of 256 KiB: in `spec` its SHA-256 stands in its place, and
    `inline` has its length too. `orphaning` marks a job whose deletion is meant to leave its pods where they are.
    """

    key: Key
    uid: str
    generation: int
    created_at: float
    resource_version: str
    spec: Raw
    status: Raw
    deleted_at: float | None = None
    orphaning: bool = False
    inline: InlineScript | None = None

    @property
    def ours(self) -> bool:
        """Whether this operator is to run the job: one that names another controller is that one's alone."""
        return bool(self.spec.get("managedBy", MANAGER) == MANAGER)


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is known of one job at one moment.

    `pods` are those whose labels or names claim the job, foreign ones included. `gone` are the last records of pods of this job (by
    owner uid) that were seen and then deleted, as long as the process remembers them. `refusal` is what the API server said when it
    last refused to create the job's pod (quota, admission), empty when it did not or has not been asked. `live` are the newest reports
    of running pods by the pods' uids, as far as this process has heard them. `nodes` are the cluster's nodes as they were last seen,
    None where nobody has looked, or may; `nodes_awaited` tells that the job's question about them is answered in a moment. `unchecked`
    tells that the job is not to be checked now: the API server has refused the pod for that, or many others are. `queueing` is what is
    known of its place in a queue, None where it neither names one nor has one, or where nobody is to know of queues.
    """

    job: JobRecord
    pods: tuple[PodRecord, ...] = ()
    gone: tuple[PodRecord, ...] = ()
    refusal: str = ""
    live: Mapping[str, LiveReport] = field(default_factory=dict)
    nodes: Nodes | None = None
    nodes_awaited: bool = False
    unchecked: bool = False
    queueing: Queueing | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes event about the job: `type` is Normal or Warning, `reason` a CamelCase word, `message` a sentence.

    Events of the same reason and `topic` are one that repeats itself, whatever their messages; without one, the message is the topic.
    """

    type: str
    reason: str
    message: str
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A pod to delete, named with its uid so that a successor of the same name is never hit."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class WorkloadUpdate:
    """A Workload, named with its uid, to delete, or whose status gets conditions: by type, whether they hold, why, and in words."""

    name: str
    uid: str
    conditions: Mapping[str, tuple[bool, str, str]] = field(default_factory=dict)
    delete: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a job, in this order: `creates`, pods last, write `status`, post `events`, `deletions`, create `check`.

    `status` is the whole desired status, None when it stays as it is. `requeue_at` is the Unix second at which the job has to be looked
    at again although nothing changed, None for never. `rule` names the rule that decided, for the log. `need` is what the job's pod
    needs of a node where none takes it: to say more of that, the nodes have to be seen. `check` is the pod that checks the job while it
    waits: where none is to be had, the job waits all the same. `workload` is the place in a queue to ask for, `updates` are what is to be
    done with those that there are.
    """

    rule: str
    creates: tuple[Raw, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    status: Raw | None = None
    events: tuple[Event, ...] = ()
    requeue_at: float | None = None
    expires: bool = False
    need: Need | None = None
    check: Raw | None = None
    workload: Raw | None = None
    updates: tuple[WorkloadUpdate, ...] = ()
