"""What an admin configures of jobs: runtimes, defaults and bounds. Read once at start (`settings`), frozen afterwards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
Quantity = Annotated[str, Field(pattern=QUANTITY_PATTERN)]


class Frozen(BaseModel):
    """Base of all configuration: immutable, camelCase in the file, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Toleration(Frozen):
    """A toleration as Kubernetes defines it, put on every pod of the runtime."""

    key: str = ""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class Runtime(Frozen):
    """One entry of the runtime catalogue: the image of a trainer and what an admin adds to every pod made of it."""

    image: str = Field(min_length=1)
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    description: str = ""


class Resources(Frozen):
    """What a trainer container gets where the job does not say: Kubernetes quantities."""

    cpu: Quantity = "1"
    memory: Quantity = "2560Mi"
    workspace: Quantity = "10Gi"
    shared_memory: Quantity = "64Mi"


class Defaults(Frozen):
    """What a job gets where it does not say. Times are seconds."""

    resources: Resources = Resources()
    gpu_resource: str = "nvidia.com/gpu"
    storage_secret_name: str = "tftraining-storage"  # noqa: S105  the name of one
    datasets_secret_name: str = "tftraining-datasets"  # noqa: S105  the name of one
    pending_deadline_seconds: int = Field(default=3600, ge=1)
    termination_grace_period_seconds: int = Field(default=30, ge=0)


class PackageIndex(Frozen):
    """Where jobs may install packages from: the URL of an index (PEP 503); without one, nowhere. It is shown to users: no secrets in it."""

    url: str = Field(default="", max_length=1024, pattern=r"^(https?://[^\s/@?#]+(/[^\s@?#]*)?)?$")


class Configuration(Frozen):
    """All that `decide` needs to know of the installation. `implicit_fetch_bytes` bounds what an argument alone makes fetched."""

    default_runtime: str
    runtimes: dict[str, Runtime] = Field(min_length=1)
    defaults: Defaults = Defaults()
    implicit_fetch_bytes: int = Field(default=2 * 1024**3, ge=0)
    package_index: PackageIndex = PackageIndex()
