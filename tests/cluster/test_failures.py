"""Every way a user's job can go wrong ends in a clear terminal state that names the field and the remedy, and loses nothing."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import zipfile
import zlib
from typing import Any

import pytest
from cluster_client import SMALL, Jobs, eventually
from demo.console import CommandError
from demo.target import Bucket
from minio import Minio
from test_security import forms
from tftrainer.messages.contract import CONTAINERS

CODE = "test-failures/code"


def zipped(**entries: bytes) -> bytes:
    """Return a zip with the given entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def bomb() -> bytes:
    """Return a small zip of three gigabytes of zeros, made without holding them."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive,
        archive.open("zeros.bin", "w", force_zip64=True) as entry,
    ):
        block = bytes(1 << 24)
        for _ in range(192):
            entry.write(block)
    assert zlib  # deflate is what makes it small
    return buffer.getvalue()


OBJECTS = {
    "not-a-zip.zip": lambda: b"PK is how a zip starts, but this is not one",
    "traversal.zip": lambda: zipped(**{"../x.py": b"x = 1"}),
    "bomb.zip": bomb,
    "ok.py": lambda: b"print('ok')\n",
    "other/ok.py": lambda: b"print('not the same')\n",
    "large.bin": lambda: bytes(11 << 20),
}


def archive(name: str) -> dict[str, Any]:
    """Return the spec of a job with one of the archives above."""
    return {"dependencies": {"archive": {"uri": f"${{bucket}}/{CODE}/{name}"}}}


FAILURES: dict[str, tuple[str | None, dict[str, Any], dict[str, Any], list[str]]] = {
    # name: script, spec beside it, expected status.failure, words that status.message must have
    "syntax-error": (
        "print('a')\ndef broken(:\n",
        {},
        {"reason": "ScriptSyntaxError", "file": "script.py", "line": 2},
        ["script.py", "2"],
    ),
    "raises": (
        "def f():\n    raise KeyError('SepalWidth')\nf()\n",
        {},
        {
            "reason": "ScriptRaised",
            "file": "script.py",
            "line": 2,
            "exception": "KeyError: 'SepalWidth'",
            "exitCode": 1,
        },
        ["KeyError", "script.py", "2"],
    ),
    "import-missing": (
        "import no_such_module_here\n",
        {},
        {"reason": "ImportMissing", "file": "script.py", "line": 1},
        ["no_such_module_here"],
    ),
    "exit-3": ("import sys\nsys.exit(3)\n", {}, {"reason": "ScriptExited", "exitCode": 3}, ["3"]),
    "unknown-runtime": (
        "pass\n",
        {"runtime": "tf9"},
        {"reason": "UnknownRuntime"},
        ["spec.runtime", "tf9", "tf1", "tf2"],
    ),
    "no-such-object": (
        None,
        {"script": {"uri": "${bucket}/no/such/script.py"}},
        {"reason": "ObjectNotFound"},
        ["no/such/script.py", "spec.script.uri"],
    ),
    "wrong-key": ("pass\n", {"storage": {"secretName": "wrong-key"}}, {"reason": "StorageAccessDenied"}, ["accessKey"]),
    "no-bucket": ("pass\n", {"storage": {"secretName": "no-bucket"}}, {"reason": "BucketNotFound"}, ["no-such-bucket"]),
    "not-a-zip": ("pass\n", archive("not-a-zip.zip"), {"reason": "InvalidArchive"}, ["not-a-zip.zip"]),
    "traversal": ("pass\n", archive("traversal.zip"), {"reason": "InvalidArchive"}, ["../x.py"]),
    "bomb": ("pass\n", archive("bomb.zip"), {"reason": "InvalidArchive"}, ["bomb.zip"]),
    "out-of-memory": (
        "x = []\nwhile True:\n    x.append(bytearray(b'x' * (1 << 24)))\n",
        {"resources": {**SMALL, "memory": "256Mi"}},
        {"reason": "OutOfMemory"},
        ["spec.resources.memory", "256Mi"],
    ),
    "deadline": (
        "import time\nprint('started')\nwhile True:\n    time.sleep(1)\n",
        {"activeDeadlineSeconds": 5},
        {"reason": "DeadlineExceeded"},
        ["activeDeadlineSeconds", "5"],
    ),
    "gigabyte": (
        "import sys\nwith open(sys.argv[1], 'wb') as f:\n    for _ in range(1024):\n        f.write(bytes(1 << 20))\n",
        {"args": ["${bucket}/test-failures/out/big.bin"], "resources": {**SMALL, "workspace": "200Mi"}},
        {"reason": "WorkspaceFull"},
        ["spec.resources.workspace", "200Mi"],
    ),
    "crash": ("import os\nos.kill(os.getpid(), 11)\n", {}, {"reason": "ScriptCrashed", "exitCode": 139}, []),
    "killed": (
        "import os\nos.kill(os.getpid(), 9)\n",
        {},
        {"reason": "ScriptKilled", "exitCode": 137},
        ["SIGKILL"],
    ),
    "arguments": (
        "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--rate', type=float)\nparser.parse_args()\n",
        {"args": ["--rate", "fast"]},
        {"reason": "InvalidArguments", "file": "script.py"},
        ["--rate", "fast"],
    ),
    "two-for-one": (
        None,
        {"script": {"uri": f"${{bucket}}/{CODE}/ok.py"}, "dependencies": {"files": [{"uri": f"${{bucket}}/{CODE}/other/ok.py"}]}},
        {"reason": "InputConflict"},
        ["other/ok.py"],
    ),
    "too-large": (
        "pass\n",
        {"inputs": [{"name": "data", "uri": f"${{bucket}}/{CODE}/large.bin"}], "resources": {**SMALL, "workspace": "10Mi"}},
        {"reason": "InputTooLarge"},
        ["large.bin", "spec.resources.workspace"],
    ),
    "sideways": ("pass\n", {"storage": {"secretName": "sideways"}}, {"reason": "StorageMisconfigured"}, ["addressing", "virtual"]),
    "unknown-class": (
        "pass\n",
        {"resourceClass": "no-such-size", "resources": None},
        {"reason": "UnknownResourceClass"},
        ["spec.resourceClass", "no-such-size"],
    ),
    "other-digest": (
        None,
        {"script": {"uri": f"${{bucket}}/{CODE}/ok.py", "sha256": "0" * 64}},
        {"reason": "DigestMismatch"},
        ["spec.script", "ok.py"],
    ),
    "store-away": (
        "pass\n",
        {"storage": {"secretName": "store-away"}, "retry": {"storage": 0}},
        {"reason": "StorageUnavailable", "cause": "Storage"},
        ["endpoint", "127.0.0.1:9"],
    ),
    "ends-for-a-restart": (
        "import sys\nprint('PreemptionCheckpointHandler: saved', file=sys.stderr)\nsys.exit(42)\n",
        {"retry": {"infrastructure": 0}},
        {"reason": "Terminated", "cause": "Infrastructure", "exitCode": 42},
        ["exit code 42", "PreemptionCheckpointHandler"],
    ),
    "stops-itself": (
        "import os, signal, time\nos.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(60)\n",
        {},
        {"reason": "ScriptExited", "cause": "UserError"},
        ["sent a signal to the process that has started it", "sys.exit"],
    ),
    # Last: all the others end while its time runs out.
    "secret-missing": (
        "pass\n",
        {"storage": {"secretName": "not-there"}, "pendingDeadlineSeconds": 60},
        {"reason": "PendingDeadlineExceeded"},
        ["spec.storage.secretName", "not-there"],
    ),
}


@pytest.fixture(scope="module")
def submitted(jobs: Jobs, store: Minio, bucket: Bucket) -> Jobs:
    """Submit all the jobs at once: the tests wait for one after the other."""
    for name, make in OBJECTS.items():
        content = make()
        store.put_object(bucket.bucket, f"{CODE}/{name}", io.BytesIO(content), len(content))
    secret = jobs.cluster.get("-n", jobs.namespace, "secret", "tftraining-storage")["data"]
    for name, changes in {
        "wrong-key": {"accessKey": "nobody", "secretKey": "nothing-of-value"},
        "no-bucket": {"bucket": "no-such-bucket"},
        "sideways": {"addressing": "sideways"},
        "store-away": {"endpoint": "http://127.0.0.1:9"},
    }.items():
        data = {**secret, **{key: base64.b64encode(value.encode()).decode() for key, value in changes.items()}}
        jobs.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": jobs.namespace},
                "data": data,
            }
        )
    for name, (script, spec, _, _) in FAILURES.items():
        jobs.submit(name, script, **spec)
    return jobs


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_has_one_true_reason_and_a_message_that_names_what_to_change(submitted: Jobs, name: str, bucket: Bucket) -> None:
    _, _, expected, words = FAILURES[name]
    status = submitted.wait(name)
    assert status["phase"] == "Failed", json.dumps(status, indent=1)
    failure = status["failure"]
    assert {key: failure.get(key) for key in expected} == expected
    told = " ".join([status["message"], failure.get("hint", "")])
    assert [word for word in words if word not in told] == [], told
    conditions = {item["type"]: item["status"] for item in status["conditions"]}
    assert conditions["Failed"] == conditions["Finished"] == conditions["Stalled"] == "True"
    assert "Traceback" not in status["message"]
    told = json.dumps(status)
    for container in CONTAINERS:
        # One that never ran has no log, and a job that never had a pod has none at all.
        with contextlib.suppress(CommandError):
            told += submitted.kubectl("logs", f"{name}-chief-0", "-c", container)
    assert [form for form in forms(bucket.secret_key) if form.decode() in told] == []


def test_what_a_failed_script_wrote_and_said_is_in_the_bucket(jobs: Jobs, store: Minio, bucket: Bucket) -> None:
    script = "import sys\nopen(sys.argv[1], 'w').write('kept')\nprint('to stdout')\nprint('to stderr', file=sys.stderr)\nsys.exit(7)\n"
    jobs.submit("loses-nothing", script, args=["${bucket}/test-failures/out/kept.txt"])
    status = jobs.wait("loses-nothing")
    assert status["failure"]["exitCode"] == 7
    assert store.get_object(bucket.bucket, "test-failures/out/kept.txt").read() == b"kept"
    logs = status["logs"]["uri"].removeprefix(f"s3://{bucket.bucket}/")
    assert store.get_object(bucket.bucket, f"{logs}stdout.log").read() == b"to stdout\n"
    assert store.get_object(bucket.bucket, f"{logs}stderr.log").read() == b"to stderr\n"
    manifest = json.loads(store.get_object(bucket.bucket, status["outputs"]["manifest"].removeprefix(f"s3://{bucket.bucket}/")).read())
    assert manifest["outcome"] == "Failed"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"args": ["--out", "${buckt}/x"]}, ["${buckt}", "${bucket}"]),
        ({"script": {"uri": "s3://bucket/../x.py"}}, ["uri"]),
        ({"env": [{"name": "AWS_ACCESS_KEY_ID", "value": "x"}]}, ["AWS_ACCESS_KEY_ID"]),
        ({"env": [{"name": "LD_PRELOAD", "value": "x"}]}, ["LD_PRELOAD"]),
        ({"script": {"name": "a.py", "inline": "pass", "uri": "${bucket}/a.py"}}, ["script"]),
        ({"hostNetwork": True}, ["hostNetwork"]),
    ],
)
def test_a_job_that_can_never_run_is_refused_when_it_is_applied(jobs: Jobs, spec: dict[str, Any], words: list[str]) -> None:
    body = {"runtime": "tf1", "script": {"name": "script.py", "inline": "pass"}, **spec}
    metadata = {"name": "refused", "namespace": jobs.namespace}
    with pytest.raises(CommandError) as refusal:
        jobs.cluster.apply({"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "metadata": metadata, "spec": body})
    assert [word for word in words if word not in str(refusal.value)] == [], str(refusal.value)


def evict(jobs: Jobs, pod: str) -> None:
    """Ask for a pod's place, as `kubectl drain` does."""
    metadata = {"name": pod, "namespace": jobs.namespace}
    eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})
    jobs.cluster.kubectl("create", "--raw", f"/api/v1/namespaces/{jobs.namespace}/pods/{pod}/eviction", "-f", "-", stdin=eviction)


