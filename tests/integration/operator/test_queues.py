"""Jobs in queues, with the real Kueue: a place for all pods or for none, told in words, given back, and asked for again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chart import account, give_rights
from control import Killed, Operator, Played, events, lasting_plane, pending, settle, until
from controlplane import ControlPlane
from faults import FaultProxy
from kueue import Kueue, Queue, kueue_on
from localcluster.failure import ClusterError
from played_kubelet import Object

ONE: Object = {"cpu": "1", "memory": "1Gi"}
WORKERS: Object = {"worker": {"count": 2}}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Return a control plane of which the garbage collector works."""
    yield from lasting_plane(controllers="garbage-collector-controller")


@pytest.fixture(scope="module")
def kueue(plane: ControlPlane) -> Iterator[Kueue]:
    """Return Kueue, as it runs on the control plane."""
    try:
        with kueue_on(plane) as kueue:
            kueue.install()
            yield kueue
    except ClusterError as error:
        pytest.skip(f"Kueue is not built: {error}")


@pytest.fixture
def queue(kueue: Kueue, played: Played) -> Queue:
    """Return a queue with a place for one job of one CPU."""
    queue = Queue(played)
    queue.create()
    return queue


@pytest.fixture
def operator(proxy: FaultProxy, played: Played, tmp_path: Path) -> Iterator[Operator]:
    """Return a running operator that knows of queues, has the chart's rights alone, and allows a priority of the test's own name."""
    give_rights(played, played.namespace, kueue={"enabled": True})
    proxy.as_user = account(played.namespace)
    scheduling = {"allowedPriorityClasses": [played.namespace]}
    settings = {"kueue": {"enabled": True}, "scheduling": scheduling, "leaseName": f"{played.namespace}-operator"}
    with Operator(proxy, played.namespace, tmp_path, settings=settings) as operator:
        operator.start()
        yield operator
        assert 'code="403"' not in operator.page("metrics")


def submit(played: Played, name: str, **spec: object) -> None:
    played.submit(name, **{"resources": ONE, "scheduling": {"queue": played.namespace}, **spec})


def names(played: Played) -> set[str]:
    return {pod["metadata"]["name"] for pod in played.pods()}


def waits_for(played: Played, name: str, reason: str) -> str:
    """Wait until a job says that it waits for this, and return its words."""
    until(lambda: pending(played, name).get("reason") == reason, f"{name} says {reason}, not {pending(played, name)}")
    assert played.phase(name) == "Queued"
    return str(played.status(name)["message"])


def run(played: Played, pod: str) -> Object:
    found = played.wait_for_pod(pod)
    played.run(found)
    return found


def test_where_kueue_is_not_installed_a_job_says_so_within_seconds_and_goes_on_by_itself_when_it_is(
    operator: Operator, played: Played, request: pytest.FixtureRequest
) -> None:
    # The first of this module: the others have Kueue from the beginning.
    submit(played, "iris")
    assert "Kueue is not installed" in waits_for(played, "iris", "QueuesUnavailable")
    assert names(played) == set()
    request.getfixturevalue("kueue")
    Queue(played).create()
    played.wait_for_pod("iris-chief-0")


def test_a_job_that_is_admitted_runs_on_the_nodes_of_its_flavor_and_its_workload_is_finished_with_it(
    kueue: Kueue, operator: Operator, played: Played
) -> None:
    queue = Queue(played)
    tolerations = [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}]
    queue.create(flavor={"nodeLabels": {"pool": "a"}, "nodeTaints": [], "tolerations": tolerations})
    submit(played, "iris")
    pod = run(played, "iris-chief-0")
    assert pod["spec"]["nodeSelector"] == {"pool": "a"}
    assert tolerations[0] in pod["spec"]["tolerations"]
    assert not [name for name in pod["metadata"]["labels"] if "kueue" in name]
    until(lambda: queue.condition("iris", "PodsReady") == "True", "Kueue knows that it runs")
    workload = queue.of("iris")
    assert workload is not None
    [pod_set] = workload["spec"]["podSets"]
    requests = {each["name"]: each["resources"]["requests"] for each in pod_set["template"]["spec"]["containers"]}
    assert requests == {each["name"]: each["resources"]["requests"] for each in pod["spec"]["containers"]}
    assert "TFTRAINING_PLAN" not in str(workload)
    until(lambda: queue.used() == "1050m", "what it asks for is reserved")
    played.end(pod)
    played.wait_for_phase("iris", "Succeeded")
    until(lambda: queue.condition("iris", "Finished") == "True", "its Workload is finished")
    until(lambda: queue.used() == "0", "its quota is free")


