"""What was seen in the job's bucket before the script starts: the publisher tells by it what somebody else has written since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tftrainer.messages.contract import Reason
from tftrainer.messages.handover import ListedObject
from tftrainer.storage.errors import StorageError
from tftrainer.storage.interface import Store
from tftrainer.storage.store import ObjectInfo
from tftrainer.uri import is_within

OUTPUTS_LIMIT: Final = 10_000
"""Objects of all declared outputs of a job that are remembered."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Keys, and folders that end with `/`, below the bucket's prefix. Of `listed` all was seen but what lies within `passed_over`.

    `others` were there and are not fetched.
    """

    listed: tuple[str, ...] = ()
    others: tuple[ListedObject, ...] = ()
    passed_over: tuple[str, ...] = ()


NOTHING_SEEN: Final = Seen()


def together(seen: Iterable[Seen]) -> Seen:
    """Return what several looks have seen between them; `listed` holds only what was seen whole."""
    every = list(seen)
    passed_over = tuple(key for each in every for key in each.passed_over)
    listed = dict.fromkeys(key for each in every for key in each.listed if not any(is_within(passed, key) for passed in passed_over))
    others = {other.path: other for each in every for other in each.others}
    return Seen(tuple(listed), tuple(others.values()), passed_over)


def look_at_outputs(store: Store, outputs: Sequence[str], apart: Sequence[str]) -> tuple[Seen, tuple[str, ...]]:
    """Look at what lies at the keys and folders `outputs`, below the prefix of `store`, and return it with sentences for the log.

    What lies within `apart` does not count.

    Raises:
        PhaseError: the store fails. That it may not be listed is no failure.
    """
    listed: list[str] = []
    others: list[ListedObject] = []
    passed_over: list[str] = []
    facts: list[str] = []
    for output in outputs:
        why = ""
        room = OUTPUTS_LIMIT - len(others)
        found: list[ObjectInfo] = []
        try:
            found = list(islice(_objects(store, output, apart), room + 1))
        except StorageError as failed:
            if failed.failure.reason is not Reason.STORAGE_DENIED:
                raise
            why = "the storage Secret may not list it"
        if len(found) > room:
            why = f"the outputs hold more than {OUTPUTS_LIMIT} objects"
        if why:
            passed_over.append(output)
            facts.append(f"{store.uri(store.credentials.key(output))}: {why}, so what others write there meanwhile is not noticed")
            continue
        listed += [output] if output.endswith("/") else [output, f"{output}/"]
        others += [ListedObject(path=each.key.removeprefix(store.credentials.prefix), etag=each.etag) for each in found]
    return Seen(tuple(listed), tuple(others), tuple(passed_over)), tuple(facts)


def _objects(store: Store, output: str, apart: Sequence[str]) -> Iterator[ObjectInfo]:
    key = store.credentials.key(output)
    if not output.endswith("/"):
        info = store.find(key)
        if info is not None:
            yield info
        key += "/"
    for info in store.list(key):
        if not any(is_within(info.key.removeprefix(store.credentials.prefix), each) for each in apart):
            yield info
