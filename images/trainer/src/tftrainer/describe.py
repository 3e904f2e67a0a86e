"""`python -m tftrainer describe [--json]`: what this runtime holds, read from its packages' metadata; TensorFlow is not imported."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

from tftrainer.messages.contract import USAGE_ERROR

JSON: Final = "--json"
TENSORFLOW: Final = ("tensorflow", "tensorflow-cpu")
"""Distributions that bring the package `tensorflow`, in the order in which they are asked for."""
ALIAS_HOOK: Final = "tftrainer_tf1.pth"
_CUDA: Final = re.compile(r"nvidia-cuda-runtime(-cu\d+)?")
_BESIDE: Final = (
    "tensorboard",
    "keras",
    "tf-keras",
    "tensorflow-estimator",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "pillow",
    "h5py",
    "matplotlib",
)


class Description(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a script finds in this runtime.

    `tensorflow` is None where no TensorFlow is installed. `version_1_api` tells whether `import tensorflow` gives the version-1
    API, `cuda` the version of the installed CUDA runtime, None without one. `packages` are the known companions of TensorFlow
    that are there, by name.
    """

    python: str
    tensorflow: str | None
    version_1_api: bool
    cuda: str | None
    packages: dict[str, str]


def describe(distributions: Iterable[tuple[str, str]], python: str, *, version_1_api: bool) -> Description:
    """Describe a runtime from the names and versions of its distributions; a name may be spelt in any form."""
    found: dict[str, str] = {}
    for name, version in distributions:
        # The first on `sys.path` is the one that is imported.
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return Description(
        python=python,
        tensorflow=next((found[name] for name in TENSORFLOW if name in found), None),
        version_1_api=version_1_api,
        cuda=next((version for name, version in sorted(found.items()) if _CUDA.fullmatch(name)), None),
        packages={name: found[name] for name in _BESIDE if name in found},
    )


def text(description: Description) -> str:
    """Return the description for people, one fact per line."""
    tensorflow = description.tensorflow or "not installed"
    if description.tensorflow and description.version_1_api:
        tensorflow += " (import tensorflow gives the version-1 API)"
    lines = {"python": description.python, "tensorflow": tensorflow, "cuda": description.cuda or "not installed", **description.packages}
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines.items())


def main(arguments: list[str]) -> int:
    """Print what this interpreter's environment holds; 0, or 64 for an unknown argument."""
    if arguments not in ([], [JSON]):
        print(f"tftrainer describe: got {arguments!r}, expected nothing or {JSON}", file=sys.stderr)
        return USAGE_ERROR
    installed = ((each.name, each.version) for each in metadata.distributions())
    description = describe(installed, platform.python_version(), version_1_api=alias_is_on())
    print(msgspec.json.format(msgspec.json.encode(description), indent=2).decode() if arguments else text(description))
    return 0


def alias_is_on() -> bool:
    """Whether `import tensorflow` gives the version-1 API in this interpreter."""
    found = importlib.util.find_spec("tensorflow")
    return found is not None and found.origin is not None and (Path(found.origin).parents[1] / ALIAS_HOOK).is_file()
