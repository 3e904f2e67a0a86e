"""Each way to name a project, its entry, its paths and its data: one short job on the cluster."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from cluster_client import Jobs, eventually
from demo.target import Bucket
from minio import Minio

PLACE = "test-project-folder"
PROJECT = {
    "train.py": "import src.model, settings, sys\nprint(src.model.NAME, settings.X, open('conf/base.json').read(), *sys.argv[1:])\n",
    "src/__init__.py": "",
    "src/model.py": "NAME = 'model'\n",
    "src/sub.py": "from .model import NAME\nimport sys\nprint(NAME, open('conf/base.json').read(), *sys.argv[1:])\n",
    "settings.py": "X = 1\n",
    "conf/base.json": '{"lr": 1}',
    ".git/HEAD": "ref: refs/heads/main",
}
ROOT = f"${{bucket}}/{PLACE}/project/"
INTO = {"dependencies": {"files": [{"uri": ROOT, "into": "."}]}}
ARCHIVE = {"dependencies": {"archive": {"uri": f"${{bucket}}/{PLACE}/project.zip"}}}
WHOLE = 'model 1 {"lr": 1}'

WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "holds-script": ({"script": {"uri": f"{ROOT}train.py"}, "dependencies": {"files": [{"uri": ROOT}]}}, WHOLE),
    "into": ({"script": {"uri": f"{ROOT}train.py"}, **INTO}, WHOLE),
    "path": ({"script": {"path": "train.py"}, **INTO}, WHOLE),
    "path-in-archive": ({"script": {"path": "train.py"}, **ARCHIVE}, WHOLE),
    "module": ({"script": {"module": "src.sub"}, **INTO, "args": ["x"]}, 'model {"lr": 1} x'),
    "module-in-archive": ({"script": {"module": "src.sub"}, **ARCHIVE}, 'model {"lr": 1}'),
}
WRITES = "import pathlib, sys\npathlib.Path(sys.argv[1], 'x').write_text('1')\n"
READS = "import sys, time\ntime.sleep(5)\nopen(sys.argv[1])\n"


@pytest.fixture(scope="module")
def submitted(jobs: Jobs, store: Minio, bucket: Bucket) -> Jobs:
    """Put the project into the bucket, and submit all the jobs at once."""

    def put(key: str, data: bytes) -> None:
        store.put_object(bucket.bucket, f"{PLACE}/{key}", io.BytesIO(data), len(data))

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in PROJECT.items():
            put(f"project/{name}", text.encode())
            archive.writestr(f"project-main/{name}", text)
    put("project.zip", packed.getvalue())
    put("in/rows.csv", b"1,2")
    for name, (spec, _) in WAYS.items():
        jobs.submit(name, **spec)
    folder = f"${{bucket}}/{PLACE}/${{job}}/${{attempt}}/"
    jobs.submit("named", WRITES, args=[folder], outputs=[{"path": folder}])
    jobs.submit("address", READS, args=[f"s3://{bucket.bucket}/{PLACE}/in/rows.csv"])
    jobs.submit("slip", READS, args=[f"${{bucket}}/{PLACE}/in/row.csv"])
    return jobs


@pytest.mark.parametrize("name", WAYS)
def test_a_project_runs_in_each_way_to_name_it(submitted: Jobs, name: str) -> None:
    status = submitted.wait(name)
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    assert submitted.log(name).strip() == WAYS[name][1]


def test_name_and_attempt_in_a_path_are_those_of_the_job(submitted: Jobs, store: Minio, bucket: Bucket) -> None:
    status = submitted.wait("named")
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    assert store.get_object(bucket.bucket, f"{PLACE}/named/0/x").read() == b"1"


def test_an_address_of_s3_is_told_in_an_event(submitted: Jobs, bucket: Bucket) -> None:
    key = f"{PLACE}/in/rows.csv"
    words = f"spec.args[0] is s3://{bucket.bucket}/{key}, an address that TensorFlow cannot open: write ${{bucket}}/{key}"
    submitted.wait("address")

    def told() -> bool | None:
        events = submitted.kubectl("get", "events", "--field-selector=reason=ArgumentHint", "-o", "jsonpath={.items[*].message}")
        return True if words in events else None

    eventually(told, lambda: "an event ArgumentHint")


def test_a_key_that_is_almost_one_is_named_in_the_failure(submitted: Jobs) -> None:
    status = submitted.wait("slip")
    assert status["phase"] == "Failed", json.dumps(status, indent=1)
    assert status["failure"]["hint"].startswith(f"Write ${{bucket}}/{PLACE}/in/rows.csv into the argument")
