"""The folder of `spec.checkpoints` while the script runs, and at its end: uploaded whole, or not at all.

A state counts once the index lists it (`tftrainer.saved`). TensorFlow's own checkpoints are whole when all their files are there and
the state file names one of them; other files, when the folder has been left alone for a moment and was the same after the upload.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tftrainer import saved, tf_checkpoint
from tftrainer.contract import Plan, WantedCheckpoints
from tftrainer.manifest import PublishedObject
from tftrainer.phase_error import PhaseError, sentence
from tftrainer.publish import tree
from tftrainer.publish.events import MARK, SHARE
from tftrainer.publish.repeating import Repeating
from tftrainer.publish.tree import LocalFile
from tftrainer.saved import SavedFile, SavedState

if TYPE_CHECKING:
    from tftrainer.publish.upload import Uploaded
    from tftrainer.storage.interface import Store

QUIET_SECONDS: Final = 2.0
SHORTEST_PAUSE: Final = 1.0
"""Seconds until the next look, where the folder had no whole state."""


@dataclass(frozen=True, slots=True)
class State:
    """Files that belong together, by their paths in the folder; `quiet` is false where others are still being written."""

    files: Mapping[str, LocalFile]
    quiet: bool


def whole(files: Mapping[str, LocalFile], read_state: Callable[[str], bytes], quiet_before: float) -> State:
    """Return which of the files are one whole state.

    `read_state` reads a state file of TensorFlow. A file that is not TensorFlow's counts only if none of them was changed after
    `quiet_before`, in Unix seconds.
    """
    found = tf_checkpoint.checkpoints(files)
    chosen: dict[str, LocalFile] = {}
    quiet = True
    for path in files:
        folder, _, name = path.rpartition("/")
        if name != tf_checkpoint.STATE_NAME:
            continue
        named = tf_checkpoint.named_by(read_state(path), folder)
        if named is None or named not in found or not found[named].whole:
            quiet = False
            continue
        names = [path, *(file for each in found.values() if each.whole and each.name.rpartition("/")[0] == folder for file in each.files)]
        chosen |= {each: files[each] for each in names}
    stated = {path.rpartition("/")[0] for path in files if path.rpartition("/")[2] == tf_checkpoint.STATE_NAME}
    # Without a state file beside it, as of weights that Keras saves, a checkpoint is files like others.
    others = {path: file for path, file in files.items() if not (tf_checkpoint.is_part(path) and path.rpartition("/")[0] in stated)}
    if all(file.mtime_ns / 1e9 <= quiet_before for file in others.values()):
        chosen |= others
    else:
        quiet = False
    return State(chosen, quiet)


class Snapshots:
    """Keeps the bucket's copy of the folder below `root`. What is `uploaded` is shared with the end, which uploads the rest.

    `untouched` are files that fetch has left there, as long as nobody changes them.
    """

    def __init__(
        self,
        plan: Plan,
        wanted: WantedCheckpoints,
        root: Path,
        open_store: Callable[[], Store],
        untouched: Iterable[LocalFile],
        uploaded: Uploaded,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._plan = plan
        self._interval = float(wanted.interval_seconds)
        self._folder = saved.folder_key(wanted)
        self._root = root
        self._open_store = open_store
        self._untouched = frozenset(untouched)
        self._uploaded = uploaded
        self._say = say
        self._clock = clock
        self._store: Store | None = None
        self._prefix = ""
        self._saved: SavedState | None = None
        self._index: dict[str, SavedFile] = {}
        self._last: Mapping[str, LocalFile] = {}
        self._own: set[str] = set()
        self._copies = 0
        self._complained = False
        self._wait = self._interval
        self._repeating = Repeating("checkpoints cannot be uploaded", self._look, lambda: self._wait, say)

    @property
    def words(self) -> str:
        """Which state a later attempt will find, in words; empty if none."""
        return self._saved.in_words() if self._saved is not None and self._saved.files else ""

    def start(self) -> None:
        """Begin."""
        self._repeating.start()

    def stop(self) -> None:
        """Upload no more; waits for the file that is under way, which would otherwise come after the last version of itself."""
        self._repeating.stop()

    def protect(self, changed: Iterable[LocalFile]) -> None:
        """Put aside what the end is going to replace, so that the last whole state can be read until there is another."""
        self._opened()
        self._put_aside([each.path.removeprefix(self._folder) for each in changed if each.path.startswith(self._folder)])

    def conclude(self, published: Iterable[PublishedObject], quiet_before: float) -> None:
        """List what the script has left, after the end has uploaded it, as far as it is whole: see `whole`.

        A script that has emptied the folder needs no checkpoint any more, as Keras does at the end of a training that was backed up.
        """
        self._opened()
        state = self._whole(quiet_before)
        if not state.files and state.quiet and self._index and math.isinf(quiet_before):
            self._list({})
            return
        by_path = {each.key.removeprefix(self._prefix): each for each in published if each.key.startswith(self._prefix)}
        self._commit(state, {path: by_path[path] for path in state.files if path in by_path})
        if self.words:
            self._say(f"checkpoint: {self.words}")

    def _look(self) -> None:
        began = time.monotonic()
        files = self._files()
        # Looking through a folder of very many files takes no more than one part in a hundred of the time.
        busy = (time.monotonic() - began) * SHARE
        self._wait = max(self._interval, busy)
        if not files and not self._last:
            return
        self._opened()
        state = self._whole(self._clock() - QUIET_SECONDS)
        if not state.quiet:
            self._wait = max(min(self._interval, SHORTEST_PAUSE), busy)
        if state.files == self._last:
            return
        found = self._upload(state)
        if found is None:
            return
        if self._commit(state, found):
            self._wait = max(self._interval, busy)
            self._say(f"checkpoint saved: {self.words}")

    def _upload(self, state: State) -> dict[str, PublishedObject] | None:
        """Upload what is not in the bucket yet; None if the files did not stay as they were meanwhile."""
        from tftrainer.publish.upload import upload_file

        store = self._opened()
        listed = {path: file for path, file in self._last.items() if path in self._index}
        known = {file for path, file in state.files.items() if file in self._untouched or listed.get(path) == file} | self._uploaded.keys()
        changed = {path: file for path, file in state.files.items() if file not in known}
        self._put_aside(changed)
        found = {path: self._uploaded[file] for path, file in state.files.items() if file in self._uploaded}
        for path, file in changed.items():
            if self._repeating.ended:
                return None
            found[path] = upload_file(store, self._root, store.credentials.prefix, file)
            self._own.add(path)
            if self._clock() - file.mtime_ns / 1e9 > QUIET_SECONDS:
                self._uploaded[file] = found[path]
        after = self._files()
        return found if all(after.get(path) == file for path, file in state.files.items()) else None

    def _commit(self, state: State, found: Mapping[str, PublishedObject]) -> bool:
        """Write the index, if it is another than before; whether it is."""
        store = self._opened()
        # What is still being written keeps its last whole version.
        index = {path: each for path, each in self._index.items() if path not in state.files} if not state.quiet else {}
        for path, file in state.files.items():
            written = found.get(path)
            if written is not None:
                index[path] = SavedFile(path=path, name=path, size=written.size, etag=written.etag, sha256=written.sha256)
            elif path in self._index:
                index[path] = self._index[path]
            else:
                known = store.find(self._prefix + path)
                if known is None or known.size != file.size:
                    return False
                index[path] = SavedFile(path=path, name=path, size=known.size, etag=known.etag)
        self._last = state.files
        if not index or index == self._index:
            return False
        self._list(index)
        return True

    def _list(self, index: dict[str, SavedFile]) -> None:
        """Have these files be the state that counts, and remove what is not needed any more."""
        before, plan = self._index, self._plan
        self._write(
            SavedState(
                version=saved.VERSION,
                namespace=plan.namespace,
                job=plan.job,
                uid=plan.uid,
                attempt=plan.attempt,
                saved_at=self._clock(),
                files=tuple(index[path] for path in sorted(index)),
            )
        )
        self._tidy(before)

    def _write(self, state: SavedState) -> None:
        self._opened().write(self._prefix + saved.INDEX_NAME, saved.encode(state))
        self._saved = state
        self._index = {each.path: each for each in state.files}

    def _put_aside(self, paths: Iterable[str]) -> None:
        store = self._opened()
        index = dict(self._index)
        for path in paths:
            each = index.get(path)
            if each is None or each.name != path:
                continue
            known = store.find(self._prefix + path)
            if known is None or known.etag.strip('"') != each.etag.strip('"'):
                # Somebody else has written there: the index does not stand any more, and there is nothing to keep.
                return
            name = self._new_name({each.name for each in index.values()})
            copy = store.copy(self._prefix + path, self._prefix + name)
            index[path] = msgspec.structs.replace(each, name=name, etag=copy.etag)
        if self._saved is not None and index != self._index:
            self._write(msgspec.structs.replace(self._saved, files=tuple(index.values())))

    def _new_name(self, taken: set[str]) -> str:
        # Another pod of the same attempt may have put files aside before.
        while (name := f"{saved.ASIDE}{self._plan.uid}-{self._plan.attempt}-{self._copies}") in taken:
            self._copies += 1
        return name

    def _tidy(self, before: Mapping[str, SavedFile]) -> None:
        """Remove what no index names any more: copies put aside, and what this run has uploaded and the script has removed since."""
        names = {each.name for each in self._index.values()}
        gone = {each.name for each in before.values() if each.name.startswith(saved.ASIDE)} | self._own
        for name in sorted(gone - names):
            if not name.startswith(saved.ASIDE) and os.path.lexists(self._root / (self._folder + name)):
                continue
            try:
                self._opened().delete(self._prefix + name)
            except PhaseError as failed:
                if not self._complained:
                    self._say(f"old checkpoints stay in the bucket: {sentence(failed.failure)}")
                self._complained = True
                return
            self._own.discard(name)

    def _whole(self, quiet_before: float) -> State:
        files = self._files()

        def read_state(path: str) -> bytes:
            return tree.read_small(self._root, files[path].source, tf_checkpoint.STATE_LIMIT) or b""

        return whole(files, read_state, quiet_before)

    def _files(self) -> dict[str, LocalFile]:
        found = {}
        for each in tree.walk(self._root, "", self._folder.removesuffix("/")):
            if isinstance(each, LocalFile) and MARK not in each.path.rpartition("/")[2]:
                path = each.path.removeprefix(self._folder)
                if not tf_checkpoint.is_unfinished(path):
                    found[path] = each
        return found

    def _opened(self) -> Store:
        if self._store is None:
            store = self._open_store()
            self._prefix = store.credentials.key(self._folder)
            data = store.read(self._prefix + saved.INDEX_NAME, saved.LIMIT)
            state = saved.decode(data) if data is not None else None
            if state is not None:
                there = {each.key.removeprefix(self._prefix): (each.size, each.etag.strip('"')) for each in store.list(self._prefix)}
                if saved.stands(state, there):
                    self._saved = state
                    self._index = {each.path: each for each in state.files}
            self._store = store
        return self._store
