"""What is collected of a folder that user code has written, and by which names."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.local.workspace import remove
from tftrainer.messages.manifest import Skipped
from tftrainer.outputs import tree
from tftrainer.outputs.tree import LocalFile, Unreadable, open_file, walk
from tftrainer.outputs.upload import digest_all


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder `bucket` with a model, beside which a secret lies."""
    (tmp_path / "secret").write_text("canary")
    (tmp_path / "bucket-of-another").mkdir()
    (tmp_path / "bucket-of-another" / "file").write_text("canary")
    folder = tmp_path / "bucket"
    (folder / "m/1/deep").mkdir(parents=True)
    (folder / "m/1/w.bin").write_text("weights")
    (folder / "m/1/deep/er.txt").write_text("deeper")
    return folder


def collected(root: Path) -> dict[str, str]:
    """Return all that is not plain in the fixture: what would be uploaded, by its contents, or why not."""
    found = {}
    for each in walk(root, "team/"):
        if not isinstance(each, LocalFile):
            found[each.path] = each.reason
        elif each.path not in ("m/1/w.bin", "m/1/deep/er.txt"):
            with os.fdopen(open_file(root, each.source)) as file:
                found[each.path] = file.read()
                assert (each.size, each.inode) == (os.fstat(file.fileno()).st_size, os.fstat(file.fileno()).st_ino)
    return found


@pytest.mark.parametrize(
    "target",
    [
        "1/w.bin",
        "./1/../1/w.bin",
        "../m/1/w.bin",
        "{root}/m/1/w.bin",
        "{root}//m/./1/w.bin",
        "1/deep/../w.bin",
        "chain",
        "folder/w.bin",
        "folder/deep/../w.bin",
    ],
)
def test_a_link_to_a_file_of_the_folder_is_that_file_under_the_links_name(root: Path, target: str) -> None:
    (root / "m/folder").symlink_to("1")
    (root / "m/chain").symlink_to("step")
    (root / "m/step").symlink_to(root / "m/folder/w.bin")
    (root / "m/best.bin").symlink_to(target.format(root=root))
    assert collected(root)["m/best.bin"] == "weights"


def test_the_folder_may_be_named_by_a_path_that_holds_a_link_itself(root: Path) -> None:
    (root.parent / "other-name").symlink_to(root)
    (root / "real").symlink_to(root.resolve() / "m/1/w.bin")
    (root / "named").symlink_to(root.parent / "other-name/m/1/w.bin")
    found = {each.path: each for each in walk(root.parent / "other-name/m/..", "")}
    assert isinstance(found["real"], LocalFile)
    assert collected(root)["named"] == "a symbolic link that leads out of the folder, not followed"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/etc/passwd", "that leads out of the folder, not followed"),
        ("{root}", "to the folder ., whose files are uploaded under their own names"),
        ("{root}-of-another/file", "that leads out of the folder, not followed"),
        ("../../secret", "that leads out of the folder, not followed"),
        ("../../bucket/m/1/w.bin", "that leads out of the folder, not followed"),
        ("{root}/../secret", "that leads out of the folder, not followed"),
        ("out", "that leads out of the folder, not followed"),
        ("up/secret", "that leads out of the folder, not followed"),
        ("1", "to the folder m/1, whose files are uploaded under their own names"),
        (".", "to the folder m, whose files are uploaded under their own names"),
        ("1/deep/..", "to the folder m/1, whose files are uploaded under their own names"),
        ("nowhere", "to nothing"),
        ("1/w.bin/x", "to nothing"),
        ("1/w.bin/../w.bin", "to nothing"),
        ("link", "that leads in a circle"),
        ("circle/x", "that leads in a circle"),
        ("pipe", "to a pipe, not followed"),
        ("/proc/self/root/etc/passwd", "that leads out of the folder, not followed"),
    ],
)
def test_any_other_link_is_listed_with_where_it_leads(root: Path, target: str, reason: str) -> None:
    os.mkfifo(root / "m/pipe")
    (root / "m/out").symlink_to(root.parent / "secret")
    (root / "m/up").symlink_to("../..")
    (root / "m/circle").symlink_to("circle")
    (root / "m/link").symlink_to(target.format(root=root))
    found = collected(root)
    assert found["m/link"] == f"a symbolic link {reason}"
    assert "canary" not in found.values()


def test_a_folder_on_the_way_that_becomes_a_link_is_not_followed_any_more(root: Path) -> None:
    (root / "best.bin").symlink_to("m/1/w.bin")
    [link] = [each for each in walk(root, "") if isinstance(each, LocalFile) and each.path == "best.bin"]
    (root / "m/1").rename(root.parent / "elsewhere")
    (root / "m/1").symlink_to(root.parent / "elsewhere")
    with pytest.raises(OSError, match=r"1"):
        open_file(root, link.source)


