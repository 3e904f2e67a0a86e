"""What an archive may cost that is made to be dear: memory, time and disk, each read in a process of its own."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough
MIB = 1024**2
MEMORY, SECONDS = 64 * MIB, 5.0
COUNT_MEMORY, COUNT_SECONDS = 32 * MIB, 0.1
"""For what the number of entries alone has to refuse."""

READS = """
import json, resource, sys, time
from pathlib import Path
from tftrainer import archive

def memory(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) * 1024

use, file, target, disk = sys.argv[1:]
# Whatever writes more than the archive may take fails by that, and not by a word of the reader.
resource.setrlimit(resource.RLIMIT_FSIZE, (int(disk), int(disk)))
before = memory("VmRSS:")
started = time.process_time()
try:
    getattr(archive, use)(Path(file), Path(target))
except archive.InvalidArchiveError as error:
    said = str(error)
else:
    said = ""
print(json.dumps({"said": said, "seconds": time.process_time() - started, "memory": memory("VmHWM:") - before}))
"""


@dataclass(frozen=True)
class Cost:
    """What one reading took: seconds of a processor, bytes of memory at its peak beside what there was, bytes of disk left behind."""

    said: str
    seconds: float
    memory: int
    disk: int


def cost(archive: Path, use: str = "extract", disk: int = 0) -> Cost:
    """Read an archive in a new process in which no file can pass `disk` bytes."""
    target = archive.parent / "out"
    command = [sys.executable, "-I", "-c", READS, use, str(archive), str(target), str(disk)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    left = sum(path.stat().st_size for path in archive.parent.rglob("*") if path.is_file() and path != archive)
    return Cost(**json.loads(ended.stdout), disk=left)


def refused_cheaply(archive: Path, use: str = "extract", disk: int = 0) -> str:
    """Return why the archive is refused, which takes little of anything."""
    found = cost(archive, use, disk)
    assert found.said
    assert found.memory < MEMORY
    assert found.seconds < SECONDS
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    return found.said


def zeros(mebibytes: int) -> bytes:
    """Return so many zeros deflated, a thousandth of their size; a piece that ends at a byte can be repeated."""
    machine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = machine.compress(bytes(MIB)) + machine.flush(zlib.Z_FULL_FLUSH)
    return piece * mebibytes + machine.flush()


def crc_of_zeros(mebibytes: int) -> int:
    crc = 0
    for _ in range(mebibytes):
        crc = zlib.crc32(bytes(MIB), crc)
    return crc


def local(name: bytes, method: int, crc: int, packed: int, size: int) -> bytes:
    return b"PK\x03\x04" + struct.pack("<HHHHHLLLHH", 20, 0x800, method, 0, 33, crc, packed, size, len(name), 0) + name


def central(name: bytes, method: int, crc: int, packed: int, size: int, header: int, extra: bytes = b"") -> bytes:
    fields = struct.pack("<HHHHHHLLLHH", 0x0314, 20, 0x800, method, 0, 33, crc, packed, size, len(name), len(extra))
    return b"PK\x01\x02" + fields + struct.pack("<HHHLL", 0, 0, 0, 0, header) + name + extra


def end(count: int, length: int, start: int) -> bytes:
    return b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, count, count, length, start, 0)


def single(name: bytes, packed: bytes, size: int, crc: int = 0, extra: bytes = b"", *, told: int | None = None) -> bytes:
    """Return a zip of one deflated entry; `told` is the size in the directory if it is another."""
    body = local(name, 8, crc, len(packed), size) + packed
    directory = central(name, 8, crc, len(packed), size if told is None else told, 0, extra)
    return body + directory + end(1, len(directory), len(body))


def put(folder: Path, data: bytes) -> Path:
    (folder / "a.zip").write_bytes(data)
    return folder / "a.zip"


def test_a_bomb_by_ratio_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = put(tmp_path, single(b"zeros.bin", zeros(300), 300 * MIB, crc_of_zeros(300)))
    assert "looks like a bomb (largest entry: 'zeros.bin')" in refused_cheaply(bomb)


@pytest.mark.parametrize(("use", "name"), [("extract", b"zeros.bin"), ("prepare", b"zeros.bin"), ("prepare", b"zeros.py")])
@pytest.mark.parametrize("announced", [10, 20 * MIB])
def test_an_entry_that_lies_about_its_size_stops_at_what_it_announces(tmp_path: Path, use: str, name: bytes, announced: int) -> None:
    liar = put(tmp_path, single(name, zeros(300), announced))
    assert f"more than the {announced:,} bytes" in refused_cheaply(liar, use, disk=announced)


@pytest.mark.parametrize(("use", "name"), [("extract", b"zeros.bin"), ("prepare", b"zeros.py")])
def test_an_entry_of_any_ratio_is_unpacked_in_little_memory(tmp_path: Path, use: str, name: bytes) -> None:
    size = 60 * MIB
    found = cost(put(tmp_path, single(name, zeros(60), size, crc_of_zeros(60))), use, disk=size)
    assert found.said == ""
    assert found.memory < MEMORY // 4
    assert found.seconds < SECONDS
    assert found.disk <= (size if use == "extract" else 0)


def test_a_large_entry_that_is_only_stored_is_read_in_little_memory(tmp_path: Path) -> None:
    size, crc = 100 * MIB, crc_of_zeros(100)
    archive = put(tmp_path, local(b"zeros.py", 0, crc, size, size))
    start = archive.stat().st_size + size
    directory = central(b"zeros.py", 0, crc, size, size, 0)
    with archive.open("r+b") as file:
        file.seek(start)
        file.write(directory + end(1, len(directory), start))
    found = cost(archive, "prepare")
    assert found.said == ""
    assert found.memory < MEMORY // 4
    assert found.seconds < SECONDS


def test_entries_that_are_all_one_piece_are_refused(tmp_path: Path) -> None:
    packed, crc = zeros(1), crc_of_zeros(1)
    body = local(b"0000", 8, crc, len(packed), MIB) + packed
    directory = b"".join(central(f"{number:04}".encode(), 8, crc, len(packed), MIB, 0) for number in range(60))
    bomb = put(tmp_path, body + directory + end(60, len(directory), len(body)))
    assert "share bytes" in refused_cheaply(bomb)


def test_entries_that_lie_in_one_another_are_refused(tmp_path: Path) -> None:
    body, directory, names = b"", b"", [f"{number:04}".encode() for number in range(50)]
    for number, name in enumerate(reversed(names)):
        # Each is the header of the next one, and all that this one holds.
        header = local(name, 0, zlib.crc32(body), len(body), len(body))
        directory += central(name, 0, zlib.crc32(body), len(body), len(body), (len(names) - 1 - number) * len(header))
        body = header + body
    assert "share bytes" in refused_cheaply(put(tmp_path, body + directory + end(len(names), len(directory), len(body))))


def zip64(size: int, packed: int) -> bytes:
    return struct.pack("<HHQQ", 1, 16, size, packed)


@pytest.mark.parametrize(
    ("size", "extra", "words"),
    [
        (0xFFFFFFFF, b"", "'zeros.bin' does not tell its size"),
        (0xFFFFFFFF, struct.pack("<HHL", 1, 4, 1), "'zeros.bin' does not tell its size"),
        (4 * 1024**3, zip64(4 * 1024**3, 0), "looks like a bomb"),
        (4 * 1024**3 + 1, zip64(4 * 1024**3 + 1, 0), "more than 4,294,967,296 bytes (reached at entry 'zeros.bin')"),
        (2**64 - 1, zip64(2**64 - 1, 0), "more than 4,294,967,296 bytes (reached at entry 'zeros.bin')"),
    ],
)
def test_a_size_that_only_zip64_can_tell_is_refused(tmp_path: Path, size: int, extra: bytes, words: str) -> None:
    assert words in refused_cheaply(put(tmp_path, single(b"zeros.bin", zeros(8), 0xFFFFFFFF, extra=extra, told=min(size, 0xFFFFFFFF))))


def test_what_only_the_directory_packs_in_zip64_is_read_like_anything_else(tmp_path: Path) -> None:
    packed = zeros(8)
    found = cost(put(tmp_path, single(b"z.bin", packed, 0xFFFFFFFF, crc_of_zeros(8), zip64(8 * MIB, 0), told=0xFFFFFFFF)), disk=8 * MIB)
    assert (found.said, found.disk) == ("", 8 * MIB)


def test_a_bomb_in_a_zip_in_the_zip_is_never_opened(tmp_path: Path) -> None:
    inner = single(b"../zeros.bin", zeros(2000), 2000 * MIB)
    body = local(b"inner.zip", 0, zlib.crc32(inner), len(inner), len(inner)) + inner
    directory = central(b"inner.zip", 0, zlib.crc32(inner), len(inner), len(inner), 0)
    found = cost(put(tmp_path, body + directory + end(1, len(directory), len(body))), "prepare", disk=len(inner))
    assert found.said == ""
    assert found.memory < MEMORY
    assert found.seconds < SECONDS
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["inner.zip"]
    assert (tmp_path / "out" / "inner.zip").read_bytes() == inner


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int]:
    """Return a file with the directory of a million entries, without an end; where it starts, and its length."""
    body = local(b"a", 0, 0, 0, 0)
    directory = central(b"a", 0, 0, 0, 0, 0) * 1_000_000
    path = tmp_path_factory.mktemp("million") / "a.zip"
    path.write_bytes(body + directory)
    return path, len(body), len(directory)


@pytest.mark.parametrize(
    ("count", "words"), [(0xFFFF, "a zip64 archive"), (60_000, "60,000 entries"), (5, "its directory takes"), (0, "its directory takes")]
)
@pytest.mark.parametrize("wide", [True, False], ids=["with its zip64 records", "without"])
def test_a_million_entries_are_refused_by_the_end_alone(million: tuple[Path, int, int], count: int, words: str, wide: bool) -> None:
    archive, start, length = million
    records = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1_000_000, 1_000_000, length, start)
    records += struct.pack("<4sLQL", b"PK\x06\x07", 0, start + length, 1)
    with archive.open("r+b") as file:
        file.truncate(start + length)
        file.seek(0, 2)
        file.write((records if wide else b"") + end(count, length, start))
    found = cost(archive)
    assert ("a zip64 archive" if wide else words) in found.said
    assert found.memory < COUNT_MEMORY
    assert found.seconds < COUNT_SECONDS
    assert [path.name for path in archive.parent.iterdir()] == ["a.zip"]


def test_as_many_entries_as_may_be_with_names_as_long_as_may_be_take_little(tmp_path: Path) -> None:
    names = [f"{number:05}{'x' * 240}.py".encode() for number in range(50_000)]
    body, directory = bytearray(), bytearray()
    for name in names:
        directory += central(name, 0, 0, 0, 0, len(body))
        body += local(name, 0, 0, 0, 0)
    found = cost(put(tmp_path, bytes(body + directory + end(len(names), len(directory), len(body)))), "prepare")
    assert found.said == ""
    assert found.memory < MEMORY
    assert found.seconds < SECONDS


def test_more_folders_than_may_be_with_names_as_long_as_may_be_take_little(tmp_path: Path) -> None:
    names = [("/".join([f"{number:04}{'x' * 52}"] + ["y" * 57] * 62) + "/m.py").encode() for number in range(4300)]
    body, directory = bytearray(), bytearray()
    for name in names:
        directory += central(name, 0, 0, 0, 0, len(body))
        body += local(name, 0, 0, 0, 0)
    archive = put(tmp_path, bytes(body + directory + end(len(names), len(directory), len(body))))
    assert "more than 50,000 folders" in refused_cheaply(archive)
