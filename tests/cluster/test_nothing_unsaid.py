"""What users had to find out by themselves elsewhere: why it failed, that a name was the reason, and how far it is while it runs."""

from __future__ import annotations

from typing import Any

import pytest
from cluster_client import SMALL, Jobs, Object

PLACE = "test-nothing-unsaid"
TENSORFLOW = {"cpu": "100m", "memory": "1536Mi", "workspace": "1Gi"}

ODD_BYTES = 'raise ValueError("bad value: gr\\udcf6\\udcdfe " + "x" * 20000 + "\\nsecond line: file <a&b>.csv")\n'
KERAS = "from tensorflow import keras\nprint(keras.__version__)\n"
NAMES_WEIGHTS_AS_IT_LIKES = """
import sys
import numpy as np
from tensorflow import keras
def build():
    m = keras.Sequential([keras.layers.Dense(1, input_shape=(2,))])
    m.compile("sgd", "mse")
    return m
m = build()
best = keras.callbacks.ModelCheckpoint(sys.argv[1] + "best.weights.h5", save_weights_only=True)
m.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=2, verbose=0, callbacks=[best])
m.save_weights(sys.argv[1] + "mnist.weights.h5")
again = build()
again.load_weights(sys.argv[1] + "mnist.weights.h5")
assert np.array_equal(again.get_weights()[0], m.get_weights()[0])
"""
SAVES = """
import os, sys, time
for step in range(1, 1000):
    with open(os.path.join(sys.argv[1], "step.txt.new"), "w") as f:
        f.write(str(step))
    os.replace(f.name, os.path.join(sys.argv[1], "step.txt"))
    if os.path.exists("/tmp/go"):
        break
    time.sleep(3)
"""
OUT = f"${{bucket}}/{PLACE}"
JOBS: dict[str, dict[str, Any]] = {
    "odd-bytes": {"script": {"name": "train.py", "inline": ODD_BYTES}},
    "code": {"script": {"name": "code.py", "inline": KERAS}, "runtime": "tf2", "resources": TENSORFLOW},
    "tensorflow": {"script": {"name": "tensorflow.py", "inline": KERAS}, "runtime": "tf2", "resources": TENSORFLOW},
    "weights": {
        "script": {"name": "train.py", "inline": NAMES_WEIGHTS_AS_IT_LIKES},
        "args": [f"{OUT}/weights/"],
        "resources": TENSORFLOW,
    },
    "saves": {
        "script": {"name": "train.py", "inline": SAVES},
        "args": [f"{OUT}/saves/"],
        "checkpoints": {"path": f"{OUT}/saves", "intervalSeconds": 5},
        "resources": SMALL,
    },
}


@pytest.fixture(scope="module")
def submitted(jobs: Jobs) -> Jobs:
    """Submit all jobs at once."""
    for name, spec in JOBS.items():
        jobs.submit(name, **spec)
    return jobs


def said(status: Object) -> str:
    """Return what the failure's user reads."""
    failure = status["failure"]
    return f"{failure['message']} {failure.get('hint', '')}"


def test_an_exception_with_bytes_that_are_no_text_and_a_second_line_is_told_as_any_other(submitted: Jobs) -> None:
    failure = submitted.wait("odd-bytes")["failure"]
    assert (failure["reason"], failure["file"], failure["line"]) == ("ScriptRaised", "train.py", 1)
    assert failure["exception"].startswith("ValueError: bad value: gr")


@pytest.mark.parametrize("name", ["code", "tensorflow"])
def test_a_script_that_hides_a_module_by_its_name_says_so_and_how_to_mend_it(submitted: Jobs, name: str) -> None:
    status = submitted.wait(name)
    assert status["phase"] == "Failed"
    assert f"{name}.py" in said(status)
    assert "rename" in said(status).lower()


def test_a_tf1_program_names_its_weights_as_it_likes(submitted: Jobs) -> None:
    status = submitted.wait("weights")
    assert status["phase"] == "Succeeded", status
    assert status["outputs"]["objects"] == 2


def test_the_newest_checkpoint_in_the_bucket_is_in_the_status_while_the_script_runs(submitted: Jobs) -> None:
    submitted.wait("saves", "Running")
    status = submitted.wait_until("saves", lambda status: bool(status.get("checkpoint", {}).get("saved")), "a checkpoint is told of")
    assert status["phase"] == "Running"
    assert status["checkpoint"]["saved"].startswith("1 file")
    submitted.kubectl("exec", "saves-chief-0", "-c", "trainer", "--", "python3", "-c", "open('/tmp/go', 'w')")
    assert submitted.wait("saves")["phase"] == "Succeeded"
