"""The keys of jobs that have to be looked at: each once, never in two workers, the most urgent first, namespaces in turn.

Own code with the semantics of client-go's work queue: none is kept for asyncio.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import IntEnum

from tftraining_operator.core.records import Key

_FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 120.0
SOON_SECONDS = 0.5
"""How long news that nobody waits for waits for more of its job; the Job controller of Kubernetes lets all news of pods wait a second."""
_SPARE = 64
"""So many times that nobody waits for any more may stay in the heap, beside as many as are waited for."""


_LAST_FIRST = 8
"""Each so-many-th key is of the line that comes last: what never ends in the others must not keep it for ever."""


class Priority(IntEnum):
    """Which keys go before others: those whose pod has ended, for which somebody waits, then other events, then sweeps."""

    URGENT = 0
    LIVE = 1
    BACKGROUND = 2


class _Line:
    """Keys in their order, but one of each namespace in turn: thousands of jobs of one do not stand before those of all others."""

    def __init__(self) -> None:
        self._namespaces: OrderedDict[str, OrderedDict[Key, None]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._namespaces)

    def append(self, key: Key) -> None:
        self._namespaces.setdefault(key.namespace, OrderedDict())[key] = None

    def remove(self, key: Key) -> None:
        keys = self._namespaces[key.namespace]
        del keys[key]
        if not keys:
            del self._namespaces[key.namespace]

    def popleft(self) -> Key:
        namespace, keys = next(iter(self._namespaces.items()))
        key, _ = keys.popitem(last=False)
        if keys:
            self._namespaces.move_to_end(namespace)
        else:
            del self._namespaces[namespace]
        return key


class WorkQueue:
    """A queue of keys. `clock` gives monotonic seconds, `jitter` a factor around 1 for the delay of a retry.

    Until it is started it takes nothing: a process that stands by would gather every key there ever was. `waited` is told for how many
    seconds each key that is handed out has waited.
    """

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float], waited: Callable[[float], object] = lambda _: None) -> None:
        self._clock = clock
        self._jitter = jitter
        self._waited = waited
        self._lines = {priority: _Line() for priority in Priority}
        self._dirty: dict[Key, float] = {}
        self._priority: dict[Key, Priority] = {}
        self._held: dict[Key, float] = {}
        self._processing: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._failures: dict[Key, int] = {}
        self._taken = itertools.count(1)
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._started = False

    def __len__(self) -> int:
        return len(self._dirty)

    @property
    def oldest_seconds(self) -> float:
        """For how long the oldest key has been waiting for a worker."""
        return self._oldest(Priority.BACKGROUND)

    @property
    def oldest_event_seconds(self) -> float:
        """The same of the keys of events alone: how long a sweep takes is a matter of how much there is, not of health."""
        return self._oldest(Priority.LIVE)

    def start(self) -> None:
        """Take keys from now on; whoever starts it adds those of all that is known."""
        self._started = True

    def add(self, key: Key, priority: Priority = Priority.LIVE) -> None:
        """Have a key looked at now. One that is being looked at comes again afterwards.

        A key that becomes more urgent leaves its line. One for which the server asked for time keeps that time.
        """
        if not self._started or self._put_off(key):
            return
        before = self._priority.get(key)
        if before is not None and before <= priority:
            return
        if before in {None, Priority.BACKGROUND}:
            # An event waits since it came, however long its job has waited for the sweep.
            self._dirty[key] = self._clock()
        self._priority[key] = priority
        if key not in self._processing:
            if before is not None:
                self._lines[before].remove(key)
            self._lines[priority].append(key)
            self._wake()

    def add_after(self, key: Key, seconds: float) -> None:
        """Have a key looked at after some time, at the earliest of all times asked for."""
        due = self._clock() + max(0.0, seconds)
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        if len(self._heap) > _SPARE + 2 * len(self._due):
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
        self._set_timer()

    def add_soon(self, key: Key) -> None:
        """Have a key looked at in a moment, together with what comes for it until then. One that is being looked at comes again at once."""
        if key in self._processing:
            # What is due is done with the look; this may have come too late for that.
            self.add(key)
        elif self._started and key not in self._dirty:
            self.add_after(key, SOON_SECONDS)

    def retry(self, key: Key, at_least: float = 0.0, at_most: float = LAST_RETRY_SECONDS, spread: float = 0.0) -> float:
        """Have a key looked at again after a failure, later each time up to `at_most`, and return the delay in seconds.

        `at_least` is what the server asked for: until then nothing else brings the key back. `spread` is the delay below which many keys
        that fail alike would be too many requests.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = max(at_least, max(min(_FIRST_RETRY_SECONDS * 2.0 ** min(failures, 30), at_most), spread) * self._jitter())
        if at_least > 0.0:
            self._held[key] = self._clock() + at_least
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """Start anew with a key that was looked at without a failure: what was due is done, and its delays are short again."""
        self._failures.pop(key, None)
        self._due.pop(key, None)

    async def get(self) -> Key:
        """Return the next key; the caller tells with `done` when it has finished with it."""
        while not any(self._lines.values()):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()
                raise
        filled = [line for line in self._lines.values() if line]
        key = filled[0 if next(self._taken) % _LAST_FIRST else -1].popleft()
        self._waited(self._clock() - self._dirty.pop(key))
        del self._priority[key]
        self._processing.add(key)
        return key

    def settle(self, key: Key) -> None:
        """Tell that what has come for a key while it is being looked at was seen by this very look."""
        if key in self._processing and key in self._dirty:
            del self._dirty[key], self._priority[key]

    def done(self, key: Key) -> None:
        """Tell that a key has been looked at."""
        self._processing.discard(key)
        if key not in self._dirty:
            return
        if self._put_off(key):
            del self._dirty[key], self._priority[key]
            return
        self._lines[self._priority[key]].append(key)
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

    def _oldest(self, least: Priority) -> float:
        waiting = [at for key, at in self._dirty.items() if key not in self._processing and self._priority[key] <= least]
        return self._clock() - min(waiting) if waiting else 0.0

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
