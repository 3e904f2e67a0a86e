"""The phases as processes of this machine: their output passed on, signals forwarded, their last words kept."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Final, TypeVar

from tftrainer import contract
from tftrainer.contract import PLAN_VARIABLE, FetchReport, Plan, PublishReport, RunReport
from tftrainer.layout import MESSAGE_VARIABLE, ROOT_VARIABLE, Layout

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CHUNK: Final = 64 * 1024

ReportT = TypeVar("ReportT", FetchReport, RunReport, PublishReport)


@dataclass(frozen=True, slots=True)
class Ran:
    """What the phases said. `run` and `publish` are None where `fetch` said that the script cannot start, or a phase left no word.

    `exit_code` is that of the script's launcher, None where it was not started. `signal` is the one that was asked to stop with, or 0.
    """

    fetch: FetchReport | None
    run: RunReport | None = None
    publish: PublishReport | None = None
    exit_code: int | None = None
    signal: int = 0


class Processes:
    """One attempt below the folder `root`. Signals to this process stop the script; what it wrote is published all the same."""

    def __init__(self, plan: Plan, layout: Layout, say: Callable[[str], None], stdout: int, stderr: int) -> None:
        self._plan = plan
        self._layout = layout
        self._say = say
        self._stdout = stdout
        self._stderr = stderr
        self._phase = ""
        self._current: subprocess.Popen[bytes] | None = None
        self._asked = 0
        self._relays: list[threading.Thread] = []

    def go(self, own: Mapping[str, str], script: Mapping[str, str]) -> Ran:
        """Run the phases and return what they said. `own` is the environment of fetch and publish, `script` that of the script."""
        # What is ignored, as under nohup, stays ignored.
        previous = {number: signal.signal(number, self._stop) for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN}
        try:
            return self._go(own, script)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _go(self, own: Mapping[str, str], script: Mapping[str, str]) -> Ran:
        self._follow("fetch", self._start("fetch", own, self._stderr))
        fetched = self._word("fetch", FetchReport)
        if fetched is None or fetched.failure is not None or self._asked:
            return Ran(fetched, signal=self._asked)
        publisher = self._start("publish", own, self._stderr)
        code = self._follow("run", self._start("run", script, self._stdout))
        self._phase, self._current = "publish", publisher
        if not (self._layout.run_folder / "started").exists():
            # The publisher waits for a script to start, and none will.
            publisher.terminate()
        publisher.wait()
        self._current = None
        for relay in self._relays:
            relay.join()
        return Ran(fetched, self._word("run", RunReport), self._word("publish", PublishReport), code, self._asked)

    def _start(self, phase: str, environment: Mapping[str, str], stdout: int) -> subprocess.Popen[bytes]:
        whole = {
            **environment,
            PLAN_VARIABLE: contract.encode_plan(self._plan),
            ROOT_VARIABLE: str(self._layout.root),
            MESSAGE_VARIABLE: _message(phase),
        }
        # A session of its own: what a terminal sends to all at once must reach the script through its launcher alone.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tftrainer", phase],
            env=whole,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        for source, target in ((process.stdout, stdout), (process.stderr, self._stderr)):
            if source is not None:
                relay = threading.Thread(target=_relay, args=(source.fileno(), target), daemon=True)
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
            self._say("publishing what the script wrote; once more gives it up" if not again else "publishing was given up")
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

    def _word(self, phase: str, kind: type[ReportT]) -> ReportT | None:
        try:
            text = (self._layout.root / _message(phase)).read_text("utf-8", "replace")
            return contract.decode_report(text, kind)
        except (OSError, contract.ContractError):
            return None


def _message(phase: str) -> str:
    return f"dev/termination-log.{phase}"


def _relay(source: int, target: int) -> None:
    """Pass bytes on as they come, until the source ends; what nobody reads any more is thrown away."""
    open_target = True
    while chunk := os.read(source, _CHUNK):
        rest = memoryview(chunk)
        while rest and open_target:
            try:
                rest = rest[os.write(target, rest) :]
            except OSError:
                open_target = False
