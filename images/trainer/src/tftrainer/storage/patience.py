"""How long a store that does not answer is waited for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final, Self

from urllib3.util.retry import Retry

ATTEMPTS: Final = 12
FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 15
RETRIED_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Patience:
    """Seconds that one request may be repeated for: few until the store has answered once, more after that.

    A wrong endpoint is told soon, a store that restarts is waited for.
    """

    __slots__ = ("_answered", "_clock", "first", "later")

    def __init__(self, first: float = 60.0, later: float = 120.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.first = first
        self.later = later
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


class PatientRetry(Retry):
    """Repeats requests with growing, jittered delays within a `Patience`. Redirects are never followed.

    One instance is shared by all requests: the first failure of a request starts that request's time.
    """

    def __init__(self, *args: Any, patience: Patience | None = None, since: float | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.patience = patience or Patience()
        self.since = since

    @classmethod
    def within(cls, patience: Patience) -> Self:
        """Return the retries that a connection pool starts from."""
        return cls(
            total=ATTEMPTS,
            redirect=False,
            other=0,
            allowed_methods=None,
            status_forcelist=RETRIED_STATUS,
            backoff_factor=FIRST_DELAY,
            backoff_jitter=FIRST_DELAY,
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
            print("storage: no answer, trying again", file=sys.stderr, flush=True)
        return super().new(patience=self.patience, since=since, **options)

    def is_exhausted(self) -> bool:
        """Whether the request is given up."""
        late = self.since is not None and self.patience.now() - self.since > self.patience.seconds()
        return late or super().is_exhausted()
