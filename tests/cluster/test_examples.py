"""Every file of examples/ does what it says when it is applied as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_client import Cluster, Jobs
from demo.code import EXAMPLES, upload_examples
from demo.target import Bucket
from minio import Minio

FILES = sorted(path.name for path in EXAMPLES.glob("*.yaml"))


@pytest.fixture(scope="module")
def code(bucket: Bucket) -> Bucket:
    """Upload the code that the examples name."""
    upload_examples(bucket)
    return bucket


def start(jobs: Jobs, file: str) -> str:
    """Apply an example in the test's namespace and return the job's name."""
    jobs.kubectl("apply", "--validate=strict", "-f", str(EXAMPLES / file))
    return str(yaml.safe_load((EXAMPLES / file).read_text())["metadata"]["name"])


def test_each_example_has_a_test_here() -> None:
    text = Path(__file__).read_text()
    assert [name for name in FILES if f'"{name}"' not in text] == []


def test_iris_trains_predicts_and_leaves_its_model_in_the_bucket(jobs: Jobs, code: Bucket, store: Minio) -> None:
    name = start(jobs, "iris-job.yaml")
    status = jobs.wait(name, seconds=300)
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    log = jobs.log(name)
    accuracy = re.search(r"accuracy\D+(0\.\d+|1\.0+)", log, re.IGNORECASE)
    assert accuracy is not None, log
    assert float(accuracy[1]) > 0.9
    assert len(re.findall(r"Prediction is", log)) == 3
    uri = status["model"]["uri"]
    assert re.fullmatch(rf"s3://{code.bucket}/tf_model/\d+/", uri)
    key = f"{uri.removeprefix(f's3://{code.bucket}/')}saved_model.pb"
    assert store.stat_object(code.bucket, key).size
    assert status["resolvedArgs"][:2] == ["--train_path", "/workspace/datasets/demo/other/iris_training.csv"]
    assert len(status["code"]["script"]["sha256"]) == 64
    served = start(jobs, "iris-predict-job.yaml")
    assert jobs.wait(served, seconds=300)["phase"] == "Succeeded"
    assert re.search(r"class\D*0", jobs.log(served), re.IGNORECASE)


def test_the_keras_job_leaves_a_saved_model(jobs: Jobs, code: Bucket, store: Minio) -> None:
    status = jobs.wait(start(jobs, "keras-job.yaml"), seconds=300)
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    key = status["model"]["uri"].removeprefix(f"s3://{code.bucket}/")
    assert store.stat_object(code.bucket, f"{key}saved_model.pb").size


def test_two_workers_of_the_distributed_job_train_one_model(jobs: Jobs, code: Bucket, store: Minio) -> None:
    status = jobs.wait(start(jobs, "distributed-job.yaml"), seconds=300)
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    logs = [jobs.kubectl("logs", f"distributed-worker-{index}") for index in (0, 1)]
    told = [re.findall(r"(?:replicas in step: 2|Test accuracy: 0\.9\d+)", log) for log in logs]
    assert len(told[0]) == 2, logs[0]
    assert told[0] == told[1]
    key = status["model"]["uri"].removeprefix(f"s3://{code.bucket}/")
    assert store.stat_object(code.bucket, f"{key}saved_model.pb").size


def test_the_gpu_job_waits_for_a_gpu_in_words_and_runs_when_there_is_one(jobs: Jobs, cluster: Cluster) -> None:
    name = start(jobs, "gpu-job.yaml")
    if not _gpus(cluster):
        status = jobs.wait_until(name, lambda status: "pending" in status, "says why it is pending")
        assert status["phase"] == "Pending"
        assert "nvidia.com/gpu" in status["pending"]["message"]
        _offer_gpus(cluster, 1)
    try:
        assert jobs.wait(name, seconds=300)["phase"] == "Succeeded"
    finally:
        _offer_gpus(cluster, 0)


def test_the_job_that_fails_on_purpose_names_the_line_of_its_script(jobs: Jobs) -> None:
    name = start(jobs, "fails-job.yaml")
    failure = jobs.wait(name)["failure"]
    assert failure["reason"] == "ScriptRaised"
    assert failure["exception"].startswith("KeyError")
    script = yaml.safe_load((EXAMPLES / "fails-job.yaml").read_text())["spec"]["script"]
    assert "[" in script["inline"].splitlines()[failure["line"] - 1]


def _gpus(cluster: Cluster) -> int:
    return sum(int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)) for node in cluster.items("nodes"))


def _offer_gpus(cluster: Cluster, count: int) -> None:
    if not cluster.target.local:
        pytest.skip("this cluster has no GPU and is not ours to change")
    for node in cluster.items("nodes"):
        patch: dict[str, Any] = {"status": {"capacity": {"nvidia.com/gpu": str(count)}, "allocatable": {"nvidia.com/gpu": str(count)}}}
        cluster.kubectl("patch", "node", node["metadata"]["name"], "--subresource=status", "--type=merge", "-p", json.dumps(patch))
