"""Why no node takes a pod: what the nodes have and what a job asks for, and what its user reads."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftraining_operator.api.spec import Spec
from tftraining_operator.core import build, capacity
from tftraining_operator.core.configuration import Runtime, Toleration
from tftraining_operator.core.effective import Effective, effective
from tftraining_operator.core.nodes import Node, Nodes, Taint
from tftraining_operator.core.pending import Pending
from tftraining_operator.core.placement import need
from tftraining_operator.core.waiting import pending

from .given import CONFIGURATION, Pod, job

GPU = "nvidia.com/gpu"
GIB = 1024**3
NEVER = "0/1 nodes are available: 1 Insufficient x. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
NOT_NOW = "0/1 nodes are available: 1 Insufficient x. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
TEAM = Taint("dedicated", "team-x", "NoSchedule")


def node(name: str = "node-a", cpu: str = "4", gib: int = 16, gpus: int = 0, **rest: Any) -> Node:
    """Return a node with room for 110 pods."""
    devices = {GPU: Decimal(gpus)} if gpus else {}
    return Node(name, {"cpu": Decimal(cpu), "memory": Decimal(gib * GIB), "pods": Decimal(110), **devices}, **rest)


def wanted(runtime: Runtime | None = None, **resources: Any) -> Effective:
    """Return a job that asks for that, beside what the configuration gives it."""
    spec = Spec.model_validate({"script": {"inline": "pass", "name": "a.py"}, "resources": resources})
    return effective(spec, CONFIGURATION, "tf2", runtime or Runtime(image="x"))


def told(
    asking: Effective, *nodes: Node, used: dict[str, dict[str, int]] | None = None, message: str = NOT_NOW, nominated: str = ""
) -> Pending:
    """Return what is told of a pod that no node takes."""
    pod = replace(Pod(node="").condition("PodScheduled", "False", "Unschedulable", message).record(), nominated_node=nominated)
    amounts = {name: {resource: Decimal(amount) for resource, amount in each.items()} for name, each in (used or {}).items()}
    found = pending(pod, asking, Nodes(nodes, amounts) if nodes else None)
    assert found is not None
    return found


RUNTIME = Runtime(image="x", node_selector={"accelerator": "v100"}, tolerations=(Toleration(key="dedicated", value="team-x"),))
V100 = {"accelerator": "v100"}


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        pytest.param(
            told(wanted(cpu="1000", memory="1Gi"), node(), node("node-b", cpu="7.91")),
            "TooLargeForAnyNode",
            "no node is large enough: the job asks for cpu 1000, memory 1Gi (to which the pod's other container adds 50m of cpu), and "
            "the most "
            "that a node has, even when it is empty, is 7.91 of cpu (node-b); create the job again with less (spec.resources.cpu), or "
            "ask an "
            "admin for a larger node",
            id="more than any node has at all",
        ),
        pytest.param(
            told(wanted(cpu="4", memory="1Gi"), node()),
            "TooLargeForAnyNode",
            "(to which the pod's other container adds 50m of cpu), and the most that a node has, even when it is empty, is 4 of cpu "
            "(node-a)",
            id="all of a node, where the pod's other container needs some too",
        ),
        pytest.param(
            told(wanted(cpu="6", memory="20Gi"), node(cpu="8", gib=16), node("node-b", cpu="4", gib=64)),
            "TooLargeForAnyNode",
            "no node has all of it: the closest, node-a, has 16Gi of memory; create the job again with less (spec.resources.memory)",
            id="each of it somewhere, but never on one node",
        ),
        pytest.param(
            told(wanted(gpus=8), node(gpus=4), node("node-b", gpus=2)),
            "TooLargeForAnyNode",
            f"8 of {GPU}, and the most that a node has, even when it is empty, is 4 of {GPU} (node-a); create the job again with less "
            "(spec.resources.gpus)",
            id="more GPUs than any node has",
        ),
        pytest.param(
            told(wanted(gpus=2), node(), replace(node("node-b"), has={**node().has, "amd.com/gpu": Decimal(8)})),
            "ResourceNotOffered",
            f"no node offers {GPU}, of which spec.resources.gpus asks for 2: ask an admin for a node with {GPU}, or whether its device "
            f"plugin "
            "runs; or create the job again without GPUs, or with another spec.resources.gpuResource (the nodes offer amd.com/gpu)",
            id="a GPU that no node offers",
        ),
        pytest.param(
            told(wanted(RUNTIME), node(), node("node-b")),
            "NoMatchingNode",
            "none of the 2 nodes has the labels accelerator=v100 that runtime tf2 demands: an admin has to label a node, or to correct "
            "nodeSelector in the runtime catalogue",
            id="a selector that no node matches",
        ),
        pytest.param(
            told(wanted(), node(taints=(TEAM,)), node("node-b", taints=(TEAM, Taint("x", "", "NoExecute")))),
            "NodesTainted",
            "the nodes that are large enough (node-a, node-b) are kept for others by the taint dedicated=team-x:NoSchedule, x:NoExecute, "
            "which "
            "runtime tf2 does not tolerate: ask an admin to add a toleration",
            id="taints",
        ),
        pytest.param(
            told(
                wanted(),
                node(cordoned=True, taints=(Taint("node.kubernetes.io/unschedulable", "", "NoSchedule"),)),
                node("node-b", ready=False, taints=(Taint("node.kubernetes.io/unreachable", "", "NoExecute"),)),
                node("node-c", taints=(Taint("node.kubernetes.io/disk-pressure", "", "NoSchedule"),)),
                node("node-d", taints=(TEAM,)),
                node("node-e", cpu="0.5"),
            ),
            "NodesNotReady",
            "no node that could take the job takes pods now: node-a (cordoned), node-b (not ready), node-c (disk-pressure); it starts by "
            "itself",
            id="nodes that are closed for a while",
        ),
        pytest.param(
            told(wanted(), node(cordoned=True), node("node-b", ready=False)),
            "NodesNotReady",
            "takes pods now: node-a (cordoned), node-b (not ready); it starts by itself",
            id="nodes that nobody has tainted yet",
        ),
        pytest.param(
            told(
                wanted(gpus=2),
                node(gpus=4),
                node("node-b", gpus=4),
                used={"node-a": {GPU: 4, "pods": 9}, "node-b": {GPU: 3, "cpu": 1}},
            ),
            "Unschedulable",
            f"no node has room now: the job asks for cpu 1, memory 2560Mi, 2 of {GPU}, and the most that is free on one node is 1 of 4 "
            f"{GPU} "
            "(node-b); it starts by itself when other pods have ended",
            id="the largest free block is too small",
        ),
        pytest.param(
            told(wanted(cpu="2", memory="8Gi"), node(), node("node-b"), used={"node-a": {"cpu": 3}, "node-b": {"memory": 12 * GIB}}),
            "Unschedulable",
            "and no node has all of that free: the closest is node-a, with 1 of cpu; it starts by itself",
            id="each of it is free somewhere",
        ),
        pytest.param(
            told(wanted(cpu="2", memory="1Gi"), node(), node("node-b"), used={"node-a": {"cpu": 3}}),
            "Unschedulable",
            "and the nodes that are large enough (node-a, node-b) are too full; it starts by itself",
            id="nobody has counted what is free",
        ),
        pytest.param(
            told(wanted(), node(), used={"node-a": {}}, message=NOT_NOW.replace("Insufficient x", "node(s) didn't match pod topology")),
            "Unschedulable",
            "no node can take the job now (spec.resources asks for cpu 1, memory 2560Mi): 0/1 nodes are available: 1 node(s) didn't "
            "match pod",
            id="only the scheduler knows why",
        ),
        pytest.param(
            told(wanted(RUNTIME), node(labels=V100, taints=(TEAM,)), used={"node-a": {"pods": 110}}),
            "Unschedulable",
            "the most that is free on one node is 0 of 110 pods (node-a)",
            id="a taint that the runtime tolerates",
        ),
        pytest.param(
            told(wanted(), node(), nominated="node-a"),
            "Preempting",
            "pods of a lower priority are being ended on node node-a to make room for the job: it starts when they have ended",
            id="the scheduler ends others for it",
        ),
        pytest.param(told(wanted(), message="no nodes available to schedule pods"), "NoNodes", "the cluster has no node", id="no node"),
        pytest.param(
            told(wanted(gpus=2), message=NEVER.replace(" x.", f" {GPU}.")),
            "TooLargeForAnyNode",
            "no node is large enough, even when it is empty, or offers what is asked: spec.resources asks for cpu 1, memory 2560Mi, 2 of "
            f"{GPU}, and 0/1 nodes are available: 1 Insufficient {GPU}; create the job again with less (spec.resources.gpus), or ask an "
            f"admin",
            id="by its words alone, never",
        ),
        pytest.param(
            told(wanted(gpus=2), message=NOT_NOW.replace(" x.", f" {GPU}.")),
            "Unschedulable",
            f"no node can take the job now (spec.resources asks for cpu 1, memory 2560Mi, 2 of {GPU}): 0/1 nodes are available: 1 "
            f"Insufficient",
            id="by its words alone, not now",
        ),
        pytest.param(
            told(wanted(RUNTIME), message="0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."),
            "NoMatchingNode",
            "none of the 3 nodes has the labels accelerator=v100 that runtime tf2 demands",
            id="by its words alone, a selector",
        ),
        pytest.param(
            told(
                wanted(), message="0/2 nodes are available: 1 node(s) had untolerated taint {a: b}, 1 node(s) had untolerated taint {c: }."
            ),
            "NodesTainted",
            "all 2 nodes are kept for others by a taint ({a: b}, {c: }) that runtime tf2 does not tolerate",
            id="by its words alone, taints",
        ),
        pytest.param(
            told(wanted(), message="0/2 nodes are available: 2 node(s) had untolerated taint(s)."),
            "NodesTainted",
            "all 2 nodes are kept for others by a taint that runtime tf2 does not tolerate",
            id="by its words alone, taints without a name",
        ),
        pytest.param(
            told(wanted(), message="0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."),
            "NodesNotReady",
            "no node takes pods now: 0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }; the job "
            "starts",
            id="by its words alone, a node that is not ready",
        ),
        pytest.param(
            told(
                wanted(),
                message="0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {a: b}. preemption: 0/2 nodes are "
                "available: 2 Preemption is not helpful for scheduling.",
            ),
            "NoSuitableNode",
            "as the nodes are, none can take the job even when it is empty (spec.resources asks for cpu 1, memory 2560Mi): 0/2 nodes are",
            id="by its words alone, for different reasons never",
        ),
    ],
)
def test_a_pod_that_no_node_takes_is_told_with_what_is_asked_what_there_is_and_whether_waiting_helps(
    found: Pending, reason: str, words: str
) -> None:
    assert (found.reason, found.restless) == (reason, True)
    assert words in found.message
    assert not found.certain, "an admin or an autoscaler can add a node at any time"


def test_what_a_pod_asks_for_is_what_the_scheduler_counts_of_the_pod_that_is_made() -> None:

    asking = wanted(cpu="2", memory="4Gi", gpus=1)
    pod = build.pod(job(resources={"cpu": "2", "memory": "4Gi", "gpus": 1}), asking, CONFIGURATION, 0)
    assert capacity.used_by([pod]) == need(asking).asked


def test_what_pods_have_of_a_node_is_counted_as_the_scheduler_does() -> None:
    def container(cpu: str, **rest: Any) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}, **rest}

    whole = {"spec": {"containers": [container("1"), container("500m")], "initContainers": [container("3")]}}
    sidecar = {"spec": {"containers": [container("1")], "initContainers": [container("1", restartPolicy="Always"), container("1")]}}
    together = {"spec": {"containers": [container("1")], "resources": {"requests": {"cpu": "7"}}, "overhead": {"cpu": "250m"}}}
    over = {"spec": {"containers": [container("50")]}, "status": {"phase": "Succeeded"}}
    found = capacity.used_by([whole, sidecar, together, over])
    assert found == {"pods": Decimal(3), "cpu": Decimal(3) + 2 + Decimal("7.25"), "memory": Decimal((2 + 2 + 1) * GIB)}


def test_a_node_is_read_with_what_matters_of_it() -> None:
    raw = {
        "metadata": {"name": "node-a", "labels": {"accelerator": "v100", "secret": "x"}},
        "spec": {
            "unschedulable": True,
            "taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}, {"key": "c", "effect": "PreferNoSchedule"}],
        },
        "status": {
            "allocatable": {"cpu": "3920m", "memory": "15842684Ki", GPU: "2"},
            "conditions": [{"type": "Ready", "status": "Unknown"}],
        },
    }
    assert capacity.node_of(raw, {"accelerator"}) == Node(
        "node-a",
        {"cpu": Decimal("3.920"), "memory": Decimal(15842684 * 1024), GPU: Decimal(2)},
        {"accelerator": "v100"},
        (Taint("a", "b", "NoSchedule"),),
        cordoned=True,
        ready=False,
    )


@pytest.mark.parametrize(
    ("toleration", "taint", "tolerated"),
    [
        (Toleration(key="a", value="b"), Taint("a", "b", "NoSchedule"), True),
        (Toleration(key="a", value="c"), Taint("a", "b", "NoSchedule"), False),
        (Toleration(key="a", operator="Exists"), Taint("a", "b", "NoExecute"), True),
        (Toleration(key="a", operator="Exists", effect="NoSchedule"), Taint("a", "b", "NoExecute"), False),
        (Toleration(operator="Exists"), Taint("a", "b", "NoExecute"), True),
        (Toleration(), Taint("a", "", "NoExecute"), False),
    ],
)
def test_a_taint_is_tolerated_as_kubernetes_defines_it(toleration: Toleration, taint: Taint, tolerated: bool) -> None:
    needed = need(wanted(Runtime(image="x", tolerations=(toleration,))))
    assert (needed.kept_away_by(node(taints=(taint,))) == ()) is tolerated


_AMOUNTS = st.dictionaries(
    st.sampled_from(["cpu", "memory", GPU, "pods"]), st.sampled_from(["0", "1", "110", "3Gi", "x", 7, None, "9" * 30])
)
_OBJECTS = st.fixed_dictionaries(
    {"metadata": st.just({"name": "n"}) | st.none() | st.just({"name": 7})},
    optional={
        "spec": st.none()
        | st.fixed_dictionaries({"taints": st.lists(st.none() | st.dictionaries(st.sampled_from(["key", "effect"]), st.text()))}),
        "status": st.fixed_dictionaries({"allocatable": st.none() | _AMOUNTS, "conditions": st.none() | st.lists(st.none())}),
    },
)


@given(st.lists(_OBJECTS, max_size=4), st.lists(st.fixed_dictionaries({"spec": st.none() | st.just({"containers": [{"resources": 3}]})})))
def test_whatever_nodes_look_like_something_is_told(raw: list[dict[str, Any]], pods: list[dict[str, Any]]) -> None:
    seen = [found for each in raw if (found := capacity.node_of(each, {"a"})) is not None]
    used = {found.name: capacity.used_by(pods) for found in seen}
    pod = Pod(node="").condition("PodScheduled", "False", "Unschedulable", NEVER).record()
    found = pending(pod, wanted(gpus=1), Nodes(tuple(seen), used))
    assert found is not None
    assert found.reason
    assert len(found.reason) <= 64
