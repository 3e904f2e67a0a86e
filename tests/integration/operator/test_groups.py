"""Jobs of several replicas against the real API server: what the schema takes, and a life that survives the operator's death anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from control import Killed, Operator, Played, RefusedError, settle, until
from faults import FaultProxy
from played_kubelet import STAMP, Object, ended, evicted
from tftrainer.messages import contract

WORKERS: Object = {"worker": {"count": 2}}

REFUSED: dict[str, tuple[Object, str]] = {
    "parameter servers without a chief": ({"replicas": {"worker": {}, "ps": {}}}, "replicas.ps needs replicas.chief"),
    "two chiefs": ({"replicas": {"chief": {"count": 2}}}, "should be less than or equal to 1"),
    "no worker at all": ({"replicas": {"worker": {"count": 0}}}, "should be greater than or equal to 1"),
    "too many": ({"replicas": {"chief": {}, "worker": {"count": 99}, "ps": {}}}, "all counts together may be 100 at most"),
    "an evaluator alone": (
        {"replicas": {"evaluator": {}}, "checkpoints": {"path": "${bucket}/m"}},
        "replicas.evaluator needs replicas.chief or replicas.worker",
    ),
    "an evaluator of nothing": ({"replicas": {"chief": {}, "evaluator": {}}}, "checkpoints is missing"),
    "two evaluators": (
        {"replicas": {"chief": {}, "evaluator": {"count": 2}}, "checkpoints": {"path": "${bucket}/m"}},
        "should be less than or equal to 1",
    ),
    "a role that there is not": ({"replicas": {"master": {}}}, "spec.replicas.master"),
    "all workers of none": ({"replicas": {"chief": {}}, "successPolicy": "AllWorkers"}, "replicas.worker is missing"),
    "all workers of a job of one": ({"successPolicy": "AllWorkers"}, "replicas.worker is missing"),
}


@pytest.mark.parametrize(("spec", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_train_is_refused_with_words(played: Played, spec: Object, words: str) -> None:
    with pytest.raises(RefusedError) as caught:
        played.submit("group", **spec)
    assert words in str(caught.value)


@pytest.mark.parametrize("change", [{"replicas": {"worker": {"count": 3}}}, {"successPolicy": "AllWorkers"}])
def test_who_takes_part_cannot_be_changed_afterwards(played: Played, change: Object) -> None:
    played.submit("group", replicas=WORKERS, suspend=True)
    with pytest.raises(RefusedError) as caught:
        played.change("group", **change)
    assert "cannot be changed after creation" in str(caught.value)


def by_name(played: Played) -> dict[str, Object]:
    return {pod["metadata"]["name"]: pod for pod in played.pods()}


def _alive(played: Played) -> set[str]:
    """Return the names of pods of which something may run."""
    return {name for name, pod in by_name(played).items() if pod.get("status", {}).get("phase") not in {"Failed", "Succeeded"}}


@pytest.mark.parametrize("k", [pytest.param(k, marks=[pytest.mark.long] if k % 3 else []) for k in range(1, 19)])
def test_killed_after_any_write_of_a_group_that_is_tried_again_attempts_never_mix_and_it_ends_the_same(
    operator: Operator, played: Played, proxy: FaultProxy, k: int
) -> None:
    killed = Killed(operator, proxy, k)

    def never_mixed(probe: Callable[[], Any]) -> Callable[[], Any]:
        def check() -> Any:
            alive = _alive(played)
            assert not alive or len({name.endswith("-r1") for name in alive}) == 1, alive
            return probe()

        return check

    def both(suffix: str) -> dict[str, Object] | None:
        found = {name: pod for name, pod in by_name(played).items() if ("-r1" in name) == bool(suffix)}
        return found if len(found) == 2 else None

    played.submit("group", replicas=WORKERS)
    first = killed.until(never_mixed(lambda: both("")), "both pods exist")
    for pod in first.values():
        played.run(pod)
    killed.until(never_mixed(lambda: played.phase("group") == "Running"), "it runs")
    played.show(first["group-worker-1"], evicted(first["group-worker-1"]))
    second = killed.until(never_mixed(lambda: both("-r1")), "both pods of the next attempt exist")
    assert "group-worker-0" not in by_name(played), "the survivor goes before anything of the next attempt comes"
    for pod in second.values():
        played.run(pod)
    killed.until(never_mixed(lambda: played.phase("group") == "Running"), "it runs again")
    played.end(second["group-worker-0-r1"])
    killed.until(never_mixed(lambda: played.phase("group") == "Succeeded"), "it succeeds")
    killed.until(lambda: "group-worker-1-r1" not in by_name(played), "worker 1 is ended then")
    settle(proxy)
    status = played.status("group")
    assert (status["attempt"], status["retries"], [(each["reason"], each["pod"]) for each in status["attempts"]]) == (
        1,
        {"infrastructure": 1},
        [("Evicted", "group-worker-1")],
    )
    assert status["replicas"] == {"worker": {"succeeded": 1, "ended": 1}}
    assert by_name(played).keys() == {"group-worker-1", "group-worker-0-r1"}


@pytest.mark.parametrize("k", [pytest.param(k, marks=[pytest.mark.long] if k % 3 else []) for k in range(1, 10)])
def test_killed_after_any_write_success_is_decided_once_and_the_evaluator_alone_may_go_on(
    operator: Operator, played: Played, proxy: FaultProxy, k: int
) -> None:
    killed = Killed(operator, proxy, k)
    replicas = {"chief": {}, "worker": {}, "evaluator": {}}
    played.submit("group", replicas=replicas, checkpoints={"path": "${bucket}/m"})
    pods = killed.until(lambda: found if len(found := by_name(played)) == 3 else None, "all pods exist")
    for pod in pods.values():
        played.run(pod)
    killed.until(lambda: played.phase("group") == "Running", "it runs")
    # An evaluator has its time from the end of the chief.
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    played.show(pods["group-chief-0"], json.loads(json.dumps(ended(pods["group-chief-0"])).replace(STAMP, now)))
    killed.until(lambda: played.phase("group") == "Publishing", "success is decided")
    killed.until(lambda: "group-worker-0" not in by_name(played), "the worker is ended then")
    settle(proxy)
    assert "Evaluator 0 may go on until" in played.status("group")["message"]
    assert _alive(played) == {"group-evaluator-0"}
    played.end(pods["group-evaluator-0"])
    killed.until(lambda: played.phase("group") == "Succeeded", "it succeeds")
    settle(proxy)
    status = played.status("group")
    assert status["replicas"] == {"chief": {"succeeded": 1}, "worker": {"ended": 1}, "evaluator": {"succeeded": 1}}
    assert (status["attempt"], status.get("attempts")) == (0, None)
    assert by_name(played).keys() == {"group-chief-0", "group-evaluator-0"}


def test_the_service_by_which_replicas_find_each_other_is_made_once_and_before_them(
    operator: Operator, played: Played, proxy: FaultProxy
) -> None:
    played.submit("group", replicas=WORKERS)
    until(lambda: len(played.pods()) == 2, "both pods exist")
    written = [path.rpartition("/")[2] for _, path in settle(proxy) if f"/{played.namespace}/" in path]
    assert written[:4] == ["services", "configmaps", "pods", "pods"]
    [service] = played.call("GET", f"/api/v1/namespaces/{played.namespace}/services")["items"]
    assert service["metadata"]["ownerReferences"][0]["name"] == "group"
    for pod in played.pods():
        assert pod["spec"]["subdomain"] == service["metadata"]["name"]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()


@pytest.mark.parametrize(("length", "count"), [(63, 2), (253, 100)])
def test_a_job_may_have_a_name_of_any_length_and_a_hundred_replicas(operator: Operator, played: Played, length: int, count: int) -> None:
    name = "n" * length
    played.submit(name, replicas={"worker": {"count": count}}, successPolicy="AllWorkers")
    pods = until(lambda: found if len(found := by_name(played)) == count else None, "all pods exist", 60)
    assert max(map(len, pods)) <= 63
    plan = contract.decode_plan(environment(pods.popitem()[1])[contract.PLAN_VARIABLE].replace("$$", "$"))
    addresses = plan.peers["worker"]
    hosts = {pod["spec"]["hostname"] for pod in by_name(played).values()}
    assert {address.partition(".")[0] for address in addresses} == hosts
    assert len(hosts) == count
    for pod in by_name(played).values():
        played.run(pod)
    played.wait_for_phase(name, "Running")
    for pod in by_name(played).values():
        played.end(pod)
    status = played.wait_for_phase(name, "Succeeded")
    assert status["replicas"] == {"worker": {"succeeded": count}}
    assert len(json.dumps(status)) < 64 * 1024


def environment(pod: Object) -> dict[str, str]:
    trainer = next(container for container in pod["spec"]["containers"] if container["name"] == "trainer")
    return {item["name"]: item.get("value", "") for item in trainer["env"]}
