"""What is run: where the script lies among the code of the job, and which file a module is."""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

from msgspec.structs import replace

from tftrainer.fetch.buckets import Buckets, parse
from tftrainer.fetch.wanted import SCRIPT_FIELD, file_field
from tftrainer.messages.contract import Plan, Reason, Reference
from tftrainer.phase_error import PhaseError, clip
from tftrainer.uri import SEGMENT_LIMIT

PATH_FIELD: Final = "spec.script.path"
MODULE_FIELD: Final = "spec.script.module"
CANDIDATES_LIMIT: Final = 5000
"""Files of code that are compared with a name that is not there."""
_MAIN: Final = "__main__"
"""The module that stands for a package, and for a program."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is run. `name` is what messages call it; `file` is None for a module that is no file of the job's code.

    A `module` is run as with `python -m`; its relative imports are relative to `package`.
    """

    name: str
    file: Path | None
    module: str = ""
    package: str = ""


def with_project(plan: Plan, buckets: Buckets) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan with each thing's place in the working directory told, and a sentence for the log where it was not plain.

    A folder of `dependencies.files` that holds the very object of the script is a project: what it holds becomes the working directory,
    and the script runs at its place in it. Of several such folders the outermost counts. With `into`, none is.
    """
    if plan.script.uri is None:
        return plan, ()
    try:
        store, key = buckets.locate(parse(SCRIPT_FIELD, plan.script.uri), SCRIPT_FIELD)
        folders: list[tuple[str, int]] = []
        for index, each in enumerate(plan.files):
            field = file_field(index)
            name = parse(field, each.uri)
            if name.is_folder and not each.into:
                of, folder = buckets.locate(name, field)
                # One bucket may be known by two Secrets.
                same = (of.credentials.host, of.uri("")) == (store.credentials.host, store.uri(""))
                folders += [(folder, index)] if same and key.startswith(folder) else []
    except PhaseError:
        # What is wrong with a URI is told where it is looked up.
        return plan, ()
    if not folders:
        return plan, ()
    folder, index = min(folders, key=lambda each: len(each[0]))
    name_in_it = key.removeprefix(folder)
    files = (*plan.files[:index], replace(plan.files[index], into="."), *plan.files[index + 1 :])
    fact = (
        f"{file_field(index)} holds the script, so what it holds is the working directory, and the script runs as {name_in_it} "
        "(spec.dependencies.files[].into names another place)"
    )
    return replace(plan, files=files, script=replace(plan.script, name=name_in_it)), (fact,)


def place(code: Path, index: int, into: str) -> Path:
    """Return the folder below that of the code which `into` of an entry of `dependencies.files` names.

    Raises:
        PhaseError: `InvalidSpec`, there can be no such folder.
    """
    parts = PurePosixPath(into).parts
    if any(part in ("/", "..") or len(part.encode()) > SEGMENT_LIMIT for part in parts):
        field = f"{file_field(index).removesuffix('.uri')}.into"
        why = f"expected a folder of the working directory, each of its names of at most {SEGMENT_LIMIT} bytes"
        raise PhaseError(Reason.INVALID_SPEC, f"{field} is {clip(into, 200)!r}, {why}", f"correct {field}")
    return code.joinpath(*parts)


def folder_of(code: Path, index: int, named: Reference) -> Path:
    """Return the folder below that of the code which what a folder of `dependencies.files` holds is put into.

    Raises:
        PhaseError: `InvalidSpec`, as of `place` or for what is no URI.
    """
    into = place(code, index, named.into)
    return into if named.into else into / parse(file_field(index), named.uri).name


def find(plan: Plan, code: Path, places: Sequence[str]) -> Entry:
    """Return what is run of the code that lies in a folder; `places` follow it on `sys.path`.

    Raises:
        PhaseError: it is not there: `ObjectNotFound` for a file, `ImportMissing` for a module; with what is there instead.
    """
    if plan.script.module is not None:
        return _module(plan, plan.script.module, code, places)
    name = str(PurePosixPath(plan.script.name))
    if plan.script.path is not None and not _is_file(code / name):
        raise PhaseError(
            Reason.OBJECT_NOT_FOUND,
            f"{PATH_FIELD} is {clip(plan.script.path, 200)!r}, but the dependencies bring no such file",
            _meant(plan, PATH_FIELD, name, _sources(code)),
        )
    return Entry(name, code / name)


def _module(plan: Plan, name: str, code: Path, places: Sequence[str]) -> Entry:
    importlib.invalidate_caches()
    within: Sequence[str] = (str(code), *places)
    parts = name.split(".")
    spec: ModuleSpec | None = None
    for number, part in enumerate(parts, 1):
        above, spec = spec, PathFinder.find_spec(part, list(within)) or (_of_the_runtime(part) if number == 1 else None)
        if spec is None and above is not None and _looks_elsewhere(above):
            return Entry(name, None, name)
        if spec is None:
            raise _no_module(plan, code, f"no module named {'.'.join(parts[:number])!r} is among what the dependencies bring")
        within = list(spec.submodule_search_locations or ())
    package, _, _ = name.rpartition(".")
    if spec is not None and spec.submodule_search_locations is not None:
        package = name
        spec = PathFinder.find_spec(_MAIN, list(within))
        if spec is None:
            raise _no_module(plan, code, f"it is a package without {_MAIN}.py, which python -m needs")
    origin = Path((spec and spec.origin) or "")
    file = origin if origin.suffix == ".py" and origin.is_relative_to(code) else None
    return Entry(str(file.relative_to(code)) if file else name, file, name, package)


def _of_the_runtime(name: str) -> ModuleSpec | None:
    try:
        # Of a name without a dot this imports nothing. This process's own main module is no one else's.
        return importlib.util.find_spec(name) if name != _MAIN else None
    except (ImportError, ValueError):
        return None


def _looks_elsewhere(package: ModuleSpec) -> bool:
    """Whether a package may say itself where its modules lie, so that nobody can tell without running it."""
    return package.origin is not None and Path(package.origin).is_file() and b"__path__" in Path(package.origin).read_bytes()


def _no_module(plan: Plan, code: Path, why: str) -> PhaseError:
    modules = [each.removesuffix(".py").removesuffix("/__init__").removesuffix("/__main__").replace("/", ".") for each in _sources(code)]
    name = plan.script.module or ""
    return PhaseError(Reason.IMPORT_MISSING, f"{MODULE_FIELD} is {name!r}: {why}", _meant(plan, MODULE_FIELD, name, modules))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # No file can have such a name.
        return False


def _sources(code: Path) -> list[str]:
    """Return the Python files of the code, by their paths below it, those nearest to the top first."""
    found = (
        os.path.relpath(os.path.join(at, each), code)  # noqa: PTH118 - a walk gives text
        for at, _, files in os.walk(code)
        for each in files
        if each.endswith(".py")
    )
    return sorted(islice(found, CANDIDATES_LIMIT), key=lambda each: (each.count("/"), each))


def _meant(plan: Plan, field: str, name: str, known: Sequence[str]) -> str:
    mark = "." if field == MODULE_FIELD else "/"
    last = name.rpartition(mark)[2]
    deeper = [each for each in known if each.endswith(mark + name)]
    alike = [each for each in known if each.rpartition(mark)[2].lower() == last.lower()]
    close = deeper or alike or difflib.get_close_matches(name, known, 1, 0.6)
    if close:
        into = "; or put what the folder holds into the working directory: into: . beside its uri in spec.dependencies.files"
        return f"did you mean {close[0]}? Write it into {field}{into if deeper and plan.files else ''}"
    there = ", ".join(known[:5]) + (", …" if len(known) > 5 else "")
    return f"the dependencies bring {there}" if there else "the dependencies bring no Python file: name them in spec.dependencies"


__all__ = ["Entry", "find", "folder_of", "place", "with_project"]
