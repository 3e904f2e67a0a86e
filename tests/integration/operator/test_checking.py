"""A job that waits is checked: the real operator, API server and scheduler, nodes without GPUs, and the very `fetch` of the check's pod."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from control import Operator, Played, add_node, events, lasting_plane, pending, until
from controlplane import ControlPlane
from faults import Fault, FaultProxy
from played_kubelet import STAMP, Object
from tftrainer.messages.contract import STORAGE_PREFIX

MISSING = "import os\nimport no_such_module\n"
FINE = "print('trained')\n"
MERGE = "application/merge-patch+json"
GPU_QUOTA = {"spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Return a control plane with the custom resource definition, a scheduler, and one node without GPUs."""
    for started in lasting_plane(scheduler=True):
        add_node(Played(started, "default"), "node-a")
        yield started


class Kubelet:
    """Runs what a pod of a check runs, as a process on this machine with a folder for a bucket, and reports its end."""

    def __init__(self, played: Played, folder: Path) -> None:
        self._played = played
        self._folder = folder
        self.bucket = folder / "bucket"
        self.bucket.mkdir(exist_ok=True)

    def run(self, pod: Object) -> Object:
        """Run the container to its end, report that, and return the status."""
        root = self._folder / str(pod["metadata"]["uid"])
        (root / "dev").mkdir(parents=True)
        [container] = pod["spec"]["containers"]
        own = {each["name"]: each["value"].replace("$$", "$") for each in container["env"] if "value" in each}
        storage = {f"{STORAGE_PREFIX}FOLDER": str(self.bucket), f"{STORAGE_PREFIX}BUCKET": "bucket"}
        for volume in pod["spec"]["volumes"]:
            if "configMap" in volume:
                self._mount(volume["configMap"]["name"], root / "etc" / "tftraining" / "script")
        ended = subprocess.run(
            [sys.executable, *container["command"][1:]],
            env={**os.environ, **own, **storage, "TFTRAINING_ROOT": str(root)},
            capture_output=True,
            check=False,
        )
        message = (root / "dev" / "termination-log").read_text() if (root / "dev" / "termination-log").exists() else ""
        return self.show(pod, ended.returncode, message)

    def show(self, pod: Object, code: int, message: str) -> Object:
        """Report that the container has ended so."""
        state = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": STAMP, "finishedAt": STAMP, "message": message}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [
                {"name": "fetch", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": state}}
            ],
        }
        self._played.show(pod, status)
        return status

    def _mount(self, configmap: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        found = self._played.call("GET", f"/api/v1/namespaces/{self._played.namespace}/configmaps/{configmap}")
        for name, text in found["data"].items():
            (folder / name).write_text(text)


@pytest.fixture
def kubelet(played: Played, tmp_path: Path) -> Kubelet:
    """Return who runs the pods of checks."""
    return Kubelet(played, tmp_path)


def submit(played: Played, text: str = FINE, **spec: object) -> None:
    played.submit("iris", script={"name": "train.py", "inline": text}, resources={"gpus": 1, "cpu": "100m", "memory": "100Mi"}, **spec)


def of_check(pod: Object) -> bool:
    return bool(pod["metadata"]["labels"].get("tftraining.dev/role") == "check")


def check_pod(played: Played) -> Object:
    """Return the pod of the check as soon as it is there."""
    return until(lambda: next(filter(of_check, played.pods()), None), "the job is checked", 60)


def preflight(played: Played) -> Object:
    return dict(played.status("iris").get("preflight") or {})


def test_a_job_whose_script_imports_what_is_not_there_ends_in_seconds_though_no_node_has_a_gpu(
    operator: Operator, played: Played, kubelet: Kubelet
) -> None:
    submit(played, MISSING)
    begun = time.monotonic()
    pod = check_pod(played)
    assert time.monotonic() - begun > 8
    kubelet.run(until(lambda: found if (found := check_pod(played))["spec"].get("nodeName") else None, "it has a place without GPUs"))
    status = played.wait_for_phase("iris", "Failed")
    failure = status["failure"]
    assert (failure["reason"], failure["file"], failure["line"]) == ("ImportMissing", "train.py", 2)
    assert "no_such_module" in failure["message"]
    assert (failure["pod"], failure["attempt"], status["attempt"]) == (pod["metadata"]["name"], 0, 0)
    assert {each["type"]: each["status"] for each in status["conditions"]}["Accepted"] == "False"
    until(lambda: [of_check(each) for each in played.pods()] == [True], "the job's own pod is gone, that of the check stays for its log")
    until(lambda: "ImportMissing" in events(played, "iris"), "an event tells of it")


def test_a_job_in_order_waits_and_says_that_it_was_checked(operator: Operator, played: Played, kubelet: Kubelet) -> None:
    (kubelet.bucket / "data").mkdir()
    (kubelet.bucket / "data" / "a").write_text("1")
    submit(played, inputs=[{"name": "data", "uri": "${bucket}/data/"}])
    pod = check_pod(played)
    until(lambda: preflight(played).get("result") == "Started", "it says that it is being checked")
    assert pending(played, "iris")["message"].endswith(f"; pod {pod['metadata']['name']} checks it meanwhile")
    kubelet.run(pod)
    until(lambda: preflight(played).get("result") == "Passed", "it says that it was checked")
    assert pending(played, "iris")["reason"] == "ResourceNotOffered"
    assert pending(played, "iris")["message"].endswith("; checked while it waits: code, arguments, 1 input and the bucket are fine")
    until(lambda: not any(map(of_check, played.pods())), "the check's pod goes")
    assert played.status("iris")["code"]["script"]["uri"] == "inline:train.py"
    until(lambda: "Checked" in events(played, "iris"), "an event tells of it")
    assert events(played, "iris").count("Checked") == 1
    assert played.wait_for_pod("iris-chief-0")["metadata"].get("deletionTimestamp") is None


def test_a_job_that_gets_its_place_meanwhile_runs_untouched(operator: Operator, played: Played, kubelet: Kubelet) -> None:
    submit(played, MISSING)
    check = check_pod(played)
    main = played.wait_for_pod("iris-chief-0")
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "iris-chief-0"}, "target": {"kind": "Node", "name": "node-a"}}
    played.call("POST", f"{played.pods_path}/iris-chief-0/binding", binding)
    until(lambda: check_pod(played)["metadata"].get("deletionTimestamp"), "the check is given up")
    kubelet.run(check)
    played.remove(check)
    played.run(main)
    played.wait_for_phase("iris", "Running")
    assert preflight(played) == {}
    assert [each["metadata"]["uid"] for each in played.pods()] == [main["metadata"]["uid"]]


