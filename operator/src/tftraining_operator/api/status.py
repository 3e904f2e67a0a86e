"""The status of a TFTrainingJob: what the operator writes. Bounded, so that nothing that a pod reports can grow an object."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

from pydantic import Field

from tftraining_operator.api.fields import KEY_LIMIT, Model
from tftraining_operator.api.spec import REPLICAS_LIMIT

URI_TEXT = KEY_LIMIT + 176
"""Characters of a URI that a report may hold: `contract.Key`."""
MESSAGE_LIMIT = 2048
CONDITIONS_LIMIT = 16
NOTES_LIMIT = 16
EVIDENCE_LIMIT = 16
ATTEMPTS_LIMIT = 8


class Phase(enum.StrEnum):
    """Where a job stands, in one word, for people: no logic reads it."""

    PENDING = "Pending"
    QUEUED = "Queued"
    FETCHING = "Fetching"
    RUNNING = "Running"
    PUBLISHING = "Publishing"
    RESTARTING = "Restarting"
    SUSPENDED = "Suspended"
    STOPPING = "Stopping"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"


class Because(enum.StrEnum):
    """Why the operator itself ends an attempt: what is to become of the job then."""

    SUSPEND = "Suspend"
    STOP = "Stop"
    EVICT = "Evict"
    REGROUP = "Regroup"


class Stop(enum.StrEnum):
    """How a job was stopped: cleanly, by force, or without what it wrote getting into the bucket."""

    STOPPED = "Stopped"
    FORCED = "ForceStopped"
    FAILED = "StopFailed"


class CheckResult(enum.StrEnum):
    """What the check of a job that waits has come to."""

    STARTED = "Started"
    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"


class ConditionType(enum.StrEnum):
    """The conditions of a job. There is no `Ready`: tools that wait for it would wait for the training."""

    ACCEPTED = "Accepted"
    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"
    FINISHED = "Finished"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


Word = Annotated[str, Field(max_length=64)]
Name = Annotated[str, Field(max_length=253)]
Sentence = Annotated[str, Field(max_length=MESSAGE_LIMIT)]
Text = Annotated[str, Field(max_length=1024)]
Location = Annotated[str, Field(max_length=URI_TEXT)]
Digest = Annotated[str, Field(max_length=64)]
Count = Annotated[int, Field(ge=0)]
Time = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"})]


def _list(kind: Literal["atomic", "map"], *keys: str) -> dict[str, Any]:
    extra: dict[str, Any] = {"x-kubernetes-list-type": kind}
    return extra | ({"x-kubernetes-list-map-keys": list(keys)} if keys else {})


class Condition(Model):
    """One aspect of the job's state."""

    type: Annotated[str, Field(max_length=64)] = Field(
        description="Accepted, Scheduled, Running, Suspended, Succeeded, Failed, Stopped, Finished, Reconciling or Stalled."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds: True, False or Unknown.")
    reason: Word = Field(description="Why, in one word.")
    message: Sentence = Field(default="", description="Why, in one sentence.")
    last_transition_time: Time = Field(description="When status last changed.")


class PodStatus(Model):
    """One pod of the job."""

    name: Name = Field(description="Name of the pod; kubectl logs NAME shows the script's output.")
    phase: Word = Field(
        description="The pod's own phase: Pending, Running, Succeeded, Failed or Unknown; Ended, where it is ended with the job."
    )
    node: Name = Field(default="", description="The node that it was placed on.")
    role: Word = Field(default="", description="chief, worker, ps or evaluator; absent in a job of one replica.")
    index: Count | None = Field(default=None, description="Its number among those of its role, as in TF_CONFIG.")
    reason: Word = Field(default="", description="Why it failed, in one word, as in failure.reason.")


class GroupStatus(Model):
    """How many replicas of a role do what."""

    pending: Count = Field(default=0, description="Without a pod, or waiting for a node, an image or a Secret.")
    active: Count = Field(default=0, description="Fetching, running or publishing.")
    succeeded: Count = Field(default=0, description="Ended well.")
    failed: Count = Field(default=0, description="Failed, or gone before they had ended.")
    ended: Count = Field(default=0, description="Ended with the job, as parameter servers are, which never end by themselves.")


class ReplicasStatus(Model):
    """How many replicas of each role do what."""

    chief: GroupStatus | None = Field(default=None, description="The chief, of which there is one.")
    worker: GroupStatus | None = Field(default=None, description="The workers.")
    ps: GroupStatus | None = Field(default=None, description="The parameter servers.")
    evaluator: GroupStatus | None = Field(default=None, description="The evaluator, of which there is one.")


class EndingStatus(Model):
    """That the operator itself ends an attempt: written before its pods are deleted, so that no process takes that for somebody else's."""

    attempt: Count = Field(description="The attempt that is ended.")
    because: Word = Field(
        description="Why: Suspend, Stop, Evict (a queue takes its place back) or Regroup (only some of its pods had a node)."
    )
    since: Time = Field(description="When it began.")


class PinnedObject(Model):
    """What an object was when it was fetched."""

    uri: Location = Field(description="Where it was fetched from.")
    sha256: Digest = Field(description="Digest of its content.")


class Code(Model):
    """The code that runs, pinned when it was first fetched: later attempts run the same or none."""

    script: PinnedObject | None = Field(default=None, description="The script.")
    archive: PinnedObject | None = Field(default=None, description="The zip of modules.")
    files: tuple[PinnedObject, ...] = Field(
        default=(),
        max_length=64,
        json_schema_extra=_list("atomic"),
        description="The entries of spec.dependencies.files in their order; the digest of a folder is over the names and digests it holds.",
    )


class Fetched(Model):
    """What was fetched before the attempt's script started: code and data."""

    objects: Count = Field(default=0, description="Number of fetched objects.")
    bytes: Count = Field(default=0, description="Their size in bytes.")
    duration_seconds: Count = Field(default=0, description="Whole seconds that it took, checks and packages included.")


class PublishedModel(Model):
    """The newest SavedModel that the run wrote."""

    uri: Location = Field(description="The model's folder in the bucket.")
    sha256: Digest = Field(default="", description="Digest of its saved_model.pb.")
    bytes: Count = Field(default=0, description="Size of all its objects in bytes.")
    objects: Count = Field(default=0, description="Number of its objects.")
    signatures: tuple[Word, ...] = Field(
        default=(), max_length=16, json_schema_extra=_list("atomic"), description="Names of its signatures, where it was loaded."
    )
    verified: bool = Field(default=False, description="Whether it was loaded: spec.model asks for that.")


class CheckpointStatus(Model):
    """What spec.checkpoints has done."""

    restored: Text = Field(default="", description="The checkpoint that the attempt has started from.")
    saved: Text = Field(default="", description="The newest whole checkpoint in the bucket, some seconds old while the script runs.")


class Outputs(Model):
    """What the run left in the bucket."""

    manifest: Location = Field(description="The list of all published objects with sizes and digests; written last, once.")
    sha256: Digest = Field(default="", description="Digest of the manifest.")
    objects: Count = Field(default=0, description="Number of published objects.")
    bytes: Count = Field(default=0, description="Their size in bytes.")
    skipped: Count = Field(
        default=0, description="Number of things that were not published: links out of the bucket, sockets, names that no key can have."
    )
    kept: Count = Field(
        default=0,
        description=(
            "Number of files that are kept in the run's own folder of the bucket instead of under a key of their own: status.message says "
            "which and why, and the manifest lists them."
        ),
    )


class Logs(Model):
    """Where the script's output is kept."""

    uri: Location = Field(
        description="Folder in the bucket with stdout.log and stderr.log; in live/ what there is of them while the script runs."
    )


class FailureStatus(Model):
    """Why the job failed."""

    cause: Word = Field(description="Who or what ended the run: UserError, OutOfMemory, Preemption, Infrastructure, Storage, Image, …")
    reason: Word = Field(description="What happened, in one word: ScriptRaised, ObjectNotFound, OutOfMemory, …")
    message: Sentence = Field(default="", description="What happened, in one sentence.")
    hint: Text = Field(default="", description="What to do about it.")
    exit_code: int | None = Field(
        default=None, description="Exit code of the script; 128 + n for signal n. Absent where the script did not run."
    )
    exception: Text = Field(default="", description="The exception that the script raised.")
    file: Text = Field(default="", description="The user's file where it was raised.")
    line: Count | None = Field(default=None, description="The line in it.")
    traceback: Sentence = Field(default="", description="The end of the traceback.")
    attempt: Count = Field(default=0, description="The attempt that failed.")
    pod: Name = Field(default="", description="The pod that failed.")


class StopStatus(Model):
    """How the job was stopped."""

    reason: Word = Field(
        description=(
            "Stopped; ForceStopped: the script was killed after its grace period, or nobody has seen its pod publish; StopFailed: what it "
            "wrote could not be published."
        )
    )


class PostMortemStatus(Model):
    """What is known of the newest attempt that failed."""

    attempt: Count = Field(description="Number of that attempt.")
    uri: Location = Field(
        default="",
        description=(
            "Object in the bucket with all that is known: evidence, what was used, the last lines of both streams, stacks, versions. "
            "Absent where no publisher was left to write it."
        ),
    )
    evidence: tuple[Text, ...] = Field(
        default=(),
        max_length=EVIDENCE_LIMIT,
        json_schema_extra=_list("atomic"),
        description="What the pod's status said at the end: its containers, phase and conditions, in sentences.",
    )


class UsageStatus(Model):
    """What the attempts that have ended took of the cluster. Resources are held while fetching, running and publishing."""

    attempts: Count = Field(default=0, description="Number of the attempts that are in these figures.")
    queued_seconds: Count = Field(default=0, description="Waiting for a node, its image and containers, from creation or resume.")
    fetching_seconds: Count = Field(default=0, description="Fetching code and data.")
    running_seconds: Count = Field(default=0, description="Running the script.")
    publishing_seconds: Count = Field(default=0, description="Publishing what it wrote.")
    wasted_seconds: Count = Field(default=0, description="Holding resources in attempts that failed.")
    gpu_seconds: Count = Field(default=0, description="Seconds of holding resources, times GPUs.")
    wasted_gpu_seconds: Count = Field(default=0, description="The same in attempts that failed.")
    cpu_seconds: Count = Field(default=0, description="Seconds of holding resources, times reserved CPUs.")
    wasted_cpu_seconds: Count = Field(default=0, description="The same in attempts that failed.")
    peak_memory: Count = Field(
        default=0,
        description="The most memory that a script held, in bytes, without what the kernel caches of files; looked at each second.",
    )
    advice: Text = Field(
        default="", description="What to ask for next time, where the peak is below half of the memory or above 90 % of it."
    )


class AttemptStatus(Model):
    """How an earlier attempt of the job failed."""

    attempt: Count = Field(description="Its number.")
    cause: Word = Field(default="", description="Who or what ended it.")
    reason: Word = Field(description="What happened, in one word, as in failure.reason.")
    message: Text = Field(default="", description="What happened, in one sentence.")
    exception: Text = Field(default="", description="The exception that the script raised.")
    file: Text = Field(default="", description="The user's file where it was raised.")
    line: Count | None = Field(default=None, description="The line in it.")
    exit_code: int | None = Field(default=None, description="Exit code of the script; absent where it did not run.")
    pod: Name = Field(default="", description="Its pod, whose log is there as long as the pod is.")
    logs: Location = Field(default="", description="Folder in the bucket with its log.")
    ended_at: Time | None = Field(default=None, description="When it had failed.")


class RetriesStatus(Model):
    """How many retries have been used, by what the attempts before them failed of."""

    user_error: Count = Field(default=0, description="After the script itself had failed.")
    infrastructure: Count = Field(default=0, description="After the cluster had taken the pod away.")
    preemption: Count = Field(default=0, description="After a pod of higher priority had taken the place.")
    storage: Count = Field(default=0, description="After the object store had not answered.")
    out_of_memory: Count = Field(default=0, description="After the script had needed too much memory.")


class RestartStatus(Model):
    """The retry that the current attempt is."""

    attempt: Count = Field(description="The attempt that it is about.")
    at: Time = Field(description="When it may start.")
    begun: bool = Field(default=False, description="Whether it has started; written before its pod is made.")
    reason: Word = Field(default="", description="Why the attempt before it failed, until it starts.")
    waiting_since: Time | None = Field(
        default=None, description="Since when the job waits, where the attempt before it had no place for all of its pods."
    )


class NoteStatus(Model):
    """Something that the job's containers had to tell while it went on."""

    reason: Word = Field(description="What it is about, in one word: ArgumentHint, ProcessOutOfMemory, LastLinePassed, ScriptHung.")
    message: Sentence = Field(default="", description="What it is and the remedy, in one sentence.")


class PendingStatus(Model):
    """What a job is waiting for."""

    reason: Word = Field(description="What it waits for, in one word: Unschedulable, TooLargeForAnyNode, QueueFull, ImageUnavailable, …")
    message: Sentence = Field(default="", description="What it waits for and the remedy, in one sentence.")
    last_update_time: Time | None = Field(
        default=None,
        description="When the message was written; numbers that change by themselves are written anew after 30 s at the earliest.",
    )


class PreflightStatus(Model):
    """What the check has found that was made while the job waited (spec.preflight)."""

    result: CheckResult = Field(
        description=(
            "Started; Passed: nothing stands in the way of its start but the place; Failed: what it found has ended the job; "
            "Inconclusive: it could not be made, or what it found may come right before the start."
        )
    )
    message: Sentence = Field(default="", description="What was checked, or why it could not be, in one sentence.")
    last_update_time: Time = Field(description="Since when that is so.")


class ResourcesStatus(Model):
    """What the job's script gets of a node, complete with defaults."""

    cpu: Word = Field(description="CPUs that are reserved.")
    cpu_limit: Word = Field(default="", description="CPUs that the script may use at most; absent where there is no limit.")
    memory: Word = Field(description="Memory, reserved and limit at once, as it has grown with spec.retry.memoryGrowth.")
    gpus: Count = Field(default=0, description="Number of GPUs.")
    gpu_resource: Name = Field(default="", description="Name under which the nodes offer them.")
    shared_memory: Word = Field(description="Size of /dev/shm.")
    workspace: Word = Field(description="Disk space of all that is fetched and written.")


class Status(Model):
    """What became of the job; written by the operator alone."""

    observed_generation: int | None = Field(
        default=None, description="The metadata.generation that this status is about; -1: not seen yet."
    )
    phase: Phase | None = Field(
        default=None,
        description=(
            "Pending, Fetching, Running, Publishing, Restarting, Suspended, Stopping, Succeeded, Failed or Stopped. For people: programs "
            "read conditions."
        ),
    )
    message: Sentence = Field(
        default="", description="State, cause and remedy in one sentence; at the end also what has to be known of the outputs."
    )
    attempt: Count | None = Field(default=None, description="Number of the attempt, from 0; while suspended, that of the next one.")
    runtime: Word = Field(
        default="", description="The runtime that the job uses; where spec.runtime names none, the default of its first attempt."
    )
    resources: ResourcesStatus | None = Field(
        default=None,
        description=(
            "What the current attempt of a job that names a class, or has GPUs, gets of a node: a class that changes counts for the next."
        ),
    )
    start_time: Time | None = Field(default=None, description="When the attempt's pod began to fetch.")
    running_time: Time | None = Field(default=None, description="When the attempt's script started.")
    completion_time: Time | None = Field(default=None, description="When the job succeeded, failed or was stopped.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=CONDITIONS_LIMIT,
        json_schema_extra=_list("map", "type"),
        description=(
            "Finished is True at every end: kubectl wait --for=condition=Finished always returns. Beside it Succeeded or Failed is True, "
            "and Stopped with Failed for a job that was stopped."
        ),
    )
    pods: tuple[PodStatus, ...] = Field(
        default=(), max_length=REPLICAS_LIMIT, json_schema_extra=_list("atomic"), description="The pods of the current attempt."
    )
    replicas: ReplicasStatus | None = Field(
        default=None, description="How many replicas of each role do what; absent in a job of one replica."
    )
    attempts: tuple[AttemptStatus, ...] = Field(
        default=(),
        max_length=ATTEMPTS_LIMIT,
        json_schema_extra=_list("atomic"),
        description=f"How the attempts before the current one have failed, at most the last {ATTEMPTS_LIMIT}.",
    )
    retries: RetriesStatus | None = Field(default=None, description="How many retries have been used of each budget of spec.retry.")
    restart: RestartStatus | None = Field(default=None, description="The retry that the current attempt is, and when it starts.")
    ending: EndingStatus | None = Field(
        default=None, description="That the operator itself ends the attempt, and why; the pods of it are on their way out."
    )
    resolved_args: tuple[Location, ...] = Field(
        default=(), max_length=256, json_schema_extra=_list("atomic"), description="The arguments as the script saw them."
    )
    code: Code | None = Field(
        default=None,
        description="The code that runs, pinned when it was first fetched: with other code, a later attempt fails as CodeChanged.",
    )
    fetched: Fetched | None = Field(default=None, description="What was fetched before the attempt's script started.")
    notes: tuple[NoteStatus, ...] = Field(
        default=(),
        max_length=NOTES_LIMIT,
        json_schema_extra=_list("atomic"),
        description="What the attempt's containers had to tell while it went on, though nothing had failed.",
    )
    pending: PendingStatus | None = Field(
        default=None, description="What the job is waiting for: to run, or, while it runs, to be published."
    )
    preflight: PreflightStatus | None = Field(
        default=None, description="What the check has found that was made while the job waited; absent where it did not wait for long."
    )
    failure: FailureStatus | None = Field(default=None, description="Why the job failed.")
    stop: StopStatus | None = Field(default=None, description="How the job was stopped, where spec.stop has ended it.")
    model: PublishedModel | None = Field(default=None, description="The newest SavedModel that the run wrote.")
    checkpoint: CheckpointStatus | None = Field(default=None, description="What the attempt has started from, and what it has saved.")
    outputs: Outputs | None = Field(default=None, description="What the run left in the bucket.")
    logs: Logs | None = Field(default=None, description="Where the script's output is kept.")
    post_mortem: PostMortemStatus | None = Field(default=None, description="What is known of the newest attempt that failed.")
    usage: UsageStatus | None = Field(default=None, description="What the attempts that have ended took of the cluster.")
