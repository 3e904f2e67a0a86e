"""What the nodes of the cluster have, and which of them could ever take a pod: the scheduler says neither.

A scheduler's own filters are more than these: what is found here explains its refusal, and never decides anything.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from tftraining_operator.core.configuration import Toleration

Amounts = Mapping[str, Decimal]
"""Amounts by the names of resources: CPUs, bytes, pieces."""

PODS: Final = "pods"
_PASSING: Final = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
"""Beginnings of the taints that Kubernetes itself puts on a node and takes away again: not-ready, unreachable, disk-pressure, …"""


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint that keeps pods away: its effect is NoSchedule or NoExecute."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        """Return it as kubectl writes it."""
        return f"{self.key}{f'={self.value}' if self.value else ''}:{self.effect}"

    @property
    def passing(self) -> bool:
        """Whether Kubernetes itself has put it there, for a state of the node that may pass."""
        return self.key.startswith(_PASSING)


@dataclass(frozen=True, slots=True)
class Node:
    """A node. `has` is what pods can have of it in all (allocatable), `cordoned` tells that somebody has closed it."""

    name: str
    has: Amounts
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    cordoned: bool = False
    ready: bool = True


@dataclass(frozen=True, slots=True)
class Need:
    """What a pod needs of its node."""

    asked: Amounts
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()

    @property
    def kind(self) -> Hashable:
        """What all pods have in common that need the same."""
        return (tuple(sorted(self.asked.items())), tuple(sorted(self.selector.items())), self.tolerations)

    def selects(self, node: Node) -> bool:
        """Tell whether the node has the labels."""
        return all(node.labels.get(key) == value for key, value in self.selector.items())

    def lacking(self, has: Amounts) -> tuple[str, ...]:
        """Return the resources of which there is less than asked."""
        return tuple(name for name, amount in self.asked.items() if amount > has.get(name, Decimal(0)))

    def kept_away_by(self, node: Node) -> tuple[Taint, ...]:
        """Return the taints that are not tolerated."""
        return tuple(taint for taint in node.taints if not any(_tolerates(toleration, taint) for toleration in self.tolerations))


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes at one moment. `used` is what pods have of a node, of those nodes whose pods were counted."""

    nodes: tuple[Node, ...]
    used: Mapping[str, Amounts] = field(default_factory=dict)

    def selected(self, need: Need) -> tuple[Node, ...]:
        """Return the nodes that have the labels."""
        return tuple(node for node in self.nodes if need.selects(node))

    def large_enough(self, need: Need) -> tuple[Node, ...]:
        """Return the nodes that have the labels and, empty, all that is asked."""
        return tuple(node for node in self.selected(need) if not need.lacking(node.has))

    def open_to(self, need: Need) -> tuple[Node, ...]:
        """Return the nodes that would take the pod if they were empty."""
        return tuple(node for node in self.large_enough(need) if node.ready and not node.cordoned and not need.kept_away_by(node))

    def offering(self, resource: str) -> tuple[Node, ...]:
        """Return the nodes that have any of a resource."""
        return tuple(node for node in self.nodes if node.has.get(resource, Decimal(0)) > 0)

    def free(self, node: Node) -> Amounts | None:
        """Return what is free of a node, None where nobody has counted."""
        used = self.used.get(node.name)
        if used is None:
            return None
        return {name: max(amount - used.get(name, Decimal(0)), Decimal(0)) for name, amount in node.has.items()}


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    return (
        toleration.effect in {"", taint.effect}
        and toleration.key in {"", taint.key}
        and (toleration.operator == "Exists" or (toleration.key != "" and toleration.value == taint.value))
    )
