"""TensorBoard's event files while they grow, to the keys that they will have at the end: a dashboard follows a run in the bucket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tftrainer.outputs import tree
from tftrainer.outputs.repeating import Repeating
from tftrainer.outputs.settled import SETTLED_SECONDS, settle
from tftrainer.outputs.tree import LocalFile

if TYPE_CHECKING:
    from tftrainer.outputs.upload import Uploaded
    from tftrainer.storage.interface import Store

MARK: Final = ".tfevents."
PAUSE_SECONDS: Final = 30.0
BYTES_PER_SECOND: Final = 2 * 1024**2
"""An event file is uploaded whole each time it has grown: the larger, the longer until the next time."""
SHARE: Final = 100
"""Looking through the folder takes at most one part in so many of the time."""


def is_event_file(path: str) -> bool:
    """Whether TensorBoard reads a file of that path."""
    return MARK in path.rpartition("/")[2]


class LiveEvents:
    """Uploads event files below `root`, in a thread of its own. What is `uploaded` and does not change any more is noted there.

    `ensure_last` raises PhaseError where nothing is to be written any more. `untouched` are those that came from the bucket: another
    replica may be writing them there by now.
    """

    def __init__(
        self,
        root: Path,
        open_store: Callable[[], Store],
        uploaded: Uploaded,
        say: Callable[[str], None],
        ensure_last: Callable[[Store], None] = lambda _: None,
        pause: float = PAUSE_SECONDS,
        untouched: Iterable[LocalFile] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._root = root
        self._open_store = open_store
        self._uploaded = uploaded
        self._ensure_last = ensure_last
        self._pause = pause
        self._wait = pause
        self._store: Store | None = None
        self._seen = dict.fromkeys(untouched, True)
        self._repeating = Repeating("event files cannot be shown live", self._upload, lambda: self._wait, say)

    def start(self) -> None:
        """Begin."""
        self._repeating.start()

    def end(self) -> None:
        """Ask to stop, and do not wait: what is under way is given up."""
        self._repeating.end()

    def stop(self) -> None:
        """Upload no more; waits until what is under way is given up, which would otherwise come after the last version of itself."""
        self._repeating.stop()

    def _upload(self) -> None:
        from tftrainer.outputs.upload import upload_file

        began = self._clock()
        found = [each for each in tree.walk(self._root, "") if isinstance(each, LocalFile) and is_event_file(each.path)]
        self._wait = max(self._pause, (self._clock() - began) * SHARE)
        now = time.time()
        old = {each: now - each.ctime_ns / 1e9 > SETTLED_SECONDS for each in found}
        # One that was young when it was uploaded is uploaded once more, so that the end need not do it.
        changed = [each for each in found if each not in self._seen or (old[each] and not self._seen[each])]
        if not changed or self._repeating.ended:
            return
        store = self._store = self._store or self._open_store()
        self._ensure_last(store)
        for file in changed:
            if self._repeating.ended:
                return
            settled = settle(self._root, file, time.time)
            written = upload_file(store, self._root, store.credentials.prefix, file, self._repeating.go_on)
            self._seen[file] = old[file]
            if settled and written.size == file.size:
                self._uploaded[file] = written
        self._seen = {each: self._seen[each] for each in found if each in self._seen}
        self._wait = max(self._wait, sum(each.size for each in changed) / BYTES_PER_SECOND)
