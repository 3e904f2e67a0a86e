"""When a script that has lost a process counts as one that does nothing any more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.run.standstill import CPU_SHARE, IO_RATE, PATIENCE_SECONDS, Standstill, Work


def _ended_at(cpu: float, io: int, seconds: int, worked_until: int = 0) -> int | None:
    """Return the second at which it is over for a script that does so much in each second, and works up to one."""
    work = Work()
    found = Standstill.after_kill(0.0, work)
    for second in range(1, seconds):
        work += Work(1.0, 1 << 20) if second <= worked_until else Work(cpu, io)
        found = found.seen(float(second), work)
        if found.is_over(float(second)):
            return second
    return None


@pytest.mark.parametrize(
    ("cpu", "io", "ended"),
    [
        (0.0, 0, 60),
        (CPU_SHARE / 2, 0, 60),
        (0.0, IO_RATE // 2, 60),
        (CPU_SHARE * 2, 0, None),
        (0.0, IO_RATE * 2, None),
        (1.0, 1 << 20, None),
    ],
)
def test_who_only_looks_whether_something_has_come_does_nothing(cpu: float, io: int, ended: int | None) -> None:
    assert _ended_at(cpu, io, 1000) == ended


@pytest.mark.parametrize(("worked", "rest"), [(0, 60), (30, 60), (600, 60), (3600, 360), (36_000, 3600)])
def test_who_works_on_for_long_may_rest_for_a_tenth_of_that(worked: int, rest: int) -> None:
    ended = _ended_at(0.0, 0, 50_000, worked)
    assert ended is not None
    # Whether a second of work is one is seen only when a hundredth of the patience was worked.
    assert ended == pytest.approx(worked + rest, abs=rest * 0.02)


@given(st.lists(st.tuples(st.floats(0.0, 2.0), st.integers(0, 1 << 20)), max_size=200))
def test_nothing_is_over_before_the_patience_is(steps: list[tuple[float, int]]) -> None:
    work, found = Work(), Standstill.after_kill(0.0, Work())
    for second, (cpu, io) in enumerate(steps, 1):
        work += Work(cpu, io)
        found = found.seen(float(second), work)
        assert not found.is_over(float(second)) or second - found.since >= PATIENCE_SECONDS
