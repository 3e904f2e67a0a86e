"""What the job names, looked up in its buckets: which objects there are, how large, and where each will lie."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePath
from typing import Final

from tftrainer import placeholders, saved, tf_checkpoint, uri
from tftrainer.contract import Plan, Reason
from tftrainer.fetch.argument import Named, named_by
from tftrainer.layout import Layout
from tftrainer.phase_error import PhaseError, clip
from tftrainer.progress import counted, size
from tftrainer.storage.interface import Store
from tftrainer.storage.store import ObjectInfo
from tftrainer.uri import Root, Uri

SCRIPT_FIELD: Final = "spec.script.uri"
ARCHIVE_FIELD: Final = "spec.dependencies.archive.uri"
ROLES: Final = ("script", "archive", "files", "data")
"""What an object is to the job, the strongest first: all but data is code, which is pinned."""
FACTS_LIMIT: Final = 32
ARCHIVE_NAME_LIMIT: Final = 200
"""Bytes of an archive's file name: what it is unpacked into has a longer one."""
SHOWN_LIMIT: Final = 120
"""Characters of an argument that the log shows."""
PATTERN_LIMIT: Final = 100_000
"""Objects that are compared with a pattern: what a hundred requests list."""
NEIGHBOURS_LIMIT: Final = 1000
"""Objects that are compared with a key that is missing: what one request lists."""


def file_field(index: int) -> str:
    """Return the field that names an entry of `dependencies.files`."""
    return f"spec.dependencies.files[{index}].uri"


def input_field(name: str) -> str:
    """Return the field that names a declared input."""
    return f"spec.inputs[{name}].uri"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object to fetch, named by `field` of the spec.

    `role` is one of `ROLES`; `sha256` what the job demands. `also` is the same object for the same place as other fields name it, each
    with its own role and demand.
    """

    store: Store
    info: ObjectInfo
    target: Path
    role: str
    field: str
    sha256: str | None = None
    also: tuple[Wanted, ...] = ()

    @property
    def names(self) -> tuple[Wanted, ...]:
        """The object as each field names it."""
        return (self, *self.also)

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


class _UndecidedError(Exception):
    """Too many objects would have to be compared with a pattern."""


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
    for index, each in enumerate(plan.args):
        found += [partial(finder.argument, f"spec.args[{index}]", named) for named in named_by(each, finder.resolve)]
    return found


def check_targets(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Return every object once, with all the fields that name it; its role is the strongest of theirs.

    Raises:
        PhaseError: `InputConflict`, two objects would be one file, or one would be the other's folder.
    """
    by_target: dict[Path, Wanted] = {}
    for each in wanted:
        other = by_target.get(each.target, each)
        if (other.store.credentials.host, other.uri) != (each.store.credentials.host, each.uri):
            raise PhaseError(
                Reason.INPUT_CONFLICT,
                f"{other.field} ({other.uri}) and {each.field} ({each.uri}) would both become the file {each.target.name!r}",
                "rename one of the objects, or put one into a folder",
            )
        by_target[each.target] = each if other is each else _together(other, each)
    _check_folders(by_target)
    return list(by_target.values())


def _together(one: Wanted, other: Wanted) -> Wanted:
    if any((each.field, each.sha256) == (other.field, other.sha256) for each in one.names):
        return one
    first, *rest = sorted((*one.names, other), key=lambda each: ROLES.index(each.role))
    return replace(first, also=tuple(replace(each, also=()) for each in rest))


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
    """Return in words what was found for each field of the spec: which object or how many, and how many bytes."""
    by_field: dict[str, list[Wanted]] = {}
    for each in wanted:
        for named in each.names:
            by_field.setdefault(named.field, []).append(each)
    texts = [
        f"{field}: {found[0].uri if len(found) == 1 else counted(len(found), 'object')}, {size(sum(each.info.size for each in found))}"
        for field, found in by_field.items()
    ]
    return texts if len(texts) <= FACTS_LIMIT else [*texts[:FACTS_LIMIT], f"and {len(texts) - FACTS_LIMIT} fields more"]


