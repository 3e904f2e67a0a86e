"""What an admin configures of jobs: runtimes, defaults and bounds. Read once at start (`settings`), frozen afterwards."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from tftrainer.messages.contract import Preflight

from tftraining_operator.api.fields import Cpu, DnsName, ResourceName, Size
from tftraining_operator.api.quantities import amount, exact

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
_MOST = 2**62
"""What a plan can carry as a number of bytes."""


def _countable(quantity: str) -> str:
    if amount(quantity) >= _MOST:
        raise ValueError(f"{quantity} is too much, expected less than {_MOST // 1024**4}Ti")
    return quantity


def _digits(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[str, Field(pattern=QUANTITY_PATTERN), AfterValidator(_countable)]
_Size = Annotated[Size, AfterValidator(_countable)]


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
    """What a trainer container gets where the job does not say: Kubernetes quantities. An empty `cpu_limit` is none."""

    cpu: Quantity = "1"
    cpu_limit: Quantity | Literal[""] = ""
    memory: Quantity = "2560Mi"
    workspace: Quantity = "10Gi"
    shared_memory: Quantity = "64Mi"


class ResourceClass(Frozen):
    """A named size that a job may have instead of resources of its own: what its script gets of a node, and of which nodes.

    What is empty is as in `Defaults`. `images` has, by the name of a runtime, the image that takes the place of the runtime's own, as the
    one for GPUs. Labels of nodes go before those of a runtime, tolerations are added to its own. `resource_claim_template` names one in
    the job's namespace: then the devices are those of its claim, and `gpus` says how many of them are GPUs.
    """

    cpu: Cpu
    cpu_limit: Cpu | Literal[""] = ""
    memory: _Size
    workspace: _Size | Literal[""] = ""
    shared_memory: _Size | Literal[""] = ""
    gpus: int = Field(default=0, ge=0, le=1024)
    gpu_resource: ResourceName | Literal[""] = ""
    resource_claim_template: DnsName | Literal[""] = ""
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    images: dict[str, str] = Field(default_factory=dict)
    description: str = ""

    @model_validator(mode="after")
    def _limit_is_no_less(self) -> Self:
        if self.cpu_limit and exact(self.cpu_limit) < exact(self.cpu):
            raise ValueError(f"cpuLimit is {self.cpu_limit}, expected at least cpu, which is {self.cpu} and reserved")
        return self

    @model_validator(mode="after")
    def _devices_by_one_way(self) -> Self:
        if self.gpu_resource and self.resource_claim_template:
            raise ValueError(
                f"gpuResource is {self.gpu_resource} beside resourceClaimTemplate {self.resource_claim_template}, expected one of them: a "
                "claim gives the GPUs itself"
            )
        return self


class Defaults(Frozen):
    """What a job gets where it does not say. Times are seconds."""

    resources: Resources = Resources()
    gpu_resource: str = "nvidia.com/gpu"
    storage_secret_name: str = "tftraining-storage"  # noqa: S105  the name of one
    datasets_secret_name: str = "tftraining-datasets"  # noqa: S105  the name of one
    pending_deadline_seconds: int = Field(default=3600, ge=1)
    termination_grace_period_seconds: int = Field(default=30, ge=0)
    pod_retention_seconds: int = Field(default=86400, ge=0)
    preflight: Preflight = Preflight.AUTO


class Outputs(Frozen):
    """What becomes of files that a script writes outside of the bucket's folder: of them all, how many bytes are kept; 0 keeps none."""

    keep_outside_bucket: Annotated[Quantity, BeforeValidator(_digits)] = "1Gi"


class Retries(Frozen):
    """Bounds of what jobs ask for with `spec.retry`. An empty `max_memory`, which memory grows to at most, is none."""

    max_memory: Quantity | Literal[""] = ""


def _unbounded(value: Any) -> Any:
    return None if value == "" else value


class Maxima(Frozen):
    """What one job may ask for at most, times in seconds; `retries` is of each budget. What is empty (None, as a number) is no bound."""

    cpu: Quantity | Literal[""] = ""
    memory: Quantity | Literal[""] = ""
    workspace: Quantity | Literal[""] = ""
    gpus: Annotated[int | None, Field(ge=0), BeforeValidator(_unbounded)] = None
    active_deadline_seconds: Annotated[int | None, Field(ge=1), BeforeValidator(_unbounded)] = None
    ttl_seconds_after_finished: Annotated[int | None, Field(ge=0), BeforeValidator(_unbounded)] = None
    retries: Annotated[int | None, Field(ge=0), BeforeValidator(_unbounded)] = None


class Scheduling(Frozen):
    """What jobs may name in `spec.scheduling`: names of PriorityClasses, keys of nodes' labels and of taints. Empty: none."""

    allowed_priority_classes: tuple[str, ...] = ()
    allowed_node_selector_keys: tuple[str, ...] = ()
    allowed_toleration_keys: tuple[str, ...] = ()


class Kueue(Frozen):
    """Whether jobs may wait in queues of Kueue (`spec.scheduling.queue`): the operator has rights on its objects only then."""

    enabled: bool = False


class PackageIndex(Frozen):
    """Where jobs may install packages from: the URL of an index (PEP 503); without one, nowhere. It is shown to users: no secrets in it."""

    url: str = Field(default="", max_length=1024, pattern=r"^(https?://[^\s/@?#]+(/[^\s@?#]*)?)?$")


class Configuration(Frozen):
    """All that `decide` needs to know of the installation.

    `implicit_fetch_bytes` bounds what an argument alone makes fetched. `reports_url` is where pods find this operator's `/v1/reports`,
    empty where they are to report nothing while a script runs.
    """

    default_runtime: str
    runtimes: dict[str, Runtime] = Field(min_length=1)
    resource_classes: dict[str, ResourceClass] = Field(default_factory=dict)
    defaults: Defaults = Defaults()
    implicit_fetch_bytes: int = Field(default=2 * 1024**3, ge=0)
    outputs: Outputs = Outputs()
    retries: Retries = Retries()
    maxima: Maxima = Maxima()
    scheduling: Scheduling = Scheduling()
    kueue: Kueue = Kueue()
    package_index: PackageIndex = PackageIndex()
    reports_url: str = Field(default="", max_length=1024, pattern=r"^(http://[^\s/]+/\S*)?$")

    @property
    def node_labels(self) -> frozenset[str]:
        """The labels of nodes that pods may be made to ask for."""
        places: tuple[Runtime | ResourceClass, ...] = (*self.runtimes.values(), *self.resource_classes.values())
        return frozenset(self.scheduling.allowed_node_selector_keys).union(*(each.node_selector for each in places))
