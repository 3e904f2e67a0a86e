"""The records that pass between the rooms: what was observed of a job, and what is to be done about it.

Frozen and slotted: thousands are held at a time, and `decide` must not be able to change what it was given. Times are Unix
seconds as the API server or a container stated them, never "now".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    signal: int | None = None
    started_at: float | None = None
    finished_at: float | None = None
    restart_count: int = 0


@dataclass(frozen=True, slots=True)
class PodRecord:
    """A pod that claims to be a job's: what `decide` needs of it and nothing else.

    `owner_uid` is the uid of the controlling owner reference, empty without one. `conditions` maps a condition's type to
    (status, reason, message). `deleted_at` is the deletion timestamp of a pod that is going.
    """

    key: Key
    name: str
    uid: str
    owner_uid: str
    role: str
    index: int
    attempt: int
    phase: str
    created_at: float
    resource_version: str
    reason: str = ""
    message: str = ""
    node: str = ""
    deleted_at: float | None = None
    conditions: Mapping[str, tuple[str, str, str]] | None = None
    containers: tuple[ContainerRecord, ...] = ()

    def container(self, name: str) -> ContainerRecord | None:
        """Return the container of that name, None where the kubelet has not reported it yet."""
        return next((container for container in self.containers if container.name == name), None)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A TFTrainingJob as it was last seen: identity, the raw spec (checked when it is used), and the status as it stands.

    `orphaning` marks one whose deletion is meant to leave its pods where they are.
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


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is known of one job at one moment.

    `pods` are those whose labels or names claim the job, foreign ones included. `gone` are the last records of pods of this job (by
    owner uid) that were seen and then deleted, as long as the process remembers them. `refusal` is what the API server said when it
    last refused to create the job's pod (quota, admission), empty when it did not or has not been asked.
    """

    job: JobRecord
    pods: tuple[PodRecord, ...] = ()
    gone: tuple[PodRecord, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A Kubernetes event about the job: `type` is Normal or Warning, `reason` a CamelCase word, `message` a sentence."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """A pod to delete, named with its uid so that a successor of the same name is never hit."""

    name: str
    uid: str
    grace_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a job, in this order: create `configmaps`, create `pods`, write `status`, post `notes`, `deletions`.

    `status` is the whole desired status, None when it stays as it is. `requeue_at` is the Unix second at which the job has to be looked
    at again although nothing changed, None for never. `rule` names the rule that decided, for the log.
    """

    rule: str
    configmaps: tuple[Raw, ...] = ()
    pods: tuple[Raw, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    status: Raw | None = None
    notes: tuple[Note, ...] = ()
    requeue_at: float | None = None
