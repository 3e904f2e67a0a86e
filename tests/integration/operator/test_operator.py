"""From any state, when faults stop, the operator reaches what the spec asks for, and then writes nothing more."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from control import Killed, Operator, Played, RefusedError, settle, until
from faults import HANG, Fault, FaultProxy
from played_kubelet import Object, ended, evicted, fetching, publishing, running
from tftrainer.messages import contract


def finish(played: Played, name: str, exit_code: int = 0, attempt_suffix: str = "") -> None:
    """Play a whole run of a job's pod."""
    pod = played.wait_for_pod(f"{name}-chief-0{attempt_suffix}")
    played.run(pod)
    played.wait_for_phase(name, "Running")
    played.end(pod, exit_code)


def test_a_job_gets_its_pod_runs_and_succeeds_with_at_most_six_writes(operator: Operator, played: Played, proxy: FaultProxy) -> None:
    before = len(proxy.written())
    played.submit("iris")
    finish(played, "iris")
    status = played.wait_for_phase("iris", "Succeeded")
    assert {item["type"]: item["status"] for item in status["conditions"]}["Finished"] == "True"
    made = settle(proxy)[before:]
    assert len(made) <= 6, made


def test_a_whole_job_costs_six_writes_in_the_api_servers_own_audit_log(operator: Operator, played: Played, proxy: FaultProxy) -> None:
    played.submit("audited")
    finish(played, "audited")
    played.wait_for_phase("audited", "Succeeded")
    settle(proxy)
    made = sorted(write for write in played.operators_writes() if write[1] != "leases")
    assert made == [
        *[("create", "configmaps"), ("create", "events"), ("create", "events"), ("create", "pods")],
        *[("patch", "tftrainingjobs/status"), ("patch", "tftrainingjobs/status")],
    ]


def test_a_finished_job_is_never_written_again_also_not_after_a_restart(operator: Operator, played: Played, proxy: FaultProxy) -> None:
    played.submit("done")
    finish(played, "done")
    played.wait_for_phase("done", "Succeeded")
    before = len(settle(proxy))
    operator.start()
    assert settle(proxy)[before:] == []


def test_a_failed_script_fails_the_job(operator: Operator, played: Played) -> None:
    played.submit("fails")
    finish(played, "fails", exit_code=3)
    failure = played.wait_for_phase("fails", "Failed")["failure"]
    assert failure["exitCode"] == 3


def test_what_has_to_be_known_of_the_outputs_is_in_the_status_and_told_in_one_event_also_after_a_restart(
    operator: Operator, played: Played, proxy: FaultProxy
) -> None:
    played.submit("noted")
    pod = played.wait_for_pod("noted-chief-0")
    status = ended(pod)
    publisher = next(item for item in status["containerStatuses"] if item["name"] == "publisher")["state"]["terminated"]
    report = contract.decode_report(publisher["message"], contract.PublishReport)
    told = msgspec.structs.replace(report, objects=4, kept=2, note="2 files were\nwritten outside of ${bucket}: \x1b[31mmodel.h5")
    publisher["message"] = contract.encode_report(told).decode()
    played.show(pod, status)
    found = played.wait_for_phase("noted", "Succeeded")
    assert found["message"].endswith(" 4 objects are published. 2 files were written outside of ${bucket}: model.h5.")
    assert found["outputs"]["kept"] == 2
    settle(proxy)
    operator.start()
    settle(proxy)
    events = played.call("GET", f"/apis/events.k8s.io/v1/namespaces/{played.namespace}/events")["items"]
    assert [(event["type"], event["note"]) for event in events if event["reason"] == "OutputsIncomplete"] == [
        ("Warning", "2 files were written outside of ${bucket}: model.h5.")
    ]


@pytest.mark.parametrize("k", range(1, 7))
def test_killed_after_any_of_its_writes_it_makes_one_pod_and_tells_the_truth(
    operator: Operator, played: Played, proxy: FaultProxy, k: int
) -> None:
    killed = Killed(operator, proxy, k)
    played.submit("sweep")
    killed.until(lambda: bool(played.pods()), "the pod exists")
    pod = played.pods()[0]
    played.run(pod)
    killed.until(lambda: played.phase("sweep") == "Running", "it runs")
    played.end(pod)
    killed.until(lambda: played.phase("sweep") == "Succeeded", "it succeeds")
    # The last write is the last event's, which comes after the status.
    killed.and_back()
    settle(proxy)
    assert (played.phase("sweep"), played.status("sweep")["attempt"]) == ("Succeeded", 0)
    assert [item["metadata"]["uid"] for item in played.pods()] == [pod["metadata"]["uid"]]


