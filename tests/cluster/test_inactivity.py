"""A script that gives no sign of life, on the real cluster: ended with the line where it stood, or told while it goes on."""

from __future__ import annotations

import json

from cluster_client import SMALL, Jobs
from demo.target import Bucket
from minio import Minio

HANGS = """
import threading

def waits():
    threading.Event().wait()

print("up", flush=True)
waits()
"""
IN_TENSORFLOW = """
import tensorflow as tf
print("computed", float(tf.reduce_sum(tf.ones((100, 100)))), flush=True)
tf.queue.FIFOQueue(1, ["float32"]).dequeue()
"""
"""Waits in native code, with all of TensorFlow's threads idle."""
RESTS = """
import os, time
print("up", flush=True)
while not os.path.exists("/tmp/go"):
    time.sleep(1)
print("done", flush=True)
"""


def test_a_script_that_hangs_fails_with_its_line_and_leaves_its_stacks_in_log_and_bucket(jobs: Jobs, store: Minio, bucket: Bucket) -> None:
    jobs.submit("hangs", HANGS, inactivitySeconds=15, terminationGracePeriodSeconds=5)
    status = jobs.wait("hangs")
    failure = status["failure"]
    assert (failure["reason"], failure["file"], failure["line"]) == ("ScriptHung", "script.py", 5), json.dumps(status, indent=1)
    assert "in waits" in jobs.log("hangs")
    place = status["logs"]["uri"].removeprefix(f"s3://{bucket.bucket}/")
    assert b"in waits" in store.get_object(bucket.bucket, f"{place}stacks.log").read()


def test_a_script_that_hangs_in_tensorflow_is_found_out_too(jobs: Jobs) -> None:
    jobs.submit("hangs-in-tensorflow", IN_TENSORFLOW, runtime="tf2", inactivitySeconds=30, resources={**SMALL, "memory": "1536Mi"})
    status = jobs.wait("hangs-in-tensorflow", seconds=300)
    failure = status["failure"]
    assert (failure["reason"], failure["file"], failure["line"]) == ("ScriptHung", "script.py", 4), json.dumps(status, indent=1)
    assert "computed 10000.0" in jobs.log("hangs-in-tensorflow")


def test_a_script_that_rests_longer_than_it_should_is_told_and_goes_on_where_the_job_wants_it_so(jobs: Jobs) -> None:
    jobs.submit("rests", RESTS, inactivitySeconds=15, onInactivity="Report")
    told = jobs.wait_until("rests", lambda status: bool(status.get("notes")), "it is told")
    [note] = told["notes"]
    assert note["reason"] == "ScriptHung"
    assert "It waits at script.py, line 5" in note["message"]
    jobs.kubectl("exec", "rests-chief-0", "-c", "trainer", "--", "python3", "-c", "open('/tmp/go', 'w')")
    assert jobs.wait("rests")["phase"] == "Succeeded"
    events = jobs.kubectl("get", "events", "--field-selector=involvedObject.name=rests,reason=ScriptHung", "-o", "name")
    assert len(events.splitlines()) == 1
