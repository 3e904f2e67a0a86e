"""When a script counts as one that gives no sign of life."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.messages.contract import OnInactivity
from tftrainer.run.backtraces import Backtraces
from tftrainer.run.inactivity import REPORTS, Watchdog
from tftrainer.run.outcome import Hang, hang
from tftrainer.run.standstill import CPU_SHARE, IO_RATE, Inactivity, Signs, Work, goes_on
from tftrainer.run.usage import changed_at

ALLOWED = 600.0
NOW = 1_795_000_000.0
CODE, DEPS = Path("/workspace/code"), Path("/workspace/deps")


class Script:
    """A script that is looked at every ten seconds."""

    def __init__(self) -> None:
        self.now, self.wall = 100.0, NOW
        self.work, self.printed, self.held_up = Work(), 0, False
        self.state = Inactivity.begin(self.now, ALLOWED, self._signs())

    def _signs(self) -> Signs:
        return Signs(self.work, self.printed, self.wall, self.held_up)

    def goes_on(self, seconds: float, cpu: float = 0.0, io: float = 0.0, printed: int = 0, pause: float = 10.0) -> Script:
        """Let it use that share of a core, move that many bytes a second, and print that much at each look."""
        for _ in range(round(seconds / pause)):
            self.now, self.wall = self.now + pause, self.wall + pause
            self.work += Work(cpu * pause, round(io * pause))
            self.printed += printed
            self.state = self.state.seen(self.now, self._signs(), 10.0)
        return self

    @property
    def is_over(self) -> bool:
        return self.state.is_over(self.now)


@pytest.mark.parametrize(
    ("cpu", "io", "printed", "over"),
    [
        (0.0, 0, 0, True),
        (CPU_SHARE / 2, 0, 0, True),
        (0.0, IO_RATE / 2, 0, True),
        (CPU_SHARE * 2, 0, 0, False),
        (0.0, IO_RATE * 2, 0, False),
        (0.0, 0, 1, False),
        (16.0, 1e9, 1000, False),
    ],
)
def test_who_prints_computes_or_writes_gives_a_sign_of_life(cpu: float, io: int, printed: int, over: bool) -> None:
    assert Script().goes_on(ALLOWED - 10, cpu, io, printed).is_over is False
    assert Script().goes_on(10 * ALLOWED, cpu, io, printed).is_over is over


@pytest.mark.parametrize("allowed", [2, 10, 15])
def test_a_hundredth_of_a_second_now_and_then_is_no_work_however_short_the_time_is(allowed: int) -> None:
    # As of a loop that looks each moment whether a file has come: the kernel counts what it uses in hundredths.
    state = Inactivity.begin(0.0, allowed, Signs(Work(), 0, NOW))
    for second in range(1, 40):
        state = state.seen(float(second), Signs(Work(round(0.01 * (second // 2), 2)), 0, NOW + second), 1.0)
    assert state.since == 0.0
    assert state.seen(40.0, Signs(Work(0.19 + 0.02), 0, NOW + 40), 1.0).since == 40.0


def test_a_short_burst_of_work_in_a_long_rest_counts() -> None:
    script = Script()
    for _ in range(10):
        script.goes_on(ALLOWED - 40).goes_on(20, cpu=0.5)
        assert not script.is_over
    assert not script.goes_on(ALLOWED - 70).is_over
    assert script.goes_on(70).is_over


def test_the_time_for_which_nobody_looked_does_not_count() -> None:
    script = Script().goes_on(ALLOWED - 20)
    assert not script.goes_on(86_400, pause=86_400).is_over
    assert script.goes_on(20).is_over


@pytest.mark.parametrize("step", [-60.0, 60.0])
def test_a_step_of_the_wall_clock_begins_anew_as_the_times_of_files_cannot_be_compared(step: float) -> None:
    script = Script().goes_on(ALLOWED - 20)
    script.wall += step
    assert not script.goes_on(ALLOWED - 20).is_over
    assert script.goes_on(30).is_over


def test_a_script_that_may_be_waiting_for_its_reader_is_alive() -> None:
    script = Script()
    script.held_up = True
    assert not script.goes_on(10 * ALLOWED).is_over
    script.held_up = False
    assert script.goes_on(ALLOWED).is_over


def test_a_file_that_was_written_is_a_sign_at_its_own_time() -> None:
    script = Script().goes_on(ALLOWED)
    assert script.is_over
    script.state = script.state.alive(script.now - 200)
    assert not script.goes_on(ALLOWED - 210).is_over
    assert script.goes_on(10).is_over


looks = st.lists(
    st.tuples(st.floats(0.1, 100), st.floats(0, 2), st.integers(0, 1 << 20), st.integers(0, 1), st.booleans()), min_size=1, max_size=100
)


@given(looks)
def test_nothing_is_over_before_its_time_and_nobody_who_prints_is(steps: list[tuple[float, float, int, int, bool]]) -> None:
    script = Script()
    last = script.now
    for pause, cpu, io, printed, held_up in steps:
        script.held_up = held_up
        script.goes_on(pause, cpu, io, printed, pause=pause)
        if printed or held_up:
            last = script.now
        assert not script.is_over or script.now - last >= ALLOWED


def test_the_newest_change_is_found_wherever_it_lies_and_whatever_time_was_given_to_it(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one / "a" / "b", other, one / "ours"):
        folder.mkdir(parents=True)
    (one / "a" / "b" / "f").write_text("x")
    before = changed_at((one, other))
    assert before == (one / "a" / "b" / "f").stat().st_ctime
    assert changed_at((tmp_path / "none",)) == 0.0

    def later(path: Path) -> float:
        while path.stat().st_ctime <= before:
            path.touch()
            path.write_text("more")
        return path.stat().st_ctime

    ours = later(one / "ours" / "f" if (one / "ours" / "f").touch() is None else one)
    assert changed_at((one, other)) == ours
    assert changed_at((one, other), but=(one / "ours",)) < ours


STACKS = """process 7 (python3 train.py):
Thread 0x01 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 324 in wait
  File "/workspace/code/feeding.py", line 9 in feed

