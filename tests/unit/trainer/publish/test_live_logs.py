"""What is shown of a growing log, and what happens when the store is away."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from tftrainer.messages.contract import Reason
from tftrainer.phase_error import PhaseError
from tftrainer.publish import live
from tftrainer.publish.live import Index, LiveLogs


class Away:
    """A store that fails for so many writes, as no real one does on demand."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.objects: dict[str, bytes] = {}
        self.written = threading.Event()

    def write(self, key: str, data: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise PhaseError(Reason.STORAGE_UNAVAILABLE, "the store does not answer", "wait")
        self.objects[key] = data
        if key.endswith(live.INDEX_NAME):
            self.written.set()

    @property
    def index(self) -> Index:
        return msgspec.json.decode(self.objects["p/live/index.json"], type=Index)


def shown(logs: Path, store: Away, said: list[str]) -> LiveLogs:
    return LiveLogs(logs, ("stdout.log", "stderr.log"), lambda: (cast("Any", store), "p/"), said.append, pause=0.01)


@pytest.mark.parametrize("failures", [0, 1, 5])
def test_segments_join_to_the_log_also_when_the_store_was_away_and_it_is_said_once(tmp_path: Path, failures: int) -> None:
    store, said = Away(failures), list[str]()
    (tmp_path / "stdout.log").write_bytes(b"one\n")
    logs = shown(tmp_path, store, said)
    logs.start()
    assert store.written.wait(10)
    store.written.clear()
    with (tmp_path / "stdout.log").open("ab") as file:
        file.write(b"two\n")
    assert store.written.wait(10)
    logs.stop()
    segments = store.index.streams["stdout"]
    assert b"".join(store.objects[f"p/live/{each.name}"] for each in segments) == b"one\ntwo\n"
    assert [each.offset for each in segments] == [0, 4]
    assert len(said) == min(failures, 1)


def test_no_more_than_the_limit_is_shown_and_the_index_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LIMIT_BYTES", 10)
    monkeypatch.setattr(live, "SEGMENT_BYTES", 8)
    (tmp_path / "stdout.log").write_bytes(b"x" * 100)
    store = Away(0)
    logs = shown(tmp_path, store, [])
    logs.start()
    for _ in range(2):
        assert store.written.wait(10)
        store.written.clear()
    logs.stop()
    assert [each.size for each in store.index.streams["stdout"]] == [8, 2]
    assert store.index.cut == ("stdout",)


@pytest.mark.parametrize("trap", ["link", "folder", "pipe"])
def test_what_is_no_log_file_is_not_read(tmp_path: Path, trap: str) -> None:
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / "stdout.log"
    if trap == "link":
        path.symlink_to(tmp_path / "secret")
    elif trap == "folder":
        path.mkdir()
    else:
        import os

        os.mkfifo(path)
    (tmp_path / "stderr.log").write_text("seen")
    store = Away(0)
    logs = shown(tmp_path, store, [])
    logs.start()
    assert store.written.wait(10)
    logs.stop()
    assert store.index.streams["stdout"] == ()
