"""What a job says that waits: with the real scheduler and nodes that are made up, or with what a kubelet would report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chart import limited_operator
from control import GPU, Killed, Operator, Played, add_node, events, lasting_plane, pending, remove_nodes, until
from controlplane import ControlPlane
from faults import FaultProxy
from played_kubelet import Object

SMALL = {"cpu": "50m", "memory": "64Mi"}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Return a control plane with a scheduler."""
    yield from lasting_plane(scheduler=True)


@pytest.fixture(autouse=True)
def no_nodes_are_left(plane: ControlPlane) -> Iterator[None]:
    """Leave no node to the next test."""
    yield
    remove_nodes(plane)


def occupy(played: Played, name: str, **requests: str) -> Object:
    """Have a pod take a part of a node, and return it when it is there."""
    container = {"name": "c", "image": "x", "resources": {"requests": requests, "limits": requests}}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}
    played.call("POST", played.pods_path, body)
    path = f"{played.pods_path}/{name}"
    return until(lambda: pod if (pod := played.call("GET", path))["spec"].get("nodeName") else None, f"pod {name} is placed")


def wait_for(played: Played, name: str, reason: str, seconds: float = 5) -> Object:
    """Return what a job says of its wait when it says that reason, within the time that is promised."""
    until(lambda: pending(played, name).get("reason") == reason, f"job {name} waits for {reason}: {pending(played, name)}", seconds)
    return pending(played, name)


def status_writes(played: Played) -> int:
    return played.operators_writes().count(("patch", "tftrainingjobs/status"))


def test_a_job_that_asks_for_more_than_any_node_has_is_told_so_with_the_most_that_there_is(operator: Operator, played: Played) -> None:
    add_node(played, "node-a")
    add_node(played, "node-b", cpu="7500m")
    played.submit("iris", resources={"cpu": "1000"})
    message = wait_for(played, "iris", "TooLargeForAnyNode")["message"]
    assert "asks for cpu 1000" in message
    assert "the most that a node has, even when it is empty, is 7.5 of cpu (node-b)" in message
    assert played.status("iris")["phase"] == "Pending"
    assert "TooLargeForAnyNode" in until(lambda: events(played, "iris"), "an event tells of it")


def test_a_job_that_asks_for_a_gpu_that_no_node_offers_is_told_so(operator: Operator, played: Played) -> None:
    add_node(played, "node-a")
    played.submit("iris", resources={"gpus": 2})
    message = wait_for(played, "iris", "ResourceNotOffered")["message"]
    assert f"no node offers {GPU}, of which spec.resources.gpus asks for 2" in message


def test_a_job_that_waits_for_its_turn_is_told_the_largest_free_block_and_starts_when_it_is_large_enough(
    operator: Operator, played: Played
) -> None:
    add_node(played, "node-a", gpus=4)
    add_node(played, "node-b", gpus=2)
    occupy(played, "one", **{**SMALL, GPU: "3"})
    occupy(played, "two", **{**SMALL, GPU: "2"})
    played.submit("iris", resources={"gpus": 2})
    message = wait_for(played, "iris", "Unschedulable")["message"]
    assert f"2 of {GPU}, and the most that is free on one node is 1 of 4 {GPU} (node-a); it starts by itself" in message
    played.call("DELETE", f"{played.pods_path}/two", {"gracePeriodSeconds": 0})
    until(lambda: played.wait_for_pod("iris-chief-0")["spec"].get("nodeName") == "node-b", "it is placed")
    until(lambda: not pending(played, "iris"), "the reason is gone")


def test_a_job_that_only_tainted_nodes_could_take_is_told_the_taint(operator: Operator, played: Played) -> None:
    add_node(played, "node-a", taints=[{"key": "dedicated", "value": "team-x", "effect": "NoSchedule"}])
    played.submit("iris")
    message = wait_for(played, "iris", "NodesTainted")["message"]
    assert "dedicated=team-x:NoSchedule, which runtime tf1 does not tolerate" in message


def test_a_job_for_which_a_node_is_cordoned_waits_for_it(operator: Operator, played: Played) -> None:
    add_node(played, "node-a", unschedulable=True)
    played.submit("iris")
    assert "node-a (cordoned); it starts by itself" in wait_for(played, "iris", "NodesNotReady")["message"]


def test_another_reason_to_wait_is_told_at_once_with_an_event(operator: Operator, played: Played) -> None:
    played.submit("iris")
    wait_for(played, "iris", "NoNodes")
    add_node(played, "node-a", unschedulable=True)
    wait_for(played, "iris", "NodesNotReady")
    assert sorted(until(lambda: found if len(found := events(played, "iris")) == 2 else None, "two events")) == ["NoNodes", "NodesNotReady"]


