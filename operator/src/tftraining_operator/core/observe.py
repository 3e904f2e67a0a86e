"""From objects as the API server sent them to records. Hostile input: whatever lies in them, nothing here raises.

What is missing or of the wrong type becomes the empty value, "Unknown", or (when not even an identity is there) None.
Every string is bounded, so that one object cannot grow the process.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError
from tftrainer.messages.contract import MESSAGE_LIMIT, TRAINER

from tftraining_operator.core import names
from tftraining_operator.core.configuration import Toleration
from tftraining_operator.core.records import (
    Condition,
    ContainerRecord,
    InlineScript,
    JobRecord,
    Key,
    Place,
    PodRecord,
    WorkloadRecord,
)

UNKNOWN: Final = "Unknown"
FORGOTTEN: Final = "ContainerStatusUnknown"
"""Reason of a container's end of which the kubelet knows nothing; the exit code beside it is made up."""
_TEXT_LIMIT: Final = 1024
_LIST_LIMIT: Final = 256
_PHASES: Final = frozenset({"Pending", "Running", "Succeeded", "Failed"})
_STATES: Final = ("terminated", "running", "waiting")


def job_record(raw: Any) -> JobRecord | None:
    """Return the record of a TFTrainingJob; None where the object has no namespace, name or uid."""
    metadata = mapping(mapping(raw).get("metadata"))
    namespace, name, uid = (text(metadata.get(field)) for field in ("namespace", "name", "uid"))
    if not (namespace and name and uid):
        return None
    spec, script = mapping(mapping(raw).get("spec")), inline_script(raw)
    inline = InlineScript(hashlib.sha256(script.encode("utf-8", "surrogatepass")).hexdigest(), len(script)) if script else None
    if inline is not None:
        spec = {**spec, "script": {**spec["script"], "inline": inline.sha256}}
    return JobRecord(
        key=Key(namespace, name),
        uid=uid,
        generation=integer(metadata.get("generation")) or 0,
        created_at=timestamp(metadata.get("creationTimestamp")) or 0.0,
        resource_version=text(metadata.get("resourceVersion")),
        spec=spec,
        status=mapping(mapping(raw).get("status")),
        deleted_at=timestamp(metadata.get("deletionTimestamp")),
        orphaning="orphan" in sequence(metadata.get("finalizers")),
        inline=inline,
    )


def inline_script(raw: Any) -> str:
    """Return the text of a TFTrainingJob's inline script, empty where it has none."""
    script = mapping(mapping(mapping(raw).get("spec")).get("script")).get("inline")
    return script if isinstance(script, str) else ""


def pod_record(raw: Any) -> PodRecord | None:
    """Return the record of a pod; None where it has no identity or nothing ties it to a job.

    A pod belongs to the job that its controlling owner reference names; without one, to the job that its annotation, its label or
    at last its own name claims (such a pod is foreign, and `decide` says so).
    """
    metadata = mapping(mapping(raw).get("metadata"))
    namespace, name, uid = (text(metadata.get(field)) for field in ("namespace", "name", "uid"))
    labels = mapping(metadata.get("labels"))
    owner_name, owner_uid = _owner(metadata)
    annotations = mapping(metadata.get("annotations"))
    job = owner_name or text(annotations.get(names.JOB)) or text(labels.get(names.JOB_NAME)) or names.claimed_job(name)
    if not (namespace and name and uid and job):
        return None
    status = mapping(mapping(raw).get("status"))
    phase = text(status.get("phase"))
    return PodRecord(
        key=Key(namespace, job),
        name=name,
        uid=uid,
        owner_uid=owner_uid,
        phase=phase if phase in _PHASES else UNKNOWN,
        created_at=timestamp(metadata.get("creationTimestamp")) or 0.0,
        resource_version=text(metadata.get("resourceVersion")),
        reason=text(status.get("reason")),
        message=text(status.get("message")),
        node=text(mapping(mapping(raw).get("spec")).get("nodeName")),
        nominated_node=text(status.get("nominatedNodeName")),
        deleted_at=timestamp(metadata.get("deletionTimestamp")),
        grace_seconds=float(min(max(integer(metadata.get("deletionGracePeriodSeconds")) or 0, 0), 10**9)),
        conditions=_conditions(status.get("conditions")),
        containers=tuple(_containers(status)),
        deadline_seconds=math.inf if annotations.get(names.DEADLINE) == "none" else _seconds(annotations.get(names.DEADLINE)),
        earlier_seconds=_seconds(annotations.get(names.EARLIER)) or 0.0,
        checked_with=text(annotations.get(names.CHECKED_WITH)),
        resources=text(annotations.get(names.RESOURCES)),
        memory=_memory(mapping(raw).get("spec")),
        held=bool(sequence(metadata.get("finalizers"))),
    )


def _memory(spec: Any) -> str:
    every = map(mapping, sequence(mapping(spec).get("containers")))
    limits = [mapping(mapping(each.get("resources")).get("limits")) for each in every if each.get("name") == TRAINER]
    return text(limits[0].get("memory"), 32) if limits else ""


