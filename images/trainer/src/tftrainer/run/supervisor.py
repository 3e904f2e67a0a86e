"""Watches over the script: signals, deadlines, its two streams, its end.

A signal that the script sends to its own parent ends it too, as it would end a container; it is told as the script's own doing.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from tftrainer.run import process
from tftrainer.run.open_files import Watch
from tftrainer.run.outcome import Stop
from tftrainer.run.streams import Stream

_STOPS = (signal.SIGTERM, signal.SIGINT)
_PRESSING = (Stop.ASKED, Stop.OWN)
_HEARD = (signal.SIGCHLD, signal.SIGUSR1)
_POSTED = 0
_LISTEN_SECONDS = 1.0
_DUMP_SECONDS = 0.5
_LOOK_SECONDS = 5.0
_REST_SECONDS = 1.0
_DRAIN_SECONDS = 5.0
_INIT = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """The script is to end by a signal. `by` is who of its own processes has asked for it, in words.

    `number` 0 sends none yet, and says why it ends if it does so before another is asked for.
    """

    stop: Stop
    number: int = signal.SIGTERM
    by: str = ""


class Wakeup:
    """Turns signals, and the words of other threads, into bytes that can be polled.

    Those that ask to stop are held back in all threads and waited for in one of them: nobody else is told who has sent them.
    """

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)
        self._posted: collections.deque[Asked | str] = collections.deque()
        self.listens = False
        self.asked_to_end = False
        """Whether anybody has asked for the end of the script."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        self._previous = [(number, signal.signal(number, lambda *_: None)) for number in (*_STOPS, *_HEARD)]
        self._previous_writer = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def stop_asked(self, seconds: float = 0) -> int:
        """Return the number of a signal that asks to stop, 0 if none comes within so many seconds. Not once this listens."""
        heard = _wait(seconds)
        return heard.si_signo if heard is not None else 0

    def listen(self) -> None:
        """Begin to take signals that ask to stop: the script runs."""
        threading.Thread(target=self._listen, name="signals", daemon=True).start()
        self.listens = True

    def _listen(self) -> None:
        while self._writer >= 0:
            heard = _wait(_LISTEN_SECONDS)
            if heard is not None:
                self.post(_asked(heard))

    def post(self, what: Asked | str) -> None:
        """Pass on that the script is to end, or a line for the container's log. Safe to call from any thread, at any time."""
        self.asked_to_end |= isinstance(what, Asked)
        self._posted.append(what)
        with contextlib.suppress(OSError):
            os.write(self._writer, bytes([_POSTED]))

    @property
    def all_taken(self) -> bool:
        """Whether nothing is left of what was posted."""
        return not self._posted

    def read(self) -> bytes:
        """Return what has come since the last call: signal numbers, and 0 for what was posted."""
        try:
            return os.read(self.reader, 4096)
        except BlockingIOError:
            return b""

    def posted(self) -> Iterator[Asked | str]:
        """Give what was posted since the last call."""
        while self._posted:
            yield self._posted.popleft()

    def close(self) -> None:
        """Put the signal handlers back. Signals that ask to stop stay held back: the last word is being said."""
        signal.set_wakeup_fd(self._previous_writer)
        for number, handler in self._previous:
            signal.signal(number, handler)
        reader, writer = self.reader, self._writer
        self.reader = self._writer = -1
        os.close(reader)
        os.close(writer)


def _wait(seconds: float) -> signal.struct_siginfo | None:
    """Wait for a signal that asks to stop."""
    heard = signal.sigtimedwait(_STOPS, seconds)
    # After a halt of this process that outlasts the time, as of a frozen container, Python hands out a signal that it never got.
    return heard if heard is not None and heard.si_signo in _STOPS else None


def _asked(heard: signal.struct_siginfo) -> Asked:
    """Tell a stop from outside from one that the script has sent to its own parent."""
    below = process.is_below(heard.si_pid) if heard.si_pid else False
    if below is None:
        # Of process 1 every sender that has a number lives in its container.
        below = os.getpid() == _INIT
    if not below:
        return Asked(Stop.ASKED, heard.si_signo)
    command = process.command(heard.si_pid)
    return Asked(Stop.OWN, heard.si_signo, f"process {heard.si_pid}" + (f" ({command})" if command else ""))


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """How the process ended: `status` is as `os.waitpid` gives it. `left` are the commands of those that had to be killed after it.

    `by` is who of the script's own processes has asked for the stop, in words. With `lost` it was killed before its time, because it could
    not do anything more.
    """

    status: int
    stop: Stop | None
    forced: bool
    left: tuple[str, ...]
    by: str = ""
    lost: bool = False


