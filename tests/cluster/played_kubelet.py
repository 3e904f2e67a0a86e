"""A kubelet's part on a control plane without nodes: statuses of pods as a real one reports them."""

from __future__ import annotations

from typing import Any

from tftrainer.messages.contract import FetchReport, PublishReport, Report, RunReport, encode_report, run_prefix

Object = dict[str, Any]
STAMP = "2026-01-01T00:00:00Z"


def running(pod: Object) -> Object:
    """Return the status of a pod whose init containers have ended and whose others have started."""
    return {
        "phase": "Running",
        "startTime": STAMP,
        "conditions": [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized", "Ready", "ContainersReady")],
        "initContainerStatuses": [_terminated(pod, item["name"], 0) for item in pod["spec"].get("initContainers", [])],
        "containerStatuses": [_container(item["name"], {"running": {"startedAt": STAMP}}) for item in pod["spec"]["containers"]],
    }


def fetching(pod: Object) -> Object:
    """Return the status of a pod that still fetches."""
    status = running(pod)
    return status | {
        "phase": "Pending",
        "initContainerStatuses": [_container("fetch", {"running": {"startedAt": STAMP}})],
        "containerStatuses": [_container(item["name"], {"waiting": {"reason": "PodInitializing"}}) for item in pod["spec"]["containers"]],
    }


def publishing(pod: Object) -> Object:
    """Return the status of a pod whose script has ended well and whose publisher still works."""
    status = running(pod)
    kept = [item for item in status["containerStatuses"] if item["name"] != "trainer"]
    return status | {"containerStatuses": [*kept, _terminated(pod, "trainer", 0)]}


def ended(pod: Object, exit_code: int = 0) -> Object:
    """Return the status of a pod whose containers have all ended, the trainer with that exit code, each with its report."""
    status = running(pod)
    status["phase"] = "Failed" if exit_code else "Succeeded"
    status["containerStatuses"] = [_terminated(pod, item["name"], exit_code) for item in pod["spec"]["containers"]]
    return status


def evicted(pod: Object, at: str = "2027-01-15T08:00:00Z") -> Object:
    """Return the status of a pod that was evicted at that time, while its script ran."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "lastTransitionTime": at,
    }
    return {**ended(pod, 143), "phase": "Failed", "conditions": [condition]}


def _terminated(pod: Object, name: str, exit_code: int) -> Object:
    code = exit_code if name == "trainer" else 0
    report = _report(pod, name, exit_code)
    message = encode_report(report).decode() if report is not None else ""
    reason = "Error" if code else "Completed"
    return _container(
        name, {"terminated": {"exitCode": code, "reason": reason, "startedAt": STAMP, "finishedAt": STAMP, "message": message}}
    )


def _container(name: str, state: Object) -> Object:
    return {"name": name, "image": "played", "imageID": "", "ready": "running" in state, "restartCount": 0, "state": state}


def _report(pod: Object, name: str, exit_code: int) -> Report | None:
    if name == "fetch":
        return FetchReport(objects=1, bytes=100)
    if name == "trainer":
        return RunReport(exit_code=exit_code)
    if name != "publisher":
        return None
    owner = pod["metadata"]["ownerReferences"][0]
    attempt = int(pod["metadata"]["labels"]["tftraining.dev/attempt"])
    place = run_prefix(pod["metadata"]["namespace"], owner["name"], owner["uid"], attempt)
    return PublishReport(succeeded=not exit_code, manifest_uri=f"s3://played/{place}manifest.json", manifest_sha256="0" * 64)
