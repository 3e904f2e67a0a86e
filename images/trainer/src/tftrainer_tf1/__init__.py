"""The `tf1` runtime: `import tensorflow` gives the version-1 API of TensorFlow 2.15, in every Python process of the image.

The image's site-packages import this package at the interpreter's start (`install` says how). It costs a list entry then, and
one comparison per import that is not in `sys.modules`; TensorFlow itself is imported by the script alone.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_NAMES = frozenset({"tensorflow", "keras", "tensorflow.contrib", "tensorflow.examples", "keras.src.saving.saving_api"})


class Finder:
    """Stands before Python's own finders and answers for the few names that mean something else here."""

    @staticmethod
    def find_spec(name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None) -> "ModuleSpec | None":  # noqa: ARG004
        """Find a module as `importlib` asks it of each entry of `sys.meta_path`."""
        if name not in _NAMES:
            return None
        from tftrainer_tf1 import alias

        return alias.find_spec(name, path)


if Finder not in sys.meta_path:
    sys.meta_path.insert(0, Finder)
