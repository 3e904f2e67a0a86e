"""What the job names, looked up in its buckets: which objects there are, how large, and where each will lie."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePath
from typing import Final

from tftrainer import placeholders, saved, uri
from tftrainer.contract import Plan, Reason
from tftrainer.layout import Layout
from tftrainer.phase_error import PhaseError
from tftrainer.progress import counted, size
from tftrainer.storage.interface import Store
from tftrainer.storage.store import ObjectInfo
from tftrainer.uri import Root, Uri

SCRIPT_FIELD: Final = "spec.script.uri"
ARCHIVE_FIELD: Final = "spec.dependencies.archive.uri"
FACTS_LIMIT: Final = 32
ARCHIVE_NAME_LIMIT: Final = 200
"""Bytes of an archive's file name: what it is unpacked into has a longer one."""
NEIGHBOURS_LIMIT: Final = 1000
"""Objects that are compared with a key that is missing: what one request lists."""


def file_field(index: int) -> str:
    """Return the field that names an entry of `dependencies.files`."""
    return f"spec.dependencies.files[{index}].uri"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object to fetch, named by `field` of the spec.

    `role` is `script`, `archive`, `files` or `data`; `sha256` what the job demands.
    """

    store: Store
    info: ObjectInfo
    target: Path
    role: str
    field: str
    sha256: str | None = None

    @property
    def uri(self) -> str:
        """The object's URI."""
        return self.store.uri(self.info.key)


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one look-up: objects to fetch, folders to make, sentences for the log."""

    wanted: tuple[Wanted, ...] = ()
    folders: tuple[Path, ...] = ()
    facts: tuple[str, ...] = ()


LookUp = Callable[[], Found]


class Buckets:
    """The job's bucket and the dataset library, by what a URI is below."""

    def __init__(self, storage: Store, datasets: Store | None) -> None:
        self.storage = storage
        self.datasets = datasets

    def locate(self, name: Uri, field: str) -> tuple[Store, str]:
        """Return the store and the whole key of a URI.

        Raises:
            PhaseError: no Secret of the job is for that bucket.
        """
        if name.root is Root.BUCKET:
            return self.storage, self.storage.credentials.key(name.key)
        if name.root is Root.DATASETS:
            if self.datasets is None:
                raise PhaseError(
                    Reason.STORAGE_MISCONFIGURED,
                    f"{field} names {uri.format_uri(name)}, but the Secret of the dataset library is empty or missing",
                    "create the Secret that spec.datasets.secretName names",
                )
            return self.datasets, self.datasets.credentials.key(name.key)
        for store in (self.storage, self.datasets):
            if store is not None and store.credentials.bucket == name.bucket:
                return store, name.key
        raise PhaseError(
            Reason.INVALID_SPEC,
            f"{field} names {uri.format_uri(name)}, but the job's Secret is for bucket {self.storage.credentials.bucket!r}",
            "name an object of that bucket, or set spec.storage.secretName to the Secret of the other one",
        )


def look_ups(plan: Plan, layout: Layout, buckets: Buckets) -> list[LookUp]:
    """Return the look-ups that the job needs; each may raise `PhaseError`, and all may run at once."""
    finder = _Finder(plan, layout, buckets)
    found: list[LookUp] = []
    if plan.script.uri is not None:
        found.append(partial(finder.code, SCRIPT_FIELD, plan.script.uri, plan.script.sha256, "script"))
    if plan.archive is not None:
        found.append(partial(finder.code, ARCHIVE_FIELD, plan.archive.uri, plan.archive.sha256, "archive"))
    found += [partial(finder.file, index, each.uri, each.sha256) for index, each in enumerate(plan.files)]
    found += [partial(finder.input, each.name, each.uri) for each in plan.inputs]
    found += [partial(finder.argument, index, each) for index, each in enumerate(plan.args)]
    return found


