"""The job file: the fields of a TFTrainingJob, as the custom resource definition has them, which a test compares with these."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from tftrainer.local.rules import (
    Argument,
    ClassName,
    CodeFolder,
    CodePath,
    Cpu,
    DnsName,
    InputName,
    InputUri,
    ManagerName,
    ModuleName,
    NodeKey,
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
from tftrainer.messages.contract import OnConflict, OnInactivity, Preflight, SuccessPolicy

API_VERSION: Final = "tftraining.dev/v1alpha1"
KIND: Final = "TFTrainingJob"
DAY: Final = 86_400
REPLICAS_LIMIT: Final = 100
TOTAL_LIMIT: Final = 48 * 1024
"""Bytes of arguments, environment and URIs together that the API takes."""

Seconds = Annotated[int, Meta(ge=1, le=10 * 366 * DAY)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Base of all parts of a job file: a field that is not one of these is a mistake."""


class Script(Part, frozen=True):
    """The Python program to run, named in exactly one way: `uri`, `inline` together with `name`, `path` or `module`."""

    uri: ObjectUri | None = None
    inline: Annotated[str, Meta(min_length=1, max_length=256 * 1024)] | None = None
    name: ScriptName | None = None
    path: CodePath | None = None
    module: ModuleName | None = None
    sha256: Sha256 | None = None

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.uri, self.inline, self.path, self.module)) != 1:
            raise ValueError(
                "exactly one of uri, inline, path and module is needed: where the script lies, the script itself, or its file or module in "
                "what dependencies bring"
            )
        if (self.inline is None) != (self.name is None):
            raise ValueError("inline needs name, such as train.py, and name is for inline scripts only")
        if self.sha256 is not None and self.uri is None:
            raise ValueError(
                "sha256 belongs to uri: an inline script is what it is, and what dependencies bring has its own digests in "
                "dependencies.archive.sha256 and dependencies.files[].sha256"
            )


class Archive(Part, frozen=True):
    """A zip of Python modules that the script imports."""

    uri: ObjectUri
    sha256: Sha256 | None = None


class File(Part, frozen=True):
    """An object, or a folder, that is copied beside the script."""

    uri: Uri
    into: CodeFolder | None = None
    sha256: Sha256 | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and self.uri.endswith("/"):
            raise ValueError("sha256 is for one object: leave it out for a folder (a uri that ends in /)")


class Dependencies(Part, frozen=True):
    """Code and files that the script needs beside itself."""

    archive: Archive | None = None
    files: Annotated[tuple[File, ...], Meta(max_length=64)] = ()
    requirements: Annotated[tuple[Requirement, ...], Meta(max_length=64)] = ()


class SecretKeyReference(Part, frozen=True):
    """A key of a Secret; here the environment gives the value, by the name of the variable."""

    name: DnsName
    key: SecretKey
    optional: bool = False


class VariableSource(Part, frozen=True):
    """Where a variable's value comes from."""

    secret_key_ref: SecretKeyReference


class Variable(Part, frozen=True):
    """One environment variable of the script."""

    name: VariableName
    value: Argument = ""
    value_from: VariableSource | None = None

    def __post_init__(self) -> None:
        if self.value and self.value_from is not None:
            raise ValueError("a variable has either value or valueFrom: remove one of them")


class Input(Part, frozen=True):
    """Data that is fetched before the script starts."""

    name: InputName
    uri: InputUri


class Output(Part, frozen=True):
    """What the script only writes: it is never fetched."""

    path: OutputPath
    on_conflict: OnConflict = OnConflict.KEEP


class ModelGate(Part, frozen=True):
    """The SavedModel that the script is to write."""

    path: OutputFolder
    required: bool = True


class Checkpoints(Part, frozen=True):
    """Where the script saves its progress."""

    path: OutputFolder
    interval_seconds: Annotated[int, Meta(ge=5, le=DAY)] = 60


class SecretReference(Part, frozen=True):
    """The Secret of a bucket; of no meaning without a cluster."""

    secret_name: DnsName | None = None


