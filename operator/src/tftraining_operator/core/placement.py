"""Why no node takes a job's pod, in the words of the job's user: what it asks for, what there is, whether it can ever fit, what to do.

The scheduler's sentence tells that it does not fit now. What the nodes have tells whether it ever will, and how much is missing; where
the operator may not see them, the sentence alone has to do. Nothing here ends a job: an admin or an autoscaler can add a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from tftraining_operator.api.quantities import exact
from tftraining_operator.core.effective import SIDE_REQUESTS, Effective
from tftraining_operator.core.nodes import PODS, Amounts, Need, Node, Nodes
from tftraining_operator.core.pending import Pending
from tftraining_operator.core.records import PodRecord
from tftraining_operator.core.scheduling import Obstacle, Refusal, Sentence, read

_OWN_FIELDS: Final = ("cpu", "memory")
"""Resources that have a field of their name; all others are counted by `gpus`."""
_SHOWN: Final = 3
_BYTES: Final = (("Ti", 1024**4), ("Gi", 1024**3), ("Mi", 1024**2), ("Ki", 1024))
_WAIT: Final = "it starts by itself when other pods have ended"


def need(wanted: Effective) -> Need:
    """Return what the job's pod needs of a node: what the scheduler counts of its containers, and where the runtime lets it run."""
    return Need(
        asked={
            "cpu": exact(wanted.cpu) + exact(SIDE_REQUESTS["cpu"]),
            "memory": exact(wanted.memory) + exact(SIDE_REQUESTS["memory"]),
            **{name: Decimal(count) for name, count in wanted.devices.items()},
            PODS: Decimal(1),
        },
        selector=wanted.node_selector,
        tolerations=wanted.tolerations,
    )


def refused_by_all(pod: PodRecord) -> bool:
    """Tell whether the scheduler has found no node for the pod."""
    return pod.condition("PodScheduled")[:2] == ("False", "Unschedulable")


def unplaced(pod: PodRecord, wanted: Effective, nodes: Nodes | None) -> Pending | None:
    """Return what a pod waits for that the scheduler has not placed, None for one that is. `nodes` is None where nobody has seen them."""
    scheduled = pod.condition("PodScheduled")
    if not scheduled.status and not pod.node and wanted.claim_template:
        # A scheduler does not even look at a pod whose claim is not made yet, and says nothing of it.
        return Pending(
            "ClaimMissing",
            f"the scheduler has not looked at the pod yet: it needs a claim to devices, which is made of the ResourceClaimTemplate "
            f"{wanted.claim_template} of resource class {wanted.spec.resource_class}: that has to be in namespace {pod.key.namespace}",
        )
    if scheduled.status != "False":
        return None
    if scheduled.reason == "SchedulingGated":
        return Pending("SchedulingGated", "the pod waits for a scheduling gate to be lifted, as by a queue")
    return replace(_no_node(read(scheduled.message), pod.nominated_node, wanted, nodes), restless=True)


def _no_node(said: Sentence, nominated: str, wanted: Effective, nodes: Nodes | None) -> Pending:
    if nominated or said.preempting:
        where = f"node {nominated}" if nominated else "a node"
        return Pending(
            "Preempting", f"pods of a lower priority are being ended on {where} to make room for the job: it starts when they have ended"
        )
    if said.nodes == 0:
        return Pending("NoNodes", "the cluster has no node: the job starts when an admin, or an autoscaler, has added one")
    found = _by_nodes(need(wanted), nodes, wanted) if nodes is not None and nodes.nodes else None
    if found is None and wanted.claim_template and any(each.obstacle is Obstacle.OTHER for each in said.refusals):
        return _no_devices(said, wanted)
    return found or _by_sentence(said, wanted)


def _no_devices(said: Sentence, wanted: Effective) -> Pending:
    """Tell of a claim that no node can meet: a scheduler says alike that the devices are taken, and that there are none."""
    return Pending(
        "DevicesNotAvailable",
        f"no node has the devices that resource class {wanted.spec.resource_class} claims (ResourceClaimTemplate {wanted.claim_template}) "
        f"free now: {said.why}; if there are any, it starts by itself when others give theirs back, else ask an admin for such a node",
    )


def _by_nodes(needed: Need, nodes: Nodes, wanted: Effective) -> Pending | None:
    """Return what the nodes tell; None where by all that is seen here the pod should fit, so that only the scheduler knows why not."""
    for resource in wanted.devices:
        if not nodes.offering(resource):
            return _not_offered(resource, nodes.nodes, wanted)
    selected = nodes.selected(needed)
    if not selected:
        return _unmatched(len(nodes.nodes), wanted, nodes)
    large = nodes.large_enough(needed)
    if not large:
        return _too_large(needed, selected, wanted)
    candidates = nodes.open_to(needed)
    if not candidates:
        return _closed(needed, large, wanted)
    return _full(needed, candidates, nodes, wanted)


