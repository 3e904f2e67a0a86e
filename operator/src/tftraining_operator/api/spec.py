"""The spec of a TFTrainingJob: what a user writes. The descriptions are what `kubectl explain` prints."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError
from tftrainer.messages.contract import OnConflict, OnInactivity, Preflight, SuccessPolicy

from tftraining_operator.api.fields import (
    INLINE_LIMIT,
    TOTAL_LIMIT,
    Argument,
    ClassName,
    CodeFolder,
    CodePath,
    Cpu,
    DnsName,
    InputName,
    InputUri,
    ManagerName,
    Model,
    ModuleName,
    NodeKey,
    NodeSelector,
    NodeValue,
    ObjectUri,
    OutputFolder,
    OutputPath,
    PriorityClassName,
    QueueName,
    Requirement,
    ResourceName,
    RuntimeName,
    ScriptName,
    SecretKey,
    Sha256,
    Size,
    Uri,
    VariableName,
)
from tftraining_operator.api.quantities import exact
from tftraining_operator.api.rules import VALIDATIONS
from tftraining_operator.api.schema import PERSISTED_DEFAULT

DAY = 86_400
YEAR = 366 * DAY

LEAST_INACTIVITY = 10
"""Seconds: a healthy script may well do nothing for a moment."""

Seconds = Annotated[int, Field(ge=1, le=10 * YEAR)]


def _atomic() -> dict[str, Any]:
    return {"x-kubernetes-list-type": "atomic"}


def _by_name() -> dict[str, Any]:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class Script(Model):
    """The Python program to run, named in exactly one way: `uri`, `inline` together with `name`, `path` or `module`."""

    uri: ObjectUri | None = Field(
        default=None,
        description=(
            "Where the script lies in the object store. s3://bucket/key, or ${bucket}/key for the bucket (and "
            "prefix) of the storage Secret. "
            "The script runs under its own file name; where a folder of dependencies.files holds it, at its place in that folder. "
            "Example: s3://bucket/code/premade_estimator.py"
        ),
    )
    inline: str | None = Field(
        default=None,
        min_length=1,
        max_length=INLINE_LIMIT,
        description="The script itself, at most 256 KiB; needs name. It is kept in a ConfigMap beside the pod: put no secrets into it.",
    )
    name: ScriptName | None = Field(
        default=None, description="File name of the inline script, ending in .py. Only together with inline. Example: predict.py"
    )
    path: CodePath | None = Field(
        default=None,
        description=(
            "Instead of uri: the script's path in what dependencies bring, files or an archive, which is unpacked for it. It runs as "
            "python PATH does in that folder. Example: src/train.py"
        ),
    )
    module: ModuleName | None = Field(
        default=None,
        description=(
            "Instead of uri: a module of what dependencies bring, run as python -m does in that folder, so that its relative imports "
            "work; an archive is unpacked for it. Example: package.train"
        ),
    )
    sha256: Sha256 | None = Field(
        default=None,
        description="Digest that the object at uri must have, 64 hexadecimal digits. With another content the job fails before it starts.",
    )

    @property
    def is_brought(self) -> bool:
        """Whether the script lies in what the dependencies bring."""
        return self.path is not None or self.module is not None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(each is not None for each in (self.uri, self.inline, self.path, self.module)) != 1:
            raise PydanticCustomError("rule", ONE_SOURCE)
        if (self.inline is None) != (self.name is None):
            raise PydanticCustomError("rule", INLINE_NAME)
        if self.sha256 is not None and self.uri is None:
            raise PydanticCustomError("rule", INLINE_DIGEST)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rules = [
            {"rule": "[has(self.uri), has(self.inline), has(self.path), has(self.module)].exists_one(x, x)", "message": ONE_SOURCE},
            {"rule": "has(self.inline) == has(self.name)", "message": INLINE_NAME},
            {"rule": "!has(self.sha256) || has(self.uri)", "message": INLINE_DIGEST},
        ]
        return {**handler.resolve_ref_schema(handler(schema)), VALIDATIONS: rules}


ONE_SOURCE = (
    "exactly one of script.uri, script.inline, script.path and script.module is needed: where the script lies, the script itself, or its "
    "file or module in what dependencies bring"
)
INLINE_NAME = "script.inline needs script.name, such as train.py, and script.name is for inline scripts only"
INLINE_DIGEST = (
    "script.sha256 belongs to script.uri: an inline script is what it is, and what dependencies bring has its own digests in "
    "dependencies.archive.sha256 and dependencies.files[].sha256"
)


class Archive(Model):
    """A zip of Python modules that the script imports."""

    uri: ObjectUri = Field(
        description=(
            "Where the zip lies: s3://bucket/key or ${bucket}/key. It is put on the module path, extracted if it "
            "holds data files or native "
            "libraries. Example: s3://bucket/code/iris.zip"
        )
    )
    sha256: Sha256 | None = Field(default=None, description="Digest that the zip must have, 64 hexadecimal digits.")


class File(Model):
    """An object, or a folder, that is copied beside the script."""

    uri: Uri = Field(
        description=(
            "s3://bucket/key or ${bucket}/key; a / at the end means the whole folder, without .git, .hg, .svn and __pycache__ in it. "
            "Example: s3://bucket/code/conf/"
        )
    )
    into: CodeFolder | None = Field(
        default=None,
        description=(
            "Folder of the script's working directory that the object, or what the folder holds, is put into; . is that directory itself. "
            "Default: an object is put beside the script, and of s3://bucket/code/conf/ a folder conf is made there; but what a folder "
            "holds that holds script.uri too is put into the working directory. Example: conf"
        ),
    )
    sha256: Sha256 | None = Field(default=None, description="Digest that the object must have; not for a folder.")

    @model_validator(mode="after")
    def _no_digest_of_folder(self) -> Self:
        if self.sha256 is not None and self.uri.endswith("/"):
            raise PydanticCustomError("rule", FOLDER_DIGEST)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rules = [{"rule": "!has(self.sha256) || !self.uri.endsWith('/')", "message": FOLDER_DIGEST}]
        return {**handler.resolve_ref_schema(handler(schema)), VALIDATIONS: rules}


FOLDER_DIGEST = "sha256 is for one object: leave it out for a folder (a uri that ends in /)"


class Dependencies(Model):
    """Code and files that the script needs beside itself."""

    archive: Archive | None = Field(default=None, description="A zip of Python modules that the script imports.")
    files: tuple[File, ...] = Field(
        default=(),
        max_length=64,
        json_schema_extra=_atomic(),
        description="Objects and folders that are copied into the script's working directory, beside the script. At most 64.",
    )
    requirements: tuple[Requirement, ...] = Field(
        default=(),
        max_length=64,
        json_schema_extra=_atomic(),
        description=(
            "Packages that are installed before the start, from the index that the admin allows (packageIndex.url of the chart; without "
            "one, none can be). Only wheels; the image's own packages keep their versions unless named here. At most 64. "
            "Example: nltk==3.9.1"
        ),
    )


class SecretKeyReference(Model):
    """A key of a Secret in the job's namespace, spelt as in the environment of a pod."""

    name: DnsName = Field(description="Name of the Secret, in the job's own namespace. Example: wandb")
    key: SecretKey = Field(description="The key in it whose value the variable gets. Example: apiKey")
    optional: bool = Field(
        default=False,
        description="true: where Secret or key is missing, the script starts without the variable. Default: false, it waits for them.",
    )


