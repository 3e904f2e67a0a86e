"""Which files of a folder of checkpoints are one whole state."""

from __future__ import annotations

import pytest
from tftrainer.publish.snapshots import whole
from tftrainer.publish.tree import LocalFile

NOW = 1_000.0
OLD, NEW = 900.0, 999.5


def files(**changed: float) -> dict[str, LocalFile]:
    names = {name.replace("__", "/").replace("_dot_", ".").replace("_dash_", "-"): at for name, at in changed.items()}
    return {name: LocalFile(name, 1, int(at * 1e9), hash(name)) for name, at in names.items()}


def tf(*steps: int, at: float = OLD) -> dict[str, LocalFile]:
    names = [f"ckpt-{step}.{end}" for step in steps for end in ("index", "data-00000-of-00001")]
    return {name: LocalFile(name, 1, int(at * 1e9), hash(name)) for name in names}


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
        (tf(2) | files(checkpoint=OLD) | {"ckpt-3.index": tf(3)["ckpt-3.index"]}, {"checkpoint", *tf(2)}, True),
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
