"""How long a store that does not answer is waited for, and the pauses between tries."""

from __future__ import annotations

import math
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Self

from urllib3.response import BaseHTTPResponse
from urllib3.util.retry import Retry

FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 15
RETRIED_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class OutOfTimeError(Exception):
    """The time for all that is done with a store is over, though it answers."""


class Patience:
    """Seconds that one request may be repeated for: few until the store has answered once, more after that.

    A wrong endpoint is told soon, a store that restarts is waited for. At `until`, a time of `clock`, all is over.
    """

    __slots__ = ("_answered", "_clock", "first", "later", "until")

    def __init__(
        self, first: float = 60.0, later: float = 120.0, clock: Callable[[], float] = time.monotonic, until: float = math.inf
    ) -> None:
        self.first = first
        self.later = later
        self.until = until
        self._clock = clock
        self._answered = False

    def answered(self) -> None:
        """Take note that the store has answered."""
        self._answered = True

    def seconds(self) -> float:
        """Return how long a request may be repeated for now."""
        return self.later if self._answered else self.first

    def now(self) -> float:
        """Return the clock's time in seconds."""
        return self._clock()

    def is_over(self, since: float) -> bool:
        """Whether what has failed since then is given up."""
        now = self.now()
        return now - since > self.seconds() or now >= self.until

    def check(self) -> None:
        """Make sure that there is time left.

        Raises:
            OutOfTimeError: there is none.
        """
        if self.now() >= self.until:
            raise OutOfTimeError


class Tries:
    """Tries of one transfer, given up when it has not come further for as long as its patience lasts."""

    def __init__(self, patience: Patience, cancelled: threading.Event | None = None) -> None:
        self._patience = patience
        self._cancelled = cancelled or threading.Event()
        self._failures = 0
        self._since = patience.now()

    def progressed(self) -> None:
        """Take note that the transfer has come further than ever before."""
        self._failures = 0
        self._since = self._patience.now()

    def again(self) -> bool:
        """Pause after a failure, the longer the more there were; False if it was the last."""
        if self._patience.is_over(self._since):
            return False
        self._failures += 1
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0**self._failures)
        self._cancelled.wait(delay * random.uniform(0.5, 1.0))  # noqa: S311
        return True


class PatientRetry(Retry):
    """Repeats requests with growing, jittered delays within a `Patience`. Redirects are never followed.

    One instance is shared by all requests: the first failure of a request starts that request's time, and nothing else ends it.
    """

    def __init__(self, *args: Any, patience: Patience | None = None, since: float | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.patience = patience or Patience()
        self.since = since

    @classmethod
    def within(cls, patience: Patience) -> Self:
        """Return the retries that a connection pool starts from."""
        return cls(
            total=None,
            redirect=False,
            other=0,
            allowed_methods=None,
            status_forcelist=RETRIED_STATUS,
            backoff_factor=FIRST_DELAY,
            backoff_max=LONGEST_DELAY,
            retry_after_max=LONGEST_DELAY,
            raise_on_status=False,
            patience=patience,
        )

    def new(self, **options: Any) -> Self:
        """Return the retries after one more failure."""
        since = self.since
        if since is None:
            since = self.patience.now()
        else:
            status = next((last.status for last in options.get("history", ())[-1:]), None)
            print(f"storage: {f'HTTP {status}' if status else 'no answer'}, trying again", file=sys.stderr, flush=True)
        return super().new(patience=self.patience, since=since, **options)

    def get_backoff_time(self) -> float:
        """Return the next pause in seconds, jittered also where it is the longest."""
        return super().get_backoff_time() * random.uniform(0.5, 1.0)  # noqa: S311

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Return what the server asks for and up to a quarter more: all whom it turned away come back, but not at once."""
        seconds = super().get_retry_after(response)
        return seconds * random.uniform(1.0, 1.25) if seconds else seconds  # noqa: S311

    def is_exhausted(self) -> bool:
        """Whether the request is given up."""
        return (self.since is not None and self.patience.is_over(self.since)) or super().is_exhausted()