def test_a_run_whose_pod_is_evicted_says_so(jobs: Jobs) -> None:
    jobs.submit(
        "evicted",
        "import time\nprint('up', flush=True)\nwhile True:\n    time.sleep(1)\n",
        terminationGracePeriodSeconds=2,
        retry={"infrastructure": 0},
    )
    jobs.wait_for_phase("evicted", "Running")
    eventually(lambda: "up" in jobs.log("evicted") or None, lambda: "the script runs")
    evict(jobs, "evicted-chief-0")
    failure = jobs.wait("evicted")["failure"]
    assert (failure["reason"], failure["cause"]) == ("Evicted", "Infrastructure"), json.dumps(failure, indent=1)


def test_a_pod_of_somebody_else_under_the_name_of_the_jobs_is_left_alone(jobs: Jobs) -> None:
    # Never placed, so that nothing of it has to run.
    jobs.cluster.apply(jobs.plain_pod("taken-chief-0", schedulingGates=[{"name": "example.org/never"}]))
    jobs.submit("taken", "pass\n")
    assert jobs.wait("taken")["failure"]["reason"] == "NameConflict"
    assert "deletionTimestamp" not in json.loads(jobs.kubectl("get", "pod", "taken-chief-0", "-o", "json"))["metadata"]


def test_a_pod_deleted_by_hand_fails_a_job_without_retries_and_says_so(jobs: Jobs) -> None:
    jobs.submit(
        "pod-deleted",
        "import time\nprint('up', flush=True)\nwhile True:\n    time.sleep(1)\n",
        terminationGracePeriodSeconds=2,
        retry={"infrastructure": 0},
    )
    jobs.wait_for_phase("pod-deleted", "Running")
    jobs.kubectl("delete", "pod", "pod-deleted-chief-0", "--wait=false")
    status = jobs.wait("pod-deleted")
    assert status["failure"]["reason"] == "PodDeleted"
    left = [container for pod in jobs.pods("pod-deleted") for container in pod["status"]["containerStatuses"]]
    assert [container for container in left if "terminated" not in container["state"]] == []
    eventually(lambda: None if jobs.pods("pod-deleted") else True, lambda: "the pod is gone")