class Resources(Part, frozen=True):
    """What the script gets of a node; here `workspace` is kept to, and no file may be larger than it and `shared_memory`."""

    cpu: Cpu | None = None
    cpu_limit: Cpu | None = None
    memory: Size | None = None
    gpus: Annotated[int, Meta(ge=0, le=1024)] = 0
    gpu_resource: ResourceName | None = None
    shared_memory: Size | None = None
    workspace: Size | None = None

    def __post_init__(self) -> None:
        if self.cpu is not None and self.cpu_limit is not None and _cpus(self.cpu_limit) < _cpus(self.cpu):
            raise ValueError("resources.cpuLimit must be at least resources.cpu, which is reserved")


def _cpus(quantity: str | int) -> float:
    text = str(quantity)
    return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)


class Group(Part, frozen=True):
    """The replicas of one role."""

    count: Annotated[int, Meta(ge=1, le=REPLICAS_LIMIT)] = 1
    resources: Resources | None = None


class Chief(Part, frozen=True):
    """The replica that coordinates the others."""

    count: Annotated[int, Meta(ge=1, le=1)] = 1
    resources: Resources | None = None


class Evaluator(Part, frozen=True):
    """The replica that evaluates what the others save."""

    count: Annotated[int, Meta(ge=1, le=1)] = 1
    resources: Resources | None = None


class Replicas(Part, frozen=True):
    """Several pods that train together, by role; here there is one process."""

    chief: Chief | None = None
    worker: Group | None = None
    ps: Group | None = None
    evaluator: Evaluator | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(each.count for each in (self.chief, self.worker, self.ps, self.evaluator) if each is not None) or 1

    def __post_init__(self) -> None:
        if self.ps is not None and self.chief is None:
            raise ValueError("ps needs chief: parameter servers do what a chief tells them, and never end by themselves")
        if self.evaluator is not None and self.chief is None and self.worker is None:
            raise ValueError("evaluator needs chief or worker: it trains nothing, and evaluates what they save")
        if self.count > REPLICAS_LIMIT:
            raise ValueError(f"all counts together may be {REPLICAS_LIMIT} at most")


class Toleration(Part, frozen=True):
    """A taint that the job's pods may be put up with."""

    key: NodeKey
    operator: Literal["Exists", "Equal"] = "Equal"
    value: NodeValue = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    def __post_init__(self) -> None:
        if self.operator == "Exists" and self.value:
            raise ValueError("operator Exists tolerates the taint whatever its value is: leave value out, or operator")


class Scheduling(Part, frozen=True):
    """Where a cluster would run the job; of no meaning without one."""

    queue: QueueName | None = None
    priority_class_name: PriorityClassName | None = None
    node_selector: Annotated[dict[NodeKey, NodeValue], Meta(max_length=16)] | None = None
    tolerations: Annotated[tuple[Toleration, ...], Meta(max_length=16)] = ()


Times = Annotated[int, Meta(ge=0, le=100)]


class Retry(Part, frozen=True):
    """How often another attempt follows a failed one; without a cluster none does."""

    user_error: Times = 0
    infrastructure: Times = 3
    preemption: Times = 10
    storage: Times = 3
    out_of_memory: Times = 0
    memory_growth: Annotated[float, Meta(ge=1, le=4)] = 1.0


