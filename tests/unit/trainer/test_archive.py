"""The archive reader: what it takes, what it refuses, and that it refuses before it writes."""

from __future__ import annotations

import io
import os
import stat
import struct
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tftrainer.archive import DEFAULT_LIMITS, InvalidArchiveError, Limits, NoRoomError, extract, prepare


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
    return str(refusal(tmp_path, data, limits))


def refusal(tmp_path: Path, data: bytes, limits: Limits = DEFAULT_LIMITS) -> InvalidArchiveError:
    archive = tmp_path / "a.zip"
    archive.write_bytes(data)
    for use in (extract, prepare):
        with pytest.raises(InvalidArchiveError) as caught:
            use(archive, tmp_path / "out", limits)
        assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    return caught.value


HOSTILE_NAMES = [
    (b"../x.py", "'..'", "entry '../x.py'"),
    (b"a/../../x.py", "'..'", "entry 'a/../../x.py'"),
    (b"/etc/passwd", "absolute", "entry '/etc/passwd'"),
    (b"C:/x.py", "absolute", "entry 'C:/x.py'"),
    (b"c:x.py", "absolute", "entry 'c:x.py'"),
    (b"a\\b.py", "backslash", "entry 'a\\\\b.py'"),
    (b"a//b.py", "''", "entry 'a//b.py'"),
    (b"./a.py", "'.'", "entry './a.py'"),
    (b"a/./b.py", "'.'", "entry 'a/./b.py'"),
    (b".", "'.'", "entry '.'"),
    (b"", "holds ''", "entry ''"),
    (b"/", "absolute", "entry '/'"),
    (b"a\x00.py", "control", "entry 'a\ufffd.py'"),
    (b"a\n.py", "control", "entry 'a\ufffd.py'"),
    (b"a\x1b[31m.py", "control", "entry 'a\ufffd[31m.py'"),
    (b"\xc2\x85.py", "control", "entry '\ufffd.py'"),
    (b"\xff\xfe.py", "UTF-8", "entry b'\\xff\\xfe.py'"),
    (b"a" * 256, "255", f"entry '{'a' * 80}…{'a' * 39}'"),
    (b"b/" * 60 + b"c" * 255 + b"/" + b"d" * 3700, "3840", f"entry '{'b/' * 40}…{'d' * 39}'"),
    (b"a/" * 100 + b"x.py", "deep", f"entry '{'a/' * 40}…"),
]


@pytest.mark.parametrize(("name", "words", "entry"), HOSTILE_NAMES)
def test_a_hostile_name_is_refused_by_its_name_and_nothing_is_written(tmp_path: Path, name: bytes, words: str, entry: str) -> None:
    why = refused(tmp_path, raw((b"good.py", b"x = 1"), (name, b"x = 1")))
    assert words in why
    assert entry in why


def test_names_with_backslashes_are_told_what_makes_them_and_what_does_not(tmp_path: Path) -> None:
    hint = refusal(tmp_path, raw((b"lib\\model.py", b"x = 1"))).hint
    assert "Compress-Archive" in hint
    assert "python -m zipfile -c" in hint


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("a.py", "a.py", "entry 'a.py' occurs twice"),
        ("A.py", "a.py", "entries 'A.py' and 'a.py' differ in case or accents"),
        ("straße.py", "STRASSE.py", "entries 'straße.py' and 'STRASSE.py' differ in case or accents"),
        (
            unicodedata.normalize("NFC", "é.py"),
            unicodedata.normalize("NFD", "é.py"),
            r"entries '\xe9.py' and 'e\u0301.py' differ in case or accents",
        ),
        ("Lib/a.py", "lib/b.py", "entries 'Lib' and 'lib' differ in case or accents"),
        ("lib/Model.py", "lib/model.py", "entries 'lib/Model.py' and 'lib/model.py' differ in case or accents"),
        ("a", "a/b.py", "entry 'a' is both a file and a folder"),
        ("a/b.py", "a", "entry 'a' is both a file and a folder"),
        ("a/b/c/d.py", "a/b", "entry 'a/b' is both a file and a folder"),
    ],
)
def test_names_that_clash_are_refused(tmp_path: Path, one: str, other: str, words: str) -> None:
    assert words in refused(tmp_path, raw((one.encode(), b"1"), (other.encode(), b"2")))


