"""What the script's interpreter said at the end of the main program, in a folder that is the user's too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.run.last_line import Waiting, left, words


def test_threads_and_processes_are_told_by_name_and_place(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("thread\tfeeder\ttrain.py\t7\nprocess\tworker\t\t0\nthread\tx\ty.py\t1\nthread\tz\ty.py\t2\n")
    found = left(tmp_path / "f")
    assert found is not None
    assert found[0] == Waiting("thread", "feeder", "train.py", 7)
    assert words(found) == "thread feeder at train.py, line 7, process worker, thread x at y.py, line 1 and 1 more"


@pytest.mark.parametrize("text", ["", "\n", "thread\tx\n", "thread\tx\ty\tseven\n", "file\tx\ty\t1\n", "\0\t\t\t"])
def test_what_is_no_such_word_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "f").write_text(text)
    assert left(tmp_path / "f") is None


@given(raw=st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("last") / "line"
    path.write_bytes(b"thread\t" + raw)
    found = left(path)
    assert words(found or ()).isprintable()


def test_a_link_or_a_pipe_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("thread\tx\ty\t1\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    assert [left(tmp_path / name) for name in ("link", "pipe", ".", "none")] == [None] * 4