Current thread 0x02 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 324 in wait
  File "/workspace/code/lib/model.py", line 5 in fit
  File "/workspace/code/train.py", line 2 in <module>

process 8 (python3 -c x):
Fatal Python error: Aborted

Current thread 0x03 (most recent call first):
  File "/workspace/code/worker.py", line 7 in work
"""


@pytest.mark.parametrize(
    ("stacks", "file", "line"),
    [
        (STACKS, "lib/model.py", 5),
        (STACKS.replace("/workspace/code/lib", "/usr").replace("/workspace/code/train", "/usr/train"), "worker.py", 7),
        (STACKS.partition("Current")[0], "feeding.py", 9),
        (STACKS.replace("/workspace/code/lib", "/workspace/deps/archive.zip"), "archive.zip/model.py", 5),
        ("process 7 (sh):\n  thread 7 (sh) waits in do_wait\n", "", 0),
        ("", "", 0),
    ],
)
def test_a_hang_is_at_the_users_innermost_line_of_the_main_thread_or_else_of_another(stacks: str, file: str, line: int) -> None:
    found = hang(600, stacks, CODE, DEPS)
    assert (found.seconds, found.file.removeprefix("deps/"), found.line) == (600, file, line)
    assert f"line {line}" in found.stack if line else found == Hang(600, stack=stacks, stacks=stacks)


def test_a_freeze_that_is_longer_than_what_is_allowed_is_not_held_against_the_script() -> None:
    state = Inactivity.begin(0.0, 10.0, Signs(Work(), 0, NOW))
    state = state.seen(1.0, Signs(Work(), 0, NOW + 1), 1.0).seen(21.0, Signs(Work(), 0, NOW + 21), 1.0)
    assert not state.is_over(21.0)
    for second in range(22, 30):
        state = state.seen(float(second), Signs(Work(), 0, NOW + second), 1.0)
    assert state.is_over(30.0)


@pytest.mark.parametrize(
    ("cpu", "io", "printed", "held_up", "alive"),
    [
        (0.0, 0, 0, False, False),
        (0.05, 500, 500, False, False),
        (0.0, 0, 501, False, True),
        (2.0, 0, 0, False, True),
        (0.0, 1 << 20, 0, False, True),
        (0.0, 0, 0, True, True),
    ],
)
def test_what_a_script_does_beyond_answering_while_it_is_asked_counts(
    cpu: float, io: int, printed: int, held_up: bool, alive: bool
) -> None:
    before, after = Signs(Work(5.0, 100), 7, NOW), Signs(Work(5.0 + cpu, 100 + io), 7 + printed, NOW + 4, held_up)
    assert goes_on(before, after, 500, 4.0, 10.0) is alive


class Asked:
    """Stands where a script is asked for its stacks; `meanwhile` is what it does while that takes."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.answered = 0
        self._meanwhile = meanwhile

    def collect(self) -> str:
        self._meanwhile()
        return "stacks"

    def last_words(self) -> str:
        return ""


@pytest.mark.parametrize("sign", ["prints", "writes a file", None])
def test_a_script_that_wakes_while_it_is_asked_is_not_ended_and_is_looked_at_anew(sign: str | None) -> None:
    seen = {"printed": 0, "changed": 0.0, "now": 0.0}
    asked: list[object] = []

    def meanwhile() -> None:
        seen["now"] += 2.0
        if sign == "prints":
            seen["printed"] = 1
        elif sign:
            seen["changed"] = NOW + seen["now"]

    watchdog = Watchdog(
        10.0,
        OnInactivity.FAIL,
        lambda: Signs(Work(), int(seen["printed"]), NOW + seen["now"]),
        lambda: seen["changed"],
        cast("Backtraces", Asked(meanwhile)),
        lambda _: None,
        lambda *_: None,
        asked.append,
        lambda seconds, stacks: Hang(seconds, stacks=stacks),
        lambda: False,
        lambda: seen["now"],
    )
    for _ in range(11):
        watchdog.look(seen["now"])
        seen["now"] += 1.0
    assert bool(asked) is (watchdog.hang is not None) is (sign is None)


def test_a_script_that_rests_again_and_again_is_told_of_and_asked_only_so_many_times() -> None:
    seen = {"printed": 0, "now": 0.0}
    kept: list[str] = []
    told: list[str] = []
    watchdog = Watchdog(
        10.0,
        OnInactivity.REPORT,
        lambda: Signs(Work(), int(seen["printed"]), NOW + seen["now"]),
        lambda: 0.0,
        cast("Backtraces", Asked(lambda: None)),
        kept.append,
        lambda _, text: told.append(text),
        lambda _: None,
        lambda seconds, stacks: Hang(seconds, stacks=stacks),
        lambda: False,
        lambda: seen["now"],
    )
    for second in range(40 * REPORTS):
        seen["now"] = float(second)
        seen["printed"] += second % 20 == 0
        watchdog.look(seen["now"])
    assert (len(kept), len(told)) == (REPORTS, 2 * REPORTS)
