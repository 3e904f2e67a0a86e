"""Processes of the script that the kernel kills for want of memory while it goes on, and what becomes of the rest of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from tftrainer.messages.contract import NoteReason
from tftrainer.run import process
from tftrainer.run.memory import Memory
from tftrainer.run.outcome import Stop, killed_meanwhile
from tftrainer.run.process import Effort
from tftrainer.run.standstill import Standstill
from tftrainer.run.supervisor import Asked

_STACK_SECONDS = 0.5


class Killed:
    """Where the script does nothing any more for `patience` seconds after one of its processes was killed, it is asked to end.

    `script` is its process, `read` looks at the container's memory.
    """

    def __init__(
        self,
        script: int,
        read: Callable[[], Memory],
        tell: Callable[[NoteReason, str], None],
        ask: Callable[[Asked], None],
        pause: Callable[[float], bool],
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._script = script
        self._read = read
        self._tell = tell
        self._ask = ask
        self._pause = pause
        self._patience = patience
        self._clock = clock
        self._effort = Effort()
        self._kills_before = read().kills
        self._kills = 0
        self._told = 0
        self._most: int | None = None
        self._standstill: Standstill | None = None

    def look(self, now: float) -> None:
        """See whether a process was killed, and whether the rest goes on."""
        memory = self.memory()
        if memory.held is not None:
            self._most = max(memory.held, self._most or 0)
        if memory.kills > self._kills:
            self._kills = memory.kills
            self._standstill = Standstill.after_kill(now, self._effort.so_far(), self._patience)
            if self._kills >= 2 * self._told and not process.is_ending(self._script):
                self._told = self._kills
                self._tell(NoteReason.PROCESS_OUT_OF_MEMORY, killed_meanwhile(memory))
        elif self._standstill is not None:
            self._standstill = self._standstill.seen(now, self._effort.so_far())
            if self._standstill.is_over(now):
                # Where it hangs is worth knowing; its interpreter needs a moment to say so.
                process.ask_for_stacks(self._script)
                if not self._pause(_STACK_SECONDS):
                    self._ask(Asked(Stop.MEMORY))
                self._standstill = Standstill.after_kill(now, self._effort.so_far(), self._patience)

    def memory(self) -> Memory:
        """Return what is said of the memory now, with the kills of this run alone."""
        now = self._read()
        return dataclasses.replace(now, kills=max(now.kills - self._kills_before, 0))

    def most(self) -> int | None:
        """Return how many bytes were needed at the most, None where nobody could tell.

        That is what was held at a look. Where there was none in time, or it fell short of what was asked for, the kernel's own peak is.
        """
        now = self.memory()
        told = [each for each in (now.peak if now.kills else None, self._most) if each is not None]
        return max(told, default=now.peak)

    def since_kill(self) -> float | None:
        """Return for how many seconds no process was killed any more, 0 if that was too short ago to be seen; None if none was."""
        if self.memory().kills > self._kills:
            return 0.0
        return self._clock() - self._standstill.killed_at if self._standstill is not None else None