_STOPPED_AT = {(2, True), (8, True), (5, False), (6, False), (7, False)}


@pytest.mark.parametrize(
    ("k", "held"),
    [
        pytest.param(k, held, id=f"{k} {what}", marks=[] if (k, held) in _STOPPED_AT else [pytest.mark.long])
        for k in range(1, 9)
        for held, what in ((True, "its end is seen"), (False, "it vanishes"))
    ],
)
def test_killed_after_any_write_of_a_job_that_is_stopped_it_makes_one_pod_and_blames_nobody(
    operator: Operator, played: Played, proxy: FaultProxy, k: int, *, held: bool
) -> None:
    killed = Killed(operator, proxy, k)
    # Without retries a pod that counts as deleted by somebody else would be a failure.
    played.submit("ends", retry={"infrastructure": 0})
    killed.until(lambda: bool(played.pods()), "the pod exists")
    pod = played.pods()[0]
    played.run(pod)
    killed.until(lambda: played.phase("ends") == "Running", "it runs")
    if held:
        played.hold(pod)
    played.change("ends", stop=True)
    killed.until(lambda: _going_or_gone(played, "ends-chief-0"), "its pod goes")
    if held:
        played.end(pod, 143)
    elif played.pods():
        played.remove(pod)
    killed.until(lambda: played.phase("ends") == "Stopped", "it is stopped")
    killed.and_back()
    if held:
        played.release(pod)
    settle(proxy)
    status = played.status("ends")
    assert (status["phase"], status["stop"]["reason"], status["attempt"]) == ("Stopped", "Stopped" if held else "ForceStopped", 0)
    assert "failure" not in status
    assert "retries" not in status
    assert played.pods() == []


@pytest.mark.parametrize("fault", [Fault(504, apply=True), Fault(0, apply=True), Fault(500), Fault(0), Fault(429, retry_after="1")])
def test_a_pod_whose_creation_goes_wrong_is_made_exactly_once(operator: Operator, played: Played, proxy: FaultProxy, fault: Fault) -> None:
    tried: list[float] = []

    def judge(method: str, path: str) -> Fault | None:
        if (method, path) != ("POST", played.pods_path):
            return None
        tried.append(time.monotonic())
        return fault if len(tried) == 1 else None

    proxy.judge = judge
    played.submit("once")
    finish(played, "once")
    played.wait_for_phase("once", "Succeeded")
    assert len(played.pods()) == 1
    if fault.retry_after:
        assert tried[1] - tried[0] >= float(fault.retry_after)


def test_a_server_that_fails_for_a_while_is_not_hammered_and_the_job_runs_afterwards(
    operator: Operator, played: Played, proxy: FaultProxy
) -> None:
    refused: list[float] = []
    until_then = time.monotonic() + 5

    def judge(method: str, path: str) -> Fault | None:
        if "/leases" in path or time.monotonic() > until_then:
            return None
        refused.append(time.monotonic())
        return Fault(503)

    proxy.judge = judge
    played.submit("patient")
    finish(played, "patient")
    played.wait_for_phase("patient", "Succeeded")
    assert 2 <= len(refused) <= 12, len(refused)


def test_a_job_created_and_one_suspended_while_it_was_down_are_done_when_it_is_back(operator: Operator, played: Played) -> None:
    played.start("runs")
    operator.kill()
    played.submit("new")
    played.change("runs", suspend=True)
    operator.start()
    played.wait_for_pod("new-chief-0")
    until(lambda: _going_or_gone(played, "runs-chief-0"), "the suspended job's pod goes")


MOMENTS: dict[str, Callable[[Object], Object] | None] = {
    "no pod": None,
    "Pending": lambda _: {},
    "Fetching": fetching,
    "Running": running,
    "Publishing": publishing,
    "Succeeded": ended,
    "Failed": lambda pod: ended(pod, 3),
}


def _each_second(first: int) -> list[Any]:
    """Return all moments, the others than each second one as such of a long matrix."""
    return [pytest.param(moment, marks=[pytest.mark.long] if (at - first) % 2 else []) for at, moment in enumerate(MOMENTS)]