def check_targets(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Return the objects without repetitions.

    Raises:
        PhaseError: `InputConflict`, two objects would be one file, or one would be the other's folder.
    """
    by_target: dict[Path, Wanted] = {}
    for each in wanted:
        other = by_target.setdefault(each.target, each)
        if other is not each and other.uri != each.uri:
            raise PhaseError(
                Reason.INPUT_CONFLICT,
                f"{other.field} ({other.uri}) and {each.field} ({each.uri}) would both become the file {each.target.name!r}",
                "rename one of the objects, or put one into a folder",
            )
    _check_folders(by_target)
    return list(by_target.values())


def _check_folders(by_target: Mapping[Path, Wanted]) -> None:
    passed: set[Path] = set()
    for each in by_target.values():
        for parent in each.target.parents:
            if parent in passed:
                break
            passed.add(parent)
            if parent in by_target:
                raise PhaseError(
                    Reason.INPUT_CONFLICT,
                    f"object {by_target[parent].uri} and the folder of {each.uri} would have the same path",
                    "rename one of them",
                )


def check_inline_script(plan: Plan, layout: Layout, wanted: Iterable[Wanted]) -> None:
    """Make sure that no object would take the place of an inline script.

    Raises:
        PhaseError: `InputConflict`.
    """
    script = layout.code / plan.script.name
    for each in wanted if plan.script.uri is None else ():
        if each.target == script or script in each.target.parents:
            raise PhaseError(
                Reason.INPUT_CONFLICT,
                f"spec.script.inline and {each.field} ({each.uri}) would both become {plan.script.name!r}",
                "give the script another name in spec.script.name, or rename the object",
            )


def facts(wanted: Iterable[Wanted]) -> list[str]:
    """Return in words what was found for each field of the spec: how many objects, how many bytes."""
    sizes: dict[str, list[int]] = {}
    for each in wanted:
        sizes.setdefault(each.field, []).append(each.info.size)
    texts = [f"{field}: {counted(len(found), 'object')}, {size(sum(found))}" for field, found in sizes.items()]
    return texts if len(texts) <= FACTS_LIMIT else [*texts[:FACTS_LIMIT], f"and {len(texts) - FACTS_LIMIT} fields more"]


class _Finder:
    def __init__(self, plan: Plan, layout: Layout, buckets: Buckets) -> None:
        self._plan = plan
        self._layout = layout
        self._buckets = buckets
        self._checkpoints = saved.folder_key(plan.checkpoints) if plan.checkpoints else None

    def code(self, field: str, text: str, sha256: str | None, role: str) -> Found:
        """Look up the script or the archive."""
        name = _parse(field, text)
        if name.is_folder:
            raise PhaseError(Reason.INVALID_SPEC, f"{field} is {text!r}, expected one object, not a folder", "remove the / at the end")
        target = self._layout.code / self._plan.script.name if role == "script" else self._layout.dependencies / _archive_name(name.name)
        return Found((self._object(field, name, target, role, sha256),))

    def file(self, index: int, text: str, sha256: str | None) -> Found:
        """Look up a file or folder that is copied beside the script."""
        field = file_field(index)
        name = _parse(field, text)
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
        field = f"spec.inputs[{name}].uri"
        found = _parse(field, text)
        target = self._layout.inputs / name
        if found.is_folder:
            return self._folder(field, found, target, "data")
        return Found((self._object(field, found, target / found.name, "data", None),), (target,))

    def argument(self, index: int, text: str) -> Found:
        """Look up what an argument names, if it names anything."""
        field = f"spec.args[{index}]"
        name = self._named_by(field, text)
        if name is None:
            return Found()
        store, key = self._buckets.locate(name, field)
        local = self._layout.datasets if name.root is Root.DATASETS else self._layout.bucket
        target = uri.local_path(local, name.key)
        if name.root is Root.BUCKET and self._checkpoints and f"{name.key.removesuffix('/')}/".startswith(self._checkpoints):
            # Of the folder of checkpoints, or what lies in it, the script finds what was restored and nothing else.
            return Found(folders=(target if name.is_folder else target.parent,))
        info = None if name.is_folder else store.find(key)
        below = self._below(store, key if name.is_folder else key + "/", target, field)
        if info is not None:
            return Found((Wanted(store, info, target, "data", field), *below))
        if below:
            return Found(tuple(below))
        if name.root is Root.DATASETS:
            raise _missing(store, key, field)
        # Nothing is there yet: the script will write it, and may expect its folder as in a mounted bucket.
        fact = f"{field}: nothing is at {store.uri(key)}, so it is taken for something that the script will write"
        return Found(folders=(target if name.is_folder else target.parent,), facts=(fact,))

    def _named_by(self, field: str, text: str) -> Uri | None:
        value = text.partition("=")[2] if text.startswith("-") and "=" in text else text
        head, slash, rest = value.partition("/")
        if not slash or not rest or head not in {f"${{{name}}}" for name in uri.ROOT_NAMES}:
            return None
        return _parse(field, f"{head}/{placeholders.resolve(rest, self._plan, str(self._layout.workspace))}")

    def _below(self, store: Store, prefix: str, target: Path, field: str) -> list[Wanted]:
        """Return the objects of a folder that only an argument names, up to the size that is fetched undeclared."""
        found: list[Wanted] = []
        total = 0
        for info in self._listed(store, prefix):
            total += info.size
            if total > self._plan.implicit_fetch_bytes:
                raise PhaseError(
                    Reason.INPUT_TOO_LARGE,
                    f"{field} names the folder {store.uri(prefix)}, which holds more than {size(self._plan.implicit_fetch_bytes)}",
                    "declare it in spec.inputs if the script reads all of it, or name a folder that holds less",
                )
            found.append(_wanted(store, info, prefix, target, "data", field))
        return found

    def _listed(self, store: Store, prefix: str) -> Iterable[ObjectInfo]:
        """Yield the objects of a folder of the job's bucket or of the library, without what is restored or the product's own."""
        restored = store.credentials.key(self._checkpoints) if self._checkpoints and store is self._buckets.storage else None
        for info in store.list(prefix):
            if not _is_own(store, info) and not (restored and info.key.startswith(restored)):
                yield info

    def _object(self, field: str, name: Uri, target: Path, role: str, sha256: str | None) -> Wanted:
        store, key = self._buckets.locate(name, field)
        info = store.find(key)
        if info is None:
            raise _missing(store, key, field)
        return Wanted(store, info, target, role, field, sha256)

    def _folder(self, field: str, name: Uri, target: Path, role: str) -> Found:
        store, key = self._buckets.locate(name, field)
        found = [_wanted(store, info, key, target, role, field) for info in store.list(key) if not _is_own(store, info)]
        if not found:
            raise _missing(store, key, field)
        return Found(tuple(found), (target,))


def _archive_name(name: str) -> str:
    """Return the file name of the archive: the object's own, unless a module path cannot hold it or the product's own names could meet it.

    A plain Python file keeps its name in any case: it is the module's, and its folder is what goes onto the path.
    """
    if PurePath(name).suffix == ".py":
        return name
    is_safe = os.pathsep not in name and not name.startswith(".") and len(name.encode()) <= ARCHIVE_NAME_LIMIT
    return name if is_safe else "archive.zip"


def _wanted(store: Store, info: ObjectInfo, prefix: str, target: Path, role: str, field: str) -> Wanted:
    try:
        local = uri.local_path(target, info.key.removeprefix(prefix))
    except uri.UriError as error:
        raise PhaseError(
            Reason.INPUT_CONFLICT, f"folder {store.uri(prefix)} ({field}) cannot become files: {error}", "rename or remove that object"
        ) from None
    return Wanted(store, info, local, role, field)


def _is_own(store: Store, info: ObjectInfo) -> bool:
    return saved.is_reserved(info.key.removeprefix(store.credentials.prefix))


def _parse(field: str, text: str) -> Uri:
    try:
        return uri.parse(text)
    except uri.UriError as error:
        raise PhaseError(Reason.INVALID_SPEC, f"{field}: {error}", f"correct {field}") from None


def _missing(store: Store, key: str, field: str) -> PhaseError:
    folder = key.endswith("/")
    what = f"folder {store.uri(key)} is empty or does not exist" if folder else f"object {store.uri(key)} does not exist"
    close = _neighbour(store, key)
    hints = [f"did you mean {store.uri(close)}?"] if close else ["check the key (capitals count)"]
    if not folder and field not in (SCRIPT_FIELD, ARCHIVE_FIELD):
        hints.append("a folder is named with / at its end")
    return PhaseError(Reason.OBJECT_NOT_FOUND, f"{what} (named by {field})", "; ".join(hints))


def _neighbour(store: Store, key: str) -> str | None:
    """Return the key beside a missing one that is most like it: an object's, or a folder's if a folder is missing."""
    above, _, name = key.removesuffix("/").rpartition("/")
    parent = f"{above}/" if above else ""
    beside: dict[str, str] = {}
    try:
        for info in islice(store.list(parent), NEIGHBOURS_LIMIT):
            first, slash, _ = info.key.removeprefix(parent).partition("/")
            if bool(slash) == key.endswith("/") and not _is_own(store, info):
                beside.setdefault(first.lower(), parent + first + slash)
    except PhaseError:
        # Whoever may read an object need not have the right to list; what is missing is told all the same.
        return None
    close = difflib.get_close_matches(name.lower(), beside, 1, 0.7)
    return beside[close[0]] if close else None
