"""The same work for any number of things."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest
from tftrainer.at_once import for_each

SECONDS = 20.0


def test_every_item_is_worked_on_once() -> None:
    done: list[int] = []
    for_each(iter(range(1000)), done.append, 8)
    assert sorted(done) == list(range(1000))


def test_several_are_worked_on_at_a_time_and_no_more() -> None:
    together = threading.Barrier(4)
    for_each(range(8), lambda _: together.wait(SECONDS) and None, 4)


def test_what_went_wrong_first_is_raised_and_nothing_more_is_begun() -> None:
    taken: list[int] = []

    def work(item: int) -> None:
        taken.append(item)
        if item >= 10:
            raise ValueError(str(item))

    with pytest.raises(ValueError, match="10"):
        for_each(itertools.count(), work, 1)
    assert taken == list(range(11))


def test_what_the_items_come_from_may_fail_too() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    done: list[int] = []
    with pytest.raises(OSError, match="gone"):
        for_each(items(), done.append, 4)
    assert done == [1]


def test_no_item_is_taken_before_a_thread_is_free_for_it() -> None:
    done: list[int] = []
    early: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            if number - len(done) > 8:
                early.append(number)
            yield number

    for_each(items(), done.append, 8)
    assert early == []
