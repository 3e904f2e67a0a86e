"""The logs while they grow: new bytes of both streams as numbered objects, and an index that lists them.

A reader of the bucket follows a run without access to the cluster. The objects stay after the end, when the whole logs lie beside
them: where the publisher is killed, they are all that is left of a log.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tftrainer.messages.contract import STACKS_NAME
from tftrainer.outputs.repeating import Repeating
from tftrainer.outputs.tree import open_file

if TYPE_CHECKING:
    from tftrainer.storage.interface import Store

FOLDER: Final = "live/"
INDEX_NAME: Final = "index.json"
PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 300.0
SLOWER_AFTER: Final = 100
"""Segments after which the pause doubles: a run of days writes some hundred objects, not tens of thousands."""
SEGMENT_BYTES: Final = 8 * 1024**2
LIMIT_BYTES: Final = 256 * 1024**2
"""Bytes of one stream that are shown live; the rest comes with the whole log."""
_STOP_SECONDS: Final = 1.0


class Segment(msgspec.Struct, frozen=True):
    """One object: the bytes of a stream from `offset` on."""

    name: str
    offset: int
    size: int


class Index(msgspec.Struct, frozen=True):
    """All segments by stream, in their order. `cut` names the streams of which no more is shown live."""

    streams: dict[str, tuple[Segment, ...]]
    cut: tuple[str, ...]
    updated_at: float


PUBLISHED_LOGS: Final = ("stdout.log", "stderr.log", STACKS_NAME)


class LiveLogs:
    """Uploads, in a thread of its own, what the log files below `logs` have gained. It reads files and nothing else of the script.

    A store that is slow or away delays it and costs the script nothing: what was not uploaded is part of a later segment. `prefix`
    is the whole key of the logs' folder.
    """

    def __init__(
        self,
        logs: Path,
        names: Sequence[str],
        open_store: Callable[[], tuple[Store, str]],
        say: Callable[[str], None],
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._logs = logs
        self._open_store = open_store
        self._pause = pause
        self._segments: dict[str, list[Segment]] = {name: [] for name in names}
        self._bucket: tuple[Store, str] | None = None
        self._repeating = Repeating("the log cannot be shown live", self._upload, self._seconds, say)

    def start(self) -> None:
        """Begin."""
        self._repeating.start()

    def end(self) -> None:
        """Ask to stop, and do not wait."""
        self._repeating.end()

    def stop(self) -> None:
        """Upload no more; does not wait for a request that hangs: no other object has the key of a segment."""
        self._repeating.stop(_STOP_SECONDS)

    def _seconds(self) -> float:
        written = sum(map(len, self._segments.values()))
        return float(min(self._pause * 2 ** (written // SLOWER_AFTER), max(self._pause, LONGEST_PAUSE_SECONDS)))

    def _upload(self) -> None:
        gained = False
        for name, segments in self._segments.items():
            offset = _end(segments)
            data = _read(self._logs, name, offset, min(SEGMENT_BYTES, LIMIT_BYTES - offset))
            if not data:
                continue
            store, prefix = self._bucket = self._bucket or self._open_store()
            segment = Segment(f"{name.removesuffix('.log')}-{len(segments):06d}.log", offset, len(data))
            store.write(f"{prefix}{FOLDER}{segment.name}", data)
            segments.append(segment)
            gained = True
        if gained and self._bucket is not None:
            store, prefix = self._bucket
            store.write(f"{prefix}{FOLDER}{INDEX_NAME}", msgspec.json.encode(self._index()))

    def _index(self) -> Index:
        streams = {name.removesuffix(".log"): tuple(segments) for name, segments in self._segments.items()}
        cut = tuple(name.removesuffix(".log") for name, segments in self._segments.items() if _end(segments) >= LIMIT_BYTES)
        return Index(streams, cut, time.time())


def _end(segments: Sequence[Segment]) -> int:
    return segments[-1].offset + segments[-1].size if segments else 0


def _read(logs: Path, name: str, offset: int, most: int) -> bytes:
    with contextlib.suppress(OSError):
        descriptor = open_file(logs, name)
        try:
            return os.pread(descriptor, most, offset) if most > 0 else b""
        finally:
            os.close(descriptor)
    return b""