def _not_offered(resource: str, nodes: Sequence[Node], wanted: Effective) -> Pending:
    others = sorted({name for node in nodes for name in node.has if "/" in name and node.has[name] > 0})
    known = f" (the nodes offer {_listed(others)})" if others else ""
    return Pending(
        "ResourceNotOffered",
        f"no node offers {resource}, of which {wanted.field('gpus')} asks for {wanted.gpus}: ask an admin for a node with "
        f"{resource}, or whether its device plugin runs; or create the job again without GPUs, or with another "
        f"{wanted.field('gpuResource')}{known}",
    )


def _unmatched(count: int, wanted: Effective, nodes: Nodes | None) -> Pending:
    """Tell which labels no node has, and who demands them: the job alone, where there are nodes with all others."""
    own = wanted.spec.scheduling.node_selector or {}
    others = {key: value for key, value in wanted.node_selector.items() if key not in own}
    fitting = nodes.selected(Need({}, others)) if nodes is not None else ()
    if own and (fitting or not others):
        beside = f" with {_labels(others)}" if others else ""
        values = sorted({f"{key}={node.labels[key]}" for node in fitting for key in own if key in node.labels})
        there_are = f" (there are {_listed(values)})" if values else ""
        return Pending(
            "NoMatchingNode",
            f"{_none_of(len(fitting) or count)}{beside} has the labels {_labels(own)} that spec.scheduling.nodeSelector demands{there_are}"
            ": create the job again with others, or ask an admin to label a node",
        )
    who, catalogue = _admins_choice(wanted)
    who += " and spec.scheduling.nodeSelector" if own else ""
    demand = "demand" if " and " in who else "demands"
    return Pending(
        "NoMatchingNode",
        f"{_none_of(count)} has the labels {_labels(wanted.node_selector)} that {who} {demand}: an admin has to label a node, or to "
        f"correct nodeSelector in {catalogue}",
    )


def _labels(selector: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in selector.items())


def _admins_choice(wanted: Effective) -> tuple[str, str]:
    """Return what of the job an admin has tied to nodes, and where."""
    runtime, name = f"runtime {wanted.runtime_name}", wanted.spec.resource_class
    if name is None:
        return runtime, "the runtime catalogue"
    return f"{runtime} and resource class {name}", "the catalogues of runtimes and resource classes"


def _too_large(needed: Need, selected: Sequence[Node], wanted: Effective) -> Pending:
    lacking = [name for name in needed.asked if all(needed.asked[name] > node.has.get(name, Decimal(0)) for node in selected)]
    if not lacking:
        # Each is there, but never all of it on one node.
        closest = min(selected, key=lambda node: (len(needed.lacking(node.has)), node.name))
        lacking = list(needed.lacking(closest.has))
        what = f"no node has all of it: the closest, {closest.name}, has {_has(closest, lacking)}"
    else:
        what = "the most that a node has, even when it is empty, is " + ", ".join(_most(name, selected) for name in lacking)
    return Pending(
        "TooLargeForAnyNode",
        f"no node is large enough: the job asks for {_asked(wanted)}{_addition(lacking)}, and {what}; create the job again with less "
        f"({_fields(lacking, wanted)}), or ask an admin for a larger node",
    )


def _closed(needed: Need, large: Sequence[Node], wanted: Effective) -> Pending:
    states = {node.name: _state(needed, node) for node in large}
    passing = [node for node in large if all(taint.passing for taint in needed.kept_away_by(node))]
    if passing:
        told = _listed([f"{node.name} ({states[node.name]})" for node in passing])
        return Pending(
            "NodesNotReady",
            f"no node that could take the job takes pods now: {told}; it starts by itself when one does, and an admin can say when",
        )
    taints = sorted({str(taint) for node in large for taint in needed.kept_away_by(node) if not taint.passing})
    return Pending(
        "NodesTainted",
        f"the nodes that are large enough ({_listed([node.name for node in large])}) are kept for others by the taint {_listed(taints)}, "
        f"which {_not_tolerated(wanted)}",
    )


def _not_tolerated(wanted: Effective) -> str:
    who, catalogue = _admins_choice(wanted)
    who += " and spec.scheduling.tolerations" if wanted.spec.scheduling.tolerations else ""
    verb = "do" if " and " in who else "does"
    return f"{who} {verb} not tolerate: ask an admin to add a toleration to {catalogue}, or for another node"


def _full(needed: Need, candidates: Sequence[Node], nodes: Nodes, wanted: Effective) -> Pending | None:
    asked = f"no node has room now: the job asks for {_asked(wanted)}"
    free = {node.name: amounts for node in candidates if (amounts := nodes.free(node)) is not None}
    if len(free) < len(candidates):
        large = _listed([node.name for node in candidates])
        return Pending("Unschedulable", f"{asked}, and the nodes that are large enough ({large}) are too full; {_WAIT}")
    lacking = {name: needed.lacking(amounts) for name, amounts in free.items()}
    if not all(lacking.values()):
        return None
    scarce = [name for name in needed.asked if all(name in names for names in lacking.values())]
    if scarce:
        blocks = ", ".join(_largest_block(name, candidates, free) for name in scarce)
        return Pending("Unschedulable", f"{asked}, and the most that is free on one node is {blocks}; {_WAIT}")
    closest = min(candidates, key=lambda node: (len(lacking[node.name]), node.name))
    left = ", ".join(f"{_amount(name, free[closest.name].get(name, Decimal(0)))} of {name}" for name in lacking[closest.name])
    return Pending("Unschedulable", f"{asked}, and no node has all of that free: the closest is {closest.name}, with {left}; {_WAIT}")


