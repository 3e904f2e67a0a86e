"""Files of weights whose names end with `.weights.h5`, which in TensorFlow 1 is a name like any other.

Keras 2.15 takes the name for the format of Keras 3. That needs eager execution: in graph mode it cannot be written, and reading it
leaves the model's weights as they are without a word.
"""

from __future__ import annotations

import os
import zipfile
from importlib import import_module
from typing import Any

MODULE = "keras.src.saving.saving_api"
"""All ways to save and load weights go through this module: methods of models, callbacks, `tf.keras` and `keras`."""
_NAME = ".weights.h5"


def put_back(saving_api: Any) -> None:
    """Have the module write such names as Keras did in TensorFlow 1 wherever it would fail, and read files by what they hold.

    A Keras of another version, which a job may bring along, is left as it is.
    """
    older = getattr(saving_api, "legacy_sm_saving_lib", None)
    if older is None:
        return
    newer_save, newer_load, tensorflow = saving_api.save_weights, saving_api.load_weights, saving_api.tf

    def save_weights(model: Any, filepath: Any, overwrite: bool = True, **options: Any) -> Any:
        graph_mode = str(filepath).endswith(_NAME) and not tensorflow.executing_eagerly()
        return (older.save_weights if graph_mode else newer_save)(model, filepath, overwrite=overwrite, **options)

    def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False, **options: Any) -> Any:
        newer = _is_newer(filepath)
        if newer and not tensorflow.executing_eagerly():
            raise ValueError(
                f"{filepath} holds weights in the format of Keras 3, which cannot be loaded in graph mode: "
                "call tf.enable_eager_execution() first, or choose spec.runtime tf2"
            )
        by_content = newer_load if newer or not str(filepath).endswith(_NAME) else older.load_weights
        return by_content(model, filepath, skip_mismatch=skip_mismatch, **options)

    saving_api.save_weights, saving_api.load_weights = save_weights, load_weights


def _is_newer(filepath: Any) -> bool:
    """Whether the file is one of those that Keras 2.15 reads by its newer format, and is of that format."""
    name = str(filepath)
    if not name.endswith((_NAME, ".keras")) or not os.path.isfile(name):  # noqa: PTH113 - what is no path has to be answered too
        return False
    if name.endswith(".keras"):
        return zipfile.is_zipfile(name)
    h5py: Any = import_module("h5py")
    if not h5py.is_hdf5(name):
        return False
    with h5py.File(name, "r") as file:
        return "layer_names" not in file.attrs and "model_weights" not in file
