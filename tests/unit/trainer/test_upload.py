"""What becomes of the other outputs when one cannot be uploaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from tftrainer.contract import Reason
from tftrainer.publish import upload
from tftrainer.publish.tree import LocalFile, walk
from tftrainer.publish.upload import upload_all
from tftrainer.storage.folder import FolderStore


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


def written(root: Path, *paths: str) -> list[LocalFile]:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    return [each for each in walk(root, "") if isinstance(each, LocalFile)]


def in_bucket(bucket: Path) -> set[str]:
    return {str(each.relative_to(bucket)) for each in bucket.rglob("*") if each.is_file() and ".tftraining" not in each.parts}


@pytest.mark.parametrize(
    ("trap", "path", "reason"),
    [
        ("a file where the run has a folder", "a/model.bin", Reason.PUBLISH_FAILED),
        ("a folder where the run has a file", "a", Reason.PUBLISH_FAILED),
        ("a folder where nobody can write", "a/model.bin", Reason.STORAGE_UNAVAILABLE),
    ],
)
def test_an_output_that_the_folder_cannot_take_fails_alone(tmp_path: Path, bucket: Path, trap: str, path: str, reason: Reason) -> None:
    others = [f"{letter}{number}" for letter in "ABxyz" for number in range(60)]
    if trap.startswith("a file"):
        (bucket / "a").write_text("older")
    elif trap.endswith("has a file"):
        (bucket / "a").mkdir()
    else:
        (bucket / "a").symlink_to("/proc")
    files = written(tmp_path / "root", path, *others)
    done, failures = upload_all(FolderStore(bucket, "models"), tmp_path / "root", "", files, lambda _: None)
    assert [each.key for each in done] == sorted(others)
    assert [each.reason for each in failures] == [reason]
    assert set(others) <= in_bucket(bucket)


def test_a_large_output_that_cannot_be_taken_fails_alone_too(tmp_path: Path, bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PART", 3)
    (bucket / "large").write_text("older")
    files = written(tmp_path / "root", "large/first", "later", "small")
    done, failures = upload_all(FolderStore(bucket, "models"), tmp_path / "root", "", files, lambda _: None)
    assert ([each.key for each in done], len(failures)) == (["later", "small"], 1)


def test_of_very_many_failures_the_first_are_told(tmp_path: Path, bucket: Path) -> None:
    (bucket / "a").write_text("older")
    files = written(tmp_path / "root", *(f"a/{number}" for number in range(100)), "b")
    done, failures = upload_all(FolderStore(bucket, "models"), tmp_path / "root", "", files, lambda _: None)
    assert ([each.key for each in done], len(failures)) == (["b"], upload.FAILURES_TOLD)
