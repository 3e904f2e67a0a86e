"""What the job names, looked up in its buckets: which objects there are, how large, and where each will lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePath
from typing import Final

from tftrainer import uri
from tftrainer.fetch import entry
from tftrainer.fetch.arguments import Arguments
from tftrainer.fetch.buckets import Buckets, is_own, missing, parse, placeable
from tftrainer.fetch.references import named_by
from tftrainer.fetch.wanted import ARCHIVE_FIELD, SCRIPT_FIELD, Batch, Found, Wanted, file_field, input_field
from tftrainer.layout import Layout
from tftrainer.messages.contract import Plan, Reason, Reference
from tftrainer.phase_error import PhaseError
from tftrainer.progress import counted
from tftrainer.storage.interface import Store
from tftrainer.storage.store import ObjectInfo
from tftrainer.uri import Uri

ARCHIVE_NAME_LIMIT: Final = 200
"""Bytes of an archive's file name: what it is unpacked into has a longer one."""
NEVER_CODE: Final = frozenset({".git", ".hg", ".svn", "__pycache__"})
"""Folders, anywhere in one of code, that are left out: no script needs a history, nor what Python has compiled elsewhere."""
LookUp = Callable[[], Found]


def look_ups(plan: Plan, layout: Layout, buckets: Buckets) -> list[LookUp]:
    """Return the look-ups that the job needs; each may raise `PhaseError`, and all may run at once."""
    finder, arguments = _Finder(plan, layout, buckets), Arguments(plan, layout, buckets)
    found: list[LookUp] = []
    if plan.script.uri is not None:
        found.append(partial(finder.code, SCRIPT_FIELD, plan.script.uri, plan.script.sha256, "script"))
    if plan.archive is not None:
        found.append(partial(finder.code, ARCHIVE_FIELD, plan.archive.uri, plan.archive.sha256, "archive"))
    found += [partial(finder.file, index, each) for index, each in enumerate(plan.files)]
    found += [partial(finder.input, each.name, each.uri) for each in plan.inputs]
    for index, each in enumerate(plan.args):
        found += [partial(arguments.look_up, f"spec.args[{index}]", named) for named in named_by(each, arguments.resolve)]
    if plan.outputs:
        found.append(arguments.outputs)
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

    def file(self, index: int, named: Reference) -> Found:
        """Look up a file or folder that is copied beside the script, or into another folder of its own."""
        field = file_field(index)
        name = parse(field, named.uri)
        into = entry.place(self._layout.code, index, named.into)
        if not name.is_folder:
            return Found((self._object(field, name, into / name.name, "files", named.sha256),))
        if named.sha256 is not None:
            raise PhaseError(
                Reason.INVALID_SPEC, f"{field} is the folder {named.uri!r}, which has no sha256", "remove sha256, or name one object"
            )
        target = entry.folder_of(self._layout.code, index, named)
        store, key = self._buckets.locate(name, field)
        wanted, left = [], 0
        for each in _below(store, key, field):
            path = each.key.removeprefix(key)
            if not _is_left_out(path):
                wanted.append(Wanted(store, each, uri.local_path(target, path), "files", field))
            else:
                left += 1
        if not wanted:
            raise missing(store, key, field)
        facts = [] if named.into else [f"{field}: what it holds lies in {name.name}/; with into: . it lies beside the script"]
        facts += [f"{field}: {counted(left, 'object')} in {', '.join(sorted(NEVER_CODE))} left out"] if left else []
        return Found(tuple(wanted), (target,), tuple(facts))

    def input(self, name: str, text: str) -> Found:
        """Look up a declared input."""
        field = input_field(name)
        found = parse(field, text, whole=True)
        target = self._layout.inputs / name
        if found.is_folder:
            store, key = self._buckets.locate(found, field)
            batch = Batch(store, key, target, field, _below(store, key, field))
            if not batch:
                raise missing(store, key, field)
            return Found(batch, (target,))
        return Found((self._object(field, found, target / found.name, "data", None),), (target,))

    def _object(self, field: str, name: Uri, target: Path, role: str, sha256: str | None) -> Wanted:
        store, key = self._buckets.locate(name, field)
        info = store.find(key)
        if info is None:
            raise missing(store, key, field)
        return Wanted(store, info, target, role, field, sha256)


def left_out(index: int, named: Reference, buckets: Buckets, root: Path) -> list[Wanted]:
    """Look up what is left out of a folder of `dependencies.files`, to be put below `root` as it lies in the folder."""
    field = file_field(index)
    store, key = buckets.locate(parse(field, named.uri), field)
    found = ((each, each.key.removeprefix(key)) for each in _below(store, key, field))
    return [Wanted(store, each, uri.local_path(root, path), "files", field) for each, path in found if _is_left_out(path)]


def _is_left_out(path: str) -> bool:
    return not NEVER_CODE.isdisjoint(path.split("/")[:-1])


def _below(store: Store, key: str, field: str) -> Iterator[ObjectInfo]:
    return placeable(store, (info for info in store.list(key) if not is_own(store, info)), key, field)


def _archive_name(name: str) -> str:
    """Return the file name of the archive: the object's own, unless a module path cannot hold it or the product's own names could meet it.

    A plain Python file keeps its name in any case: it is the module's, and its folder is what goes onto the path.
    """
    if PurePath(name).suffix == ".py":
        return name
    is_safe = os.pathsep not in name and not name.startswith(".") and len(name.encode()) <= ARCHIVE_NAME_LIMIT
    return name if is_safe else "archive.zip"