class _Finder:
    def __init__(self, plan: Plan, layout: Layout, buckets: Buckets) -> None:
        self._plan = plan
        self._layout = layout
        self._buckets = buckets
        self._checkpoints = saved.folder_key(plan.checkpoints) if plan.checkpoints else None
        self._outputs = tuple(_output(index, each) for index, each in enumerate(plan.outputs))
        self._declared = tuple(self._declared_inputs())

    def resolve(self, text: str) -> str:
        """Return text with its placeholders replaced."""
        return placeholders.resolve(text, self._plan, str(self._layout.workspace))

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
        field = input_field(name)
        found = _parse(field, text)
        target = self._layout.inputs / name
        if found.is_folder:
            return self._folder(field, found, target, "data")
        return Found((self._object(field, found, target / found.name, "data", None),), (target,))

    def argument(self, field: str, named: Named) -> Found:
        """Look up what an argument names; what does not exist in the bucket is an output, and what is no key is text."""
        if named.not_a_key:
            return self._text(field, named, "is not a key", f": {named.not_a_key}")
        store, key = self._buckets.locate(Uri(named.root, named.key), field)
        if named.root is Root.BUCKET and self._checkpoints and _is_within(named.key, self._checkpoints):
            # Of the folder of checkpoints, or what lies in it, the script finds what was restored and nothing else.
            return Found(folders=self._place(named))
        if named.root is Root.BUCKET and any(_is_within(named.key, each) for each in self._outputs):
            fact = f"{field}: {store.uri(key)} is only written, as spec.outputs says, so nothing is fetched"
            return Found(folders=self._place(named), facts=(fact,))
        try:
            found = self._existing(field, store, key, named)
        except _UndecidedError:
            return self._undecided(field, store, key, named)
        if found:
            return Found(tuple(found))
        if named.is_format:
            return self._text(field, named, "is no object, and may be a format that the script completes")
        if named.root is Root.DATASETS:
            raise _missing(store, key, field, pattern=named.is_pattern)
        place = self._place(named)
        if any(named.matches(each) for each in (self._checkpoints, *self._outputs) if each):
            fact = f"{field}: of {store.uri(key)} nothing is fetched: no more is there than spec.outputs and spec.checkpoints name"
            return Found(folders=place, facts=(fact,))
        made = ", and its folder is made" if named.is_folder and place else ""
        fact = f"{field}: nothing is at {store.uri(key)}, so it is taken for something that the script will write{made}"
        return Found(folders=place, facts=(fact,))

    def _text(self, field: str, named: Named, why: str, more: str = "") -> Found:
        # In the library, which is only read, nothing can be an output: the script will most likely miss it.
        warning = "warning: " if named.root is Root.DATASETS else ""
        fact = f"{warning}{field}: {clip(named.text, SHOWN_LIMIT)} {why}, so it is taken as text and nothing is fetched{more}"
        return Found(folders=self._place(named), facts=(fact,))

    def _undecided(self, field: str, store: Store, key: str, named: Named) -> Found:
        """Tell of a pattern that too many objects would have to be compared with; in the bucket it may be an output as well."""
        what = f"more than {PATTERN_LIMIT} objects would have to be compared with"
        if named.root is Root.BUCKET:
            fact = f"{field}: {what} {store.uri(key)}, so it is taken as text and nothing is fetched"
            return Found(folders=self._place(named), facts=(fact,))
        folder = named.before_wildcard.rpartition("/")[0]
        declare = f", or declare ${{datasets}}/{folder}/ in spec.inputs and use ${{inputs.NAME}} before the wildcard" if folder else ""
        raise PhaseError(
            Reason.INPUT_TOO_LARGE,
            f"{field} names {store.uri(key)}, and {what} it",
            f"put more of the path before the first wildcard, or what it is to match into a folder of its own{declare}",
        )

    def _place(self, named: Named) -> tuple[Path, ...]:
        """Return the folder that the script finds for what is not there: the one above, or with a / at the end the one that it names."""
        folder = named.key if named.is_folder and not named.not_a_key else named.key.rpartition("/")[0]
        if named.root is not Root.BUCKET or not folder or "*" in folder or "?" in folder:
            return ()
        try:
            return (uri.local_path(self._layout.bucket, folder),)
        except uri.UriError:
            return ()

    def _existing(self, field: str, store: Store, key: str, named: Named) -> list[Wanted]:
        """Return what is there: the object and the folder of that name or, where neither is, what matches it."""
        names = f"{field} names {store.uri(key)}"
        local = self._layout.datasets if named.root is Root.DATASETS else self._layout.bucket
        top = store.credentials.key("")
        if named.may_exist:
            target = uri.local_path(local, named.key)
            info = None if named.is_folder else store.find(key)
            folder = key if named.is_folder else key + "/"
            held = self._limited(store, self._listed(store, folder), names)
            below = [_wanted(store, each, folder, target, "data", field) for each in held]
            if info is not None or below:
                return [*([Wanted(store, info, target, "data", field)] if info is not None else []), *below]
        if named.is_pattern:
            found: Iterable[ObjectInfo] = self._matching(store, named)
        else:
            found = () if named.is_folder else self._checkpoint(store, key)
        return [_wanted(store, each, top, local, "data", field) for each in self._limited(store, found, names)]

    def _matching(self, store: Store, named: Named) -> Iterator[ObjectInfo]:
        for count, info in enumerate(self._listed(store, store.credentials.key(named.before_wildcard))):
            if count == PATTERN_LIMIT:
                raise _UndecidedError
            if named.matches(info.key.removeprefix(store.credentials.prefix)):
                yield info

    def _checkpoint(self, store: Store, key: str) -> list[ObjectInfo]:
        """Return the files of the TensorFlow checkpoint that the key is the name of; without an index there is none."""
        index = store.find(tf_checkpoint.index_of(key))
        if index is None:
            return []
        graph = store.find(tf_checkpoint.graph_of(key))
        data = [each for each in self._listed(store, tf_checkpoint.data_of(key)) if tf_checkpoint.is_part(each.key)]
        return [index, *([graph] if graph is not None else []), *data]

    def _limited(self, store: Store, found: Iterable[ObjectInfo], names: str) -> Iterator[ObjectInfo]:
        """Yield objects up to the size that is fetched undeclared; what `spec.inputs` has too is declared, however large."""
        total = 0
        for info in found:
            if not any(store is of and _is_within(info.key, folder) for of, folder in self._declared):
                total += info.size
            if total > self._plan.implicit_fetch_bytes:
                written = "name it in spec.outputs if the script only writes there, " if store is self._buckets.storage else ""
                read = "declare it in spec.inputs if the script reads all of it"
                raise PhaseError(
                    Reason.INPUT_TOO_LARGE,
                    f"{names}, which holds more than {size(self._plan.implicit_fetch_bytes)}, the most that is fetched undeclared",
                    f"{written}{read}, or name less",
                )
            yield info

    def _listed(self, store: Store, prefix: str) -> Iterator[ObjectInfo]:
        """Yield objects of the job's bucket or of the library, without what is restored, only written, or the product's own."""
        apart: list[str] = []
        if store is self._buckets.storage:
            apart = [store.credentials.key(each) for each in (self._checkpoints, *self._outputs) if each]
        for info in store.list(prefix):
            if not _is_own(store, info) and not any(_is_within(info.key, each) for each in apart):
                yield info

    def _declared_inputs(self) -> Iterator[tuple[Store, str]]:
        for each in self._plan.inputs:
            # What is wrong with an input is told where it is looked up itself.
            with contextlib.suppress(PhaseError):
                field = input_field(each.name)
                yield self._buckets.locate(_parse(field, each.uri), field)

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


