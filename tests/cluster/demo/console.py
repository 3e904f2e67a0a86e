"""What the person at the terminal sees: numbered steps with elapsed time, commands as typed, their output as it comes."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO


class CommandError(RuntimeError):
    """A command ended with another exit code than 0. The text names the command, the code and the end of its output."""


class Console:
    """Prints steps and commands. Safe to use from several threads."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self._start = time.monotonic()
        self._lock = threading.Lock()

    def line(self, text: str = "") -> None:
        """Print one line."""
        with self._lock:
            print(text, file=self._stream, flush=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step, and when it is done say how long it took."""
        begin = time.monotonic()
        self.line(f"[{begin - self._start:6.1f} s] {title}")
        yield
        took = time.monotonic() - begin
        if took >= 1:
            self.line(f"[{time.monotonic() - self._start:6.1f} s]   done: {title} ({took:.1f} s)")

    def shown(self, argv: Sequence[str], environment: Mapping[str, str], *, check: bool = True) -> str:
        """Print a command as one would type it, run it, print its output, and return the output.

        Raises:
            CommandError: it failed and `check` is set.

        """
        self.line(f"\n$ {shlex.join(argv)}")
        result = subprocess.run(
            argv,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.line(result.stdout.rstrip())
        if check and result.returncode:
            raise CommandError(f"`{shlex.join(argv)}` ended with exit code {result.returncode}")
        return result.stdout

    def stream(self, argv: Sequence[str], environment: Mapping[str, str], prefix: str) -> None:
        """Run a command and print its lines as they come, each behind `prefix`.

        Raises:
            CommandError: it failed.

        """
        with subprocess.Popen(
            argv,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            tail: list[str] = []
            assert process.stdout is not None
            for line in process.stdout:
                self.line(f"           {prefix} {line.rstrip()}")
                tail = [*tail[-9:], line]
        if process.returncode:
            raise CommandError(f"`{shlex.join(argv)}` ended with exit code {process.returncode}:\n{''.join(tail)}")


def quiet(argv: Sequence[str], environment: Mapping[str, str], *, check: bool = True, stdin: str | None = None) -> str:
    """Run a command and return its standard output.

    Raises:
        CommandError: it failed and `check` is set.

    """
    result = subprocess.run(argv, env=dict(environment), input=stdin or "", capture_output=True, text=True, check=False)
    if check and result.returncode:
        raise CommandError(
            f"`{shlex.join(argv)}` ended with exit code {result.returncode}: {result.stderr.strip() or result.stdout.strip()}"
        )
    return result.stdout


def side_by_side(*tasks: Callable[[], None]) -> None:
    """Run independent tasks at the same time and wait for all of them.

    Raises:
        BaseException: the first failure, in the order of the tasks, after all have ended.

    """
    failures: list[BaseException | None] = [None] * len(tasks)

    def guarded(index: int, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            failures[index] = error

    threads = [threading.Thread(target=guarded, args=item) for item in enumerate(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        if failure is not None:
            raise failure
