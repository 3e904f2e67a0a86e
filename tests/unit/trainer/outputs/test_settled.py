"""Whether a file that looks the same is the same."""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tftrainer.outputs.settled import SETTLED_SECONDS, notes_mapped_writes, settle
from tftrainer.outputs.tree import LocalFile, walk

MOUNTS = """22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 22 0:26 / /dev/shm rw,nosuid - tmpfs tmpfs rw
32 22 0:27 / /workspace rw shared:7 master:1 - tmpfs tmpfs rw,size=1024k
33 22 8:17 / /data rw - xfs /dev/sdb1 rw
"""


def later() -> float:
    return time.time() + 2 * SETTLED_SECONDS


def look(root: Path) -> LocalFile:
    [found] = [each for each in walk(root, "") if isinstance(each, LocalFile)]
    return found


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    if not notes_mapped_writes(tmp_path.stat().st_dev):
        pytest.skip("temporary files lie in memory here")
    return tmp_path


@pytest.fixture
def in_memory() -> Iterator[Path]:
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or notes_mapped_writes(shared.stat().st_dev):
        pytest.skip("no file system in memory here")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def copied(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"B" * 4)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def in_place(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"2")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [copied, in_place])
def test_a_file_whose_time_was_set_back_looks_different(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"AAAA")
    before = look(tmp_path)
    time.sleep(0.02)
    change(path)
    assert (look(tmp_path).size, look(tmp_path).mtime_ns, look(tmp_path).inode) == (before.size, before.mtime_ns, before.inode)
    assert look(tmp_path) != before


def test_a_mapped_write_shows_once_a_file_was_settled_and_not_before(on_disk: Path) -> None:
    path = on_disk / "memmap.bin"
    path.write_bytes(b"first" * 2000)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0] = 1
        before = look(on_disk)
        mapped[0] = 2
        # This is what has to be known: the page is dirty already, so nothing shows.
        assert look(on_disk) == before
        assert settle(on_disk, before, later)
        mapped[0] = 3
        assert look(on_disk) != before


def test_a_file_that_was_just_changed_or_is_another_by_now_is_not_settled(on_disk: Path) -> None:
    path = on_disk / "w.bin"
    path.write_bytes(b"first")
    before = look(on_disk)
    assert not settle(on_disk, before, time.time)
    path.write_bytes(b"other!")
    assert not settle(on_disk, before, later)
    path.unlink()
    assert not settle(on_disk, before, later)


def test_where_mapped_writes_never_show_no_file_is_settled(in_memory: Path) -> None:
    path = in_memory / "memmap.bin"
    path.write_bytes(b"first" * 2000)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        assert mapped[0] == ord("f")
        before = look(in_memory)
        mapped[0] = 2
        assert look(in_memory) == before
    assert not settle(in_memory, before, later)


@pytest.mark.parametrize(("device", "noted"), [((8, 1), True), ((8, 17), True), ((0, 26), False), ((0, 27), False), ((0, 99), True)])
def test_a_file_system_in_memory_is_known_by_its_mount(tmp_path: Path, device: tuple[int, int], noted: bool) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert notes_mapped_writes(os.makedev(*device), mounts) is noted
