"""Keeps one server that is slow, or fails, from holding all workers: few requests at once, and none but a probe while it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from tftraining_operator.kube.errors import ApiError, UnavailableError
from tftraining_operator.runtime.guard import NotLeadingError

AT_ONCE: Final = 3
"""So many requests at once: a server that answers does each in milliseconds."""
SLOW_SECONDS: Final = 0.5
"""A request that takes longer shows that nothing is to be gained by waiting for one's turn."""
TOLERATED: Final = 3
"""After so many failures in a row the server counts as failing."""
PROBE_SECONDS: Final = 5.0
"""How long after its last failure such a server is asked again, by one request."""


class BusyError(UnavailableError):
    """The request was not made, because earlier ones have not been answered."""


class Breaker:
    """A circuit breaker around the requests to one server. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._begun: list[float] = []
        self._failures = 0
        self._failed_at = float("-inf")
        self._why = ""

    @property
    def why(self) -> str:
        """What the server said last, where it counts as failing; empty otherwise."""
        return self._why if self._failures >= TOLERATED else ""

    @property
    def is_open(self) -> bool:
        """Whether no request may be made now, because the server fails."""
        return bool(self.why) and (bool(self._begun) or self._clock() < self._failed_at + PROBE_SECONDS)

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Make a request when it is its turn.

        Raises:
            BusyError: it is not made now.

        """
        await self._turn()
        begun = self._clock()
        self._begun.append(begun)
        try:
            yield
        except NotLeadingError:
            raise
        except UnavailableError as error:
            self._failures, self._failed_at, self._why = self._failures + 1, self._clock(), error.message or str(error)
            raise
        except ApiError:
            # It has answered.
            self._failures = 0
            raise
        else:
            self._failures = 0
        finally:
            self._begun.remove(begun)
            self._turns.release()

    async def _turn(self) -> None:
        left = min(self._begun, default=self._clock()) + SLOW_SECONDS - self._clock()
        try:
            async with asyncio.timeout(max(0.0, left)):
                await self._turns.acquire()
        except TimeoutError:
            raise BusyError(0, "Busy", f"{AT_ONCE} requests have not been answered for {SLOW_SECONDS} s") from None
        if self.is_open:
            self._turns.release()
            raise BusyError(0, "CircuitOpen", self.why)
