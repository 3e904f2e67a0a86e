"""TensorFlow's own distribution on the real cluster: strategies and Estimators as jobs of several replicas, and who is to blame."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cluster_client import Jobs, Object
from demo.target import Bucket
from minio import Minio

SCRIPTS = Path(__file__).parent / "scripts" / "distributed"
SMALL: Object = {"cpu": "100m", "memory": "1Gi", "workspace": "1Gi"}


def submit(jobs: Jobs, name: str, script: str, *args: str, **spec: Any) -> None:
    jobs.submit(name, (SCRIPTS / script).read_text(), args=list(args), resources=SMALL, terminationGracePeriodSeconds=5, **spec)


@pytest.fixture(scope="module")
def submitted(jobs: Jobs) -> Jobs:
    """Submit all jobs at once: most of their time is TensorFlow's start."""
    workers = {"replicas": {"worker": {"count": 2}}, "runtime": "tf2"}
    submit(jobs, "mirrored", "workers.py", "--out", "${bucket}/mirrored", successPolicy="AllWorkers", **workers)
    submit(jobs, "raises", "workers.py", "--out", "${bucket}/raises", "--fail-worker", "1", **workers)
    submit(jobs, "freezes", "workers.py", "--out", "${bucket}/freezes", "--freeze-worker", "1", retry={"infrastructure": 0}, **workers)
    roles: Object = {"chief": {}, "worker": {"count": 1}, "ps": {"count": 1}}
    submit(jobs, "served", "servers.py", "--out", "${bucket}/served", replicas=roles, runtime="tf2")
    submit(
        jobs,
        "estimator",
        "estimator.py",
        "--model_dir",
        "${bucket}/estimator",
        "--export",
        "${bucket}/export",
        replicas={**roles, "evaluator": {}},
        checkpoints={"path": "${bucket}/estimator", "intervalSeconds": 5},
        runtime="tf1",
    )
    submit(jobs, "refused", "keras_fit.py", **workers)
    return jobs


def keys(store: Minio, bucket: Bucket, prefix: str) -> set[str]:
    return {str(each.object_name) for each in store.list_objects(bucket.bucket, prefix, recursive=True)}


def test_two_workers_train_one_model_and_that_of_worker_0_is_published(submitted: Jobs, bucket: Bucket, store: Minio) -> None:
    status = submitted.wait("mirrored")
    assert status["phase"] == "Succeeded", status["message"]
    assert status["replicas"] == {"worker": {"succeeded": 2}}
    assert keys(store, bucket, "mirrored/") == {"mirrored/worker-0.json"}
    found = json.loads(store.get_object(bucket.bucket, "mirrored/worker-0.json").data)
    logs = {name: submitted.kubectl("logs", f"mirrored-{name}") for name in ("worker-0", "worker-1")}
    same = f"done loss {found['loss']:.6f} kernel {found['kernel']:.6f} bias {found['bias']:.6f}"
    assert all("replicas 2" in log and same in log for log in logs.values()), logs


def test_the_worker_that_raised_is_named_with_file_and_line_and_not_the_one_that_lost_it(submitted: Jobs) -> None:
    status = submitted.wait("raises")
    failure = status["failure"]
    assert (failure["reason"], failure["pod"], failure["exception"]) == ("ScriptRaised", "raises-worker-1", "ValueError: bad batch")
    assert failure["line"] == next(
        number for number, line in enumerate((SCRIPTS / "workers.py").read_text().splitlines(), 1) if "bad batch" in line
    )
    assert status["message"].startswith("Worker 1 failed")


def test_a_worker_that_is_lost_without_a_word_is_named_by_the_one_that_lost_it_and_the_script_is_not_blamed(submitted: Jobs) -> None:
    status = submitted.wait("freezes")
    assert (status["failure"]["reason"], status["failure"]["cause"]) == ("PeerLost", "Infrastructure"), status["message"]
    assert status["message"].startswith("Worker 0 failed: it lost worker 1, and nothing else shows why")


def test_a_chief_with_a_worker_and_a_parameter_server_trains_and_these_are_ended_with_it(
    submitted: Jobs, bucket: Bucket, store: Minio
) -> None:
    status = submitted.wait("served")
    assert status["phase"] == "Succeeded", status["message"]
    assert status["replicas"] == {"chief": {"succeeded": 1}, "worker": {"ended": 1}, "ps": {"ended": 1}}
    found = json.loads(store.get_object(bucket.bucket, "served/line.json").data)
    assert (round(found["weight"]), round(found["bias"])) == (3, 1)


def test_an_estimator_of_tensorflow_1_trains_with_a_worker_and_a_parameter_server(submitted: Jobs, bucket: Bucket, store: Minio) -> None:
    status = submitted.wait("estimator")
    assert status["phase"] == "Succeeded", status["message"]
    steps = [int(found[1]) for key in keys(store, bucket, "estimator/") if (found := re.search(r"model\.ckpt-(\d+)\.index$", key))]
    assert max(steps) >= 150, "the last step of one may come after that of the other"
    assert any(key.endswith("saved_model.pb") for key in keys(store, bucket, "export/"))


def test_its_evaluator_evaluates_what_the_chief_has_saved_and_publishes_that_and_nothing_of_the_chiefs(
    submitted: Jobs, bucket: Bucket, store: Minio
) -> None:
    status = submitted.wait("estimator")
    assert [status["replicas"][role] for role in ("chief", "ps", "evaluator")] == [{"succeeded": 1}, {"ended": 1}, {"succeeded": 1}]
    log = submitted.kubectl("logs", "estimator-evaluator-0")
    assert re.search(r"Saving dict for global step 1[5-9]\d", log), log
    assert "Exiting evaluation" in log
    places = keys(store, bucket, "estimator/")
    assert any(re.fullmatch(r"estimator/eval/events\.out\.tfevents\..*", key) for key in places), places
    assert any(re.fullmatch(r"estimator/export/latest/\d+/saved_model\.pb", key) for key in places), places
    metadata = submitted.get("estimator")["metadata"]
    folder = f".tftraining/{metadata['namespace']}/estimator/{metadata['uid']}/attempt-0/evaluator-0"
    manifest = json.loads(store.get_object(bucket.bucket, f"{folder}/manifest.json").data)
    assert {each["key"].split("/")[1] for each in manifest["objects"]} == {"eval", "export"}


def test_a_fit_that_cannot_train_on_two_workers_is_refused_before_the_start_with_its_line(submitted: Jobs) -> None:
    status = submitted.wait("refused")
    failure = status["failure"]
    line = next(number for number, line in enumerate((SCRIPTS / "keras_fit.py").read_text().splitlines(), 1) if ".fit(" in line)
    assert (failure["reason"], failure["file"], failure["line"]) == ("InvalidSpec", "script.py", line), status["message"]
    assert "TF_USE_LEGACY_KERAS=1" in failure["hint"]
