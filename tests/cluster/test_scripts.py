"""Programs of the shape of well-known public TensorFlow programs run unmodified, as jobs. What each is about: docs/reference/scripts.md."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from cluster_client import Jobs, Object
from demo.target import Bucket
from minio import Minio

FOLDER = Path(__file__).parent / "scripts"
PROGRAMS = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("tf*/*") if path.name != "__pycache__")
"""Each a script, or a folder with `train.py` and what goes with it into an archive."""
ARGUMENTS = {
    "tf1/wide_and_deep_census.py": ["--model_dir", "${cos}/census", "--train_epochs=30"],
    "tf1/monitored_session_resume.py": ["--train_dir=${cos}/mnist_train", "--nouse_fp16"],
    "tf2/absl_text_tfrecord.py": ["--data_dir=${bucket}/text", "--cell", "gru", "--classes=bad,good"],
    "tf2/saved_model_signatures.py": ["${bucket}/words/export"],
}
OUTPUTS = {
    "tf1/wide_and_deep_census.py": "census/checkpoint",
    "tf1/monitored_session_resume.py": "mnist_train/checkpoint",
    "tf2/absl_text_tfrecord.py": "text/train-00002-of-00003.gz",
    "tf2/saved_model_signatures.py": "words/export/1/saved_model.pb",
}


def job_name(program: str) -> str:
    """Return a job's name for a program of the folder."""
    return program.removesuffix(".py").replace("/", "-").replace("_", "-")


def code(program: str, bucket: Bucket, store: Minio) -> Object:
    """Return the fields that name a program's code, after uploading what does not fit in the job itself."""
    path = FOLDER / program
    if path.is_file():
        return {"script": {"name": path.name, "inline": path.read_text()}}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in sorted(path.rglob("*")):
            if file.is_file() and file.suffix != ".pyc" and file.name != "train.py":
                archive.write(file, file.relative_to(path).as_posix())
    objects = {f"{program}/train.py": (path / "train.py").read_bytes(), f"{program}/rest.zip": content.getvalue()}
    for key, data in objects.items():
        store.put_object(bucket.bucket, f"programs/{key}", io.BytesIO(data), len(data))
    uri = f"s3://{bucket.bucket}/programs/{program}"
    return {"script": {"uri": f"{uri}/train.py"}, "dependencies": {"archive": {"uri": f"{uri}/rest.zip"}}}


@pytest.fixture(scope="module")
def submitted(jobs: Jobs, bucket: Bucket, store: Minio) -> Jobs:
    """Submit all programs at once; the scheduler runs as many as fit, and leaves room for the small jobs of other tests."""
    resources = {"cpu": "700m", "memory": "2Gi", "workspace": "1Gi"}
    for program in PROGRAMS:
        runtime, arguments = program.partition("/")[0], ARGUMENTS.get(program, [])
        jobs.submit(job_name(program), runtime=runtime, resources=resources, args=arguments, **code(program, bucket, store))
    return jobs


# The first waits for all that run before it: how long that takes is the machine's matter.
@pytest.mark.timeout(960)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_public_style_program_runs_unmodified(submitted: Jobs, program: str, bucket: Bucket, store: Minio) -> None:
    status = submitted.wait(job_name(program), seconds=900)
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1) + submitted.log(job_name(program))[-3000:]
    assert "RESULT" in submitted.log(job_name(program))
    if program in OUTPUTS:
        assert store.stat_object(bucket.bucket, OUTPUTS[program]).size
