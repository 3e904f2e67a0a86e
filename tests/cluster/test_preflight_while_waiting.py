"""A job that waits for a GPU is checked meanwhile, on a real node that has none: with its image, its Secret and its bucket."""

from __future__ import annotations

import io
import json

from cluster_client import SMALL, Cluster, Jobs, Object, eventually
from demo.target import Bucket
from minio import Minio

GPU = {**SMALL, "gpus": 1}
CHECKS = "tftraining.dev/role=check"


def of_checks(jobs: Jobs, *names: str) -> list[Object]:
    """Return the pods of the jobs' checks."""
    found = json.loads(jobs.kubectl("get", "pods", "-l", CHECKS, "-o", "json"))["items"]
    return [pod for pod in found if pod["metadata"]["ownerReferences"][0]["name"] in names]


def passed(jobs: Jobs, name: str) -> Object:
    """Return the status of a job whose check has found all in order."""
    return jobs.wait_until(name, lambda status: status.get("preflight", {}).get("result") == "Passed", "it is checked and fine")


def test_a_module_that_is_missing_ends_the_job_while_it_waits_and_the_check_s_log_says_so(jobs: Jobs) -> None:
    jobs.submit("missing", "import os\nimport no_such_module\n", resources=GPU)
    status = jobs.wait("missing")
    failure = status["failure"]
    assert (failure["reason"], failure["file"], failure["line"]) == ("ImportMissing", "script.py", 2), json.dumps(status, indent=1)
    assert status["preflight"]["result"] == "Failed"
    assert {each["type"]: each["status"] for each in status["conditions"]}["Accepted"] == "False"
    eventually(lambda: not jobs.pods("missing") or None, lambda: "the job's own pod goes")
    assert "'no_such_module'" in jobs.kubectl("logs", failure["pod"])


def test_an_input_that_is_not_there_is_told_and_ends_nothing(jobs: Jobs) -> None:
    jobs.submit("no-input", "pass", resources=GPU, inputs=[{"name": "data", "uri": "${bucket}/no/such/folder/"}])
    status = jobs.wait_until("no-input", lambda status: status.get("preflight", {}).get("result") == "Inconclusive", "it is checked")
    assert status["phase"] == "Pending"
    assert "; checked while it waits, and not again before it starts: " in status["pending"]["message"]
    assert "spec.inputs[data].uri" in status["pending"]["message"]


def test_a_job_in_order_says_so_and_is_held_to_the_code_that_was_checked(
    cluster: Cluster, jobs: Jobs, store: Minio, bucket: Bucket
) -> None:
    device = "tftraining.test/checked"

    def put(text: bytes) -> None:
        store.put_object(bucket.bucket, "checked/train.py", io.BytesIO(text), len(text))

    put(b"print('first')\n")
    resources = {**GPU, "gpuResource": device}
    for name in ("changed", "same"):
        jobs.submit(name, script={"uri": "${bucket}/checked/train.py"}, resources=resources)
    for name in ("changed", "same"):
        status = passed(jobs, name)
        assert status["phase"] == "Pending"
        assert status["pending"]["message"].endswith("; checked while it waits: code, arguments and the bucket are fine")
    eventually(lambda: not of_checks(jobs, "changed", "same") or None, lambda: "the pods of checks go")
    events = jobs.kubectl("get", "events", "--field-selector=involvedObject.name=same,reason=Checked", "-o", "name")
    assert len(events.splitlines()) == 1
    put(b"print('second')\n")
    jobs.patch("same", {"suspend": True})
    jobs.wait_for_phase("same", "Suspended")
    with cluster.offering(device):
        failure = jobs.wait("changed")["failure"]
        assert failure["reason"] == "CodeChanged", json.dumps(failure, indent=1)
        assert "what was checked while this job waited had" in failure["message"]
        put(b"print('first')\n")
        jobs.patch("same", {"suspend": False})
        assert jobs.wait("same", seconds=180)["phase"] == "Succeeded"


def test_a_secret_that_is_missing_is_told_before_a_node_holds_gpus_for_want_of_it(jobs: Jobs) -> None:
    jobs.submit("no-secret", "pass", resources=GPU, storage={"secretName": "not-there"})
    words = "the Secret not-there, which spec.storage.secretName names, does not exist"
    jobs.wait_until("no-secret", lambda status: words in status.get("pending", {}).get("message", ""), "it tells of the Secret")
    assert jobs.status("no-secret")["phase"] == "Pending"


def test_a_job_without_gpus_is_checked_only_where_it_asks_for_it(cluster: Cluster, jobs: Jobs) -> None:
    huge = {**SMALL, "cpu": "1000"}
    jobs.submit("always", "pass", resources=huge, preflight="Always")
    jobs.submit("auto", "pass", resources=huge)
    passed(jobs, "always")
    assert "preflight" not in jobs.status("auto")
