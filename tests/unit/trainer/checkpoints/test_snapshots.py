"""Which files of a folder of checkpoints are one whole state, and that it is taken at one moment."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tftrainer.checkpoints import saved
from tftrainer.checkpoints.form import Form
from tftrainer.checkpoints.snapshots import Snapshots, whole
from tftrainer.messages import manifest
from tftrainer.messages.contract import Plan, Script, WantedCheckpoints
from tftrainer.outputs.tree import LocalFile
from tftrainer.storage.folder import FolderStore
from tftrainer.storage.store import ObjectInfo

NOW = 1_000.0
OLD, NEW = 900.0, 999.5


def files(**changed: float) -> dict[str, LocalFile]:
    names = {name.replace("__", "/").replace("_dot_", ".").replace("_dash_", "-"): at for name, at in changed.items()}
    return {name: LocalFile(name, 1, int(at * 1e9), hash(name), ctime_ns=int(at * 1e9)) for name, at in names.items()}


def tf(*steps: int, at: float = OLD) -> dict[str, LocalFile]:
    names = [f"ckpt-{step}.{end}" for step in steps for end in ("index", "data-00000-of-00001")]
    return {name: LocalFile(name, 1, int(at * 1e9), hash(name), ctime_ns=int(at * 1e9)) for name in names}


def shard_of(step: int, at: float = OLD) -> dict[str, LocalFile]:
    return {name: file for name, file in tf(step, at=at).items() if not name.endswith(".index")}


def state(path: str) -> bytes:
    del path
    return b'model_checkpoint_path: "ckpt-2"\n'


@pytest.mark.parametrize(
    ("found", "chosen", "quiet"),
    [
        ({}, set(), True),
        (files(weights_dot_h5=OLD), {"weights.h5"}, True),
        (files(weights_dot_h5=NEW), set(), False),
        (files(weights_dot_h5=OLD, metadata_dot_json=NEW), set(), False),
        (files(weights_dot_h5=OLD, metadata_dot_json=OLD), {"weights.h5", "metadata.json"}, True),
        # A TensorFlow checkpoint is whole by its names, however new.
        (tf(2, at=NEW) | files(checkpoint=NEW), {"checkpoint", *tf(2)}, True),
        (tf(1, 2) | files(checkpoint=NEW), {"checkpoint", *tf(1, 2)}, True),
        # The state file names one that is not there yet, or not whole.
        (tf(1) | files(checkpoint=NEW), set(), False),
        (tf(1) | files(checkpoint=NEW) | {"ckpt-2.index": tf(2)["ckpt-2.index"]}, set(), False),
        # The next one is being written: it is left out.
        (tf(2) | files(checkpoint=OLD) | shard_of(3, at=NEW), {"checkpoint", *tf(2)}, False),
        (tf(2) | files(checkpoint=OLD, vocab_dot_txt=OLD) | shard_of(3, at=NEW), {"checkpoint", "vocab.txt", *tf(2)}, False),
        # What only looks like a part of a checkpoint is a file like others.
        (tf(2) | files(checkpoint=OLD, faiss_dot_index=OLD, vocab_dot_meta=OLD), {"checkpoint", "faiss.index", "vocab.meta", *tf(2)}, True),
        (tf(2) | files(checkpoint=OLD) | shard_of(3, at=OLD), {"checkpoint", *tf(2), *shard_of(3)}, True),
        # A log that grows all the time does not keep the checkpoint from being saved.
        (tf(2) | files(checkpoint=OLD, history_dot_csv=NEW), {"checkpoint", *tf(2)}, False),
        # Weights in TensorFlow's format without a state file are files like others.
        (tf(2), set(tf(2)), True),
        (tf(2, at=NEW), set(), False),
    ],
)
def test_a_state_is_whole_by_the_rules_of_its_files(found: dict[str, LocalFile], chosen: set[str], quiet: bool) -> None:
    result = whole(found, state, NOW - 2)
    assert (set(result.files), result.quiet) == (chosen, quiet)


def test_a_file_named_checkpoint_of_another_library_is_a_file_like_others() -> None:
    found = files(checkpoint=OLD, step=OLD)
    result = whole(found, lambda _: b"\x80\x04pickled", NOW - 2)
    assert (set(result.files), result.quiet) == ({"checkpoint", "step"}, True)


def test_what_is_whole_by_its_form_counts_however_new_and_what_is_torn_never() -> None:
    found = files(latest_dot_weights_dot_h5=NEW, training_metadata_dot_json=NEW)
    result = whole(found, state, NOW - 2, lambda _: Form.WHOLE)
    assert (set(result.files), result.quiet, result.rewritten) == (set(found), True, set(found))
    for quiet_before in (NOW - 2, math.inf):
        torn = whole(found, state, quiet_before, lambda path: Form.TORN if path.endswith(".h5") else Form.WHOLE)
        assert (torn.files, torn.quiet, torn.late, torn.torn) == ({}, False, "latest.weights.h5", True)


class Overtaken(FolderStore):
    """A store that is so slow to tell of successors that the script has written its file once more before it does."""

    def __init__(self, root: Path, file: Path) -> None:
        super().__init__(root, "b")
        self.file = file

    def find(self, key: str) -> ObjectInfo | None:
        self._script_saves(key)
        return super().find(key)

    def read(self, key: str, limit: int) -> bytes | None:
        self._script_saves(key)
        return super().read(key, limit)

    def _script_saves(self, key: str) -> None:
        if key.endswith(manifest.ATTEMPT_NAME):
            self.file.write_text('{"epoch": 2}')


def test_what_is_rewritten_while_the_store_tells_of_successors_is_saved_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "workspace/bucket/m/state.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"epoch": 1}')
    (tmp_path / "store").mkdir()
    store = Overtaken(tmp_path / "store", file)
    plan = Plan(namespace="n", job="j", uid="u", runtime="tf2", script=Script(name="t.py"))
    said: list[str] = []
    snapshots = Snapshots(plan, WantedCheckpoints("${bucket}/m"), tmp_path / "workspace/bucket", lambda: store, (), {}, said.append)
    snapshots._look()
    assert said != []
    assert store.read("m/state.json", 100) is not None
    assert snapshots.saved_words.startswith("1 file")
    assert saved.decode(store.read(f"m/{saved.INDEX_NAME}", saved.LIMIT) or b"") is not None
