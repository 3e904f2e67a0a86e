"""What the kernel says of a container's memory, by both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest
from tftrainer.run.memory import Memory, read

VERSION_2 = {
    "memory.events": "low 0\noom 1\noom_kill 2\n",
    "memory.max": "1000\n",
    "memory.peak": "990\n",
    "memory.current": "900\n",
    "memory.stat": "anon 300\nfile 550\ninactive_file 100\nactive_file 400\nslab_reclaimable 50\nworkingset_refault_file 7\n",
}
VERSION_1 = {
    "memory/memory.oom_control": "oom_kill_disable 0\noom_kill 2\n",
    "memory/memory.limit_in_bytes": "1000\n",
    "memory/memory.max_usage_in_bytes": "990\n",
    "memory/memory.usage_in_bytes": "900\n",
    "memory/memory.stat": "cache 1\ninactive_file 1\nactive_file 1\ntotal_inactive_file 150\ntotal_active_file 400\n",
}


@pytest.mark.parametrize("files", [VERSION_1, VERSION_2], ids=["1", "2"])
def test_what_is_held_is_what_no_disk_has_too(tmp_path: Path, files: dict[str, str]) -> None:
    (tmp_path / "memory").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert read(tmp_path) == Memory(kills=2, limit=1000, peak=990, held=350)


def test_a_machine_without_a_limit_and_with_less_to_say_is_known_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("900\n")
    assert read(tmp_path) == Memory()
    (tmp_path / "memory.stat").write_text("file 5000\ninactive_file 5000\n")
    assert read(tmp_path) == Memory(held=0)
    assert read(tmp_path / "none") == Memory()
