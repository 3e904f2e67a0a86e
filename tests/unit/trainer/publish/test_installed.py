"""What is installed, as a publisher tells it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tftrainer.publish.phase import installed


def test_what_a_broken_installation_has_left_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken-1.0.dist-info").mkdir()
    whole = tmp_path / "whole-2.0.dist-info"
    whole.mkdir()
    (whole / "METADATA").write_text("Metadata-Version: 2.1\nName: whole\nVersion: 2.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = list(installed())
    assert ("whole", "2.0") in found
    assert all(name and version for name, version in found)
