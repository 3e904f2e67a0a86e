"""Files into the bucket; and the model among them."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tftrainer.at_once import for_each
from tftrainer.messages.contract import SAVED_MODEL, Failure, PublishedModel, Reason
from tftrainer.messages.manifest import PublishedObject
from tftrainer.outputs.tree import LocalFile, open_file
from tftrainer.phase_error import PhaseError, clip
from tftrainer.progress import Progress
from tftrainer.storage.condition import Condition
from tftrainer.storage.errors import ConditionError
from tftrainer.storage.interface import Store
from tftrainer.storage.transfer import unheard
from tftrainer.storage.upload import SINGLE

FILES_AT_ONCE: Final = 8
SILENT_SECONDS: Final = 60.0
"""An upload that failed, and for so long could not send on, has met silence. Half of what one request is repeated for, and far longer
than the next of a file's parts waits for its turn."""
FAILURES_TOLD: Final = 20
"""Failures that are told one by one."""

Uploaded = dict[LocalFile, PublishedObject]
"""Files that are in the bucket as they are: what has the same size, times and inode needs no second upload."""


class Outage:
    """Tells a store that is gone from one that does not take some of the objects, over all uploads of a run. `seconds` is a clock.

    It is gone once an upload has met silence (see `SILENT_SECONDS`), one that began after that has too, and none has succeeded
    between. Whatever else the store says to an upload is an answer. Not safe to use from several threads.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._silent_since: float | None = None
        self.given_up = False

    def worked(self) -> None:
        """Take note of an object that is there."""
        self._silent_since = None

    def failed(self, sending: Sending) -> None:
        """Take note of an object that was not taken, and for which the store was not available."""
        if sending.silence() <= SILENT_SECONDS:
            return
        if self._silent_since is None:
            self._silent_since = self.seconds()
        elif sending.began >= self._silent_since:
            self.given_up = True


class Sending:
    """How long an upload that begins now was at most without sending on; `seconds` is a clock.

    The longest pause counts, not the last: of a file of which a part has failed, the rest is read, but not sent.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.began = self._last = seconds()
        self._longest = 0.0

    def moved(self) -> None:
        """Take note of bytes that were sent."""
        self._longest = self.silence()
        self._last = self._seconds()

    def silence(self) -> float:
        """Return the longest pause in seconds, the one until now among them."""
        return max(self._longest, self._seconds() - self._last)


@dataclass(slots=True)
class Sent:
    """What became of files that were to be uploaded: objects, failures, the first of them in words, and what a condition has refused."""

    done: list[PublishedObject] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    refused: list[LocalFile] = field(default_factory=list)


def unconditional(_: LocalFile) -> Condition | None:
    """Put no condition on an upload."""
    return None


def upload_all(
    store: Store,
    root: Path,
    prefix: str,
    files: Sequence[LocalFile],
    say: Callable[[str], None],
    uploaded: Mapping[LocalFile, PublishedObject] = MappingProxyType({}),
    outage: Outage | None = None,
    condition: Callable[[LocalFile], Condition | None] = unconditional,
) -> Sent:
    """Upload the files below `root` to `prefix` + path, each on its `condition`, and say how far it is.

    Where `condition` raises a `PhaseError`, that is what the upload of the file would have ended with, such as a `ConditionError`.
    A file that cannot be read or that the store does not take fails alone. Only with a store that is gone the rest is not tried: see
    `Outage`, which uploads that follow one another share. What was `uploaded` already is taken as it is. Small files go several at a
    time, large ones one after the other in parallel parts: memory stays bounded.
    """
    known = [uploaded[file] for file in files if file in uploaded]
    files = [file for file in files if file not in uploaded]
    progress = Progress(len(files), sum(file.size for file in files), say)
    uploads = _Uploads(store, root, prefix, condition, outage or Outage(), progress)
    for_each((file for file in files if file.size <= SINGLE), uploads.upload, FILES_AT_ONCE)
    for file in files:
        if file.size > SINGLE:
            uploads.upload(file)
    sent = uploads.sent
    sent.done = sorted([*known, *sent.done], key=lambda each: each.key)
    return sent


