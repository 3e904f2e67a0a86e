"""Whether what a script imports will be found, followed in the order in which Python would execute it.

Only an import that surely takes place can be refused: one at the top level of the script, or of a module that is so imported,
with nothing before it that might end the program or change where modules are found. Guarded imports are not looked at.
"""

from __future__ import annotations

import ast
import difflib
import os
import pkgutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from itertools import islice
from typing import Any, Final

from tftrainer.messages.contract import Reason
from tftrainer.preflight import hidden, syntax
from tftrainer.preflight.finding import Finding, Findings
from tftrainer.preflight.image import STARTERS, Image
from tftrainer.preflight.inert import Inert, is_known, takes_harmless_parts
from tftrainer.preflight.names import Names
from tftrainer.preflight.reached import Reached
from tftrainer.preflight.removed import Removed
from tftrainer.preflight.syntax import PIECES_LIMIT, SOURCE_LIMIT, TOO_DEEP, UnreadError

DEPTH_LIMIT: Final = 64
MODULES_LIMIT: Final = 500
FOLDERS_LIMIT: Final = 100
"""Folders beside the script in which a module that is missing is looked for."""
HELPER_LIMIT: Final = 64 * 1024
"""Bytes of a file that may hide a module, beyond which nothing is said of it."""
TOTAL_LIMIT: Final = 2 * PIECES_LIMIT
"""Words and signs of the script and all its modules together, beyond which no further module is read."""

_LONG: Final = 5
"""Letters of a name of the image that a shorter one is never taken for."""
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


@dataclass(frozen=True, slots=True)
class _Module:
    """One file of the user's. `package` is what its relative imports are relative to, empty where they cannot be."""

    file: str
    source: bytes
    package: str
    depth: int = 0
    is_script: bool = False


@dataclass(frozen=True, slots=True)
class _Following:
    """What stands in a module behind one of its imports."""

    tree: ast.Module
    index: int
    names: Names
    inert: Inert

    def lack(self, statement: ast.Import | ast.ImportFrom, top: str, has: Names) -> bool:
        """Whether the import of `top`, or the first thing that is surely done with it, asks for a name that is not among `has`."""
        if isinstance(statement, ast.ImportFrom):
            return statement.module == top and any(alias.name != "*" and not has.count(alias.name) for alias in statement.names)

        def is_wanted(dotted: str) -> bool:
            first, _, rest = dotted.partition(".")
            return first == top and bool(rest) and not has.count(rest.partition(".")[0])

        reached = Reached(self.tree, self.inert, self.names, is_wanted)
        for each in self.tree.body[self.index + 1 :]:
            if reached.first(each) is not None:
                return True
            if not self.inert.is_inert(each):
                return False
        return False