def _reach(operator: Operator, played: Played, name: str, moment: str) -> None:
    """Bring a job to a moment of its life that the operator has not seen, and leave the operator dead."""
    status = MOMENTS[moment]
    if status is None:
        operator.kill()
        played.submit(name)
        return
    played.submit(name)
    pod = played.wait_for_pod(f"{name}-chief-0")
    operator.kill()
    played.show(pod, status(pod))


@pytest.mark.parametrize("moment", _each_second(0))
def test_a_job_suspended_at_any_moment_while_it_was_down_holds_nothing_or_has_ended(
    operator: Operator, played: Played, moment: str
) -> None:
    _reach(operator, played, "paused", moment)
    played.change("paused", suspend=True)
    operator.start()
    expected = moment if moment in {"Succeeded", "Failed"} else "Suspended"
    status = played.wait_for_phase("paused", expected)
    assert (len(played.pods()) == 0) == (expected == "Suspended")
    assert status.get("attempt", 0) == (0 if moment in {"no pod", "Succeeded", "Failed"} else 1)


@pytest.mark.parametrize("moment", _each_second(1))
def test_a_job_deleted_at_any_moment_while_it_was_down_is_not_missed_and_gets_no_pod(
    operator: Operator, played: Played, proxy: FaultProxy, moment: str
) -> None:
    _reach(operator, played, "deleted", moment)
    played.call("DELETE", f"{played.jobs_path}/deleted")
    before = (len(settle(proxy, 0.2)), len(played.pods()))
    operator.start()
    played.submit("next", suspend=True)
    played.wait_for_phase("next", "Suspended")
    settle(proxy)
    written = [path for _, path in proxy.written()[before[0] :] if "next" not in path and "/events" not in path]
    assert (written, len(played.pods())) == ([], before[1])


def _going_or_gone(played: Played, name: str) -> bool:
    pod = next((item for item in played.pods() if item["metadata"]["name"] == name), None)
    return pod is None or "deletionTimestamp" in pod["metadata"]


def test_a_pod_deleted_while_it_was_down_fails_the_job(operator: Operator, played: Played) -> None:
    pod = played.start("lost", retry={"infrastructure": 0})
    operator.kill()
    played.remove(pod)
    operator.start()
    assert played.wait_for_phase("lost", "Failed")["failure"]["reason"] == "PodDeleted"
    assert played.pods() == []


def test_a_pod_deleted_while_it_was_down_is_followed_by_one_of_the_next_attempt(operator: Operator, played: Played) -> None:
    pod = played.start("again")
    operator.kill()
    played.remove(pod)
    operator.start()
    told = played.wait_for_phase("again", "Restarting")
    assert (told["attempt"], told["retries"], told["attempts"][0]["reason"]) == (1, {"infrastructure": 1}, "PodDeleted")
    finish(played, "again", attempt_suffix="-r1")
    status = played.wait_for_phase("again", "Succeeded")
    assert (status["attempt"], status["retries"]) == (1, {"infrastructure": 1})
    assert [item["metadata"]["name"] for item in played.pods()] == ["again-chief-0-r1"]


@pytest.mark.parametrize("k", [pytest.param(k, marks=[pytest.mark.long] if k % 2 else []) for k in range(2, 12)])
def test_killed_after_any_write_of_a_job_that_is_tried_again_it_never_runs_two_pods_at_once_and_ends_the_same(
    operator: Operator, played: Played, proxy: FaultProxy, k: int
) -> None:
    killed = Killed(operator, proxy, k)
    played.submit("again")

    def never_two(probe: Callable[[], Any]) -> Callable[[], Any]:
        def check() -> Any:
            live = [pod for pod in played.pods() if pod.get("status", {}).get("phase") not in {"Failed", "Succeeded"}]
            assert len(live) <= 1
            return probe()

        return check

    def pod(suffix: str) -> Object | None:
        return next((each for each in played.pods() if each["metadata"]["name"] == f"again-chief-0{suffix}"), None)

    first = killed.until(never_two(lambda: pod("")), "the first pod exists")
    played.show(first, evicted(first))
    second = killed.until(never_two(lambda: pod("-r1")), "the second pod exists")
    played.run(second)
    killed.until(never_two(lambda: played.phase("again") == "Running"), "it runs")
    played.end(second)
    killed.until(never_two(lambda: played.phase("again") == "Succeeded"), "it succeeds")
    status = played.status("again")
    assert (status["attempt"], status["retries"], [each["reason"] for each in status["attempts"]]) == (
        1,
        {"infrastructure": 1},
        ["Evicted"],
    )
    assert {each["metadata"]["name"] for each in played.pods()} == {"again-chief-0", "again-chief-0-r1"}


