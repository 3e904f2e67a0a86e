"""What the script has written where nothing is published from: folders that end with the pod, such as `/tmp`."""

from __future__ import annotations

import contextlib
import heapq
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tftrainer.layout import Layout
from tftrainer.messages.contract import Elsewhere, FileElsewhere

MOUNTS = Path("/proc/self/mountinfo")
_TOLD = 16
_PATH_LIMIT = 256
_ENTRIES = 100_000
_SECONDS = 2.0
_NEVER = ("/proc", "/sys", "/dev")
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where the script's files lie, not ours
_CACHES = frozenset({"__pycache__", "tfhub_modules", "nltk_data"})
_MADE_BY_LIBRARIES = re.compile(r"\.|__autograph_generated_file|sem\.|(psm_[0-9a-f]{8}|nccl-\w{6}|torch_\d+_\d+_\d+)$")
"""Names of hidden files, of code that TensorFlow generates, and of shared memory."""
_OCTAL = re.compile(r"\\([0-7]{3})")


def places(layout: Layout, environment: Mapping[str, str], mounts: str) -> list[Path]:
    """Return the folders that the script could write to and that nothing is published from, by the kernel's list of mounts.

    The script's own folder for temporary files is one of them, though it lies in the workspace. Outside of a pod such folders are
    everybody's: only what lies below the layout's root is certain to be the run's own.
    """
    named = [environment[name] for name in ("TMPDIR", "HOME") if environment.get(name)]
    if layout.root == Path("/"):
        found = [Path(each) for each in (*_writable(mounts), *named)]
    else:
        found = [Path(each) for each in named if Path(each).is_relative_to(layout.root)]
    found = [each for each in dict.fromkeys(found) if each == layout.temporary or not _is_about(each, layout.workspace)]
    found = [each for each in found if _can_be_written(each)]
    return [each for each in found if not any(other != each and each.is_relative_to(other) and _same_mount(each, other) for other in found)]


def _writable(mounts: str) -> Iterator[str]:
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 6 or "rw" not in fields[5].split(","):
            continue
        # Blanks and the like are written as octal numbers.
        point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4])
        if point != "/" and (point == _SHARED_MEMORY or not any(f"{point}/".startswith(f"{each}/") for each in _NEVER)):
            yield point


def _is_about(folder: Path, workspace: Path) -> bool:
    return folder.is_relative_to(workspace) or workspace.is_relative_to(folder)


def _can_be_written(folder: Path) -> bool:
    try:
        return folder.is_dir() and not os.statvfs(folder).f_flag & os.ST_RDONLY
    except OSError:
        return False


def _same_mount(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_dev == other.stat().st_dev
    except OSError:
        return False


def written(
    folders: Iterable[Path],
    since: float,
    environment: Mapping[str, str],
    clock: Callable[[], float] = time.monotonic,
    entries: int = _ENTRIES,
    seconds: float = _SECONDS,
) -> Elsewhere:
    """Return the files below the folders that were made or changed since a moment, in Unix seconds, but for hidden ones and caches.

    At most so many `entries` are looked at, for so many `seconds`: of more, what was found until then is told.
    """
    found: list[tuple[int, str]] = []
    count = total = 0
    caches = frozenset(each for name in ("MPLCONFIGDIR", "XDG_CACHE_HOME", "KERAS_HOME") if (each := environment.get(name)))
    until = clock() + seconds
    for number, (path, status) in enumerate(entry for folder in folders for entry in _entries(folder, caches)):
        if number >= entries or clock() > until:
            break
        if not stat.S_ISREG(status.st_mode) or status.st_ctime < since or not status.st_size:
            continue
        count += 1
        total += status.st_size
        (heapq.heappush if len(found) < _TOLD else heapq.heappushpop)(found, (status.st_size, path))
    largest = sorted(found, key=lambda each: (-each[0], each[1]))
    return Elsewhere(files=tuple(FileElsewhere(path=_printable(path), size=size) for size, path in largest), count=count, bytes=total)


def _entries(folder: Path, caches: frozenset[str]) -> Iterator[tuple[str, os.stat_result]]:
    try:
        device = folder.stat().st_dev
    except OSError:
        return
    waiting = [os.fspath(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name in _CACHES or entry.path in caches or _MADE_BY_LIBRARIES.match(entry.name):
                    continue
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False) and status.st_dev == device:
                        waiting.append(entry.path)
                    yield entry.path, status


def _printable(path: str) -> str:
    text = "".join(each if each.isprintable() else "�" for each in path)
    return text if len(text) <= _PATH_LIMIT else f"…{text[1 - _PATH_LIMIT :]}"
