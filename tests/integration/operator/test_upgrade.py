"""Jobs in every phase as an earlier version left them: this one goes on with them, and touches no pod that runs.

`golden/earlier.json` holds what the operator of 28 November 2026 wrote to a real API server, with played pods.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from control import Operator, Played, until
from controlplane import ControlPlane
from faults import FaultProxy
from played_kubelet import Object

EARLIER = json.loads((Path(__file__).parent / "golden" / "earlier.json").read_text())
LIVE = {"pending", "fetching", "running", "publishing", "resumed"}
"""Jobs whose pods are to go on as if nothing had happened."""
ENDED = {"succeeded": "Succeeded", "failed": "Failed"}
MERGE = "application/merge-patch+json"


@dataclass
class Upgraded:
    """A namespace with all of them, before and after this version has come."""

    played: Played
    operator: Operator
    before: Mapping[str, str]
    ended: Mapping[str, Object]

    def uids(self) -> dict[str, str]:
        """Return the uids of all pods that nobody deletes, by name."""
        pods = [pod["metadata"] for pod in self.played.pods()]
        return {pod["name"]: pod["uid"] for pod in pods if "deletionTimestamp" not in pod}


def of_now(text: str) -> str:
    """Return a text with its times as far from now as they were from the record's."""
    late = datetime.now(UTC) - datetime.fromisoformat(EARLIER["recordedAt"])

    def moved(found: re.Match[str]) -> str:
        return (datetime.fromisoformat(found[0]) + timedelta(seconds=int(late.total_seconds()))).strftime("%Y-%m-%dT%H:%M:%SZ")

    return re.sub(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", moved, text)


def install(played: Played, name: str) -> None:
    """Create a job with its pods as the earlier version left them."""
    entry = EARLIER["jobs"][name]
    uid = played.submit(name, **entry["job"]["spec"])["metadata"]["uid"]
    here = (
        of_now(json.dumps(entry))
        .replace(entry["job"]["metadata"]["uid"], uid)
        .replace(entry["job"]["metadata"]["namespace"], played.namespace)
    )
    job, pods = json.loads(here)["job"], json.loads(here)["pods"]
    for pod in pods:
        kept = ("name", "labels", "annotations", "ownerReferences", "finalizers")
        metadata = {key: value for key, value in pod["metadata"].items() if key in kept}
        made = played.call("POST", played.pods_path, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]})
        played.show(made, pod["status"])
        if "deletionTimestamp" in pod["metadata"]:
            played.call("DELETE", f"{played.pods_path}/{metadata['name']}")
    assert job["status"]["observedGeneration"] == job["metadata"]["generation"], "the earlier version had seen the last change"
    played.call("PATCH", f"{played.jobs_path}/{name}/status", {"status": {**job["status"], "observedGeneration": 1}}, MERGE)


@pytest.fixture(scope="module")
def upgraded(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    """Install all jobs, and then start this version."""
    played = Played(plane, "test-upgrade")
    played.create_namespace()
    for name in EARLIER["jobs"]:
        install(played, name)
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in played.pods()}
    ended = {name: played.status(name) for name in ENDED}
    with FaultProxy(plane) as proxy, Operator(proxy, played.namespace, tmp_path_factory.mktemp("upgrade")) as operator:
        operator.start()
        until(lambda: looks(operator) >= len(EARLIER["jobs"]), "all jobs were looked at")
        yield Upgraded(played, operator, before, ended)
    played.call("DELETE", played.jobs_path)


def looks(operator: Operator) -> float:
    """Return how often the operator has looked at a job."""
    return sum(float(count) for count in re.findall(r"^tftraining_reconciles_total{.*} ([0-9.]+)$", operator.page("metrics"), re.MULTILINE))


def test_the_record_has_every_phase_that_the_earlier_version_knew() -> None:
    phases = {entry["job"]["status"]["phase"] for entry in EARLIER["jobs"].values()}
    assert phases == {"Pending", "Fetching", "Running", "Publishing", "Suspended", "Succeeded", "Failed"}


@pytest.mark.parametrize("name", sorted(LIVE))
def test_a_pod_that_lives_is_left_alone_and_its_end_is_the_jobs(upgraded: Upgraded, name: str) -> None:
    played, attempt = upgraded.played, EARLIER["jobs"][name]["job"]["status"]["attempt"]
    (pod,) = [pod for pod in played.pods() if pod["metadata"]["name"].startswith(f"{name}-chief-0")]
    assert upgraded.uids()[pod["metadata"]["name"]] == upgraded.before[pod["metadata"]["name"]]
    played.end(pod)
    status = played.wait_for_phase(name, "Succeeded")
    assert (status["attempt"], status.get("retries", {})) == (attempt, {})
    assert upgraded.uids()[pod["metadata"]["name"]] == pod["metadata"]["uid"]


@pytest.mark.parametrize("name", sorted(ENDED))
def test_what_has_ended_stays_as_it_was_told_and_gets_no_pod(upgraded: Upgraded, name: str) -> None:
    assert upgraded.played.status(name) == upgraded.ended[name]
    assert [pod for pod in upgraded.uids() if pod.startswith(name)] == [f"{name}-chief-0"]


def test_a_suspended_job_is_resumed_as_its_next_attempt(upgraded: Upgraded) -> None:
    played = upgraded.played
    assert (played.phase("suspended"), [pod for pod in upgraded.uids() if pod.startswith("suspended")]) == ("Suspended", [])
    played.change("suspended", suspend=False)
    pod = played.wait_for_pod("suspended-chief-0-r1")
    played.run(pod)
    played.wait_for_phase("suspended", "Running")
    played.end(pod)
    assert played.wait_for_phase("suspended", "Succeeded")["attempt"] == 1


def test_a_job_that_was_being_suspended_is_suspended_and_its_pod_counts_as_nobodys_deletion(upgraded: Upgraded) -> None:
    played = upgraded.played
    (pod,) = [pod for pod in played.pods() if pod["metadata"]["name"] == "suspending-chief-0"]
    played.call("PATCH", f"{played.pods_path}/suspending-chief-0", {"metadata": {"finalizers": None}}, MERGE)
    until(lambda: "suspending-chief-0" not in [pod["metadata"]["name"] for pod in played.pods()], "its pod is gone")
    status = played.wait_for_phase("suspending", "Suspended")
    assert (status["attempt"], status.get("attempts", [])) == (1, [])
    assert pod["metadata"]["uid"] == upgraded.before["suspending-chief-0"]


def test_the_upgrade_is_no_news_of_any_job(upgraded: Upgraded) -> None:
    events: list[Any] = upgraded.played.call("GET", f"/apis/events.k8s.io/v1/namespaces/{upgraded.played.namespace}/events")["items"]
    assert [event["note"] for event in events if event["type"] == "Warning"] == []
