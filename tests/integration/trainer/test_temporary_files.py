"""Where a script's temporary files lie, and what `/opt/ml` in its environment brings."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.trainer.launcher import INHERITED, Pod

SAVED_BY_RENAME = """
import multiprocessing, os, tempfile
if __name__ == "__main__":
    out = os.path.join(os.environ["OUT"], "model.h5")
    handle, path = tempfile.mkstemp()
    os.write(handle, b"model")
    assert os.stat(path).st_dev == os.stat(os.environ["OUT"]).st_dev
    os.replace(path, out)
    with multiprocessing.Manager() as manager:
        manager.list().append(1)
    print(tempfile.gettempdir())
"""


@pytest.fixture
def pod() -> Iterator[Pod]:
    """Yield a pod at a path about as short as in a container."""
    root = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="p"))
    found = Pod(root)
    yield found
    found.end()
    shutil.rmtree(root)


def test_a_temporary_file_can_be_renamed_into_the_bucket_and_sockets_fit_beside_it(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(INHERITED, "TMPDIR", raising=False)
    ran = pod.finish(pod.start(SAVED_BY_RENAME, environment={"OUT": str(pod.workspace / "bucket")}))
    assert ran.code == 0, ran.err.decode()
    assert (pod.workspace / "bucket/model.h5").read_bytes() == b"model"
    assert ran.out.decode().strip() == str(pod.workspace / ".tmp")


def test_a_variable_of_the_job_that_names_opt_ml_has_its_folders_made(pod: Pod) -> None:
    bucket = pod.workspace / "bucket"
    aliases = {"SM_OUTPUT_DATA_DIR": f"{bucket}/output"}
    ran = pod.finish(pod.start("", aliases=aliases, environment={"SM_OUTPUT_DATA_DIR": "/opt/ml/output/data"}))
    assert ran.code == 0
    assert (pod.workspace / "opt/ml/output/data").readlink() == bucket / "output"
    assert (bucket / "output").is_dir()


def test_the_jobs_own_tmpdir_goes_before_that_of_the_workspace(pod: Pod, tmp_path: Path) -> None:
    ran = pod.finish(pod.start("import tempfile; print(tempfile.gettempdir())", environment={"TMPDIR": str(tmp_path)}))
    assert ran.out.decode().strip() == str(tmp_path)
    assert not (pod.workspace / ".tmp").exists()


def test_a_path_too_long_for_sockets_leaves_the_temporary_folder_as_it_is(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(INHERITED, "TMPDIR", raising=False)
    deep = Pod(pod.root / ("x" * 60))
    try:
        ran = deep.finish(deep.start("import tempfile; print(tempfile.gettempdir())"))
    finally:
        deep.end()
    assert ran.out.decode().strip() == tempfile.gettempdir()
