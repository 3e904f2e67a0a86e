"""Every message between the operator and the containers of a pod, defined once.

The operator hands a `Plan` to each container (environment variable `PLAN_VARIABLE`); each container leaves one report as its
termination message: `FetchReport`, `RunReport` or `PublishReport`, JSON of at most `MESSAGE_LIMIT` bytes. The operator
treats reports as untrusted input: `decode_report` bounds and checks them and never raises anything but `ContractError`.

msgspec rather than pydantic: the launcher stands between the container's start and the user's first line, and msgspec
imports in a few milliseconds.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from tftrainer.messages.excerpt import excerpt

CONTRACT: Final = 6
"""The newest thing of a plan that this version knows: 2, code in a folder of its own (`Reference.into`), a script that the dependencies
bring (`Script.path`, `Script.module`), all of a bucket as an input; 3, `Plan.inactivity_seconds`; 4, `Plan.check_only`; 5, `Plan.peers`; 6,
the role `EVALUATOR`. An image that does not know them would take them for something else, or leave out what a job asks for."""
CHECK_CONTRACT: Final = 4
"""What an image has to know that is to check a job without running it."""
CONTRACT_OPTION: Final = "--contract="
"""What follows `fetch` on the command line of a pod whose plan needs more than 1; images of the first versions refuse any such word."""
USAGE_ERROR: Final = 64
"""Exit code of a phase that cannot do what it is told."""
PLAN_VARIABLE: Final = "TFTRAINING_PLAN"
SPEC_VARIABLE: Final = "TFTRAINING_SPEC"
"""The job's spec as JSON, defaults filled in and without an inline script, for the record that `publisher` leaves in the bucket."""
STORAGE_PREFIX: Final = "TFTRAINING_STORAGE_"
"""Prefix of the variables that carry the storage Secret: `<PREFIX><KEY>` for each key of `CREDENTIAL_KEYS`."""
DATASETS_PREFIX: Final = "TFTRAINING_DATASETS_"
"""The same for the Secret of the dataset library."""

REPORTS_VARIABLE: Final = "TFTRAINING_REPORTS"
"""URL that `publisher` sends each `LiveReport` to; not set where nobody takes them."""
REPORTS_AUDIENCE: Final = "tftraining.dev/reports"
"""Whom the token is for that comes with a report: it opens nothing else, not even the API server."""
REPORTS_TOKEN_FOLDER: Final = "/var/run/secrets/tftraining.dev"  # noqa: S105  where one lies
REPORTS_TOKEN_NAME: Final = "token"  # noqa: S105  the name of one

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

S3_SCHEMES: Final = ("s3://", "s3a://", "s3n://")
"""What an address of S3 begins with, as clients of it write them."""

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
HOSTED: Final = f"{WORKSPACE}/opt/ml"
"""What `/opt/ml` leads to in an image."""
TEMPORARY: Final = f"{WORKSPACE}/.tmp"
"""The script's temporary files: on the file system of its outputs, so that a file can be renamed into them."""
RUN_FOLDER: Final = f"{WORKSPACE}/.tftraining"
"""Written by the trainer container: `started` once the lock is held, `result.json` at the end. Data, never instructions."""

STARTED_NAME: Final = "started"
RESULT_NAME: Final = "result.json"
OPEN_NAME: Final = "open.json"
"""`OpenFiles`: written anew by the launcher, while the script runs, whenever it changes."""
ELSEWHERE_NAME: Final = "elsewhere.json"
"""`Elsewhere`: written by the launcher at the end."""

STACKS_NAME: Final = "stacks.log"
"""Where the threads of a script were that gave no sign of life: written by the launcher, beside the script's two streams."""

FINDINGS_NAME: Final = "findings.json"
"""`post_mortem.Findings`: written by the launcher at the end of a run that failed."""