def test_a_job_that_a_quota_refuses_is_checked_too(operator: Operator, played: Played, kubelet: Kubelet) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "gpus"}, **GPU_QUOTA}
    path = f"/api/v1/namespaces/{played.namespace}/resourcequotas"
    played.call("POST", path, quota)
    # In the place of the controller that counts what is used.
    played.call("PATCH", f"{path}/gpus/status", {"status": {**GPU_QUOTA["spec"], "used": {"requests.nvidia.com/gpu": "0"}}}, MERGE)
    submit(played, MISSING)
    until(lambda: pending(played, "iris").get("reason") == "QuotaTooSmall", "the quota refuses it")
    kubelet.run(check_pod(played))
    assert played.wait_for_phase("iris", "Failed")["failure"]["reason"] == "ImportMissing"


def test_a_cluster_that_takes_no_pod_of_a_check_costs_no_job_anything(operator: Operator, played: Played, proxy: FaultProxy) -> None:
    refused: list[str] = []
    names = threading.Lock()

    def judge(method: str, path: str) -> Fault | None:
        # The second pod that is made is the check's.
        if method == "POST" and path == played.pods_path and played.pods():
            with names:
                refused.append(path)
            return Fault(403)
        return None

    proxy.judge = judge
    submit(played)
    until(lambda: refused, "the check was tried", 60)
    operator_writes = len(proxy.written())
    until(lambda: "not checked while it waits" in operator.log(), "the log says so")
    assert pending(played, "iris")["reason"] == "ResourceNotOffered"
    assert preflight(played) == {}
    time_of_another_look = {"pendingDeadlineSeconds": 3000}
    played.change("iris", **time_of_another_look)
    until(lambda: played.status("iris")["observedGeneration"] == 2, "it was looked at again")
    assert len(refused) == 1
    assert len(proxy.written()) - operator_writes <= 2


def test_a_store_that_is_away_says_nothing_and_the_job_waits_on(operator: Operator, played: Played, kubelet: Kubelet) -> None:
    submit(played)
    message = '{"kind":"fetch","failure":{"reason":"StorageUnavailable","message":"the store does not answer"}}'
    kubelet.show(check_pod(played), 1, message)
    until(lambda: preflight(played).get("result") == "Inconclusive", "it could not be checked")
    assert played.phase("iris") == "Pending"
    assert "store" not in pending(played, "iris")["message"]
    until(lambda: not any(map(of_check, played.pods())), "the check's pod goes")


def test_a_job_that_is_suspended_keeps_no_check(operator: Operator, played: Played) -> None:
    submit(played)
    check_pod(played)
    played.change("iris", suspend=True)
    played.wait_for_phase("iris", "Suspended")
    for pod in filter(of_check, played.pods()):
        assert pod["metadata"].get("deletionTimestamp")
        played.remove(pod)
    until(lambda: not played.pods(), "nothing of it is left")
    assert preflight(played) == {}


@pytest.mark.parametrize("text", [MISSING, FINE], ids=["missing", "fine"])
@pytest.mark.parametrize("k", [pytest.param(k, marks=[] if k in {3, 5, 7} else [pytest.mark.long]) for k in range(1, 9)])
def test_killed_after_any_of_its_writes_it_checks_once_and_tells_the_same(
    operator: Operator, played: Played, proxy: FaultProxy, kubelet: Kubelet, k: int, text: str
) -> None:
    killed = threading.Event()
    written = len(proxy.written())

    def kill(_: int) -> None:
        if len(proxy.written()) - written == k and not killed.is_set():
            killed.set()
            operator.kill()

    proxy.after = kill
    submit(played, text)

    def restarted(probe: Callable[[], bool]) -> Callable[[], bool]:
        def check() -> bool:
            if killed.is_set() and operator.process is None:
                operator.start()
            return probe()

        return check

    until(restarted(lambda: any(map(of_check, played.pods()))), "the job is checked", 60)
    pod = check_pod(played)
    kubelet.run(pod)
    result = "Passed" if text == FINE else "Failed"
    until(restarted(lambda: preflight(played).get("result") == result), f"the check is {result}", 60)
    until(restarted(killed.is_set), "it was killed")
    until(restarted(lambda: operator.process is not None), "it is back", 60)
    left = {True} if text == MISSING else {False}
    until(restarted(lambda: {of_check(each) for each in played.pods()} == left), "what is of no use is gone", 60)
    status = played.status("iris")
    if text == MISSING:
        assert (status["phase"], status["failure"]["reason"], "retries" in status) == ("Failed", "ImportMissing", False)
        assert [each["metadata"]["uid"] for each in played.pods()] == [pod["metadata"]["uid"]]
    else:
        assert status["phase"] == "Pending"
        assert played.operators_writes().count(("create", "pods")) == 2
