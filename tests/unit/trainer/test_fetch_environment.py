"""Folders that the code of a job finds by variables of hosted platforms are made, at a cost that has a bound."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from tftrainer.fetch import environment
from tftrainer.fetch.environment import make_folders
from tftrainer.layout import Layout


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