class VariableSource(Model):
    """Where a variable's value comes from."""

    secret_key_ref: SecretKeyReference = Field(
        description=(
            "A key of a Secret in the job's namespace. Only the script gets its value: nothing else of the job reads it, and it is in no "
            "status, event or record."
        )
    )


class Variable(Model):
    """One environment variable of the script."""

    name: VariableName = Field(
        description=(
            "Name of the variable: letters, digits and _. Reserved, and refused: LD_*, AWS_*, MINIO_*, "
            "KUBERNETES_*, TFTRAINING_*, TF_CONFIG, "
            "PATH, HOME, PYTHONPATH and other PYTHON* that change how Python starts. Example: TF_CPP_MIN_LOG_LEVEL"
        )
    )
    value: Argument = Field(
        default="",
        description=(
            "Its value, as it is written; only the placeholders of args are replaced. Put no secrets here, but in valueFrom. At most 2048 "
            "characters."
        ),
    )
    value_from: VariableSource | None = Field(
        default=None, description="Where its value comes from, instead of value: for passwords, tokens and API keys."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.value and self.value_from is not None:
            raise PydanticCustomError("rule", ONE_VALUE)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rules = [{"rule": "!has(self.valueFrom) || !has(self.value) || self.value == ''", "message": ONE_VALUE}]
        return {**handler.resolve_ref_schema(handler(schema)), VALIDATIONS: rules}


ONE_VALUE = "a variable has either value or valueFrom: remove one of them"


class Input(Model):
    """Data that is fetched before the script starts."""

    name: InputName = Field(
        description="Name by which args and env refer to it: ${inputs.NAME} is the local folder with it. Unique in the job. Example: mnist"
    )
    uri: InputUri = Field(
        description=(
            "Object or folder (with a / at the end): s3://bucket/key, ${bucket}/key or ${datasets}/key; with nothing but the / "
            "after the bucket, all that it holds. Example: ${bucket}/mnist/"
        )
    )


class Output(Model):
    """What the script only writes: it is never fetched."""

    path: OutputPath = Field(
        description=(
            "Object or folder of the bucket that the script writes and does not read. What an earlier run has left there stays in the "
            "bucket, and is not fetched for an argument that names it, or a folder that it lies in. No wildcards. "
            "Example: ${bucket}/tf_model"
        )
    )
    on_conflict: OnConflict = Field(
        default=OnConflict.KEEP,
        description=(
            "What is done with a file where somebody else has written the same object while the job ran, so that it is not the one that "
            "was there (or not there) before the start. Keep: theirs stays, this run's is kept in the run's own folder of the bucket, and "
            "status.message names it. Replace: this run's takes its place. Fail: as Keep, and the job fails as OutputConflict. Of several "
            "entries the narrowest counts; a file in none of them is treated as with Keep. Default: Keep."
        ),
    )


class ModelGate(Model):
    """The SavedModel that the script is to write, checked before the job counts as succeeded."""

    path: OutputFolder = Field(
        description=(
            "Folder of the bucket that the script exports its SavedModel to, or versions of it in folders with a number for name: "
            "the newest that the run wrote is loaded on a CPU, as a server would. What the script wrote in the folder is put there only "
            "after that; else it is kept in the run's own folder of the bucket. Example: ${bucket}/tf_model"
        )
    )
    required: bool = Field(
        default=True,
        description=(
            "true, the default: without a model the job fails as ModelMissing, with one that does not load as ModelUnloadable. "
            "false: the job does not fail for it; status.model.verified says whether it loads."
        ),
    )


class Checkpoints(Model):
    """Where the script saves its progress, so that another attempt goes on instead of starting over."""

    path: OutputFolder = Field(
        description=(
            "Folder of the bucket that the script saves checkpoints to and looks for them in. Before each attempt it holds the newest "
            "whole state of it; while the script runs, each new one is uploaded, whole or not at all. It may lie within "
            "model.path, but not be the same. "
            "Example: ${bucket}/checkpoints"
        )
    )
    interval_seconds: int = Field(
        default=60,
        ge=5,
        le=DAY,
        description="Seconds from one upload to the next, if there is something new. Default: 60.",
    )


class StorageReference(Model):
    """The Secret of the bucket that a job reads from and writes to."""

    secret_name: DnsName | None = Field(
        default=None,
        description=(
            "Name of a Secret in the job's namespace with the keys endpoint, bucket, accessKey, secretKey and, "
            "if needed, region, prefix, addressing and "
            "caCertificate. Default: the operator's configuration, as installed tftraining-storage."
        ),
    )


class DatasetsReference(Model):
    """The Secret of the read-only dataset library."""

    secret_name: DnsName | None = Field(
        default=None,
        description=(
            "Name of a Secret in the job's namespace with the same keys as the storage Secret. Needed only by a "
            "job that names ${datasets} or "
            "${ai_dataset_lib}. Default: the operator's configuration, as installed tftraining-datasets."
        ),
    )


class Resources(Model):
    """What the script gets of a node."""

    cpu: Cpu | None = Field(
        default=None,
        description=(
            "CPUs to reserve: 2, 500m. More is used while the node has it idle. Default: the operator's configuration, as installed 1."
        ),
    )
    cpu_limit: Cpu | None = Field(
        default=None,
        description=(
            "CPUs that the script may use at most, no fewer than cpu. For namespaces whose quota counts limits.cpu; elsewhere leave it "
            "out, so that what a node has idle is used. Default: the operator's configuration, as installed none. Example: 2"
        ),
    )
    memory: Size | None = Field(
        default=None,
        description=(
            "Memory, reserved and limit at once; beyond it the job fails as OutOfMemory. Default: as installed 2560Mi. Example: 4Gi"
        ),
    )
    gpus: int = Field(
        default=0,
        ge=0,
        le=1024,
        json_schema_extra={PERSISTED_DEFAULT: 0},
        description="Number of whole GPUs, none by default. Example: 1",
    )
    gpu_resource: ResourceName | None = Field(
        default=None,
        description="Name under which the nodes offer GPUs. Default: as installed nvidia.com/gpu. Example: nvidia.com/mig-1g.10gb",
    )
    shared_memory: Size | None = Field(
        default=None,
        description="Size of /dev/shm, part of memory; for data loaders with many processes. Default: as installed 64Mi. Example: 1Gi",
    )
    workspace: Size | None = Field(
        default=None,
        description=(
            "Disk space for everything that is fetched and written under /workspace; beyond it the job fails as WorkspaceFull. "
            "Default: as installed 10Gi. Example: 50Gi"
        ),
    )

    @model_validator(mode="after")
    def _limit_is_no_less(self) -> Self:
        if self.cpu is not None and self.cpu_limit is not None and exact(self.cpu_limit) < exact(self.cpu):
            raise PydanticCustomError("rule", LIMIT_BELOW)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        def quantity(field: str) -> str:
            return f"quantity(string(self.{field}))"

        both = "has(self.cpu) && has(self.cpuLimit)"
        well_formed = "isQuantity(string(self.cpu)) && isQuantity(string(self.cpuLimit))"
        rule = f"!({both} && {well_formed}) || !{quantity('cpuLimit')}.isLessThan({quantity('cpu')})"
        return {**handler.resolve_ref_schema(handler(schema)), VALIDATIONS: [{"rule": rule, "message": LIMIT_BELOW}]}


LIMIT_BELOW = "resources.cpuLimit must be at least resources.cpu, which is reserved"


REPLICAS_LIMIT = 100
"""Pods of one attempt."""


class Group(Model):
    """The replicas of one role."""

    count: int = Field(default=1, ge=1, le=REPLICAS_LIMIT, description="How many there are. Default: 1.")
    resources: Resources | None = Field(
        default=None,
        description=(
            "What the script of each gets of its node, instead of spec.resources, all fields of it. Example: {cpu: 2} for parameter "
            "servers beside workers with GPUs"
        ),
    )


class Chief(Group):
    """The replica that coordinates the others and whose outputs are published."""

    count: int = Field(default=1, ge=1, le=1, description="There is one chief at most. Default: 1.")


class Evaluator(Group):
    """The replica that evaluates what the chief saves, and trains nothing."""

    count: int = Field(default=1, ge=1, le=1, description="There is one evaluator at most. Default: 1.")


class Replicas(Model):
    """The pods of one attempt by role, each of which runs the same script with a TF_CONFIG of its own."""

    chief: Chief | None = Field(
        default=None,
        description=(
            "Coordinates the others, and publishes what it writes. Strategies of TensorFlow 2 that reduce among workers need none: there "
            "worker 0 does so."
        ),
    )
    worker: Group | None = Field(default=None, description="Workers, which train. Example: {count: 2}")
    ps: Group | None = Field(
        default=None,
        description=(
            "Parameter servers, for ParameterServerStrategy and Estimators; they need a chief, and are ended when the job has succeeded."
        ),
    )

    evaluator: Evaluator | None = Field(
        default=None,
        description=(
            "Evaluates what the chief, or worker 0, saves in checkpoints.path: new checkpoints come into its own folder while it runs. "
            "What it writes is published too. When the job's success is decided, it has 15 minutes to end by itself. If it fails before, "
            "the attempt has failed."
        ),
    )

    @property
    def groups(self) -> dict[str, Group]:
        """The replicas by role, of the roles that there are."""
        every: dict[str, Group | None] = {"chief": self.chief, "worker": self.worker, "ps": self.ps, "evaluator": self.evaluator}
        return {role: group for role, group in every.items() if group is not None}

    @property
    def count(self) -> int:
        """How many pods an attempt has: where nothing is said, the one chief."""
        return sum(each.count for each in self.groups.values()) or 1

    @model_validator(mode="after")
    def _can_train(self) -> Self:
        if self.ps is not None and self.chief is None:
            raise PydanticCustomError("rule", NO_CHIEF)
        if self.evaluator is not None and self.chief is None and self.worker is None:
            raise PydanticCustomError("rule", NOTHING_TO_EVALUATE)
        if self.count > REPLICAS_LIMIT:
            raise PydanticCustomError("rule", TOO_MANY_REPLICAS)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        count = "(has(self.{0}) ? (has(self.{0}.count) ? self.{0}.count : 1) : 0)"
        counted = " + ".join(count.format(role) for role in ("chief", "worker", "ps", "evaluator"))
        rules = [
            {"rule": "!has(self.ps) || has(self.chief)", "message": NO_CHIEF},
            {"rule": "!has(self.evaluator) || has(self.chief) || has(self.worker)", "message": NOTHING_TO_EVALUATE},
            {"rule": f"{counted} <= {REPLICAS_LIMIT}", "message": TOO_MANY_REPLICAS},
        ]
        return {**handler.resolve_ref_schema(handler(schema)), VALIDATIONS: rules}


NO_CHIEF = "replicas.ps needs replicas.chief: parameter servers do what a chief tells them, and never end by themselves"
NOTHING_TO_EVALUATE = "replicas.evaluator needs replicas.chief or replicas.worker: it trains nothing, and evaluates what they save"
TOO_MANY_REPLICAS = f"replicas: all counts together may be {REPLICAS_LIMIT} at most"


class Toleration(Model):
    """A taint that the job's pods may be put up with, spelt as in a pod."""

    key: NodeKey = Field(description="Key of the taint, one that the admin allows jobs to tolerate. Example: nvidia.com/gpu")
    operator: Literal["Exists", "Equal"] = Field(
        default="Equal", description="Exists: whatever the taint's value is. Equal: only one with that value. Default: Equal."
    )
    value: NodeValue = Field(default="", description="Value of the taint, with Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint: NoSchedule, PreferNoSchedule or NoExecute. Default: any."
    )

    @model_validator(mode="after")
    def _value_of_equal(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise PydanticCustomError("rule", EXISTS_VALUE)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rule = "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''"
        return {**handler.resolve_ref_schema(handler(schema)), VALIDATIONS: [{"rule": rule, "message": EXISTS_VALUE}]}


EXISTS_VALUE = "operator Exists tolerates the taint whatever its value is: leave value out, or operator"


class Scheduling(Model):
    """Where, when, and before whom, the job's pods are put, within what the admin allows."""

    queue: QueueName | None = Field(
        default=None,
        description=(
            "LocalQueue of Kueue, in the job's namespace, in which each attempt waits until all of its pods have quota at once; "
            "pendingDeadlineSeconds begins only then. The admin has to switch queues on (kueue.enabled of the chart). Default: none, the "
            "pods wait for nodes alone. Example: team-a"
        ),
    )
    priority_class_name: PriorityClassName | None = Field(
        default=None,
        description=(
            "PriorityClass of the job's pods, one that the admin allows (scheduling.allowedPriorityClasses of the chart, as installed "
            "none). Default: the cluster's own. Example: training-high"
        ),
    )
    node_selector: NodeSelector | None = Field(
        default=None,
        description=(
            "Labels that the job's nodes must have, beside those of its runtime and resource class; keys that the admin allows "
            "(scheduling.allowedNodeSelectorKeys of the chart, as installed none). At most 16. Example: {topology.kubernetes.io/zone: a}"
        ),
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(),
        max_length=16,
        json_schema_extra=_atomic(),
        description=(
            "Taints that the job's pods tolerate, beside those that its runtime and resource class do; keys that the admin allows "
            "(scheduling.allowedTolerationKeys of the chart, as installed none). At most 16."
        ),
    )


class Budget(enum.StrEnum):
    """What a retry is taken from: the fields of `spec.retry` that count."""

    USER_ERROR = "userError"
    INFRASTRUCTURE = "infrastructure"
    PREEMPTION = "preemption"
    STORAGE = "storage"
    OUT_OF_MEMORY = "outOfMemory"


Times = Annotated[int, Field(ge=0, le=100)]


class Retry(Model):
    """How often a failed attempt is followed by another one, by what it failed of. Each kind of failure has a budget of its own."""

    user_error: Times = Field(
        default=0,
        description=(
            "Retries after the script itself has failed. The same exception at the same line is not tried a third time, whatever is left. "
            "Default: 0."
        ),
    )
    infrastructure: Times = Field(
        default=3, description="Retries after a node was lost or drained, or the pod was deleted or evicted. Default: 3."
    )
    preemption: Times = Field(default=10, description="Retries after a pod of higher priority took the job's place. Default: 10.")
    storage: Times = Field(
        default=3, description="Retries after the object store did not answer, or the outputs could not be published. Default: 3."
    )
    out_of_memory: Times = Field(default=0, description="Retries after the script needed more memory than it had. Default: 0.")
    memory_growth: float = Field(
        default=1.0,
        ge=1,
        le=4,
        description=(
            "By what memory and sharedMemory of the next attempt are multiplied after each one that had too little, the memory up to "
            "retries.maxMemory of the chart. Only with outOfMemory. Default: 1, the same memory. Example: 1.5"
        ),
    )

    def of(self, budget: Budget) -> int:
        """Return how many retries a budget has."""
        return {
            Budget.USER_ERROR: self.user_error,
            Budget.INFRASTRUCTURE: self.infrastructure,
            Budget.PREEMPTION: self.preemption,
            Budget.STORAGE: self.storage,
            Budget.OUT_OF_MEMORY: self.out_of_memory,
        }[budget]

    def named(self, budget: Budget) -> int | None:
        """Return how many retries the job itself gives a budget, None where it says nothing of it."""
        return self.of(budget) if any(Retry.model_fields[name].alias == budget for name in self.model_fields_set) else None


class Spec(Model):
    """What to train, with what, and within which bounds.

    Everything but suspend, stop, deadlines, retention and TTL is fixed at creation: a changed run is a new job.
    """

    runtime: RuntimeName | None = Field(
        default=None,
        description=(
            "Name of an entry of the operator's runtime catalogue. As installed: tf1 (TensorFlow 2.15 with the version-1 API), "
            "tf2 (TensorFlow 2). Default: the operator's configuration, as installed tf2."
        ),
    )
    script: Script = Field(
        description="The Python program to run, named in exactly one way: uri, inline together with name, path or module."
    )
    dependencies: Dependencies = Field(default=Dependencies(), description="Code and files that the script needs beside itself.")
    args: tuple[Argument, ...] = Field(
        default=(),
        max_length=256,
        json_schema_extra=_atomic(),
        description=(
            "The script's arguments, one string per word (numbers in quotes), never through a shell. Placeholders become local paths: "
            "${bucket} or ${cos} (the bucket; "
            "what is written there is published), ${datasets} or ${ai_dataset_lib} (the dataset library, "
            "read-only), ${inputs.NAME}; ${job} and "
            "${attempt} are the job's name and attempt number; $${ is a literal ${. What an argument names and "
            "exists (object, folder, pattern, name of a checkpoint) is fetched before the "
            'start. At most 256, of 2048 characters each. Example: ["--train_path", "${datasets}/demo/train.csv"]'
        ),
    )
    env: tuple[Variable, ...] = Field(
        default=(), max_length=128, json_schema_extra=_by_name(), description="Environment variables of the script. At most 128."
    )
    inputs: tuple[Input, ...] = Field(
        default=(),
        max_length=16,
        json_schema_extra=_by_name(),
        description="Data to fetch before the script starts, each to its own read-only folder ${inputs.NAME}. At most 16.",
    )
    outputs: tuple[Output, ...] = Field(
        default=(),
        max_length=16,
        json_schema_extra=_atomic(),
        description=(
            "What the script only writes. Without it, what exists at an argument under ${bucket} is fetched, also what earlier runs have "
            "left there. At most 16."
        ),
    )
    model: ModelGate | None = Field(
        default=None,
        description="The SavedModel that the script is to write, checked before the job counts as succeeded. Default: none is expected.",
    )
    checkpoints: Checkpoints | None = Field(
        default=None,
        description="Where the script saves its progress, so that another attempt goes on instead of starting over. Default: nowhere.",
    )
    storage: StorageReference = Field(
        default=StorageReference(), description="The bucket that the job reads from and writes to, given by a Secret."
    )
    datasets: DatasetsReference = Field(
        default=DatasetsReference(), description="The read-only dataset library behind ${datasets}, given by a Secret."
    )
    resources: Resources = Field(
        default=Resources(),
        json_schema_extra={PERSISTED_DEFAULT: {}},
        description="What the script gets of a node: CPUs, memory, GPUs, disk space.",
    )
    resource_class: ClassName | None = Field(
        default=None,
        description=(
            "Instead of resources: a named size of the operator's catalogue, which has CPUs, memory, GPUs and the nodes that have them. Of "
            "resources only workspace and sharedMemory may stand beside it. status.resources says what it gives. Default: none. "
            "Example: v100-x1"
        ),
    )
    scheduling: Scheduling = Field(
        default=Scheduling(), description="Where, and before whom, the job's pods are put, within what the admin allows."
    )
    replicas: Replicas = Field(
        default=Replicas(),
        description=(
            "Several pods that train together, by role: the script runs in each of them, with TF_CONFIG as tf.distribute and Estimators "
            "read it. When one fails, all are ended, and an attempt is a new start of all. Default: one chief, without TF_CONFIG. "
            "Example: {worker: {count: 2}}"
        ),
    )
    success_policy: SuccessPolicy | None = Field(
        default=None,
        description=(
            "When a job of several replicas has succeeded. Chief: when the chief has, or worker 0 where there is none; the others are "
            "ended then. AllWorkers: when it and all workers have; parameter servers are ended then. Default: Chief."
        ),
    )
    retry: Retry = Field(default=Retry(), description="How often a failed attempt is followed by another one, by what it failed of.")
    active_deadline_seconds: Seconds | None = Field(
        default=None,
        description=(
            "Seconds that the script may run, in all attempts together, without waiting, fetching and publishing; then it is told to stop "
            "(SIGTERM), what it wrote is published, and the job fails as DeadlineExceeded. May be changed; what has started already keeps "
            "the deadline that it began with, unless the new one is shorter. Default: what the admin allows, as installed no limit. "
            "Example: 86400"
        ),
    )
    pending_deadline_seconds: Seconds | None = Field(
        default=None,
        description=(
            "Seconds from creation or resume until the script must be running; then the job fails as PendingDeadlineExceeded with what it "
            "was waiting for. May be changed. Default: the operator's configuration, as installed 3600."
        ),
    )
    inactivity_seconds: int | None = Field(
        default=None,
        ge=LEAST_INACTIVITY,
        le=10 * YEAR,
        description=(
            "Seconds for which the script may give no sign of life: nothing printed, no file written, less than 1 % of one core used. Then "
            "where its threads stand goes to the log and the bucket, and what onInactivity says is done. At least 10. Default: for ever. "
            "Example: 1800"
        ),
    )
    on_inactivity: OnInactivity | None = Field(
        default=None,
        description=(
            "What is done with a script that gives no sign of life for inactivitySeconds. Fail: it is ended, what it wrote is published, "
            "and the job fails as ScriptHung with the line at which it stood. Report: an event and status.message say so, and it goes on. "
            "Default: Fail."
        ),
    )
    preflight: Preflight | None = Field(
        default=None,
        description=(
            "Which jobs that cannot start within 10 s are checked meanwhile, by a small pod without GPUs that does what is done before "
            "every start, and runs nothing: Auto, those that ask for GPUs; Always, all; Never, none. What it finds wrong for certain "
            "ends the job at once; what may come right before the start is told. The code that it finds is what runs. Default: the "
            "operator's configuration, as installed Auto."
        ),
    )
    pod_retention_seconds: int | None = Field(
        default=None,
        ge=0,
        le=10 * YEAR,
        description=(
            "Seconds that a pod stays after it has ended, for kubectl logs; what was published of its log stays in the bucket. May be "
            "changed. Default: the operator's configuration, as installed 86400."
        ),
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=10 * YEAR,
        description=(
            "Seconds after its end that the job itself is deleted, with its pods; what it has published stays in the bucket. Not for jobs "
            "that a tool keeps applied, as with GitOps: it would create the job anew, which trains again. May be changed. Default: the job "
            "stays until somebody deletes it, unless the admin bounds that. Example: 604800"
        ),
    )
    suspend: bool = Field(
        default=False,
        json_schema_extra={PERSISTED_DEFAULT: False},
        description=(
            "true stops the job and frees what it holds: the script gets SIGTERM, what it wrote is published, the pod goes, the job stays. "
            "false again starts the next attempt. May be changed at any time."
        ),
    )
    stop: bool = Field(
        default=False,
        description=(
            "true ends the job for good: the script gets SIGTERM, what it wrote is published, the pod goes, no attempt follows, and the "
            "job ends as Stopped. May be set at any time, and not be taken back. Default: false."
        ),
    )
    termination_grace_period_seconds: int | None = Field(
        default=None,
        ge=0,
        le=DAY,
        description=(
            "Seconds between SIGTERM and SIGKILL when the script is stopped. Publishing gets its own time on top. "
            "Default: the operator's configuration, as installed 30."
        ),
    )
    managed_by: ManagerName | None = Field(
        default=None,
        description=(
            "Which controller runs the job. Any other than tftraining.dev/operator, such as kueue.x-k8s.io/multikueue, makes the operator "
            "leave the job alone: it makes no pod, writes no status and deletes nothing of it. Default: tftraining.dev/operator."
        ),
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        for entries, field in ((self.env, "env"), (self.inputs, "inputs")):
            names = [entry.name for entry in entries]
            if len(set(names)) != len(names):
                raise PydanticCustomError("rule", "{field}: every name must be unique", {"field": field})
        if self.stored_bytes() > TOTAL_LIMIT:
            raise PydanticCustomError("rule", TOO_MUCH)
        brings = self.dependencies.archive or self.dependencies.files or (self.script.module and self.dependencies.requirements)
        if self.script.is_brought and not brings:
            raise PydanticCustomError("rule", NOTHING_BROUGHT)
        if self.on_inactivity is not None and self.inactivity_seconds is None:
            raise PydanticCustomError("rule", NO_INACTIVITY)
        if self.success_policy is SuccessPolicy.ALL_WORKERS and self.replicas.worker is None:
            raise PydanticCustomError("rule", NO_WORKERS)
        if self.replicas.evaluator is not None and self.checkpoints is None:
            raise PydanticCustomError("rule", NOTHING_SAVED)
        if self.resource_class is not None and any(getattr(self.resources, name) for name in CLASS_GIVES):
            raise PydanticCustomError("rule", CLASS_AND_RESOURCES)
        return self

    def own_resources(self, role: str) -> Resources | None:
        """Return the resources that the replicas of a role have of their own, which neither those of the job nor its class are for."""
        group = self.replicas.groups.get(role)
        return group.resources if group is not None else None

    def stored_bytes(self) -> int:
        """Return the bytes that arguments, environment and URIs take together."""
        texts = [
            *self.args,
            *(part for variable in self.env for part in (variable.name, variable.value)),
            *(entry.uri for entry in self.inputs),
            *(entry.path for entry in self.outputs),
            *(text for file in self.dependencies.files for text in (file.uri, file.into or "")),
        ]
        return sum(len(text.encode("utf-8", "replace")) for text in texts)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        together = (_total_rule(), _brought_rule(), _inactivity_rule(), _class_rule(), _policy_rule(), _evaluator_rule())
        rules = [*_declared_inputs_rules(), *together, _stop_rule(), *_immutability_rules()]
        return {**handler.resolve_ref_schema(handler(schema)), VALIDATIONS: rules}


TOO_MUCH = (
    f"args, env and the URIs of inputs, outputs and files may take {TOTAL_LIMIT} bytes together: put large values into a file of the bucket"
)
NOTHING_BROUGHT = (
    "script.path and script.module name something in what dependencies bring: dependencies.files or dependencies.archive is needed with "
    "them, or for a module dependencies.requirements"
)
NO_INACTIVITY = "onInactivity says what is done after inactivitySeconds, which is missing: add it, or leave onInactivity out"
NO_WORKERS = "successPolicy: AllWorkers asks for workers, and replicas.worker is missing: add it, or leave successPolicy out"
NOTHING_SAVED = (
    "replicas.evaluator evaluates what is saved in checkpoints.path, and checkpoints is missing: add it, with the folder that the chief "
    "saves to, or leave the evaluator out"
)
CLASS_GIVES = ("cpu", "cpu_limit", "memory", "gpus", "gpu_resource")
"""Fields of `resources` that a resource class takes the place of."""
CLASS_AND_RESOURCES = (
    "resourceClass is a size of its own: beside it resources may have workspace and sharedMemory alone. Leave resourceClass out, or "
    "resources.cpu, cpuLimit, memory, gpus and gpuResource"
)
MUTABLE = frozenset(
    {"suspend", "stop", "active_deadline_seconds", "pending_deadline_seconds", "pod_retention_seconds", "ttl_seconds_after_finished"}
)
_MUTABLE_WORDS = "suspend, stop, activeDeadlineSeconds, pendingDeadlineSeconds, podRetentionSeconds and ttlSecondsAfterFinished"


def _declared_inputs_rules() -> list[dict[str, str]]:
    """Return the rules that refuse `${inputs.NAME}` of an input that is not declared; other placeholders are checked per item.

    Counted, because counting fits the API server's cost bound: as many input placeholders as there are of declared inputs. A text
    with a literal `$${` is left to the pod, where the same is checked exactly.
    """
    rules = []
    for field, text, present in (("args", "a", ""), ("env", "a.value", "has(a.value) && ")):
        counted = f"self.inputs.map(i, size({text}.split('${{inputs.' + i.name + '}}')) - 1).sum()"
        unknown = (
            f"{present}{text}.contains('${{inputs.') && !{text}.contains('$${{') && "
            f"(!has(self.inputs) || {counted} != size({text}.split('${{inputs.')) - 1)"
        )
        rule = {
            "rule": f"!has(self.{field}) || !self.{field}.exists(a, {unknown})",
            "message": f"{field} names an input that is not declared: every ${{inputs.NAME}} needs an entry in spec.inputs",
            "fieldPath": f".{field}",
        }
        if field == "args":
            # The same message for a variable would exceed the cost bound: there the server cannot bound what a filter finds.
            rule["messageExpression"] = (
                f"self.args.filter(a, {unknown})[0] + ' names an input that is not declared: every ${{inputs.NAME}} needs an entry "
                "in spec.inputs'"
            )
        rules.append(rule)
    return rules


def _total_rule() -> dict[str, str]:
    parts = [
        "(has(self.args) ? self.args.map(a, size(bytes(a))).sum() : 0)",
        "(has(self.env) ? self.env.map(e, size(e.name) + (has(e.value) ? size(bytes(e.value)) : 0)).sum() : 0)",
        "(has(self.inputs) ? self.inputs.map(i, size(bytes(i.uri))).sum() : 0)",
        "(has(self.outputs) ? self.outputs.map(o, size(bytes(o.path))).sum() : 0)",
        "(has(self.dependencies) && has(self.dependencies.files) ? "
        "self.dependencies.files.map(f, size(bytes(f.uri)) + (has(f.into) ? size(bytes(f.into)) : 0)).sum() : 0)",
    ]
    return {"rule": f"{' + '.join(parts)} <= {TOTAL_LIMIT}", "message": TOO_MUCH}


def _brought_rule() -> dict[str, str]:
    def some(field: str) -> str:
        return f"has(self.dependencies.{field}) && size(self.dependencies.{field}) > 0"

    brings = f"has(self.dependencies.archive) || {some('files')} || has(self.script.module) && {some('requirements')}"
    return {
        "rule": f"!(has(self.script.path) || has(self.script.module)) || has(self.dependencies) && ({brings})",
        "message": NOTHING_BROUGHT,
        "fieldPath": ".script",
    }


def _inactivity_rule() -> dict[str, str]:
    return {"rule": "!has(self.onInactivity) || has(self.inactivitySeconds)", "message": NO_INACTIVITY, "fieldPath": ".onInactivity"}


def _policy_rule() -> dict[str, str]:
    return {
        "rule": "!has(self.successPolicy) || self.successPolicy != 'AllWorkers' || has(self.replicas) && has(self.replicas.worker)",
        "message": NO_WORKERS,
        "fieldPath": ".successPolicy",
    }


def _evaluator_rule() -> dict[str, str]:
    return {
        "rule": "!has(self.replicas) || !has(self.replicas.evaluator) || has(self.checkpoints)",
        "message": NOTHING_SAVED,
        "fieldPath": ".replicas",
    }


def _class_rule() -> dict[str, str]:
    wires = [Resources.model_fields[name].alias for name in CLASS_GIVES if name != "gpus"]
    # The server itself stores that no GPUs are asked for.
    given = " || ".join([*(f"has(self.resources.{wire})" for wire in wires), "has(self.resources.gpus) && self.resources.gpus > 0"])
    return {
        "rule": f"!has(self.resourceClass) || !has(self.resources) || !({given})",
        "message": CLASS_AND_RESOURCES,
        "fieldPath": ".resourceClass",
    }


def _stop_rule() -> dict[str, str]:
    return {
        "rule": "!(has(oldSelf.stop) && oldSelf.stop) || (has(self.stop) && self.stop)",
        "message": "stop cannot be taken back: the job has ended by it, or is about to. To run it again, create a new TFTrainingJob",
        "fieldPath": ".stop",
    }


def _immutability_rules() -> list[dict[str, str]]:
    rules = []
    for name, field in Spec.model_fields.items():
        if name in MUTABLE:
            continue
        wire = field.alias or name
        rules.append(
            {
                "rule": f"has(self.{wire}) == has(oldSelf.{wire}) && (!has(self.{wire}) || self.{wire} == oldSelf.{wire})",
                "message": (
                    f"{wire} cannot be changed after creation: what ran would no longer be what is written. Create a new TFTrainingJob; "
                    f"only {_MUTABLE_WORDS} can be changed"
                ),
                "fieldPath": f".{wire}",
            }
        )
    return rules
