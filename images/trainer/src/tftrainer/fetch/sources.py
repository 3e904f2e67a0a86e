"""What the job names, looked up in its buckets: which objects there are, how large, and where each will lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePath
from typing import Final

from tftrainer.contract import Plan, Reason
from tftrainer.fetch.argument import named_by
from tftrainer.fetch.arguments import Arguments
from tftrainer.fetch.buckets import Buckets, is_own, missing, parse, placed
from tftrainer.fetch.wanted import ARCHIVE_FIELD, SCRIPT_FIELD, Found, Wanted, file_field, input_field
from tftrainer.layout import Layout
from tftrainer.phase_error import PhaseError
from tftrainer.uri import Uri

ARCHIVE_NAME_LIMIT: Final = 200
"""Bytes of an archive's file name: what it is unpacked into has a longer one."""
LookUp = Callable[[], Found]


def look_ups(plan: Plan, layout: Layout, buckets: Buckets) -> list[LookUp]:
    """Return the look-ups that the job needs; each may raise `PhaseError`, and all may run at once."""
    finder, arguments = _Finder(plan, layout, buckets), Arguments(plan, layout, buckets)
    found: list[LookUp] = []
    if plan.script.uri is not None:
        found.append(partial(finder.code, SCRIPT_FIELD, plan.script.uri, plan.script.sha256, "script"))
    if plan.archive is not None:
        found.append(partial(finder.code, ARCHIVE_FIELD, plan.archive.uri, plan.archive.sha256, "archive"))
    found += [partial(finder.file, index, each.uri, each.sha256) for index, each in enumerate(plan.files)]
    found += [partial(finder.input, each.name, each.uri) for each in plan.inputs]
    for index, each in enumerate(plan.args):
        found += [partial(arguments.look_up, f"spec.args[{index}]", named) for named in named_by(each, arguments.resolve)]
    return found


class _Finder:
    def __init__(self, plan: Plan, layout: Layout, buckets: Buckets) -> None:
        self._plan = plan
        self._layout = layout
        self._buckets = buckets

    def code(self, field: str, text: str, sha256: str | None, role: str) -> Found:
        """Look up the script or the archive."""
        name = parse(field, text)
        if name.is_folder:
            raise PhaseError(Reason.INVALID_SPEC, f"{field} is {text!r}, expected one object, not a folder", "remove the / at the end")
        target = self._layout.code / self._plan.script.name if role == "script" else self._layout.dependencies / _archive_name(name.name)
        return Found((self._object(field, name, target, role, sha256),))

    def file(self, index: int, text: str, sha256: str | None) -> Found:
        """Look up a file or folder that is copied beside the script."""
        field = file_field(index)
        name = parse(field, text)
        target = self._layout.code / name.name
        if not name.is_folder:
            return Found((self._object(field, name, target, "files", sha256),))
        if sha256 is not None:
            raise PhaseError(
                Reason.INVALID_SPEC, f"{field} is the folder {text!r}, which has no sha256", "remove sha256, or name one object"
            )
        return self._folder(field, name, target, "files")

    def input(self, name: str, text: str) -> Found:
        """Look up a declared input."""
        field = input_field(name)
        found = parse(field, text)
        target = self._layout.inputs / name
        if found.is_folder:
            return self._folder(field, found, target, "data")
        return Found((self._object(field, found, target / found.name, "data", None),), (target,))

    def _object(self, field: str, name: Uri, target: Path, role: str, sha256: str | None) -> Wanted:
        store, key = self._buckets.locate(name, field)
        info = store.find(key)
        if info is None:
            raise missing(store, key, field)
        return Wanted(store, info, target, role, field, sha256)

    def _folder(self, field: str, name: Uri, target: Path, role: str) -> Found:
        store, key = self._buckets.locate(name, field)
        found = [placed(store, info, key, target, role, field) for info in store.list(key) if not is_own(store, info)]
        if not found:
            raise missing(store, key, field)
        return Found(tuple(found), (target,))


def _archive_name(name: str) -> str:
    """Return the file name of the archive: the object's own, unless a module path cannot hold it or the product's own names could meet it.

    A plain Python file keeps its name in any case: it is the module's, and its folder is what goes onto the path.
    """
    if PurePath(name).suffix == ".py":
        return name
    is_safe = os.pathsep not in name and not name.startswith(".") and len(name.encode()) <= ARCHIVE_NAME_LIMIT
    return name if is_safe else "archive.zip"
