"""What keeps a script's process alive when its main program has come to its end: threads, and processes that it waits for."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

from tftrainer.messages.contract import NoteReason
from tftrainer.run import leaving, process
from tftrainer.run.outcome import past_the_last_line

_LIMIT = 16 * 1024
_NAMED = 3
_TEXT_LIMIT = 120


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting:
    """A thread or a process, by its name, and where it was when the main program ended; `file` is empty where that is not known."""

    kind: str
    name: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        where = f" at {self.file}, line {self.line}" if self.file else ""
        return f"{self.kind} {self.name}{where}"


def left(path: Path, *, before: float = math.inf) -> tuple[Waiting, ...] | None:
    """Return what the interpreter said when the main program ended; None if it said nothing, or not `before` that Unix second.

    It has left one line for each: kind, name, file and line, with tabs between.
    """
    data = leaving.left(path, _LIMIT, before=before) or b""
    found = []
    for each in data.decode("utf-8", "replace").splitlines():
        with contextlib.suppress(ValueError):
            kind, name, file, line = (_plain(word) for word in each.split("\t"))
            if kind in ("thread", "process"):
                found.append(Waiting(kind, name, file, int(line)))
    return tuple(found) or None


def words(waiting: tuple[Waiting, ...]) -> str:
    """Return who keeps the process alive; of many the first are named."""
    more = f" and {len(waiting) - _NAMED} more" if len(waiting) > _NAMED else ""
    return ", ".join(map(str, waiting[:_NAMED])) + more


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else "�" for each in text[:_TEXT_LIMIT])


class LastLine:
    """Where only threads or processes are left of the script for `patience` seconds, that is told, with the stacks of its threads."""

    def __init__(self, script: int, file: Path, tell: Callable[[NoteReason, str], None], patience: float) -> None:
        self._script = script
        self._file = file
        self._tell = tell
        self._patience = patience
        self._passed_at: float | None = None
        self._told = False
        self.waiting: tuple[Waiting, ...] = ()

    def look(self, now: float) -> None:
        """See whether the main program has come to its end."""
        if self._told:
            return
        found = left(self._file)
        if found is None or process.is_ending(self._script):
            self._passed_at = None
        elif self._passed_at is None:
            self._passed_at = now
        elif now - self._passed_at >= self._patience:
            self._told = True
            self.waiting = found
            self._tell(NoteReason.LAST_LINE_PASSED, past_the_last_line(round(now - self._passed_at), words(found)))
            process.ask_for_stacks(self._script)
