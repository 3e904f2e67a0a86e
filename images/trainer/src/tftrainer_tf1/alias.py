"""What `tensorflow` and `keras` mean in the `tf1` runtime."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from tftrainer_tf1 import moved, removed, weights


def find_spec(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Find `tensorflow`, `keras` or a part of it as version 1 has it; None leaves another package of that name to Python.

    Raises:
        ModuleNotFoundError: the name was removed from TensorFlow for good. The text says what takes its place.

    """
    if name in removed.PACKAGES:
        # Without `name`: with it, `from tensorflow import …` would swallow the error and its text.
        raise ModuleNotFoundError(removed.package_message(name, _importing_line()))
    spec = PathFinder.find_spec(name, path)
    if spec is None or spec.origin is None or not isinstance(spec.loader, SourceFileLoader):
        return spec
    folder = Path(spec.origin).parent
    if name == weights.MODULE:
        spec.loader = _WeightsLoader(spec.loader.name, spec.loader.path)
    elif name == "keras":
        version_1 = folder / "api" / "_v1" / "keras"
        if version_1.is_dir() and spec.submodule_search_locations is not None:
            spec.submodule_search_locations.insert(0, str(version_1))
    elif (folder / "_api" / "v2" / "compat" / "v1").is_dir():
        spec.loader = _Loader(spec.loader.name, spec.loader.path)
    return spec


class _Loader(SourceFileLoader):
    """Loads TensorFlow as it is, then leaves the version-1 module in its place."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        sys.modules[module.__name__] = VersionOne(module)


class _WeightsLoader(SourceFileLoader):
    """Loads the module by which Keras saves and loads weights."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        weights.put_back(module)


class VersionOne(ModuleType):
    """The module `tensorflow`: the names of `tensorflow.compat.v1`, with the behaviour of version 1.

    TensorFlow's own packages go on using the modules by which they know each other (`tensorflow.compat.v2`,
    `tensorflow.python`, …); these are the same objects below this module as below the real one.
    """

    def __init__(self, real: ModuleType) -> None:
        super().__init__(real.__name__, real.__doc__)
        version_1 = real.compat.v1
        _switch_behaviour(version_1)
        moved.put_back()
        public = {name: getattr(version_1, name) for name in dir(version_1) if not name.startswith("_")}
        self.__dict__.update(public)
        self.__dict__.update({name: value for name, value in vars(real).items() if name.startswith("__") and name != "__all__"})
        # One `compat` for all, so that its `v2` is the module that Keras and the Estimators hold.
        self.compat = real.compat
        self.__all__ = sorted(public)
        # `from tensorflow.train import …` must find version 1 too, hence its folders first; the real ones hold `python` and `core`.
        self.__path__ = [*version_1.__path__, *(folder for folder in real.__path__ if "keras" not in Path(folder).parts)]

    def __getattr__(self, name: str) -> Any:
        module = sys.modules.get(f"{self.__name__}.{name}")
        if module is not None:
            return module
        if name in removed.NAMES:
            caller = sys._getframe(1)  # noqa: SLF001 - the only way to the line that asks
            message = removed.attribute_message(name, removed.source_line(caller.f_code.co_filename, caller.f_lineno))
        elif not name.startswith("_") and hasattr(self.compat.v2, name):
            message = f"module 'tensorflow' has no attribute '{name}': it belongs to the version-2 API, use tf.compat.v2.{name}"
        else:
            message = f"module 'tensorflow' has no attribute '{name}'"
        raise AttributeError(message, name=name, obj=self)

    def __dir__(self) -> list[str]:
        return sorted(self.__dict__)

    def __repr__(self) -> str:
        return f"<module 'tensorflow' (version-1 API) from {self.__file__!r}>"


def _importing_line() -> str:
    frame = sys._getframe(1)  # noqa: SLF001 - the only way to the line that imports
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in {"importlib", __package__}:
        frame = frame.f_back
    return removed.source_line(frame.f_code.co_filename, frame.f_lineno)


def _switch_behaviour(version_1: Any) -> None:
    deprecation: Any = import_module("tensorflow.python.util.deprecation")
    with deprecation.silence():
        version_1.disable_v2_behavior()
    # Who chose this runtime need not be told in every second line that version 2 would do it differently.
    deprecation._PRINT_DEPRECATION_WARNINGS = False  # noqa: SLF001 - the variable behind the switch
    # absl's logging came to define flags of its own, such as `log_dir`, after many programs had done so.
    for flag in import_module("absl.flags").FLAGS.flags_by_module_dict().get("absl.logging", []):
        flag.allow_override = True
    # Read by processes that this one starts, and by packages that ask which behaviour is meant.
    os.environ["TF2_BEHAVIOR"] = "0"
