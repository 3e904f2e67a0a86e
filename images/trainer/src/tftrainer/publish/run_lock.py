"""`run.lock.json`: what ran, so exactly that it can be run again."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tftrainer.contract import Message, Pinned, Plan
from tftrainer.handover import Baseline, Package

NAME: Final = "run.lock.json"
VERSION: Final = 1


class RunLock(Message, frozen=True):
    """One run. `job` is a TFTrainingJob that can be applied: its code is pinned by digests.

    `image` is the trainer image by the name that the job's pod had. `code` and `inputs` are every object that was fetched; ETags
    tell inputs apart, which are not hashed. `packages` are the Python distributions of the image with their versions, `requirements`
    what was installed beside them, by its wheels.
    """

    version: int
    job: dict[str, Any]
    attempt: int
    image: str = ""
    python: str = ""
    packages: dict[str, str] = msgspec.field(default_factory=dict)
    requirements: tuple[Package, ...] = ()
    resolved_args: tuple[str, ...] = ()
    code: tuple[Pinned, ...] = ()
    inputs: tuple[Pinned, ...] = ()


def run_lock(spec: dict[str, Any], plan: Plan, baseline: Baseline, distributions: Iterable[tuple[str, str]]) -> bytes:
    """Return the lock as JSON. `spec` is the job's, as `contract.SPEC_VARIABLE` has it; `distributions` are names and versions."""
    packages: dict[str, str] = {}
    for name, version in distributions:
        packages.setdefault(name, version)
    pins = (baseline.script, baseline.archive, *baseline.code)
    lock = RunLock(
        version=VERSION,
        job={
            "apiVersion": "tftraining.dev/v1alpha1",
            "kind": "TFTrainingJob",
            "metadata": {"name": plan.job, "namespace": plan.namespace},
            "spec": _pinned(spec, baseline),
        },
        attempt=plan.attempt,
        image=plan.image,
        python=platform.python_version(),
        packages=dict(sorted(packages.items())),
        requirements=baseline.packages,
        resolved_args=baseline.resolved_args,
        code=tuple(each for each in pins if each is not None),
        inputs=baseline.inputs,
    )
    return msgspec.json.format(msgspec.json.encode(lock), indent=1)


def _pinned(spec: dict[str, Any], baseline: Baseline) -> dict[str, Any]:
    """Return the spec with the digest of every object that it names as code; a folder has none there, its objects are in `code`."""
    found = dict(spec)
    script = dict(found.get("script") or {})
    if "uri" not in script:
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


def _file(entry: dict[str, Any], pin: Pinned) -> dict[str, Any]:
    return entry if str(entry.get("uri", "")).endswith("/") else {**entry, "sha256": pin.sha256}