def test_names_that_differ_in_case_only_are_told_that_one_has_to_be_renamed(tmp_path: Path) -> None:
    assert "rename 'lib/Model.py' or 'lib/model.py'" in refusal(tmp_path, raw((b"lib/Model.py", b"1"), (b"lib/model.py", b"2"))).hint


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR])
@pytest.mark.parametrize("system", [0, 3, 19])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: int, system: int) -> None:
    words = refused(tmp_path, zipped((info("ok.py"), b""), (info("evil", kind | 0o777, system), b"/etc/passwd")))
    assert "'evil'" in words


@pytest.mark.parametrize("link", ["link", "link/"])
def test_a_link_that_the_next_entry_would_be_written_through_is_refused(tmp_path: Path, link: str) -> None:
    (tmp_path / "inside").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    through = zipped((info(link, stat.S_IFLNK | 0o777), str(outside).encode()), (info("link/x.py"), b"x = 1"))
    assert "'link" in refused(tmp_path / "inside", through)
    assert not list(outside.iterdir())


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


def test_a_method_that_is_none_is_refused(tmp_path: Path) -> None:
    data = bytearray(raw((b"a.py", b"1")))
    for place in (8, data.rindex(b"PK\x01\x02") + 10):
        data[place] = 99
    assert "entry 'a.py' is packed with method 99" in refused(tmp_path, bytes(data))


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


def test_a_bomb_by_size_is_refused_before_unpacking(tmp_path: Path) -> None:
    assert "more than" in refused(tmp_path, zipped(("a", bytes(3000)), ("b", bytes(3000))), Limits(bytes=5000))


def test_a_count_that_lies_is_refused(tmp_path: Path) -> None:
    data = bytearray(raw((b"a.py", b"1"), (b"b.py", b"2")))
    end = data.index(b"PK\x05\x06")
    data[end + 8 : end + 12] = struct.pack("<HH", 1, 1)
    assert "more than the 1 entries" in refused(tmp_path, bytes(data))


def test_a_header_that_differs_from_the_directory_is_refused(tmp_path: Path) -> None:
    data = bytearray(raw((b"good.py", b"1")))
    data[30:37] = b"evil.py"
    assert "another header" in refused(tmp_path, bytes(data))


@pytest.mark.parametrize("place", [18, 22], ids=["packed", "unpacked"])
def test_sizes_that_differ_from_the_directory_are_refused(tmp_path: Path, place: int) -> None:
    data = bytearray(raw((b"good.py", b"1"), (b"next.py", b"2")))
    data[place] += 1
    assert "entry 'good.py' has other sizes" in refused(tmp_path, bytes(data))


def with_comment(data: bytes, comment: bytes) -> bytes:
    assert data[-2:] == b"\0\0"
    return data[:-2] + struct.pack("<H", len(comment)) + comment


def test_a_comment_is_no_part_of_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(with_comment(zipped(("a.txt", b"1")), b"made by hand"))
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("comment", [b"PK\x05\x06", b"-- PK\x05\x06 --", b"PK\x05\x06" + bytes(18), b"PK\x05\x06" + bytes(40)])
def test_a_comment_that_holds_the_mark_of_an_end_is_refused_as_by_pythons_importer(tmp_path: Path, comment: bytes) -> None:
    refused(tmp_path, with_comment(zipped(("a.txt", b"1")), comment))


