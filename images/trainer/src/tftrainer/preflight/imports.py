"""Whether what a script imports will be found, followed in the order in which Python would execute it.

Only an import that surely takes place can be refused: one at the top level of the script, or of a module that is so imported,
with nothing before it that might end the program or change where modules are found. Guarded imports are not looked at.
"""

from __future__ import annotations

import ast
import difflib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any, Final

from tftrainer.contract import Reason
from tftrainer.preflight import syntax
from tftrainer.preflight.finding import Finding, Findings
from tftrainer.preflight.names import Names
from tftrainer.preflight.quiet import Quiet, is_known, takes_quietly

DEPTH_LIMIT: Final = 64
MODULES_LIMIT: Final = 500
SOURCE_LIMIT: Final = 4 * 1024**2
"""Bytes of a module beyond which it is not read: no one wrote it by hand."""

RENAMED: Final = {
    "ConfigParser": "configparser",
    "Queue": "queue",
    "StringIO": "io",
    "Tkinter": "tkinter",
    "__builtin__": "builtins",
    "cPickle": "pickle",
    "cStringIO": "io",
    "urllib2": "urllib.request",
    "urlparse": "urllib.parse",
}
"""Modules of Python 2 and what they became."""

STARTERS: Final = ("sitecustomize", "usercustomize")
"""Modules that Python imports before a script, which may change where modules are found, and the arguments."""


@dataclass(frozen=True, slots=True)
class Image:
    """What the runtime's image provides.

    `name` is the runtime's; `removed` tells why a name is gone from it for good, or nothing; `names` lists the modules it has.
    `starts_with_code` tells that something installed for the job runs before the script: a `sitecustomize`.
    """

    name: str
    has: Callable[[str], bool]
    removed: Callable[[str, str], str] = lambda _name, _line: ""
    names: Callable[[], Iterable[str]] = tuple
    starts_with_code: bool = False


@dataclass(frozen=True, slots=True)
class _Module:
    """One file of the user's. `package` is what its relative imports are relative to; None for the script itself."""

    file: str
    source: bytes
    package: str | None
    depth: int = 0


