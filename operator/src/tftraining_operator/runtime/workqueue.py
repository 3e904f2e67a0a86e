"""The keys of jobs that have to be looked at: each once, never in two workers, live events before background sweeps.

Own code with the semantics of client-go's work queue: none is kept for asyncio.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable

from tftraining_operator.core.records import Key

_FIRST_RETRY_SECONDS = 0.05
_LAST_RETRY_SECONDS = 120.0


class WorkQueue:
    """A queue of keys. `clock` gives monotonic seconds, `jitter` a factor around 1 for the delay of a retry.

    `waited` is told for how many seconds each key that is handed out has waited.
    """

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float], waited: Callable[[float], object] = lambda _: None) -> None:
        self._clock = clock
        self._jitter = jitter
        self._waited = waited
        # Ordered sets: a key that becomes urgent leaves the middle of the other line.
        self._live: OrderedDict[Key, None] = OrderedDict()
        self._background: OrderedDict[Key, None] = OrderedDict()
        self._dirty: dict[Key, float] = {}
        self._held: dict[Key, float] = {}
        self._processing: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._failures: dict[Key, int] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._dirty)

    @property
    def oldest_seconds(self) -> float:
        """For how long the oldest key has been waiting for a worker."""
        waiting = [since for key, since in self._dirty.items() if key not in self._processing]
        return self._clock() - min(waiting) if waiting else 0.0

    def add(self, key: Key, *, background: bool = False) -> None:
        """Have a key looked at now. One that is being looked at comes again afterwards.

        A live event overtakes what waits in the background. A key for which the server asked for time keeps that time.
        """
        if self._put_off(key):
            return
        if key in self._dirty:
            if not background and key in self._background:
                del self._background[key]
                self._live[key] = None
            return
        self._dirty[key] = self._clock()
        if key not in self._processing:
            (self._background if background else self._live)[key] = None
            self._wake()

    def add_after(self, key: Key, seconds: float) -> None:
        """Have a key looked at after some time, at the earliest of all times asked for."""
        due = self._clock() + max(0.0, seconds)
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        self._set_timer()

    def retry(self, key: Key, at_least: float = 0.0) -> float:
        """Have a key looked at again after a failure, later each time, and return the delay in seconds.

        `at_least` is what the server asked for: until then nothing else brings the key back.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = max(at_least, min(_FIRST_RETRY_SECONDS * 2.0 ** min(failures, 30), _LAST_RETRY_SECONDS) * self._jitter())
        if at_least > 0.0:
            self._held[key] = self._clock() + at_least
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """Start a key's delays anew: it was looked at without a failure."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Return the next key; the caller tells with `done` when it has finished with it."""
        while not (self._live or self._background):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()
                raise
        key, _ = (self._live or self._background).popitem(last=False)
        self._waited(self._clock() - self._dirty.pop(key))
        self._processing.add(key)
        return key

    def done(self, key: Key) -> None:
        """Tell that a key has been looked at."""
        self._processing.discard(key)
        if key not in self._dirty:
            return
        if self._put_off(key):
            del self._dirty[key]
            return
        self._live[key] = None
        self._wake()

    def promote(self) -> None:
        """Move the keys whose time has come to those that are looked at now."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        self._set_timer()

    def _put_off(self, key: Key) -> bool:
        """Tell whether the server asked for more time for this key; if so, have it come when that is over."""
        left = self._held.get(key, 0.0) - self._clock()
        if left <= 0.0:
            self._held.pop(key, None)
            return False
        self.add_after(key, left)
        return True

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, self._heap[0][0] - self._clock()), self.promote)

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
