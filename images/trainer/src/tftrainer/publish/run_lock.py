"""`run.lock.json`: what ran, so exactly that it can be run again."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tftrainer.messages.contract import CHIEF, Message, Pinned, Plan
from tftrainer.messages.handover import Baseline, Package
from tftrainer.messages.manifest import MoreInputs
from tftrainer.placeholders import with_attempt
from tftrainer.withholding import SECRET, arguments_without, variable_without

NAME: Final = "run.lock.json"
VERSION: Final = 1


class RunLock(Message, frozen=True):
    """One run, of the replica `role` and `index`. `job` is a TFTrainingJob that can be applied: its code is pinned by digests.

    `image` is the trainer image by the name that the job's pod had. `code`, `inputs` and `more_inputs` are every object that was
    fetched; ETags tell inputs apart, which are not hashed. `packages` are the Python distributions of the image with their versions,
    `requirements` what was installed beside them, by its wheels. `withheld` names the fields whose values look like credentials and are
    left out: a variable of these is asked for from a Secret instead.
    """

    version: int
    job: dict[str, Any]
    attempt: int
    role: str = CHIEF
    index: int = 0
    withheld: tuple[str, ...] = ()
    image: str = ""
    python: str = ""
    packages: dict[str, str] = msgspec.field(default_factory=dict)
    requirements: tuple[Package, ...] = ()
    resolved_args: tuple[str, ...] = ()
    code: tuple[Pinned, ...] = ()
    inputs: tuple[Pinned, ...] = ()
    more_inputs: MoreInputs | None = None


def run_lock(spec: dict[str, Any], plan: Plan, baseline: Baseline, distributions: Iterable[tuple[str, str]]) -> bytes:
    """Return the lock as JSON. `spec` is the job's, as `contract.SPEC_VARIABLE` has it; `distributions` are names and versions."""
    found, left_out = without_credentials(spec)
    packages: dict[str, str] = {}
    for name, version in distributions:
        packages.setdefault(name, version)
    # A folder may hold the script too.
    pins = dict.fromkeys((baseline.script, baseline.archive, *baseline.code))
    lock = RunLock(
        version=VERSION,
        job={
            "apiVersion": "tftraining.dev/v1alpha1",
            "kind": "TFTrainingJob",
            "metadata": {"name": plan.job, "namespace": plan.namespace},
            "spec": _pinned(found, plan, baseline),
        },
        attempt=plan.attempt,
        role=plan.role,
        index=plan.index,
        withheld=left_out,
        image=plan.image,
        python=platform.python_version(),
        packages=dict(sorted(packages.items())),
        requirements=baseline.packages,
        resolved_args=arguments_without(baseline.resolved_args),
        code=tuple(each for each in pins if each is not None),
        inputs=baseline.inputs,
        more_inputs=baseline.more_inputs,
    )
    return msgspec.json.format(msgspec.json.encode(lock), indent=1)


def without_credentials(spec: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a spec without what looks like a credential in it, and the fields that held some."""
    found, left_out = dict(spec), []
    if arguments := tuple(spec.get("args") or ()):
        kept = arguments_without(arguments)
        found["args"] = list(kept)
        left_out += [f"spec.args[{index}]" for index, (old, new) in enumerate(zip(arguments, kept, strict=True)) if old != new]
    if variables := spec.get("env"):
        found["env"] = [_variable(each) for each in variables]
        changed = (old["name"] for old, new in zip(variables, found["env"], strict=True) if old != new)
        left_out += [f"spec.env[{name}].value" for name in changed]
    return found, tuple(left_out)


def _variable(entry: dict[str, Any]) -> dict[str, Any]:
    if variable_without(entry["name"], entry.get("value", "")) == entry.get("value", ""):
        return entry
    return {"name": entry["name"], "valueFrom": {"secretKeyRef": {"name": SECRET, "key": entry["name"]}}}


def _pinned(spec: dict[str, Any], plan: Plan, baseline: Baseline) -> dict[str, Any]:
    """Return the spec with the digest of every object that it names as code; a folder has none there, its objects are in `code`."""
    found: dict[str, Any] = _of_this_attempt(spec, plan.attempt)
    script = dict(found.get("script") or {})
    if plan.script.is_inline:
        script["inline"] = baseline.inline
    elif baseline.script is not None:
        script["sha256"] = baseline.script.sha256
    found["script"] = script
    dependencies = dict(found.get("dependencies") or {})
    if baseline.archive is not None and dependencies.get("archive"):
        dependencies["archive"] = {**dependencies["archive"], "sha256": baseline.archive.sha256}
    if dependencies.get("files"):
        dependencies["files"] = [_file(each, pin) for each, pin in zip(dependencies["files"], baseline.files_of_code, strict=False)]
    if baseline.packages:
        dependencies["requirements"] = [f"{each.name}=={each.version}" for each in baseline.packages]
    if dependencies:
        found["dependencies"] = dependencies
    return found


def _of_this_attempt(named: Any, attempt: int) -> Any:
    """Return what is read of the spec with `${attempt}` in its URIs as it was: another job begins with another number."""
    if isinstance(named, dict):
        return {
            name: with_attempt(each, attempt) if name == "uri" and isinstance(each, str) else _of_this_attempt(each, attempt)
            for name, each in named.items()
        }
    return [_of_this_attempt(each, attempt) for each in named] if isinstance(named, list) else named


def _file(entry: dict[str, Any], pin: Pinned) -> dict[str, Any]:
    return entry if str(entry.get("uri", "")).endswith("/") else {**entry, "sha256": pin.sha256}
