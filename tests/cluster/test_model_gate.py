"""A job that promises a model succeeds with one that loads, and only then; both runtimes load it with their own TensorFlow."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cluster_client import SMALL, Jobs
from demo.target import Bucket
from minio import Minio

PLACE = "test-model-gate"
TRAINS = {"cpu": "100m", "memory": "1536Mi", "workspace": "1Gi"}
ESTIMATOR = """
import sys
import tensorflow as tf

def model(features, labels, mode):
    y = tf.layers.dense(features["x"], 1)
    loss = None if labels is None else tf.reduce_mean(tf.square(y - labels))
    train = None if labels is None else tf.train.GradientDescentOptimizer(0.1).minimize(loss, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, predictions={"y": y}, loss=loss, train_op=train)

data = lambda: tf.data.Dataset.from_tensors(({"x": [[1.0], [2.0]]}, [[2.0], [4.0]])).repeat(3)
estimator = tf.estimator.Estimator(model)
estimator.train(data)
receiver = tf.estimator.export.build_raw_serving_input_receiver_fn({"x": tf.placeholder(tf.float32, [None, 1])})
estimator.export_saved_model(sys.argv[1], receiver)
"""
MODULE = """
import sys
import tensorflow as tf

class Doubles(tf.Module):
    def __init__(self):
        super().__init__()
        self.factor = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def doubled(self, x):
        return {"y": self.factor * x}

model = Doubles()
for version in (9, 10):
    tf.saved_model.save(model, f"{sys.argv[1]}/{version}", signatures={"doubled": model.doubled})
"""
LOSES_A_VARIABLE = """
import glob, os
for name in glob.glob(f"{sys.argv[1]}/10/variables/*.index"):
    os.remove(name)
"""
WRITES_NO_GRAPH = "import os, sys\nos.makedirs(sys.argv[1] + '/1')\nopen(sys.argv[1] + '/1/saved_model.pb', 'w').write('no graph')\n"
WRITES_NOTHING = "print('done')\n"

JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "estimator": (ESTIMATOR, {"runtime": "tf1", "resources": TRAINS}),
    "module": (MODULE, {"runtime": "tf2", "resources": TRAINS}),
    "loses-a-variable": (MODULE + LOSES_A_VARIABLE, {"runtime": "tf2", "resources": TRAINS}),
    "no-graph": (WRITES_NO_GRAPH, {"runtime": "tf1", "resources": {**SMALL, "memory": "1Gi"}}),
    "no-model": (WRITES_NOTHING, {"runtime": "tf1", "resources": SMALL}),
    "not-required": (WRITES_NO_GRAPH, {"runtime": "tf2", "resources": {**SMALL, "memory": "1Gi"}}),
}


def folder(name: str) -> str:
    """Return the folder that a job writes its model to."""
    return f"${{bucket}}/{PLACE}/{name}"


@pytest.fixture(scope="module")
def submitted(jobs: Jobs) -> Jobs:
    """Submit all the jobs at once."""
    for name, (script, spec) in JOBS.items():
        jobs.submit(name, script, args=[folder(name)], model={"path": folder(name), "required": name != "not-required"}, **spec)
    return jobs


@pytest.mark.parametrize(
    ("name", "version", "signatures"), [("estimator", None, {"serving_default"}), ("module", "10", {"doubled"})], ids=["tf1", "tf2"]
)
def test_the_newest_version_of_a_model_is_loaded_and_its_signatures_are_in_the_status(
    submitted: Jobs, bucket: Bucket, name: str, version: str | None, signatures: set[str]
) -> None:
    status = submitted.wait(name, seconds=420)
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    model = status["model"]
    place = f"s3://{bucket.bucket}/{PLACE}/{name}/"
    assert model["uri"].startswith(place)
    assert model["uri"].removeprefix(place).strip("/").isdecimal()
    assert version is None or model["uri"] == f"{place}{version}/"
    assert model["verified"] is True
    assert signatures <= set(model["signatures"])
    assert model["bytes"] > 0
    assert len(model["sha256"]) == 64


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("loses-a-variable", "ModelUnloadable", f"{PLACE}/loses-a-variable/10/"),
        ("no-graph", "ModelUnloadable", f"{PLACE}/no-graph/1/"),
        ("no-model", "ModelMissing", "the script wrote nothing there"),
    ],
)
def test_a_job_without_the_model_that_it_promises_fails_though_its_script_succeeded(
    submitted: Jobs, store: Minio, bucket: Bucket, name: str, reason: str, words: str
) -> None:
    status = submitted.wait(name, seconds=420)
    assert status["phase"] == "Failed", json.dumps(status, indent=1)
    failure = status["failure"]
    assert (failure["reason"], failure["cause"]) == (reason, "UserError")
    assert words in failure["message"]
    key = status["outputs"]["manifest"].removeprefix(f"s3://{bucket.bucket}/")
    manifest = json.loads(store.get_object(bucket.bucket, key).read())
    assert (manifest["outcome"], manifest["failure"]["reason"], manifest.get("exitCode")) == ("Failed", reason, 0)


def test_a_broken_model_that_is_not_required_is_only_not_verified(submitted: Jobs) -> None:
    status = submitted.wait("not-required", seconds=420)
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    assert status["model"].get("verified", False) is False
