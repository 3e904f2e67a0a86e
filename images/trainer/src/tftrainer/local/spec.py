"""The job file: the fields of a TFTrainingJob, as the custom resource definition has them, which a test compares with these."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from tftrainer.local.rules import (
    Argument,
    Cpu,
    DnsName,
    InputName,
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

API_VERSION: Final = "tftraining.dev/v1alpha1"
KIND: Final = "TFTrainingJob"
DAY: Final = 86_400
TOTAL_LIMIT: Final = 48 * 1024
"""Bytes of arguments, environment and URIs together that the API takes."""

Seconds = Annotated[int, Meta(ge=1, le=10 * 366 * DAY)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Base of all parts of a job file: a field that is not one of these is a mistake."""


class Script(Part, frozen=True):
    """The Python program to run: either `uri`, or `inline` together with `name`."""

    uri: ObjectUri | None = None
    inline: Annotated[str, Meta(min_length=1, max_length=256 * 1024)] | None = None
    name: ScriptName | None = None
    sha256: Sha256 | None = None

    def __post_init__(self) -> None:
        if (self.uri is None) == (self.inline is None):
            raise ValueError("exactly one of uri and inline is needed: where the script lies, or the script itself")
        if (self.inline is None) != (self.name is None):
            raise ValueError("inline needs name, such as train.py, and name is for inline scripts only")
        if self.sha256 is not None and self.uri is None:
            raise ValueError("sha256 belongs to uri: an inline script is what it is")


class Archive(Part, frozen=True):
    """A zip of Python modules that the script imports."""

    uri: ObjectUri
    sha256: Sha256 | None = None


class File(Part, frozen=True):
    """An object, or a folder, that is copied beside the script."""

    uri: Uri
    sha256: Sha256 | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and self.uri.endswith("/"):
            raise ValueError("sha256 is for one object: leave it out for a folder (a uri that ends in /)")


class Dependencies(Part, frozen=True):
    """Code and files that the script needs beside itself."""

    archive: Archive | None = None
    files: Annotated[tuple[File, ...], Meta(max_length=64)] = ()
    requirements: Annotated[tuple[Requirement, ...], Meta(max_length=64)] = ()


class Variable(Part, frozen=True):
    """One environment variable of the script."""

    name: VariableName
    value: Argument = ""


class Input(Part, frozen=True):
    """Data that is fetched before the script starts."""

    name: InputName
    uri: Uri


class Output(Part, frozen=True):
    """What the script only writes: it is never fetched."""

    path: OutputPath


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
    memory: Size | None = None
    gpus: Annotated[int, Meta(ge=0, le=1024)] = 0
    gpu_resource: ResourceName | None = None
    shared_memory: Size | None = None
    workspace: Size | None = None


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
    active_deadline_seconds: Seconds | None = None
    pending_deadline_seconds: Seconds | None = None
    suspend: bool = False
    termination_grace_period_seconds: Annotated[int, Meta(ge=0, le=DAY)] | None = None

    def __post_init__(self) -> None:
        for entries, field in ((self.env, "env"), (self.inputs, "inputs")):
            names = [entry.name for entry in entries]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{field} names {twice!r} twice, expected every name once")
        texts = [*self.args, *(part for each in self.env for part in (each.name, each.value)), *(each.uri for each in self.inputs)]
        texts += [*(each.path for each in self.outputs), *(each.uri for each in self.dependencies.files)]
        total = sum(len(text.encode("utf-8", "replace")) for text in texts)
        if total > TOTAL_LIMIT:
            raise ValueError(
                f"args, env and the URIs of inputs, outputs and files take {total} bytes together, at most {TOTAL_LIMIT} are possible: "
                "put large values into a file of the bucket"
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
