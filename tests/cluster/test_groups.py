"""Jobs of several replicas as the cluster treats them: killed and resumed, suspended, too many for the node, and twenty at once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cluster_client import Cluster, Jobs, Object, eventually
from demo.target import Bucket
from minio import Minio

SCRIPTS = Path(__file__).parent / "scripts" / "distributed"
SMALL: Object = {"cpu": "100m", "memory": "1Gi", "workspace": "1Gi"}
TINY: Object = {"cpu": "10m", "memory": "128Mi", "workspace": "100Mi"}
WORKERS: Object = {"worker": {"count": 2}}
SERVED: Object = {"chief": {}, "worker": {"count": 1}, "ps": {"count": 1}}
STAYS = "import time\nprint('up', flush=True)\nwhile True:\n    time.sleep(1)\n"

RESUMED: dict[str, tuple[str, str, str, str, Object]] = {
    # who is killed: runtime, script, the pod, argument for the checkpoints, replicas
    "worker": ("tf2", "workers.py", "worker-1", "--checkpoints", WORKERS),
    "chief": ("tf2", "servers.py", "chief-0", "--checkpoints", SERVED),
    "ps": ("tf1", "estimator.py", "ps-0", "--model_dir", SERVED),
}


@pytest.fixture(scope="module")
def submitted(jobs: Jobs, request: pytest.FixtureRequest) -> Jobs:
    """Submit all that train at once: most of their time is TensorFlow's start."""
    whole = request.config.getoption("whole")
    for killed, (runtime, script, _, folder, replicas) in RESUMED.items():
        if killed != "worker" and not whole:
            continue
        place = f"${{bucket}}/{jobs.namespace}/{killed}"
        out = ["--export" if killed == "ps" else "--out", f"{place}-out"]
        jobs.submit(
            f"loses-{killed}",
            (SCRIPTS / script).read_text(),
            runtime=runtime,
            replicas=replicas,
            args=[*out, folder, place, "--pause"],
            checkpoints={"path": place, "intervalSeconds": 5},
            resources=SMALL,
            terminationGracePeriodSeconds=5,
        )
    undisturbed = (SCRIPTS / "workers.py").read_text()
    jobs.submit("undisturbed", undisturbed, runtime="tf2", replicas=WORKERS, args=["--out", "${bucket}/undisturbed"], resources=SMALL)
    return jobs


@pytest.mark.parametrize("killed", ["worker", pytest.param("chief", marks=pytest.mark.long), pytest.param("ps", marks=pytest.mark.long)])
def test_a_group_of_which_one_is_killed_goes_on_from_its_checkpoint_and_ends_as_if_nothing_had_been(
    submitted: Jobs, store: Minio, bucket: Bucket, killed: str
) -> None:
    name, pod = f"loses-{killed}", RESUMED[killed][2]
    submitted.wait_until(name, lambda status: bool(status.get("checkpoint", {}).get("saved")), "a checkpoint is in the bucket", 420)
    submitted.kubectl("delete", "pod", f"{name}-{pod}", "--wait=false")
    status = submitted.wait(name)
    assert status["phase"] == "Succeeded", status["message"]
    assert (status["attempt"], status["retries"], status["attempts"][0]["reason"]) == (1, {"infrastructure": 1}, "PodDeleted")
    chief = "worker-0" if killed == "worker" else "chief-0"
    log = submitted.kubectl("logs", f"{name}-{chief}-r1")
    assert re.search(r"goes on from (?!0\n|None)", log), log
    if killed == "worker":
        assert submitted.wait("undisturbed")["phase"] == "Succeeded"
        ends = [re.findall(r"done loss .*", each) for each in (log, submitted.kubectl("logs", "undisturbed-worker-0"))]
        assert len(ends[0]) == 1
        assert ends[0] == ends[1]
    elif killed == "chief":
        found = json.loads(store.get_object(bucket.bucket, f"{submitted.namespace}/{killed}-out/line.json").data)
        assert (round(found["weight"]), round(found["bias"])) == (3, 1)
    else:
        loss = re.findall(r"Loss for final step: (\d[\d.e-]*\d)", log)
        assert float(loss[-1]) < 0.1, log


def test_a_group_is_suspended_whole_and_resumed_whole(jobs: Jobs) -> None:
    jobs.submit("pauses", STAYS, replicas={"worker": {"count": 3}}, resources=TINY, terminationGracePeriodSeconds=1)
    jobs.wait_until("pauses", lambda status: status.get("replicas", {}).get("worker", {}).get("active") == 3, "all run")
    jobs.patch("pauses", {"suspend": True})
    jobs.wait("pauses", "Suspended")
    assert jobs.pods("pauses") == []
    jobs.patch("pauses", {"suspend": False})
    jobs.wait_until("pauses", lambda status: status.get("replicas", {}).get("worker", {}).get("active") == 3, "all run again")
    assert sorted(pod["metadata"]["name"] for pod in jobs.pods("pauses")) == [f"pauses-worker-{index}-r1" for index in range(3)]
    jobs.patch("pauses", {"stop": True})
    assert jobs.wait("pauses")["phase"] == "Stopped"


def test_a_gang_of_four_where_three_have_room_says_who_waits_and_gives_all_places_back(cluster: Cluster, jobs: Jobs) -> None:
    seat = "tftraining.test/seat"
    with cluster.offering(seat, 3):
        jobs.submit(
            "gang",
            "print('ran')",
            replicas={"worker": {"count": 4}},
            resources={**TINY, "gpus": 1, "gpuResource": seat},
            pendingDeadlineSeconds=30,
            preflight="Never",
        )
        message = jobs.wait_until("gang", lambda status: "pending" in status, "it says what it waits for")["pending"]["message"]
        assert seat in message, message
        status = jobs.wait("gang")
        assert (status["failure"]["reason"], seat in status["failure"]["message"]) == ("PendingDeadlineExceeded", True), status["message"]
        eventually(lambda: not jobs.pods("gang") or None, lambda: "all give their places back")


@pytest.mark.long
def test_twenty_pods_of_one_job_find_each_other(jobs: Jobs) -> None:
    # All are there until all have come: what has ended has no name any more.
    script = """
import json, os, socket, time
config = json.loads(os.environ["TF_CONFIG"])
peers, index = config["cluster"]["worker"], config["task"]["index"]
host, _, port = peers[0].rpartition(":")
if index == 0:
    with socket.create_server(("", int(port)), backlog=64) as server:
        for connection in [server.accept()[0] for _ in peers[1:]]:
            connection.sendall(b"all")
else:
    while True:
        try:
            connection = socket.create_connection((host, int(port)))
            break
        except OSError:
            time.sleep(0.5)
    assert connection.recv(3) == b"all"
print(index, "of", len(peers))
"""
    jobs.submit("twenty", script, replicas={"worker": {"count": 20}}, resources=TINY, successPolicy="AllWorkers")
    status: dict[str, Any] = jobs.wait("twenty", seconds=600)
    assert status["phase"] == "Succeeded", status["message"]
    assert status["replicas"] == {"worker": {"succeeded": 20}}
    assert jobs.kubectl("logs", "twenty-worker-19") == "19 of 20\n"
