"""Which of TensorFlow's checkpoints are whole, and which one a state file names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.checkpoints import tf_checkpoint

WHOLE = ("ckpt-4.index", "ckpt-4.data-00000-of-00001")


@pytest.mark.parametrize(
    ("files", "whole"),
    [
        (WHOLE, True),
        ((*WHOLE, "ckpt-4.meta"), True),
        (("m.ckpt-4.index", "m.ckpt-4.data-00000-of-00002", "m.ckpt-4.data-00001-of-00002"), True),
        (("sub/ckpt-4.index", "sub/ckpt-4.data-00000-of-00001"), True),
        (("ckpt-4.index", "ckpt-4.data-00000-of-00002"), False),
        (("ckpt-4.index", "ckpt-4.data-00000-of-00001", "ckpt-4.data-00000-of-00002"), False),
    ],
)
def test_a_checkpoint_is_whole_with_its_index_and_every_shard(files: tuple[str, ...], whole: bool) -> None:
    [found] = tf_checkpoint.checkpoints([*files, "checkpoint", "graph.pbtxt", "weights.h5"]).values()
    assert found.whole is whole


@pytest.mark.parametrize(
    "files",
    [
        ("faiss.index",),
        ("vocab.meta",),
        ("ckpt-4.data-00000-of-00001",),
        ("ckpt-4.index", "ckpt-4.meta"),
        ("ckpt-4.meta", "ckpt-4.data-00000-of-00001"),
        ("a/ckpt-4.index", "b/ckpt-4.data-00000-of-00001"),
    ],
)
def test_names_like_those_of_a_checkpoint_are_none_without_an_index_and_a_shard(files: tuple[str, ...]) -> None:
    assert tf_checkpoint.checkpoints(files) == {}


@pytest.mark.parametrize(
    ("text", "is_state"),
    [
        (b'model_checkpoint_path: "ckpt-4"\n', True),
        (b'model_checkpoint_path: "/elsewhere/ckpt-4"\n', True),
        (b'model_checkpoint_path: ""\n', False),
        (b"", False),
        (b"\x80\x04\x95pickled", False),
        (b"PK\x03\x04of PyTorch", False),
        (b'{"step": 4}', False),
        (b'model_checkpoint_path: "ckpt-4"\n' + b"#" * tf_checkpoint.STATE_LIMIT, False),
    ],
)
def test_a_file_named_checkpoint_is_a_state_file_only_if_it_names_a_checkpoint(text: bytes, is_state: bool) -> None:
    assert tf_checkpoint.is_state(text) is is_state


@pytest.mark.parametrize(
    ("state", "folder", "name"),
    [
        (b'model_checkpoint_path: "ckpt-4"\nall_model_checkpoint_paths: "ckpt-3"\n', "", "ckpt-4"),
        (b'model_checkpoint_path: "ckpt-4"\n', "runs/1", "runs/1/ckpt-4"),
        (b'model_checkpoint_path: "/workspace/bucket/ckpt/model.ckpt-400"\n', "", "model.ckpt-400"),
        (rb'model_checkpoint_path: "a \"b\" \\ \303\274"', "", 'a "b" \\ ü'),
        (b'model_checkpoint_path: "other/ckpt-4"\n', "", None),
        (b'all_model_checkpoint_paths: "ckpt-4"\n', "", None),
        (rb'model_checkpoint_path: "a\8"', "", "a8"),
        (b"", "", None),
        (b"\xff\x00not a state file", "", None),
    ],
)
def test_a_state_file_names_the_newest_checkpoint_of_its_own_folder(state: bytes, folder: str, name: str | None) -> None:
    assert tf_checkpoint.named_by(state, folder) == name


@given(st.text(st.characters(blacklist_characters="/\n\r\0", blacklist_categories=["Cs"]), min_size=1))
def test_a_state_file_that_is_written_names_what_it_was_given(name: str) -> None:
    assert tf_checkpoint.named_by(tf_checkpoint.state_of(name), "") == name


@given(st.binary())
def test_no_state_file_is_a_surprise(state: bytes) -> None:
    named = tf_checkpoint.named_by(state, "")
    assert named is None or "/" not in named


def test_the_newest_of_a_folder_is_the_whole_one_of_the_highest_step() -> None:
    files = [f"{name}.{end}" for name in ("ckpt-9", "ckpt-10", "sub/ckpt-99") for end in ("index", "data-00000-of-00001")]
    found = tf_checkpoint.checkpoints([*files, "ckpt-11.index"])
    newest = tf_checkpoint.newest(found, "")
    assert newest is not None
    assert newest.name == "ckpt-10"
    assert tf_checkpoint.newest(found, "elsewhere") is None


@pytest.mark.parametrize(
    ("path", "unfinished"),
    [
        ("ckpt-4_temp/part-00000-of-00001.index", True),
        ("sub/ckpt-4_temp/part-00000-of-00002.data-00001-of-00002.tempstate7", True),
        ("m_temp_0123456789abcdef0123456789abcdef/part-00000-of-00001.data-00000-of-00001", True),
        ("checkpoint.tmp0123456789abcdef0123456789abcdef", True),
        ("sub/checkpoint.tmp0123456789abcdef0123456789abcdef", True),
        ("checkpoint.tmp", False),
        ("model_temp/w.bin", False),
        ("a_temp", False),
        ("weights.tempstate1", False),
        ("cache.tmp0123456789abcdef0123456789abcdef", False),
        ("model.ckpt-4.data-00000-of-00001.tempstate123", True),
        ("model.ckpt-4.meta.tmp0123456789abcdef0123456789abcdef", True),
        ("ckpt-4.index", False),
        ("temperature.csv", False),
        ("best_temp.h5", False),
    ],
)
def test_a_file_that_tensorflow_will_rename_is_known_by_its_name(path: str, unfinished: bool) -> None:
    assert tf_checkpoint.is_unfinished(path) is unfinished
