"""Whether a script still does anything. Pure: looks in, a judgement out."""

from __future__ import annotations

import dataclasses
from typing import Self

PATIENCE_SECONDS = 60.0
CPU_SHARE = 0.01
"""Of one core: who only waits, and looks now and then whether something has come, uses less."""
_LEAST_CPU_SECONDS = 0.015
"""The kernel counts in hundredths: one more of them may have been used at any time before, two have not been used by who only waits."""
IO_RATE = 1024
"""Bytes per second, read and written: a line like "still waiting" now and then is less."""
_REST_SHARE = 10
_WINDOWS = 10
_LATE_SECONDS = 1.0
_ANSWER_CPU_SECONDS = 0.1
_STEP_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """All that a family of processes has done: seconds of CPU time, bytes that they have read and written. Neither ever falls."""

    cpu: float = 0.0
    io: int = 0

    def __add__(self, other: Self) -> Work:
        return Work(self.cpu + other.cpu, self.io + other.io)


def worked(before: Work, after: Work, seconds: float) -> bool:
    """Whether more was done than somebody does who only waits for so many seconds."""
    return after.cpu - before.cpu > max(CPU_SHARE * seconds, _LEAST_CPU_SECONDS) or after.io - before.io > IO_RATE * seconds


@dataclasses.dataclass(frozen=True, slots=True)
class Standstill:
    """Since when, in seconds of any clock, nothing was done, after a kill at `killed_at`; `work` is what was done by then.

    Who works on for a while after the kill does not hang on the process that was killed as far as can be seen, and may rest longer: a tenth
    of the time for which it has worked on, and never less than `patience`.
    """

    killed_at: float
    since: float
    work: Work
    patience: float = PATIENCE_SECONDS

    @classmethod
    def after_kill(cls, now: float, work: Work, patience: float = PATIENCE_SECONDS) -> Self:
        """Begin to watch, right after a kill."""
        return cls(now, now, work, patience)

    @property
    def allowed(self) -> float:
        """For how many seconds the script may do nothing."""
        return max(self.patience, (self.since - self.killed_at) / _REST_SHARE)

    def seen(self, now: float, work: Work) -> Self:
        """Take note of a look."""
        return dataclasses.replace(self, since=now, work=work) if worked(self.work, work, self.allowed) else self

    def is_over(self, now: float) -> bool:
        """Whether nothing was done for so long that nothing will be."""
        return now - self.since >= self.allowed


@dataclasses.dataclass(frozen=True, slots=True)
class Signs:
    """What is seen of a script at one moment: the work of all its processes, and how many bytes it has printed.

    `wall` is the wall clock's time, in Unix seconds. `held_up`: it may be waiting for somebody to take what it has printed.
    """

    work: Work
    printed: int
    wall: float
    held_up: bool = False


def goes_on(before: Signs, after: Signs, answered: int, took: float, allowed: float) -> bool:
    """Whether a script gave a sign of life while it was asked, for `took` seconds, where it stands; `answered` is what it printed for that.

    To answer costs it a little time, and it writes what it answers.
    """
    excused = Work(_ANSWER_CPU_SECONDS, answered)
    window = max(took, allowed / _WINDOWS)
    return after.printed - before.printed > answered or after.held_up or worked(before.work + excused, after.work, window)


@dataclasses.dataclass(frozen=True, slots=True)
class Inactivity:
    """Since when, in seconds of a monotonic clock, a script has given no sign of life; it may be without one for `allowed` seconds.

    Work is judged in windows of a tenth of that time, so that neither a burst in a long rest nor a slow drip is overlooked. What nobody
    could have seen does not count: a time for which nobody looked, as of a machine that was halted, and a step of the wall clock, by which
    the times of files are judged.
    """

    allowed: float
    since: float
    signs: Signs
    looked_at: float
    window_at: float
    work: Work

    @classmethod
    def begin(cls, now: float, allowed: float, signs: Signs) -> Self:
        """Begin to watch."""
        return cls(allowed, now, signs, now, now, signs.work)

    def seen(self, now: float, signs: Signs, planned: float) -> Self:
        """Take note of a look, which was to come so many seconds after the one before."""
        gap = now - self.looked_at
        missed = gap - planned if gap > 2 * planned + _LATE_SECONDS else 0.0
        found = dataclasses.replace(self, since=self.since + missed, window_at=self.window_at + missed, signs=signs, looked_at=now)
        stepped = abs((signs.wall - now) - (self.signs.wall - self.looked_at)) > _STEP_SECONDS
        window = self.allowed / _WINDOWS
        if signs.printed != self.signs.printed or signs.held_up or stepped or worked(self.work, signs.work, window):
            return found.alive(now)
        return dataclasses.replace(found, window_at=now, work=signs.work) if now - found.window_at >= window else found

    def alive(self, at: float) -> Self:
        """Take note of a sign of life at a moment that is not after the last look."""
        return dataclasses.replace(self, since=max(at, self.since), window_at=self.looked_at, work=self.signs.work)

    def is_over(self, now: float) -> bool:
        """Whether there was no sign for as long as is allowed."""
        return now - self.since >= self.allowed