def test_an_operator_of_all_namespaces_finds_the_queues_of_each(queue: Queue, proxy: FaultProxy, played: Played, tmp_path: Path) -> None:
    give_rights(played, kueue={"enabled": True})
    proxy.as_user = account(played.namespace)
    settings = {"watchNamespaces": [], "kueue": {"enabled": True}, "leaseName": f"{played.namespace}-operator"}
    with Operator(proxy, played.namespace, tmp_path, settings=settings) as operator:
        operator.start()
        submit(played, "iris")
        played.wait_for_pod("iris-chief-0")
        assert 'code="403"' not in operator.page("metrics")


def test_of_two_jobs_where_one_fits_the_other_says_how_much_is_missing_and_starts_when_the_first_has_ended(
    operator: Operator, queue: Queue, played: Played
) -> None:
    submit(played, "first")
    pod = run(played, "first-chief-0")
    submit(played, "second", pendingDeadlineSeconds=1)
    words = waits_for(played, "second", "QueueFull")
    assert "600m more of cpu" in words
    assert queue.name in words
    assert "second-chief-0" not in names(played)
    played.end(pod)
    played.wait_for_pod("second-chief-0")


def test_a_group_gets_a_place_for_all_of_its_pods_or_for_none(operator: Operator, queue: Queue, played: Played) -> None:
    submit(played, "group", replicas=WORKERS, resources={"cpu": "500m", "memory": "1Gi"})
    until(lambda: names(played) == {"group-worker-0", "group-worker-1"}, "both pods exist")
    submit(played, "other", replicas=WORKERS, resources={"cpu": "200m", "memory": "1Gi"})
    assert "2 times cpu 200m" in waits_for(played, "other", "QueueFull"), "one of them alone would fit"
    assert not [name for name in names(played) if "other" in name]
    [pod_set] = (queue.of("group") or {})["spec"]["podSets"]
    assert (pod_set["name"], pod_set["count"]) == ("worker", 2)


def test_a_job_that_is_larger_than_its_queue_ever_has_is_told_so_with_both_numbers(
    operator: Operator, queue: Queue, played: Played
) -> None:
    submit(played, "iris", resources={"cpu": "5", "memory": "1Gi"})
    words = waits_for(played, "iris", "LargerThanQueue")
    assert "5050m" in words
    assert "1500m" in words


def test_a_queue_that_does_not_exist_is_told_and_the_job_starts_when_it_is_there(kueue: Kueue, operator: Operator, played: Played) -> None:
    queue = Queue(played)
    queue.create(local=False)
    submit(played, "iris")
    assert "does not exist" in waits_for(played, "iris", "QueueNotFound")
    queue.create_local()
    played.wait_for_pod("iris-chief-0")


def test_a_queue_that_is_stopped_is_told_and_the_job_starts_when_it_goes_on(operator: Operator, queue: Queue, played: Played) -> None:
    queue.hold("Hold")
    submit(played, "iris")
    assert queue.name in waits_for(played, "iris", "QueueInactive")
    queue.hold(None)
    played.wait_for_pod("iris-chief-0")


def test_a_job_of_a_higher_priority_takes_the_place_of_another_which_comes_again_as_its_next_attempt(
    operator: Operator, queue: Queue, played: Played
) -> None:
    body = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": played.namespace}, "value": 1000}
    played.call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", body)
    submit(played, "low")
    low = run(played, "low-chief-0")
    played.wait_for_phase("low", "Running")
    played.hold(low)
    submit(played, "high", scheduling={"queue": played.namespace, "priorityClassName": played.namespace})
    until(lambda: low_pod(played)["metadata"].get("deletionTimestamp"), "the pod of the lower one is told to go")
    assert "high-chief-0" not in names(played), "Kueue waits until it has ended"
    assert played.status("low")["ending"]["because"] == "Evict"
    played.end(low_pod(played), 143)
    played.release(low)
    high = run(played, "high-chief-0")
    waits_for(played, "low", "QueueFull")
    status = played.status("low")
    assert status["retries"] == {"preemption": 1}
    assert status["attempts"][0]["reason"] == "Preempted"
    assert "reempt" in status["attempts"][0]["message"]
    given_back = {kind: queue.condition("low", kind) for kind in ("QuotaReserved", "Admitted", "Requeued", "Finished", "Evicted")}
    assert given_back == {"QuotaReserved": "False", "Admitted": "False", "Requeued": "True", "Finished": "True", "Evicted": "True"}
    assert "admission" not in (queue.of("low") or {})["status"]
    played.end(high)
    played.wait_for_pod("low-chief-0-r1")
    assert queue.condition("low", "Admitted", attempt=1) == "True"


def low_pod(played: Played) -> Object:
    return next(pod for pod in played.pods() if pod["metadata"]["name"] == "low-chief-0")


