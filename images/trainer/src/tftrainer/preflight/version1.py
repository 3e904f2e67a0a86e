"""Names of TensorFlow 1 that the TensorFlow 2 of an image has no more, by the lists of names that it brings itself."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Final

_REMOVED: Final = frozenset({"contrib", "examples"})
_LEFT_LATER: Final = frozenset({"estimator"})
_NAME: Final = re.compile(r"(?:\bimport |\bas |['\"])(\w+)")
_LISTS: Final = ("_api", "v2")
_LISTS_OF_1: Final = ("_api", "v2", "compat", "v1")


def is_gone(package: Path, dotted: str) -> bool:
    """Whether a name such as `tensorflow.Session` was one of version 1, and is none of the TensorFlow in the folder `package`.

    What `tensorflow/__init__.py` mentions in any way that may define a name counts as one it has.
    """
    parts = re.sub(r"^tensorflow\.(compat\.v1\.)?", "", dotted).split(".")
    if not dotted.startswith("tensorflow.") or not _names(package / "__init__.py"):
        return False
    if parts[0] in _REMOVED | _LEFT_LATER:
        return not (package / parts[0]).exists() and parts[0] not in _names(package / "__init__.py")
    if ".compat." in f"{dotted}.":
        return False
    for number, part in enumerate(parts):
        folder = package.joinpath(*(_LISTS if number else ()), *parts[:number])
        here, before = _names(folder / "__init__.py"), _names(package.joinpath(*_LISTS_OF_1, *parts[:number], "__init__.py"))
        if not here or part.startswith("_"):
            return False
        if part not in here:
            return part in before
    return False


@functools.cache
def _names(file: Path) -> frozenset[str]:
    try:
        return frozenset(_NAME.findall(file.read_text("utf-8", "replace")))
    except OSError:
        return frozenset()
