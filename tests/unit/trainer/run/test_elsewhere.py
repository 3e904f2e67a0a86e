"""Which files outside of the workspace a script is told of."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from tftrainer.layout import Layout
from tftrainer.messages.contract import FileElsewhere
from tftrainer.run import elsewhere

LONG_AGO = 0.0


def _mount(point: Path | str, options: str = "rw,relatime") -> str:
    return f"36 35 98:0 / {str(point).replace(' ', chr(92) + '040')} {options} - ext4 /dev/vda rw\n"


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("scratch", "with blank", "read-only", "home")}
    for each in found.values():
        each.mkdir()
    return found


def test_in_a_pod_writable_mounts_and_the_home_are_looked_at_and_neither_devices_nor_what_is_read_only(folders: dict[str, Path]) -> None:
    file = folders["scratch"].parent / "resolv.conf"
    file.touch()
    mounts = "".join(
        [
            _mount("/"),
            _mount("/proc"),
            _mount("/dev"),
            _mount("/dev/mqueue"),
            _mount("/dev/shm"),
            _mount("/sys/fs/cgroup"),
            _mount("/workspace"),
            _mount("/workspace/datasets"),
            _mount("/not/there"),
            _mount(file),
            _mount(folders["scratch"]),
            _mount(folders["with blank"]),
            _mount(folders["read-only"], "ro,relatime"),
        ]
    )
    environment = {"HOME": str(folders["home"]), "TMPDIR": "/workspace/code"}
    found = elsewhere.places(Layout(), environment, mounts)
    assert found == [Path("/dev/shm"), folders["scratch"], folders["with blank"], folders["home"]]


def test_a_home_in_a_folder_that_is_looked_at_anyway_is_not_looked_at_twice(folders: dict[str, Path]) -> None:
    inner = folders["scratch"] / "user"
    inner.mkdir()
    assert elsewhere.places(Layout(), {"HOME": str(inner), "TMPDIR": str(folders["scratch"])}, "") == [folders["scratch"]]


def test_outside_of_a_pod_only_folders_of_the_run_are_looked_at(tmp_path: Path, folders: dict[str, Path]) -> None:
    root = tmp_path / "root"
    (root / "tmp").mkdir(parents=True)
    layout = Layout(root)
    mounts = _mount(folders["scratch"]) + _mount("/dev/shm")
    assert elsewhere.places(layout, {"HOME": str(folders["home"]), "TMPDIR": "/tmp"}, mounts) == []
    assert elsewhere.places(layout, {"HOME": str(folders["home"]), "TMPDIR": str(root / "tmp")}, mounts) == [root / "tmp"]


def test_the_scripts_own_temporary_files_are_looked_at_though_they_lie_in_the_workspace(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.temporary.mkdir(parents=True)
    (layout.temporary / "model.h5").write_text("model")
    [found] = elsewhere.places(layout, {"TMPDIR": str(layout.temporary), "HOME": str(layout.code)}, "")
    assert [each.path for each in elsewhere.written([found], 0.0, {}).files] == [str(layout.temporary / "model.h5")]


def test_files_that_are_new_and_meant_are_found_the_largest_first(tmp_path: Path) -> None:
    (tmp_path / "old.h5").write_bytes(bytes(1000))
    before = (tmp_path / "old.h5").stat().st_ctime_ns
    while (tmp_path / "clock").write_text("x") and (tmp_path / "clock").stat().st_ctime_ns == before:
        pass
    since = (tmp_path / "clock").stat().st_ctime
    (tmp_path / "clock").unlink()
    for path, size in {
        "model.h5": 20,
        "export/1/saved_model.pb": 30,
        "copied.bin": 10,
        "empty.txt": 0,
        ".keras/keras.json": 10,
        ".hidden": 10,
        "code/__pycache__/x.pyc": 10,
        "matplotlib/fontlist.json": 10,
        "psm_0123abcd": 10,
        "__autograph_generated_fileab12.py": 10,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(bytes(size))
    os.utime(tmp_path / "copied.bin", (1, 1))
    (tmp_path / "link").symlink_to("model.h5")
    (tmp_path / "linked").symlink_to("/usr")
    os.mkfifo(tmp_path / "pipe")
    found = elsewhere.written([tmp_path], since, {"MPLCONFIGDIR": str(tmp_path / "matplotlib")})
    names = [f"{tmp_path}/{name}" for name in ("export/1/saved_model.pb", "model.h5", "copied.bin")]
    assert found.files == tuple(FileElsewhere(path=name, size=size) for name, size in zip(names, (30, 20, 10), strict=True))
    assert (found.count, found.bytes) == (3, 60)


def test_of_many_files_the_largest_are_named_and_all_are_counted(tmp_path: Path) -> None:
    for size in range(1, 101):
        (tmp_path / str(size)).write_bytes(bytes(size))
    found = elsewhere.written([tmp_path], LONG_AGO, {})
    assert (found.count, found.bytes) == (100, 5050)
    assert [each.size for each in found.files] == list(range(100, 84, -1))


def test_a_walk_ends_after_so_many_entries_or_so_much_time(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"folder-{number}").mkdir()
        (tmp_path / f"folder-{number}" / "file").write_text("x")
    assert elsewhere.written([tmp_path], LONG_AGO, {}, entries=60).count == 10
    ticks = itertools.count()
    assert elsewhere.written([tmp_path], LONG_AGO, {}, clock=lambda: float(next(ticks)), seconds=70).count == 20


def test_names_that_are_no_text_or_too_long_are_told_as_far_as_they_can_be(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 100] * 4)
    deep.mkdir(parents=True)
    (deep / "model.h5").write_text("xx")
    (tmp_path / os.fsdecode(b"a\xff\nb")).write_text("x")
    long, odd = elsewhere.written([tmp_path], LONG_AGO, {}).files
    assert (len(long.path), long.path[0], long.path[-10:]) == (256, "…", "d/model.h5")
    assert odd.path == f"{tmp_path}/a��b"


def test_a_walk_over_a_folder_that_is_removed_meanwhile_finds_what_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert elsewhere.written([tmp_path / "gone", tmp_path], LONG_AGO, {}).count == 1