def _evicted_after(pod: Object, seconds: int) -> Object:
    """Return the status of a pod that was evicted after its script had run for so long."""
    status = evicted(pod)
    trainer = next(each for each in status["containerStatuses"] if each["name"] == "trainer")["state"]["terminated"]
    trainer |= {"startedAt": "2027-01-15T08:00:00Z", "finishedAt": f"2027-01-15T08:00:{seconds:02}Z"}
    return status


def test_a_deadline_is_over_all_attempts_and_a_process_that_comes_later_knows_what_is_left(operator: Operator, played: Played) -> None:
    played.submit("timed", activeDeadlineSeconds=60)
    first = played.wait_for_pod("timed-chief-0")
    assert first["metadata"]["annotations"]["tftraining.dev/active-deadline-seconds"] == "60"
    played.show(first, _evicted_after(first, 45))
    assert played.wait_for_phase("timed", "Restarting")["usage"]["runningSeconds"] == 45
    operator.kill()
    played.remove(first)
    operator.start()
    second = played.wait_for_pod("timed-chief-0-r1")
    assert second["metadata"]["annotations"]["tftraining.dev/active-deadline-seconds"] == "15"
    played.show(second, _evicted_after(second, 15))
    status = played.wait_for_phase("timed", "Failed")
    assert (status["failure"]["reason"], status["usage"]["runningSeconds"], status["retries"]) == (
        "DeadlineExceeded",
        60,
        {"infrastructure": 1},
    )


def test_a_job_that_asks_for_more_than_an_admin_allows_is_refused_and_one_within_runs_as_bounded(
    proxy: FaultProxy, played: Played, tmp_path: Path
) -> None:
    maxima = {"gpus": 2, "memory": "8Gi", "activeDeadlineSeconds": 600, "ttlSecondsAfterFinished": 1, "retries": 1}
    with Operator(proxy, played.namespace, tmp_path, settings={"maxima": maxima}) as operator:
        operator.start()
        played.submit("large", resources={"gpus": 3, "memory": "16Gi"}, ttlSecondsAfterFinished=0)
        refused = until(lambda: _events(played, "large"), "it is told")
        assert refused == ["InvalidSpec"]
        played.submit("fits", resources={"gpus": 2, "memory": "8Gi"})
        pod = played.wait_for_pod("fits-chief-0")
        assert pod["metadata"]["annotations"]["tftraining.dev/active-deadline-seconds"] == "600"
        assert [each["metadata"]["name"] for each in played.pods()] == ["fits-chief-0"]
        played.end(pod)
        until(lambda: "fits" not in _names(played), "it goes when the time that an admin gives it is over")


def _names(played: Played) -> set[str]:
    return {job["metadata"]["name"] for job in played.call("GET", played.jobs_path)["items"]}


def test_a_finished_jobs_pod_goes_when_its_time_has_come_and_the_job_stays(operator: Operator, played: Played) -> None:
    played.submit("brief", podRetentionSeconds=1)
    finish(played, "brief")
    played.wait_for_phase("brief", "Succeeded")
    until(lambda: _going_or_gone(played, "brief-chief-0"), "its pod goes")
    assert played.phase("brief") == "Succeeded"


def test_a_finished_job_goes_when_its_time_has_come(operator: Operator, played: Played) -> None:
    played.submit("brief", ttlSecondsAfterFinished=1)
    finish(played, "brief")

    def is_gone() -> bool:
        try:
            played.status("brief")
        except RefusedError as refused:
            return refused.status == 404
        return False

    until(is_gone, "the job goes")


def test_suspended_it_keeps_no_pod_and_resumed_it_is_the_next_attempt(operator: Operator, played: Played) -> None:
    pod = played.start("pause")
    played.change("pause", suspend=True)
    until(lambda: _going_or_gone(played, "pause-chief-0"), "its pod goes")
    if played.pods():
        played.remove(pod)
    played.wait_for_phase("pause", "Suspended")
    played.change("pause", suspend=False)
    finish(played, "pause", attempt_suffix="-r1")
    assert played.wait_for_phase("pause", "Succeeded")["attempt"] == 1


