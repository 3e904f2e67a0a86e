"""The status of a TFTrainingJob: what the operator writes. Bounded, so that nothing that a pod reports can grow an object."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

from pydantic import Field

from tftraining_operator.api.fields import KEY_LIMIT, Model

URI_TEXT = KEY_LIMIT + 176
"""Characters of a URI that a report may hold: `contract.Key`."""
MESSAGE_LIMIT = 2048
CONDITIONS_LIMIT = 16


class Phase(enum.StrEnum):
    """Where a job stands, in one word, for people: no logic reads it."""

    PENDING = "Pending"
    FETCHING = "Fetching"
    RUNNING = "Running"
    PUBLISHING = "Publishing"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class ConditionType(enum.StrEnum):
    """The conditions of a job. There is no `Ready`: tools that wait for it would wait for the training."""

    ACCEPTED = "Accepted"
    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
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
        description="Accepted, Scheduled, Running, Suspended, Succeeded, Failed, Finished, Reconciling or Stalled."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds: True, False or Unknown.")
    reason: Word = Field(description="Why, in one word.")
    message: Sentence = Field(default="", description="Why, in one sentence.")
    last_transition_time: Time = Field(description="When status last changed.")


class PodStatus(Model):
    """One pod of the job."""

    name: Name = Field(description="Name of the pod; kubectl logs NAME shows the script's output.")
    phase: Word = Field(description="The pod's own phase: Pending, Running, Succeeded, Failed or Unknown.")
    node: Name = Field(default="", description="The node that it was placed on.")


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
    saved: Text = Field(default="", description="The newest whole checkpoint in the bucket when the attempt had ended.")


class Outputs(Model):
    """What the run left in the bucket."""

    manifest: Location = Field(description="The list of all published objects with sizes and digests; written last, once.")
    sha256: Digest = Field(default="", description="Digest of the manifest.")
    objects: Count = Field(default=0, description="Number of published objects.")
    bytes: Count = Field(default=0, description="Their size in bytes.")
    skipped: Count = Field(
        default=0, description="Number of things that were not published: links out of the bucket, sockets, names that no key can have."
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
    exit_code: int | None = Field(default=None, description="Exit code of the script; 128 + n for signal n.")
    exception: Text = Field(default="", description="The exception that the script raised.")
    file: Text = Field(default="", description="The user's file where it was raised.")
    line: Count | None = Field(default=None, description="The line in it.")
    traceback: Sentence = Field(default="", description="The end of the traceback.")
    attempt: Count = Field(default=0, description="The attempt that failed.")
    pod: Name = Field(default="", description="The pod that failed.")


class PendingStatus(Model):
    """What a job that does not run yet is waiting for."""

    reason: Word = Field(description="What it waits for, in one word: Unschedulable, ImageUnavailable, SecretNotFound, …")
    message: Sentence = Field(default="", description="What it waits for and the remedy, in one sentence.")


class Status(Model):
    """What became of the job; written by the operator alone."""

    observed_generation: int | None = Field(
        default=None, description="The metadata.generation that this status is about; -1: not seen yet."
    )
    phase: Phase | None = Field(
        default=None,
        description="Pending, Fetching, Running, Publishing, Suspended, Succeeded or Failed. For people: programs read conditions.",
    )
    message: Sentence = Field(default="", description="State, cause and remedy in one sentence.")
    attempt: Count | None = Field(default=None, description="Number of the attempt, from 0; while suspended, that of the next one.")
    runtime: Word = Field(
        default="", description="The runtime that the job uses; where spec.runtime names none, the default of its first attempt."
    )
    start_time: Time | None = Field(default=None, description="When the attempt's pod began to fetch.")
    running_time: Time | None = Field(default=None, description="When the attempt's script started.")
    completion_time: Time | None = Field(default=None, description="When the job succeeded or failed.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=CONDITIONS_LIMIT,
        json_schema_extra=_list("map", "type"),
        description="Finished is True at either end: kubectl wait --for=condition=Finished always returns.",
    )
    pods: tuple[PodStatus, ...] = Field(
        default=(), max_length=64, json_schema_extra=_list("atomic"), description="The pods of the current attempt."
    )
    resolved_args: tuple[Location, ...] = Field(
        default=(), max_length=256, json_schema_extra=_list("atomic"), description="The arguments as the script saw them."
    )
    code: Code | None = Field(
        default=None,
        description="The code that runs, pinned when it was first fetched: with other code, a later attempt fails as CodeChanged.",
    )
    fetched: Fetched | None = Field(default=None, description="What was fetched before the attempt's script started.")
    pending: PendingStatus | None = Field(default=None, description="What a job that does not run yet is waiting for.")
    failure: FailureStatus | None = Field(default=None, description="Why the job failed.")
    model: PublishedModel | None = Field(default=None, description="The newest SavedModel that the run wrote.")
    checkpoint: CheckpointStatus | None = Field(default=None, description="What the attempt has started from, and what it has saved.")
    outputs: Outputs | None = Field(default=None, description="What the run left in the bucket.")
    logs: Logs | None = Field(default=None, description="Where the script's output is kept.")