class Walk:
    """Follows the imports of a script. `certain` tells whether what comes next surely takes place."""

    def __init__(self, places: Sequence[str], image: Image, findings: Findings) -> None:
        self._places = list(places)
        self._image = image
        self._findings = findings
        self._seen: set[str] = set()
        self._found: dict[tuple[str, tuple[str, ...]], ModuleSpec | None] = {}
        self._told: set[str] = set()
        self.certain = True
        self.own = 0
        """Number of the user's own modules that were read."""
        self.defines_flags = False
        """Whether any of the code may define flags of absl."""

    def script(self, name: str, source: bytes) -> tuple[ast.Module, int] | None:
        """Follow the script; return its tree and how many of its statements are surely passed, None if it is no Python."""
        return self._visit(_Module(name, source, None))

    def is_own(self, name: str) -> bool:
        """Whether a module of that name lies beside the script or in the archive."""
        return self._find(name, self._places) is not None

    def _visit(self, module: _Module) -> tuple[ast.Module, int] | None:
        self.defines_flags = self.defines_flags or b"DEFINE" in module.source
        tree = syntax.read(module.source, module.file)
        if isinstance(tree, Finding):
            self._findings.add(tree, certain=self.certain)
            self.certain = False
            return None
        if tree is None:
            self.certain = False
            return None
        if module.package is None and self._starts_with_code():
            self.certain = False
        quiet = Quiet(Names(tree), self.is_own)
        lines = module.source.splitlines()
        passed = 0
        for statement in tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._import(statement, module, lines)
                self.certain = self.certain and (isinstance(statement, ast.Import) or takes_quietly(statement))
            else:
                self.certain = self.certain and quiet.is_quiet(statement)
            if not self.certain and module.package is not None:
                break
            passed += self.certain
        return tree, passed

    def _starts_with_code(self) -> bool:
        """Whether code of the user's runs before the script. Beside the script, Python does not look for it."""
        return self._image.starts_with_code or any(self._find(name, self._places[1:]) is not None for name in STARTERS)

    def _import(self, statement: ast.Import | ast.ImportFrom, module: _Module, lines: Sequence[bytes]) -> None:
        line = lines[statement.lineno - 1].decode("utf-8", "replace").strip() if statement.lineno <= len(lines) else ""
        for name in _names(statement, module.package):
            self._look_for(name, statement, module, line)

    def _look_for(self, name: str, statement: ast.stmt, module: _Module, line: str) -> None:
        top = name.partition(".")[0]
        gone = self._image.removed(name, line)
        if self.is_own(top):
            if self._image.has(top):
                # Which of the two it is depends on what Python has loaded by then.
                self.certain = False
                return
            package = self._follow(name, statement, module)
            if package is not None and isinstance(statement, ast.ImportFrom):
                self._follow_parts(name, package, statement, module)
        elif gone:
            self._missing(name, f"{module.file}, line {statement.lineno}: {gone}", "change the import", statement, module)
        elif not self._image.has(top):
            self._nowhere(top, statement, module)
        elif not is_known(top):
            self.certain = False

    def _follow(self, name: str, statement: ast.stmt, module: _Module) -> list[str] | None:
        """Visit a module of the user's own, and the packages above it, in the order in which Python executes them.

        Returns where the parts of it lie if it is a package.
        """
        places: Sequence[str] = self._places
        parts = name.split(".")
        for number, part in enumerate(parts, 1):
            dotted = ".".join(parts[:number])
            spec = self._find(part, places)
            if spec is None:
                self._nowhere(dotted, statement, module, places)
                return None
            self._enter(dotted, spec, module.depth + 1)
            if spec.submodule_search_locations is None:
                if number < len(parts):
                    # A module can stand in for a package by an entry in sys.modules; nobody can know.
                    self.certain = False
                return None
            places = list(spec.submodule_search_locations)
        return list(places)

    def _follow_parts(self, name: str, places: Sequence[str], statement: ast.ImportFrom, module: _Module) -> None:
        """Visit those of the imported names that are modules; the others are the package's own affair."""
        for alias in statement.names:
            spec = self._find(alias.name, places) if alias.name != "*" else None
            if spec is not None:
                self._enter(f"{name}.{alias.name}", spec, module.depth + 1)
            elif alias.name == "*":
                # `__all__` may name modules, which are then imported too.
                self.certain = False

    def _enter(self, dotted: str, spec: ModuleSpec, depth: int) -> None:
        if dotted in self._seen or spec.loader is None or (spec.origin is None and spec.submodule_search_locations is not None):
            return
        self._seen.add(dotted)
        source = _source(spec)
        if source is None or depth > DEPTH_LIMIT or len(self._seen) > MODULES_LIMIT:
            self.certain = False
            return
        self.own += 1
        package = dotted if spec.submodule_search_locations is not None else dotted.rpartition(".")[0]
        self._visit(_Module(self._shown(spec.origin or dotted), source, package, depth))

    def _shown(self, origin: str) -> str:
        for place in self._places:
            if origin.startswith(place + "/"):
                return origin[len(place) + 1 :]
        return origin

    def _find(self, name: str, places: Iterable[str]) -> ModuleSpec | None:
        key = (name, tuple(places))
        if key not in self._found:
            try:
                self._found[key] = PathFinder.find_spec(name, list(key[1]))
            except (ImportError, ValueError, OSError):
                self._found[key] = None
        return self._found[key]

    def _nowhere(self, name: str, statement: ast.stmt, module: _Module, package: Sequence[str] = ()) -> None:
        """Tell that a module is missing: from the places of a package, or, where there are none, from everywhere."""
        successor = RENAMED.get(name)
        meant = "" if successor else self._meant(name, package)
        hint = meant + (
            f"that is a module of Python 2, import {successor} instead"
            if successor
            else "provide it in spec.dependencies.archive (a zip of modules), spec.dependencies.files (beside the script) or, where the "
            "admin allows an index, spec.dependencies.requirements, or choose another runtime in spec.runtime whose image has it"
        )
        message = (
            f"{module.file}, line {statement.lineno}: no module named {name!r} lies beside the script, in the archive "
            f"or in the runtime {self._image.name}"
        )
        self._missing(name, message, hint, statement, module)

    def _meant(self, name: str, package: Sequence[str]) -> str:
        above, dot, last = name.rpartition(".")
        known = {each.name for each in pkgutil.iter_modules(list(package or self._places))}
        if not package:
            known.update(self._image.names())
        close = difflib.get_close_matches(last, sorted(known), 1, 0.8)
        return f"did you mean {above}{dot}{close[0]}? If not, " if close else ""

    def _missing(self, name: str, message: str, hint: str, statement: ast.stmt, module: _Module) -> None:
        if name not in self._told:
            self._told.add(name)
            finding = Finding(Reason.IMPORT_MISSING, message, hint, module.file, statement.lineno)
            self._findings.add(finding, certain=self.certain)


def _names(statement: ast.Import | ast.ImportFrom, package: str | None) -> list[str]:
    """Return the modules that the statement surely imports, by their whole names."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if not statement.level:
        return [statement.module] if statement.module else []
    above = (package or "").split(".")
    if package is None or not package or statement.level > len(above):
        return []
    base = above[: len(above) - statement.level + 1]
    return [".".join([*base, statement.module] if statement.module else base)]


def _source(spec: ModuleSpec) -> bytes | None:
    loader: Any = spec.loader
    if spec.origin is None or not spec.origin.endswith(".py") or not hasattr(loader, "get_data"):
        return None
    try:
        data = loader.get_data(spec.origin)
    except OSError:
        return None
    return data if isinstance(data, bytes) and len(data) <= SOURCE_LIMIT else None
