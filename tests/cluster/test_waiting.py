"""What a job says that waits, on a real node with the real scheduler, kubelet and registry client."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest
from cluster_client import SMALL, Cluster, Jobs, Object, eventually
from demo.console import quiet
from demo.install import helm_command


def wait_for(jobs: Jobs, name: str, reason: str) -> str:
    """Return what a job says when it waits for that reason."""
    status = jobs.wait_until(name, lambda status: status.get("pending", {}).get("reason") == reason, f"it waits for {reason}")
    return str(status["pending"]["message"])


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
    jobs.submit("gpu", "pass", resources={**SMALL, "gpus": 1})
    assert "no node offers nvidia.com/gpu, of which spec.resources.gpus asks for 1" in wait_for(jobs, "gpu", "ResourceNotOffered")


def test_a_device_that_another_pod_has_is_told_with_what_is_free_and_starts_the_job_when_it_is(
    cluster: Cluster, jobs: Jobs, node: Object
) -> None:
    device = "tftraining.test/device"
    name = node["metadata"]["name"]
    path = "/status/capacity/" + device.replace("/", "~1")
    cluster.kubectl(
        "patch", "node", name, "--subresource=status", "--type=json", "-p", json.dumps([{"op": "add", "path": path, "value": "1"}])
    )
    try:
        resources = {**SMALL, "gpus": 1, "gpuResource": device}
        eventually(lambda: cluster.get("node", name)["status"]["allocatable"].get(device), lambda: f"{name} offers {device}")
        jobs.submit("first", "import time; time.sleep(600)", resources=resources)
        jobs.wait_until("first", lambda status: status.get("phase") == "Running", "the first runs")
        jobs.submit("second", "pass", resources=resources)
        message = wait_for(jobs, "second", "Unschedulable")
        assert f"1 of {device}, and the most that is free on one node is 0 of 1 {device} ({name})" in message
        jobs.kubectl("delete", "tftj", "first")
        assert jobs.wait("second", seconds=300)["phase"] == "Succeeded"
    finally:
        cluster.kubectl("patch", "node", name, "--subresource=status", "--type=json", "-p", json.dumps([{"op": "remove", "path": path}]))


def test_a_job_that_only_a_tainted_node_could_take_is_told_the_taint(cluster: Cluster, jobs: Jobs, node: Object) -> None:
    name, taint = node["metadata"]["name"], "tftraining.test/kept=yes:NoSchedule"
    cluster.kubectl("taint", "node", name, taint)
    try:
        jobs.submit("tainted", "pass")
        wait_for(jobs, "tainted", "NodesTainted")
        # The scheduler does not name it; what the nodes say follows.
        jobs.wait_until("tainted", lambda status: taint in status["pending"]["message"], f"it tells of {taint}")
    finally:
        cluster.kubectl("taint", "node", name, f"{taint}-")
    assert jobs.wait("tainted", seconds=300)["phase"] == "Succeeded"


def test_a_job_for_which_the_node_is_cordoned_waits_for_it(cluster: Cluster, jobs: Jobs, node: Object) -> None:
    name = node["metadata"]["name"]
    cluster.kubectl("cordon", name)
    try:
        jobs.submit("cordoned", "pass")
        assert f"{name} (cordoned); it starts by itself" in wait_for(jobs, "cordoned", "NodesNotReady")
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
