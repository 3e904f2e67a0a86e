"""Files into the bucket, each read once; and the model among them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tftrainer.contract import PublishedModel, Reason
from tftrainer.manifest import PublishedObject
from tftrainer.phase_error import PhaseError, clip
from tftrainer.progress import Progress
from tftrainer.publish.tree import LocalFile, open_file
from tftrainer.storage.interface import Store
from tftrainer.storage.store import PART, Written
from tftrainer.storage.transfer import HashingReader, unheard

FILES_AT_ONCE: Final = 8
SAVED_MODEL: Final = "saved_model.pb"
_BLOCK: Final = 1024**2


Uploaded = dict[LocalFile, PublishedObject]
"""Files that are in the bucket as they are: what has the same size, times and inode needs no second upload."""


def upload_all(
    store: Store,
    root: Path,
    prefix: str,
    files: Sequence[LocalFile],
    say: Callable[[str], None],
    uploaded: Mapping[LocalFile, PublishedObject] = MappingProxyType({}),
) -> tuple[list[PublishedObject], list[PhaseError]]:
    """Upload the files below `root` to `prefix` + path, and say how far it is; what failed is returned beside what is there.

    What was `uploaded` already is taken as it is. Small files go several at a time, large ones one after the other in parallel
    parts: memory stays bounded.
    """
    done: list[PublishedObject] = [uploaded[file] for file in files if file in uploaded]
    files = [file for file in files if file not in uploaded]
    failures: list[PhaseError] = []
    progress = Progress(len(files), sum(file.size for file in files), say)
    lock = threading.Lock()
    given_up = threading.Event()

    def upload(file: LocalFile) -> None:
        if given_up.is_set():
            return
        try:
            written = upload_file(store, root, prefix, file, progress.add)
        except PhaseError as failed:
            # A store that is gone or refuses fails for all files alike; a file that cannot be read only for itself.
            if failed.failure.reason is not Reason.PUBLISH_FAILED:
                given_up.set()
            with lock:
                failures.append(failed)
            return
        with lock:
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
        return open_file(root, file.path)
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