def test_sockets_and_pipes_are_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A socket's path is a hundred characters at most.
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        os.mkfifo("pipe")
        assert collected(root) == {"socket": "a socket, not followed", "pipe": "a pipe, not followed"}


def test_what_holds_data_of_its_own_is_told_from_what_only_leads_to_some(root: Path) -> None:
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "m/.tftraining")
    (root / "link").symlink_to("nowhere")
    (root / "m\\link").symlink_to("m/1/w.bin")
    (root / os.fsdecode(b"link-\xff")).symlink_to("m/1/w.bin")
    (root / "m\\w.bin").write_text("weights")
    (root / os.fsdecode(b"w-\xff")).write_text("weights")
    (root / ".tftraining").mkdir()
    (root / "m/1/.tftraining").write_text("x")
    skipped = [each for each in walk(root, "") if isinstance(each, Skipped)]
    assert {each.path for each in skipped if each.data} == {"m\\w.bin", "w-\ufffd", ".tftraining", "m/1/.tftraining"}
    assert {each.path for each in skipped if not each.data} == {"pipe", "m/.tftraining", "link", "m\\link", "link-\ufffd"}


def test_a_folder_that_cannot_be_read_is_told_and_not_skipped(root: Path) -> None:
    [found] = walk(root, "", "gone")
    assert found == Unreadable("gone", "No such file or directory")


@pytest.mark.thorough
def test_thousands_of_folders_one_inside_the_other_are_skipped_as_one_and_in_linear_time(root: Path) -> None:
    def looked_at(depth: int) -> tuple[list[LocalFile | Skipped | Unreadable], float]:
        folder = root / f"deep-{depth}"
        nested(folder, depth)
        began = time.process_time()
        found = list(walk(root, "team/", folder.name))
        spent = time.process_time() - began
        remove(folder)
        return found, spent

    for depth in (3_000, 30_000):
        found, spent = looked_at(depth)
        [told] = [each for each in found if isinstance(each, Skipped)]
        assert len(found) == 1
        assert told.data
        assert told.reason == "a folder whose files can have no key: its path is over 1,024 bytes"
        assert spent < 5


def test_the_deepest_folder_that_can_hold_an_object_is_looked_into(root: Path) -> None:
    top = root / "d"
    nested(top, 400)
    path = "d/" + "d/" * 400
    name = "n" * (1024 - len(path) - len("team/"))
    folder = os.open(root / path, os.O_RDONLY)
    os.close(os.open(name, os.O_CREAT, dir_fd=folder))
    os.mkdir("f" * (len(name)), dir_fd=folder)
    os.close(folder)
    found = list(walk(root, "team/", "d"))
    assert [(type(each), each.path) for each in found] == [(LocalFile, path + name), (Skipped, path + "f" * len(name))]


def nested(top: Path, depth: int) -> None:
    """Make folders one inside the other, each named `d`; no path is as long as they are deep."""
    top.mkdir()
    at = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


def test_a_name_with_a_backslash_is_listed_as_it_could_take_the_place_of_another(root: Path) -> None:
    (root / "m\\1\\w.bin").write_text("other weights")
    (root / "m\\link").symlink_to("m/1/w.bin")
    (root / "fol\\der").mkdir()
    (root / "fol\\der/file").write_text("x")
    assert set(collected(root).values()) == {"the name holds a backslash, which a store may take for a slash"}
    assert len(collected(root)) == 3


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=40) | st.sampled_from(
    ["..", ".", "...", " ", "a\\b", "%2e%2e", "..\\..", "\\..", "?versionId=", "#", ".tftraining", "CON", "a:b"]
)


@given(names=st.lists(NAMES, min_size=1, max_size=6), prefix=st.sampled_from(["", "team/", "team/a b/"]))
def test_the_key_of_what_is_collected_is_below_the_prefix_and_has_no_step_back(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], prefix: str
) -> None:
    root = tmp_path_factory.mktemp("root")
    folder = root
    for name in names[:-1]:
        made = folder / name
        if name not in (".", "..") and len(os.fsencode(name)) <= 255:
            made.mkdir()
            folder = made
    last = names[-1] if names[-1] not in (".", "..") and len(os.fsencode(names[-1])) <= 255 else "file"
    (folder / last).write_text("x")
    files = [each for each in walk(root, prefix) if isinstance(each, LocalFile)]
    for each in digest_all(root, prefix, files):
        assert each.key.startswith(prefix)
        assert not {"", ".", "..", tree.RESERVED} & set(each.key.replace("\\", "/").split("/"))
