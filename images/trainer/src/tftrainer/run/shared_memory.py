"""How full `/dev/shm` was while the script ran: who fills it dies of it at once, and what lay there is gone a moment later."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from pathlib import Path

import msgspec

FOLDER = Path("/dev/shm")  # noqa: S108 - where the script's segments lie, not ours
_INTERVAL_SECONDS = 1.0
_LEAST_PAUSE = 0.005
_SHARE = 20
_FULL = 0.95
_IN_MODIFY, _IN_CREATE, _IN_MOVED_TO = 0x2, 0x100, 0x80
_IN_CLOEXEC = 0o2000000


class SharedMemory(msgspec.Struct, frozen=True):
    """The most that was in use, and the most that all segments together were to hold; bytes. `size` is how much there can be."""

    size: int = 0
    used: int = 0
    promised: int = 0

    @property
    def was_full(self) -> bool:
        """Whether it was full or, by what its segments were to hold, had to become so before they were filled."""
        return self.size > 0 and max(self.used, self.promised) >= self.size * _FULL

    def with_look(self, other: SharedMemory) -> SharedMemory:
        """Return the most of both."""
        return SharedMemory(max(self.size, other.size), max(self.used, other.used), max(self.promised, other.promised))


def look(folder: Path = FOLDER) -> SharedMemory:
    """Return what is in use now; nothing where there is no such folder."""
    try:
        found = os.statvfs(folder)
        promised = 0
        with os.scandir(folder) as entries:
            for each in entries:
                with contextlib.suppress(OSError):
                    promised += each.stat(follow_symlinks=False).st_size
    except OSError:
        return SharedMemory()
    return SharedMemory(found.f_blocks * found.f_frsize, (found.f_blocks - found.f_bfree) * found.f_frsize, promised)


class Gauge:
    """Looks in a thread of its own whenever something in the folder is made or grows, and about once a second.

    A segment is made in one moment and full in the next, too short a time for a clock. At most a twentieth of one core goes into it.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._most = SharedMemory()
        self._ended, self._end = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="shared memory", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> SharedMemory:
        """Look for the last time, and return the most that there was."""
        os.close(self._end)
        self._thread.join(_INTERVAL_SECONDS)
        return self._most.with_look(look(self._folder))

    def _watch(self) -> None:
        events = _notified(self._folder)
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        if events >= 0:
            poll.register(events, select.POLLIN)
        try:
            while True:
                begun = time.monotonic()
                self._most = self._most.with_look(look(self._folder))
                pause = max(_LEAST_PAUSE, _SHARE * (time.monotonic() - begun))
                ready = dict(poll.poll(_INTERVAL_SECONDS * 1000))
                if self._ended in ready:
                    return
                if events in ready:
                    os.read(events, 65536)
                    self._most = self._most.with_look(look(self._folder))
                    time.sleep(pause)
        finally:
            os.close(self._ended)
            if events >= 0:
                os.close(events)


def _notified(folder: Path) -> int:
    """Return a descriptor that can be read when something in the folder is made or grows; -1 where the kernel gives none."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    descriptor: int = library.inotify_init1(_IN_CLOEXEC)
    if descriptor >= 0 and library.inotify_add_watch(descriptor, os.fsencode(folder), _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO) < 0:
        os.close(descriptor)
        return -1
    return descriptor