def test_a_stopped_job_ends_as_that_with_what_it_has_published_and_never_runs_again(
    operator: Operator, played: Played, proxy: FaultProxy
) -> None:
    pod = played.start("ends")
    # Without a kubelet a pod that has a node would be deleted at once.
    played.hold(pod)
    played.change("ends", stop=True)
    status = played.wait_for_phase("ends", "Stopping")
    assert status["ending"]["because"] == "Stop"
    until(lambda: _going_or_gone(played, "ends-chief-0"), "its pod goes")
    played.end(pod, 143)
    status = played.wait_for_phase("ends", "Stopped")
    assert (status["stop"], status["outputs"]["manifest"] in status["message"]) == ({"reason": "Stopped"}, True)
    assert {each["type"] for each in status["conditions"] if each["status"] == "True"} == {"Accepted", "Failed", "Stopped", "Finished"}
    played.release(pod)
    with pytest.raises(RefusedError, match="stop cannot be taken back"):
        played.change("ends", stop=False)
    before = len(settle(proxy))
    assert _events(played, "ends").count("Stopped") == 1
    operator.start()
    assert settle(proxy)[before:] == []
    assert played.pods() == []


def test_a_job_whose_pod_vanishes_unpublished_while_it_is_stopped_was_stopped_by_force(operator: Operator, played: Played) -> None:
    pod = played.start("forced")
    played.change("forced", stop=True)
    until(lambda: _going_or_gone(played, "forced-chief-0"), "its pod goes")
    if played.pods():
        played.remove(pod)
    assert played.wait_for_phase("forced", "Stopped")["stop"] == {"reason": "ForceStopped"}


@pytest.mark.parametrize("moment", _each_second(0))
def test_a_job_stopped_at_any_moment_while_it_was_down_ends_and_is_not_tried_again(operator: Operator, played: Played, moment: str) -> None:
    _reach(operator, played, "stops", moment)
    played.change("stops", stop=True)
    operator.start()
    expected = moment if moment in {"Succeeded", "Failed"} else "Stopped"
    status = played.wait_for_phase("stops", expected)
    assert (len(played.pods()) == 0) == (expected == "Stopped")
    assert status["attempt"] == 0


def test_stopped_while_it_is_suspended_or_before_it_starts_it_has_no_pod_and_ends(operator: Operator, played: Played) -> None:
    played.submit("never", stop=True)
    played.submit("paused", suspend=True)
    played.wait_for_phase("paused", "Suspended")
    played.change("paused", stop=True)
    for name in ("never", "paused"):
        assert played.wait_for_phase(name, "Stopped")["message"] == "The job was stopped before it had started. Nothing was published."
    assert played.pods() == []


def test_a_pod_of_somebody_else_is_never_adopted(operator: Operator, played: Played) -> None:
    container = {"name": "c", "image": "x"}
    played.call(
        "POST",
        played.pods_path,
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "taken-chief-0"}, "spec": {"containers": [container]}},
    )
    played.submit("taken")
    assert played.wait_for_phase("taken", "Failed")["failure"]["reason"] == "NameConflict"


def test_a_job_recreated_under_its_name_runs_its_own_script(operator: Operator, played: Played) -> None:
    played.submit("again", script={"name": "a.py", "inline": "print('first')"})
    first = played.wait_for_pod("again-chief-0")
    played.call("DELETE", f"{played.jobs_path}/again")
    played.remove(first)
    played.submit("again", script={"name": "a.py", "inline": "print('second')"})
    pod = until(
        lambda: next((item for item in played.pods() if item["metadata"]["uid"] != first["metadata"]["uid"]), None), "the new job's pod", 40
    )
    volume = next(item["configMap"]["name"] for item in pod["spec"]["volumes"] if "configMap" in item)
    script = played.call("GET", f"/api/v1/namespaces/{played.namespace}/configmaps/{volume}")
    assert script["data"] == {"a.py": "print('second')"}


def test_garbage_on_our_pod_and_a_forged_status_change_nothing(operator: Operator, played: Played) -> None:
    pod = played.start("forged")
    merge = "application/merge-patch+json"
    played.call("PATCH", f"{played.pods_path}/forged-chief-0", {"metadata": {"annotations": {"x": "\x00{" * 100}}}, merge)
    forged = {"status": {"phase": "Succeeded", "conditions": [], "message": "forged"}}
    played.call("PATCH", f"{played.jobs_path}/forged/status", forged, merge)
    played.wait_for_phase("forged", "Running")
    played.end(pod)
    played.wait_for_phase("forged", "Succeeded")


