"""A training that was interrupted goes on from its checkpoint, with what TensorFlow itself has for that."""

from __future__ import annotations

import json

from cluster_client import Jobs, eventually
from demo.target import Bucket
from minio import Minio
from minio.error import S3Error

TRAINS = {"cpu": "100m", "memory": "1536Mi", "workspace": "1Gi"}
ESTIMATOR = """
import sys, time
import tensorflow as tf

def model(features, labels, mode):
    y = tf.layers.dense(features["x"], 1)
    loss = tf.reduce_mean(tf.square(y - labels))
    train = tf.train.GradientDescentOptimizer(0.01).minimize(loss, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)

class Tells(tf.train.SessionRunHook):
    def after_create_session(self, session, coordinator):
        print("starts at step", session.run(tf.train.get_global_step()), flush=True)

data = lambda: tf.data.Dataset.from_tensors(({"x": [[1.0], [2.0]]}, [[2.0], [4.0]])).repeat()
attempt = int(sys.argv[2])
estimator = tf.estimator.Estimator(model, sys.argv[1])
estimator.train(data, max_steps=50 * (attempt + 1), hooks=[Tells()])
print("trained", flush=True)
while attempt == 0:
    time.sleep(1)
"""
KERAS = """
import sys, time
import numpy as np
import tensorflow as tf

class Tells(tf.keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        print("epoch", epoch, flush=True)
        while epoch == 2 and "wait" in sys.argv:
            time.sleep(1)

x = np.arange(8.0).reshape(8, 1)
model = tf.keras.Sequential([tf.keras.layers.Input((1,)), tf.keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(x, 2 * x, epochs=4, verbose=0, callbacks=[tf.keras.callbacks.BackupAndRestore(sys.argv[1]), Tells()])
"""
NEWEST = "import os, sys; print(max(os.stat(os.path.join(at, name)).st_mtime for at, _, files in os.walk(sys.argv[1]) for name in files))"
"""When the newest file of a folder was written, in Unix seconds."""


def test_an_estimator_that_is_suspended_goes_on_from_its_checkpoint(jobs: Jobs) -> None:
    # A folder of this run's own: the store may still hold what another run of these tests has saved.
    folder = f"${{bucket}}/{jobs.namespace}/estimator"
    jobs.submit("estimator", ESTIMATOR, runtime="tf1", resources=TRAINS, args=[folder, "${attempt}"], checkpoints={"path": folder})
    jobs.wait_for_phase("estimator", "Running")
    eventually(lambda: "trained" in jobs.log("estimator") or None, lambda: "the first fifty steps", 180)
    jobs.patch("estimator", {"suspend": True})
    saved = jobs.wait("estimator", "Suspended")["checkpoint"]["saved"]
    assert saved.startswith("model.ckpt-50 (")
    jobs.patch("estimator", {"suspend": False})
    status = jobs.wait("estimator", seconds=420)
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    # A graph that was written in the last moments is no part of what can be relied on, and the first word says so.
    assert status["checkpoint"]["restored"] == saved.partition("; newer files")[0]
    assert status["checkpoint"]["saved"].startswith("model.ckpt-100 (")
    assert "starts at step 50" in jobs.kubectl("logs", "estimator-chief-0-r1")


def test_what_keras_has_backed_up_outlives_a_pod_that_is_killed_without_a_word(jobs: Jobs, store: Minio, bucket: Bucket) -> None:
    folder = f"${{bucket}}/{jobs.namespace}/keras"
    checkpoints = {"path": folder, "intervalSeconds": 5}
    # Without a retry: another attempt would save beside the job that goes on.
    once = {"infrastructure": 0}
    jobs.submit("killed", KERAS, runtime="tf2", resources=TRAINS, args=[folder, "wait"], checkpoints=checkpoints, retry=once)
    jobs.wait_for_phase("killed", "Running")
    eventually(lambda: "epoch 2" in jobs.log("killed") or None, lambda: "two epochs", 180)
    written = float(
        jobs.kubectl("exec", "killed-chief-0", "-c", "trainer", "--", "python3", "-c", NEWEST, f"/workspace/bucket/{jobs.namespace}/keras")
    )

    def saved() -> bool | None:
        try:
            index = store.get_object(bucket.bucket, f"{jobs.namespace}/keras/.tftraining/checkpoint.json").read()
        except S3Error:
            return None
        return json.loads(index)["savedAt"] >= written or None

    eventually(saved, lambda: "the last of the checkpoints in the bucket")
    jobs.kubectl("delete", "pod", "killed-chief-0", "--force", "--grace-period=0")
    jobs.submit("goes-on", KERAS, runtime="tf2", resources=TRAINS, args=[folder], checkpoints=checkpoints)
    status = jobs.wait("goes-on", seconds=420)
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    assert "saved by attempt 0 of" in status["checkpoint"]["restored"]
    assert [line for line in jobs.log("goes-on").splitlines() if line.startswith("epoch")] == ["epoch 2", "epoch 3"]
