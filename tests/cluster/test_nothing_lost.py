"""What users lost elsewhere: models saved beside the script, half files over whole ones, lines of others, served models."""

from __future__ import annotations

import io
from typing import Any

import pytest
from cluster_client import SMALL, Jobs, Object
from demo.target import Bucket
from minio import Minio

PLACE = "test-nothing-lost"
KERAS = {"cpu": "100m", "memory": "1536Mi", "workspace": "1Gi"}

SAVES_BESIDE = """
import os
import keras, numpy as np
m = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
m.compile("sgd", "mse")
m.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=1, verbose=0)
os.makedirs("checkpoints", exist_ok=True)
m.save("checkpoints/best.keras")
m.save("/tmp/model.keras")
"""
RUNS_OUT_OF_MEMORY = """
import sys
with open(sys.argv[1], "wb") as f:
    f.write(b"HALF OF A NEW MODEL")
    f.flush()
    blocks = []
    while True:
        blocks.append(bytearray(b"x") * (16 << 20))
"""
RENAMES = """
import os, sys, tempfile
out = sys.argv[1]
def write(path):
    with open(path, "w") as f:
        f.write(path)
    return path
os.replace(write("model.tmp"), os.path.join(out, "a.txt"))
with tempfile.NamedTemporaryFile("w", dir=out, delete=False) as f:
    f.write("private")
os.replace(f.name, os.path.join(out, "c.txt"))
os.chmod(write(os.path.join(out, "d.txt")), 0o000)
folder = os.path.join(out, "sub")
os.makedirs(folder)
write(os.path.join(folder, "e.txt"))
os.chmod(folder, 0o300)
os.umask(0o777)
write(os.path.join(out, "f.txt"))
os.umask(0o022)
os.link(write(os.path.join(out, "g.txt")), os.path.join(out, "h.txt"))
"""
UNREADABLE_AND_RAISES = """
import os, sys
p = os.path.join(sys.argv[1], "model.txt")
open(p, "w").write("the model")
os.chmod(p, 0o000)
raise RuntimeError("evaluation failed after the model was saved")
"""
CHANGES_WITHOUT_A_TRACE = """
import os, shutil, sys
d = sys.argv[1]
p = os.path.join(d, "vocab.txt")
s = os.stat(p)
with open("/tmp/vocab.txt", "w") as f:
    f.write("BBBB")
os.utime("/tmp/vocab.txt", ns=(s.st_atime_ns, s.st_mtime_ns))
shutil.copy2("/tmp/vocab.txt", p)
q = os.path.join(d, "state.bin")
t = os.stat(q)
with open(q, "r+b") as f:
    f.write(b"2222")
os.utime(q, ns=(t.st_atime_ns, t.st_mtime_ns))
with open(os.path.join(d, "old.txt"), "w") as f:
    f.write("old")
os.utime(os.path.join(d, "old.txt"), (1, 1))
"""
APPENDS = """
import os, sys, time
board, name = sys.argv[1:]
with open(board, "a") as f:
    f.write(f"{name} 0.9\\n")
until = time.monotonic() + 240
while not os.path.exists("/tmp/go") and time.monotonic() < until:
    time.sleep(0.1)
"""
EXPORTS_HALF = """
import os, sys
os.makedirs(sys.argv[1], exist_ok=True)
with open(os.path.join(sys.argv[1], "saved_model.pb"), "wb") as f:
    f.write(b"\\x08\\x01half of a graph")
"""
OUT = f"${{bucket}}/{PLACE}"
BEFORE = {
    "killed/best.bin": "the good model of last week, complete",
    "changed/vocab.txt": "AAAA",
    "changed/state.bin": "1111",
    "shared/board.csv": "run,accuracy\n",
    "served/saved_model.pb": "THE GOOD MODEL OF LAST WEEK",
}
JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "beside": (SAVES_BESIDE, {"runtime": "tf2", "resources": KERAS}),
    "killed": (RUNS_OUT_OF_MEMORY, {"args": [f"{OUT}/killed/best.bin"], "resources": {**SMALL, "memory": "300Mi"}}),
    "renames": (RENAMES, {"args": [f"{OUT}/renames/"]}),
    "unreadable": (UNREADABLE_AND_RAISES, {"args": [f"{OUT}/unreadable/"]}),
    "changed": (CHANGES_WITHOUT_A_TRACE, {"args": [f"{OUT}/changed/"]}),
    "shared-a": (APPENDS, {"args": [f"{OUT}/shared/board.csv", "a"]}),
    "shared-b": (APPENDS, {"args": [f"{OUT}/shared/board.csv", "b"]}),
    "shared-c": (
        APPENDS,
        {"args": [f"{OUT}/shared/board.csv", "c"], "outputs": [{"path": f"{OUT}/shared/board.csv", "onConflict": "Fail"}]},
    ),
    "served": (EXPORTS_HALF, {"args": [f"{OUT}/served"], "model": {"path": f"{OUT}/served"}, "resources": {**SMALL, "memory": "1Gi"}}),
}


