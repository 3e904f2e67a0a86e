"""Watches over the script: signals, deadlines, its two streams, its end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import time
from collections.abc import Callable, Sequence

from tftrainer.run import process
from tftrainer.run.outcome import Stop
from tftrainer.run.streams import Stream

_FORWARDED = (signal.SIGTERM, signal.SIGINT)
_HEARD = (*_FORWARDED, signal.SIGCHLD, signal.SIGUSR1)
_WORKSPACE_MARK = 0
_DUMP_SECONDS = 0.5
_REST_SECONDS = 1.0
_DRAIN_SECONDS = 5.0


class Wakeup:
    """Turns signals, and the word of another thread, into bytes that can be polled."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)
        self._previous = [(number, signal.signal(number, lambda *_: None)) for number in _HEARD]
        self._previous_writer = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        # The process holds them back from its start on.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)

    def workspace_passed(self) -> None:
        """Say that the workspace holds too much. Safe to call from any thread, at any time."""
        with contextlib.suppress(OSError):
            os.write(self._writer, bytes([_WORKSPACE_MARK]))

    def read(self) -> bytes:
        """Return what has come since the last call: signal numbers, and 0 for the workspace."""
        try:
            return os.read(self.reader, 4096)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Put the signal handlers back."""
        signal.set_wakeup_fd(self._previous_writer)
        for number, handler in self._previous:
            signal.signal(number, handler)
        os.close(self.reader)
        os.close(self._writer)
        self.reader = self._writer = -1


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """How the process ended: `status` is as `os.waitpid` gives it."""

    status: int
    stop: Stop | None
    forced: bool


class Supervisor:
    """One run of the script, which is the leader of process group `script`. Times are seconds of `clock`."""

    def __init__(
        self,
        script: int,
        streams: Sequence[Stream],
        wakeup: Wakeup,
        *,
        grace: float,
        deadline: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._script = script
        self._streams = streams
        self._wakeup = wakeup
        self._grace = grace
        self._clock = clock
        self._deadline = None if deadline is None else clock() + deadline
        self._dump_at: float | None = None
        self._kill_at: float | None = None
        self._rest_until = 0.0
        self._stop: Stop | None = None
        self._forced = False
        self._status: int | None = None

    def run(self) -> End:
        """Return when the script and everything that it started are gone and all that they printed is passed on."""
        while self._status is None:
            self._turn(self._next_moment())
            self._act()
        if self._stop is not None:
            self._let_the_rest_end()
        process.end_all()
        self._drain()
        return End(self._status, self._stop, self._forced)

    def _let_the_rest_end(self) -> None:
        # What has left the script's group was not asked yet: the script may have shielded it, to end it in its own way.
        process.ask_outsiders(self._script)
        until = max(self._rest_until, self._clock() + _REST_SECONDS)
        while any(process.children()) and self._clock() < until:
            self._turn(until)

    def _drain(self) -> None:
        until = self._clock() + _DRAIN_SECONDS
        while any(stream.open or stream.pending for stream in self._streams):
            if self._clock() > until:
                # Nobody reads the container's stream: the log file still gets the rest.
                for stream in self._streams:
                    stream.give_up_target()
            self._turn(self._clock() + 0.1)

    def _next_moment(self) -> float | None:
        moments = [moment for moment in (self._deadline, self._dump_at, self._kill_at) if moment is not None]
        return min(moments, default=None)

    def _turn(self, until: float | None) -> None:
        poll = select.poll()
        poll.register(self._wakeup.reader, select.POLLIN)
        for stream in self._streams:
            if stream.pending and stream.target is not None:
                poll.register(stream.target, select.POLLOUT)
            elif stream.open:
                poll.register(stream.source, select.POLLIN)
        timeout = None if until is None else max(0.0, (until - self._clock()) * 1000) + 1
        poll.poll(timeout)
        for stream in self._streams:
            stream.flush()
            stream.pump()
        for mark in self._wakeup.read():
            self._hear(mark)

    def _hear(self, mark: int) -> None:
        if mark == signal.SIGCHLD:
            self._reap()
        elif mark == _WORKSPACE_MARK:
            self._end_script(Stop.WORKSPACE, signal.SIGTERM)
        elif mark == signal.SIGUSR1:
            process.ask_for_stacks(self._script)
        elif mark in _FORWARDED:
            self._end_script(Stop.ASKED, mark)

    def _end_script(self, stop: Stop, number: int) -> None:
        if self._status is not None:
            return
        process.send(self._script, number)
        if self._stop is None:
            self._stop = stop
            self._deadline = None
            self._dump_at = self._rest_until = self._clock() + self._grace

    def _act(self) -> None:
        now = self._clock()
        if self._status is not None:
            return
        if self._deadline is not None and now >= self._deadline:
            self._end_script(Stop.DEADLINE, signal.SIGTERM)
        if self._dump_at is not None and now >= self._dump_at:
            # The script's interpreter answers with the stacks of all threads: why it does not end is in the log.
            process.ask_for_stacks(self._script)
            self._dump_at = None
            self._kill_at = now + _DUMP_SECONDS
        if self._kill_at is not None and now >= self._kill_at:
            self._forced = True
            self._kill_at = None
            process.send(self._script, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if child == 0:
                return
            if child == self._script:
                self._status = status