def test_a_job_for_which_others_are_ended_says_so(operator: Operator, played: Played) -> None:
    low = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": played.namespace}, "value": -5}
    played.call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", low)
    add_node(played, "node-a")
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": "3800m"}}}
    spec = {"containers": [container], "priorityClassName": played.namespace}
    played.call("POST", played.pods_path, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "low"}, "spec": spec})
    until(lambda: played.call("GET", f"{played.pods_path}/low")["spec"].get("nodeName"), "the other is placed")
    played.submit("iris", resources={"cpu": "2", "memory": "1Gi"})
    message = wait_for(played, "iris", "Preempting")["message"]
    assert "pods of a lower priority are being ended on node node-a to make room for the job" in message


def test_numbers_that_change_every_second_are_written_seldom_and_are_one_event(operator: Operator, played: Played) -> None:
    add_node(played, "node-a")
    occupy(played, "other", cpu="3", memory="64Mi")
    played.submit("iris", resources={"cpu": "2", "memory": "1Gi"})
    wait_for(played, "iris", "Unschedulable")
    before = status_writes(played)
    said = set()
    for number in range(12):
        add_node(played, f"small-{number}", cpu="100m")
        said.add(scheduler_s_word(played))
        time.sleep(1)
    assert len(said) > 3, "the scheduler has counted anew"
    assert status_writes(played) - before <= 1
    assert events(played, "iris") == ["Unschedulable"]


def scheduler_s_word(played: Played) -> str:
    pod = played.wait_for_pod("iris-chief-0")
    return str(next(each for each in pod["status"]["conditions"] if each["type"] == "PodScheduled")["message"])


@pytest.fixture
def limited(request: pytest.FixtureRequest, proxy: FaultProxy, played: Played, tmp_path: Path) -> Iterator[Operator]:
    """Return an operator of one namespace with the rights that the chart gives it, with or without that to see nodes."""
    with limited_operator(proxy, played, tmp_path, played.namespace, nodes={"read": request.param}) as operator:
        yield operator


@pytest.mark.parametrize("limited", [True], indirect=True)
def test_an_operator_of_some_namespaces_tells_what_nodes_have_and_not_what_is_free(limited: Operator, played: Played) -> None:
    add_node(played, "node-a")
    played.submit("large", resources={"cpu": "1000"})
    assert "is 4 of cpu (node-a)" in wait_for(played, "large", "TooLargeForAnyNode")["message"]
    occupy(played, "other", cpu="3", memory="64Mi")
    played.submit("iris", resources={"cpu": "2", "memory": "1Gi"})
    message = wait_for(played, "iris", "Unschedulable")["message"]
    assert "the nodes that are large enough (node-a) are too full; it starts by itself" in message


@pytest.mark.parametrize("limited", [False], indirect=True)
def test_an_operator_that_may_not_see_nodes_has_the_scheduler_s_words(limited: Operator, played: Played) -> None:
    add_node(played, "node-a")
    played.submit("large", resources={"cpu": "1000"})
    message = wait_for(played, "large", "TooLargeForAnyNode")["message"]
    assert "0/1 nodes are available: 1 Insufficient cpu" in message
    assert "node-a" not in message


def test_a_pull_that_fails_and_backs_off_is_one_status_and_one_event_in_the_registry_s_words(operator: Operator, played: Played) -> None:
    add_node(played, "node-a")
    played.submit("iris")
    pod = until(lambda: pod if (pod := played.wait_for_pod("iris-chief-0"))["spec"].get("nodeName") else None, "it is placed")
    said = 'failed to pull and unpack image "localhost/tf1:x": failed to resolve reference "localhost/tf1:x": localhost/tf1:x: not found'
    played.show(pod, pulling("ErrImagePull", said))
    message = wait_for(played, "iris", "ImageUnavailable")["message"]
    assert "cannot be pulled on node node-a: localhost/tf1:x: not found; the registry does not have it" in message
    before = status_writes(played)
    for _ in range(5):
        played.show(pod, pulling("ImagePullBackOff", f'Back-off pulling image "localhost/tf1:x": ErrImagePull: {said}'))
        played.show(pod, pulling("ImagePullBackOff", 'Back-off pulling image "localhost/tf1:x"'))
        played.show(pod, pulling("ErrImagePull", said))
        time.sleep(0.3)
    assert (status_writes(played), events(played, "iris")) == (before, ["ImageUnavailable"])


def pulling(reason: str, message: str) -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    return {
        "phase": "Pending",
        "initContainerStatuses": [{"name": "fetch", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}],
    }


def test_a_limit_range_is_told_with_its_numbers_before_any_node_is_held(operator: Operator, played: Played) -> None:
    limits = [{"type": "Container", "max": {"memory": "1Gi"}}]
    body = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {"limits": limits}}
    played.call("POST", f"/api/v1/namespaces/{played.namespace}/limitranges", body)
    played.submit("iris", resources={"memory": "2Gi"})
    message = wait_for(played, "iris", "OutsideLimitRange")["message"]
    assert "maximum memory usage per Container is 1Gi, but limit is 2Gi: " in message
    assert "(spec.resources.memory)" in message
    assert played.pods() == []


