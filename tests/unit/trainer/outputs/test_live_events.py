"""How often event files are uploaded while they grow."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from tftrainer.outputs import events
from tftrainer.outputs.events import LiveEvents
from tftrainer.storage.condition import Condition
from tftrainer.storage.folder import FolderStore
from tftrainer.storage.transfer import unheard
from tftrainer.storage.upload import Written

NAME = "events.out.tfevents.1.host"
WAIT = 0.5


class Watched(FolderStore):
    """Notes when it is written to, and has the event file grow each time."""

    def __init__(self, bucket: Path, growing: Path) -> None:
        super().__init__(bucket, "models")
        self.growing = growing
        self.times: list[float] = []
        self.enough = threading.Event()

    def upload(
        self, key: str, source: IO[bytes], size: int, progress: Callable[[int], None] = unheard, *, condition: Condition | None = None
    ) -> Written:
        self.times.append(time.monotonic())
        if len(self.times) == 3:
            self.enough.set()
        written = super().upload(key, source, size, progress, condition=condition)
        with self.growing.open("ab") as file:
            file.write(b"more")
        return written


def gaps(tmp_path: Path, size: int, clock: Callable[[], float] = time.monotonic) -> list[float]:
    """Return the seconds between three uploads of an event file that always grows; without a limit, hundredths."""
    root, bucket = tmp_path / "root", tmp_path / "bucket"
    root.mkdir()
    bucket.mkdir()
    (root / NAME).write_bytes(bytes(size))
    store = Watched(bucket, root / NAME)
    live = LiveEvents(root, lambda: store, {}, lambda _: None, pause=0.001, clock=clock)
    live.start()
    assert store.enough.wait(30)
    live.stop()
    return [after - before for before, after in itertools.pairwise(store.times[:3])]


def test_a_large_event_file_is_uploaded_the_less_often_the_larger_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BYTES_PER_SECOND", 2_000_000)
    assert min(gaps(tmp_path, int(WAIT * 2_000_000))) >= WAIT * 0.99


def test_looking_through_a_folder_takes_no_more_than_its_share_of_the_time(tmp_path: Path) -> None:
    # Each look seems to take a fifth of a hundredth of a second.
    seconds = itertools.count(0, WAIT / events.SHARE)
    assert min(gaps(tmp_path, 10, clock=lambda: next(seconds))) >= WAIT * 0.99
