"""The job's buckets, and what the fields of the spec name in them: where it is, where it will lie, and what to say if it is missing."""

from __future__ import annotations

import difflib
from itertools import islice
from pathlib import Path
from typing import Final

from tftrainer import saved, uri
from tftrainer.contract import Reason
from tftrainer.fetch.wanted import ARCHIVE_FIELD, SCRIPT_FIELD, Wanted
from tftrainer.phase_error import PhaseError
from tftrainer.storage.interface import Store
from tftrainer.storage.store import ObjectInfo
from tftrainer.uri import Root, Uri

NEIGHBOURS_LIMIT: Final = 1000
"""Objects that are compared with a key that is missing: what one request lists."""


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


def placed(store: Store, info: ObjectInfo, prefix: str, target: Path, role: str, field: str) -> Wanted:
    """Return an object of a folder as what is fetched below `target`; `prefix` is the folder's key.

    Raises:
        PhaseError: `InputConflict`, its key cannot be a path.
    """
    try:
        local = uri.local_path(target, info.key.removeprefix(prefix))
    except uri.UriError as error:
        raise PhaseError(
            Reason.INPUT_CONFLICT, f"folder {store.uri(prefix)} ({field}) cannot become files: {error}", "rename or remove that object"
        ) from None
    return Wanted(store, info, local, role, field)


def is_own(store: Store, info: ObjectInfo) -> bool:
    """Whether the object is the product's own, which no job is given."""
    return saved.is_reserved(info.key.removeprefix(store.credentials.prefix))


def parse(field: str, text: str) -> Uri:
    """Read the URI that a field holds.

    Raises:
        PhaseError: `InvalidSpec`, naming the field.
    """
    try:
        return uri.parse(text)
    except uri.UriError as error:
        raise PhaseError(Reason.INVALID_SPEC, f"{field}: {error}", f"correct {field}") from None


def missing(store: Store, key: str, field: str, *, pattern: bool = False) -> PhaseError:
    """Return the failure for what a field names and is not there, with the key beside it that is most like it."""
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
            if bool(slash) == key.endswith("/") and not is_own(store, info):
                beside.setdefault(first.lower(), parent + first + slash)
    except PhaseError:
        # Whoever may read an object need not have the right to list; what is missing is told all the same.
        return None
    close = difflib.get_close_matches(name.lower(), beside, 1, 0.7)
    return beside[close[0]] if close else None
