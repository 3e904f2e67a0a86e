"""Every message between the operator and the containers of a pod, defined once.

The operator hands a `Plan` to each container (environment variable `PLAN_VARIABLE`); each container leaves one report as its
termination message: `FetchReport`, `RunReport` or `PublishReport`, JSON of at most `MESSAGE_LIMIT` bytes. The operator
treats reports as untrusted input: `decode_report` bounds and checks them and never raises anything but `ContractError`.

msgspec rather than pydantic: the launcher stands between the container's start and the user's first line, and msgspec
imports in a few milliseconds.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

PLAN_VARIABLE: Final = "TFTRAINING_PLAN"
SPEC_VARIABLE: Final = "TFTRAINING_SPEC"
"""The job's spec as JSON, defaults filled in and without an inline script, for the record that `publisher` leaves in the bucket."""
STORAGE_PREFIX: Final = "TFTRAINING_STORAGE_"
"""Prefix of the variables that carry the storage Secret: `<PREFIX><KEY>` for each key of `CREDENTIAL_KEYS`."""
DATASETS_PREFIX: Final = "TFTRAINING_DATASETS_"
"""The same for the Secret of the dataset library."""

CREDENTIAL_KEYS: Final = {
    "endpoint": "ENDPOINT",
    "bucket": "BUCKET",
    "accessKey": "ACCESS_KEY",
    "secretKey": "SECRET_KEY",
    "region": "REGION",
    "prefix": "PREFIX",
    "addressing": "ADDRESSING",
    "caCertificate": "CA_CERTIFICATE",
}
"""Keys of a storage Secret and the end of the variable that carries each."""
OPTIONAL_CREDENTIAL_KEYS: Final = frozenset({"region", "prefix", "addressing", "caCertificate"})

FETCH: Final = "fetch"
TRAINER: Final = "trainer"
PUBLISHER: Final = "publisher"
CONTAINERS: Final = (FETCH, TRAINER, PUBLISHER)

WORKSPACE: Final = "/workspace"
"""Shared by the three containers; all that the script sees lies below it."""
CODE: Final = f"{WORKSPACE}/code"
DEPENDENCIES: Final = f"{WORKSPACE}/deps"
PACKAGES: Final = f"{DEPENDENCIES}/.packages"
"""Where `fetch` installs packages; the archive's own name never begins with a dot."""
BUCKET: Final = f"{WORKSPACE}/bucket"
DATASETS: Final = f"{WORKSPACE}/datasets"
INPUTS: Final = f"{WORKSPACE}/inputs"
LOGS: Final = f"{WORKSPACE}/logs"
RUN_FOLDER: Final = f"{WORKSPACE}/.tftraining"
"""Written by the trainer container: `started` once the lock is held, `result.json` at the end. Data, never instructions."""

STATE: Final = "/run/tftraining"
"""Written by `fetch` and `publisher`, read-only in the trainer container: the resolved run, the trainer's lock, the baseline."""
LOCK_FILE: Final = f"{STATE}/trainer.lock"
RESOLVED_FILE: Final = f"{STATE}/resolved.json"

INLINE_FOLDER: Final = "/etc/tftraining/script"
"""Where `fetch` finds an inline script, under the script's own name."""

MESSAGE_LIMIT: Final = 4096
"""Bytes of a termination message that a kubelet keeps."""
PLAN_LIMIT: Final = 120 * 1024
"""Bytes of an encoded plan: one environment string is at most 128 KiB (`MAX_ARG_STRLEN` of Linux)."""
TRACEBACK_LIMIT: Final = 1024
MANIFEST_NAME: Final = "manifest.json"
LOGS_FOLDER: Final = "logs/"


def run_prefix(namespace: str, job: str, uid: str, attempt: int) -> str:
    """Key prefix, below the bucket's configured prefix, of all that the product itself keeps of one attempt."""
    return f".tftraining/{namespace}/{job}/{uid}/attempt-{attempt}/"


