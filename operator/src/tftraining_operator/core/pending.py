"""Why a job does not run yet, in words that name the field and the remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tftraining_operator.core.build import Effective
from tftraining_operator.core.records import ContainerRecord, PodRecord

_IMAGE: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed"}
)
_ORDINARY: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_KEYS: Final = "endpoint, bucket, accessKey and secretKey"
"""What a Secret of the job must have. The kubelet tells of one missing key at a time."""
_SECRET: Final = re.compile(r'secret "([^"]{1,253})" not found')
_KEY: Final = re.compile(r"couldn't find key (\S{1,253}) in Secret [^/\s]{1,63}/(\S{1,253})")


@dataclass(frozen=True, slots=True)
class Pending:
    """What a job waits for. `certain` means that waiting will not help: the job can be ended at once."""

    reason: str
    message: str
    certain: bool = False


def pending(pod: PodRecord, wanted: Effective) -> Pending | None:
    """Return what keeps the pod from running, None where nothing but time does."""
    scheduled, reason, message = (pod.conditions or {}).get("PodScheduled", ("", "", ""))
    if scheduled == "False":
        return _unplaced(reason, message, wanted)
    for container in pod.containers:
        if container.state == "waiting" and container.reason not in _ORDINARY:
            return _waiting(container, pod, wanted)
    return None


def refused(message: str) -> Pending:
    """Return what a job waits for whose pod the API server does not accept, as under a quota."""
    return Pending(
        "PodRefused",
        f"the cluster does not accept the job's pod: {_short(message)}; it is tried again until spec.pendingDeadlineSeconds are over",
    )


def _unplaced(reason: str, message: str, wanted: Effective) -> Pending:
    if reason == "SchedulingGated":
        return Pending("SchedulingGated", "the pod waits for a scheduling gate to be lifted, as by a queue")
    resources = wanted.spec.resources
    asked = f"cpu {wanted.cpu}, memory {wanted.memory}"
    if resources.gpus:
        asked += f", {resources.gpus} of {wanted.gpu_resource}"
    # What follows is about other pods that might make room, and there are none.
    why = message.partition(" preemption:")[0].replace(" no new claims to deallocate,", "")
    return Pending(
        "Unschedulable",
        f"no node can take the pod now (spec.resources asks for {asked}): {_short(why) or 'no reason given'}; "
        "it starts when one can: wait, ask for less, or let an admin add a node",
    )


def _waiting(container: ContainerRecord, pod: PodRecord, wanted: Effective) -> Pending:
    image = wanted.runtime.image
    if container.reason == "InvalidImageName":
        return Pending(
            "InvalidImageName",
            f"the image {image} of runtime {wanted.runtime_name} has no valid name: an admin has to correct the runtime catalogue",
            certain=True,
        )
    if container.reason in _IMAGE:
        return Pending(
            "ImageUnavailable",
            f"the image {image} of runtime {wanted.runtime_name} cannot be pulled on node {pod.node or 'unknown'}: "
            f"{_pull_error(container.message)}; an admin has to provide it or correct the runtime catalogue",
        )
    if container.reason == "CreateContainerConfigError":
        return _configuration(container.message, pod, wanted)
    return Pending(
        container.reason[:64],
        f"container {container.name} cannot be started ({container.reason}): {_short(container.message) or 'no reason given'}",
    )


def _configuration(message: str, pod: PodRecord, wanted: Effective) -> Pending:
    namespace = pod.key.namespace
    if (missing := _SECRET.search(message)) is not None:
        return Pending(
            "SecretNotFound",
            f"the Secret {missing[1]}, which {_field(missing[1], wanted)} names, does not exist in namespace {namespace}: create it "
            f"with the keys {_KEYS}, and the job goes on by itself; its node keeps its place free",
        )
    if (missing := _KEY.search(message)) is not None:
        return Pending(
            "SecretKeyNotFound",
            f"the Secret {missing[2]}, which {_field(missing[2], wanted)} names, has no key {missing[1]} in namespace {namespace}: "
            f"add it ({_KEYS} are all needed), and the job goes on by itself; its node keeps its place free",
        )
    return Pending("ContainerConfigError", f"the pod cannot be started: {_short(message) or 'no reason given'}")


def _field(secret: str, wanted: Effective) -> str:
    # With one Secret for both, the storage Secret is the one that every job needs.
    if secret == wanted.storage_secret:
        return "spec.storage.secretName"
    return "spec.datasets.secretName" if secret == wanted.datasets_secret else "the pod"


def _pull_error(message: str) -> str:
    """Keep only what went wrong, so that a pull and the back-off after it read the same and the status does not flap."""
    detail = message.split("ErrImagePull: ", 1)[-1]
    if detail.startswith("Back-off pulling image") or not detail:
        return "pulling failed"
    return _short(detail)


def _short(text: str) -> str:
    return " ".join(text.split())[:600].rstrip(". ")
