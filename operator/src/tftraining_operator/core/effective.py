"""A spec with the configuration's defaults filled in: what the pod of a job is made of, and what messages name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tftrainer.messages.contract import Preflight

from tftraining_operator.api.quantities import amount, exact
from tftraining_operator.api.spec import CLASS_GIVES, Spec
from tftraining_operator.api.spec import Resources as ResourcesWanted
from tftraining_operator.core.configuration import Configuration, ResourceClass, Runtime, Toleration
from tftraining_operator.core.configuration import Resources as ResourcesGiven
from tftraining_operator.core.names import CHIEF
from tftraining_operator.core.records import Place

_MOST_MEMORY: Final = 2**60
_MOST_TIMES: Final = 100
SIDE_REQUESTS: Final = {"cpu": "50m", "memory": "64Mi"}
"""What `publisher` reserves beside the script, and `fetch` before it."""
SIDE_VOLUMES: Final = ("state", "tmp-fetch", "tmp-publisher")
"""Volumes that hold nothing of the script's, each of a fixed size."""
_BY_CLASS: Final = frozenset(filter(None, (ResourcesWanted.model_fields[name].alias for name in CLASS_GIVES)))
SIDE_CPU: Final = "1"
"""The CPU limit of `fetch` and `publisher` in a pod that has to have some: a quota counts the publisher's beside the script's."""


@dataclass(frozen=True, slots=True)
class Effective:
    """A spec with the configuration's defaults filled in. Times are seconds, sizes bytes unless they are quantities.

    Resources are those of one replica of `role`. `active_seconds` is for how long its scripts may run in all attempts together, None
    for ever; `ran_seconds` of that are used. `bounded` tells that it is what an admin gives a job at most. `asked` are the job's
    resources as it names them, or as its class does; `node_selector` and `tolerations` are those of all that has a say in where its pod
    runs; of one label the admin's word goes before. `claim_template` is the ResourceClaimTemplate of which its pod gets its devices,
    empty for none. `place` is what its place in a queue adds to all that.
    """

    spec: Spec
    role: str
    runtime_name: str
    runtime: Runtime
    asked: ResourcesWanted
    node_selector: Mapping[str, str]
    tolerations: tuple[Toleration, ...]
    claim_template: str
    cpu: str
    cpu_limit: str
    memory: str
    workspace: str
    shared_memory: str
    gpu_resource: str
    storage_secret: str
    datasets_secret: str
    grace_seconds: int
    pending_seconds: int
    preflight: Preflight
    active_seconds: int | None
    bounded: bool
    ran_seconds: int = 0
    place: Place = field(default_factory=Place)

    @property
    def gpus(self) -> int:
        """How many GPUs the script gets."""
        return self.asked.gpus

    @property
    def devices(self) -> dict[str, int]:
        """What the pod takes of a node's devices, by the name under which the node offers them; of a claim, the claim knows."""
        return {self.gpu_resource: self.gpus} if self.gpus and not self.claim_template else {}

    def field(self, name: str) -> str:
        """Return the field of the spec by which the job has got its `cpu`, `memory`, `gpus` or the like."""
        if self._by_class(name):
            return "spec.resourceClass"
        return f"spec.resources.{name}" if self.spec.own_resources(self.role) is None else f"spec.replicas.{self.role}.resources.{name}"

    def more(self, name: str) -> str:
        """Return how the job gets more of it."""
        return f"name a larger {self.field(name)}" if self._by_class(name) else f"raise {self.field(name)}"

    def _by_class(self, name: str) -> bool:
        return self.spec.resource_class is not None and name in _BY_CLASS and self.spec.own_resources(self.role) is None

    @property
    def active_seconds_left(self) -> int | None:
        """For how long the script may run in the attempt to come, or in the one that there is; None for ever."""
        return None if self.active_seconds is None else max(self.active_seconds - self.ran_seconds, 0)

    @property
    def active_words(self) -> str:
        """Return what bounds the time of running, and how much of that earlier attempts took."""
        if self.active_seconds is None:
            return "the deadline that it began with"
        earlier = f", of which earlier attempts took {self.ran_seconds} s" if self.ran_seconds else ""
        field = "maxima.activeDeadlineSeconds of the chart" if self.bounded else "spec.activeDeadlineSeconds"
        return f"{field} ({self.active_seconds}){earlier}"

    @property
    def more_time(self) -> str:
        """Return how a job gets more time of running."""
        return "ask an admin to raise it, then create the job again" if self.bounded else "raise spec.activeDeadlineSeconds in a new job"

    @property
    def workspace_bytes(self) -> int:
        """Bytes that the script may store."""
        return amount(self.workspace)

    @property
    def uses_datasets(self) -> bool:
        """Whether anything names the dataset library, so that its credentials are needed."""
        return any(f"${{{name}}}" in text for name in ("datasets", "ai_dataset_lib") for text in _texts_with_placeholders(self.spec))


