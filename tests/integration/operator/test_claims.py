"""A resource class whose devices a claim gives: with the real scheduler and controller of claims, the test in the driver's place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from control import Operator, Played, add_node, lasting_plane, pending, until
from controlplane import ControlPlane
from faults import FaultProxy
from played_kubelet import Object

DRIVER = "gpu.example.com"
GROUP = "/apis/resource.k8s.io/v1"
CLASSES = {"one": {"cpu": "1", "memory": "1Gi", "gpus": 1, "resourceClaimTemplate": "one-gpu"}}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Return a control plane with the custom resource definition, a scheduler, and the controller that makes claims for pods."""
    yield from lasting_plane(controllers="resourceclaim-controller", scheduler=True)


@pytest.fixture
def catalogue(proxy: FaultProxy, played: Played, tmp_path: Path) -> Iterator[Operator]:
    """Return a running operator with a class of one device."""
    with Operator(proxy, played.namespace, tmp_path, settings={"resourceClasses": CLASSES}) as operator:
        operator.start()
        yield operator


def offer(played: Played, node: str, *devices: str) -> None:
    """Let a driver offer devices of a node."""
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": [{"name": each} for each in devices]}
    played.call(
        "POST", f"{GROUP}/resourceslices", {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", **named(node), "spec": spec}
    )
    selectors = [{"cel": {"expression": f"device.driver == '{DRIVER}'"}}]
    body = {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", **named(DRIVER), "spec": {"selectors": selectors}}
    played.call("POST", f"{GROUP}/deviceclasses", body)


def named(name: str) -> Object:
    return {"metadata": {"name": name}}


def make_template(played: Played) -> None:
    request = {"name": "gpu", "exactly": {"deviceClassName": DRIVER}}
    spec = {"spec": {"devices": {"requests": [request]}}}
    body = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate", **named("one-gpu"), "spec": spec}
    played.call("POST", f"{GROUP}/namespaces/{played.namespace}/resourceclaimtemplates", body)


def wait_for(played: Played, name: str, reason: str) -> str:
    until(lambda: pending(played, name).get("reason") == reason, f"job {name} waits for {reason}: {pending(played, name)}")
    return str(pending(played, name)["message"])


def placed(played: Played, name: str) -> Object:
    path = f"{played.pods_path}/{name}-chief-0"
    return until(lambda: pod if (pod := played.call("GET", path))["spec"].get("nodeName") else None, f"the pod of {name} is placed")


def test_a_class_with_a_claim_gets_its_device_and_what_lacks_is_told(catalogue: Operator, played: Played) -> None:
    add_node(played, "node-a")
    offer(played, "node-a", "gpu-0")
    played.submit("iris", resourceClass="one")
    message = wait_for(played, "iris", "ClaimMissing")
    assert f"ResourceClaimTemplate one-gpu of resource class one: that has to be in namespace {played.namespace}" in message
    make_template(played)
    pod = placed(played, "iris")
    trainer = next(each for each in pod["spec"]["containers"] if each["name"] == "trainer")
    assert (trainer["resources"]["claims"], trainer["resources"]["limits"]) == ([{"name": "devices"}], {"memory": "1Gi"})
    [claimed] = pod["status"]["resourceClaimStatuses"]
    claim = played.call("GET", f"{GROUP}/namespaces/{played.namespace}/resourceclaims/{claimed['resourceClaimName']}")
    assert [each["device"] for each in claim["status"]["allocation"]["devices"]["results"]] == ["gpu-0"]
    played.submit("second", resourceClass="one")
    message = wait_for(played, "second", "DevicesNotAvailable")
    assert "no node has the devices that resource class one claims (ResourceClaimTemplate one-gpu) free now: 0/1 nodes are" in message
    assert played.status("second")["resources"]["gpus"] == 1
    check = played.wait_for_pod(next(pod["metadata"]["name"] for pod in until(lambda: checks(played), "it is checked meanwhile")))
    assert not {"resourceClaims"} & check["spec"].keys(), "a check takes no device"
    played.call("DELETE", f"{played.jobs_path}/iris")
    # No collector of garbage runs here, which would take the pod, and with it the claim.
    played.remove(pod)
    placed(played, "second")


def checks(played: Played) -> list[Object]:
    return [pod for pod in played.pods() if pod["metadata"]["labels"].get("tftraining.dev/role") == "check"]
