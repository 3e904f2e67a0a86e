"""The folder of `spec.checkpoints` while the script runs, and at its end: uploaded whole, or not at all.

A state counts once the index lists it (`tftrainer.checkpoints.saved`). TensorFlow's own checkpoints are whole when all their files
are there and the state file names one of them; other files, when their form says so (`tftrainer.checkpoints.form`), or when they have
been left alone for a moment. What is uploaded is what lay there at one moment (`tftrainer.checkpoints.taking`), whatever the script
writes meanwhile.
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

from tftrainer import uri
from tftrainer.checkpoints import saved, tf_checkpoint
from tftrainer.checkpoints.form import Form, form_below
from tftrainer.checkpoints.saved import SavedFile, SavedState
from tftrainer.checkpoints.taking import Source, taken
from tftrainer.messages.contract import Plan, WantedCheckpoints
from tftrainer.messages.manifest import PublishedObject
from tftrainer.outputs import tree
from tftrainer.outputs.events import MARK, SHARE
from tftrainer.outputs.repeating import Repeating
from tftrainer.outputs.settled import settle
from tftrainer.outputs.succession import ensure_last
from tftrainer.outputs.tree import LocalFile
from tftrainer.phase_error import PhaseError, sentence

if TYPE_CHECKING:
    from tftrainer.outputs.upload import Uploaded
    from tftrainer.storage.interface import Store

QUIET_SECONDS: Final = 2.0
SHORTEST_PAUSE: Final = 1.0
"""Seconds until the next look, where the folder had no whole state."""
TRIES_SECONDS: Final = 1.0
BETWEEN_TRIES: Final = 0.02
"""A script that saves all the time leaves its files whole for moments only: one look tries for a second to meet such a one."""
WORDS_LIMIT: Final = 256
TOLD_AFTER: Final = 3
"""Intervals without a newer state, though the script writes, after which the log says so."""


@dataclass(frozen=True, slots=True)
class State:
    """Files that belong together, by their paths in the folder; `quiet` is false where others are still being written.

    `rewritten` are those of them that may be written in place again. `late` is one that keeps the others from being part, `torn` whether
    its form says so, and not only that it has just been changed.
    """

    files: Mapping[str, LocalFile]
    quiet: bool
    rewritten: frozenset[str] = frozenset()
    late: str = ""
    torn: bool = False


def whole(
    files: Mapping[str, LocalFile],
    read_state: Callable[[str], bytes],
    quiet_before: float,
    form_of: Callable[[str], Form] = lambda _: Form.UNKNOWN,
) -> State:
    """Return which of the files are one whole state.

    `read_state` reads what may be a state file of TensorFlow, and `form_of` says what the form of a file tells. Files that are not
    TensorFlow's count together: if none is torn, and each is whole by its form, or was not changed after `quiet_before`, in Unix seconds.
    """
    found = tf_checkpoint.checkpoints(files)
    chosen: dict[str, LocalFile] = {}
    quiet = True
    stated: set[str] = set()
    theirs: set[str] = set()
    for path in files:
        folder, _, name = path.rpartition("/")
        if name != tf_checkpoint.STATE_NAME or not tf_checkpoint.is_state(text := read_state(path)):
            continue
        named = tf_checkpoint.named_by(text, folder)
        stated.add(folder)
        if named is None:
            continue
        theirs |= {path, *(each for each in files if tf_checkpoint.name_of(each) == named)}
        if named not in found or not found[named].whole:
            quiet = False
            continue
        names = [path, *(file for each in found.values() if each.whole and each.name.rpartition("/")[0] == folder for file in each.files)]
        chosen |= {each: files[each] for each in names}
    # Without a state file beside it, as of weights that Keras saves, a checkpoint is files like others.
    theirs |= {file for each in found.values() if each.name.rpartition("/")[0] in stated for file in each.files}
    others: dict[str, LocalFile] = {}
    late, torn = "", False
    for path, file in files.items():
        if path in theirs:
            continue
        settled = file.ctime_ns / 1e9 <= quiet_before
        if not settled and tf_checkpoint.name_of(path) is not None and path.rpartition("/")[0] in stated:
            # The first files of a checkpoint that is being written.
            quiet = False
            continue
        said = form_of(path)
        if said is Form.TORN or not (settled or said is Form.WHOLE):
            late, torn = path, torn or said is Form.TORN
        others[path] = file
    if late:
        return State(chosen, quiet=False, late=late, torn=torn)
    return State(chosen | others, quiet, frozenset(others))


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
        self._model = saved.model_below(plan, wanted)
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
        self._behind_since: float | None = None
        self._told = False
        self._forms: dict[LocalFile, Form] = {}
        self._late = ""
        self._wait = self._interval
        self._repeating = Repeating("checkpoints cannot be uploaded", self._look, lambda: self._wait, say)

    @property
    def words(self) -> str:
        """Which state a later attempt will find, in words; empty if none. What the script wrote later, and is not in it, is named."""
        found = self.saved_words
        newer = f"; newer files are not part of it, as {self._late[-80:]} may not be whole" if self._late else ""
        return f"{found[: WORDS_LIMIT - len(newer)]}{newer}" if found else newer.removeprefix("; ")

    @property
    def saved_words(self) -> str:
        """The newest state in the bucket, in words; empty if none."""
        return self._saved.in_words() if self._saved is not None and self._saved.files else ""

    def start(self) -> None:
        """Begin."""
        self._repeating.start()

    def end(self) -> None:
        """Ask to stop, and do not wait: what is under way is given up."""
        self._repeating.end()

    def stop(self) -> None:
        """Upload no more; waits until what is under way is given up, which would otherwise come after the last version of itself."""
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
        self._late = state.late
        if not state.files and state.quiet and self._index and math.isinf(quiet_before):
            self._list({})
            return
        by_path = {each.key.removeprefix(self._prefix): each for each in published if each.key.startswith(self._prefix)}
        self._commit(state, {path: by_path[path] for path in state.files if path in by_path})
        if self.words:
            self._say(f"checkpoint: {self.words}")

    def whole_files(self, quiet_before: float) -> frozenset[LocalFile]:
        """Return the files, by their paths below the root, that belong to a whole state: see `whole`."""
        return frozenset(self._whole(quiet_before).files.values())

    def _look(self) -> None:
        began = time.monotonic()
        files = self._files()
        # Looking through a folder of very many files takes no more than one part in a hundred of the time.
        busy = (time.monotonic() - began) * SHARE
        self._wait = max(self._interval, busy)
        if not files and not self._last:
            return
        self._opened()
        while True:
            looked = time.monotonic()
            state = self._whole(self._clock() - QUIET_SECONDS)
            self._late = state.late
            saved = state.files == self._last or self._save(state)
            if saved and state.quiet:
                self._behind_since, self._told = None, False
                return
            # What nothing but time tells to be whole is not looked at over and over.
            again = state.torn or not saved
            now = time.monotonic()
            if not again or now - began > TRIES_SECONDS or self._repeating.wait(max(BETWEEN_TRIES, now - looked)):
                break
        self._wait = max(min(self._interval, SHORTEST_PAUSE), busy)
        self._behind()

    def _behind(self) -> None:
        """Say that the script writes and nothing of it can be saved, once it has been so for some intervals."""
        now = time.monotonic()
        self._behind_since = self._behind_since or now
        if self._told or now - self._behind_since < TOLD_AFTER * self._interval:
            return
        self._told = True
        why = f"{self._late} is not whole whenever it is looked at" if self._late else "they change while they are read"
        self._say(
            f"checkpoints: files of {self._folder} could not be saved for {now - self._behind_since:.0f} s, as {why}; "
            f"what a later attempt finds is {self.saved_words or 'nothing'}; "
            "have what changes all the time written to another folder, or save less often"
        )

    def _save(self, state: State) -> bool:
        """Have the state be in the bucket, and listed; false if the files did not stay as they are."""
        uploaded = dict(self._uploaded)  # Event files are uploaded, and noted, by another thread.
        listed = {path: file for path, file in self._last.items() if path in self._index}
        known = {file for path, file in state.files.items() if file in self._untouched or listed.get(path) == file or file in uploaded}
        changed = {path: file for path, file in state.files.items() if file not in known}
        settled = {path for path in changed if settle(self._root, changed[path], self._clock)}
        found = {path: uploaded[file] for path, file in state.files.items() if file in uploaded}
        with taken(self._root, changed, state.rewritten, lambda: self._is_there(state), self._clock) as sources:
            if sources is None:
                return False
            if changed:
                # Not before: what is rewritten all the time is whole for moments only, and a store may take longer to answer.
                ensure_last(self._plan, self._opened())
            self._put_aside(changed)
            for path, file in changed.items():
                found[path] = self._upload(file, sources.get(path))
                self._own.add(path)
                if path in settled:
                    self._uploaded[file] = found[path]
            if not all(each.is_same() for each in sources.values()) or (len(sources) < len(changed) and not self._is_there(state)):
                return False
        self._wait = self._interval
        if self._commit(state, found):
            self._say(f"checkpoint saved: {self.saved_words}")
        return self._last == state.files

    def _upload(self, file: LocalFile, source: Source | None) -> PublishedObject:
        from tftrainer.outputs.upload import upload_file

        store = self._opened()
        prefix = store.credentials.prefix
        if source is None:
            return upload_file(store, self._root, prefix, file, self._repeating.go_on)
        written = store.upload(prefix + file.path, source.opened, file.size, self._repeating.go_on)
        return PublishedObject(key=prefix + file.path, size=written.size, sha256=written.sha256, etag=written.etag)

    def _is_there(self, state: State) -> bool:
        after = self._files()
        return all(after.get(path) == file for path, file in state.files.items())

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

        def form_of(path: str) -> Form:
            file = files[path]
            if file not in forms:
                forms[file] = form_below(self._root, file.source)
            return forms[file]

        # What has been left alone is read once.
        forms = {file: known for file in files.values() if (known := self._forms.get(file)) is not None}
        found = whole(files, read_state, quiet_before, form_of)
        self._forms = {file: form for file, form in forms.items() if file.ctime_ns / 1e9 <= self._clock() - QUIET_SECONDS}
        return found

    def _files(self) -> dict[str, LocalFile]:
        found = {}
        for each in tree.walk(self._root, "", self._folder.removesuffix("/")):
            if isinstance(each, LocalFile) and MARK not in each.path.rpartition("/")[2]:
                path = each.path.removeprefix(self._folder)
                if not tf_checkpoint.is_unfinished(path) and not (self._model and uri.is_within(path, self._model)):
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