@pytest.fixture(scope="module")
def ended(jobs: Jobs, store: Minio, bucket: Bucket) -> dict[str, Object]:
    """Run all jobs at once and return how each ended."""
    for found in store.list_objects(bucket.bucket, f"{PLACE}/", recursive=True):
        store.remove_object(bucket.bucket, str(found.object_name))
    for key, text in BEFORE.items():
        store.put_object(bucket.bucket, f"{PLACE}/{key}", io.BytesIO(text.encode()), len(text))
    for name, (script, spec) in JOBS.items():
        jobs.submit(name, script, **spec)
    # All have begun with the same board when the first of them comes to its end.
    for name in ("shared-a", "shared-b", "shared-c"):
        jobs.wait(name, "Running", seconds=300)
    for name in ("shared-a", "shared-b", "shared-c"):
        jobs.kubectl("exec", f"{name}-chief-0", "-c", "trainer", "--", "python3", "-c", "open('/tmp/go', 'w')")
        jobs.wait(name, seconds=300)
    return {name: jobs.wait(name, seconds=300) for name in JOBS}


@pytest.fixture
def read(store: Minio, bucket: Bucket) -> Any:
    """Return a function that reads an object of the tests' folder, or of any URI."""

    def read(key: str) -> str:
        whole = key.removeprefix(f"s3://{bucket.bucket}/") if key.startswith("s3://") else f"{PLACE}/{key}"
        response = store.get_object(bucket.bucket, whole)
        try:
            return str(response.read().decode())
        finally:
            response.close()
            response.release_conn()

    return read


def test_a_model_saved_beside_the_script_is_kept_and_the_job_says_where(jobs: Jobs, ended: dict[str, Object], read: Any) -> None:
    message = ended["beside"]["message"]
    assert ended["beside"]["phase"] == "Succeeded"
    for words in ("checkpoints/best.keras (", "/tmp/model.keras (", "kept in s3://"):
        assert words in message
    assert ended["beside"]["outputs"]["kept"] == 1
    events = jobs.kubectl("get", "events", "--field-selector=involvedObject.name=beside,reason=OutputsIncomplete", "-o", "name")
    assert len(events.splitlines()) == 1
    assert "checkpoints/best.keras" in jobs.kubectl("logs", "beside-chief-0", "-c", "publisher")


def test_a_run_that_is_out_of_memory_leaves_the_whole_file_where_it_was(ended: dict[str, Object], read: Any) -> None:
    status = ended["killed"]
    assert status["failure"]["reason"] == "OutOfMemory"
    assert read("killed/best.bin") == BEFORE["killed/best.bin"]
    assert f"{PLACE}/killed/best.bin" in status["message"]
    assert status["outputs"]["kept"] == 1
    place = status["outputs"]["manifest"].removesuffix("manifest.json")
    assert read(f"{place}kept/bucket/{PLACE}/killed/best.bin") == "HALF OF A NEW MODEL"


def test_whatever_mode_a_file_has_and_however_it_came_to_its_place_it_is_published(ended: dict[str, Object], read: Any) -> None:
    assert ended["renames"]["phase"] == "Succeeded"
    for name in ("a.txt", "c.txt", "d.txt", "f.txt", "g.txt", "h.txt", "sub/e.txt"):
        assert read(f"renames/{name}")
    assert ended["unreadable"]["failure"]["reason"] == "ScriptRaised"
    assert read("unreadable/model.txt") == "the model"


@pytest.mark.parametrize(("name", "content"), [("vocab.txt", "BBBB"), ("state.bin", "2222"), ("old.txt", "old")])
def test_a_file_that_looks_like_the_one_before_is_published_if_it_is_another(
    ended: dict[str, Object], read: Any, name: str, content: str
) -> None:
    assert ended["changed"]["phase"] == "Succeeded"
    assert read(f"changed/{name}") == content


def test_of_two_jobs_that_append_to_one_file_the_second_says_that_it_did_not_replace_it(ended: dict[str, Object], read: Any) -> None:
    assert read("shared/board.csv") == "run,accuracy\na 0.9\n"
    assert ended["shared-a"]["outputs"].get("kept") is None
    status = ended["shared-b"]
    assert status["phase"] == "Succeeded"
    assert f"omebody else wrote s3://{status['outputs']['manifest'].split('/')[2]}/{PLACE}/shared/board.csv" in status["message"]
    place = status["outputs"]["manifest"].removesuffix("manifest.json")
    assert read(f"{place}kept/bucket/{PLACE}/shared/board.csv") == "run,accuracy\nb 0.9\n"
    failure = ended["shared-c"]["failure"]
    assert (failure["reason"], f"{PLACE}/shared/board.csv" in failure["message"]) == ("OutputConflict", True)


def test_a_broken_model_does_not_take_the_place_of_the_served_one(ended: dict[str, Object], read: Any) -> None:
    status = ended["served"]
    assert status["failure"]["reason"] == "ModelUnloadable"
    assert read("served/saved_model.pb") == BEFORE["served/saved_model.pb"]
    assert "half of a graph" in read(f"{status['model']['uri']}saved_model.pb")