class Walk:
    """Follows the imports of a script. `certain` tells whether what comes next surely takes place."""

    def __init__(self, places: Sequence[str], image: Image, findings: Findings) -> None:
        self._places = list(places)
        self._image = image
        self._findings = findings
        self._seen: set[str] = set()
        self._found: dict[tuple[str, tuple[str, ...]], ModuleSpec | None] = {}
        self._told: set[str] = set()
        self._hiding: set[str] = set()
        self._early = False
        """Whether a module of the image was imported that may import others."""
        self._pieces = 0
        self._script = ""
        self.certain = True
        self.untouched = True
        """Whether all that runs before the script's own first statement was read, and surely changes nothing that it would find."""
        self.stopped = ""
        """Where it became uncertain what comes next."""
        self.unchecked = 0
        """Number of the script's imports that come after that."""
        self.own = 0
        """Number of the user's own modules that were read."""
        self.defines_flags = False
        """Whether any of the code may define flags of absl."""
        self.sources: list[bytes] = []
        """What was read: the script, and then modules of the user's."""
        self.trees: list[ast.Module] = []
        """What of it is Python, in any order."""

    def script(self, name: str, source: bytes, package: str = "") -> tuple[ast.Module, int] | None:
        """Follow the script; return its tree and how many of its statements are surely passed, None if it is no Python.

        `package` is that of which the script is run as a module.

        Raises:
            UnreadError: The script is too much to be read.
        """
        self._script = name.removesuffix(".py")
        syntax.weigh(source)
        if self._starts_with_code():
            self._doubt("a sitecustomize")
        if package:
            self._follow_above(package)
        self.untouched = self.certain
        return self._visit(_Module(name, source, package, is_script=True))

    def _doubt(self, place: str) -> None:
        if self.certain:
            self.certain, self.stopped = False, place

    def _follow_above(self, package: str) -> None:
        """Visit the packages that the script is a module of: Python runs them before."""
        places: Sequence[str] = self._places
        parts = package.split(".")
        for number, part in enumerate(parts, 1):
            spec = self._find(part, places)
            if spec is None or spec.submodule_search_locations is None:
                self._doubt(f"the package {package}")
                return
            self._enter(".".join(parts[:number]), spec, 1)
            places = list(spec.submodule_search_locations)

    def is_own(self, name: str) -> bool:
        """Whether a module of that name lies beside the script or in the archive."""
        return self._find(name, self._places) is not None

    def _visit(self, module: _Module) -> tuple[ast.Module, int] | None:
        self.defines_flags = self.defines_flags or b"DEFINE" in module.source
        self.sources.insert(0 if module.is_script else len(self.sources), module.source)
        self._pieces += syntax.weigh(module.source)
        tree = syntax.read(module.source, module.file)
        if isinstance(tree, Finding):
            self._findings.add(tree, certain=self.certain or (module.is_script and not module.package and tree.hint != TOO_DEEP))
            self._doubt(module.file)
            return None
        self.trees.append(tree)
        names = Names(tree)
        inert = Inert(names, self.is_own)
        lines = module.source.splitlines()
        removed = Removed(self._image, module, self._findings, is_own=self.is_own("tensorflow"))
        reached = Reached(tree, inert, names, removed.is_gone)
        passed = 0
        for index, statement in enumerate(tree.body):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.unchecked += not self.certain and module.is_script and self._is_doubtful(statement)
                self._import(statement, module, _line(lines, statement), _Following(tree, index, names, inert))
                harmless = isinstance(statement, ast.Import) or takes_harmless_parts(statement)
            else:
                if self.certain:
                    removed.tell(reached.first(statement), names, certain=True)
                harmless = not self.certain or inert.is_inert(statement)
                self._early = self._early or _imports_within(statement)
            if not harmless:
                self._doubt(f"{module.file}, line {statement.lineno},")
            if not self.certain and not module.is_script:
                break
            passed += self.certain
        removed.warn(tree, names)
        return tree, passed

    def _starts_with_code(self) -> bool:
        """Whether code of the user's runs before the script. Beside the script, Python does not look for it."""
        return self._image.starts_with_code or any(self._find(name, self._places[1:]) is not None for name in STARTERS)

    def _import(self, statement: ast.Import | ast.ImportFrom, module: _Module, line: str, following: _Following) -> None:
        if isinstance(statement, ast.ImportFrom) and statement.level and not module.package:
            self._relative(statement, module, line)
            return
        for name in _names(statement, module.package):
            self._look_for(name, statement, module, line, following)

    def _relative(self, statement: ast.ImportFrom, module: _Module, line: str) -> None:
        whole = ast.unparse(statement)
        absolute = (
            whole.replace("from . import", "import") if not statement.module else whole.replace(f"from {'.' * statement.level}", "from ", 1)
        )
        hint = f"write `{absolute}` if that lies beside the script" if statement.level == 1 else "name the module by its whole name"
        message = f"{module.file}, line {statement.lineno}: `{line[:120]}` is relative to a package, and a script belongs to none"
        self._missing(whole, message, f"{hint}; or run the script as a module of its package, by spec.script.module", statement, module)
        self._doubt(f"{module.file}, line {statement.lineno},")

    def _look_for(self, name: str, statement: ast.Import | ast.ImportFrom, module: _Module, line: str, following: _Following) -> None:
        top = name.partition(".")[0]
        parts = [f"{name}.{alias.name}" for alias in statement.names] if isinstance(statement, ast.ImportFrom) else []
        gone, why = next(((each, why) for each in (name, *parts) if (why := self._image.removed(each, line))), ("", ""))
        if self.is_own(top):
            if self._image.has(top):
                # Which of the two it is depends on what Python has loaded by then.
                self._hidden(top, statement, module, following)
                self._doubt(f"{module.file}, line {statement.lineno},")
                return
            package = self._follow(name, statement, module)
            if package is not None and isinstance(statement, ast.ImportFrom):
                self._follow_parts(name, package, statement, module)
        elif gone:
            self._missing(name, f"{module.file}, line {statement.lineno}: {why}", self._image.remedy(gone), statement, module)
        elif not self._image.has(top):
            self._nowhere(top, statement, module)
        else:
            if top == "tensorflow":
                self._hidden_from_tensorflow(statement, module, following)
            self._early = self._early or hidden.is_late(top)
            if not is_known(top):
                self._doubt(f"{module.file}, line {statement.lineno},")

    def _is_doubtful(self, statement: ast.Import | ast.ImportFrom) -> bool:
        """Whether the import is of anything but a module of the image."""
        tops = {name.partition(".")[0] for name in _names(statement, "")}
        return any(self.is_own(top) or not self._image.has(top) for top in tops)

    def _file_of(self, name: str) -> tuple[str, bytes] | None:
        """Return a module of the user's that is one file, as it is shown, and its source."""
        spec = self._find(name, self._places)
        source = None if spec is None or spec.submodule_search_locations is not None else _source(spec)
        return None if spec is None or source is None or len(source) > HELPER_LIMIT else (self._shown(spec.origin or name), source)

    def _hidden(self, top: str, statement: ast.Import | ast.ImportFrom, module: _Module, following: _Following) -> None:
        """Tell that a module of the user's stands in the place of one of the image, which the code imports by name."""
        found = self._file_of(top)
        if found is None or top in self._hiding or not hidden.is_late(top):
            return
        self._hiding.add(top)
        names = hidden.names_in(found[1], top)
        certain = names is not None and (top == self._script or self._is_quiet(found[1])) and following.lack(statement, top, names)
        self._findings.add(hidden.finding(found[0], top, module.file, statement.lineno), certain=self.certain and certain)

    def _hidden_from_tensorflow(self, statement: ast.Import | ast.ImportFrom, module: _Module, following: _Following) -> None:
        for name in sorted(hidden.EARLY - self._hiding):
            found = self._file_of(name) if self.is_own(name) and self._image.has(name) and hidden.is_late(name) else None
            if found is None:
                continue
            self._hiding.add(name)
            names = hidden.names_in(found[1], name)
            # The script is run again, as that module, before TensorFlow has a single name, if nothing else has imported it before.
            is_script = name == self._script
            runs_again = is_script and module.is_script and not self._early
            is_again = runs_again and following.lack(statement, "tensorflow", Names(ast.Module([], [])))
            is_needed = names is not None and name in hidden.NEEDED and self._is_quiet(found[1]) and hidden.shares_nothing(names, name)
            certain = (is_again or is_needed) and not (is_script and name in hidden.DISPENSABLE)
            self._findings.add(hidden.finding(found[0], name, "TensorFlow", None), certain=self.certain and certain)

    def _is_quiet(self, source: bytes) -> bool:
        tree = ast.parse(source)
        return Inert(Names(tree), self.is_own).all(tree.body)

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
                    self._doubt(f"{module.file}, line {statement.lineno},")
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
                self._doubt(f"{module.file}, line {statement.lineno},")

    def _enter(self, dotted: str, spec: ModuleSpec, depth: int) -> None:
        if dotted in self._seen or spec.loader is None or (spec.origin is None and spec.submodule_search_locations is not None):
            return
        self._seen.add(dotted)
        shown, source = self._shown(spec.origin or dotted), _source(spec)
        try:
            why = self._too_much(source, depth)
            if source is not None and not why:
                self.own += 1
                package = dotted if spec.submodule_search_locations is not None else dotted.rpartition(".")[0]
                self._visit(_Module(shown, source, package, depth))
        except UnreadError as unread:
            why = str(unread)
        if why:
            self._findings.facts.append(f"{shown} was not examined: {why}")
            self._doubt(shown)

    def _too_much(self, source: bytes | None, depth: int) -> str:
        if source is None:
            return "it is no source, or a very large one"
        too_much = depth > DEPTH_LIMIT or len(self._seen) > MODULES_LIMIT or self._pieces + syntax.weigh(source) > TOTAL_LIMIT
        return f"with {self.own} modules before it, it is more than this check follows" if too_much else ""

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
        folder = "" if package else self._folder_with(name)
        if folder:
            beside = f"have what {folder}/ holds lie beside the script, for a folder of spec.dependencies.files by into: ."
            return f"{beside}; or import {folder}.{name}. If that is another {name}, "
        own = sorted({each.name for each in pkgutil.iter_modules(list(package or self._places))} - {self._script})
        close = difflib.get_close_matches(last, own, 1, 0.8)
        if not close and not package:
            close = [each for each in sorted(self._image.names()) if not each.startswith(("_", "tftrainer")) and _is_slip(last, each)][:1]
        return f"did you mean {above}{dot}{close[0]}? If not, " if close else ""

    def _folder_with(self, name: str) -> str:
        """Return the name of a folder beside the script that holds a module of that name, empty if none does."""
        for place in self._places:
            for folder in islice(_folders(place), FOLDERS_LIMIT):
                spec = self._find(name, [f"{place}/{folder}"])
                if spec is not None and (spec.origin or any(pkgutil.iter_modules(list(spec.submodule_search_locations or ())))):
                    return folder
        return ""

    def _missing(self, name: str, message: str, hint: str, statement: ast.stmt, module: _Module) -> None:
        if name not in self._told:
            self._told.add(name)
            finding = Finding(Reason.IMPORT_MISSING, message, hint, module.file, statement.lineno)
            self._findings.add(finding, certain=self.certain)


