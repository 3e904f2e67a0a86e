"""A job that names another controller is left to it: whatever this operator sees of it, it writes, makes and counts nothing."""

from __future__ import annotations

import json

from control import Operator, Played, until
from played_kubelet import Object

OTHER = "kueue.x-k8s.io/multikueue"


def writes(played: Played, name: str) -> list[str]:
    """Return the verbs of the writes that the API server's audit log ascribes to an operator, of what belongs to a job."""
    found = []
    for entry in map(json.loads, played.plane.audit_log.read_text().splitlines()):
        thing = entry.get("objectRef", {})
        ours = entry.get("userAgent", "").startswith("tftraining-operator") and thing.get("namespace") == played.namespace
        if ours and str(thing.get("name", "")).startswith(name):
            found.append(str(entry["verb"]))
    return found


def job(played: Played, name: str) -> Object:
    return played.call("GET", f"{played.jobs_path}/{name}")


def test_a_job_of_another_controller_is_not_touched_by_any_way_on_which_it_is_seen(operator: Operator, played: Played) -> None:
    played.submit("theirs", managedBy=OTHER, ttlSecondsAfterFinished=0)
    # What the other controller writes, as MultiKueue copies it from where the job runs, is news too.
    ended = {
        "observedGeneration": 1,
        "phase": "Failed",
        "completionTime": "2026-01-01T00:00:00Z",
        "conditions": [
            {"type": kind, "status": "True", "reason": "X", "message": "x", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            for kind in ("Failed", "Finished")
        ],
    }
    played.call("PATCH", f"{played.jobs_path}/theirs/status", {"status": ended}, "application/merge-patch+json")
    before = job(played, "theirs")
    played.start("ours", managedBy="tftraining.dev/operator")
    assert "tftraining_jobs{" in operator.page("metrics")
    assert 'phase="Failed"' not in operator.page("metrics"), "it is counted nowhere"
    operator.start()
    until(lambda: "tftraining_pods 1.0" in operator.page("metrics"), "another process has listed what there is")
    played.start("after-the-list")
    assert job(played, "theirs") == before
    assert writes(played, "theirs") == []
    assert sorted(pod["metadata"]["name"] for pod in played.pods()) == ["after-the-list-chief-0", "ours-chief-0"]


def test_a_job_of_one_s_own_follows_one_of_another_controller_under_its_name(operator: Operator, played: Played) -> None:
    played.submit("iris", managedBy=OTHER)
    played.call("DELETE", f"{played.jobs_path}/iris")
    played.start("iris")
    played.call("DELETE", f"{played.jobs_path}/iris")
    played.submit("iris", managedBy=OTHER)
    theirs = job(played, "iris")
    played.start("ours")
    assert job(played, "iris") == theirs