def _by_sentence(said: Sentence, wanted: Effective) -> Pending:
    by_class = wanted.spec.resource_class
    asked = f"{f'spec.resourceClass ({by_class})' if by_class else 'spec.resources'} asks for {_asked(wanted)}"
    scarce = said.only(Obstacle.RESOURCE)
    if said.never and scarce:
        names = list(dict.fromkeys(refusal.detail for refusal in scarce))
        return Pending(
            "TooLargeForAnyNode",
            f"no node is large enough, even when it is empty, or offers what is asked: {asked}{_addition(names)}, and {said.why}; create "
            f"the job again with less ({_fields(names, wanted)}), or ask an admin for a node that has it",
        )
    if said.only(Obstacle.SELECTOR) and wanted.node_selector:
        return _unmatched(said.nodes or 0, wanted, None)
    if said.only(Obstacle.CORDON) or _passing(said.only(Obstacle.TAINT)):
        return Pending("NodesNotReady", f"no node takes pods now: {said.why}; the job starts by itself when one does")
    if taints := said.only(Obstacle.TAINT):
        named = sorted({refusal.detail for refusal in taints if refusal.detail})
        which = f" ({_listed(named)})" if named else ""
        return Pending(
            "NodesTainted",
            f"{_every(said.nodes or 0)} kept for others by a taint{which} that {_not_tolerated(wanted)}",
        )
    if said.never:
        return Pending(
            "NoSuitableNode",
            f"as the nodes are, none can take the job even when it is empty ({asked}): {said.why}; ask for less in a new job, or let an "
            "admin add a node or open one",
        )
    why = said.why or "the scheduler gives no reason"
    return Pending("Unschedulable", f"no node can take the job now ({asked}): {why}; wait, or ask for less in a new job")


def _passing(taints: Iterable[Refusal]) -> bool:
    found = [refusal.detail for refusal in taints]
    return bool(found) and all(detail.startswith(("{node.kubernetes.io/", "{node.cloudprovider.kubernetes.io/")) for detail in found)


def _state(needed: Need, node: Node) -> str:
    words = ["cordoned"] if node.cordoned else []
    words += ["not ready"] if not node.ready else []
    # What these two are made known by to the scheduler says nothing more.
    told = {"node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    words += [taint.key.partition("/")[2] for taint in needed.kept_away_by(node) if taint.key not in told]
    return ", ".join(words) or "closed"


def _asked(wanted: Effective) -> str:
    devices = "".join(f", {count} of {name}" for name, count in wanted.devices.items())
    return f"cpu {wanted.cpu}, memory {wanted.memory}{devices}"


def _addition(names: Iterable[str]) -> str:
    added = [f"{SIDE_REQUESTS[name]} of {name}" for name in names if name in SIDE_REQUESTS]
    return f" (to which the pod's other container adds {' and '.join(added)})" if added else ""


def _fields(names: Iterable[str], wanted: Effective) -> str:
    fields = (wanted.field(name if name in _OWN_FIELDS else "gpus") for name in names if name != PODS)
    return ", ".join(dict.fromkeys(fields)) or "spec.resources"


def _most(resource: str, nodes: Sequence[Node]) -> str:
    best = max(nodes, key=lambda node: node.has.get(resource, Decimal(0)))
    return f"{_amount(resource, best.has.get(resource, Decimal(0)))} of {resource} ({best.name})"


def _has(node: Node, names: Iterable[str]) -> str:
    return ", ".join(f"{_amount(name, node.has.get(name, Decimal(0)))} of {name}" for name in names)


def _largest_block(resource: str, candidates: Sequence[Node], free: Mapping[str, Amounts]) -> str:
    best = max(candidates, key=lambda node: free[node.name].get(resource, Decimal(0)))
    has = f" of {_amount(resource, best.has.get(resource, Decimal(0)))}"
    return f"{_amount(resource, free[best.name].get(resource, Decimal(0)))}{has} {resource} ({best.name})"


def _amount(resource: str, value: Decimal) -> str:
    if resource in {"memory", "ephemeral-storage"} or resource.startswith("hugepages-"):
        unit, size = next(((unit, size) for unit, size in _BYTES if value >= size), ("", 1))
        # Never more than there is: a value that is copied into a job has to fit.
        return f"{(value / size * 10).to_integral_value(rounding='ROUND_FLOOR') / 10:f}".removesuffix(".0") + unit
    whole = value.to_integral_value() == value
    return f"{value:.0f}" if whole else f"{value.normalize():f}"


def _none_of(nodes: int) -> str:
    return "not even the only node" if nodes == 1 else f"none of the {nodes} nodes"


def _every(nodes: int) -> str:
    return "the only node is" if nodes == 1 else f"all {nodes} nodes are"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
