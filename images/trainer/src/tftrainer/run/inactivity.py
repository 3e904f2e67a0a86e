"""Ends a script that hangs, or tells of it, where its job asks for that: nothing printed, nothing written, nothing computed for so long."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from tftrainer.messages.contract import NoteReason, OnInactivity
from tftrainer.run.backtraces import Backtraces
from tftrainer.run.outcome import Hang, Stop, goes_on_after, in_words
from tftrainer.run.standstill import Inactivity, Signs, goes_on
from tftrainer.run.supervisor import Asked

_LOOKS = 60
_LONGEST_SECONDS = 10.0
_WINDOWS = 10
_VIGIL_SECONDS = 1.0
"""As often as anybody looks at all."""
REPORTS = 8
"""So many times the stacks are told of a script that goes on each time: with a time that is too short they would fill its log."""


class Watchdog:
    """Looks at a script that may give no sign of life for so many `seconds`.

    `signs` looks at its work and its output; `changed` tells when its files last changed, in Unix seconds, which takes long and is asked
    only when all else is quiet. The stacks are left with `keep`; `judge` makes of them, and of the seconds, what is told or, with
    `OnInactivity.FAIL`, why the script is asked to end. Nobody looks any more once it `is_ending`: in its grace period it may be saving.
    """

    def __init__(
        self,
        seconds: float,
        on_inactivity: OnInactivity,
        signs: Callable[[], Signs],
        changed: Callable[[], float],
        backtraces: Backtraces,
        keep: Callable[[str], None],
        tell: Callable[[NoteReason, str], None],
        ask: Callable[[Asked], None],
        judge: Callable[[int, str], Hang],
        is_ending: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._fails = on_inactivity is OnInactivity.FAIL
        self._signs = signs
        self._changed = changed
        self._backtraces = backtraces
        self._keep = keep
        self._tell = tell
        self._ask = ask
        self._judge = judge
        self._is_ending = is_ending
        self._clock = clock
        self._state = Inactivity.begin(clock(), seconds, signs())
        self._planned = max(min(seconds / _LOOKS, _LONGEST_SECONDS), _VIGIL_SECONDS)
        self._next_at = 0.0
        self._told: Hang | None = None
        self._reports = 0
        self.hang: Hang | None = None

    def look(self, now: float) -> None:
        """See whether there is a sign of life, and act where there was none for too long."""
        if now < self._next_at or self.hang is not None or self._is_ending() or (self._reports == REPORTS and self._told is None):
            return
        self._next_at = now + min(self._seconds / _LOOKS, _LONGEST_SECONDS)
        since = self._state.since
        self._state = self._state.seen(now, self._signs(), self._planned)
        if self._state.is_over(now):
            age = max(self._state.signs.wall - self._changed(), 0.0)
            self._state = self._state.alive(now - age)
        if self._state.is_over(now) and self._told is None:
            self._act(now)
        elif self._told is not None and self._state.since > since:
            self._tell(NoteReason.SCRIPT_HUNG, goes_on_after(self._told, round(self._state.since - since)))
            self._told = None
        elif self._told is not None:
            # Its files are looked through each time.
            self._next_at = now + self._seconds / _WINDOWS

    def _act(self, now: float) -> None:
        before, answered, seconds = self._state.signs, self._backtraces.answered, round(now - self._state.since)
        stacks = self._backtraces.collect()
        if self._is_ending():
            return
        after, answered = self._signs(), self._backtraces.answered - answered
        if goes_on(before, after, answered, self._clock() - now, self._seconds) or self._changed() > before.wall:
            # It woke while it was asked, which may take half a minute.
            self._state = Inactivity.begin(self._clock(), self._seconds, after)
            return
        found = self._judge(seconds, stacks)
        if self._fails:
            self.hang = found
            # Who is asked for last words ends by them, and takes others along: from now on every end is this one.
            self._ask(Asked(Stop.HUNG, number=0))
            more = self._backtraces.last_words()
            if more:
                stacks = f"{stacks}\n{more}"
                self.hang = dataclasses.replace(self._judge(seconds, stacks), aborted=True)
            self._keep(stacks)
            self._ask(Asked(Stop.HUNG))
        else:
            self._keep(stacks)
            self._reports += 1
            self._told = found
            self._tell(NoteReason.SCRIPT_HUNG, in_words(found))
            # What it has printed because it was asked is no sign of life.
            self._state = dataclasses.replace(Inactivity.begin(self._clock(), self._seconds, self._signs()), since=self._state.since)
