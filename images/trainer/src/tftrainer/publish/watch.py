"""Notices the trainer's end, however it ends: the kernel lets go of a dead process's lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

EAGER_SECONDS: Final = 10.0
EAGER_PAUSE: Final = 0.02
LAZY_PAUSE: Final = 0.1
GRACE_MARGIN: Final = 5.0


class Stop:
    """Whether the pod is being ended, and since when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._event = threading.Event()
        self._since: float | None = None

    def ask(self) -> None:
        """Take note that the pod is being ended."""
        if self._since is None:
            self._since = self._clock()
        self._event.set()

    @property
    def asked(self) -> bool:
        """Whether the pod is being ended."""
        return self._since is not None

    def seconds(self) -> float:
        """Return for how long it is being ended."""
        return 0.0 if self._since is None else self._clock() - self._since

    def wait(self, seconds: float) -> None:
        """Sleep, but not longer than until it is asked for the first time."""
        if self.asked:
            time.sleep(seconds)
        else:
            self._event.wait(seconds)


def wait_for_end(lock: Path, started: Path, grace_seconds: float, stop: Stop, clock: Callable[[], float] = time.monotonic) -> bool:
    """Return when the trainer has ended; whether it had started at all.

    `started` is the mark that the launcher leaves once it holds the lock. Returns early when the pod is being ended and the trainer
    has not started, or does not end within its grace period. The lock stays held by this process where the trainer did not have it,
    so that it cannot start any more.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    begun = clock()
    while _try(descriptor):
        if has_begun(started.parent):
            return True
        if stop.asked:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        stop.wait(EAGER_PAUSE if clock() - begun < EAGER_SECONDS else LAZY_PAUSE)
    return _wait_for_death(descriptor, grace_seconds, stop)


def _wait_for_death(descriptor: int, grace_seconds: float, stop: Stop) -> bool:
    ended = threading.Event()

    def block() -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        ended.set()

    threading.Thread(target=block, daemon=True).start()
    while not ended.wait(1.0):
        if stop.asked and stop.seconds() > grace_seconds + GRACE_MARGIN:
            break
    return True


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def has_begun(run_folder: Path) -> bool:
    """Whether the launcher has been at work in its folder, which `fetch` leaves empty.

    The script can remove or replace what lies there, the folder itself too; but it cannot do so before it runs.
    """
    try:
        descriptor = os.open(run_folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)
    try:
        with os.scandir(descriptor) as entries:
            return any(entries)
    finally:
        os.close(descriptor)
