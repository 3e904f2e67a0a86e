"""From a job file to what a pod is told: the plan, and the environment of the script."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tftrainer import placeholders
from tftrainer.local.job_file import JobFileError
from tftrainer.local.spec import JobFile
from tftrainer.messages.contract import (
    LOCAL_UID,
    S3_SCHEMES,
    Input,
    OnInactivity,
    Output,
    Plan,
    Reference,
    Script,
    Variable,
    WantedCheckpoints,
    WantedModel,
)

RUNTIME: Final = "tf2"
WORKSPACE: Final = "10Gi"
SHARED_MEMORY: Final = "64Mi"
KEPT: Final = "1Gi"
GRACE_SECONDS: Final = 30
PENDING_SECONDS: Final = 3600
_OWN: Final = ("AWS_", "MINIO_", "KUBERNETES_", "TFTRAINING_", "TF_CONFIG")
_UNITS: Final = {
    unit: base**power
    for base, suffix in ((1000, ""), (1024, "i"))
    for power, unit in ((2, "M" + suffix), (3, "G" + suffix), (4, "T" + suffix))
}


class SecretError(ValueError):
    """The environment lacks what a Secret would give. Its text has a line for each variable."""


def plan(job: JobFile, attempt: int) -> Plan:
    """Return the plan of one attempt, with the defaults of the chart.

    Raises:
        JobFileError: a URI names something that does not exist, naming the field.
    """
    try:
        return placeholders.in_uris(_verbatim(job, attempt))
    except placeholders.PlaceholderError as error:
        raise JobFileError(str(error)) from None


def _verbatim(job: JobFile, attempt: int) -> Plan:
    spec = job.spec
    archive = spec.dependencies.archive
    grace = spec.termination_grace_period_seconds
    return Plan(
        namespace=job.metadata.namespace,
        job=job.metadata.name,
        uid=LOCAL_UID,
        runtime=spec.runtime or RUNTIME,
        script=Script(
            name=spec.script.name or spec.script.path or "",
            uri=spec.script.uri,
            sha256=spec.script.sha256,
            path=spec.script.path,
            module=spec.script.module,
        ),
        attempt=attempt,
        archive=Reference(uri=archive.uri, sha256=archive.sha256) if archive else None,
        files=tuple(Reference(uri=each.uri, sha256=each.sha256, into=each.into or "") for each in spec.dependencies.files),
        requirements=spec.dependencies.requirements,
        inputs=tuple(Input(name=each.name, uri=each.uri) for each in spec.inputs),
        outputs=tuple(Output(path=each.path, on_conflict=each.on_conflict) for each in spec.outputs),
        args=spec.args,
        addresses=tuple(Variable(name=each.name, value=each.value) for each in spec.env if each.value.startswith(S3_SCHEMES)),
        secret_variables=tuple(each.name for each in spec.env if each.value_from is not None),
        grace_seconds=GRACE_SECONDS if grace is None else grace,
        fetch_seconds=PENDING_SECONDS if spec.pending_deadline_seconds is None else spec.pending_deadline_seconds,
        active_deadline_seconds=spec.active_deadline_seconds,
        inactivity_seconds=spec.inactivity_seconds,
        on_inactivity=spec.on_inactivity or OnInactivity.FAIL,
        workspace_bytes=_bytes(str(spec.resources.workspace or WORKSPACE)),
        shared_memory_bytes=_bytes(str(spec.resources.shared_memory or SHARED_MEMORY)),
        gpus=spec.resources.gpus,
        kept_bytes=_bytes(KEPT),
        model=WantedModel(path=spec.model.path, required=spec.model.required) if spec.model else None,
        checkpoints=WantedCheckpoints(path=spec.checkpoints.path, interval_seconds=spec.checkpoints.interval_seconds)
        if spec.checkpoints
        else None,
    )


def record(job: JobFile) -> str:
    """Return the spec as JSON, without an inline script and what is not set, for the record that is left in the bucket."""
    spec = _without_nothing(msgspec.to_builtins(job.spec))
    spec["script"].pop("inline", None)
    for will in ("suspend", "stop"):
        spec.pop(will, None)
    return msgspec.json.encode({**spec, "runtime": job.spec.runtime or RUNTIME}).decode()


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _without_nothing(each) for name, each in value.items()}
        return {name: each for name, each in kept.items() if each not in (None, {}, [], (), "")}
    return [_without_nothing(each) for each in value] if isinstance(value, list | tuple) else value


def check_placeholders(job: JobFile) -> None:
    """Make sure that arguments and variables name nothing that does not exist.

    Raises:
        JobFileError: one does, naming the field.
    """
    whole = plan(job, 0)
    texts = [(f"spec.args[{index}]", each) for index, each in enumerate(job.spec.args)]
    texts += [(f"spec.env[{each.name}].value", each.value) for each in job.spec.env]
    for field, text in texts:
        try:
            placeholders.resolve(text, whole)
        except placeholders.PlaceholderError as error:
            raise JobFileError(f"{field}: {error}") from None


def check_secrets(job: JobFile, environment: Mapping[str, str]) -> None:
    """Make sure that this process's environment has the variables for which a cluster would look into a Secret.

    Raises:
        SecretError: it lacks some; the text names them all.
    """
    lacking = []
    for index, each in enumerate(job.spec.env):
        source = each.value_from.secret_key_ref if each.value_from is not None else None
        if source is not None and not source.optional and each.name not in environment:
            lacking.append(
                f"spec.env[{index}].valueFrom.secretKeyRef: without a cluster there is no Secret {source.name}: set the variable "
                f"{each.name} in the environment of this command to what its key {source.key} holds"
            )
    if lacking:
        raise SecretError("\n".join(lacking))


def script_environment(job: JobFile, whole: Plan, workspace: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with the job's variables, without any that a job may not set itself: no keys, no settings.

    A variable whose value comes from a Secret has what this process's own has.
    """
    own = {each.name: placeholders.resolve(each.value, whole, workspace) for each in job.spec.env if each.value_from is None}
    return {**inherited(environment), **own}


def phases_environment(whole: Plan, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what fetch and publish take over of this process's environment: no more than the script, and nothing from its Secrets."""
    return {name: value for name, value in inherited(environment).items() if name not in whole.secret_variables}


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without the keys of stores and the settings of the product."""
    return {name: value for name, value in environment.items() if not name.startswith(_OWN)}


def _bytes(size: str) -> int:
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]+)", size)
    return math.ceil(float(match[1]) * _UNITS[match[2]]) if match else 0
