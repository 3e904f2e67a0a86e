"""What the runtime's image provides to a script."""

from __future__ import annotations

import functools
import importlib.util
import os
import pkgutil
import re
import runpy
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

from tftrainer.preflight import version1

STARTERS: Final = ("sitecustomize", "usercustomize")
"""Modules that Python imports before a script, which may change where modules are found, and the arguments."""


@dataclass(frozen=True, slots=True)
class Image:
    """What the runtime's image provides.

    `name` is the runtime's; `removed` tells why a name, such as `tensorflow.contrib` or `tensorflow.Session`, is gone from it for
    good, or nothing, given the line that asks for it; `remedy` what to do then. `names` lists the modules it has.
    `starts_with_code` tells that something installed for the job runs before the script: a `sitecustomize`. `is_version_1` tells that its
    `tensorflow` is that of version 1. `keras` is the version of its own Keras, empty where it has none or the job brings another one, or
    another TensorFlow. `uses_gpus` tells that its TensorFlow is not the build without code for GPUs.
    """

    name: str
    has: Callable[[str], bool]
    removed: Callable[[str, str], str] = lambda _name, _line: ""
    names: Callable[[], Iterable[str]] = tuple
    starts_with_code: bool = False
    remedy: Callable[[str], str] = lambda _name: "change the import"
    is_version_1: bool = False
    keras: str = ""
    uses_gpus: bool = False


def this_image(runtime: str, environment: Mapping[str, str], packages: Sequence[str] = ()) -> Image:
    """Return what the image that this process runs in provides to a script.

    This process is isolated from the variables of the image that add to the module path; the script's is not.
    """
    added = [*packages, *(each for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each)]
    elsewhere = any(environment.get(name) for name in ("PYTHONHOME", "PYTHONUSERBASE"))
    starts_with_code = any(PathFinder.find_spec(name, added) is not None for name in STARTERS)
    is_version_1 = "tftrainer_tf1" in sys.modules
    removed, remedy = (_removed_from_1, _remedy_of_1) if is_version_1 else _of_2(runtime, added)
    brings = elsewhere or any(PathFinder.find_spec(name, added) is not None for name in ("keras", "tensorflow"))
    return Image(
        runtime,
        lambda name: elsewhere or _is_here(name, added),
        removed,
        lambda: _all_here(added),
        starts_with_code,
        remedy,
        is_version_1,
        "" if brings else next((each.version for each in metadata.distributions(name="keras")), ""),
        not any(metadata.distributions(name="tensorflow-cpu")),
    )


def _is_here(name: str, added: list[str]) -> bool:
    try:
        # Of a name without a dot this imports nothing.
        return importlib.util.find_spec(name) is not None or PathFinder.find_spec(name, added) is not None
    except ImportError:
        return False
    except ValueError:
        # Something of that name is loaded, and does not say from where.
        return True


def _all_here(added: list[str]) -> Iterator[str]:
    yield from sys.stdlib_module_names
    yield from (each.name for each in pkgutil.iter_modules([*sys.path, *added]))


def _removed_from_1(name: str, line: str) -> str:
    """Tell what the runtime `tf1` tells when the script asks for the name."""
    tells = _words_of_1()
    package = next((package for package in tells["PACKAGES"] if f"{name}.".startswith(f"{package}.")), None)
    return str(tells["package_message"](package, line)) if package else ""


def _remedy_of_1(_name: str) -> str:
    return "change the script"


def _of_2(runtime: str, added: list[str]) -> tuple[Callable[[str, str], str], Callable[[str], str]]:
    """Return what is told of names of TensorFlow 1 where the image has version 2, and what to do."""
    other = re.sub("^tf2", "tf1", runtime) if runtime.startswith("tf2") else "tf1"

    def removed(name: str, line: str) -> str:
        package = _tensorflow(added)
        if package is None or not version1.is_gone(package, name):
            return ""
        return _removed_from_1(name, line) or f"{_short(name)} is of TensorFlow 1: the TensorFlow of the runtime {runtime} has no such name"

    def remedy(name: str) -> str:
        if _removed_from_1(name, ""):
            return f"no runtime has it: change that, and set spec.runtime: {other}, which has the rest of TensorFlow 1"
        return f"set spec.runtime: {other}, whose `tensorflow` is that of version 1, or change the script to TensorFlow 2"

    return removed, remedy


def _short(name: str) -> str:
    return re.sub("^tensorflow", "tf", name)


def _tensorflow(added: list[str]) -> Path | None:
    # What is added comes first on the script's path.
    spec = PathFinder.find_spec("tensorflow", added) or importlib.util.find_spec("tensorflow")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


@functools.cache
def _words_of_1() -> dict[str, Any]:
    # By its file: the package itself, once imported, turns `tensorflow` into version 1.
    spec = importlib.util.find_spec("tftrainer_tf1")
    return runpy.run_path(str(Path(spec.origin or "").with_name("removed.py"))) if spec is not None else {"PACKAGES": ()}