def test_told_to_stop_it_is_gone_about_as_soon_as_it_was_there_and_the_next_one_leads_at_once(
    operator: Operator, proxy: FaultProxy, played: Played, tmp_path: Path
) -> None:
    with Operator(proxy, played.namespace, tmp_path, identity="two") as second:
        second.start(wait=False)
        until(lambda: second.page("readyz") == "ok", "the second is ready")
        assert "tftraining_leader 0.0" in second.page("metrics")
        assert operator.terminate() < 4 + operator.start_seconds
        until(lambda: "tftraining_leader 1.0" in second.page("metrics"), "the second leads without waiting for the lease to expire", 12)
        played.submit("handed-over")
        played.wait_for_pod("handed-over-chief-0")


def test_idle_it_writes_only_its_lease(operator: Operator, played: Played, proxy: FaultProxy) -> None:
    played.submit("before")
    finish(played, "before")
    played.wait_for_phase("before", "Succeeded")
    settle(proxy)
    proxy.writes.clear()
    until(lambda: len([item for item in proxy.writes if "/leases" in item[1]]) >= 4, "the lease is renewed", 60)
    assert proxy.written() == []


def test_health_readiness_and_metrics_are_its_only_routes(operator: Operator) -> None:
    assert operator.page("healthz") == "ok"
    assert operator.page("readyz") == "ok"
    assert "tftraining_reconciles_total" in operator.page("metrics")
    assert operator.page("") == ""


