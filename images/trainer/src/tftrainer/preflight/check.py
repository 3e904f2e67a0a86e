"""All checks of the user's code, in their order."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import PathFinder

from tftrainer.preflight import arguments, parser
from tftrainer.preflight.finding import Findings
from tftrainer.preflight.imports import STARTERS, Image, Walk
from tftrainer.preflight.names import Names
from tftrainer.preflight.quiet import Quiet


def examine(name: str, source: bytes, places: Sequence[str], image: Image, args: Sequence[str]) -> Findings:
    """Return what is to be said of a script before it runs. Nothing of it is imported or executed.

    `places` are what goes on `sys.path` before the runtime's own: the script's folder, then the archive. `args` are the arguments as the
    script will see them.
    """
    importlib.invalidate_caches()
    findings = Findings()
    walk = Walk(places, image, findings)
    read = walk.script(name, source)
    if read is None:
        return findings
    tree, passed = read
    own = {0: "", 1: ", and so is the module of yours that it imports"}.get(
        walk.own, f", and so are {walk.own} modules of yours that it imports"
    )
    findings.facts.append(f"{name} is Python{own}")
    names = Names(tree)
    found = parser.read(tree, passed, Quiet(names, walk.is_own), names) if not walk.is_own("argparse") else None
    if found is not None and not (found.through_absl and walk.defines_flags):
        arguments.check(found, args, name, findings)
    return findings


def this_image(runtime: str, environment: Mapping[str, str], packages: Sequence[str] = ()) -> Image:
    """Return what the image that this process runs in provides to a script.

    This process is isolated from the variables of the image that add to the module path; the script's is not.
    """
    added = [*packages, *(each for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each)]
    elsewhere = any(environment.get(name) for name in ("PYTHONHOME", "PYTHONUSERBASE"))
    starts_with_code = any(PathFinder.find_spec(name, added) is not None for name in STARTERS)
    return Image(runtime, lambda name: elsewhere or _is_here(name, added), _removed, lambda: _all_here(added), starts_with_code)


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


def _removed(name: str, line: str) -> str:
    if "tftrainer_tf1" not in sys.modules:
        return ""
    from tftrainer_tf1 import removed

    package = next((package for package in removed.PACKAGES if f"{name}.".startswith(f"{package}.")), None)
    return removed.package_message(package, line) if package else ""
