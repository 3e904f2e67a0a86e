"""The server's time: as its answers say, and never moved by what happens to this machine's clock."""

from __future__ import annotations

import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftraining_operator.kube.clock import AGREED_SECONDS, ServerClock

NOW = 1.8e9


class Own:
    """The process's seconds, which a test moves."""

    def __init__(self) -> None:
        self.now = 500.0

    def __call__(self) -> float:
        return self.now


def date(at: float) -> str:
    """Return a time as an HTTP server writes it: whole seconds, cut off."""
    return formatdate(math.floor(at), usegmt=True)


def answer(clock: ServerClock, own: Own, at: float) -> None:
    """Let the server answer at that time of its own, within 10 ms."""
    clock.hear(date(at), own.now - 0.005, own.now + 0.005)


@pytest.mark.parametrize("skew", [-7200.0, -3.0, 0.0, 0.3, 60.0, 7200.0])
async def test_a_machine_whose_clock_is_wrong_has_the_servers_time_after_some_answers(skew: float) -> None:
    own = Own()
    clock = ServerClock(own, lambda: NOW + skew)
    for number in range(50):
        own.now += 0.37
        answer(clock, own, NOW + 0.37 * (number + 1))
        assert abs(clock() - (NOW + 0.37 * (number + 1))) <= 1.01
    assert abs(clock() - (NOW + 0.37 * 50)) < 0.1 + (0.3 if abs(skew) < 1 else 0)
    assert clock.steady, "a machine that is always wrong has not jumped"


async def test_setting_this_machines_clock_changes_nothing() -> None:
    own, wall = Own(), [NOW]
    clock = ServerClock(own, lambda: wall[0])
    answer(clock, own, NOW)
    before = clock()
    wall[0] += 60
    assert clock() == before
    answer(clock, own, NOW)
    assert (clock(), clock.steady) == (before, True)


async def test_a_process_that_was_stopped_without_noticing_finds_that_time_has_jumped() -> None:
    own = Own()
    clock = ServerClock(own, lambda: NOW)
    answer(clock, own, NOW)
    answer(clock, own, NOW + 7200)
    assert not clock.steady
    assert abs(clock() - NOW - 7200) <= 1.01
    clock.settle(0)
    assert not clock.steady, "what was listed before the jump proves nothing"
    clock.settle(clock.jumps)
    assert clock.steady


async def test_servers_whose_clocks_differ_cost_one_jump_and_then_the_one_ahead_counts() -> None:
    own = Own()
    clock = ServerClock(own, lambda: NOW)
    for number in range(200):
        own.now += 1
        answer(clock, own, NOW + number + (13 if number % 2 else 0))
        if number == 1:
            assert clock.jumps == 1
            clock.settle(1)
    assert (clock.jumps, clock.steady, round(clock.behind_seconds)) == (1, True, 12)
    assert abs(clock() - (NOW + 199 + 13)) <= 1.01
    own.now += AGREED_SECONDS
    assert clock.behind_seconds == 0


async def test_a_servers_clock_that_is_set_back_is_followed_after_a_minute_and_puts_nothing_in_doubt() -> None:
    own = Own()
    clock = ServerClock(own, lambda: NOW)
    answer(clock, own, NOW)
    for number in range(round(AGREED_SECONDS)):
        own.now += 1
        answer(clock, own, NOW - 3600 + number)
    assert abs(clock() - (NOW - 3600 + AGREED_SECONDS - 1)) <= 1.01
    assert clock.steady


@given(st.text(max_size=40))
def test_what_is_no_date_is_not_taken(text: str) -> None:
    own = Own()
    clock = ServerClock(own, lambda: NOW)
    clock.hear(text, own.now, own.now)
    assert clock.steady


async def test_an_answer_that_took_long_says_only_that_it_was_somewhen_meanwhile() -> None:
    own = Own()
    clock = ServerClock(own, lambda: NOW)
    clock.hear(date(NOW - 12), own.now - 30, own.now)
    assert clock() == NOW
