"""From nodes and pods as the API server sent them to what there is and what is taken. Hostile input: nothing here raises."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from tftraining_operator.api.quantities import exact, is_quantity
from tftraining_operator.core.nodes import PODS, Amounts, Node, Taint
from tftraining_operator.core.observe import mapping, sequence, text
from tftraining_operator.core.records import Raw

_NAMES: Final = 253
_RESOURCES: Final = 64
_SPENT: Final = frozenset({"Succeeded", "Failed"})


def node_of(raw: Any, labels: Iterable[str]) -> Node | None:
    """Return a node with those of its labels, None where the object has no name."""
    metadata, spec, status = (mapping(mapping(raw).get(part)) for part in ("metadata", "spec", "status"))
    name = text(metadata.get("name"), _NAMES)
    if not name:
        return None
    has = mapping(metadata.get("labels"))
    conditions = {text(each.get("type")): text(each.get("status")) for each in map(mapping, sequence(status.get("conditions")))}
    return Node(
        name=name,
        has=_amounts(status.get("allocatable")),
        labels={key: text(has[key], 63) for key in labels if key in has},
        taints=tuple(_taints(spec.get("taints"))),
        cordoned=spec.get("unschedulable") is True,
        ready=conditions.get("Ready", "True") == "True",
    )


def used_by(pods: Iterable[Raw]) -> Amounts:
    """Return what pods have reserved together; those that have ended have nothing."""
    total: dict[str, Decimal] = {PODS: Decimal(0)}
    for pod in pods:
        if text(mapping(mapping(pod).get("status")).get("phase")) in _SPENT:
            continue
        total[PODS] += 1
        for name, amount in requests(mapping(mapping(pod).get("spec"))).items():
            total[name] = total.get(name, Decimal(0)) + amount
    return total


def requests(spec: Raw) -> Amounts:
    """Return what a scheduler counts of a pod: that of its containers together, or of an init container that asks for more.

    An init container that is restarted always runs on beside those after it. What is asked for the pod as a whole goes before both.
    """
    running: dict[str, Decimal] = {}
    peak: dict[str, Decimal] = {}
    for container in map(mapping, sequence(spec.get("initContainers"))):
        asked = _requests(container)
        if container.get("restartPolicy") == "Always":
            _add(running, asked)
            asked = {}
        for name, amount in (running | {key: running.get(key, Decimal(0)) + value for key, value in asked.items()}).items():
            peak[name] = max(peak.get(name, Decimal(0)), amount)
    for container in map(mapping, sequence(spec.get("containers"))):
        _add(running, _requests(container))
    found = {name: max(running.get(name, Decimal(0)), peak.get(name, Decimal(0))) for name in {**running, **peak}}
    found |= _requests(spec)
    _add(found, _amounts(spec.get("overhead")))
    return found


def _requests(part: Raw) -> Amounts:
    return _amounts(mapping(part.get("resources")).get("requests"))


def _add(total: dict[str, Decimal], more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, Decimal(0)) + amount


def _amounts(value: Any) -> Amounts:
    return {
        text(name, _NAMES): exact(amount)
        for name, amount in list(mapping(value).items())[:_RESOURCES]
        if isinstance(amount, str) and is_quantity(amount)
    }


def _taints(value: Any) -> Iterable[Taint]:
    for taint in map(mapping, sequence(value)):
        key, effect = text(taint.get("key"), 317), text(taint.get("effect"), 32)
        if key and effect in {"NoSchedule", "NoExecute"}:
            yield Taint(key, text(taint.get("value"), 63), effect)