def effective(
    spec: Spec,
    configuration: Configuration,
    runtime_name: str,
    runtime: Runtime,
    size: ResourceClass | None = None,
    kept: ResourcesWanted | None = None,
    role: str = CHIEF,
) -> Effective:
    """Return the spec with defaults filled in, as a replica of that role has it.

    `size` is the class that the job names, `kept` what that gave the attempt that there is, whatever the class has become meanwhile.
    """
    if spec.own_resources(role) is not None:
        size = kept = None
    wanted, given = kept or _asked(spec, size, role), configuration.defaults
    cpu, cpu_limit = _cpus(wanted, given.resources)
    image = size.images.get(runtime_name) if size is not None else None
    own = spec.scheduling.tolerations
    asked, most = spec.active_deadline_seconds, configuration.maxima.active_deadline_seconds
    return Effective(
        spec=spec,
        role=role,
        runtime_name=runtime_name,
        runtime=runtime.model_copy(update={"image": image}) if image is not None else runtime,
        asked=wanted,
        node_selector=(spec.scheduling.node_selector or {}) | runtime.node_selector | (size.node_selector if size is not None else {}),
        tolerations=(
            *runtime.tolerations,
            *(size.tolerations if size is not None else ()),
            *(Toleration(key=each.key, operator=each.operator, value=each.value, effect=each.effect or "") for each in own),
        ),
        claim_template=size.resource_claim_template if size is not None else "",
        cpu=cpu,
        cpu_limit=cpu_limit,
        memory=wanted.memory or given.resources.memory,
        workspace=wanted.workspace or given.resources.workspace,
        shared_memory=wanted.shared_memory or given.resources.shared_memory,
        gpu_resource=wanted.gpu_resource or given.gpu_resource,
        storage_secret=spec.storage.secret_name or given.storage_secret_name,
        datasets_secret=spec.datasets.secret_name or given.datasets_secret_name,
        grace_seconds=_either(spec.termination_grace_period_seconds, given.termination_grace_period_seconds),
        pending_seconds=_either(spec.pending_deadline_seconds, given.pending_deadline_seconds),
        preflight=spec.preflight or given.preflight,
        active_seconds=least(asked, most),
        bounded=most is not None and (asked is None or asked > most),
    )


def sizes(wanted: Effective) -> dict[str, Any]:
    """Return what the script gets of a node, spelt as in `spec.resources`."""
    limit = {"cpuLimit": wanted.cpu_limit} if wanted.cpu_limit else {}
    gpus: dict[str, Any] = {"gpus": wanted.gpus} if wanted.gpus else {}
    gpus |= {"gpuResource": wanted.gpu_resource} if wanted.devices else {}
    room = {"memory": wanted.memory, "workspace": wanted.workspace, "sharedMemory": wanted.shared_memory}
    return {"cpu": wanted.cpu, **limit, **room, **gpus}


