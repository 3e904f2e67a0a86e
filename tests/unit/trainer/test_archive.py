"""The archive reader: what it takes, what it refuses, and that it refuses before it writes."""

from __future__ import annotations

import io
import os
import resource
import stat
import struct
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tftrainer.archive import DEFAULT_LIMITS, InvalidArchiveError, Limits, extract, prepare


def info(name: str, mode: int = 0, system: int = 3) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = system
    entry.external_attr = mode << 16
    return entry


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def raw(*entries: tuple[bytes, bytes]) -> bytes:
    """Return a stored zip whose names are exactly these bytes, which no library would write."""
    body, directory = b"", b""
    for name, data in entries:
        crc = zlib.crc32(data)
        common = struct.pack("<HHHHHLLLHH", 20, 0x800, 0, 0, 33, crc, len(data), len(data), len(name), 0)
        directory += b"PK\x01\x02" + struct.pack("<H", 0x0314) + common + struct.pack("<HHHLL", 0, 0, 0, 0, len(body)) + name
        body += b"PK\x03\x04" + common + name + data
    return body + directory + b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, len(entries), len(entries), len(directory), len(body), 0)


def refused(tmp_path: Path, data: bytes, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return why the archive is refused; nothing is on disk but the archive itself."""
    archive = tmp_path / "a.zip"
    archive.write_bytes(data)
    for use in (extract, prepare):
        with pytest.raises(InvalidArchiveError) as caught:
            use(archive, tmp_path / "out", limits)
        assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    return str(caught.value)


HOSTILE_NAMES = [
    (b"../x.py", "'..'"),
    (b"a/../../x.py", "'..'"),
    (b"/etc/passwd", "absolute"),
    (b"C:/x.py", "absolute"),
    (b"c:x.py", "absolute"),
    (b"a\\b.py", "backslash"),
    (b"a//b.py", "''"),
    (b"./a.py", "'.'"),
    (b"a/./b.py", "'.'"),
    (b"", "''"),
    (b"/", "absolute"),
    (b"a\x00.py", "control"),
    (b"a\n.py", "control"),
    (b"a\x1b[31m.py", "control"),
    (b"\xc2\x85.py", "control"),
    (b"\xff\xfe.py", "UTF-8"),
    (b"a" * 256, "255"),
    (b"b/" * 60 + b"c" * 255 + b"/" + b"d" * 3700, "3840"),
    (b"a/" * 100 + b"x.py", "deep"),
]


@pytest.mark.parametrize(("name", "words"), HOSTILE_NAMES)
def test_a_hostile_name_is_refused_and_nothing_is_written(tmp_path: Path, name: bytes, words: str) -> None:
    assert words in refused(tmp_path, raw((b"good.py", b"x = 1"), (name, b"x = 1")))


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("a.py", "a.py", "twice"),
        ("A.py", "a.py", "case or accents"),
        ("straße.py", "STRASSE.py", "case or accents"),
        (unicodedata.normalize("NFC", "é.py"), unicodedata.normalize("NFD", "é.py"), "case or accents"),
        ("Lib/a.py", "lib/b.py", "case or accents"),
        ("a", "a/b.py", "both a file and a folder"),
        ("a/b.py", "a", "both a file and a folder"),
        ("a/b/c/d.py", "a/b", "both a file and a folder"),
    ],
)
def test_names_that_clash_are_refused(tmp_path: Path, one: str, other: str, words: str) -> None:
    assert words in refused(tmp_path, raw((one.encode(), b"1"), (other.encode(), b"2")))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR])
@pytest.mark.parametrize("system", [0, 3, 19])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: int, system: int) -> None:
    words = refused(tmp_path, zipped((info("ok.py"), b""), (info("evil", kind | 0o777, system), b"/etc/passwd")))
    assert "'evil'" in words


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_methods_than_deflate_are_refused(tmp_path: Path, method: int) -> None:
    assert "method" in refused(tmp_path, zipped(("a.py", b"x" * 100), method=method))


@pytest.mark.parametrize(
    ("place", "value", "words"), [(6, 64, "version 6.4 of the zip format"), (8, 0x20, "a patch of another file")], ids=["version", "patch"]
)
def test_what_other_readers_of_zips_refuse_is_refused(tmp_path: Path, place: int, value: int, words: str) -> None:
    data = bytearray(raw((b"a.py", b"1")))
    data[data.rindex(b"PK\x01\x02") + place] = value
    assert words in refused(tmp_path, bytes(data))


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(("a.py", b"x = 1")))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in refused(tmp_path, bytes(data))


@pytest.mark.parametrize("cut", [1, 10, 22, 40, 60])
def test_a_cut_archive_is_refused(tmp_path: Path, cut: int) -> None:
    data = zipped(("a.py", b"x = 1"), ("b.py", b"y = 2"))
    refused(tmp_path, data[:-cut])


@pytest.mark.parametrize("name", ["last.py", "last.txt"])
def test_a_damaged_last_entry_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    data = zipped(("a.py", b"x = 1"), (name, b"data" * 50), method=zipfile.ZIP_STORED).replace(b"datadata", b"dataDATA", 1)
    assert name in refused(tmp_path, data)


def test_something_before_or_behind_the_zip_is_refused(tmp_path: Path) -> None:
    data = zipped(("a.py", b"x = 1"))
    refused(tmp_path, b"#!/bin/sh\n" + data)
    refused(tmp_path, data + b"x")
    refused(tmp_path, data + data)


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "empty"), (b"plain text", "not a zip"), (b"\x1f\x8b" + bytes(40), "gzip"), (bytes(257) + b"ustar", "tar")]
)
def test_what_is_no_zip_is_told_what_it_looks_like(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in refused(tmp_path, data)


def test_a_bomb_by_ratio_is_refused_before_unpacking(tmp_path: Path) -> None:
    assert "bomb" in refused(tmp_path, zipped(("zeros", bytes(80 * 1024**2))))


def test_a_bomb_by_size_is_refused_before_unpacking(tmp_path: Path) -> None:
    assert "more than" in refused(tmp_path, zipped(("a", bytes(3000)), ("b", bytes(3000))), Limits(bytes=5000))


def test_a_size_that_lies_stops_at_what_was_announced(tmp_path: Path) -> None:
    data = bytearray(zipped(("zeros.py", bytes(50 * 1024**2))))
    packed = data.index(b"PK\x01\x02")
    for place in (22, packed + 24):
        data[place : place + 4] = struct.pack("<L", 10)
    started = time.monotonic()
    assert "more than the 10 bytes" in refused(tmp_path, bytes(data))
    assert time.monotonic() - started < 2


def test_entries_that_share_bytes_are_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(("a.py", b"x" * 50), ("b.py", b"x" * 50), method=zipfile.ZIP_STORED))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = struct.pack("<L", 0)
    assert "share bytes" in refused(tmp_path, bytes(data))


def test_a_million_entries_are_refused_by_the_count_alone(tmp_path: Path) -> None:
    entry = raw((b"a", b""))
    directory = entry[entry.index(b"PK\x01\x02") : entry.index(b"PK\x05\x06")] * 1_000_000
    for count in (0xFFFF, 60_000, 5):
        end = b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, count, count, len(directory), 31, 0)
        archive = tmp_path / "a.zip"
        archive.write_bytes(entry[:31] + directory + end)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        with pytest.raises(InvalidArchiveError):
            extract(archive, tmp_path / "out")
        assert time.monotonic() - started < 0.1
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 32 * 1024


def test_a_count_that_lies_is_refused(tmp_path: Path) -> None:
    data = bytearray(raw((b"a.py", b"1"), (b"b.py", b"2")))
    end = data.index(b"PK\x05\x06")
    data[end + 8 : end + 12] = struct.pack("<HH", 1, 1)
    assert "more than the 1 entries" in refused(tmp_path, bytes(data))


def test_a_header_that_differs_from_the_directory_is_refused(tmp_path: Path) -> None:
    data = bytearray(raw((b"good.py", b"1")))
    data[30:37] = b"evil.py"
    assert "another header" in refused(tmp_path, bytes(data))


def prepared(tmp_path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> tuple[list[str], list[str]]:
    archive = tmp_path / "lib.zip"
    archive.write_bytes(zipped(*entries))
    result = prepare(archive, tmp_path / "out")
    files = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*") if path.is_file())
    return [str(path.relative_to(tmp_path)) for path in result.path], files


@pytest.mark.parametrize(
    ("names", "path", "unpacked"),
    [
        (["iris_data.py"], ["lib.zip"], False),
        (["pkg/__init__.py", "pkg/a.py"], ["lib.zip"], False),
        (["a.py", "lib/b.py", "lib/c.pyc"], ["lib.zip"], False),
        (["pkg/", "pkg/__init__.py", "pkg/.DS_Store", "__MACOSX/pkg/._a.py"], ["lib.zip"], False),
        (["project/a.py", "project/b.py"], ["out/project", "out"], True),
        (["pkg/__init__.py", "pkg/vocab.txt"], ["out"], True),
        (["a.py", "fast.so"], ["out"], True),
        (["project/a.py", "__MACOSX/._a.py"], ["out/project", "out"], True),
    ],
)
def test_pure_python_at_the_top_stays_a_zip_and_all_else_is_unpacked(
    tmp_path: Path, names: list[str], path: list[str], unpacked: bool
) -> None:
    found, files = prepared(tmp_path, *((name, b"") for name in names))
    assert found == path
    wanted = sorted(f"out/{name}" for name in names if not name.startswith("__MACOSX") and "DS_Store" not in name and name[-1] != "/")
    assert files == (wanted if unpacked else [])


def test_modes_are_plain_and_only_the_right_to_execute_is_kept(tmp_path: Path) -> None:
    prepared(tmp_path, (info("tool.sh", stat.S_IFREG | 0o6777), b""), (info("data.txt", stat.S_IFREG | 0o666), b""))
    assert stat.S_IMODE((tmp_path / "out" / "tool.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "out" / "data.txt").stat().st_mode) == 0o644


def test_entries_whose_sizes_follow_their_data_are_read(tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.txt", "hello" * 1000)
        archive.writestr("b/c.txt", "")
    (tmp_path / "a.zip").write_bytes(pipe.getvalue())
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out" / "data.txt").read_text() == "hello" * 1000


def test_an_archive_of_any_ordinary_content_comes_out_as_it_went_in(tmp_path: Path) -> None:
    entries = {f"d{number % 7}/f{number}.bin": os.urandom(number * 37) for number in range(200)}
    (tmp_path / "a.zip").write_bytes(zipped(*entries.items()))
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == entries


def _flip(data: bytes, edits: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for place, value in edits:
        changed[place % len(changed)] = value
    return bytes(changed)


def _never_raises_anything_else(folder: Path, data: bytes) -> None:
    archive = folder / "fuzz.zip"
    archive.write_bytes(data)
    target = folder / f"out-{time.monotonic_ns()}"
    started = time.monotonic()
    refusal = None
    try:
        prepare(archive, target, Limits(bytes=10 * 1024**2, entries=1000))
    except InvalidArchiveError as error:
        refusal = str(error)
    if refusal is not None:
        assert refusal.isprintable()
        assert not target.exists()
    assert time.monotonic() - started < 2
    assert not list(folder.glob(".*.unpacking"))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=12))
def test_any_change_of_a_good_archive_gives_a_result_or_our_own_error(tmp_path: Path, edits: list[tuple[int, int]]) -> None:
    good = zipped(("a.txt", b"hello" * 20), ("b/c.py", b"x = 1"), (info("b/tool", stat.S_IFREG | 0o755), b"#!"))
    _never_raises_anything_else(tmp_path, _flip(good, edits))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.binary(max_size=40), max_size=6))
def test_any_names_give_a_result_below_the_folder_or_our_own_error(tmp_path: Path, names: list[bytes]) -> None:
    before = sorted(path.name for path in tmp_path.parent.iterdir())
    _never_raises_anything_else(tmp_path, raw(*((name, b"x") for name in names)))
    assert sorted(path.name for path in tmp_path.parent.iterdir()) == before


@pytest.mark.parametrize("use", [extract, prepare])
def test_a_folder_that_is_there_already_is_not_written_into(tmp_path: Path, use: Callable[..., object]) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(("a.txt", b"1")))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(OSError):
        use(tmp_path / "a.zip", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
