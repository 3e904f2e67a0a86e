"""All checks of the user's code, in their order."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from tftrainer.preflight import arguments, parser, strategies
from tftrainer.preflight.finding import Findings
from tftrainer.preflight.image import Image, this_image
from tftrainer.preflight.imports import Walk
from tftrainer.preflight.inert import Inert
from tftrainer.preflight.names import Names
from tftrainer.preflight.strategies import Group
from tftrainer.preflight.syntax import UnreadError

__all__ = ["examine", "not_examined", "this_image"]


def examine(
    name: str,
    source: bytes,
    places: Sequence[str],
    image: Image,
    args: Sequence[str],
    *,
    package: str = "",
    group: Group | None = None,
) -> Findings:
    """Return what is to be said of a script before it runs. Nothing of it is imported or executed.

    `places` are what goes on `sys.path` before the runtime's own: the script's folder, then the archive. `args` are the arguments as the
    script will see them. `package` is the package that the script is run as a module of, so that its relative imports are right. `group`
    is what its strategy has to do with, None where it is alone.
    """
    importlib.invalidate_caches()
    findings = Findings()
    try:
        _examine(name, source, Walk(places, image, findings), args, findings, package, group)
    except UnreadError as why:
        findings.facts.append(f"{name} was not examined: {why}")
    except MemoryError:
        findings.facts.append(f"{name} was not examined: there is not enough memory")
    except Exception as error:
        # Whatever is wrong here, it is nothing that the script did.
        findings.warnings.append(not_examined(name, type(error).__name__))
    return findings


def not_examined(name: str, why: str) -> str:
    """Return what is said where this check itself has failed."""
    return f"{name} could not be examined ({why}): a fault of this check and not of the script, which starts all the same"


def _examine(name: str, source: bytes, walk: Walk, args: Sequence[str], findings: Findings, package: str, group: Group | None) -> None:
    read = walk.script(name, source, package)
    if read is None:
        return
    tree, passed = read
    own = {0: "", 1: ", and so is the module of yours that it imports"}.get(
        walk.own, f", and so are {walk.own} modules of yours that it imports"
    )
    findings.facts.append(f"{name} is Python{own}")
    names = Names(tree)
    inert = Inert(names, walk.is_own)
    found = "argparse is a module of yours" if walk.is_own("argparse") else parser.read(tree, passed, inert, names)
    takes = ""
    if isinstance(found, parser.Parser) and found.through_absl and walk.defines_flags:
        found = "flags of absl are defined too"
    if isinstance(found, parser.Parser):
        takes, found = found.name if arguments.check(found, args, name, findings) else "", None
    if group is not None and walk.untouched:
        strategies.check(tree, name, passed, inert, names, takes, walk.sources, walk.trees, group, findings)
    findings.facts += _unchecked(walk, found)


def _unchecked(walk: Walk, why: str | None) -> list[str]:
    """Return what was not checked, and why the arguments were not, if so."""
    left = ["the imports that follow"] if walk.unchecked else []
    left += ["the arguments"] if why == parser.PASSED else []
    told = [f"not checked are {' and '.join(left)}: {walk.stopped} may end the program, or change what comes after it"] if left else []
    return [*told, f"not checked are the arguments: {why}"] if why and why != parser.PASSED else told