def test_a_pod_deleted_by_hand_is_followed_by_another_attempt_that_goes_on_from_the_checkpoint(jobs: Jobs) -> None:
    script = """
import os, time
folder = '/workspace/bucket/NAMESPACE/checkpoints'
os.makedirs(folder, exist_ok=True)
kept = os.path.join(folder, 'step.txt')
if os.path.exists(kept):
    print('goes on from', open(kept).read(), flush=True)
else:
    open(kept, 'w').write('7')
    print('up', flush=True)
    while True:
        time.sleep(1)
""".replace("NAMESPACE", jobs.namespace)
    folder = f"${{bucket}}/{jobs.namespace}/checkpoints"
    jobs.submit("again", script, terminationGracePeriodSeconds=2, checkpoints={"path": folder, "intervalSeconds": 5})
    jobs.wait_for_phase("again", "Running")
    eventually(lambda: jobs.status("again").get("checkpoint", {}).get("saved"), lambda: "a checkpoint is in the bucket")
    jobs.kubectl("delete", "pod", "again-chief-0", "--wait=false")
    jobs.wait_for_phase("again", "Restarting")
    status = jobs.wait("again", "Succeeded")
    assert (status["attempt"], status["retries"], status["attempts"][0]["reason"]) == (1, {"infrastructure": 1}, "PodDeleted")
    assert "goes on from 7" in jobs.kubectl("logs", "again-chief-0-r1", "-c", "trainer")


def test_a_script_that_ignores_sigterm_is_suspended_all_the_same_and_runs_again_when_resumed(jobs: Jobs) -> None:
    script = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('attempt', flush=True)
while not os.path.exists('/workspace/bucket/test-failures/go'):
    time.sleep(0.2)
"""
    jobs.submit("stubborn", script, terminationGracePeriodSeconds=3)
    jobs.wait_for_phase("stubborn", "Running")
    jobs.patch("stubborn", {"suspend": True})
    jobs.wait("stubborn", "Suspended")
    assert jobs.pods("stubborn") == []
    jobs.patch("stubborn", {"suspend": False})
    jobs.wait_for_phase("stubborn", "Running")
    assert [pod["metadata"]["name"] for pod in jobs.pods("stubborn")] == ["stubborn-chief-0-r1"]
    jobs.kubectl("delete", "tftj", "stubborn", "--wait=true")