def _folders(place: str) -> Iterator[str]:
    """Yield the names of the folders in a place of `sys.path`; a zip has none."""
    try:
        with os.scandir(place) as entries:
            yield from sorted(each.name for each in entries if each.is_dir() and not each.name.startswith("."))
    except OSError:
        return


def _imports_within(statement: ast.stmt) -> bool:
    """Whether a statement that is no import may import something itself."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(statement))


def _line(lines: Sequence[bytes], node: ast.stmt) -> str:
    return lines[node.lineno - 1].decode("utf-8", "replace").strip() if node.lineno <= len(lines) else ""


def _is_slip(name: str, other: str) -> bool:
    """Whether a long name is another one but for one letter that is wrong, missing or too much, or two that are swapped."""
    if name == other or min(len(name), len(other)) < _LONG:
        return False
    while name and other and name[0] == other[0]:
        name, other = name[1:], other[1:]
    while name and other and name[-1] == other[-1]:
        name, other = name[:-1], other[:-1]
    return max(len(name), len(other)) == 1 or (len(name) == 2 and name == other[::-1])


def _names(statement: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    """Return the modules that the statement surely imports, by their whole names."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if not statement.level:
        return [statement.module] if statement.module else []
    above = package.split(".")
    if not package or statement.level > len(above):
        return []
    base = above[: len(above) - statement.level + 1]
    return [".".join([*base, statement.module] if statement.module else base)]


def _source(spec: ModuleSpec) -> bytes | None:
    loader: Any = spec.loader
    if spec.origin is None or not spec.origin.endswith(".py") or not hasattr(loader, "get_data"):
        return None
    try:
        if os.path.exists(spec.origin) and os.path.getsize(spec.origin) > SOURCE_LIMIT:  # noqa: PTH110, PTH202 - as `importlib` has it
            return None
        data = loader.get_data(spec.origin)
    except OSError:
        return None
    return data if isinstance(data, bytes) and len(data) <= SOURCE_LIMIT else None
