"""The archive of a job: the room that its workspace has for it, what goes onto the path, and what is told of one that is refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from tftrainer.fetch.code import prepare_archive
from tftrainer.layout import Layout
from tftrainer.messages.contract import Plan, Reason, Reference, Script
from tftrainer.phase_error import PhaseError

MIB = 1024**2


def zipped(**entries: bytes) -> bytes:
    """Return a zip of these entries; `__` in a name stands for `/`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name.replace("__", "/"), data)
    return buffer.getvalue()


class Job:
    """A job whose archive was fetched."""

    def __init__(self, root: Path, data: bytes, name: str = "lib.zip", workspace: int = 10 * 1024**3) -> None:
        self.layout = Layout(root)
        self.layout.dependencies.mkdir(parents=True)
        self.file = self.layout.dependencies / name
        self.file.write_bytes(data)
        archive = Reference(uri=f"${{bucket}}/code/{name}")
        self.plan = Plan(
            namespace="n", job="j", uid="u", runtime="tf2", script=Script(name="t.py"), archive=archive, workspace_bytes=workspace
        )

    def path(self, others: int = 0) -> list[str]:
        found = prepare_archive(self.plan, self.file, self.layout, self.file.stat().st_size + others)
        return [str(Path(each).relative_to(self.layout.dependencies)) for each in found]

    def refused(self, others: int = 0) -> PhaseError:
        with pytest.raises(PhaseError) as caught:
            self.path(others)
        assert list(self.layout.dependencies.iterdir()) == [self.file]
        return caught.value


def test_an_archive_larger_than_the_workspace_is_refused_with_both_sizes_before_it_is_unpacked(tmp_path: Path) -> None:
    pattern = bytes(range(256)) * 4
    job = Job(tmp_path, zipped(helper_py=b"", data_bin=pattern * 1024 * 50), workspace=4 * MIB)
    failure = job.refused(others=2 * MIB).failure
    assert failure.reason is Reason.INPUT_TOO_LARGE
    assert "archive ${bucket}/code/lib.zip unpacks to 50.0 MiB (largest entry: 'data_bin')" in failure.message
    assert "spec.resources.workspace is 4.0 MiB and has 1.8 MiB left beside what is fetched" in failure.message
    assert "raise spec.resources.workspace" in failure.hint


def test_what_is_fetched_counts_against_the_room_of_an_archive(tmp_path: Path) -> None:
    job = Job(tmp_path, zipped(data_bin=bytes(3 * MIB)), workspace=4 * MIB)
    assert job.refused(others=MIB).failure.reason is Reason.INPUT_TOO_LARGE
    assert job.refused(others=9 * MIB).failure.message.endswith("has 0 B left beside what is fetched")
    assert job.path(others=MIB - job.file.stat().st_size) == ["lib.zip.unpacked"]


def test_an_archive_of_code_that_stays_packed_needs_no_room_but_its_own(tmp_path: Path) -> None:
    job = Job(tmp_path, zipped(**{"helper.py": b"#" * 5 * MIB}), workspace=4 * MIB)
    assert job.path(others=4 * MIB - job.file.stat().st_size) == ["lib.zip"]


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (("lib__Model.py", "lib__model.py"), "rename 'lib/Model.py' or 'lib/model.py'"),
        (("lib\\model.py",), "Compress-Archive of Windows PowerShell 5"),
        (("..__model.py",), "zip -r"),
    ],
)
def test_an_archive_that_is_refused_comes_with_what_to_do(tmp_path: Path, names: tuple[str, ...], hint: str) -> None:
    failure = Job(tmp_path, zipped(**dict.fromkeys(names, b"x = 1"))).refused().failure
    assert failure.reason is Reason.INVALID_ARCHIVE
    assert failure.message.startswith("archive ${bucket}/code/lib.zip: ")
    assert hint in failure.hint


def test_a_plain_python_file_is_a_module_of_its_own_name(tmp_path: Path) -> None:
    assert Job(tmp_path, b"x = 1", name="helpers.py").path() == ["."]


@pytest.mark.parametrize("letters", ["a" * 200, "模" * 66])
def test_an_archive_with_the_longest_name_that_is_kept_is_unpacked(tmp_path: Path, letters: str) -> None:
    assert Job(tmp_path, zipped(data_bin=b"1"), name=letters).path() == [f"{letters}.unpacked"]