def test_of_two_ends_the_last_counts_as_to_every_reader(tmp_path: Path) -> None:
    shown, hidden = raw((b"shown.txt", b"1")), raw((b"other.txt", b"2"))
    body = shown[: shown.index(b"PK\x01\x02")]
    hidden_body = hidden[: hidden.index(b"PK\x01\x02")]
    directory = shown[len(body) : shown.index(b"PK\x05\x06")]
    hidden_directory = bytearray(hidden[len(hidden_body) : hidden.index(b"PK\x05\x06")])
    start = len(body) + len(hidden_body)
    inner_start = start + len(directory) + 22
    inner = directory + b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 1, 1, len(directory), inner_start, 0)
    hidden_directory[42:46] = struct.pack("<L", len(body))
    outer = b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 1, 1, len(hidden_directory), start, len(inner))
    (tmp_path / "a.zip").write_bytes(body + hidden_body + bytes(hidden_directory) + outer + inner)
    extract(tmp_path / "a.zip", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "a.zip") as other:
        assert [path.name for path in (tmp_path / "out").iterdir()] == other.namelist() == ["shown.txt"]


def test_a_zip_in_a_zip_is_only_data(tmp_path: Path) -> None:
    inner = raw((b"../evil.py", b"x = 1"), (b"evil.py", b"x = 1"))
    (tmp_path / "a.zip").write_bytes(zipped(("a.txt", b"1"), ("inner.zip", inner), method=zipfile.ZIP_STORED))
    result = prepare(tmp_path / "a.zip", tmp_path / "out")
    assert result.path == (tmp_path / "out",)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*")} == {"a.txt": b"1", "inner.zip": inner}


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
        (["pkg/__init__.pyc", "pkg/a.pyc"], ["lib.zip"], False),
        (["a.py", "lib/", "lib/b.py", "lib/c.pyc"], ["lib.zip"], False),
        (["a.py", "lib/b.py", "lib/c.pyc"], ["out"], True),
        (["utils/text.py", "models/net.py"], ["out"], True),
        (["utils/", "utils/text.py", "models/net.py"], ["out"], True),
        (["utils/", "utils/text.py", "models/", "models/net.py"], ["lib.zip"], False),
        (["pkg/__init__.py", "pkg/sub/mod.py"], ["out"], True),
        (["pkg/__init__.py", "pkg/sub/", "pkg/sub/mod.py"], ["lib.zip"], False),
        (["pkg/__init__.py", "pkg/sub/deep/__init__.py"], ["out"], True),
        (["models-main/__init__.py", "models-main/helpers.py"], ["out/models-main", "out"], True),
        (["class/__init__.py", "class/helpers.py"], ["out/class", "out"], True),
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


PARTS = st.sampled_from(["a", "b", "c"])
MODULES = st.builds(
    lambda folders, name: "/".join((*folders, name)), st.lists(PARTS, max_size=3), st.sampled_from(["__init__.py", "a.py", "m.py", "n.pyc"])
)


def found_by_python(name: str, path: str) -> ModuleSpec | None:
    places: list[str] = [path]
    spec: ModuleSpec | None = None
    for part in name.split("."):
        spec = PathFinder.find_spec(part, places)
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or ())
    return spec


NUMBERS: Iterator[int] = iter(range(10**9))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(MODULES, min_size=1, max_size=5), listed=st.sets(st.lists(PARTS, min_size=1, max_size=3).map("/".join)))
def test_what_stays_packed_is_found_by_python_as_if_it_were_unpacked(tmp_path: Path, names: set[str], listed: set[str]) -> None:
    # Python keeps what it has read of a zip by its path.
    folder = tmp_path / str(next(NUMBERS))
    folder.mkdir()
    (folder / "lib.zip").write_bytes(zipped(*((f"{each}/", b"") for each in sorted(listed)), *((each, b"") for each in sorted(names))))
    if prepare(folder / "lib.zip", folder / "out").unpacked:
        return
    extract(folder / "lib.zip", folder / "by_hand")
    for each in names:
        name = each.rpartition(".")[0].replace("/", ".").removesuffix("__init__").removesuffix(".")
        packed, by_hand = (found_by_python(name, str(folder / place)) if name else None for place in ("lib.zip", "by_hand"))
        assert (packed is None) == (by_hand is None), name
        if packed is not None and by_hand is not None:
            assert (packed.origin is None) == (by_hand.origin is None), name


