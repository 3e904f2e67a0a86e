"""What is put into a stream arrives whole at the pace of its reader, and harms nobody where there is none."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tftrainer.local.outlet import Outlet

MANY = bytes(range(256)) * 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return the ends of a pipe that does not block its writer."""
    source, target = os.pipe()
    os.set_blocking(target, False)
    yield source, target
    for descriptor in (source, target):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_a_stream_that_does_not_block_gets_all(pipe: tuple[int, int]) -> None:
    source, target = pipe
    outlet = Outlet(target)

    def write() -> None:
        outlet.put(MANY)
        outlet.line("done")
        os.close(target)

    writer = threading.Thread(target=write)
    writer.start()
    found = b""
    while chunk := os.read(source, 5000):
        found += chunk
    writer.join()
    assert found == MANY + b"done\n"
    assert outlet.lost == ""


def test_what_nobody_reads_any_more_is_thrown_away(pipe: tuple[int, int]) -> None:
    source, target = pipe
    os.close(source)
    outlet = Outlet(target)
    outlet.put(MANY)
    outlet.put(MANY)
    assert outlet.lost == ""


def test_what_a_full_disk_does_not_take_is_said() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    outlet = Outlet(full)
    outlet.put(b"x")
    outlet.put(b"x")
    os.close(full)
    assert outlet.lost == "No space left on device"


def test_a_disk_that_has_space_again_gets_what_comes(tmp_path: Path) -> None:
    number = os.open("/dev/full", os.O_WRONLY)
    outlet = Outlet(number)
    outlet.put(b"first")
    file = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    os.dup2(file, number)
    outlet.put(b"second")
    for each in (file, number):
        os.close(each)
    assert (tmp_path / "file").read_bytes() == b"second"
    assert outlet.lost == "No space left on device"


def test_a_line_with_what_is_no_character_is_written_all_the_same(pipe: tuple[int, int]) -> None:
    source, target = pipe
    Outlet(target).line("a\ud800b")
    assert os.read(source, 99) == b"a\\ud800b\n"
