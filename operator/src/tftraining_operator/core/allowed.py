"""What of a job's wishes about nodes and priority no admin has allowed: each would let it take what is kept for others."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tftraining_operator.core.configuration import Configuration, ResourceClass
from tftraining_operator.core.effective import Effective


def not_allowed(wanted: Effective, size: ResourceClass | None, configuration: Configuration) -> Iterator[str]:
    """Yield each value that is not allowed: the field, what the job says there, and what the chart allows.

    `size` is the job's class. A label that it or the runtime demands with another value cannot be had as well.
    """
    asked, allowed = wanted.spec.scheduling, configuration.scheduling
    if asked.priority_class_name is not None:
        name = asked.priority_class_name
        yield from _outside("priorityClassName", name, name, "allowedPriorityClasses", allowed.allowed_priority_classes)
    for key, value in (asked.node_selector or {}).items():
        yield from _outside("nodeSelector", f"{key}={value}", key, "allowedNodeSelectorKeys", allowed.allowed_node_selector_keys)
        if wanted.node_selector[key] != value:
            by_class = size is not None and key in size.node_selector
            who = f"resource class {wanted.spec.resource_class}" if by_class else f"runtime {wanted.runtime_name}"
            yield f"spec.scheduling.nodeSelector is {key}={value}, where {who} demands {key}={wanted.node_selector[key]}"
    for each in asked.tolerations:
        yield from _outside("tolerations", each.key, each.key, "allowedTolerationKeys", allowed.allowed_toleration_keys)


def _outside(field: str, said: str, name: str, value: str, allowed: Collection[str]) -> Iterator[str]:
    if name not in allowed:
        what = f"allows {', '.join(sorted(allowed))}" if allowed else "allows none"
        yield f"spec.scheduling.{field} is {said}, where scheduling.{value} of the chart {what}"
