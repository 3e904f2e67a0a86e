"""A folder behaves as a bucket does: whole objects or none, one winner, and words for what only a folder cannot do."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest
from tftrainer.messages.contract import Reason
from tftrainer.phase_error import PhaseError
from tftrainer.storage.condition import Absent, Unchanged
from tftrainer.storage.errors import ConditionError
from tftrainer.storage.folder import FolderStore
from tftrainer.storage.transfer import GivenUpError


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    (tmp_path / "bucket").mkdir()
    return FolderStore(tmp_path / "bucket", "models")


def keys(store: FolderStore, prefix: str) -> list[str]:
    return [each.key for each in store.list(prefix)]


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_what_is_written_is_found_read_and_downloaded(store: FolderStore, tmp_path: Path) -> None:
    written = store.write("a/b.txt", b"hello")
    info = store.find("a/b.txt")
    assert info is not None
    assert (info.size, info.etag, written.size) == (5, written.etag, 5)
    assert written.sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert store.read("a/b.txt", 5) == b"hello"
    arrived: list[int] = []
    store.download(info, tmp_path / "copy", progress=arrived.append)
    assert (tmp_path / "copy").read_bytes() == b"hello"
    assert sum(arrived) == 5
    assert store.credentials.bucket == "models"
    assert Path(store.uri("a/b.txt")).read_bytes() == b"hello"


def test_what_is_not_there_is_none_and_a_folder_is_no_object(store: FolderStore) -> None:
    store.write("a/b", b"")
    assert [store.find(key) for key in ("a", "a/c", "a/b/c", "x/y")] == [None] * 4
    assert store.read("a/c", 9) is None
    assert store.read("a/b/c", 9) is None
    assert keys(store, "x/") == []
    assert keys(store, "a/b/") == []


def test_a_list_has_the_keys_of_a_prefix_in_the_order_of_a_bucket(store: FolderStore) -> None:
    for key in ("m/b/1", "m/b-c", "m/a", "m/b.txt", "n/a", "m2"):
        store.write(key, b"x")
    assert keys(store, "m/") == ["m/a", "m/b-c", "m/b.txt", "m/b/1"]
    assert keys(store, "m/b") == ["m/b-c", "m/b.txt", "m/b/1"]
    assert keys(store, "") == ["m/a", "m/b-c", "m/b.txt", "m/b/1", "m2", "n/a"]


def test_links_are_followed_but_not_in_circles(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "data.csv").write_text("1,2")
    store.write("m/a", b"x")
    (tmp_path / "bucket" / "m" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "bucket" / "m" / "circle").symlink_to(tmp_path / "bucket")
    (tmp_path / "bucket" / "m" / "dangling").symlink_to(tmp_path / "nowhere")
    assert keys(store, "m/") == ["m/a", "m/linked/data.csv"]


def test_of_many_conditional_writers_one_wins_and_its_bytes_stay(store: FolderStore) -> None:
    start = threading.Barrier(16)

    def write(number: int) -> bool:
        start.wait()
        return store.write_if_absent("m/manifest.json", b"%d" % number * 1000)

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(write, range(16)))
    assert won.count(True) == 1
    assert store.read("m/manifest.json", 9999) == b"%d" % won.index(True) * 1000


@pytest.mark.usefixtures("disk_without_nameless_files")
def test_without_hard_links_a_conditional_write_still_has_one_winner(store: FolderStore) -> None:
    assert [store.write_if_absent("m", data) for data in (b"first", b"second")] == [True, False]
    assert store.read("m", 99) == b"first"


@pytest.fixture
def source(tmp_path: Path) -> Iterator[BinaryIO]:
    """Return an open file that holds `hello`."""
    (tmp_path / "source").write_bytes(b"hello")
    with (tmp_path / "source").open("rb") as file:
        yield file


def test_an_upload_that_breaks_off_leaves_the_older_object_and_nothing_else(store: FolderStore, tmp_path: Path, source: BinaryIO) -> None:
    store.write("m", b"old")
    with pytest.raises(PhaseError, match="its file became shorter"):
        store.upload("m", source, 7)
    assert store.read("m", 9) == b"old"
    assert names(tmp_path / "bucket") == ["m"]


def test_what_is_being_written_is_not_listed_and_has_no_name_that_could_stay(store: FolderStore, tmp_path: Path, source: BinaryIO) -> None:
    def look(_: int) -> None:
        assert names(tmp_path / "bucket/m") == []
        assert keys(store, "") == []

    store.upload("m/a", source, 5, look)
    assert keys(store, "") == ["m/a"]
    assert names(tmp_path / "bucket/m") == ["a"]


@pytest.fixture
def disk_without_nameless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a disk that knows neither files without a name nor a second name of one."""
    real = os.open

    def refuse(path: str, flags: int, *arguments: int, **options: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *arguments, **options)

    def refuse_link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "link", refuse_link)