def test_an_admission_check_is_waited_for_gives_the_place_back_before_there_is_a_pod_and_may_demand_something_of_it(
    operator: Operator, queue: Queue, played: Played
) -> None:
    queue.demand_check()
    submit(played, "iris")
    waits_for(played, "iris", "AdmissionChecks")
    queue.check("iris", "Retry", "no node to be had")
    until(lambda: queue.condition("iris", "Evicted") == "True", "its place is taken back")
    until(
        lambda: "no node to be had" in str(played.status("iris").get("pending")) or queue.condition("iris", "Evicted") == "False",
        "it waits",
    )
    until(lambda: queue.condition("iris", "QuotaReserved") == "True", "it has its quota again")
    queue.check("iris", "Ready", "", {"name": "chief", "nodeSelector": {"rack": "7"}})
    assert played.wait_for_pod("iris-chief-0")["spec"]["nodeSelector"] == {"rack": "7"}
    assert "retries" not in played.status("iris")


def test_a_job_that_somebody_takes_out_of_the_queue_waits_until_it_is_put_back(operator: Operator, queue: Queue, played: Played) -> None:
    submit(played, "iris")
    run(played, "iris-chief-0")
    played.wait_for_phase("iris", "Running")
    queue.activate("iris", 0, active=False)
    words = waits_for(played, "iris", "WorkloadInactive")
    workload = queue.of("iris", 1) or {}
    assert workload["metadata"]["name"] in words
    assert names(played) == set()
    queue.activate("iris", 1, active=True)
    played.wait_for_pod("iris-chief-0-r1")


def test_a_suspended_job_and_a_stopped_one_give_their_places_back_whether_they_had_pods_or_not(
    operator: Operator, queue: Queue, played: Played
) -> None:
    submit(played, "first")
    run(played, "first-chief-0")
    submit(played, "queued")
    waits_for(played, "queued", "QueueFull")
    played.change("queued", suspend=True)
    played.wait_for_phase("queued", "Suspended")
    until(lambda: queue.of("queued") is None, "nobody waits for it")
    played.change("first", suspend=True)
    until(lambda: "first-chief-0" not in names(played), "its pod goes")
    until(lambda: queue.used() == "0", "its quota is free")
    played.change("queued", suspend=False)
    played.wait_for_pod("queued-chief-0")
    submit(played, "third")
    waits_for(played, "third", "QueueFull")
    played.change("third", stop=True)
    played.wait_for_phase("third", "Stopped")
    until(lambda: queue.of("third") is None, "nobody waits for it either")


def test_a_workload_that_is_deleted_by_hand_is_made_again_and_its_pods_run_on_as_long_as_there_is_room(
    operator: Operator, queue: Queue, played: Played
) -> None:
    submit(played, "iris")
    pod = run(played, "iris-chief-0")
    played.wait_for_phase("iris", "Running")
    before = queue.of("iris") or {}
    played.call("DELETE", f"{queue.workloads_path}/{before['metadata']['name']}")
    until(lambda: (after := queue.of("iris")) and after["metadata"]["uid"] != before["metadata"]["uid"], "it is there again")
    until(lambda: queue.condition("iris", "Admitted") == "True", "it has its place again")
    submit(played, "next")
    waits_for(played, "next", "QueueFull")
    again = queue.of("next") or {}
    played.call("DELETE", f"{queue.workloads_path}/{again['metadata']['name']}")
    until(lambda: (after := queue.of("next")) and after["metadata"]["uid"] != again["metadata"]["uid"], "that of a queued job too")
    assert played.phase("iris") == "Running"
    assert pod["metadata"]["uid"] in {each["metadata"]["uid"] for each in played.pods()}


@pytest.mark.long
def test_where_others_have_got_the_place_of_a_workload_that_was_deleted_the_pods_go_as_if_it_was_taken_back(
    operator: Operator, queue: Queue, played: Played
) -> None:
    submit(played, "iris")
    run(played, "iris-chief-0")
    played.wait_for_phase("iris", "Running")
    operator.kill()
    workload = queue.of("iris") or {}
    blocker = {**workload, "metadata": {"name": "blocker"}, "status": {}}
    played.call("POST", queue.workloads_path, blocker)
    played.call("DELETE", f"{queue.workloads_path}/{workload['metadata']['name']}")
    until(lambda: "True" in str((queue.workloads()["blocker"].get("status") or {}).get("conditions")), "another has its place")
    operator.start()
    until(lambda: queue.condition("iris", "QuotaReserved") == "False", "it waits for it again")
    until(lambda: not played.pods(), "its pod goes", 60)
    assert "deleted" in until(lambda: played.status("iris").get("attempts"), "the attempt is over")[0]["message"]
    waits_for(played, "iris", "QueueFull")


