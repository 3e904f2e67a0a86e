"""The examination of code in a process of its own, so that nothing about it can end `fetch`, or take its memory or its time."""

from __future__ import annotations

import dataclasses
import faulthandler
import gc
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from tftrainer.preflight.check import not_examined
from tftrainer.preflight.finding import Findings

MEMORY: Final = 64 * 1024**2
"""Bytes that an examination may take beside what this process has."""
CPU_SECONDS: Final = 2
WALL_SECONDS: Final = 60.0
"""A processor that is shared by many may take that long for two seconds of its time."""
_WORDS: Final = {
    signal.SIGXCPU: f"was not examined: that would take more than {CPU_SECONDS} s",
    signal.SIGKILL: f"was not examined: that would take more than {CPU_SECONDS} s, or more memory than there is",
}


def guarded(name: str, examine: Callable[[], Findings]) -> Findings:
    """Return what an examination finds; where it does not come to its end, that alone. `name` is what is examined."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _examine(writing, examine)
    os.close(writing)
    try:
        answer = _read(reading, time.monotonic() + WALL_SECONDS)
    finally:
        os.close(reading)
        if answer is None:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if status == 0 and answer:
        return msgspec.convert(json.loads(answer), Findings)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in _WORDS:
        return Findings(facts=[f"{name} {_WORDS[signal.Signals(os.WTERMSIG(status))]}"])
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == _NO_MEMORY:
        return Findings(facts=[f"{name} was not examined: that would take more than {MEMORY // 1024**2} MiB"])
    return Findings(warnings=[not_examined(name, f"its process ended with {os.waitstatus_to_exitcode(status)}")])


_NO_MEMORY: Final = 3
_FAILED: Final = 4


def _examine(writing: int, examine: Callable[[], Findings]) -> NoReturn:
    code = _FAILED
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        faulthandler.disable()
        gc.disable()
        used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (used, used))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        answer = json.dumps(dataclasses.asdict(examine())).encode()
        while answer:
            answer = answer[os.write(writing, answer) :]
        code = 0
    except MemoryError:
        code = _NO_MEMORY
    finally:
        os._exit(code)


def _read(reading: int, until: float) -> bytes | None:
    """Return all that is written until the other end is closed, None if that takes too long."""
    found = b""
    while select.select([reading], [], [], max(until - time.monotonic(), 0.0))[0]:
        more = os.read(reading, 65536)
        if not more:
            return found
        found += more
    return None