NOTES_NAME: Final = "notes.json"
"""`RunNotes`: written anew by the launcher, while the script runs, whenever there is something to tell."""

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
NOTE_LIMIT: Final = 400
"""Characters of a note."""
NOTES_LIMIT: Final = 8
LOCAL_UID: Final = "local"
"""Stands for the uid that an API server gives: without a cluster, runs of the same job into the same bucket are its attempts."""
RESERVED: Final = ".tftraining"
"""The name, in every folder of a bucket, below which only the product writes."""
MANIFEST_NAME: Final = "manifest.json"
SAVED_MODEL: Final = "saved_model.pb"
GRAPHS: Final = frozenset({SAVED_MODEL, "saved_model.pbtxt"})
"""What makes a folder a SavedModel to a server that watches it: the last of its files to be put there."""
"""The graph of a SavedModel: the folder that holds it is one."""
LOGS_FOLDER: Final = "logs/"
CHIEF: Final = "chief"
WORKER: Final = "worker"
PS: Final = "ps"
EVALUATOR: Final = "evaluator"
"""The roles of replicas, by the names that TensorFlow has for them."""
OTHER_KERAS: Final = frozenset({"TF_USE_LEGACY_KERAS", "KERAS_BACKEND"})
"""Variables that give a script another Keras than its runtime's."""


def run_prefix(namespace: str, job: str, uid: str, attempt: int) -> str:
    """Key prefix, below the bucket's configured prefix, of all that the product itself keeps of one attempt."""
    return f"{job_prefix(namespace, job, uid)}attempt-{attempt}/"


def job_prefix(namespace: str, job: str, uid: str) -> str:
    """Key prefix of what it keeps of all attempts of one job."""
    return f"{RESERVED}/{namespace}/{job}/{uid}/"


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
    UNKNOWN_RESOURCE_CLASS = "UnknownResourceClass"
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
    SCRIPT_HUNG = "ScriptHung"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    PENDING_DEADLINE_EXCEEDED = "PendingDeadlineExceeded"
    # storage
    STORAGE_DENIED = "StorageAccessDenied"
    BUCKET_NOT_FOUND = "BucketNotFound"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    STORAGE_MISCONFIGURED = "StorageMisconfigured"
    PUBLISH_FAILED = "PublishFailed"
    OUTPUT_CONFLICT = "OutputConflict"
    # the package index
    PACKAGE_INDEX_UNAVAILABLE = "PackageIndexUnavailable"
    # the cluster
    PEERS_MISSING = "PeersMissing"
    PEER_LOST = "PeerLost"
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


OF_OUTPUTS: Final = frozenset({Reason.MODEL_MISSING, Reason.MODEL_UNLOADABLE, Reason.OUTPUT_CONFLICT})
"""What only the publisher can find: the script succeeded, but its outputs are not what the job asks for."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Base of all messages: immutable, camelCase on the wire, unknown fields ignored, defaults left out."""


Text = Annotated[str, Meta(max_length=1024)]
Line = Annotated[str, Meta(max_length=256)]
Key = Annotated[str, Meta(max_length=1200)]
Count = Annotated[int, Meta(ge=0, le=2**62)]


class OnConflict(enum.StrEnum):
    """What is done with an output where somebody else has written the same object while the job ran.

    `Keep` leaves theirs in its place and keeps ours in the run's own folder; `Fail` does so too and fails the job.
    """

    KEEP = "Keep"
    REPLACE = "Replace"
    FAIL = "Fail"


class SuccessPolicy(enum.StrEnum):
    """Whose success is that of a job of several replicas: `spec.successPolicy`."""

    CHIEF = "Chief"
    ALL_WORKERS = "AllWorkers"


class OnInactivity(enum.StrEnum):
    """What is done with a script that gives no sign of life for too long: it is told, and goes on, or ended, and the job fails."""

    REPORT = "Report"
    FAIL = "Fail"


