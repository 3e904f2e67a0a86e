"""The API server's time: creation times, deadlines and what containers state are its, or its nodes', whatever this machine's clock says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import lru_cache

import structlog

_log = structlog.get_logger()

JUMP_SECONDS = 10.0
"""A step forward of the server's time against ours that long means that this process, or its machine, was stopped meanwhile."""
AGREED_SECONDS = 60.0
"""For how long after the last answer that agreed an answer from long before is another server's, whose clock is behind."""


class ServerClock:
    """Unix seconds as the API server has them. `monotonic` are this process's own seconds, `wall` its machine's Unix seconds.

    An answer's `Date` has whole seconds and was written between request and answer. As long as that agrees with what is taken for the
    server's time, nothing changes; otherwise it moves as little as it must. Between answers it goes with the monotonic clock, so that a
    machine whose clock is set does not move it.

    Of several servers whose clocks differ by more than a jump, the one that is ahead counts: as long as it answers, the others change
    nothing. A time that goes back proves no stop, so that nothing is in doubt for it.
    """

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
        self._agreed = float("-inf")
        self._behind = (float("-inf"), 0.0)
        self._jumps = 0
        self._settled = 0
        self._jumped = asyncio.Event()

    def __call__(self) -> float:
        """Return the server's time now."""
        return self._monotonic() + self._offset

    def hear(self, date: str, sent: float, received: float) -> None:
        """Take an answer's `Date`; the other two are monotonic seconds. What is no date is not taken."""
        at = _unix(date)
        if at is None:
            return
        offset = min(max(self._offset, at - received), at + 1.0 - sent)
        behind = self._offset - offset
        if behind > JUMP_SECONDS and received - self._agreed < AGREED_SECONDS:
            self._tell(behind, received)
            return
        if behind < -JUMP_SECONDS and self._agreed > float("-inf"):
            self._jumps += 1
            self._jumped.set()
        self._offset, self._agreed = offset, received

    def _tell(self, behind: float, at: float) -> None:
        if self.behind_seconds == 0.0:
            _log.warning("an API server's clock is behind another's, which is taken for the time", seconds=round(behind))
        self._behind = (at, behind)

    @property
    def behind_seconds(self) -> float:
        """By how much an answer of the last minute was behind what is taken for the server's time; 0 where all agree."""
        at, seconds = self._behind
        return seconds if self._monotonic() - at < AGREED_SECONDS else 0.0

    @property
    def jumps(self) -> int:
        """How often the server's time has jumped against that of this process."""
        return self._jumps

    @property
    def steady(self) -> bool:
        """Whether everything was listed since the last jump: what is known from before may be long over."""
        return self._settled == self._jumps

    def settle(self, jumps: int) -> None:
        """Note that everything was listed since the jump of that number."""
        self._settled = jumps
        if self.steady:
            self._jumped.clear()

    async def jump(self, seconds: float) -> None:
        """Wait for so long, or until there is a jump after which nothing was listed yet."""
        try:
            async with asyncio.timeout(seconds):
                await self._jumped.wait()
        except TimeoutError:
            return


@lru_cache(maxsize=4)
def _unix(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
