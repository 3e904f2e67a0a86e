"""The job's buckets, and what the fields of the spec name in them: where it is, where it will lie, and what to say if it is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tftrainer import uri
from tftrainer.checkpoints import saved
from tftrainer.fetch.neighbours import neighbour
from tftrainer.fetch.wanted import ARCHIVE_FIELD, SCRIPT_FIELD
from tftrainer.messages.contract import Reason
from tftrainer.phase_error import PhaseError
from tftrainer.storage.interface import Store
from tftrainer.storage.store import ObjectInfo
from tftrainer.uri import Root, Uri


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
                    "create it, under the name of spec.datasets.secretName or, without that, of the operator's configuration",
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


def placeable(store: Store, found: Iterable[ObjectInfo], prefix: str, field: str) -> Iterator[ObjectInfo]:
    """Yield the objects of a folder, `prefix` is its key, as long as each can become a file.

    Raises:
        PhaseError: `InputConflict`, a key cannot be a path.
    """
    for info in found:
        try:
            uri.segments(info.key.removeprefix(prefix))
        except uri.UriError as error:
            raise PhaseError(
                Reason.INPUT_CONFLICT, f"folder {store.uri(prefix)} ({field}) cannot become files: {error}", "rename or remove that object"
            ) from None
        yield info


def is_own(store: Store, info: ObjectInfo) -> bool:
    """Whether the object is the product's own, which no job is given."""
    return saved.is_reserved(info.key.removeprefix(store.credentials.prefix))


def parse(field: str, text: str, *, whole: bool = False) -> Uri:
    """Read the URI that a field holds; with `whole` it may name all of a bucket.

    Raises:
        PhaseError: `InvalidSpec`, naming the field.
    """
    try:
        return uri.parse(text, whole=whole)
    except uri.UriError as error:
        raise PhaseError(Reason.INVALID_SPEC, f"{field}: {error}", f"correct {field}") from None


def missing(store: Store, key: str, field: str, *, pattern: bool = False) -> PhaseError:
    """Return the failure for what a field names and is not there, with the key beside it that is most like it."""
    folder = not key or key.endswith("/")
    what = f"folder {store.uri(key)} is empty or does not exist" if folder else f"object {store.uri(key)} does not exist"
    if pattern:
        what = f"no object matches {store.uri(key)}"
    only_objects = field in (SCRIPT_FIELD, ARCHIVE_FIELD)
    close = neighbour(store, key, only_objects=only_objects)
    hints = [f"did you mean {store.uri(close)}?"] if close else ["check the key (capitals count)"]
    if not close and not folder and not pattern and not only_objects:
        hints.append("a folder is named with / at its end")
    return PhaseError(Reason.OBJECT_NOT_FOUND, f"{what} (named by {field})", "; ".join(hints))