class Cause(enum.StrEnum):
    """Who or what ended a run: the budget that a retry is taken from."""

    USER_ERROR = "UserError"
    OUT_OF_MEMORY = "OutOfMemory"
    PREEMPTION = "Preemption"
    INFRASTRUCTURE = "Infrastructure"
    STORAGE = "Storage"
    IMAGE = "Image"
    SPEC = "Spec"
    DEADLINE = "Deadline"
    PUBLISH = "Publish"
    UNKNOWN = "Unknown"


class Reason(enum.StrEnum):
    """Why a job failed: the closed list that status, conditions and the manifest use."""

    # the user's script
    SCRIPT_RAISED = "ScriptRaised"
    SCRIPT_EXITED = "ScriptExited"
    SCRIPT_CRASHED = "ScriptCrashed"
    SCRIPT_KILLED = "ScriptKilled"
    SYNTAX_ERROR = "ScriptSyntaxError"
    IMPORT_MISSING = "ImportMissing"
    INVALID_ARGUMENTS = "InvalidArguments"
    CODE_CHANGED = "CodeChanged"
    # what the job names
    INVALID_SPEC = "InvalidSpec"
    UNKNOWN_RUNTIME = "UnknownRuntime"
    OBJECT_NOT_FOUND = "ObjectNotFound"
    INPUT_TOO_LARGE = "InputTooLarge"
    INPUT_CONFLICT = "InputConflict"
    INVALID_ARCHIVE = "InvalidArchive"
    DIGEST_MISMATCH = "DigestMismatch"
    REQUIREMENTS_UNSATISFIABLE = "RequirementsUnsatisfiable"
    # the model that the job promises
    MODEL_MISSING = "ModelMissing"
    MODEL_UNLOADABLE = "ModelUnloadable"
    # limits
    OUT_OF_MEMORY = "OutOfMemory"
    WORKSPACE_FULL = "WorkspaceFull"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    PENDING_DEADLINE_EXCEEDED = "PendingDeadlineExceeded"
    # storage
    STORAGE_DENIED = "StorageAccessDenied"
    BUCKET_NOT_FOUND = "BucketNotFound"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    STORAGE_MISCONFIGURED = "StorageMisconfigured"
    PUBLISH_FAILED = "PublishFailed"
    # the package index
    PACKAGE_INDEX_UNAVAILABLE = "PackageIndexUnavailable"
    # the cluster
    TERMINATED = "Terminated"
    POD_DELETED = "PodDeleted"
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    CONTAINER_NOT_STARTED = "ContainerNotStarted"
    NAME_CONFLICT = "NameConflict"
    TRAINER_ERROR = "TrainerError"
    UNKNOWN = "Unknown"


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Base of all messages: immutable, camelCase on the wire, unknown fields ignored, defaults left out."""


Text = Annotated[str, Meta(max_length=1024)]
Line = Annotated[str, Meta(max_length=256)]
Key = Annotated[str, Meta(max_length=1200)]
Count = Annotated[int, Meta(ge=0, le=2**62)]


class Reference(Message, frozen=True):
    """One object (or folder, with a trailing `/`) that the job names.

    `uri` is `s3://bucket/key` or `${bucket}/key`; `sha256` is the digest the user demands, 64 hex digits.
    """

    uri: str
    sha256: str | None = None


class Script(Message, frozen=True):
    """The entry script: by `uri`, or inline (then it lies in `INLINE_FOLDER`) under `name`."""

    name: str
    uri: str | None = None
    sha256: str | None = None


class Input(Message, frozen=True):
    """A declared input: fetched to `INPUTS/<name>/` before the script starts."""

    name: str
    uri: str


class Pinned(Message, frozen=True):
    """What an object was when it was fetched: the code digests of the status."""

    uri: Key
    sha256: Annotated[str, Meta(max_length=64)]
    bytes: Count = 0
    etag: Annotated[str, Meta(max_length=128)] = ""


class CodePins(Message, frozen=True):
    """The code that a job runs, as its first attempt found it.

    `files` are in the order of `spec.dependencies.files`; the digest of a folder is over the names and digests of its objects. A digest
    may be cut to its head, when reports have to be short.
    """

    script: Pinned | None = None
    archive: Pinned | None = None
    files: Annotated[tuple[Pinned, ...], Meta(max_length=64)] = ()


class WantedModel(Message, frozen=True):
    """The SavedModel that the job promises at `path`, which is `${bucket}/key`; with `required`, the run fails without it."""

    path: str
    required: bool = True


class WantedCheckpoints(Message, frozen=True):
    """The folder `path`, which is `${bucket}/key`, that the script saves to: restored before it starts, uploaded every so many seconds."""

    path: str
    interval_seconds: int = 60


class Plan(Message, frozen=True):
    """All that a pod needs to know of its job. Carries no secret.

    `args` are verbatim, placeholders unresolved. `outputs` are paths `${bucket}/key` that the script only writes. Times are seconds,
    sizes bytes. `implicit_fetch_bytes` bounds what is fetched only because an argument names it. `workspace_bytes` bounds what the
    script may store, `shared_memory_bytes` is the size of `/dev/shm`. `pins` is the code of earlier attempts: with other code, `fetch`
    refuses. `requirements` are packages, from the index at the URL `package_index`. After `fetch_seconds`, `fetch` gives up; None where
    the operator ends a pod that takes too long.
    """

    namespace: str
    job: str
    uid: str
    runtime: str
    script: Script
    attempt: int = 0
    image: str = ""
    archive: Reference | None = None
    files: tuple[Reference, ...] = ()
    requirements: tuple[str, ...] = ()
    package_index: str = ""
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    grace_seconds: int = 30
    publish_seconds: int = 30
    fetch_seconds: int | None = None
    active_deadline_seconds: int | None = None
    workspace_bytes: int = 10 * 1024**3
    shared_memory_bytes: int = 64 * 1024**2
    gpus: int = 0
    implicit_fetch_bytes: int = 2 * 1024**3
    pins: CodePins | None = None
    model: WantedModel | None = None
    checkpoints: WantedCheckpoints | None = None


class Failure(Message, frozen=True):
    """Why a container's part did not succeed, in the user's words.

    `message` is one sentence: what, which value, what was expected. `hint` is what to do. `exception`, `file`, `line` and
    `traceback` are of the user's script.
    """

    reason: Reason
    message: Text
    hint: Text = ""
    exception: Text = ""
    file: Text = ""
    line: Count | None = None
    traceback: Annotated[str, Meta(max_length=TRACEBACK_LIMIT * 2)] = ""


class FetchReport(Message, frozen=True, tag="fetch", tag_field="kind"):
    """What `fetch` did. Without `failure`, everything the script needs lies in the workspace.

    `script`, `archive` and `files` are the code, as in `CodePins`. `resolved_args` are the arguments as the script sees them; cut off
    when they would not fit (`resolved_args_cut`). `objects`, `bytes` and `seconds` are of all that was fetched, data too. `logs_uri`
    is where the logs will lie. `restored` says in words which checkpoint the script finds.
    """

    failure: Failure | None = None
    script: Pinned | None = None
    archive: Pinned | None = None
    files: Annotated[tuple[Pinned, ...], Meta(max_length=64)] = ()
    resolved_args: tuple[Key, ...] = ()
    resolved_args_cut: bool = False
    logs_uri: Key = ""
    objects: Count = 0
    bytes: Count = 0
    seconds: Annotated[float, Meta(ge=0, le=2**31)] = 0.0
    restored: Line = ""


class RunReport(Message, frozen=True, tag="run", tag_field="kind"):
    """How the user's script ended. Written beside user code: believed only about itself.

    `exit_code` is the script's own, 128+n for signal n; `killed` tells that from a script that exits with such a code itself. Times
    are Unix seconds.
    """

    exit_code: Annotated[int, Meta(ge=0, le=255)]
    failure: Failure | None = None
    started_at: Annotated[float, Meta(ge=0)] = 0.0
    finished_at: Annotated[float, Meta(ge=0)] = 0.0
    killed: bool = False


class PublishedModel(Message, frozen=True):
    """The newest SavedModel that the run wrote. `uri` names its folder; `sha256` is over its `saved_model.pb`.

    With `verified` it was loaded, and has these `signatures` (the first sixteen).
    """

    uri: Key
    sha256: Annotated[str, Meta(max_length=64)] = ""
    bytes: Count = 0
    objects: Count = 0
    signatures: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=16)] = ()
    verified: bool = False


class PublishReport(Message, frozen=True, tag="publish", tag_field="kind"):
    """The final word: what of the run is in the bucket.

    `manifest_uri` is set if and only if the manifest is there and verified. `succeeded` repeats the manifest's outcome. `lost` of what
    was `skipped` holds data that is nowhere in the bucket. `checkpoint` says in words which checkpoint a later attempt will find.
    """

    failure: Failure | None = None
    succeeded: bool = False
    manifest_uri: Key = ""
    manifest_sha256: Annotated[str, Meta(max_length=64)] = ""
    logs_uri: Key = ""
    objects: Count = 0
    bytes: Count = 0
    skipped: Count = 0
    lost: Count = 0
    model: PublishedModel | None = None
    checkpoint: Line = ""


Report = FetchReport | RunReport | PublishReport
ReportT = TypeVar("ReportT", FetchReport, RunReport, PublishReport)


class ContractError(ValueError):
    """A message that is not what this module defines. Its text names the field and what was expected."""


def encode_plan(plan: Plan) -> str:
    """Return the plan as the value of `PLAN_VARIABLE`.

    Raises:
        ContractError: it is longer than `PLAN_LIMIT`.
    """
    text = msgspec.json.encode(plan).decode()
    if len(text.encode()) > PLAN_LIMIT:
        raise ContractError(f"the plan of {plan.namespace}/{plan.job} takes {len(text)} bytes, at most {PLAN_LIMIT} are possible")
    return text


def decode_plan(text: str) -> Plan:
    """Read the value of `PLAN_VARIABLE`.

    Raises:
        ContractError: it is not a plan.
    """
    try:
        return msgspec.json.decode(text, type=Plan)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ContractError(f"{PLAN_VARIABLE} is not a plan: {error}") from error


def encode_report(report: Report, limit: int = MESSAGE_LIMIT) -> bytes:
    """Return the report as a termination message of at most `limit` bytes, shedding detail until it fits.

    Shed in this order: resolved arguments from the end, the traceback's head, then exception and hint, then all but the reason.
    """
    for candidate in _ever_shorter(report):
        encoded = msgspec.json.encode(candidate)
        if len(encoded) <= limit:
            return encoded
    raise ContractError(f"a report of kind {type(report).__name__} does not fit into {limit} bytes")


def decode_report(text: str, kind: type[ReportT]) -> ReportT:
    """Read a termination message that should be a report of `kind`.

    Raises:
        ContractError: it is longer than a kubelet keeps, not JSON, of another kind, or breaks a bound.
    """
    raw = text.encode("utf-8", "replace")
    if len(raw) > MESSAGE_LIMIT:
        raise ContractError(f"the message takes {len(raw)} bytes, at most {MESSAGE_LIMIT} are possible")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ContractError(f"the message is not a {kind.__name__}: {error}") from error


def _ever_shorter(report: Report) -> Iterator[Report]:
    yield report
    if isinstance(report, FetchReport) and report.resolved_args:
        for keep in (32, 16, 8, 4, 2, 1, 0):
            report = msgspec.structs.replace(report, resolved_args=report.resolved_args[:keep], resolved_args_cut=True)
            yield report
    if isinstance(report, FetchReport) and report.files:
        # Sixteen digits still tell any two contents apart that anybody has, and the operator knows the URIs itself.
        brief = tuple(Pinned(uri="", sha256=each.sha256[:16]) for each in report.files)
        for files in (brief, ()):
            report = msgspec.structs.replace(report, files=files)
            yield report
    failure = report.failure
    if failure is None:
        return
    for changes in (
        {"traceback": failure.traceback[-512:]},
        {"traceback": ""},
        {"traceback": "", "exception": failure.exception[:256], "hint": failure.hint[:256]},
        {"traceback": "", "exception": "", "hint": "", "message": failure.message[:256], "file": failure.file[:128]},
    ):
        yield msgspec.structs.replace(report, failure=msgspec.structs.replace(failure, **changes))
