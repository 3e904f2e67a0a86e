"""What TensorFlow 1 had and TensorFlow 2.15 no longer has in any form, and what takes its place."""

from __future__ import annotations

import linecache
import re

PACKAGES = frozenset({"tensorflow.contrib", "tensorflow.examples"})
NAMES = frozenset({"contrib", "examples"})

_GONE = "was removed from TensorFlow with version 2"
_CONTRIB = {
    "crf": "`tfa.text.crf_log_likelihood` of the package tensorflow-addons",
    "cudnn_rnn": "`tf.keras.layers.CuDNNLSTM` or `tf.nn.rnn_cell.LSTMCell`",
    "data": "`tf.data.experimental`",
    "distribute": "`tf.distribute`",
    "eager": "`tf.enable_eager_execution` and `tf.GradientTape`",
    "estimator": "`tf.estimator`",
    "factorization": "`tf.estimator.experimental.KMeans`",
    "feature_column": "`tf.feature_column`",
    "framework": "`tf.train` (`tf.train.get_or_create_global_step`, `tf.train.list_variables`) and `tf.get_variable`",
    "image": "`tf.image`",
    "layers": "`tf.layers` (`fully_connected` is `tf.layers.dense`) and `tf.glorot_uniform_initializer` for `xavier_initializer`",
    "learn": "`tf.estimator`",
    "lite": "`tf.lite`",
    "lookup": "`tf.lookup`",
    "losses": "`tf.losses`",
    "metrics": "`tf.metrics`",
    "opt": "`tf.train` (`tf.train.AdamOptimizer`, …)",
    "predictor": "`tf.saved_model.load` or `tf.saved_model.loader.load`",
    "rnn": "`tf.nn.rnn_cell` and `tf.nn.dynamic_rnn`",
    "saved_model": "`tf.saved_model`",
    "seq2seq": "`tfa.seq2seq` of the package tensorflow-addons",
    "slim": "the package tf-slim (`import tf_slim as slim`)",
    "summary": "`tf.summary` or `tf.compat.v2.summary`",
    "tensorboard": "`tensorboard.plugins.projector`",
    "tensorrt": "`tf.experimental.tensorrt`",
    "tpu": "`tf.tpu` and `tf.estimator.tpu`",
    "training": "`tf.train`; for `HParams`, `argparse.Namespace` or a dataclass",
}
_CONTRIB_IN_GENERAL = "the function of the same purpose in `tf`, or a package of its own in spec.dependencies.archive"
_EXAMPLES = "`tf.keras.datasets` (`tf.keras.datasets.mnist.load_data(path)`), or your own copy of the module in spec.dependencies.archive"


def package_message(name: str, line: str) -> str:
    """Return what the import of a removed package is told, given the line of source that imports.

    Examples:
        >>> package_message("tensorflow.contrib", "import tensorflow.contrib.slim as slim").partition(";")[0]
        'tensorflow.contrib.slim was removed from TensorFlow with version 2'
    """
    short = name.rpartition(".")[2]
    found = re.search(rf"\b{short}((?:\.\w+)*)(?:\s+import\s+(\w+))?", line)
    path = [part for part in f"{found[1]}.{found[2] or ''}".split(".") if part] if found else []
    return _message(name, path)


def attribute_message(name: str, line: str) -> str:
    """Return what `tf.<name>` is told, given the line of source that asks for it.

    Examples:
        >>> attribute_message("contrib", "cell = tf.contrib.rnn.BasicLSTMCell(8)")
        'tf.contrib.rnn.BasicLSTMCell was removed from TensorFlow with version 2; use `tf.nn.rnn_cell` and `tf.nn.dynamic_rnn` instead'
    """
    found = re.search(rf"\b{name}((?:\s*\.\s*\w+)+)", line)
    return _message(f"tf.{name}", re.sub(r"\s", "", found[1]).split(".")[1:] if found else [])


def _message(root: str, path: list[str]) -> str:
    successor = _CONTRIB.get(path[0], _CONTRIB_IN_GENERAL) if path else _CONTRIB_IN_GENERAL
    return f"{'.'.join([root, *path])} {_GONE}; use {_EXAMPLES if root.endswith('examples') else successor} instead"


def source_line(file: str, line: int) -> str:
    """Return a line of a source file, empty if it cannot be read."""
    return linecache.getline(file, line)
