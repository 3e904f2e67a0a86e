"""Words about a transfer that lasts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tftrainer.outputs.tree import LocalFile, walk
from tftrainer.outputs.upload import upload_all
from tftrainer.progress import Progress, counted, size
from tftrainer.storage.folder import FolderStore

MIB = 1024**2


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_long_transfer_tells_objects_bytes_rate_and_time_left_every_five_seconds() -> None:
    watch, said = Watch(), list[str]()
    progress = Progress(4, 200 * MIB, said.append, watch)
    for second in range(1, 12):
        watch.now = 100.0 + second
        progress.add(10 * MIB)
        if second == 4:
            progress.complete()
    assert said == [
        "1 of 4 objects, 50.0 MiB of 200.0 MiB, 10.0 MiB/s, 15 s left",
        "1 of 4 objects, 100.0 MiB of 200.0 MiB, 10.0 MiB/s, 10 s left",
    ]


def test_a_short_transfer_says_nothing() -> None:
    watch, said = Watch(), list[str]()
    progress = Progress(1, 10, said.append, watch)
    watch.now += 4.9
    progress.add(10)
    progress.complete()
    assert said == []


def test_bytes_that_were_sent_twice_leave_no_negative_time_and_empty_objects_no_rate() -> None:
    watch, said = Watch(), list[str]()
    progress = Progress(1, 10, said.append, watch)
    watch.now += 10
    progress.add(20)
    assert said == ["0 of 1 object, 20 B of 10 B, 2 B/s, 0 s left"]
    empty = Progress(3, 0, said.append, watch)
    watch.now += 10
    empty.complete()
    assert said[1:] == ["1 of 3 objects, 0 B of 0 B, 0 B/s"]


@pytest.mark.parametrize(("count", "words"), [(0, "0 objects"), (1, "1 object"), (2, "2 objects")])
def test_what_is_counted_is_in_the_right_number(count: int, words: str) -> None:
    assert counted(count, "object") == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * MIB, "5.0 MiB"), (3 * 1024 * MIB, "3.0 GiB")]
)
def test_a_size_is_in_a_readable_unit(count: int, words: str) -> None:
    assert size(count) == words


def test_an_upload_that_lasts_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tftrainer.progress.PAUSE_SECONDS", 0.0)
    bucket, root = tmp_path / "bucket", tmp_path / "root"
    for folder in (bucket, root):
        folder.mkdir()
    for name in ("a", "b"):
        (root / name).write_bytes(bytes(MIB))
    files = [each for each in walk(root, "") if isinstance(each, LocalFile)]
    said: list[str] = []
    sent = upload_all(FolderStore(bucket, "models"), root, "out/", files, said.append)
    published, failures = sent.done, sent.failures
    assert ([each.key for each in published], failures) == (["out/a", "out/b"], [])
    assert [line.rpartition(", 2.0 MiB of 2.0 MiB, ")[0] for line in said[-1:]] == ["2 of 2 objects"]