def test_an_archive_whose_sizes_the_importer_of_zips_cannot_read_is_unpacked(tmp_path: Path) -> None:
    data = raw((b"a.py", b"x = 1"))
    at, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    directory = bytearray(data[at:end] + struct.pack("<HHQQ", 1, 16, 5, 5))
    directory[20:28] = b"\xff" * 8
    directory[30:32] = struct.pack("<H", 20)
    (tmp_path / "a.zip").write_bytes(
        data[:at] + bytes(directory) + b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 1, 1, len(directory), at, 0)
    )
    assert prepare(tmp_path / "a.zip", tmp_path / "out").unpacked
    assert (tmp_path / "out" / "a.py").read_bytes() == b"x = 1"


def test_what_takes_more_room_than_there_is_is_refused_before_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(("a.txt", bytes(3000)), ("b.txt", bytes(2000)), ("__MACOSX/._a.txt", bytes(4000))))
    with pytest.raises(NoRoomError) as caught:
        prepare(tmp_path / "a.zip", tmp_path / "out", room=4999)
    assert (caught.value.needed, caught.value.largest) == (5000, "a.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    prepare(tmp_path / "a.zip", tmp_path / "out", room=5000)


def test_what_stays_packed_needs_no_room(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(("a.py", b"#" * 5000)))
    assert not prepare(tmp_path / "a.zip", tmp_path / "out", room=0).unpacked


def test_modes_are_plain_and_only_the_right_to_execute_is_kept(tmp_path: Path) -> None:
    prepared(tmp_path, (info("tool.sh", stat.S_IFREG | 0o6777), b""), (info("data.txt", stat.S_IFREG | 0o666), b""))
    assert stat.S_IMODE((tmp_path / "out" / "tool.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "out" / "data.txt").stat().st_mode) == 0o644


@pytest.fixture
def permissive() -> Iterator[None]:
    """Let the process create what anybody may write, unless it says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("permissive")
def test_folders_and_files_are_their_owners_to_write_whatever_the_archive_says(tmp_path: Path) -> None:
    folder = info("listed/", stat.S_IFDIR | 0o7777)
    files = (info("listed/a.txt", stat.S_IFREG | 0o666), info("not/listed/tool", stat.S_IFREG | 0o4777), info("data.txt"))
    prepared(tmp_path, (folder, b""), *((each, b"") for each in files))
    modes = {path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*")}
    assert modes == {
        "out/listed": 0o755,
        "out/listed/a.txt": 0o644,
        "out/not": 0o755,
        "out/not/listed": 0o755,
        "out/not/listed/tool": 0o755,
        "out/data.txt": 0o644,
    }
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755


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
    started = time.process_time()
    refusal = None
    try:
        prepare(archive, target, Limits(bytes=10 * 1024**2, entries=1000))
    except InvalidArchiveError as error:
        refusal = str(error)
    if refusal is not None:
        assert refusal.isprintable()
        assert not target.exists()
    assert time.process_time() - started < 2
    assert not list(folder.glob(".*.unpacking"))


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=12))
def test_any_change_of_a_good_archive_gives_a_result_or_our_own_error(tmp_path: Path, edits: list[tuple[int, int]]) -> None:
    good = zipped(("a.txt", b"hello" * 20), ("b/c.py", b"x = 1"), (info("b/tool", stat.S_IFREG | 0o755), b"#!"))
    _never_raises_anything_else(tmp_path, _flip(good, edits))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
