"""Which files of the workspace the script's processes have open for writing: what a sudden end may leave half written."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from tftrainer.messages.contract import OpenFiles
from tftrainer.run import process

_INTERVAL_SECONDS = 1.0
_LONGEST_SECONDS = 5.0
_SHARE = 500
_LIMIT = 4096
_KEY_BYTES = 1024
_FIRST = "bucket/"


def written_by(number: int, workspace: Path) -> frozenset[str]:
    """Return the regular files below a folder, by their paths in it, that a process has open for writing, or mapped to be written.

    Files that have been removed are left out. Nothing for a process that is gone, or that this one may not look at.
    """
    below = f"{workspace}/"
    found: set[str] = set()
    for path in (*_opened(number, below), *_mapped(number, below)):
        with contextlib.suppress(OSError, ValueError):
            if stat.S_ISREG(os.lstat(path).st_mode):
                found.add(path[len(below) :])
    return frozenset(found)


def _opened(number: int, below: str) -> Iterator[str]:
    try:
        folder = os.open(f"/proc/{number}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - the names alone are wanted
            try:
                path = os.readlink(name, dir_fd=folder)
                # The link's own mode tells how the file was opened.
                if path.startswith(below) and os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode & stat.S_IWUSR:
                    yield path
            except OSError:
                continue
    except OSError:
        return
    finally:
        os.close(folder)


def _mapped(number: int, below: str) -> Iterator[str]:
    try:
        maps = Path(f"/proc/{number}/maps").read_bytes()
    except OSError:
        return
    wanted = os.fsencode(below)
    if wanted not in maps:
        return
    for line in maps.split(b"\n"):
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[1][1:2] == b"w" and fields[1][3:4] == b"s" and fields[5].startswith(wanted):
            yield os.fsdecode(fields[5].replace(b"\\012", b"\n"))


def message(paths: Iterable[str]) -> OpenFiles:
    """Return the paths as a message; of too many, those below the bucket's folder first. What can be no key is left out."""
    told = sorted(set(filter(_can_be_key, paths)), key=lambda path: (not path.startswith(_FIRST), path))
    return OpenFiles(paths=tuple(told[:_LIMIT]))


def _can_be_key(path: str) -> bool:
    try:
        return len(path.encode()) <= _KEY_BYTES
    except UnicodeEncodeError:
        return False


class Watch:
    """Looks in a thread of its own, about once a second, and calls `leave` with the encoded message when it has changed.

    A look at many processes takes long; the pause after it is so long that at most a five-hundredth of one core goes into looking, but
    not longer than five seconds.
    What the script itself had open when it was last seen alive stays known, and when that was, by `clock` in Unix seconds: after a sudden
    end there is nothing to be seen of it, and where memory runs out the last look may lie far back.
    """

    def __init__(self, script: int, workspace: Path, leave: Callable[[bytes], None], clock: Callable[[], float] = time.time) -> None:
        self._script = script
        self._workspace = workspace
        self._leave = leave
        self._clock = clock
        self._looked_at: float | None = None
        self._found: dict[int, frozenset[str]] = {}
        self._at_the_end: dict[int, frozenset[str]] = {}
        self._left = OpenFiles()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="open files", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def look(self) -> None:
        """Look now, unless it was for the last time already."""
        with self._lock:
            if not self._ended.is_set():
                seen = self._look()
                kept = {self._script: self._found[self._script]} if self._script in self._found else {}
                self._found = {**kept, **seen}
                self._tell(message(path for paths in self._found.values() for path in paths))

    def last_look(self) -> None:
        """Look right before processes are killed, and no more by itself after that."""
        with self._lock:
            self._ended.set()
            self._at_the_end = self._look()
            self._found |= self._at_the_end

    def conclusion(self, *, whole: bool) -> OpenFiles:
        """Return what stands in the end. If the script ended so that its files are `whole`, only what was killed after it counts."""
        counts = self._at_the_end if whole else self._found
        found = message(path for paths in counts.values() for path in paths)
        return found if whole else msgspec.structs.replace(found, looked_at=self._looked_at)

    def _look(self) -> dict[int, frozenset[str]]:
        began = self._clock()
        seen = {number: written_by(number, self._workspace) for number in process.descendants()}
        # A process that ends closes its files before it is gone: the look may have come too late to see them.
        alive = {number: paths for number, paths in seen.items() if not process.is_ending(number)}
        if self._script in alive:
            self._looked_at = began
        return alive

    def _tell(self, found: OpenFiles) -> None:
        if found != self._left:
            # Evidence for the worst case: where it cannot be left, the run goes on.
            with contextlib.suppress(OSError):
                self._leave(msgspec.json.encode(found))
                self._left = found

    def _watch(self) -> None:
        pause = _INTERVAL_SECONDS
        while not self._ended.wait(pause):
            before = time.thread_time()
            self.look()
            pause = min(max(_INTERVAL_SECONDS, _SHARE * (time.thread_time() - before)), _LONGEST_SECONDS)
