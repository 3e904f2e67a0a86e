"""Names that version-1 programs import from inside TensorFlow (`tensorflow.python.…`) and that 2.15 keeps in another module."""

from __future__ import annotations

from importlib import import_module

_NEW_PLACES = {
    "framework.ops": {
        "Tensor": "framework.tensor",
        "IndexedSlices": "framework.indexed_slices",
        "convert_to_tensor_or_indexed_slices": "framework.indexed_slices",
    },
    "framework.graph_util": {"convert_variables_to_constants": "framework.convert_to_constants"},
    "ops.array_ops": {"stack": "ops.array_ops_stack", "unstack": "ops.array_ops_stack"},
    "ops.control_flow_ops": {
        "Assert": "ops.control_flow_assert",
        "case": "ops.control_flow_case",
        "cond": "ops.cond",
        "while_loop": "ops.while_loop",
    },
    "pywrap_tensorflow": {"NewCheckpointReader": "training.py_checkpoint_reader"},
}


def put_back(package: str = "tensorflow.python") -> None:
    """Give each old module the names that it had; a name that it still has stays what it is.

    All modules concerned are part of `import tensorflow` itself, so nothing more is loaded.
    """
    for old, names in _NEW_PLACES.items():
        module = import_module(f"{package}.{old}")
        for name, new in names.items():
            if not hasattr(module, name):
                setattr(module, name, getattr(import_module(f"{package}.{new}"), name))
