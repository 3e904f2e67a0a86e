"""Nodes and priority that a job names: within what an admin allows, refused before a pod where not, and told where nothing fits."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tftraining_operator.core.configuration import Configuration, ResourceClass, Runtime, Scheduling, Toleration
from tftraining_operator.core.decide import decide
from tftraining_operator.core.nodes import Node, Nodes, Taint
from tftraining_operator.core.records import Observed, Plan

from .given import CONFIGURATION, CREATED, Pod, after, job, pods, seen

NOW = CREATED + 100
ALLOWED = Scheduling(
    allowed_priority_classes=("low", "high"),
    allowed_node_selector_keys=("zone", "disk", "pool"),
    allowed_toleration_keys=("spot", "team"),
)
RUNTIMES = {
    "tf1": Runtime(image="registry.test/trainer:tf1"),
    "tf2": Runtime(image="registry.test/trainer:tf2", node_selector={"pool": "training"}, tolerations=(Toleration(key="training"),)),
}
CLASS = ResourceClass(cpu="1", memory="1Gi", node_selector={"disk": "ssd"})


def admins(scheduling: Scheduling = ALLOWED) -> Configuration:
    return CONFIGURATION.model_copy(update={"runtimes": RUNTIMES, "resource_classes": {"small": CLASS}, "scheduling": scheduling})


ADMINS = admins()


def plan(observed: Observed, configuration: Configuration = ADMINS, now: float = NOW) -> Plan:
    return decide(observed, configuration, now)


def wanting(runtime: str = "tf2", **scheduling: Any) -> Observed:
    return seen(job(runtime=runtime, scheduling=scheduling))


ALL = {
    "priorityClassName": "high",
    "nodeSelector": {"zone": "a"},
    "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoExecute"}, {"key": "team", "value": "x"}],
}


def test_what_is_allowed_is_in_the_pod_beside_what_the_runtime_needs() -> None:
    [pod] = pods(plan(wanting(**ALL)))
    assert pod["spec"]["priorityClassName"] == "high"
    assert pod["spec"]["nodeSelector"] == {"zone": "a", "pool": "training"}
    assert pod["spec"]["tolerations"] == [
        {"key": "training"},
        {"key": "spot", "operator": "Exists", "effect": "NoExecute"},
        {"key": "team", "value": "x"},
    ]


def test_a_job_that_names_nothing_gets_nothing() -> None:
    [pod] = pods(plan(wanting("tf1", nodeSelector={}, tolerations=[])))
    assert not {"priorityClassName", "nodeSelector", "tolerations"} & pod["spec"].keys()


NOT_ALLOWED = {
    "a priority": (
        {"priorityClassName": "system-cluster-critical"},
        "priorityClassName is system-cluster-critical, where scheduling.allowedPriorityClasses of the chart allows high, low",
    ),
    "a label": (
        {"nodeSelector": {"kubernetes.io/hostname": "node-a"}},
        "nodeSelector is kubernetes.io/hostname=node-a, where scheduling.allowedNodeSelectorKeys of the chart allows disk, pool, zone",
    ),
    "a toleration": (
        {"tolerations": [{"key": "spot"}, {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]},
        "tolerations is node-role.kubernetes.io/control-plane, where scheduling.allowedTolerationKeys of the chart allows spot, team",
    ),
    "a label of the runtime with another value": (
        {"nodeSelector": {"pool": "serving"}},
        "nodeSelector is pool=serving, where runtime tf2 demands pool=training",
    ),
}


@pytest.mark.parametrize(("scheduling", "told"), NOT_ALLOWED.values(), ids=NOT_ALLOWED)
def test_what_is_not_allowed_fails_before_a_pod_with_field_value_and_what_is(scheduling: dict[str, Any], told: str) -> None:
    found = plan(wanting(**scheduling))
    assert (found.creates, found.status is not None) == ((), True)
    assert found.status is not None
    assert (found.status["phase"], found.status["failure"]["reason"]) == ("Failed", "InvalidSpec")
    expected = f"Spec.scheduling.{told}. Leave it out, or ask an admin to allow it; then create the job again."
    assert found.status["message"].lower() == expected.lower()


def test_a_label_of_the_class_with_another_value_is_told_by_the_class() -> None:
    found = plan(seen(job(resourceClass="small", scheduling={"nodeSelector": {"disk": "hdd"}}))).status
    assert found is not None
    assert "spec.scheduling.nodeSelector is disk=hdd, where resource class small demands disk=ssd" in found["message"]
    assert pods(plan(seen(job(resourceClass="small", scheduling={"nodeSelector": {"disk": "ssd"}})))), "the same value is no other"


def test_as_installed_nothing_is_allowed_and_all_that_a_job_names_is_told() -> None:
    found = plan(wanting(**ALL), admins(Scheduling())).status
    assert found is not None
    assert found["message"].count("of the chart allows none") == 4


def test_a_job_that_has_begun_goes_on_and_is_tried_again_when_it_is_no_longer_allowed() -> None:
    nothing = admins(Scheduling())
    evicted = replace(Pod().ran(143), phase="Failed").condition("DisruptionTarget", "True", "EvictionByEvictionAPI")
    observed = seen(job(scheduling=ALL, retry={"infrastructure": 1}), evicted)
    restarting = after(observed, plan(observed, nothing))
    begun = after(restarting, plan(restarting, nothing, NOW + 1000))
    [pod] = pods(plan(begun, nothing, NOW + 1000))
    assert pod["spec"]["priorityClassName"] == "high"


def test_the_check_of_a_job_that_waits_has_none_of_it() -> None:
    waits = replace(Pod(node=""), created=NOW - 60).condition("PodScheduled", "False", "Unschedulable", "0/1 nodes are available: x.")
    check = plan(seen(job(scheduling=ALL, preflight="Always"), waits)).check
    assert check is not None
    assert not {"priorityClassName", "nodeSelector", "tolerations"} & check["spec"].keys()
    assert "spot" not in json.dumps(check["spec"]["containers"][0]["resources"])


def node(name: str, *taints: Taint, **labels: str) -> Node:
    return Node(name, {"cpu": Decimal(4), "memory": Decimal(2**34), "pods": Decimal(110)}, labels, taints)


SELECTS_NONE = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."


def unplaced(*nodes: Node, message: str = SELECTS_NONE, runtime: str = "tf2", **scheduling: Any) -> Observed:
    waits = Pod(node="").condition("PodScheduled", "False", "Unschedulable", message)
    observed = seen(job(runtime=runtime, scheduling=scheduling), waits)
    return replace(observed, nodes=Nodes(nodes, {node.name: {} for node in nodes}) if nodes else None)


AGAIN = "create the job again with others, or ask an admin to label a node"
ZONE_Z = {"nodeSelector": {"zone": "z"}}


@pytest.mark.parametrize(
    ("observed", "reason", "words"),
    [
        pytest.param(
            unplaced(node("a", zone="e1"), node("b", zone="e2"), runtime="tf1", **ZONE_Z),
            "NoMatchingNode",
            f"none of the 2 nodes has the labels zone=z that spec.scheduling.nodeSelector demands (there are zone=e1, zone=e2): {AGAIN}",
            id="the job's own selector",
        ),
        pytest.param(
            unplaced(node("a", zone="z"), node("b", pool="training"), **ZONE_Z),
            "NoMatchingNode",
            f"not even the only node with pool=training has the labels zone=z that spec.scheduling.nodeSelector demands: {AGAIN}",
            id="the job's own beside the runtime's",
        ),
        pytest.param(
            unplaced(node("a", zone="z"), node("b"), **ZONE_Z),
            "NoMatchingNode",
            "none of the 2 nodes has the labels zone=z, pool=training that runtime tf2 and spec.scheduling.nodeSelector demand: an admin",
            id="the runtime's, which no node has either",
        ),
        pytest.param(
            unplaced(runtime="tf1", **ZONE_Z),
            "NoMatchingNode",
            f"none of the 2 nodes has the labels zone=z that spec.scheduling.nodeSelector demands: {AGAIN}",
            id="in the scheduler's words alone",
        ),
        pytest.param(
            unplaced(
                node("a", Taint("spot", "", "NoSchedule"), Taint("x", "", "NoSchedule")), runtime="tf1", tolerations=[{"key": "spot"}]
            ),
            "NodesTainted",
            "by the taint x:NoSchedule, which runtime tf1 and spec.scheduling.tolerations do not tolerate: ask an admin",
            id="a taint beside one that the job tolerates",
        ),
        pytest.param(
            unplaced(node("a", Taint("spot", "", "NoSchedule")), runtime="tf1", tolerations=[{"key": "spot"}]),
            "NoMatchingNode",
            "",
            id="nothing that is seen here",
        ),
    ],
)
def test_what_a_job_waits_for_because_of_what_it_names_is_told_by_its_field(observed: Observed, reason: str, words: str) -> None:
    found = plan(observed, now=NOW + 60)
    assert found.status is not None
    if not words:
        assert found.status["pending"]["reason"] != "NodesTainted"
        return
    assert (found.status["pending"]["reason"], words in found.status["pending"]["message"]) == (reason, True), found.status["pending"]


def test_the_nodes_are_looked_at_for_what_the_job_demands() -> None:
    found = plan(unplaced(**ALL), now=NOW + 60)
    assert found.need is not None
    assert found.need.selector == {"zone": "a", "pool": "training"}
    assert [each.key for each in found.need.tolerations] == ["training", "spot", "team"]
    assert ADMINS.node_labels == {"zone", "disk", "pool"}


def test_a_priority_that_the_cluster_does_not_have_is_told_with_who_has_to_make_it() -> None:
    said = 'pods "iris-chief-0" is forbidden: no PriorityClass with name high was found'
    found = plan(replace(wanting(**ALL), refusal=said)).status
    assert found is not None
    assert found["pending"]["reason"] == "PodRefused"
    assert "an admin has to create it, or take it out of scheduling.allowedPriorityClasses of the chart" in found["pending"]["message"]