class Supervisor:
    """One run of the script, which is the leader of process group `script`. Times are seconds of `clock`.

    A script that goes on for a while after it was asked to end is asked for its stacks: `is_lost` tells from what it then has printed
    whether it need not be waited for.
    """

    def __init__(
        self,
        script: int,
        streams: Sequence[Stream],
        wakeup: Wakeup,
        watch: Watch,
        *,
        grace: float,
        deadline: float | None,
        is_lost: Callable[[str], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_lost = is_lost
        self._script = script
        self._streams = streams
        self._wakeup = wakeup
        self._watch = watch
        self._grace = grace
        self._clock = clock
        self._deadline = None if deadline is None else clock() + deadline
        self._look_at: float | None = None
        self._judge_at: float | None = None
        self._dump_at: float | None = None
        self._kill_at: float | None = None
        self._rest_until = 0.0
        self._stop: Asked | None = None
        self._forced = False
        self._lost = False
        self._status: int | None = None

    def run(self) -> End:
        """Return when the script and everything that it started are gone and all that they printed is passed on."""
        while self._status is None:
            self._turn(self._next_moment())
            self._act()
        if self._stop is not None:
            # What has left the script's group was not asked yet: the script may have shielded it, to end it in its own way.
            process.ask_outsiders(self._script)
        self._let_the_rest_end()
        self._watch.last_look()
        left = tuple(process.command(each) for each in process.descendants())
        process.end_all()
        self._drain()
        stop, by = (self._stop.stop, self._stop.by) if self._stop is not None else (None, "")
        return End(self._status, stop, self._forced, left, by, self._lost)

    def _let_the_rest_end(self) -> None:
        # Python's own helpers, such as that of shared memory, end by themselves a moment after the script.
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
        moments = (self._deadline, self._look_at, self._judge_at, self._dump_at, self._kill_at)
        return min((moment for moment in moments if moment is not None), default=None)

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
        for posted in self._wakeup.posted():
            self._take(posted)

    def _hear(self, mark: int) -> None:
        if mark == signal.SIGCHLD:
            self._reap()
        elif mark == signal.SIGUSR1:
            process.ask_for_stacks(self._script)

    def _take(self, posted: Asked | str) -> None:
        if isinstance(posted, Asked):
            self._end_script(posted)
        else:
            self._streams[-1].interject(posted)

    def _end_script(self, asked: Asked) -> None:
        if self._status is not None:
            return
        self._stop = self._stop or asked
        if not asked.number:
            return
        self._deadline = None
        # It may be saving in its grace period, and be quiet meanwhile: only somebody outside may press it.
        if self._rest_until and asked.stop not in _PRESSING:
            return
        self._watch.look()
        process.send(self._script, asked.number)
        if asked.number == signal.SIGTERM:
            process.ask_again(self._script)
        if not self._rest_until:
            self._dump_at = self._rest_until = self._clock() + self._grace
            self._look_at = self._clock() + _LOOK_SECONDS if self._is_lost and self._grace > _LOOK_SECONDS else None

    def _act(self) -> None:
        now = self._clock()
        if self._status is not None:
            return
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._wakeup.post(Asked(Stop.DEADLINE))
        if self._look_at is not None and now >= self._look_at:
            self._look_at = None
            if process.ask_for_stacks(self._script):
                self._judge_at = now + _DUMP_SECONDS
        if self._judge_at is not None and now >= self._judge_at:
            self._judge_at = None
            if self._is_lost is not None and self._is_lost(self._streams[-1].tail):
                self._lost = True
                self._dump_at, self._kill_at = None, now
        if self._dump_at is not None and now >= self._dump_at:
            # The script's interpreter answers with the stacks of all threads: why it does not end is in the log.
            process.ask_for_stacks(self._script)
            self._dump_at = None
            self._kill_at = now + _DUMP_SECONDS
        if self._kill_at is not None and now >= self._kill_at:
            self._forced = True
            self._kill_at = None
            self._watch.last_look()
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
