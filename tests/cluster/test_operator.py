"""The operator on its own: what it costs, and that it can be killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_client import SMALL, TEST_NAMESPACES, Cluster, Jobs, eventually
from demo.console import quiet
from demo.target import NAMESPACE, cluster_tool
from test_security import operator, operator_pod, ready_operator

SHORT = "print('done')\n"
SLOW = "import time\nprint('up', flush=True)\ntime.sleep(6)\nprint('done')\n"


@pytest.fixture
def audit(cluster: Cluster) -> Path:
    """Return the API server's audit log of writes."""
    if not cluster.target.local:
        pytest.skip("the audit log of this cluster is not readable from here")
    return Path(quiet(cluster_tool("audit-log"), os.environ).strip())


def writes(audit: Path, jobs: Jobs, since: int) -> list[str]:
    """Return verb and object of each write that the operator made after byte `since` of the audit log, without its Lease.

    Not those in namespaces of other tests: their jobs have their own.
    """
    cluster = jobs.cluster
    account = cluster.get("-n", NAMESPACE, "deploy", operator(cluster))["spec"]["template"]["spec"]["serviceAccountName"]
    user = f"system:serviceaccount:{NAMESPACE}:{account}"
    with audit.open("rb") as file:
        file.seek(since)
        entries = [json.loads(line) for line in file.read().splitlines() if line.endswith(b"}")]
    return [
        f"{entry['verb']} {reference.get('resource')}/{reference.get('subresource', '')} {reference.get('name', '')}"
        for entry in entries
        if entry["user"]["username"] == user and entry["stage"] == "ResponseComplete"
        for reference in [entry["objectRef"]]
        if reference["resource"] != "leases"
        if not reference.get("namespace", "").startswith(TEST_NAMESPACES) or reference["namespace"] == jobs.namespace
    ]