@pytest.mark.long
def test_where_kueue_waits_for_pods_a_job_that_runs_keeps_its_place_and_one_that_does_not_start_gives_it_back(
    kueue: Kueue, operator: Operator, queue: Queue, played: Played
) -> None:
    kueue.restart(waitForPodsReady={"timeout": "6s"})
    try:
        submit(played, "iris", resources={"cpu": "100m", "memory": "1Gi"})
        run(played, "iris-chief-0")
        submit(played, "stuck", resources={"cpu": "100m", "memory": "1Gi"})
        played.wait_for_pod("stuck-chief-0")
        attempts = until(lambda: played.status("stuck").get("attempts"), "it gives its place back")
        assert "PodsReadyTimeout" in attempts[0]["message"]
        played.wait_for_pod("stuck-chief-0-r1")
        assert played.status("iris")["attempt"] == 0
        assert queue.condition("iris", "Evicted") == ""
    finally:
        kueue.restart(waitForPodsReady=None)


@pytest.mark.long
def test_a_job_that_waits_in_a_queue_is_checked_by_a_pod_that_needs_no_quota(operator: Operator, queue: Queue, played: Played) -> None:
    submit(played, "first")
    run(played, "first-chief-0")
    submit(played, "second", preflight="Always")
    waits_for(played, "second", "QueueFull")
    [check] = until(lambda: [pod for pod in played.pods() if pod["metadata"]["labels"]["tftraining.dev/role"] == "check"], "it is checked")
    assert not [name for name in check["metadata"]["labels"] if "kueue" in name]
    assert set(queue.workloads()) == {each["metadata"]["name"] for each in (queue.of("first"), queue.of("second")) if each}
    assert played.phase("second") == "Queued"


def test_a_job_that_names_a_queue_waits_in_words_while_kueue_is_away_and_starts_by_itself_when_it_is_back(
    kueue: Kueue, operator: Operator, queue: Queue, played: Played
) -> None:
    kueue.stop()
    try:
        submit(played, "iris")
        assert "Kueue cannot be asked" in waits_for(played, "iris", "QueueNotReachable")
        assert names(played) == set()
    finally:
        kueue.start()
    played.wait_for_pod("iris-chief-0")


def test_a_deleted_job_gives_its_place_back(operator: Operator, queue: Queue, played: Played) -> None:
    submit(played, "iris")
    run(played, "iris-chief-0")
    until(lambda: queue.used() == "1050m", "what it asks for is reserved")
    played.call("DELETE", f"{played.jobs_path}/iris")
    until(lambda: queue.used() == "0" and not queue.workloads(), "its quota is free, and nothing is left", 60)


def test_a_job_that_names_a_queue_is_told_at_once_where_nobody_has_switched_queues_on(
    proxy: FaultProxy, played: Played, tmp_path: Path
) -> None:
    with Operator(proxy, played.namespace, tmp_path) as operator:
        operator.start()
        submit(played, "iris")
        assert "kueue.enabled" in waits_for(played, "iris", "QueuesDisabled")
        assert names(played) == set()


@pytest.mark.parametrize("k", [pytest.param(k, marks=[pytest.mark.long] if k % 6 else []) for k in range(1, 25)])
def test_killed_after_any_write_of_a_queued_job_that_is_preempted_it_comes_to_the_same_end(
    operator: Operator, queue: Queue, played: Played, proxy: FaultProxy, k: int
) -> None:
    killed = Killed(operator, proxy, k)
    submit(played, "iris")
    pod = killed.until(lambda: next(iter(played.pods()), None), "its pod exists")
    assert queue.condition("iris", "Admitted") == "True"
    played.run(pod)
    killed.until(lambda: played.phase("iris") == "Running", "it runs")
    queue.hold("HoldAndDrain")
    killed.until(lambda: not played.pods(), "its pod goes")
    killed.until(lambda: queue.condition("iris", "Finished") == "True", "its place is given back")
    queue.hold(None)
    again = killed.until(lambda: next(iter(played.pods()), None), "its next pod exists")
    assert again["metadata"]["name"] == "iris-chief-0-r1"
    played.run(again)
    killed.until(lambda: played.phase("iris") == "Running", "it runs again")
    played.end(again)
    killed.until(lambda: played.phase("iris") == "Succeeded", "it succeeds")
    killed.until(lambda: queue.condition("iris", "Finished", attempt=1) == "True", "its second place is given back")
    settle(proxy)
    status = played.status("iris")
    assert (status["attempt"], status["retries"]) == (1, {"preemption": 1})
    assert len(queue.workloads()) == 2
    until(lambda: queue.used() == "0", "nothing is reserved")
    assert events(played, "iris").count("Preempted") <= 1
