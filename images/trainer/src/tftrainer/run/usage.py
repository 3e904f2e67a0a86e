"""How much of the workspace is in use."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

_INTERVAL_SECONDS = 1.0
_SHARE = 20
_BLOCK = 512


def used_bytes(folder: Path) -> int:
    """Return the bytes that all files below a folder take on the disk; what vanishes meanwhile counts nothing."""
    total = 0
    linked: set[tuple[int, int]] = set()
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
            except OSError:
                continue
            if status.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                identity = (status.st_dev, status.st_ino)
                if identity in linked:
                    continue
                linked.add(identity)
            total += status.st_blocks * _BLOCK
    return total


class Meter:
    """Measures the workspace in a thread of its own, about once a second, and calls back once when the limit is passed.

    A walk over very many files takes long; the pause after it is so long that at most a twentieth of one core goes into walking.
    """

    def __init__(self, folder: Path, limit: int, passed: Callable[[], None]) -> None:
        self._folder = folder
        self._limit = limit
        self._passed = passed
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
            if used_bytes(self._folder) > self._limit:
                self._passed()
                return
            pause = max(_INTERVAL_SECONDS, _SHARE * (time.monotonic() - begun))
