"""Programs of the shape of well-known public TensorFlow programs run unmodified, as jobs. What each is about: docs/reference/scripts.md."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
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


OF_ONE_KIND = {
    "tf1/custom_estimator_hooks.py": "tf1/wide_and_deep_census.py",
    "tf1/mnist_softmax_graph.py": "tf1/monitored_session_resume.py",
    "tf1/premade_estimator.py": "examples/iris-job.yaml",
    "tf2/cifar_callbacks.py": "tf2/keras_image_classifier.py",
    "tf2/custom_training_loop.py": "tf2/checkpoint_resume.py",
}
"""Programs of `make test-all`, each with the one of its kind that runs with every `make test`."""
AT_ONCE = 2
"""Programs that run at once. They ask for little, so that the small jobs of other tests have their share of the node meanwhile."""
RESOURCES = {"cpu": "100m", "memory": "2Gi", "workspace": "1Gi"}


@pytest.fixture(scope="module")
def started(request: pytest.FixtureRequest, jobs: Jobs, bucket: Bucket, store: Minio) -> Callable[[str], Jobs]:
    """Return what submits a program, and those that run while it is waited for."""
    programs = [each for each in PROGRAMS if request.config.getoption("whole") or each not in OF_ONE_KIND]
    begun: set[str] = set()

    def start(program: str) -> Jobs:
        at = programs.index(program)
        for each in programs[at : at + AT_ONCE]:
            if each not in begun:
                runtime, arguments = each.partition("/")[0], ARGUMENTS.get(each, [])
                jobs.submit(job_name(each), runtime=runtime, resources=RESOURCES, args=arguments, **code(each, bucket, store))
                begun.add(each)
        return jobs

    return start


@pytest.mark.parametrize("program", [pytest.param(each, marks=[pytest.mark.long] if each in OF_ONE_KIND else []) for each in PROGRAMS])
def test_a_public_style_program_runs_unmodified(started: Callable[[str], Jobs], program: str, bucket: Bucket, store: Minio) -> None:
    jobs = started(program)
    status = jobs.wait(job_name(program), seconds=600)
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1) + jobs.log(job_name(program))[-3000:]
    assert "RESULT" in jobs.log(job_name(program))
    if program in OUTPUTS:
        assert store.stat_object(bucket.bucket, OUTPUTS[program]).size
