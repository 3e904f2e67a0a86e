"""Looks after the script while it runs, for what its own end would be too late to tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from tftrainer.messages.contract import NOTE_LIMIT, Note, NoteReason, RunNotes

_INTERVAL_SECONDS = 1.0
_TOLD_LIMIT = 8

Look = Callable[[float], None]
"""One look, at a moment in seconds of a monotonic clock."""


class Notes:
    """What there is to tell while the script runs, one note of each kind: a line in the log, and a file for the publisher."""

    def __init__(self, say: Callable[[str], None], leave: Callable[[bytes], None]) -> None:
        self._say = say
        self._leave = leave
        self._told: dict[NoteReason, Note] = {}

    def tell(self, reason: NoteReason, text: str) -> None:
        """Tell it, in the place of what was told for the same reason."""
        self._told.pop(reason, None)
        self._told[reason] = Note(reason=reason, message=text[:NOTE_LIMIT])
        self._say(f"tftrainer: {text}")
        self._leave(msgspec.json.encode(RunNotes(notes=tuple(self._told.values()))))


class Vigil:
    """Has a thread of its own, in which everybody looks about once a second, one after the other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ended = threading.Event()

    def start(self, looks: Sequence[Look], say: Callable[[str], None]) -> None:
        """Begin to look. Who fails to is told of with `say`, once, and keeps nobody else from it."""
        threading.Thread(target=self._keep, args=(looks, say), name="vigil", daemon=True).start()

    def stop(self) -> None:
        """Look no more; does not wait for a look that is under way."""
        self._ended.set()

    def pause(self, seconds: float) -> bool:
        """Wait within a look, and return whether it is over meanwhile."""
        return self._ended.wait(seconds)

    def _keep(self, looks: Sequence[Look], say: Callable[[str], None]) -> None:
        told: set[str] = set()
        while not self._ended.wait(_INTERVAL_SECONDS):
            for look in looks:
                try:
                    look(self._clock())
                except Exception as error:  # what cannot be looked at now may be at the next look
                    text = f"warning: the script cannot be looked after in full: {type(error).__name__}: {error}"
                    if text not in told and len(told) < _TOLD_LIMIT:
                        told.add(text)
                        say(f"tftrainer: {text}")