@pytest.mark.usefixtures("disk_without_nameless_files")
def test_on_a_simple_disk_what_is_being_written_is_not_listed_either(store: FolderStore, tmp_path: Path, source: BinaryIO) -> None:
    def look(_: int) -> None:
        assert len(names(tmp_path / "bucket/m")) == 1
        assert keys(store, "") == []

    store.upload("m/a", source, 5, look)
    with pytest.raises(PhaseError, match="its file became shorter"):
        store.upload("m/a", source, 7)
    assert names(tmp_path / "bucket/m") == ["a"]


def test_an_upload_on_a_condition_takes_place_only_if_it_holds(store: FolderStore, source: BinaryIO) -> None:
    first = store.upload("m", source, 5, condition=Absent())
    for refused in (Absent(), Unchanged("another"), Unchanged("")):
        with pytest.raises(ConditionError, match="somebody else has written"):
            store.upload("m", source, 4, condition=refused)
    with pytest.raises(ConditionError):
        store.upload("n", source, 5, condition=Unchanged(first.etag))
    assert (keys(store, ""), store.read("m", 9)) == (["m"], b"hello")
    second = store.upload("m", source, 4, condition=Unchanged(first.etag))
    assert second.etag != first.etag
    assert store.read("m", 9) == b"hell"


def test_of_many_who_replace_the_same_version_one_wins(store: FolderStore, source: BinaryIO) -> None:
    first, start = store.write("m", b"old"), threading.Barrier(16)

    def replace(size: int) -> bool:
        start.wait()
        try:
            store.upload("m", source, size, condition=Unchanged(first.etag))
        except ConditionError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(replace, [1, 2, 3, 4] * 4))
    assert won.count(True) == 1
    assert store.read("m", 9) == b"hello"[: won.index(True) % 4 + 1]


@pytest.fixture
def another_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder from where nothing can be moved to the bucket."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_a_folder_of_another_disk_can_be_part_of_the_bucket(store: FolderStore, tmp_path: Path, another_disk: Path) -> None:
    (tmp_path / "bucket" / "models").symlink_to(another_disk)
    assert store.write("models/a", b"first").size == 5
    store.write("models/a", b"second")
    store.write("b", b"here")
    store.copy("models/a", "c")
    store.copy("b", "models/sub/b")
    assert [store.write_if_absent("models/m", data) for data in (b"1", b"2")] == [True, False]
    assert keys(store, "") == ["b", "c", "models/a", "models/m", "models/sub/b"]
    assert [store.read(key, 9) for key in ("models/a", "c", "models/sub/b", "models/m")] == [b"second", b"second", b"here", b"1"]
    for key in ("models/a", "models/m", "models/sub/b"):
        store.delete(key)
    assert keys(store, "models/") == []
    assert names(another_disk) == []
    assert (tmp_path / "bucket" / "models").is_symlink()


def test_an_object_that_changed_is_not_downloaded(store: FolderStore, tmp_path: Path) -> None:
    store.write("m", b"old")
    info = store.find("m")
    assert info is not None
    store.write("m", b"new")
    with pytest.raises(PhaseError) as failed:
        store.download(info, tmp_path / "copy")
    assert failed.value.failure.reason is Reason.DIGEST_MISMATCH
    assert not (tmp_path / "copy").exists()


def test_a_download_that_is_given_up_leaves_no_file(store: FolderStore, tmp_path: Path) -> None:
    store.write("m", b"x")
    info = store.find("m")
    assert info is not None
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(GivenUpError):
        store.download(info, tmp_path / "copy", cancelled=given_up)
    assert not (tmp_path / "copy").exists()


def test_what_a_bucket_can_and_a_folder_cannot_is_said(store: FolderStore) -> None:
    store.write("m", b"x")
    for write in (lambda: store.write("m/a", b"x"), lambda: store.write_if_absent("m/a", b"x")):
        with pytest.raises(PhaseError, match="both a file and a folder"):
            write()
    store.write("n/a", b"x")
    with pytest.raises(PhaseError, match="both a file and a folder"):
        store.write("n", b"x")


def test_an_object_that_is_too_long_to_be_ours_is_not_read(store: FolderStore) -> None:
    store.write("m", b"xx")
    with pytest.raises(PhaseError, match="longer than 1 bytes"):
        store.read("m", 1)


def test_a_key_never_leads_out_of_the_folder(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with pytest.raises(PhaseError):
        store.find("../secret")
