"""Where each thread of the script's processes is: what they say themselves when asked, and what the kernel says of the others.

An interpreter answers out of the handler of a signal, in native code and without its lock: also one that hangs in a library's call or
never lets go of the lock. Whoever has no such handler would die of the signal, and is asked only by `last_words`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from tftrainer.run import process
from tftrainer.run.streams import Stream

_PROCESSES = 16
_THREADS = 32
_LIMIT = 32 * 1024
"""Characters of one process."""
_ANSWER_SECONDS = 2.0
_QUIET_SECONDS = 0.1
_LOOK_SECONDS = 0.02
_DOES = {
    "R": "runs",
    "S": "waits",
    "D": "waits for a disk or a network file system, where nothing can interrupt it,",
    "T": "is stopped",
    "t": "is stopped by a debugger",
    "Z": "has ended, and nobody has asked how",
    "I": "rests",
}


class Backtraces:
    """Of the process `script` and all that descends from this one. `say` puts a line into the log, before it returns.

    What they print comes by the stream `stderr`; `pause` waits for so many seconds, and tells whether there is nobody left to ask.
    `without` takes the credentials out of a text: of one that is cut off before, a half would stay.
    """

    def __init__(
        self, script: int, stderr: Stream, say: Callable[[str], None], pause: Callable[[float], bool], without: Callable[[str], str]
    ) -> None:
        self._script = script
        self._stderr = stderr
        self._say = say
        self._pause = pause
        self._without = without
        self._silent: list[int] = []
        self.answered = 0
        """Bytes that came by `stderr` while somebody was waited for."""

    def collect(self) -> str:
        """Return where the threads of all processes are; of many, the first. Who handles the signal in a way of its own does that."""
        others = sorted(set(process.descendants()) - {self._script})
        everybody = [self._script, *others]
        self._silent = []
        parts = [self._of(number) for number in everybody[:_PROCESSES]]
        if len(everybody) > _PROCESSES:
            parts.append(f"and {len(everybody) - _PROCESSES} more processes")
        return "\n".join(parts)

    def last_words(self) -> str:
        """Return what the processes say that have not answered, and end by saying it. Never the script itself: it ends in its own way."""
        return "\n".join(
            f"{self._introduced(number)}\n{answer}" for number in self._silent if (answer := self._answer(number, signal.SIGABRT))
        )

    def _of(self, number: int) -> str:
        head = self._introduced(number)
        answer = self._answer(number, signal.SIGUSR1)
        if answer:
            return f"{head}\n{answer}"
        if number != self._script:
            self._silent.append(number)
        lines = list(_in_the_kernel(number))
        for line in lines:
            self._say(line)
        return "\n".join([head, *lines, ""])

    def _introduced(self, number: int) -> str:
        command = self._without(process.command(number))[:200]
        head = f"process {number}{f' ({command})' if command else ''}:"
        self._say(f"tftrainer: {head}")
        return head

    def _answer(self, number: int, asked_by: int) -> str:
        if not self._prints_here(number):
            return ""
        before = self._stderr.passed
        if not process.send_to_who_hears(number, asked_by):
            return ""
        waited = quiet = 0.0
        text = ""
        while waited < _ANSWER_SECONDS and not (text.endswith("\n") and quiet >= _QUIET_SECONDS):
            if self._pause(_LOOK_SECONDS):
                break
            waited += _LOOK_SECONDS
            quiet = quiet + _LOOK_SECONDS if self._stderr.since(before) == text else 0.0
            text = self._stderr.since(before)
        self.answered += self._stderr.passed - before
        return text if len(text) <= _LIMIT else f"[…]{text[-_LIMIT:]}"

    def _prints_here(self, number: int) -> bool:
        try:
            return Path(f"/proc/{number}/fd/2").readlink() == Path(f"/proc/self/fd/{self._stderr.source}").readlink()
        except OSError:
            return False


def _in_the_kernel(number: int) -> Iterator[str]:
    """Give a line for each thread: what it does, and in which function of the kernel it waits."""
    try:
        threads = sorted(map(int, os.listdir(f"/proc/{number}/task")))  # noqa: PTH208 - the names alone are wanted
    except OSError:
        return
    for thread in threads[:_THREADS]:
        folder = Path(f"/proc/{number}/task/{thread}")
        try:
            name, _, rest = (folder / "stat").read_bytes().partition(b"(")[2].rpartition(b")")
            does = _DOES.get(rest.split()[0].decode(), "")
            function = _read(folder / "wchan").strip("0\n")
        except (OSError, IndexError):
            continue
        yield f"  thread {thread} ({name.decode('utf-8', 'replace')}) {does}{f' in {function}' if function else ''}"
    if len(threads) > _THREADS:
        yield f"  and {len(threads) - _THREADS} more threads"


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
