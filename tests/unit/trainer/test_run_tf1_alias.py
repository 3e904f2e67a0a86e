"""The parts of the `tf1` alias that need no TensorFlow."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from tftrainer_tf1 import install, moved, removed


@pytest.mark.parametrize(
    ("line", "symbol", "successor"),
    [
        ("w = tf.contrib.layers.fully_connected(x, 3)", "tf.contrib.layers.fully_connected", "tf.layers.dense"),
        ("cell = tf . contrib . rnn . LSTMCell(3)", "tf.contrib.rnn.LSTMCell", "tf.nn.rnn_cell"),
        ("hparams = tf.contrib.training.HParams(a=1)", "tf.contrib.training.HParams", "argparse.Namespace"),
        ("x = getattr(tf, 'contrib')", "tf.contrib", "spec.dependencies.archive"),
        ("", "tf.contrib", "spec.dependencies.archive"),
    ],
)
def test_a_removed_symbol_is_told_by_name_with_its_successor(line: str, symbol: str, successor: str) -> None:
    message = removed.attribute_message("contrib", line)
    assert message.startswith(f"{symbol} was removed")
    assert successor in message


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("import tensorflow.contrib.slim as slim", "tensorflow.contrib.slim"),
        ("from tensorflow.contrib import slim", "tensorflow.contrib.slim"),
        ("from tensorflow.contrib.slim import nets", "tensorflow.contrib.slim.nets"),
        ("from tensorflow import contrib", "tensorflow.contrib"),
    ],
)
def test_a_removed_package_is_told_by_what_was_imported(line: str, name: str) -> None:
    assert removed.package_message("tensorflow.contrib", line).startswith(f"{name} was removed")


def test_the_finder_is_cheap_and_imports_nothing_of_tensorflow() -> None:
    probe = (
        "import sys, tftrainer_tf1; before = set(sys.modules); import json, email.message, xml.dom\n"
        "assert not [m for m in sys.modules if m.startswith(('tensorflow', 'tftrainer_tf1.'))]\n"
        "import tftrainer_tf1; assert sys.meta_path.count(tftrainer_tf1.Finder) == 1"
    )
    subprocess.run([sys.executable, "-c", probe], check=True)


def test_a_users_own_module_called_tensorflow_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("OWN = True\n")
    (tmp_path / "keras.py").write_text("OWN = True\n")
    probe = "import tftrainer_tf1, tensorflow, keras; assert tensorflow.OWN and keras.OWN"
    subprocess.run([sys.executable, "-c", probe], check=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})


def test_libraries_are_adapted_without_writing_into_linked_files(tmp_path: Path) -> None:
    library = tmp_path / "site" / "tensorflow_estimator"
    library.mkdir(parents=True)
    (tmp_path / "cached.py").write_text("import os\nimport tensorflow as tf\nif 1:\n    import tensorflow\nimport tensorflow.python\n")
    (library / "a.py").hardlink_to(tmp_path / "cached.py")
    (library / "b.py").write_text("import numpy\n")
    assert install.install(tmp_path / "site") == 1
    assert (library / "a.py").read_text().splitlines()[1:] == [
        "import tensorflow.compat.v2 as tf",
        "if 1:",
        "    import tensorflow.compat.v2 as tensorflow",
        "import tensorflow.python",
    ]
    assert "import tensorflow as tf" in (tmp_path / "cached.py").read_text()
    assert install.install(tmp_path / "site") == 0


def test_a_moved_name_is_put_back_where_programs_import_it_and_a_present_one_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for old, names in moved._NEW_PLACES.items():
        for module in (old, *names.values()):
            path = (tmp_path / "inner" / module.replace(".", "/")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{name} = {module!r}\n" for name, new in names.items() if new == module))
    (tmp_path / "inner/framework/ops.py").write_text("Tensor = 'kept'\n")
    monkeypatch.syspath_prepend(tmp_path)
    moved.put_back("inner")
    ops = importlib.import_module("inner.framework.ops")
    assert (ops.Tensor, ops.IndexedSlices) == ("kept", "framework.indexed_slices")
    assert importlib.import_module("inner.ops.control_flow_ops").while_loop == "ops.while_loop"