class Preflight(enum.StrEnum):
    """Which jobs are checked by a pod without GPUs while they wait: those that ask for GPUs, all, or none."""

    AUTO = "Auto"
    ALWAYS = "Always"
    NEVER = "Never"

    def covers(self, *, gpus: int) -> bool:
        """Whether a job that asks for so many GPUs is checked if it has to wait."""
        return self is Preflight.ALWAYS or (self is Preflight.AUTO and gpus > 0)


class Output(Message, frozen=True):
    """An object or folder, `${bucket}/key`, that the script only writes."""

    path: str
    on_conflict: OnConflict = OnConflict.KEEP


class Reference(Message, frozen=True):
    """One object (or folder, with a trailing `/`) that the job names.

    `uri` is `s3://bucket/key` or `${bucket}/key`; `sha256` is the digest the user demands, 64 hex digits. `into` is, for a file, the
    folder below `CODE` that it is put into, or the contents of a folder are; empty: an object beside the script, a folder as one of its
    own name there.
    """

    uri: str
    sha256: str | None = None
    into: str = ""


class Script(Message, frozen=True):
    """The entry script: one object (`uri`), a file of what the dependencies bring (`path`), a module as for `python -m`, or inline.

    `name` is the path below `CODE` that the script runs from, empty for a module; an inline script lies in `INLINE_FOLDER` under it.
    """

    name: str = ""
    uri: str | None = None
    sha256: str | None = None
    path: str | None = None
    module: str | None = None

    @property
    def is_inline(self) -> bool:
        """Whether no object of a bucket holds the script."""
        return self.uri is None and not self.is_brought

    @property
    def is_brought(self) -> bool:
        """Whether the script lies in what the dependencies bring."""
        return self.path is not None or self.module is not None


class Input(Message, frozen=True):
    """A declared input: fetched to `INPUTS/<name>/` before the script starts."""

    name: str
    uri: str


class Variable(Message, frozen=True):
    """A variable of the script's environment, as the spec has it."""

    name: str
    value: str


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

    `args` are verbatim, placeholders unresolved; in URIs and paths of the bucket only the place at their beginning is left of them.
    `addresses` are the variables whose value is an address of S3. Times are seconds, sizes bytes. `implicit_fetch_bytes` bounds what is
    fetched only because an argument names it, `kept_bytes` what is kept of files outside of the bucket's folder, `workspace_bytes` what
    the script may store; `shared_memory_bytes` is the size of `/dev/shm`. `pins` is the code of earlier attempts: with other code,
    `fetch` refuses. `requirements` are packages, from the index at the URL `package_index`. After `fetch_seconds`, `fetch` gives up;
    None where the operator ends a pod that takes too long. `secret_variables` are the script's variables whose values come from
    Secrets. `inactivity_seconds` is for how long the script may give no sign of life, None for ever. `check_only` tells `fetch` that
    nothing is to run here: it fetches the code and checks the job. `checked_before` says that such a check may have been made while the
    job waited, so that the bucket may hold what it pinned.

    `role` and `index` say which replica of the job this pod is. `peers` are the addresses, `host:port`, of all replicas by role, in the
    order of their indices, its own among them; empty for a job of one. `peers_seconds` is how long it waits for their names to resolve.
    `plain_keras` says that no variable of the job chooses another Keras than the image's own.
    """

    namespace: str
    job: str
    uid: str
    runtime: str
    script: Script
    attempt: int = 0
    role: str = "chief"
    index: int = 0
    peers: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    peers_seconds: int = 600
    plain_keras: bool = False
    image: str = ""
    archive: Reference | None = None
    files: tuple[Reference, ...] = ()
    requirements: tuple[str, ...] = ()
    package_index: str = ""
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    args: tuple[str, ...] = ()
    addresses: tuple[Variable, ...] = ()
    secret_variables: tuple[str, ...] = ()
    grace_seconds: int = 30
    publish_seconds: int = 30
    fetch_seconds: int | None = None
    active_deadline_seconds: int | None = None
    inactivity_seconds: int | None = None
    on_inactivity: OnInactivity = OnInactivity.FAIL
    workspace_bytes: int = 10 * 1024**3
    shared_memory_bytes: int = 64 * 1024**2
    gpus: int = 0
    implicit_fetch_bytes: int = 2 * 1024**3
    kept_bytes: int = 1024**3
    pins: CodePins | None = None
    model: WantedModel | None = None
    checkpoints: WantedCheckpoints | None = None
    check_only: bool = False
    checked_before: bool = False

    @property
    def replica(self) -> str:
        """The replica's name: `worker-1`."""
        return f"{self.role}-{self.index}"

    @property
    def is_local(self) -> bool:
        """Whether no cluster has made the plan."""
        return self.uid == LOCAL_UID

    @property
    def leader(self) -> str:
        """The name of the replica that TensorFlow calls the chief, which has the job's outputs: without a chief, the first worker."""
        return f"{WORKER if self.peers and CHIEF not in self.peers else CHIEF}-0"

    @property
    def leads(self) -> bool:
        """Whether the replica is its group's leader, as one is that is alone."""
        return not self.peers or self.replica == self.leader

    @property
    def evaluates(self) -> bool:
        """Whether the replica trains nothing, and looks at what the leader has saved: its outputs are its own."""
        return bool(self.peers) and self.role == EVALUATOR


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


