"""Files into the bucket, each read once; and the model among them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tftrainer.contract import Failure, PublishedModel, Reason
from tftrainer.manifest import PublishedObject
from tftrainer.phase_error import PhaseError, clip
from tftrainer.progress import Progress
from tftrainer.publish.tree import LocalFile, open_file
from tftrainer.storage.interface import Store
from tftrainer.storage.store import PART, Written
from tftrainer.storage.transfer import HashingReader, unheard

FILES_AT_ONCE: Final = 8
SAVED_MODEL: Final = "saved_model.pb"
SILENT_SECONDS: Final = 60.0
"""An upload that failed, and for so long could not send on, has met silence. Half of what one request is repeated for, and far longer
than the next of a file's parts waits for its turn."""
FAILURES_TOLD: Final = 20
"""Failures that are told one by one."""
_BLOCK: Final = 1024**2


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
        """Take note of bytes that were read, as there was room to send them."""
        self._longest = self.silence()
        self._last = self._seconds()

    def silence(self) -> float:
        """Return the longest pause in seconds, the one until now among them."""
        return max(self._longest, self._seconds() - self._last)


def upload_all(
    store: Store,
    root: Path,
    prefix: str,
    files: Sequence[LocalFile],
    say: Callable[[str], None],
    uploaded: Mapping[LocalFile, PublishedObject] = MappingProxyType({}),
    outage: Outage | None = None,
) -> tuple[list[PublishedObject], list[Failure]]:
    """Upload the files below `root` to `prefix` + path, and say how far it is; the first failures are returned beside what is there.

    A file that cannot be read or that the store does not take fails alone. Only with a store that is gone the rest is not tried: see
    `Outage`, which uploads that follow one another share. What was `uploaded` already is taken as it is. Small files go several at a
    time, large ones one after the other in parallel parts: memory stays bounded.
    """
    done: list[PublishedObject] = [uploaded[file] for file in files if file in uploaded]
    files = [file for file in files if file not in uploaded]
    failures: list[Failure] = []
    progress = Progress(len(files), sum(file.size for file in files), say)
    lock = threading.Lock()
    outage = outage or Outage()

    def upload(file: LocalFile) -> None:
        if outage.given_up:
            return
        sending = Sending(outage.seconds)

        def advance(count: int) -> None:
            sending.moved()
            progress.add(count)

        try:
            written = upload_file(store, root, prefix, file, advance)
        except PhaseError as failed:
            with lock:
                if failed.failure.reason is Reason.STORAGE_UNAVAILABLE:
                    outage.failed(sending)
                if len(failures) < FAILURES_TOLD:
                    failures.append(failed.failure)
            return
        with lock:
            outage.worked()
            done.append(written)
        progress.complete()

    small = [file for file in files if file.size <= PART]
    if small:
        with ThreadPoolExecutor(min(FILES_AT_ONCE, len(small))) as pool:
            list(pool.map(upload, small))
    for file in files:
        if file.size > PART:
            upload(file)
    return sorted(done, key=lambda each: each.key), failures


def digest_all(root: Path, prefix: str, files: Iterable[LocalFile]) -> list[PublishedObject]:
    """Return what `upload_all` would publish, without a store."""
    found = []
    for file in files:
        with os.fdopen(_open(root, file), "rb", buffering=0) as opened:
            reader = HashingReader(opened)
            size = 0
            while block := reader.read(_BLOCK):
                size += len(block)
        found.append(PublishedObject(key=prefix + file.path, size=size, sha256=reader.hexdigest()))
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


def upload_file(store: Store, root: Path, prefix: str, file: LocalFile, progress: Callable[[int], None] = unheard) -> PublishedObject:
    """Upload one file below `root` to `prefix` + path; `progress` is told of the bytes as they are read.

    Raises:
        PhaseError: the file cannot be read, or the store fails.
    """
    key = prefix + file.path
    written = _send(store, root, file, key, progress)
    if written is None:
        # The answer to a large upload's last request was lost, or held an error: whether it counts, nobody can tell any more.
        written = _send(store, root, file, key, progress)
    if written is None:
        raise PhaseError(
            Reason.STORAGE_UNAVAILABLE,
            f"{store.uri(key)} is not what was uploaded, after two tries",
            "the store loses or changes writes; have it repaired",
        )
    return PublishedObject(key=key, size=written.size, sha256=written.sha256, etag=written.etag)


def _send(store: Store, root: Path, file: LocalFile, key: str, progress: Callable[[int], None]) -> Written | None:
    """Upload the file once; None if it is not known to be there, and trying again may help."""
    with os.fdopen(_open(root, file), "rb", buffering=0) as opened:
        size = os.fstat(opened.fileno()).st_size
        try:
            written = store.upload(key, opened, size, progress)
        except PhaseError as failed:
            if size > PART and failed.failure.reason is Reason.OBJECT_NOT_FOUND:
                # No such upload: it was completed and the answer lost, or a cleaner of the store has removed its parts.
                return None
            raise
    if size <= PART:
        return written
    # A large upload is put together by the server, which may fail after it has answered with success.
    found = store.find(key)
    same = found is not None and found.size == written.size and bool(written.etag) and found.etag.strip('"') == written.etag.strip('"')
    return written if same else None