def _is_within(key: str, folder: str) -> bool:
    """Whether the key is the folder, or that of something in it."""
    return f"{key.removesuffix('/')}/".startswith(f"{folder.removesuffix('/')}/")


def _output(index: int, text: str) -> str:
    field = f"spec.outputs[{index}].path"
    name = _parse(field, text)
    if name.root is not Root.BUCKET:
        raise PhaseError(Reason.INVALID_SPEC, f"{field} is {text!r}, expected a path below ${{bucket}}", f"correct {field}")
    return name.key


def _is_own(store: Store, info: ObjectInfo) -> bool:
    return saved.is_reserved(info.key.removeprefix(store.credentials.prefix))


def _parse(field: str, text: str) -> Uri:
    try:
        return uri.parse(text)
    except uri.UriError as error:
        raise PhaseError(Reason.INVALID_SPEC, f"{field}: {error}", f"correct {field}") from None


def _missing(store: Store, key: str, field: str, *, pattern: bool = False) -> PhaseError:
    folder = key.endswith("/")
    what = f"folder {store.uri(key)} is empty or does not exist" if folder else f"object {store.uri(key)} does not exist"
    if pattern:
        what = f"no object matches {store.uri(key)}"
    close = _neighbour(store, key)
    hints = [f"did you mean {store.uri(close)}?"] if close else ["check the key (capitals count)"]
    if not folder and not pattern and field not in (SCRIPT_FIELD, ARCHIVE_FIELD):
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
