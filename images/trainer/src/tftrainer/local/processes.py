"""The phases as processes of this machine: their output passed on, signals forwarded, their last words kept."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import IO, Final, TypeVar

from tftrainer.layout import MESSAGE_VARIABLE, ROOT_VARIABLE, Layout
from tftrainer.local.outlet import Outlet
from tftrainer.messages import contract
from tftrainer.messages.contract import PLAN_VARIABLE, FetchReport, Plan, PublishReport, RunReport
from tftrainer.publish.watch import has_begun
from tftrainer.run.process import adopt_orphans, end_all

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CHUNK: Final = 64 * 1024
_PUBLISHING: Final = "publishing what the script wrote; once more gives it up"

ReportT = TypeVar("ReportT", FetchReport, RunReport, PublishReport)


class StartError(Exception):
    """A phase's process cannot be started. Its text says why."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What the phases said. `run` and `publish` are None where `fetch` said that the script cannot start, or a phase left no word.

    `exit_code` is that of the script's launcher, None where it was not started, or was stopped before it started the script. `signal` is
    the one that was asked to stop with, or 0.
    """

    fetch: FetchReport | None
    run: RunReport | None = None
    publish: PublishReport | None = None
    exit_code: int | None = None
    signal: int = 0

    @property
    def published(self) -> bool:
        """Whether all that the script wrote is known to be in the bucket; a script that was not started wrote nothing."""
        return self.exit_code is None or (self.publish is not None and bool(self.publish.manifest_uri) and not self.publish.lost)


class Processes:
    """The processes of one attempt. Signals to this process stop the script; what it wrote is published all the same."""

    def __init__(self, plan: Plan, say: Callable[[str], None], stdout: Outlet, stderr: Outlet) -> None:
        self._plan = plan
        self._say = say
        self._stdout = stdout
        self._stderr = stderr
        self._phase = ""
        self._current: subprocess.Popen[bytes] | None = None
        self._asked = 0
        self._relays: list[threading.Thread] = []

    @contextlib.contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """Take signals as words for the phases. After the last phase they change nothing: what became of the run is still told."""
        # What is ignored, as under nohup, stays ignored.
        previous = {number: signal.signal(number, self._stop) for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN}
        # The phases inherit what is blocked, and the script from them.
        blocked = signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def go(self, layout: Layout, own: Mapping[str, str], script: Mapping[str, str], begun: Callable[[], None]) -> Ran:
        """Run the phases and return what they said. `own` is the environment of fetch and publish, `script` that of the script.

        `begun` is called when the script may begin to write.

        Raises:
            StartError: a phase's process cannot be started; then the script was not.
        """
        self._follow("fetch", self._start("fetch", layout, own, self._stderr))
        fetched = _word(layout, "fetch", FetchReport)
        if fetched is None or fetched.failure is not None or self._asked:
            return self._end(Ran(fetched, signal=self._asked))
        adopt_orphans()
        publisher = self._start("publish", layout, own, self._stderr)
        try:
            launcher = self._start("run", layout, script, self._stdout)
        except StartError:
            publisher.kill()
            publisher.wait()
            raise
        begun()
        code = self._follow("run", launcher)
        # Of a launcher that was killed the script's processes are left: they must not write on while what they wrote is published.
        end_all(but={publisher.pid})
        started = has_begun(layout.run_folder)
        stopped = self._asked and not started
        self._phase, self._current = "publish", publisher
        if not started:
            # The publisher waits for a script to start, and none will.
            publisher.terminate()
        elif self._asked:
            # Also who asked a moment too early, while the launcher was going, is to know what once more does.
            self._say(_PUBLISHING)
        publisher.wait()
        run, published = _word(layout, "run", RunReport), _word(layout, "publish", PublishReport)
        return self._end(Ran(fetched, run, published, None if stopped else code, self._asked))

    def _end(self, ran: Ran) -> Ran:
        self._phase, self._current = "", None
        for relay in self._relays:
            relay.join()
        for outlet, name in ((self._stdout, "output"), (self._stderr, "error")):
            if outlet.lost:
                self._say(f"standard {name} was not written whole: {outlet.lost}; the script's is whole in the bucket's logs")
        return ran

    def _start(self, phase: str, layout: Layout, environment: Mapping[str, str], stdout: Outlet) -> subprocess.Popen[bytes]:
        whole = {
            **environment,
            PLAN_VARIABLE: contract.encode_plan(self._plan),
            ROOT_VARIABLE: str(layout.root),
            MESSAGE_VARIABLE: _message(phase),
        }
        try:
            # A session of its own: what a terminal sends to all at once must reach the script through its launcher alone.
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tftrainer", phase],
                env=whole,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(_unstartable(error, phase, whole)) from None
        for source, target in ((process.stdout, stdout), (process.stderr, self._stderr)):
            if source is not None:
                relay = threading.Thread(target=_relay, args=(source, target), daemon=True)
                relay.start()
                self._relays.append(relay)
        return process

    def _follow(self, phase: str, process: subprocess.Popen[bytes]) -> int:
        self._phase, self._current = phase, process
        if self._asked:
            # The signal came when there was no process to tell.
            self._tell(process, self._asked)
        code = process.wait()
        self._current = None
        return code if code >= 0 else 128 - code

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        again = self._asked
        self._asked = self._asked or number
        process = self._current
        if self._phase == "publish":
            self._say(_PUBLISHING if not again else "publishing was given up")
            if again and process is not None:
                process.kill()
            return
        if self._phase == "run" and not again:
            self._say(f"stopping the script, which has {self._plan.grace_seconds} s to end; then what it wrote is published")
        if process is not None:
            self._tell(process, number)

    def _tell(self, process: subprocess.Popen[bytes], number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM if self._phase == "fetch" or number == signal.SIGHUP else number)


def _word(layout: Layout, phase: str, kind: type[ReportT]) -> ReportT | None:
    try:
        return contract.decode_report((layout.root / _message(phase)).read_text("utf-8", "replace"), kind)
    except (OSError, contract.ContractError):
        return None


def _message(phase: str) -> str:
    return f"dev/termination-log.{phase}"


def _unstartable(error: OSError, phase: str, environment: Mapping[str, str]) -> str:
    if error.errno == errno.E2BIG:
        largest = max(environment, key=lambda name: len(environment[name]))
        return f"phase {phase} cannot be started: the environment is too large, {largest} the most; unset what the script does not need"
    return f"phase {phase} cannot be started: {error.filename or sys.executable}: {error.strerror}"


def _relay(source: IO[bytes], target: Outlet) -> None:
    """Pass bytes on as they come, until the source ends."""
    # The file and not its number: whoever else held the file may be gone, and the number be another's by then.
    with source:
        while chunk := os.read(source.fileno(), _CHUNK):
            target.put(chunk)
