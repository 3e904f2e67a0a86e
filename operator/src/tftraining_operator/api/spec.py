"""The spec of a TFTrainingJob: what a user writes. The descriptions are what `kubectl explain` prints."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from tftraining_operator.api.fields import (
    INLINE_LIMIT,
    TOTAL_LIMIT,
    Argument,
    Cpu,
    DnsName,
    InputName,
    Model,
    ObjectUri,
    OutputFolder,
    OutputPath,
    Requirement,
    ResourceName,
    RuntimeName,
    ScriptName,
    Sha256,
    Size,
    Uri,
    VariableName,
)
from tftraining_operator.api.rules import VALIDATIONS
from tftraining_operator.api.schema import PERSISTED_DEFAULT

DAY = 86_400
YEAR = 366 * DAY

Seconds = Annotated[int, Field(ge=1, le=10 * YEAR)]


def _atomic() -> dict[str, Any]:
    return {"x-kubernetes-list-type": "atomic"}


def _by_name() -> dict[str, Any]:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class Script(Model):
    """The Python program to run: either `uri`, or `inline` together with `name`."""

    uri: ObjectUri | None = Field(
        default=None,
        description=(
            "Where the script lies in the object store. s3://bucket/key, or ${bucket}/key for the bucket (and "
            "prefix) of the storage Secret. "
            "The script runs under its own file name. Example: s3://bucket/code/premade_estimator.py"
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
    sha256: Sha256 | None = Field(
        default=None,
        description="Digest that the object at uri must have, 64 hexadecimal digits. With another content the job fails before it starts.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.uri is None) == (self.inline is None):
            raise PydanticCustomError("rule", ONE_SOURCE)
        if (self.inline is None) != (self.name is None):
            raise PydanticCustomError("rule", INLINE_NAME)
        if self.sha256 is not None and self.uri is None:
            raise PydanticCustomError("rule", INLINE_DIGEST)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rules = [
            {"rule": "has(self.uri) != has(self.inline)", "message": ONE_SOURCE},
            {"rule": "has(self.inline) == has(self.name)", "message": INLINE_NAME},
            {"rule": "!has(self.sha256) || has(self.uri)", "message": INLINE_DIGEST},
        ]
        return {**handler.resolve_ref_schema(handler(schema)), VALIDATIONS: rules}


ONE_SOURCE = "exactly one of script.uri and script.inline is needed: where the script lies, or the script itself"
INLINE_NAME = "script.inline needs script.name, such as train.py, and script.name is for inline scripts only"
INLINE_DIGEST = "script.sha256 belongs to script.uri: an inline script is what it is"


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

    uri: Uri = Field(description="s3://bucket/key or ${bucket}/key; a / at the end means the whole folder. Example: s3://bucket/code/conf/")
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
        description="Objects and folders that are copied into the script's folder, which is also its working directory. At most 64.",
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
            "Its value, as it is written; only the placeholders of args are replaced. Put no secrets here. At most 2048 characters."
        ),
    )


class Input(Model):
    """Data that is fetched before the script starts."""

    name: InputName = Field(
        description="Name by which args and env refer to it: ${inputs.NAME} is its local path. Unique in the job. Example: mnist"
    )
    uri: Uri = Field(
        description="Object or folder (with a / at the end): s3://bucket/key, ${bucket}/key or ${datasets}/key. Example: ${bucket}/mnist/"
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


class ModelGate(Model):
    """The SavedModel that the script is to write, checked before the job counts as succeeded."""

    path: OutputFolder = Field(
        description=(
            "Folder of the bucket that the script exports its SavedModel to, or versions of it in folders with a number for name: "
            "the newest that the run wrote is loaded on a CPU, as a server would. Example: ${bucket}/tf_model"
        )
    )
    required: bool = Field(
        default=True,
        description=(
            "true, the default: without a model the job fails as ModelMissing, with one that does not load as ModelUnloadable. "
            "false: status.model.verified says whether it loads."
        ),
    )


class Checkpoints(Model):
    """Where the script saves its progress, so that another attempt goes on instead of starting over."""

    path: OutputFolder = Field(
        description=(
            "Folder of the bucket that the script saves checkpoints to and looks for them in. Before each attempt it holds the newest "
            "whole state of it; while the script runs, each new one is uploaded, whole or not at all. Example: ${bucket}/checkpoints"
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


class Spec(Model):
    """What to train, with what, and within which bounds.

    Everything but suspend, activeDeadlineSeconds and pendingDeadlineSeconds is fixed at creation: a changed run is a new job.
    """

    runtime: RuntimeName | None = Field(
        default=None,
        description=(
            "Name of an entry of the operator's runtime catalogue. As installed: tf1 (TensorFlow 2.15 with the version-1 API), "
            "tf2 (TensorFlow 2). Default: the operator's configuration, as installed tf2."
        ),
    )
    script: Script = Field(description="The Python program to run: either uri, or inline together with name.")
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
    active_deadline_seconds: Seconds | None = Field(
        default=None,
        description=(
            "Seconds that the script may run; then it is told to stop (SIGTERM), what it wrote is published, and the job fails as "
            "DeadlineExceeded. Counted anew after suspend. May be changed; what has started already keeps the deadline that it began with, "
            "unless the new one is shorter. Default: no limit. Example: 86400"
        ),
    )
    pending_deadline_seconds: Seconds | None = Field(
        default=None,
        description=(
            "Seconds from creation or resume until the script must be running; then the job fails as PendingDeadlineExceeded with what it "
            "was waiting for. May be changed. Default: the operator's configuration, as installed 3600."
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
    termination_grace_period_seconds: int | None = Field(
        default=None,
        ge=0,
        le=DAY,
        description=(
            "Seconds between SIGTERM and SIGKILL when the script is stopped. Publishing gets its own time on top. "
            "Default: the operator's configuration, as installed 30."
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
        return self

    def stored_bytes(self) -> int:
        """Return the bytes that arguments, environment and URIs take together."""
        texts = [
            *self.args,
            *(part for variable in self.env for part in (variable.name, variable.value)),
            *(entry.uri for entry in self.inputs),
            *(entry.path for entry in self.outputs),
            *(file.uri for file in self.dependencies.files),
        ]
        return sum(len(text.encode("utf-8", "replace")) for text in texts)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rules = [*_declared_inputs_rules(), _total_rule(), *_immutability_rules()]
        return {**handler.resolve_ref_schema(handler(schema)), VALIDATIONS: rules}


TOO_MUCH = (
    f"args, env and the URIs of inputs, outputs and files may take {TOTAL_LIMIT} bytes together: put large values into a file of the bucket"
)
MUTABLE = frozenset({"suspend", "active_deadline_seconds", "pending_deadline_seconds"})


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
        "(has(self.dependencies) && has(self.dependencies.files) ? self.dependencies.files.map(f, size(bytes(f.uri))).sum() : 0)",
    ]
    return {"rule": f"{' + '.join(parts)} <= {TOTAL_LIMIT}", "message": TOO_MUCH}


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
                    "only suspend, activeDeadlineSeconds and pendingDeadlineSeconds can be changed"
                ),
                "fieldPath": f".{wire}",
            }
        )
    return rules
