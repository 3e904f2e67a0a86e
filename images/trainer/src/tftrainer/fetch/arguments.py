"""What the arguments of the script name, looked up in the job's buckets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final

from tftrainer import placeholders, uri
from tftrainer.checkpoints import saved, tf_checkpoint
from tftrainer.fetch.buckets import Buckets, is_own, missing, parse, placeable
from tftrainer.fetch.neighbours import is_slip, neighbour
from tftrainer.fetch.references import Named
from tftrainer.fetch.seen import NOTHING_SEEN, Seen, look_at_outputs
from tftrainer.fetch.wanted import Batch, Found, input_field
from tftrainer.layout import Layout
from tftrainer.messages.contract import Plan, Reason
from tftrainer.phase_error import PhaseError, clip
from tftrainer.progress import size
from tftrainer.storage.interface import Store
from tftrainer.storage.store import ObjectInfo
from tftrainer.uri import Root, Uri, is_within

SHOWN_LIMIT: Final = 120
"""Characters of an argument that the log shows."""
PATTERN_LIMIT: Final = 100_000
"""Objects that are compared with a pattern: what a hundred requests list."""


class _UndecidedError(Exception):
    """Too many objects would have to be compared with a pattern."""


class Arguments:
    """Looks up arguments; what they may fetch depends on the rest of the plan."""

    def __init__(self, plan: Plan, layout: Layout, buckets: Buckets) -> None:
        self._plan = plan
        self._layout = layout
        self._buckets = buckets
        self._checkpoints = saved.folder_key(plan.checkpoints) if plan.checkpoints else None
        self._outputs = tuple(_output(index, each.path) for index, each in enumerate(plan.outputs))
        self._declared = tuple(self._declared_inputs())

    def resolve(self, text: str) -> str:
        """Return text with its placeholders replaced."""
        return placeholders.resolve(text, self._plan, str(self._layout.workspace))

    def look_up(self, field: str, named: Named) -> Found:
        """Look up what an argument names; what does not exist in the bucket is an output, and what is no key is text."""
        if named.not_a_key:
            return self._text(field, named, "is not a key", f": {named.not_a_key}")
        store, key = self._buckets.locate(Uri(named.root, named.key), field)
        if named.root is Root.BUCKET and self._checkpoints and is_within(named.key, self._checkpoints):
            # Of the folder of checkpoints, or what lies in it, the script finds what was restored and nothing else.
            return Found(folders=self._place(named))
        if named.root is Root.BUCKET and any(is_within(named.key, each) for each in self._outputs):
            fact = f"{field}: {store.uri(key)} is only written, as spec.outputs says, so nothing is fetched"
            return Found(folders=self._place(named), facts=(fact,))
        try:
            found = self._existing(field, store, key, named)
        except _UndecidedError:
            return self._undecided(field, store, key, named)
        seen = _seen(named)
        if found:
            return Found(found, seen=seen)
        if named.is_format:
            text = self._text(field, named, "is no object, and may be a format that the script completes")
            return replace(text, seen=seen)
        if named.root is Root.DATASETS:
            raise missing(store, key, field, pattern=named.is_pattern)
        place = self._place(named)
        if any(named.matches(each) for each in (self._checkpoints, *self._outputs) if each):
            fact = f"{field}: of {store.uri(key)} nothing is fetched: no more is there than spec.outputs and spec.checkpoints name"
            return Found(folders=place, facts=(fact,))
        made = ", and its folder is made" if named.is_folder and place else ""
        fact = f"{field}: nothing is at {store.uri(key)}, so it is taken for something that the script will write{made}"
        close = None if named.is_pattern else neighbour(store, key)
        if close is None or not is_slip(key, close):
            return Found(folders=place, facts=(fact,), seen=seen)
        meant = f"${{bucket}}/{close.removeprefix(store.credentials.prefix)}"
        at = str(uri.local_path(self._layout.bucket, named.key))
        return Found(folders=place, facts=(f"{fact}; beside it there is {meant}",), seen=seen, near=((at, meant),))

    def outputs(self) -> Found:
        """Look at what lies where the script only writes; nothing of it is fetched."""
        seen, facts = look_at_outputs(self._buckets.storage, self._outputs, (self._checkpoints,) if self._checkpoints else ())
        return Found(facts=facts, seen=seen)

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

    def _existing(self, field: str, store: Store, key: str, named: Named) -> Batch:
        """Return what is there: the object and the folder of that name or, where neither is, what matches it."""
        names = f"{field} names {store.uri(key)}"
        local = self._layout.datasets if named.root is Root.DATASETS else self._layout.bucket
        top = store.credentials.key("")
        if named.may_exist:
            info = None if named.is_folder else store.find(key)
            folder = key if named.is_folder else key + "/"
            below = placeable(store, self._limited(store, self._listed(store, folder), names), folder, field)
            batch = Batch(store, top, local, field, below if info is None else chain((info,), below))
            if batch:
                return batch
        if named.is_pattern:
            found: Iterable[ObjectInfo] = self._matching(store, named)
        else:
            found = () if named.is_folder else self._checkpoint(store, key)
        return Batch(store, top, local, field, placeable(store, self._limited(store, found, names), top, field))

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
        data = [each for each in self._listed(store, tf_checkpoint.data_of(key)) if tf_checkpoint.name_of(each.key) is not None]
        return [index, *([graph] if graph is not None else []), *data]

    def _limited(self, store: Store, found: Iterable[ObjectInfo], names: str) -> Iterator[ObjectInfo]:
        """Yield objects up to the size that is fetched undeclared; what `spec.inputs` has too is declared, however large."""
        total = 0
        for info in found:
            if not any(store is of and is_within(info.key, folder) for of, folder in self._declared):
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
            if not is_own(store, info) and not any(is_within(info.key, each) for each in apart):
                yield info

    def _declared_inputs(self) -> Iterator[tuple[Store, str]]:
        for each in self._plan.inputs:
            # What is wrong with an input is told where it is looked up itself.
            with contextlib.suppress(PhaseError):
                field = input_field(each.name)
                yield self._buckets.locate(parse(field, each.uri, whole=True), field)


def _seen(named: Named) -> Seen:
    """Return of what all has been seen, once an argument is looked up. Of a pattern it is only what matches."""
    if named.root is not Root.BUCKET or named.is_pattern:
        return NOTHING_SEEN
    return Seen((named.key,) if named.is_folder else (named.key, f"{named.key}/"))


def _output(index: int, text: str) -> str:
    field = f"spec.outputs[{index}].path"
    name = parse(field, text)
    if name.root is not Root.BUCKET:
        raise PhaseError(Reason.INVALID_SPEC, f"{field} is {text!r}, expected a path below ${{bucket}}", f"correct {field}")
    return name.key