def test_a_pod_that_the_cluster_refuses_is_told_in_the_status_and_made_once_it_is_accepted(operator: Operator, played: Played) -> None:
    limits = f"/api/v1/namespaces/{played.namespace}/limitranges"
    small = {"limits": [{"type": "Container", "max": {"memory": "10Mi"}}]}
    played.call("POST", limits, {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": small})
    until(lambda: _is_refused(played), "the limit holds")
    played.submit("large")
    pending = until(lambda: played.status("large").get("pending"), "the refusal is told")
    assert pending["reason"] == "OutsideLimitRange"
    assert "maximum memory usage per Container is 10Mi" in pending["message"]
    assert until(lambda: _events(played, "large"), "an event, written after the status, tells it too") == ["OutsideLimitRange"]
    # Widened and not deleted: a range that was looked up before the server's cache had it goes on refusing for 30 s after its deletion.
    wide = {"spec": {"limits": [{"type": "Container", "max": {"memory": "64Gi"}}]}}
    played.call("PATCH", f"{limits}/small", wide, "application/merge-patch+json")
    finish(played, "large")
    assert "pending" not in played.wait_for_phase("large", "Succeeded")


def test_a_quota_is_told_by_what_it_demands_and_the_job_runs_within_seconds_once_it_fits(operator: Operator, played: Played) -> None:
    quotas = f"/api/v1/namespaces/{played.namespace}/resourcequotas"

    def limit(cpus: str) -> None:
        # Without a controller manager nobody else writes what a quota allows, and what is in use.
        status = {"hard": {"limits.cpu": cpus}, "used": {"limits.cpu": "0"}}
        played.call("PATCH", f"{quotas}/team/status", {"status": status}, "application/merge-patch+json")

    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": {"limits.cpu": "1"}}}
    played.call("POST", quotas, quota)
    limit("1")
    until(lambda: _is_refused(played), "the quota holds")
    played.submit("unlimited")
    assert "spec.resources.cpuLimit" in _waits_for(played, "unlimited", "LimitRequired")
    played.submit("limited", resources={"cpuLimit": 1})
    assert "asks for 2 of limits.cpu, where 1 is all that it allows" in _waits_for(played, "limited", "QuotaTooSmall")
    # Long enough for the delays to have grown.
    refusals = _tries(operator)
    until(lambda: _tries(operator) >= refusals + 8, "it is tried again", 60)
    limit("8")
    until(lambda: [pod for pod in played.pods() if pod["metadata"]["name"] == "limited-chief-0"], "the pod is made")


def _waits_for(played: Played, job: str, reason: str) -> str:
    def told() -> str:
        pending = played.status(job).get("pending", {})
        return str(pending["message"]) if pending.get("reason") == reason else ""

    return until(told, f"{job} waits for {reason}")


def _tries(operator: Operator) -> int:
    return len([line for line in operator.log().splitlines() if "tried again" in line])


def _is_refused(played: Played) -> bool:
    container = {"name": "c", "image": "x", "resources": {"limits": {"memory": "20Mi"}}}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": {"containers": [container]}}
    try:
        played.call("POST", f"{played.pods_path}?dryRun=All", body)
    except RefusedError as error:
        return error.status == 403
    return False


def _events(played: Played, job: str) -> list[str]:
    found = played.call("GET", f"/apis/events.k8s.io/v1/namespaces/{played.namespace}/events")["items"]
    return [item["reason"] for item in found if item["regarding"]["name"] == job]


def test_a_job_that_cannot_be_written_is_not_given_up_silently(operator: Operator, played: Played, proxy: FaultProxy) -> None:
    proxy.judge = lambda method, path: Fault(403) if path.endswith("/status") else None
    played.submit("mute")
    played.run(played.wait_for_pod("mute-chief-0"))
    until(lambda: "403" in operator.log(), "the log tells of it")
    proxy.judge = lambda *_: None
    played.wait_for_phase("mute", "Running")


def test_a_pod_that_only_its_own_lists_do_not_show_is_not_taken_for_deleted(operator: Operator, played: Played, proxy: FaultProxy) -> None:
    played.start("unseen")
    operator.kill()
    proxy.hidden = (played.pods_path,)
    operator.start()
    until(lambda: 'tftraining_reconciles_total{rule="running"}' in operator.page("metrics"), "it has looked at the job")
    assert played.phase("unseen") == "Running"
    assert len(played.pods()) == 1


def test_a_job_deleted_with_its_status_on_the_way_is_forgotten(operator: Operator, played: Played, proxy: FaultProxy) -> None:
    def judge(method: str, path: str) -> Fault | None:
        if method == "PATCH" and played.pods():
            proxy.judge = lambda *_: None
            played.call("DELETE", f"{played.jobs_path}/brief")
        return None

    played.submit("brief")
    pod = played.wait_for_pod("brief-chief-0")
    proxy.judge = judge
    played.run(pod)
    until(lambda: "tftraining_jobs" in operator.page("metrics") and not _known_jobs(operator), "the job is forgotten")
    settle(proxy)
    assert _events(played, "brief") == []
    assert "tried again" not in operator.log()


def _known_jobs(operator: Operator) -> bool:
    lines = [line for line in operator.page("metrics").splitlines() if line.startswith("tftraining_jobs{")]
    return any(not line.endswith(" 0.0") for line in lines)


def test_a_server_that_no_longer_answers_for_the_lease_ends_the_process_before_another_may_lead(
    operator: Operator, played: Played, proxy: FaultProxy
) -> None:
    proxy.judge = lambda _, path: Fault(HANG) if "/leases" in path else None
    begin = time.monotonic()
    assert operator.ended(14) == 75
    assert time.monotonic() - begin < 14
    assert "lease lost" in operator.log()


def test_a_process_that_was_asleep_while_another_took_its_lease_writes_nothing_more(
    operator: Operator, played: Played, proxy: FaultProxy, tmp_path: Path
) -> None:
    assert operator.process is not None
    operator.process.send_signal(signal.SIGSTOP)
    path = f"/apis/coordination.k8s.io/v1/namespaces/{played.namespace}/leases/tftraining-operator"
    lease = played.call("GET", path)
    lease["spec"]["holderIdentity"] = "another"
    played.call("PUT", path, lease)
    played.submit("asleep")
    time.sleep(10.5)  # the time after which it may not trust its lease any more
    before = len(proxy.written())
    operator.process.send_signal(signal.SIGCONT)
    assert operator.ended(60) == 75
    assert proxy.written()[before:] == []
    assert played.pods() == []


def test_a_watch_that_cannot_go_on_ends_the_process_and_the_next_one_takes_over(
    operator: Operator, played: Played, proxy: FaultProxy
) -> None:
    # It leads before it watches: a watch not yet open cannot be broken.
    until(lambda: proxy.watching == 2, "jobs and pods are watched")
    proxy.break_watches()
    assert operator.ended(60) != 0
    assert "the process ends" in operator.log()
    played.submit("next")
    operator.start()
    played.wait_for_pod("next-chief-0")


def test_a_log_line_tells_job_attempt_rule_and_what_was_done(operator: Operator, played: Played) -> None:
    played.submit("told")
    finish(played, "told")
    played.wait_for_phase("told", "Succeeded")
    lines = [line for line in operator.log().splitlines() if "decided" in line]
    assert ["no_pod" in lines[0], "running" in lines[1], "succeeded" in lines[2]] == [True] * 3, lines
    assert all("told" in line and "attempt" in line for line in lines)
    assert len(lines) == 3


def test_kubectl_get_shows_the_runtime_also_where_the_job_names_none(operator: Operator, played: Played) -> None:
    def shown(name: str) -> str:
        table = played.call("GET", f"{played.jobs_path}/{name}", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
        return str(table["rows"][0]["cells"][[column["name"] for column in table["columnDefinitions"]].index("Runtime")])

    for name, runtime, expected in (("named", "tf1", "tf1"), ("unnamed", None, "tf2")):
        played.submit(name, runtime=runtime, suspend=True)
        played.wait_for_phase(name, "Suspended")
        assert shown(name) == expected


def test_a_pod_is_told_of_before_it_is_deleted_so_that_a_kill_in_between_blames_nobody_else(
    operator: Operator, played: Played, proxy: FaultProxy
) -> None:
    played.submit("slow", pendingDeadlineSeconds=1)
    first = played.wait_for_pod("slow-chief-0")
    deletions: list[str] = []

    def judge(method: str, path: str) -> Fault | None:
        if method == "DELETE":
            deletions.append(path)
            operator.kill()
        return None

    proxy.judge = judge
    until(lambda: deletions, "the overdue pod is to be deleted")
    until(lambda: operator.process is None, "the operator is killed in the middle of it")
    proxy.judge = lambda *_: None
    # The request may have reached the server all the same.
    with contextlib.suppress(RefusedError):
        played.remove(first)
    operator.start()
    assert played.wait_for_phase("slow", "Failed")["failure"]["reason"] == "PendingDeadlineExceeded"
    settle(proxy)
    assert played.pods() == []
    assert proxy.written().count(("POST", played.pods_path)) == 1, "it gets no second pod"


def test_a_deleted_job_that_a_finalizer_keeps_holds_no_pod_any_more(operator: Operator, played: Played) -> None:
    played.submit("kept")
    played.run(played.wait_for_pod("kept-chief-0"))
    played.wait_for_phase("kept", "Running")
    path = f"{played.jobs_path}/kept"
    operator.kill()
    played.call("PATCH", path, {"metadata": {"finalizers": ["example.org/keep"]}}, "application/merge-patch+json")
    played.call("DELETE", path)
    operator.start()
    until(lambda: _going_or_gone(played, "kept-chief-0"), "its pod goes")
    played.call("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")


def test_a_finalizer_with_which_kopf_marks_its_own_objects_provokes_no_write_and_holds_up_no_event(
    operator: Operator, played: Played, proxy: FaultProxy
) -> None:
    played.submit("marked")
    pod = played.wait_for_pod("marked-chief-0")
    merge, marked = "application/merge-patch+json", {"metadata": {"finalizers": ["kopf.zalando.org/KopfFinalizerMarker"]}}
    before = len(settle(proxy))
    for path in (f"{played.jobs_path}/marked", f"{played.pods_path}/marked-chief-0"):
        played.call("PATCH", path, marked, merge)
    played.run(pod)
    played.wait_for_phase("marked", "Running")
    played.change("marked", suspend=True)
    until(lambda: _going_or_gone(played, "marked-chief-0"), "later events come through")
    assert [path for verb, path in settle(proxy)[before:] if verb == "PATCH" and not path.endswith("/status")] == []
    for path in (f"{played.jobs_path}/marked", f"{played.pods_path}/marked-chief-0"):
        played.call("PATCH", path, {"metadata": {"finalizers": None}}, merge)


def test_a_name_that_is_taken_by_a_pod_whose_label_came_and_went_makes_no_hot_loop(
    operator: Operator, played: Played, proxy: FaultProxy
) -> None:
    label = {"tftraining.dev/job-uid": "x"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "taken-chief-0", "labels": label},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }
    played.call("POST", played.pods_path, pod)
    until(lambda: "tftraining_pods 1.0" in operator.page("metrics"), "the operator sees it")
    played.call("PATCH", f"{played.pods_path}/taken-chief-0", {"metadata": {"labels": None}}, "application/merge-patch+json")
    until(lambda: "tftraining_pods 0.0" in operator.page("metrics"), "the operator no longer sees it")
    before = len(proxy.written())
    played.submit("taken")
    assert played.wait_for_phase("taken", "Failed")["failure"]["reason"] == "NameConflict"
    assert len(settle(proxy)[before:]) <= 6
