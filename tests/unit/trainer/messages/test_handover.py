"""What `fetch` leaves for the containers after it."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import pytest
from tftrainer.messages import handover
from tftrainer.messages.contract import ContractError
from tftrainer.messages.handover import FetchedFile


def file(number: int) -> FetchedFile:
    return FetchedFile(path=f"images/{number:08d}\u2028.JPEG", size=number, mtime_ns=10**18 + number, inode=number, etag=f"{number:032x}")


def test_files_come_back_as_they_were_written_one_after_the_other_without_a_place_for_all(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        handover.write_files(map(file, range(5_000)), tmp_path / "files")
        found = handover.read_files(tmp_path / "files")
        assert all(one == two for one, two in itertools.zip_longest(found, map(file, range(5_000))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 256 * 1024


@pytest.mark.parametrize("content", [None, b"\n", b'{"path":"a"', b'{"path":"a"}\n', b"\xff\n"])
def test_what_fetch_has_not_written_is_told_as_that(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "files").write_bytes(content)
    with pytest.raises(ContractError, match="files is not what fetch writes"):
        list(handover.read_files(tmp_path / "files"))
