"""What a job says that waits, on a real node with the real scheduler, kubelet and registry client."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest
from cluster_client import SMALL, Cluster, Jobs, Object, eventually
from demo.console import quiet
from demo.install import helm_command


def wait_for(jobs: Jobs, name: str, reason: str, words: str = "") -> str:
    """Return what a job says when it waits for that reason, and says so in those words: at first there may be only the scheduler's."""

    def told(status: Object) -> bool:
        pending = status.get("pending", {})
        return pending.get("reason") == reason and words in pending["message"]

    return str(jobs.wait_until(name, told, f"it waits for {reason}: {words}")["pending"]["message"])


@pytest.fixture
def node(cluster: Cluster) -> Object:
    """Return the node."""
    return cluster.items("nodes")[0]


def test_a_job_that_asks_for_a_thousand_cpus_is_told_what_the_node_has(jobs: Jobs, node: Object) -> None:
    jobs.submit("huge", "pass", resources={**SMALL, "cpu": "1000"})
    message = wait_for(jobs, "huge", "TooLargeForAnyNode")
    assert "asks for cpu 1000" in message
    assert f"of cpu ({node['metadata']['name']})" in message


def test_a_job_that_asks_for_a_gpu_where_there_is_none_is_told_so(jobs: Jobs) -> None:
    # Not the usual one, which other tests have a node offer meanwhile.
    jobs.submit("gpu", "pass", resources={**SMALL, "gpus": 1, "gpuResource": "tftraining.test/none"})
    assert "no node offers tftraining.test/none, of which spec.resources.gpus asks for 1" in wait_for(jobs, "gpu", "ResourceNotOffered")


@pytest.fixture
def device(cluster: Cluster) -> Iterator[str]:
    """Let the node offer one device, which no other test asks for, and return its name."""
    with cluster.offering("tftraining.test/device"):
        yield "tftraining.test/device"


def test_a_device_that_another_pod_has_is_told_with_what_is_free_and_starts_the_job_when_it_is(
    jobs: Jobs, node: Object, device: str
) -> None:
    resources = {**SMALL, "gpus": 1, "gpuResource": device}
    jobs.submit("first", "import time; time.sleep(600)", resources=resources, terminationGracePeriodSeconds=1)
    jobs.wait_until("first", lambda status: status.get("phase") == "Running", "the first runs")
    jobs.submit("second", "pass", resources=resources)
    free = f"1 of {device}, and the most that is free on one node is 0 of 1 {device} ({node['metadata']['name']})"
    wait_for(jobs, "second", "Unschedulable", free)
    jobs.kubectl("delete", "tftj", "first")
    assert jobs.wait("second", seconds=300)["phase"] == "Succeeded"


def test_a_run_whose_place_goes_to_a_pod_of_higher_priority_says_so(cluster: Cluster, jobs: Jobs, device: str) -> None:
    resources = {**SMALL, "gpus": 1, "gpuResource": device}
    jobs.submit("gives-way", "import time; time.sleep(600)", resources=resources, terminationGracePeriodSeconds=1, retry={"preemption": 0})
    jobs.wait_for_phase("gives-way", "Running")
    high = f"high-{jobs.namespace}"
    cluster.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": high}, "value": 1000})
    try:
        cluster.apply(jobs.plain_pod("takes-it", {device: "1"}, priorityClassName=high))
        failure = jobs.wait("gives-way")["failure"]
        assert (failure["reason"], failure["cause"]) == ("Preempted", "Preemption"), json.dumps(failure, indent=1)
    finally:
        cluster.kubectl("delete", "priorityclass", high)
        jobs.kubectl("delete", "pod", "takes-it", "--ignore-not-found")


def test_a_job_that_only_a_tainted_node_could_take_is_told_the_taint(cluster: Cluster, jobs: Jobs, node: Object) -> None:
    name, taint = node["metadata"]["name"], "tftraining.test/kept=yes:NoSchedule"
    cluster.kubectl("taint", "node", name, taint)
    try:
        jobs.submit("tainted", "pass")
        wait_for(jobs, "tainted", "NodesTainted", taint)
    finally:
        cluster.kubectl("taint", "node", name, f"{taint}-")
    assert jobs.wait("tainted", seconds=300)["phase"] == "Succeeded"


def test_a_job_for_which_the_node_is_cordoned_waits_for_it(cluster: Cluster, jobs: Jobs, node: Object) -> None:
    name = node["metadata"]["name"]
    cluster.kubectl("cordon", name)
    try:
        jobs.submit("cordoned", "pass")
        wait_for(jobs, "cordoned", "NodesNotReady", f"{name} (cordoned); it starts by itself")
    finally:
        cluster.kubectl("uncordon", name)
    assert jobs.wait("cordoned", seconds=300)["phase"] == "Succeeded"


@pytest.fixture
def runtime_without_an_image(cluster: Cluster) -> Iterator[str]:
    """Let the catalogue have a runtime whose image is nowhere, as an admin would, and return its name."""
    name = f"missing-{secrets.token_hex(2)}"
    image = f"runtimes.{name}.image=registry.invalid/tftraining/{name}:none"
    quiet([*helm_command(cluster.target), "--set", image], cluster.target.environment)
    try:
        yield name
    finally:
        quiet(helm_command(cluster.target), cluster.target.environment)


def test_an_image_that_does_not_exist_is_told_in_the_registry_s_words_once(jobs: Jobs, runtime_without_an_image: str) -> None:
    jobs.submit("imageless", "pass", runtime=runtime_without_an_image)
    message = wait_for(jobs, "imageless", "ImageUnavailable")
    assert f"the image registry.invalid/tftraining/{runtime_without_an_image}:none" in message
    assert "no such host" in message
    assert "the node does not reach the registry" in message

    def backed_off() -> str | None:
        states = [state["state"] for pod in jobs.pods("imageless") for state in pod["status"].get("initContainerStatuses", [])]
        reasons = [state.get("waiting", {}).get("reason") for state in states]
        return "ImagePullBackOff" if "ImagePullBackOff" in reasons else None

    eventually(backed_off, lambda: "the kubelet has backed off")
    assert wait_for(jobs, "imageless", "ImageUnavailable") == message
    found = [item for item in jobs.cluster.items("-n", jobs.namespace, "events") if item["involvedObject"]["name"] == "imageless"]
    assert [item["reason"] for item in found].count("ImageUnavailable") == 1
