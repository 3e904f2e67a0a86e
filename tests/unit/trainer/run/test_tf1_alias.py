"""The parts of the `tf1` alias that need no TensorFlow."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest
from tftrainer_tf1 import install, moved, removed, weights


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


class Hdf5:
    """As much of a file of weights as `h5py` would tell: the older format has an attribute."""

    def __init__(self, path: str, mode: str) -> None:
        text = Path(path).read_text()
        self.attrs = {"layer_names": []} if text == "older" else {}
        self.groups = {"model_weights": []} if text == "model" else {}

    def __enter__(self) -> Hdf5:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __contains__(self, name: str) -> bool:
        return name in self.groups


@pytest.fixture
def saving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Keras's module for weights, whose functions return their format and what they were called with."""
    h5py = types.SimpleNamespace(is_hdf5=lambda path: Path(path).read_text() != "none", File=Hdf5)
    monkeypatch.setitem(sys.modules, "h5py", h5py)  # type: ignore[arg-type]
    for content in ("older", "newer", "model", "none"):
        (tmp_path / f"{content}.weights.h5").write_text(content)
    with zipfile.ZipFile(tmp_path / "zip.keras", "w"):
        pass
    (tmp_path / "h5.keras").write_text("older")

    def told(kind: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(
            save_weights=lambda model, path, overwrite=True, **rest: (kind, model, path, overwrite, rest),
            load_weights=lambda model, path, skip_mismatch=False, **rest: (kind, model, path, skip_mismatch, rest),
        )

    found = told("newer")
    found.legacy_sm_saving_lib = told("older")
    found.eager = False
    found.tf = types.SimpleNamespace(executing_eagerly=lambda: found.eager)
    weights.put_back(found)
    return found


@pytest.mark.parametrize(
    ("name", "eager", "kind"),
    [("a.weights.h5", False, "older"), ("a.weights.h5", True, "newer"), ("a.h5", False, "newer"), ("a.weights.h5.index", False, "newer")],
)
def test_weights_are_saved_as_version_1_does_where_the_newer_format_would_fail(
    saving: types.SimpleNamespace, name: str, eager: bool, kind: str
) -> None:
    saving.eager = eager
    assert saving.save_weights("m", Path(name), save_format="h5") == (kind, "m", Path(name), True, {"save_format": "h5"})
    assert saving.save_weights("m", name, False) == (kind, "m", name, False, {})


@pytest.mark.parametrize(
    ("name", "eager", "kind"),
    [
        ("older.weights.h5", False, "older"),
        ("older.weights.h5", True, "older"),
        ("model.weights.h5", False, "older"),
        ("none.weights.h5", False, "older"),
        ("missing.weights.h5", False, "older"),
        ("newer.weights.h5", True, "newer"),
        ("newer.weights.h5", False, ""),
        ("zip.keras", True, "newer"),
        ("zip.keras", False, ""),
        ("h5.keras", False, "newer"),
        ("a.h5", False, "newer"),
    ],
)
def test_weights_are_loaded_by_what_the_file_holds_and_refused_where_nothing_would_be_loaded(
    saving: types.SimpleNamespace, tmp_path: Path, name: str, eager: bool, kind: str
) -> None:
    saving.eager = eager
    path = tmp_path / name
    if kind:
        assert saving.load_weights("m", path, True, by_name=True) == (kind, "m", path, True, {"by_name": True})
    else:
        with pytest.raises(ValueError, match="enable_eager_execution"):
            saving.load_weights("m", path)


def test_a_keras_of_another_version_is_left_as_it_is() -> None:
    theirs = types.SimpleNamespace(save_weights=print, load_weights=repr)
    weights.put_back(theirs)
    assert (theirs.save_weights, theirs.load_weights) == (print, repr)


def test_the_module_that_saves_weights_is_adapted_when_it_is_first_imported(tmp_path: Path) -> None:
    folder = tmp_path / "keras" / "src" / "saving"
    folder.mkdir(parents=True)
    (folder / "saving_api.py").write_text("save_weights = load_weights = legacy_sm_saving_lib = tf = print\n")
    probe = (
        "import sys, tftrainer_tf1; assert 'tftrainer_tf1.weights' not in sys.modules\n"
        "from keras.src.saving import saving_api; assert saving_api.save_weights.__module__ == 'tftrainer_tf1.weights'"
    )
    subprocess.run([sys.executable, "-c", probe], check=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
