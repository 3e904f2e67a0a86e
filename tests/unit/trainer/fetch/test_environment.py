"""Folders that the code of a job finds by variables of hosted platforms are made, at a cost that has a bound."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from tftrainer.fetch import environment
from tftrainer.fetch.environment import make_folders
from tftrainer.layout import Layout

EACH = ["/opt/ml/model/m.h5", "/opt/ml/output/data", "/opt/ml/checkpoints/", "/opt/ml/input/data/train", "/opt/ml/code/s.py"]


class Job:
    """A job's code, and the folders that are made for it."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.layout.bucket.mkdir(parents=True)
        self.code = self.layout.code
        self.variables = {"SM_MODEL_DIR": str(self.layout.bucket / "model"), "AIP_LOGS": str(self.layout.bucket / "logs"), "SM_HOSTS": "[]"}

    def write(self, path: str, text: str) -> Path:
        target = self.code / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def made(self, *code: Path) -> list[str]:
        make_folders(self.variables, self.layout, code)
        return sorted(each.name for each in self.layout.bucket.iterdir())


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_modules_in_folders_and_in_a_zip_are_looked_at_and_nothing_else_is(job: Job, tmp_path: Path) -> None:
    job.write("pkg/a.py", "os.environ['SM_MODEL_DIR']")
    job.write("pkg/notes.txt", "AIP_LOGS")
    job.write(".packages/lib/a.py", "AIP_LOGS")
    assert job.made(job.code) == ["model"]
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("b.py", "AIP_LOGS")
    assert job.made(job.code, tmp_path / "lib.zip") == ["logs", "model"]


def test_a_damaged_zip_is_no_reason_to_refuse_the_job(job: Job) -> None:
    assert job.made(job.write("x.zip", "PK"), job.write("x.py", "SM_MODEL_DIR")) == ["model"]


@pytest.mark.parametrize(("name", "limit"), [("MODULES_LIMIT", 3), ("SOURCES_LIMIT", 24)])
def test_of_much_code_the_first_is_read(job: Job, monkeypatch: pytest.MonkeyPatch, name: str, limit: int) -> None:
    monkeypatch.setattr(environment, name, limit)
    first = [job.write(f"{letter}/m.py", "pass # 8") for letter in "ab"]
    script = job.write("z.py", "SM_MODEL_DIR")
    last = job.write("y.py", "AIP_LOGS")
    assert job.made(script, *first, last) == ["model"]
    monkeypatch.undo()
    assert job.made(last) == ["logs", "model"]


def test_a_module_that_is_on_the_path_twice_is_read_once(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "MODULES_LIMIT", 2)
    script, last = job.write("pkg/m.py", "pass"), job.write("y.py", "AIP_LOGS")
    assert job.made(script, script.parent, script.parent, last) == ["logs"]


@pytest.mark.parametrize("said", ["code", "argument"])
def test_where_code_or_an_argument_says_opt_ml_its_folders_lead_to_those_of_the_variables(job: Job, said: str) -> None:
    bucket = job.layout.bucket
    job.variables = {
        "SM_MODEL_DIR": f"{bucket}/model",
        "SM_OUTPUT_DATA_DIR": f"{bucket}/output",
        "AIP_CHECKPOINT_DIR": f"{bucket}/run/ckpt",
    }
    job.layout.inputs.mkdir()
    script = job.write("t.py", "import json\n" if said == "argument" else f"save({EACH})\n")
    make_folders(job.variables, job.layout, [script], EACH if said == "argument" else [])
    hosted = job.layout.hosted
    for name in ("model/m.h5", "output/data/o.csv", "checkpoints/c.h5", "input/data/i.csv", "code/s.py"):
        (hosted / name).write_text(name)
    written = {path.relative_to(job.layout.workspace).as_posix() for path in job.layout.workspace.rglob("*") if path.is_file()}
    assert written - {"code/t.py"} == {"bucket/model/m.h5", "bucket/output/o.csv", "bucket/run/ckpt/c.h5", "inputs/i.csv", "code/s.py"}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("# as in /opt/ml, but not there", set()),
        ("root = '/opt/ml'; join(root, 'model')", set()),
        ("'/opt/ml/models', '/opt/ml/model.h5', '/opt/ml/output', '/opt/ml/checkpoints-2', '/opt/ml/input/config'", set()),
        ("'/opt/ml/model'", {"model"}),
        ("save(f'/opt/ml/model/{name}.h5')", {"model"}),
        ("'/opt/ml/output/data'", {"output"}),
        ("'/opt/ml/checkpoints/'", {"checkpoints"}),
        ("'/opt/ml/input/data/train'", set()),
        ("'/opt/ml/code'", set()),
    ],
)
def test_no_folder_lies_in_the_bucket_but_that_which_the_code_names(job: Job, text: str, made: set[str]) -> None:
    bucket = job.layout.bucket
    job.variables = {
        "SM_MODEL_DIR": f"{bucket}/model",
        "SM_OUTPUT_DATA_DIR": f"{bucket}/output",
        "AIP_CHECKPOINT_DIR": f"{bucket}/checkpoints",
    }
    assert set(job.made(job.write("t.py", text))) == made
    assert {each.resolve().name for each in job.layout.hosted.rglob("*") if each.is_symlink()} - {"inputs", "code"} == made


def test_other_code_has_neither_the_folders_nor_the_links(job: Job) -> None:
    job.variables = {"SM_MODEL_DIR": str(job.layout.bucket / "model")}
    make_folders(job.variables, job.layout, [job.write("t.py", "save('/opt/model')")], ["/opt/m"])
    assert not list(job.layout.bucket.iterdir())
    assert not job.layout.hosted.exists()


def test_an_object_in_the_place_of_a_folder_is_no_reason_to_refuse_the_job(job: Job) -> None:
    (job.layout.bucket / "model").write_text("an object")
    job.variables = {"SM_MODEL_DIR": str(job.layout.bucket / "model"), "SM_OUTPUT_DATA_DIR": str(job.layout.bucket / "output")}
    for _ in range(2):
        make_folders(job.variables, job.layout, [job.write("t.py", "'/opt/ml/model', '/opt/ml/output/data'")])
    assert (job.layout.hosted / "model").read_text() == "an object"
    assert (job.layout.hosted / "output/data").is_dir()