@dataclass(slots=True)
class _Uploads:
    """Uploads that share a store and an outage; safe to use from several threads."""

    store: Store
    root: Path
    prefix: str
    condition: Callable[[LocalFile], Condition | None]
    outage: Outage
    progress: Progress
    sent: Sent = field(default_factory=Sent)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def upload(self, file: LocalFile) -> None:
        """Upload one file, and take note of what became of it."""
        if self.outage.given_up:
            with self.lock:
                self.sent.failed.add(file.path)
            return
        sending = Sending(self.outage.seconds)

        def advance(count: int) -> None:
            sending.moved()
            self.progress.add(count)

        try:
            written = upload_file(self.store, self.root, self.prefix, file, advance, self.condition(file))
        except ConditionError:
            with self.lock:
                self.outage.worked()
                self.sent.refused.append(file)
        except PhaseError as failed:
            with self.lock:
                self._failed(file, failed.failure, sending)
        else:
            with self.lock:
                self.outage.worked()
                self.sent.done.append(written)
            self.progress.complete()

    def _failed(self, file: LocalFile, failure: Failure, sending: Sending) -> None:
        if failure.reason is Reason.STORAGE_UNAVAILABLE:
            self.outage.failed(sending)
        self.sent.failed.add(file.path)
        if len(self.sent.failures) < FAILURES_TOLD:
            self.sent.failures.append(failure)


def digest_all(root: Path, prefix: str, files: Iterable[LocalFile]) -> list[PublishedObject]:
    """Return what `upload_all` would publish, without a store."""
    found = []
    for file in files:
        with os.fdopen(_open(root, file), "rb", buffering=0) as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            found.append(PublishedObject(key=prefix + file.path, size=opened.tell(), sha256=sha256))
    return sorted(found, key=lambda each: each.key)


def newest_model(
    files: Iterable[LocalFile], published: Sequence[PublishedObject], prefix: str, uri: Callable[[str], str]
) -> PublishedModel | None:
    """Return the SavedModel whose `saved_model.pb` was written last, None if the run wrote none. `uri` turns a key into a URI."""
    by_key = {each.key: each for each in published}
    candidates = [
        file for file in files if (file.path == SAVED_MODEL or file.path.endswith(f"/{SAVED_MODEL}")) and prefix + file.path in by_key
    ]
    if not candidates:
        return None
    newest = max(candidates, key=lambda file: (file.mtime_ns, file.path))
    folder = prefix + newest.path.removesuffix(SAVED_MODEL)
    parts = [each for each in published if each.key.startswith(folder)]
    return PublishedModel(
        uri=clip(uri(folder), 1200), sha256=by_key[prefix + newest.path].sha256, bytes=sum(each.size for each in parts), objects=len(parts)
    )


def _open(root: Path, file: LocalFile) -> int:
    try:
        return open_file(root, file.source)
    except OSError as error:
        raise PhaseError(
            Reason.PUBLISH_FAILED,
            f"output {file.path!r} cannot be read: {error.strerror or error}",
            "leave outputs readable for their owner",
        ) from None


def upload_file(
    store: Store,
    root: Path,
    prefix: str,
    file: LocalFile,
    progress: Callable[[int], None] = unheard,
    condition: Condition | None = None,
) -> PublishedObject:
    """Upload one file below `root` to `prefix` + path; `progress` is told of the bytes as they are sent.

    Raises:
        ConditionError: the condition did not hold, and nothing was written.
        PhaseError: the file cannot be read, or the store fails.
    """
    key = prefix + file.path
    with os.fdopen(_open(root, file), "rb", buffering=0) as opened:
        written = store.upload(key, opened, os.fstat(opened.fileno()).st_size, progress, condition=condition)
    return PublishedObject(key=key, size=written.size, sha256=written.sha256, etag=written.etag)
