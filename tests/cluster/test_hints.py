"""Ported scripts on the real cluster: paths of a hosted platform work, and what does not work is told with its remedy."""

from __future__ import annotations

import pytest
from cluster_client import Jobs, Object
from demo.target import Bucket
from minio import Minio

HOSTED = """
import argparse, os, tempfile
p = argparse.ArgumentParser(); p.add_argument("--model-dir", default="/opt/ml/model"); a = p.parse_args()
os.makedirs(a.model_dir, exist_ok=True)
handle, path = tempfile.mkstemp()
os.write(handle, open("/opt/ml/input/data/train/rows.csv", "rb").read())
os.rename(path, os.path.join(a.model_dir, "model.txt"))
open("/opt/ml/output/data/metrics.json", "w").write("{}")
open("/opt/ml/checkpoints/last.txt", "w").write("1")
"""
SHARED_MEMORY = """
from multiprocessing import shared_memory
segment = shared_memory.SharedMemory(create=True, size=200 << 20)
for at in range(0, len(segment.buf), 4096):
    segment.buf[at] = 1
"""
STUMBLES = {
    "shm": (SHARED_MEMORY, [], "Raise spec.resources.sharedMemory (now 64Mi"),
    "models": ("import os\nos.makedirs('/models/x')\n", [], "Write to ${bucket}/models, given as an argument"),
    "rows": ("open('data/row.csv')\n", ["${bucket}/hints/rows.csv"], "Use an argument, ${bucket}/hints/rows.csv, and read what it names"),
    "tmp": (
        "import os, sys\nopen('/tmp/m', 'w').write('m')\nos.rename('/tmp/m', sys.argv[1])\n",
        ["${bucket}/hints/m"],
        "Make the file with `tempfile`",
    ),
    "s3": (
        "import pandas\npandas.read_csv('s3://BUCKET/hints/rows.csv')\n",
        [],
        "Write ${bucket}/hints/rows.csv as the argument",
    ),
}


@pytest.fixture(scope="module")
def submitted(jobs: Jobs, bucket: Bucket, store: Minio, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """Submit all jobs at once."""
    rows = tmp_path_factory.mktemp("hints") / "rows.csv"
    rows.write_text("1,2\n")
    store.fput_object(bucket.bucket, "hints/rows.csv", str(rows))
    inputs: list[Object] = [{"name": "train", "uri": "${bucket}/hints/rows.csv"}]
    jobs.submit("hint-hosted", HOSTED, inputs=inputs, outputs=[{"path": "${bucket}/model"}, {"path": "${bucket}/output"}])
    for name, (script, arguments, _) in STUMBLES.items():
        jobs.submit(f"hint-{name}", script.replace("BUCKET", bucket.bucket), args=arguments)
    return jobs


def test_a_script_with_the_paths_of_a_hosted_platform_runs_as_it_is(submitted: Jobs, bucket: Bucket, store: Minio) -> None:
    status = submitted.wait("hint-hosted")
    assert status["phase"] == "Succeeded", status
    keys = {each.object_name for each in store.list_objects(bucket.bucket, recursive=True)}
    assert keys >= {"model/model.txt", "output/metrics.json", "checkpoints/last.txt"}
    assert status["outputs"].get("kept", 0) == 0


@pytest.mark.parametrize("name", STUMBLES)
def test_what_a_script_stumbles_over_is_in_its_status(submitted: Jobs, name: str) -> None:
    status = submitted.wait(f"hint-{name}")
    assert status["phase"] == "Failed"
    assert status["failure"]["hint"].startswith(STUMBLES[name][2]), status["failure"]
    assert ("/dev/shm was full" in status["failure"]["message"]) == (name == "shm")
