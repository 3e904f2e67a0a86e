"""How much of a folder is in use, and when it was last written to."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_INTERVAL_SECONDS = 1.0
_SHARE = 20
_BLOCK = 512


def used_bytes(folder: Path) -> int:
    """Return the bytes that all files below a folder take on the disk; what vanishes meanwhile counts nothing."""
    total = 0
    linked: set[tuple[int, int]] = set()
    for status in _statuses(folder):
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            identity = (status.st_dev, status.st_ino)
            if identity in linked:
                continue
            linked.add(identity)
        total += status.st_blocks * _BLOCK
    return total


def changed_at(folders: Iterable[Path], but: Iterable[Path] = ()) -> float:
    """Return when something below some folders was last made, written to or removed, in Unix seconds, `but` for what lies in others.

    That is by the time of the kernel's that nobody can set. 0 where there is nothing.
    """
    ours = frozenset(map(os.fspath, but))
    newest = 0.0
    for folder in folders:
        with contextlib.suppress(OSError):
            # Of what was removed only the time of its folder tells.
            newest = max(newest, folder.stat().st_ctime)
        for status in _statuses(folder, ours):
            newest = max(newest, status.st_ctime)
    return newest


def _statuses(folder: Path, but: frozenset[str] = frozenset()) -> Iterator[os.stat_result]:
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.path in but:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
            except OSError:
                continue
            yield status


class Meter:
    """Measures the workspace in a thread of its own, about once a second, and calls back once when the limit is passed.

    A walk over very many files takes long; the pause after it is so long that at most a twentieth of one core goes into walking. `most` is
    the largest number of bytes that was measured, None before the first time.
    """

    def __init__(self, folder: Path, limit: int, passed: Callable[[], None]) -> None:
        self._folder = folder
        self._limit = limit
        self._passed = passed
        self.most: int | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="usage", daemon=True)

    def start(self) -> None:
        """Begin to measure."""
        self._thread.start()

    def stop(self) -> None:
        """Measure no more; does not wait for a walk that is under way."""
        self._ended.set()

    def _measure(self) -> None:
        pause = _INTERVAL_SECONDS
        while not self._ended.wait(pause):
            begun = time.monotonic()
            used = used_bytes(self._folder)
            self.most = max(used, self.most or 0)
            if used > self._limit:
                self._passed()
                return
            pause = max(_INTERVAL_SECONDS, _SHARE * (time.monotonic() - begun))