def test_a_node_that_falls_silent_is_told_of_at_once_and_nobody_claims_that_the_script_runs(operator: Operator, played: Played) -> None:
    pod = played.start("iris")
    # All that a controller does with the pods of a node that it hears nothing of, as long as there is no other node.
    condition = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:07:00Z"}
    path = f"{played.pods_path}/iris-chief-0/status"
    played.call("PATCH", path, {"status": {"conditions": [condition]}}, "application/strategic-merge-patch+json")
    until(lambda: "has not answered since 2026-01-01T00:07:00Z" in played.status("iris")["message"], "the silence is told")
    running = {each["type"]: each["status"] for each in played.status("iris")["conditions"]}["Running"]
    assert running == "Unknown"
    assert "NodeLost" in until(lambda: events(played, "iris"), "an event tells of it")
    played.run(pod)
    until(lambda: "runs in pod iris-chief-0" in played.status("iris")["message"], "the node is back")
    assert [each["metadata"]["uid"] for each in played.pods()] == [pod["metadata"]["uid"]]


def test_of_two_groups_that_each_hold_what_the_other_waits_for_one_gives_way_and_comes_again(operator: Operator, played: Played) -> None:
    def worker(group: str) -> Object:
        return played.wait_for_pod(f"{group}-worker-0")

    def placed(group: str) -> int:
        for pod in played.pods():
            if pod["metadata"].get("deletionTimestamp"):
                played.remove(pod)
        return len([pod for pod in played.pods() if pod["metadata"]["name"].startswith(group) and pod["spec"].get("nodeName")])

    spec = {"replicas": {"worker": {"count": 2}}, "resources": {"cpu": "1", "memory": "1Gi"}, "pendingDeadlineSeconds": 40}
    add_node(played, "node-a", cpu="1500m")
    played.submit("one", **spec)
    until(lambda: placed("one") == 1, "one has half of its places")
    add_node(played, "node-b", cpu="1500m", taints=[{"key": "kept", "effect": "NoSchedule"}])
    played.submit("two", **spec)
    target = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": worker("two")["metadata"]["name"]}}
    played.call("POST", f"{played.pods_path}/two-worker-0/binding", {**target, "target": {"kind": "Node", "name": "node-b"}})
    played.call("PATCH", "/api/v1/nodes/node-b", {"spec": {"taints": None}}, "application/merge-patch+json")
    first = until(lambda: next((group for group in ("one", "two") if placed(group) == 2), None), "one of them has all places")
    other = {"one": "two", "two": "one"}[first]
    until(lambda: placed(other) == 0 and played.status(other).get("attempt") == 1, "the other one has freed its own")
    status = played.status(other)
    assert "retries" not in status
    assert status["restart"]["waitingSince"]


@pytest.mark.long
@pytest.mark.parametrize("k", range(1, 13))
def test_killed_after_any_write_of_a_group_that_frees_its_places_it_tries_again_once_and_as_one(
    operator: Operator, played: Played, proxy: FaultProxy, k: int
) -> None:
    def names() -> set[str]:
        for pod in played.pods():
            if pod["metadata"].get("deletionTimestamp"):
                played.remove(pod)
        found = {pod["metadata"]["name"] for pod in played.pods()}
        assert len({name.endswith("-r1") for name in found}) < 2, "attempts never mix"
        return found

    killed = Killed(operator, proxy, k)
    add_node(played, "node-a", cpu="1500m")
    played.submit("group", replicas={"worker": {"count": 2}}, resources={"cpu": "1", "memory": "1Gi"}, pendingDeadlineSeconds=60)
    killed.until(lambda: names() == {"group-worker-0-r1", "group-worker-1-r1"}, "it has tried again")
    add_node(played, "node-b", cpu="1500m")
    killed.until(lambda: len({pod["spec"].get("nodeName") for pod in played.pods()} - {None}) == 2, "both have a place")
    for pod in played.pods():
        played.run(pod)
    killed.until(lambda: played.phase("group") == "Running", "it runs")
    status = played.status("group")
    assert (status["attempt"], status.get("retries"), status.get("attempts")) == (1, None, None)


@pytest.mark.long
def test_a_group_that_never_has_a_place_for_all_ends_at_its_deadline_with_what_it_lacked(operator: Operator, played: Played) -> None:
    def over() -> bool:
        for pod in played.pods():
            if pod["metadata"].get("deletionTimestamp"):
                played.remove(pod)
        return played.phase("gang") == "Failed"

    add_node(played, "node-a", cpu="3500m")
    asks: Object = {"replicas": {"worker": {"count": 4}}, "resources": {"cpu": "1", "memory": "1Gi"}}
    played.submit("gang", **asks, pendingDeadlineSeconds=24, preflight="Never")
    begin = time.monotonic()
    until(over, "it ends", 60)
    status = played.status("gang")
    assert 20 < time.monotonic() - begin < 40
    assert status["failure"]["reason"] == "PendingDeadlineExceeded"
    assert "worker 3: no node has room now" in status["failure"]["message"]
    assert "retries" not in status
