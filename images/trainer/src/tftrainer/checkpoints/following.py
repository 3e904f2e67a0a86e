"""The folder of `spec.checkpoints` of an evaluator: what its leader saves comes into it, while both run.

The evaluator of TensorFlow looks into that folder for new checkpoints, as on a disk that all share. A state that the leader's index lists
is whole (`tftrainer.checkpoints.saved`). It is fetched beside the folder, and then its files take their places: last what makes others
count, the graphs of SavedModels and then the state file, which names the newest checkpoint.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tftrainer import uri
from tftrainer.checkpoints import saved, tf_checkpoint
from tftrainer.checkpoints.saved import SavedFile, SavedState
from tftrainer.messages.contract import GRAPHS, Reason, WantedCheckpoints
from tftrainer.outputs.repeating import Repeating
from tftrainer.phase_error import PhaseError
from tftrainer.progress import size

if TYPE_CHECKING:
    from tftrainer.storage.interface import Store

PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE: Final = 300.0
"""Seconds, at most, until a state is fetched once more that could not take its place, or that the script has removed."""
STAGING: Final = ".follow"
"""The folder, beside that of the bucket, in which a state is fetched: hidden, so that it counts as no work of the script."""
_Contents = Mapping[str, tuple[int, str]]
"""What is in the files of a state, by their paths."""


class Following:
    """Keeps the folder of checkpoints below `root` at what lies in the bucket, in a thread of its own."""

    def __init__(
        self,
        wanted: WantedCheckpoints,
        root: Path,
        open_store: Callable[[], Store],
        say: Callable[[str], None],
        pause: float = PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = saved.folder_key(wanted)
        self._root = uri.local_path(root, self._folder)
        self._staging = root.parent / STAGING
        self._open_store = open_store
        self._say = say
        self._store: Store | None = None
        self._clock = clock
        self._pause = pause
        self._last: _Contents = {}
        self._there: dict[str, tuple[int, str]] = {}
        self._tried: _Contents = {}
        self._tried_again = 0.0
        self._again_at = 0.0
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
        if state is None or not state.files:
            return
        wanted = {each.path: _content(each) for each in state.files}
        lacking = [each for each in state.files if self._lacks(each)]
        if (not lacking and wanted == self._last) or not self._is_due(wanted):
            return
        try:
            self._take(lacking)
        except PhaseError:
            if self._listed() == state:
                raise
            # The leader has saved again meanwhile: the next look takes that.
            return
        if wanted != self._last:
            self._tidy(wanted)
        self._say(f"checkpoint followed: {state.in_words()}")

    def _lacks(self, file: SavedFile) -> bool:
        return self._there.get(file.path) != _content(file) or not os.path.lexists(uri.local_path(self._root, file.path))

    def _is_due(self, wanted: _Contents) -> bool:
        """Whether a state is to be fetched now: a new one at once, the same one again after pauses that grow."""
        now = self._clock()
        if wanted != self._tried:
            self._tried, self._tried_again = wanted, self._pause
        elif now < self._again_at:
            return False
        self._again_at = now + self._tried_again
        self._tried_again = min(2 * self._tried_again, LONGEST_PAUSE)
        return True

    def _listed(self) -> SavedState | None:
        self._store = self._store or self._open_store()
        data = self._store.read(self._store.credentials.key(self._folder) + saved.INDEX_NAME, saved.LIMIT)
        return saved.decode(data) if data is not None else None

    def _take(self, new: Sequence[SavedFile]) -> None:
        needed, free = sum(each.size for each in new), shutil.disk_usage(self._staging.parent).free
        if needed > free:
            raise PhaseError(
                Reason.WORKSPACE_FULL,
                f"the newest checkpoint takes {size(needed)}, and the disk has {size(free)} left",
                "raise spec.resources.workspace, or have the evaluator keep less",
            )
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir()
        try:
            for number, each in enumerate(new):
                self._fetch(each, self._staging / str(number))
            for number, each in sorted(enumerate(new), key=lambda numbered: _rank(numbered[1])):
                self._place(each, self._staging / str(number))
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

    def _tidy(self, now: _Contents) -> None:
        """Remove what neither this state nor the one before has: what was the newest a moment ago may be what is being evaluated."""
        for path in [each for each in self._there if each not in now and each not in self._last]:
            uri.local_path(self._root, path).unlink(missing_ok=True)
            del self._there[path]
        self._last = now


def _content(file: SavedFile) -> tuple[int, str]:
    # Put aside, an object has another name, and may have another ETag.
    return file.size, file.sha256 or file.etag


def _rank(file: SavedFile) -> int:
    """Return the place in the order in which files of a state come: see the module."""
    return 2 if _is_state(file) else int(_name(file) in GRAPHS)


def _is_state(file: SavedFile) -> bool:
    return _name(file) == tf_checkpoint.STATE_NAME


def _name(file: SavedFile) -> str:
    return file.path.rpartition("/")[2]