def told(wanted: Effective) -> str:
    """Return what a class gives a pod, as the pod is to tell of it; empty where the job has none."""
    return wanted.asked.model_dump_json(by_alias=True, exclude_none=True) if wanted.spec.resource_class is not None else ""


def given(text: str) -> ResourcesWanted | None:
    """Return what a pod tells that its class has given it, None where it tells nothing that could be that."""
    try:
        return ResourcesWanted.model_validate_json(text)
    except ValueError:
        return None


class Newer(NamedTuple):
    """A field of a spec that only images know that know a `contract`."""

    field: str
    contract: int


def newer_fields(spec: Spec) -> tuple[Newer, ...]:
    """Return what of a spec older images would take for something else, or leave out; what only the newest know comes first."""
    files, inputs = spec.dependencies.files, spec.inputs
    of_2 = (
        *(f"spec.dependencies.files[{index}].into" for index, each in enumerate(files) if each.into is not None),
        *(f"spec.script.{field}" for field in ("path", "module") if getattr(spec.script, field) is not None),
        # The place alone has one slash at its end, and none after the scheme's.
        *(f"spec.inputs[{each.name}].uri" for each in inputs if each.uri.endswith("/") and each.uri.count("/", 5) == 1),
    )
    of_3 = ("spec.inactivitySeconds",) if spec.inactivity_seconds is not None else ()
    of_5 = ("spec.replicas",) if spec.replicas.count > 1 else ()
    of_6 = ("spec.replicas.evaluator",) if spec.replicas.evaluator is not None else ()
    return (
        *(Newer(each, 6) for each in of_6),
        *(Newer(each, 5) for each in of_5),
        *(Newer(each, 3) for each in of_3),
        *(Newer(each, 2) for each in of_2),
    )


def grown(memory: str, growth: float, times: int, most: str) -> str:
    """Return the memory of an attempt after so many that had too little: at most `most`, but never less than the first had."""
    if growth <= 1 or times < 1:
        return memory
    first = amount(memory)
    wanted = min(first * growth ** min(times, _MOST_TIMES), float(_MOST_MEMORY))
    if most:
        wanted = max(first, min(wanted, amount(most)))
    return f"{math.ceil(wanted / 1024**2)}Mi"


def least(*bounds: int | None) -> int | None:
    """Return the least of some bounds, None where there is none."""
    return min((each for each in bounds if each is not None), default=None)


def _asked(spec: Spec, size: ResourceClass | None, role: str) -> ResourcesWanted:
    """Return what a replica is to have: by itself, or by the job's class, beside which that may say how much it stores."""
    own = spec.own_resources(role) or spec.resources
    if size is None:
        return own
    return ResourcesWanted(
        cpu=size.cpu,
        cpu_limit=size.cpu_limit or None,
        memory=size.memory,
        gpus=size.gpus,
        gpu_resource=size.gpu_resource or None,
        workspace=own.workspace or size.workspace or None,
        shared_memory=own.shared_memory or size.shared_memory or None,
    )


def _cpus(wanted: ResourcesWanted, given: ResourcesGiven) -> tuple[str, str]:
    """Return how many CPUs are reserved and what the limit is, empty for none; what the job says goes before what it does not."""
    cpu, limit = wanted.cpu or given.cpu, wanted.cpu_limit or given.cpu_limit
    if limit and exact(limit) < exact(cpu):
        return (limit, limit) if wanted.cpu is None else (cpu, cpu)
    return cpu, limit


def _texts_with_placeholders(spec: Spec) -> Iterable[str]:
    script = spec.script.uri or ""
    archive = spec.dependencies.archive.uri if spec.dependencies.archive else ""
    return (
        *spec.args,
        *(variable.value for variable in spec.env),
        *(entry.uri for entry in spec.inputs),
        *(file.uri for file in spec.dependencies.files),
        script,
        archive,
    )


def _either(value: int | None, default: int) -> int:
    return default if value is None else value
