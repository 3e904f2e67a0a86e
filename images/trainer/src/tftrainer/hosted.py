"""`/opt/ml`, where scripts of one hosted platform have their data and their model: in the image a link into the workspace.

What is written through it lies in the bucket's folder itself, so it is published as if it had been written there.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tftrainer.layout import Layout

FOLDER: Final = "/opt/ml"
_VARIABLES: Final = {"model": "SM_MODEL_DIR", "output/data": "SM_OUTPUT_DATA_DIR", "checkpoints": "AIP_CHECKPOINT_DIR"}
"""The variables that name the same places."""
FOLDERS: Final = frozenset({*_VARIABLES, "input/data", "code"})
_NAMED: Final = re.compile(rf"{FOLDER}/({'|'.join(sorted(FOLDERS))})(?![\w-]|\.\w)".encode())


def named(text: bytes) -> frozenset[str]:
    """Return which of the `FOLDERS` a text names, each by its whole path: another would be in the way of a script that makes it."""
    return frozenset(each.decode() for each in _NAMED.findall(text)) if FOLDER.encode() in text else frozenset()


def make(layout: Layout, variables: Mapping[str, str], folders: Iterable[str]) -> None:
    """Make links for some of the `FOLDERS`, and what they lead to: the places that the platform's `variables` name.

    Code that names a folder takes it for granted. Empty folders leave no trace in the bucket.
    """
    targets = {name: Path(variables[variable]) for name, variable in _VARIABLES.items() if variable in variables}
    targets |= {"input/data": layout.inputs, "code": layout.code}
    for name in targets.keys() & set(folders):
        link = layout.hosted / name
        # Where an object of the job lies, no folder can be; a link of an earlier try stays.
        with contextlib.suppress(OSError):
            targets[name].mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(targets[name])
