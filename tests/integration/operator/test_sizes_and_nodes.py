"""Resource classes, nodes and priority that jobs name: with the real scheduler, and nodes that are made up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from control import GPU, Operator, Played, add_node, lasting_plane, pending, remove_nodes, until
from controlplane import ControlPlane
from faults import FaultProxy
from played_kubelet import Object

MIG = "nvidia.com/mig-1g.5gb"
SETTINGS = {
    "resourceClasses": {
        "v100-x1": {
            "cpu": "2",
            "memory": "4Gi",
            "gpus": 1,
            "nodeSelector": {"accelerator": "v100"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "images": {"tf1": "localhost/tf1-gpu:x"},
        },
        "a-seventh": {"cpu": "1", "memory": "2Gi", "gpus": 2, "gpuResource": MIG},
    },
    "scheduling": {"allowedNodeSelectorKeys": ["zone"], "allowedTolerationKeys": ["spot"]},
    "metricsNamespaces": 1,
}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Return a control plane with a scheduler."""
    yield from lasting_plane(scheduler=True)


@pytest.fixture(autouse=True)
def no_nodes_are_left(plane: ControlPlane) -> Iterator[None]:
    """Leave no node to the next test."""
    yield
    remove_nodes(plane)


@pytest.fixture
def catalogue(proxy: FaultProxy, played: Played, tmp_path: Path) -> Iterator[Operator]:
    """Return a running operator with a catalogue of sizes, which allows a label, a taint and a PriorityClass of the test's own."""
    scheduling = SETTINGS["scheduling"] | {"allowedPriorityClasses": [played.namespace, f"{played.namespace}-missing"]}  # type: ignore[operator]
    with Operator(proxy, played.namespace, tmp_path, settings={**SETTINGS, "scheduling": scheduling}) as operator:
        operator.start()
        yield operator


def label(played: Played, node: str, *, devices: Object | None = None, **labels: str) -> None:
    """Give a node labels, and devices to offer."""
    played.call("PATCH", f"/api/v1/nodes/{node}", {"metadata": {"labels": labels}}, "application/merge-patch+json")
    if devices is not None:
        body = {"status": {"capacity": devices, "allocatable": devices}}
        played.call("PATCH", f"/api/v1/nodes/{node}/status", body, "application/merge-patch+json")


def placed(played: Played, name: str) -> Object:
    path = f"{played.pods_path}/{name}-chief-0"
    played.wait_for_pod(f"{name}-chief-0")
    return until(lambda: pod if (pod := played.call("GET", path))["spec"].get("nodeName") else None, f"the pod of {name} is placed")


def shown_gpus(played: Played, name: str) -> object:
    """Return what `kubectl get` shows of a job's GPUs."""
    shown = played.call("GET", f"{played.jobs_path}/{name}", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    columns = [column["name"] for column in shown["columnDefinitions"]]
    return dict(zip(columns, shown["rows"][0]["cells"], strict=True))["GPUs"]


def test_a_job_of_a_class_gets_its_size_on_its_nodes_with_its_image_and_shows_its_gpus(catalogue: Operator, played: Played) -> None:
    add_node(played, "node-a", gpus=4)
    add_node(played, "node-b", gpus=4, taints=[{"key": "gpu", "effect": "NoSchedule"}])
    label(played, "node-b", accelerator="v100")
    played.submit("iris", resourceClass="v100-x1")
    pod = placed(played, "iris")
    assert pod["spec"]["nodeName"] == "node-b"
    trainer = next(each for each in pod["spec"]["containers"] if each["name"] == "trainer")
    assert (trainer["image"], trainer["resources"]["limits"]) == ("localhost/tf1-gpu:x", {"memory": "4Gi", GPU: "1"})
    played.run(pod)
    played.wait_for_phase("iris", "Running")
    assert shown_gpus(played, "iris") == 1
    assert f'tftraining_gpus{{namespace="{played.namespace}",state="held"}} 1.0' in catalogue.page("metrics")


def test_parts_of_gpus_are_had_by_their_own_name_from_a_class_and_by_the_job_itself(catalogue: Operator, played: Played) -> None:
    add_node(played, "node-a")
    played.submit("by-class", resourceClass="a-seventh")
    assert f"no node offers {MIG}, of which spec.resourceClass asks for 2" in wait_for(played, "by-class", "ResourceNotOffered")
    label(played, "node-a", devices={MIG: "3", "npu.example.com/Ascend_910.B": "1"})
    assert placed(played, "by-class")["spec"]["nodeName"] == "node-a"
    played.submit("itself", resources={"gpus": 2, "gpuResource": MIG})
    assert f"2 of {MIG}, and the most that is free on one node is 1 of 3 {MIG} (node-a)" in wait_for(played, "itself", "Unschedulable")
    played.submit("of-another-vendor", resources={"gpus": 1, "gpuResource": "npu.example.com/Ascend_910.B"})
    placed(played, "of-another-vendor")


def wait_for(played: Played, name: str, reason: str) -> str:
    until(lambda: pending(played, name).get("reason") == reason, f"job {name} waits for {reason}: {pending(played, name)}")
    return str(pending(played, name)["message"])


def test_a_job_chooses_its_nodes_within_what_is_allowed_and_is_told_where_there_are_none(catalogue: Operator, played: Played) -> None:
    add_node(played, "node-a")
    add_node(played, "node-b", taints=[{"key": "spot", "effect": "NoSchedule"}])
    for name in ("a", "b"):
        label(played, f"node-{name}", zone=name)
    played.submit("tolerates", scheduling={"nodeSelector": {"zone": "b"}, "tolerations": [{"key": "spot"}]})
    assert placed(played, "tolerates")["spec"]["nodeName"] == "node-b"
    played.submit("elsewhere", scheduling={"nodeSelector": {"zone": "c"}})
    message = wait_for(played, "elsewhere", "NoMatchingNode")
    assert "has the labels zone=c that spec.scheduling.nodeSelector demands (there are zone=a, zone=b): create the job again" in message
    label(played, "node-a", zone="c")
    assert placed(played, "elsewhere")["spec"]["nodeName"] == "node-a"


def test_a_priority_ends_others_where_it_is_allowed_and_is_refused_where_not(catalogue: Operator, played: Played) -> None:
    for name, value in ((played.namespace, 1000), (f"{played.namespace}-other", 2000)):
        body = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}
        played.call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", body)
    add_node(played, "node-a")
    played.submit("first", resources={"cpu": "3"})
    first = placed(played, "first")
    played.submit("urgent", resources={"cpu": "3"}, scheduling={"priorityClassName": played.namespace})
    assert played.wait_for_pod("urgent-chief-0")["spec"]["priority"] == 1000
    assert "pods of a lower priority are being ended on node node-a" in wait_for(played, "urgent", "Preempting")
    played.remove(first)
    assert placed(played, "urgent")["spec"]["nodeName"] == "node-a"
    until(lambda: played.status("first").get("retries") == {"preemption": 1}, "the other is to be tried again")
    played.submit("refused", scheduling={"priorityClassName": f"{played.namespace}-other"})
    status = played.wait_for_phase("refused", "Failed")
    assert status["failure"]["reason"] == "InvalidSpec"
    assert (
        f"priorityClassName is {played.namespace}-other, where scheduling.allowedPriorityClasses of the chart allows" in status["message"]
    )
    played.submit("missing", scheduling={"priorityClassName": f"{played.namespace}-missing"})
    assert "an admin has to create it" in wait_for(played, "missing", "PodRefused")
