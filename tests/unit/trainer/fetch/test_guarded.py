"""An examination that crashes, hangs, or takes memory without end: `fetch` goes on, and its log says what was not examined."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

import pytest
from tftrainer.fetch.guarded import guarded
from tftrainer.messages.contract import Reason
from tftrainer.preflight.finding import Finding, Findings


def crashes() -> Findings:
    ctypes.string_at(0)
    return Findings()


def hangs() -> Findings:
    while True:
        pass


def swells() -> Findings:
    kept = []
    while True:
        kept.append(bytearray(1024**2))


def raises() -> Findings:
    raise KeyError("x")


def is_killed() -> Findings:
    os.kill(os.getpid(), signal.SIGKILL)
    return Findings()


BROKEN: dict[str, tuple[Callable[[], Findings], str]] = {
    "crashes": (crashes, "could not be examined (its process ended with -11): a fault of this check and not of the script"),
    "hangs": (hangs, "was not examined: that would take more than 2 s"),
    "swells": (swells, "was not examined: that would take more than 64 MiB"),
    "raises": (raises, "could not be examined"),
    "is killed": (is_killed, "was not examined"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_examination_that_does_not_end_is_one_line_and_no_finding(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    examine, words = BROKEN[name]
    found = guarded("train.py", examine)
    assert found.errors == []
    [line] = [*found.facts, *found.warnings]
    assert line.startswith("train.py ")
    assert words in line
    assert "Traceback" not in capfd.readouterr().err


def test_what_an_examination_finds_comes_back_whole() -> None:
    wanted = Findings(
        [Finding(Reason.IMPORT_MISSING, "é" * 200_000, "hint", "a.py", 3), Finding(Reason.SYNTAX_ERROR, "\udce9", "h")], ["w"], ["f"]
    )
    found = guarded("train.py", lambda: wanted)
    assert (len(found.errors), found.errors[0], found.warnings, found.facts) == (2, wanted.errors[0], ["w"], ["f"])
