"""What keeps a pod that exists from running: no node, no image, a missing Secret; in words that name the field and the remedy."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from tftrainer.messages.contract import TRAINER

from tftraining_operator.core import placement
from tftraining_operator.core.effective import Effective
from tftraining_operator.core.nodes import Nodes
from tftraining_operator.core.pending import Pending, short
from tftraining_operator.core.records import ContainerRecord, PodRecord

_IMAGE: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed"}
)
_ORDINARY: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_KEYS: Final = "endpoint, bucket, accessKey and secretKey"
"""What a Secret of the job must have. The kubelet tells of one missing key at a time."""
_SECRET: Final = re.compile(r'secret "([^"]{1,253})" not found')
_KEY: Final = re.compile(r"couldn't find key (\S{1,253}) in Secret [^/\s]{1,63}/(\S{1,253})")
_WRAPPED: Final = re.compile(
    r"rpc error: code = \w+ desc = |failed to pull and unpack image \"[^\"]*\": |failed to resolve (?:image|reference \"[^\"]*\"): "
)
"""What kubelets and containerd put before the registry's own words, depending on their versions."""
_PROVIDE: Final = "an admin has to provide it or correct the runtime catalogue"
_PULLS: Final = (
    (r"no match for platform", "it is not built for the node's architecture: " + _PROVIDE),
    (r"429 |toomanyrequests", "the registry takes no more requests for now: the pull is tried again by itself"),
    (
        r"denied|unauthorized|401 |403 |authorization",
        "the registry demands other credentials: an admin has to set imagePullSecrets of the "
        "runtime, and the Secret has to be in the job's namespace",
    ),
    (r"not found|manifest unknown|404 ", "the registry does not have it: " + _PROVIDE),
    (r"x509|certificate|HTTP response to HTTPS", "the node does not trust the registry: an admin has to look at the node's configuration"),
    (
        r"no such host|connection refused|timeout|timed out|no route to host|unreachable|EOF|deadline exceeded|reset by peer",
        "the node does not reach the registry: the pull is tried again by itself, and an admin has to look if it stays so",
    ),
    (r"no space left", "the node's disk is full: an admin has to look at it"),
)
"""What a failed pull means and what to do, by the first pattern that its words match."""


def pending(pod: PodRecord, wanted: Effective, nodes: Nodes | None = None) -> Pending | None:
    """Return what keeps the pod from running, None where nothing but time does. `nodes` is None where nobody has seen them."""
    if (unplaced := placement.unplaced(pod, wanted, nodes)) is not None:
        return unplaced
    for container in pod.containers:
        if container.state == "waiting" and container.reason not in _ORDINARY:
            return _waiting(container, pod, wanted)
    return None


def _waiting(container: ContainerRecord, pod: PodRecord, wanted: Effective) -> Pending:
    image = wanted.runtime.image
    if container.reason == "InvalidImageName":
        return Pending(
            "InvalidImageName",
            f"the image {image} of runtime {wanted.runtime_name} has no valid name: an admin has to correct the runtime catalogue",
            certain=True,
        )
    if container.reason in _IMAGE:
        return _no_image(container, pod, wanted)
    if container.reason == "CreateContainerConfigError":
        return _configuration(container, pod, wanted)
    return Pending(
        container.reason[:64],
        f"container {container.name} cannot be started ({container.reason}): {short(container.message) or 'no reason given'}",
    )


def _configuration(container: ContainerRecord, pod: PodRecord, wanted: Effective) -> Pending:
    missing = missing_secret(container, pod, wanted)
    if missing is not None:
        goes_on = "and the job goes on by itself; until then its CPUs, memory and GPUs stay reserved on its node"
        return replace(missing, message=f"{missing.message}, {goes_on}")
    return Pending("ContainerConfigError", f"the pod cannot be started: {short(container.message) or 'no reason given'}")


def missing_secret(container: ContainerRecord, pod: PodRecord, wanted: Effective) -> Pending | None:
    """Return which Secret, or key of one, a container waits for, who names it, and what to do; None where it waits for neither."""
    if container.state != "waiting" or container.reason != "CreateContainerConfigError":
        return None
    message, namespace = container.message, pod.key.namespace
    # The script's own container has no Secrets but those of its variables, and no other has these.
    own = container.name == TRAINER
    if (missing := _SECRET.search(message)) is not None:
        secret = missing[1]
        named = _variable(secret, "", wanted) if own else _field(secret, wanted)
        keys = _keys_of_variables(secret, wanted) if own else f"the keys {_KEYS}"
        return Pending(
            "SecretNotFound", f"the Secret {secret}, which {named}, does not exist in namespace {namespace}: create it with {keys}"
        )
    if (missing := _KEY.search(message)) is not None:
        key, secret = missing[1], missing[2]
        named = _variable(secret, key, wanted) if own else _field(secret, wanted)
        needed = "" if own else f" ({_KEYS} are all needed)"
        return Pending(
            "SecretKeyNotFound", f"the Secret {secret}, which {named}, has no key {key} in namespace {namespace}: add it{needed}"
        )
    return None


def _field(secret: str, wanted: Effective) -> str:
    """Return who names the Secret of a bucket; with one for both, the storage Secret is the one that every job needs."""
    for found, named, field, value in (
        (wanted.storage_secret, wanted.spec.storage.secret_name, "storage", "storageSecretName"),
        (wanted.datasets_secret, wanted.spec.datasets.secret_name, "datasets", "datasetsSecretName"),
    ):
        if secret == found:
            field = f"spec.{field}.secretName"
            return f"{field} names" if named else f"the operator's configuration names (defaults.{value}), as the job has no {field}"
    return "the pod names"


def _variable(secret: str, key: str, wanted: Effective) -> str:
    for index, each in enumerate(wanted.spec.env):
        source = each.value_from.secret_key_ref if each.value_from is not None else None
        if source is not None and source.name == secret and key in ("", source.key) and not source.optional:
            return f"spec.env[{index}].valueFrom.secretKeyRef (variable {each.name}) names"
    return "spec.env names"


def _keys_of_variables(secret: str, wanted: Effective) -> str:
    sources = [each.value_from.secret_key_ref for each in wanted.spec.env if each.value_from is not None]
    keys = list(dict.fromkeys(each.key for each in sources if each.name == secret and not each.optional))
    return f"the key{'s' if len(keys) > 1 else ''} {', '.join(keys)}" if keys else "the keys that the job names"


def _no_image(container: ContainerRecord, pod: PodRecord, wanted: Effective) -> Pending:
    """Tell of a pull and of the back-off after it alike; that of older kubelets does not say what went wrong."""
    said = container.message.split("ErrImagePull: ", 1)[-1]
    words = short(_WRAPPED.sub("", said))
    partial = not words or words.startswith("Back-off pulling image")
    if container.reason == "ErrImageNeverPull":
        remedy = "the runtime's imagePullPolicy is Never, so that it has to be on the node already: an admin has to bring it there"
    else:
        remedy = next((meaning for pattern, meaning in _PULLS if not partial and re.search(pattern, words)), _PROVIDE)
    return Pending(
        "ImageUnavailable",
        f"the image {wanted.runtime.image} of runtime {wanted.runtime_name} cannot be pulled on node {pod.node or 'unknown'}: "
        f"{'pulling failed' if partial else words}; {remedy}",
        restless=True,
        partial=partial,
    )