class NoteReason(enum.StrEnum):
    """What a note is about: the closed list that events use, so that nothing beside user code can forge another."""

    ARGUMENT_HINT = "ArgumentHint"
    PROCESS_OUT_OF_MEMORY = "ProcessOutOfMemory"
    LAST_LINE_PASSED = "LastLinePassed"
    SCRIPT_HUNG = "ScriptHung"


class Note(Message, frozen=True):
    """Something to tell the user while the job goes on: what it is about, and a sentence with the remedy."""

    reason: NoteReason
    message: Annotated[str, Meta(max_length=NOTE_LIMIT)]


Notes = Annotated[tuple[Note, ...], Meta(max_length=NOTES_LIMIT)]


class FetchReport(Message, frozen=True, tag="fetch", tag_field="kind"):
    """What `fetch` did. Without `failure`, everything the script needs lies in the workspace; of a check, it can be fetched.

    `script`, `archive` and `files` are the code, as in `CodePins`. `resolved_args` are the arguments as the script sees them; cut off
    when they would not fit (`resolved_args_cut`). `objects`, `bytes` and `seconds` are of all that is fetched, data too. `logs_uri`
    is where the logs will lie. `restored` says in words which checkpoint the script finds. `notes` are what may go wrong, though nothing
    is refused.
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
    notes: Notes = ()


class Usage(Message, frozen=True):
    """What a script has used of what it was given: seconds of CPU time, and the most of everything else, in bytes.

    `memory` is of all that runs in its container, without what can be taken back at any time because a disk has it too; looked at once a
    second. None where nobody could tell.
    """

    cpu_seconds: Annotated[float, Meta(ge=0, le=2**40)] = 0.0
    memory: Count | None = None
    memory_limit: Count | None = None
    workspace: Count | None = None
    shared_memory: Count | None = None


class RunReport(Message, frozen=True, tag="run", tag_field="kind"):
    """How the user's script ended. Written beside user code: believed only about itself.

    `exit_code` is the script's own, 128+n for signal n; `killed` tells that from a script that exits with such a code itself. Times
    are Unix seconds. `left_running` counts processes that the script left behind, which were killed; `logs_lost` says that the log
    files are not whole. `memory_kills` counts the processes that the kernel has killed for want of memory. Images of before have no
    `usage`.
    """

    exit_code: Annotated[int, Meta(ge=0, le=255)]
    failure: Failure | None = None
    started_at: Annotated[float, Meta(ge=0)] = 0.0
    finished_at: Annotated[float, Meta(ge=0)] = 0.0
    killed: bool = False
    left_running: Count = 0
    logs_lost: bool = False
    memory_kills: Count = 0
    usage: Usage | None = None


class RunNotes(Message, frozen=True):
    """What the launcher has to tell while the script runs, the newest last. Written beside user code: believed only as words."""

    notes: Notes = ()


class LiveReport(Message, frozen=True):
    """What the publisher tells the operator while the script runs; each replaces the last. `checkpoint` is the newest one in the bucket."""

    notes: Notes = ()
    checkpoint: Line = ""


class OpenFiles(Message, frozen=True):
    """Files of the workspace, by their paths below it, that the script's processes had open for writing at the last look.

    `looked_at` is when the script was looked at for the last time, in Unix seconds, if it may matter: what it has opened since, nobody saw.
    """

    paths: Annotated[tuple[str, ...], Meta(max_length=4096)] = ()
    looked_at: float | None = None


class FileElsewhere(Message, frozen=True):
    """A file that the script has written, by its path in its container, where nothing is published from."""

    path: Line
    size: Count = 0


class Elsewhere(Message, frozen=True):
    """What the script has written outside of the workspace, which ends with the pod: the largest by name, and how many in all."""

    files: Annotated[tuple[FileElsewhere, ...], Meta(max_length=64)] = ()
    count: Count = 0
    bytes: Count = 0


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
    was `skipped` holds data that is nowhere in the bucket. `kept` files lie in the run's own folder instead of under their keys. `note`
    says in sentences what the user has to know of the outputs. `checkpoint` says in words which checkpoint a later attempt will find.
    `post_mortem_uri` is set where the attempt failed, and there is something to read of it.
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
    kept: Count = 0
    note: Text = ""
    model: PublishedModel | None = None
    checkpoint: Line = ""
    post_mortem_uri: Key = ""


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

    Shed in this order: all notes but one, resolved arguments from the end, the last note, the digests of files, a model's signatures, the
    end of the publisher's note, the traceback's middle, then exception and hint, then all but the reason.
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
    shorter = report
    for shorter in _with_less_detail(report):
        yield shorter
    failure = shorter.failure
    if failure is None:
        return
    for changes in (
        {"traceback": excerpt(failure.traceback, 512, failure.file, failure.line)},
        {"traceback": ""},
        {"traceback": "", "exception": failure.exception[:256], "hint": failure.hint[:256]},
        {"traceback": "", "exception": "", "hint": "", "message": failure.message[:256], "file": failure.file[:128]},
    ):
        yield msgspec.structs.replace(shorter, failure=msgspec.structs.replace(failure, **changes))


def _with_less_detail(report: Report) -> Iterator[Report]:
    if isinstance(report, FetchReport) and report.notes:
        report = msgspec.structs.replace(report, notes=report.notes[:1])
        yield report
    if isinstance(report, FetchReport) and report.resolved_args:
        for keep in (32, 16, 8, 4, 2, 1, 0):
            report = msgspec.structs.replace(report, resolved_args=report.resolved_args[:keep], resolved_args_cut=True)
            yield report
    if isinstance(report, FetchReport) and report.notes:
        report = msgspec.structs.replace(report, notes=())
        yield report
    if isinstance(report, FetchReport) and report.files:
        # Sixteen digits still tell any two contents apart that anybody has, and the operator knows the URIs itself.
        brief = tuple(Pinned(uri="", sha256=each.sha256[:16]) for each in report.files)
        for files in (brief, ()):
            report = msgspec.structs.replace(report, files=files)
            yield report
    if isinstance(report, PublishReport) and report.model is not None:
        report = msgspec.structs.replace(report, model=msgspec.structs.replace(report.model, signatures=()))
        yield report
    if isinstance(report, PublishReport):
        for keep in (512, 256, 128):
            note = report.note if len(report.note) <= keep else f"{report.note[: keep - 1]}…"
            report = msgspec.structs.replace(report, note=note)
            yield report
