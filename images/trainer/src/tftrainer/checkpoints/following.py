"""The folder of `spec.checkpoints` of an evaluator: what its leader saves comes into it, while both run.

The evaluator of TensorFlow looks into that folder for new checkpoints, as on a disk that all share. A state that the leader's index lists
is whole (`tftrainer.checkpoints.saved`). It is fetched beside the folder, and then its files take their places: the state file, which
names the newest checkpoint, last.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tftrainer import uri
from tftrainer.checkpoints import saved, tf_checkpoint
from tftrainer.checkpoints.saved import SavedFile, SavedState
from tftrainer.messages.contract import WantedCheckpoints
from tftrainer.outputs.repeating import Repeating
from tftrainer.phase_error import PhaseError

if TYPE_CHECKING:
    from tftrainer.storage.interface import Store

PAUSE_SECONDS: Final = 5.0
STAGING: Final = ".follow"
"""The folder, beside that of the bucket, in which a state is fetched: hidden, so that it counts as no work of the script."""


class Following:
    """Keeps the folder of checkpoints below `root` at what lies in the bucket, in a thread of its own."""

    def __init__(
        self,
        wanted: WantedCheckpoints,
        root: Path,
        open_store: Callable[[], Store],
        say: Callable[[str], None],
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._folder = saved.folder_key(wanted)
        self._root = uri.local_path(root, self._folder)
        self._staging = root.parent / STAGING
        self._open_store = open_store
        self._say = say
        self._store: Store | None = None
        self._state: SavedState | None = None
        self._before: frozenset[str] = frozenset()
        self._there: dict[str, tuple[int, str]] = {}
        self._followed: set[str] = set()
        self._given_up = threading.Event()
        self._repeating = Repeating("checkpoints cannot be followed", self._look, lambda: pause, say)

    @property
    def followed(self) -> frozenset[str]:
        """The paths, below `root`, of all that has come from the bucket: it is the leader's, and not this replica's to publish."""
        return frozenset(self._folder + each for each in self._followed)

    def start(self) -> None:
        """Begin."""
        self._repeating.start()

    def end(self) -> None:
        """Ask to stop, and do not wait: what is under way is given up."""
        self._given_up.set()
        self._repeating.end()

    def stop(self) -> None:
        """Fetch no more, and wait until what is under way is given up."""
        self.end()
        self._repeating.stop()

    def _look(self) -> None:
        state = self._listed()
        # One that has emptied its folder needs its checkpoints no more; who evaluates them may.
        if state is None or not state.files or (self._state is not None and state.files == self._state.files):
            return
        try:
            self._take(state)
        except PhaseError:
            if self._listed() == state:
                raise
            # The leader has saved again meanwhile: the next look takes that.
            return
        self._say(f"checkpoint followed: {state.in_words()}")

    def _listed(self) -> SavedState | None:
        self._store = self._store or self._open_store()
        data = self._store.read(self._store.credentials.key(self._folder) + saved.INDEX_NAME, saved.LIMIT)
        return saved.decode(data) if data is not None else None

    def _take(self, state: SavedState) -> None:
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir()
        try:
            new = [each for each in state.files if self._there.get(each.path) != _content(each)]
            for number, each in enumerate(new):
                self._fetch(each, self._staging / str(number))
            for number, each in sorted(enumerate(new), key=lambda numbered: _is_state(numbered[1])):
                self._place(each, self._staging / str(number))
            self._tidy(state)
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)

    def _fetch(self, file: SavedFile, target: Path) -> None:
        from tftrainer.storage.store import ObjectInfo

        store = self._store = self._store or self._open_store()
        key = store.credentials.key(self._folder) + file.name
        store.download(ObjectInfo(key, file.size, file.etag), target, cancelled=self._given_up)

    def _place(self, file: SavedFile, fetched: Path) -> None:
        if _is_state(file) and file.size <= tf_checkpoint.STATE_LIMIT:
            # Estimators name their checkpoints by the paths of the pod that has saved them.
            fetched.write_bytes(tf_checkpoint.relative(fetched.read_bytes()))
        target = uri.local_path(self._root, file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        fetched.rename(target)
        self._there[file.path] = _content(file)
        self._followed.add(file.path)

    def _tidy(self, state: SavedState) -> None:
        """Remove what neither this state nor the one before has: what was the newest a moment ago may be what is being evaluated."""
        now = frozenset(each.path for each in state.files)
        for path in [each for each in self._there if each not in now and each not in self._before]:
            uri.local_path(self._root, path).unlink(missing_ok=True)
            del self._there[path]
        self._state, self._before = state, now


def _content(file: SavedFile) -> tuple[int, str]:
    # Put aside, an object has another name, and may have another ETag.
    return file.size, file.sha256 or file.etag


def _is_state(file: SavedFile) -> bool:
    return file.path.rpartition("/")[2] == tf_checkpoint.STATE_NAME