def workload_record(raw: Any) -> WorkloadRecord | None:
    """Return the record of a Workload; None where it has no identity or no job is its controlling owner."""
    metadata, spec, status = (mapping(mapping(raw).get(part)) for part in ("metadata", "spec", "status"))
    namespace, name, uid = (text(metadata.get(field)) for field in ("namespace", "name", "uid"))
    owner_name, owner_uid = _owner(metadata)
    if not (namespace and name and uid and owner_name):
        return None
    checks = tuple(map(mapping, sequence(status.get("admissionChecks"))))
    return WorkloadRecord(
        key=Key(namespace, owner_name),
        name=name,
        uid=uid,
        owner_uid=owner_uid,
        created_at=timestamp(metadata.get("creationTimestamp")) or 0.0,
        resource_version=text(metadata.get("resourceVersion")),
        active=spec.get("active") is not False,
        deleted=timestamp(metadata.get("deletionTimestamp")) is not None,
        conditions=_conditions(status.get("conditions")),
        flavors={
            text(each.get("name")): tuple(dict.fromkeys(text(flavor) for flavor in mapping(each.get("flavors")).values()))
            for each in map(mapping, sequence(mapping(status.get("admission")).get("podSetAssignments")))
        },
        updates=_updates(checks),
        checks=tuple(
            f"{text(each.get('name'))} ({text(each.get('message')) or text(each.get('state')) or UNKNOWN})"
            for each in checks
            if each.get("state") != "Ready"
        ),
    )


def _updates(checks: tuple[Mapping[str, Any], ...]) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for each in (mapping(update) for check in checks for update in sequence(check.get("podSetUpdates"))):
        before, own = found.get(text(each.get("name")), Place()), _place(each)
        found[text(each.get("name"))] = Place(
            {**before.node_selector, **own.node_selector},
            (*before.tolerations, *own.tolerations),
            {**before.labels, **own.labels},
            {**before.annotations, **own.annotations},
        )
    return found


def flavor(raw: Any) -> tuple[str, Place]:
    """Return the name of a ResourceFlavor, and what it demands of pods."""
    spec = mapping(mapping(raw).get("spec"))
    return text(mapping(mapping(raw).get("metadata")).get("name")), _place({**spec, "nodeSelector": spec.get("nodeLabels")})


def _place(raw: Mapping[str, Any]) -> Place:
    selector, labels, annotations = (_texts(raw.get(field)) for field in ("nodeSelector", "labels", "annotations"))
    return Place(selector, tuple(filter(None, map(_toleration, sequence(raw.get("tolerations"))))), labels, annotations)


def _texts(value: Any) -> dict[str, str]:
    return {name: each for name, each in mapping(value).items() if isinstance(name, str) and isinstance(each, str)}


def _toleration(value: Any) -> Toleration | None:
    try:
        return Toleration.model_validate({name: each for name, each in mapping(value).items() if name in Toleration.model_fields})
    except ValidationError:
        return None


def priority(raw: Any) -> dict[str, int]:
    """Return the value of a PriorityClass by its name, and once more by the empty name where it is the cluster's default."""
    name, value = text(mapping(mapping(raw).get("metadata")).get("name")), integer(mapping(raw).get("value")) or 0
    return {name: value} | ({"": value} if mapping(raw).get("globalDefault") is True else {})


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, an empty one otherwise."""
    return value if isinstance(value, Mapping) else {}


def text(value: Any, limit: int = _TEXT_LIMIT) -> str:
    """Return `value` if it is a string, cut off at `limit` characters and free of lone surrogates; "" otherwise."""
    if not isinstance(value, str):
        return ""
    return value[:limit].encode("utf-8", "replace").decode()


def integer(value: Any) -> int | None:
    """Return `value` if it is a whole number that fits into 63 bits, None otherwise."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def timestamp(value: Any) -> float | None:
    """Return an RFC 3339 time as Unix seconds, None where it is not one."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def sequence(value: Any) -> tuple[Any, ...]:
    """Return the first items of `value` if it is a list, an empty tuple otherwise."""
    return tuple(value[:_LIST_LIMIT]) if isinstance(value, list | tuple) else ()


def _owner(metadata: Mapping[str, Any]) -> tuple[str, str]:
    for reference in map(mapping, sequence(metadata.get("ownerReferences"))):
        if reference.get("controller") is True and reference.get("kind") == "TFTrainingJob":
            return text(reference.get("name")), text(reference.get("uid"))
    return "", ""


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9 else None


def _conditions(value: Any) -> dict[str, Condition]:
    return {
        kind: Condition(
            text(condition.get("status")),
            text(condition.get("reason")),
            text(condition.get("message")),
            timestamp(condition.get("lastTransitionTime")),
        )
        for condition in map(mapping, sequence(value))
        if (kind := text(condition.get("type")))
    }


def _containers(status: Mapping[str, Any]) -> Iterator[ContainerRecord]:
    for field in ("initContainerStatuses", "containerStatuses"):
        for container in map(mapping, sequence(status.get(field))):
            name = text(container.get("name"))
            if name:
                yield _container(name, mapping(container.get("state")))


def _container(name: str, states: Mapping[str, Any]) -> ContainerRecord:
    # An empty state is what the API documents as waiting.
    state = next((kind for kind in _STATES if isinstance(states.get(kind), Mapping)), "waiting")
    detail = mapping(states.get(state))
    return ContainerRecord(
        name=name,
        state=state,
        reason=text(detail.get("reason")),
        message=text(detail.get("message"), MESSAGE_LIMIT),
        exit_code=integer(detail.get("exitCode")) if detail.get("reason") != FORGOTTEN else None,
        started_at=timestamp(detail.get("startedAt")),
        finished_at=timestamp(detail.get("finishedAt")),
    )
