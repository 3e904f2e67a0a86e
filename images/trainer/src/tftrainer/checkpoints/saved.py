"""The folder of `spec.checkpoints` in the bucket: which of its objects are one state of it, whole.

Beside the script's own files the folder holds an index, written last: whoever reads the objects that it lists, each of the ETag
that it gives, has what the script had at one moment. Objects that a later state replaces are copied aside first, and the index is
rewritten to name the copies; so at any moment, whatever is killed, one whole state can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from tftrainer.checkpoints import tf_checkpoint
from tftrainer.messages.contract import RESERVED, Message, Plan, Reason, WantedCheckpoints
from tftrainer.phase_error import PhaseError
from tftrainer.uri import Root, UriError, parse, segments

VERSION: Final = 1
INDEX_NAME: Final = f"{RESERVED}/checkpoint.json"
ASIDE: Final = f"{RESERVED}/aside/"
LIMIT: Final = 64 * 1024**2
"""Bytes of an index that are read; one of 10,000 files takes about 3 MB."""
FIELD: Final = "spec.checkpoints.path"


class SavedFile(Message, frozen=True):
    """One file. `path` is relative to the folder, `name` the object's key after the folder's; they differ for a copy put aside."""

    path: str
    name: str
    size: int
    etag: str
    sha256: str = ""


class SavedState(Message, frozen=True):
    """All files of one moment, and who saved them. `saved_at` is in Unix seconds."""

    version: int
    namespace: str
    job: str
    uid: str
    attempt: int
    saved_at: float
    files: tuple[SavedFile, ...] = ()

    def in_words(self) -> str:
        """Return what a reader wants to know of it, in one line."""
        return f"{described([each.path for each in self.files])}, saved by attempt {self.attempt} of {self.namespace}/{self.job}"[:256]


def described(paths: list[str]) -> str:
    """Return in words what the files are: the newest of TensorFlow's checkpoints among them, if there is one, and their number."""
    whole = [each for each in tf_checkpoint.checkpoints(paths).values() if each.whole]
    newest = max(whole, key=lambda each: (each.step, each.name), default=None)
    count = f"{len(paths)} file{'s' * (len(paths) != 1)}"
    return f"{newest.name[-120:]} ({count})" if newest else count


def model_below(plan: Plan, wanted: WantedCheckpoints) -> str:
    """Return the path of the promised model within the folder of checkpoints, empty if it lies elsewhere.

    It is no part of a checkpoint: nothing of it is put at its path before it was loaded.
    """
    folder = folder_key(wanted)
    key = parse(plan.model.path).key.rstrip("/") if plan.model is not None else ""
    return key.removeprefix(folder) if key.startswith(folder) else ""


def folder_key(wanted: WantedCheckpoints) -> str:
    """Return the key, below the Secret's prefix, of the folder of checkpoints; it ends with `/`.

    Raises:
        PhaseError: `InvalidSpec`.
    """
    try:
        found = parse(wanted.path)
    except UriError as error:
        raise PhaseError(Reason.INVALID_SPEC, f"{FIELD}: {error}", f"correct {FIELD}") from None
    if found.root is not Root.BUCKET:
        raise PhaseError(Reason.INVALID_SPEC, f"{FIELD} is {wanted.path!r}, expected a folder below ${{bucket}}", f"correct {FIELD}")
    return found.key.removesuffix("/") + "/"


def is_reserved(key: str) -> bool:
    """Whether an object of that key is the product's own, not a script's."""
    return RESERVED in key.split("/")


def stands(state: SavedState, objects: Mapping[str, tuple[int, str]]) -> bool:
    """Whether every file of the state is in the bucket as it was saved. `objects` gives sizes and ETags by names, as in `SavedFile`."""
    return all(objects.get(each.name) == (each.size, each.etag.strip('"')) for each in state.files)


def encode(state: SavedState) -> bytes:
    """Return the index as JSON."""
    return msgspec.json.format(msgspec.json.encode(state), indent=1)


def decode(data: bytes) -> SavedState | None:
    """Read an index; None if it is none, of a later version, or names anything outside its folder."""
    try:
        found = msgspec.json.decode(data, type=SavedState)
        for each in found.files:
            segments(each.path)
            segments(each.name)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, UriError):
        return None
    return found if found.version == VERSION else None
