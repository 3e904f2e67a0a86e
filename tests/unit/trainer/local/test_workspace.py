"""The end of a workspace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tftrainer.local.workspace import remove


@pytest.mark.thorough
def test_what_a_script_has_left_is_removed_however_deep_and_whatever_its_mode_and_no_link_is_followed(tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "file").write_text("stays")
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/out").symlink_to(beside)
    (root / "a/out").symlink_to(beside / "file")
    os.mkfifo(root / "a/b/pipe")
    (root / "a/b/file").touch()
    at = os.open(root / "a", os.O_RDONLY)
    for _ in range(5_000):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    (root / "a/b/file").chmod(0)
    (root / "a/b").chmod(0)
    (root / "a").chmod(0o500)
    remove(root)
    assert not root.exists()
    assert (beside / "file").read_text() == "stays"