class Spec(Part, frozen=True):
    """What to train, with what, and within which bounds."""

    script: Script
    runtime: RuntimeName | None = None
    dependencies: Dependencies = Dependencies()
    args: Annotated[tuple[Argument, ...], Meta(max_length=256)] = ()
    env: Annotated[tuple[Variable, ...], Meta(max_length=128)] = ()
    inputs: Annotated[tuple[Input, ...], Meta(max_length=16)] = ()
    outputs: Annotated[tuple[Output, ...], Meta(max_length=16)] = ()
    model: ModelGate | None = None
    checkpoints: Checkpoints | None = None
    storage: SecretReference = SecretReference()
    datasets: SecretReference = SecretReference()
    resources: Resources = Resources()
    resource_class: ClassName | None = None
    scheduling: Scheduling = Scheduling()
    replicas: Replicas = Replicas()
    success_policy: SuccessPolicy | None = None
    retry: Retry = Retry()
    active_deadline_seconds: Seconds | None = None
    pending_deadline_seconds: Seconds | None = None
    inactivity_seconds: Annotated[int, Meta(ge=10, le=10 * 366 * DAY)] | None = None
    on_inactivity: OnInactivity | None = None
    preflight: Preflight | None = None
    pod_retention_seconds: Annotated[int, Meta(ge=0, le=10 * 366 * DAY)] | None = None
    ttl_seconds_after_finished: Annotated[int, Meta(ge=0, le=10 * 366 * DAY)] | None = None
    suspend: bool = False
    stop: bool = False
    termination_grace_period_seconds: Annotated[int, Meta(ge=0, le=DAY)] | None = None
    managed_by: ManagerName | None = None

    def __post_init__(self) -> None:
        for entries, field in ((self.env, "env"), (self.inputs, "inputs")):
            names = [entry.name for entry in entries]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{field} names {twice!r} twice, expected every name once")
        texts = [*self.args, *(part for each in self.env for part in (each.name, each.value)), *(each.uri for each in self.inputs)]
        texts += [
            *(each.path for each in self.outputs),
            *(text for each in self.dependencies.files for text in (each.uri, each.into or "")),
        ]
        total = sum(len(text.encode("utf-8", "replace")) for text in texts)
        if total > TOTAL_LIMIT:
            raise ValueError(
                f"args, env and the URIs of inputs, outputs and files take {total} bytes together, at most {TOTAL_LIMIT} are possible: "
                "put large values into a file of the bucket"
            )
        brings = self.dependencies.archive or self.dependencies.files or (self.script.module and self.dependencies.requirements)
        if (self.script.path or self.script.module) and not brings:
            raise ValueError(
                "script.path and script.module name something in what dependencies bring: dependencies.files or dependencies.archive is "
                "needed with them, or for a module dependencies.requirements"
            )
        if self.on_inactivity is not None and self.inactivity_seconds is None:
            raise ValueError("onInactivity says what is done after inactivitySeconds, which is missing: add it, or leave onInactivity out")
        if self.success_policy is SuccessPolicy.ALL_WORKERS and self.replicas.worker is None:
            raise ValueError("successPolicy: AllWorkers asks for workers: add replicas.worker, or leave successPolicy out")
        if self.replicas.evaluator is not None and self.checkpoints is None:
            raise ValueError(
                "replicas.evaluator evaluates what is saved in checkpoints.path, which is missing: add it, with the folder that the chief "
                "saves to, or leave the evaluator out"
            )
        own = self.resources
        if self.resource_class is not None and any((own.cpu, own.cpu_limit, own.memory, own.gpus, own.gpu_resource)):
            raise ValueError(
                "resourceClass is a size of its own: beside it resources may have workspace and sharedMemory alone. Leave resourceClass "
                "out, or resources.cpu, cpuLimit, memory, gpus and gpuResource"
            )

    def uris(self) -> tuple[tuple[str, str], ...]:
        """Return every URI of the job with the field that names it."""
        archive = self.dependencies.archive
        return (
            *((("spec.script.uri", self.script.uri),) if self.script.uri else ()),
            *((("spec.dependencies.archive.uri", archive.uri),) if archive else ()),
            *((f"spec.dependencies.files[{index}].uri", each.uri) for index, each in enumerate(self.dependencies.files)),
            *((f"spec.inputs[{index}].uri", each.uri) for index, each in enumerate(self.inputs)),
        )

    def uses_datasets(self) -> bool:
        """Whether anything names the dataset library."""
        texts = (*self.args, *(each.value for each in self.env), *(text for _, text in self.uris()))
        return any(f"${{{name}}}" in text for name in ("datasets", "ai_dataset_lib") for text in texts)


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """Name and namespace; whatever else Kubernetes keeps there is ignored."""

    name: DnsName
    namespace: DnsName = "default"


class JobFile(Part, frozen=True):
    """One TFTrainingJob. A `status`, as `kubectl get -o yaml` prints it, is ignored."""

    api_version: str
    kind: str
    metadata: Metadata
    spec: Spec
    status: Any = None