@pytest.mark.parametrize("kind", ["inline", "uri"])
def test_a_whole_job_costs_at_most_six_writes(jobs: Jobs, audit: Path, kind: str) -> None:
    since = audit.stat().st_size
    jobs.submit(
        f"writes-{kind}",
        SLOW if kind == "inline" else None,
        **({} if kind == "inline" else {"script": {"uri": "${bucket}/code/slow.py"}}),
    )
    status = jobs.wait(f"writes-{kind}")
    assert status["phase"] in {"Succeeded", "Failed"}
    # On a busy node each phase that lasts is told, with what it waits for, which may change; that is never more than each third second.
    lasted = [status["usage"].get(f"{phase}Seconds", 0) for phase in ("queued", "fetching", "publishing")]
    told = sum(seconds // 3 + 1 for seconds in lasted if seconds)
    made = writes(audit, jobs, since)
    assert 0 < len(made) <= 6 + told, (made, lasted)


def test_idle_it_writes_nothing_but_its_lease(jobs: Jobs, audit: Path) -> None:
    jobs.submit("before-idle", SHORT)
    jobs.wait("before-idle")
    # The event of the end is posted after the status: within two seconds, or not at all.
    over = time.monotonic() + 3
    while time.monotonic() < over:
        since = audit.stat().st_size
        time.sleep(0.2)
    observed = time.monotonic() + 20
    # nothing to wait for: that nothing happens can only be seen by letting time pass
    while time.monotonic() < observed:
        assert writes(audit, jobs, since) == []
        time.sleep(1)


def processes() -> list[int]:
    """Return the operator's process ids on this machine, where the local cluster runs."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"tftraining_operator" in line and b"/etc/tftraining/config.yaml" in line:
                found.append(int(folder.name))
    return found


@pytest.fixture
def stopped(cluster: Cluster) -> Iterator[Cluster]:
    """Take the operator down for the test's time and bring it back in any case."""
    name = operator(cluster)
    cluster.kubectl("-n", NAMESPACE, "scale", "deploy", name, "--replicas=0")
    pods = ["-n", NAMESPACE, "pods", "-l", "app.kubernetes.io/component=operator"]
    eventually(lambda: None if cluster.items(*pods) else True, lambda: "the operator's pod is gone")
    yield cluster
    start(cluster)


def start(cluster: Cluster) -> None:
    """Bring the operator back."""
    cluster.kubectl("-n", NAMESPACE, "scale", "deploy", operator(cluster), "--replicas=1")
    cluster.kubectl("-n", NAMESPACE, "rollout", "status", f"deploy/{operator(cluster)}", "--timeout=120s")


def test_what_was_asked_while_it_was_down_is_done_when_it_is_back(jobs: Jobs, stopped: Cluster) -> None:
    jobs.submit("created-while-down", SHORT)
    jobs.submit("deleted-while-down", SHORT)
    jobs.kubectl("delete", "tftj", "deleted-while-down", "--timeout=10s")
    jobs.submit("suspended-while-down", SHORT, suspend=True)
    start(stopped)
    assert jobs.wait("created-while-down")["phase"] == "Succeeded"
    assert jobs.wait("suspended-while-down", "Suspended")["phase"] == "Suspended"
    assert jobs.pods("deleted-while-down") == []


def test_a_running_job_is_suspended_and_another_deleted_though_the_operator_was_down(jobs: Jobs, cluster: Cluster) -> None:
    endless = "import time\nwhile True:\n    time.sleep(1)\n"
    for name in ("down-suspend", "down-delete"):
        jobs.submit(name, endless, terminationGracePeriodSeconds=1)
    for name in ("down-suspend", "down-delete"):
        jobs.wait_for_phase(name, "Running")
    cluster.kubectl("-n", NAMESPACE, "scale", "deploy", operator(cluster), "--replicas=0")
    try:
        jobs.patch("down-suspend", {"suspend": True})
        jobs.kubectl("delete", "tftj", "down-delete", "--timeout=10s")
        eventually(
            lambda: None if jobs.pods("down-delete") else True,
            lambda: "the deleted job's pod goes without the operator",
            90,
        )
    finally:
        start(cluster)
    jobs.wait("down-suspend", "Suspended")
    assert jobs.pods("down-suspend") == []


@pytest.mark.parametrize("moment", [pytest.param(moment, marks=[pytest.mark.long] if moment % 2 else []) for moment in range(6)])
def test_killed_at_any_moment_of_a_job_it_makes_one_pod_and_tells_the_truth(jobs: Jobs, cluster: Cluster, moment: int) -> None:
    if not cluster.target.local:
        pytest.skip("the operator's process is not on this machine")
    eventually(lambda: processes() or None, lambda: "the operator runs")
    uids: set[str] = set()
    restarts = ready_operator(cluster)["status"]["containerStatuses"][0]["restartCount"]
    name = f"killed-{moment}"
    jobs.submit(name, SLOW, resources=SMALL)
    # the moments spread over creation, fetching, running, publishing and after: half a second more each time
    kill_at = time.monotonic() + [0.0, 0.15, 0.6, 1.5, 4.0, 8.0][moment]
    while time.monotonic() < kill_at:
        time.sleep(0.01)
    for process in processes():
        os.kill(process, signal.SIGKILL)

    def finished() -> bool | None:
        uids.update(pod["metadata"]["uid"] for pod in jobs.pods(name))
        return jobs.status(name).get("phase") in {"Succeeded", "Failed"} or None

    eventually(finished, lambda: f"{name} ends: {jobs.status(name)}", 180)
    assert jobs.status(name)["phase"] == "Succeeded"
    assert len(uids) == 1
    # Where the job was over before, nothing else has waited for it.
    ready_operator(cluster, restarts + 1)


def test_health_and_metrics_are_the_only_routes(cluster: Cluster) -> None:
    base = f"/api/v1/namespaces/{NAMESPACE}/pods/{operator_pod(cluster)}:8080/proxy"
    assert "ok" in cluster.kubectl("get", "--raw", f"{base}/healthz").lower()
    assert "ok" in cluster.kubectl("get", "--raw", f"{base}/readyz").lower()
    assert "tftraining_" in cluster.kubectl("get", "--raw", f"{base}/metrics")
