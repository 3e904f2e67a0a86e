"""What becomes of the other outputs when one cannot be uploaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from tftrainer.messages.contract import Reason
from tftrainer.outputs import upload
from tftrainer.outputs.tree import LocalFile, walk
from tftrainer.outputs.upload import Outage, Sending, upload_all
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
    sent = upload_all(FolderStore(bucket, "models"), tmp_path / "root", "", files, lambda _: None)
    done, failures = sent.done, sent.failures
    assert [each.key for each in done] == sorted(others)
    assert [each.reason for each in failures] == [reason]
    assert set(others) <= in_bucket(bucket)


def test_a_large_output_that_cannot_be_taken_fails_alone_too(tmp_path: Path, bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SINGLE", 3)
    (bucket / "large").write_text("older")
    files = written(tmp_path / "root", "large/first", "later", "small")
    sent = upload_all(FolderStore(bucket, "models"), tmp_path / "root", "", files, lambda _: None)
    done, failures = sent.done, sent.failures
    assert ([each.key for each in done], len(failures)) == (["later", "small"], 1)


def test_of_very_many_failures_the_first_are_told(tmp_path: Path, bucket: Path) -> None:
    (bucket / "a").write_text("older")
    files = written(tmp_path / "root", *(f"a/{number}" for number in range(100)), "b")
    sent = upload_all(FolderStore(bucket, "models"), tmp_path / "root", "", files, lambda _: None)
    done, failures = sent.done, sent.failures
    assert ([each.key for each in done], len(failures)) == (["b"], upload.FAILURES_TOLD)


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def attempt(outage: Outage, clock: Clock, *pauses: float) -> None:
    """Fail with an upload that could send on after each of the pauses but the last, in seconds."""
    sending = Sending(clock)
    for pause in pauses[:-1]:
        clock.now += pause
        sending.moved()
    clock.now += pauses[-1]
    outage.failed(sending)


SENT = (8.0,) * 40
"""More than five minutes of an upload that works."""


@pytest.mark.parametrize(
    ("attempts", "gone"),
    [
        ([(120.0,), (120.0,)], True),
        ([(120.0,)], False),
        ([(0.1,)] * 10_000, False),
        ([(120.0,), (*SENT, 0.1)], False),
        ([(0.1,), (0.1,), (*SENT, 0.1), (120.0,)], False),
        ([(120.0,), (*SENT, 120.0)], True),
        # The rest of a file is read without a pause once one of its parts has failed.
        ([(8.0, 120.0, 0.0, 0.0, 0.1), (0.0, 120.0, 0.0, 0.1)], True),
    ],
)
def test_a_store_is_gone_after_two_silences_one_after_the_other_and_not_for_time_that_went_well(
    attempts: list[tuple[float, ...]], gone: bool
) -> None:
    clock = Clock()
    outage = Outage(clock)
    for pauses in attempts:
        attempt(outage, clock, *pauses)
    assert outage.given_up is gone


def test_silences_at_the_same_time_are_one_and_what_succeeds_ends_it() -> None:
    clock = Clock()
    outage = Outage(clock)
    together = [Sending(clock) for _ in range(upload.FILES_AT_ONCE)]
    for sending in together:
        clock.now += 120
        outage.failed(sending)
    assert not outage.given_up
    outage.worked()
    attempt(outage, clock, 120.0)
    assert not outage.given_up
    attempt(outage, clock, 120.0)
    assert outage.given_up
