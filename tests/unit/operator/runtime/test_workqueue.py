"""The queue's promises: no key twice at a time, none lost, retries later and later."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from tftraining_operator.core.records import Key
from tftraining_operator.runtime.workqueue import WorkQueue

A, B, C = Key("n", "a"), Key("n", "b"), Key("n", "c")


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def queue_with(clock: Clock) -> WorkQueue:
    return WorkQueue(clock, jitter=lambda: 1.0)


async def taken(queue: WorkQueue) -> Key | None:
    """Return the next key, None if there is none now."""
    try:
        return await asyncio.wait_for(queue.get(), 0.01)
    except TimeoutError:
        return None


async def test_a_key_added_many_times_is_looked_at_once() -> None:
    queue = queue_with(Clock())
    for _ in range(5):
        queue.add(A)
    assert await taken(queue) == A
    assert await taken(queue) is None


async def test_a_key_that_changes_while_it_is_looked_at_comes_again_afterwards_and_not_before() -> None:
    queue = queue_with(Clock())
    queue.add(A)
    assert await taken(queue) == A
    queue.add(A)
    assert await taken(queue) is None
    queue.done(A)
    assert await taken(queue) == A


async def test_live_events_come_before_the_sweep() -> None:
    queue = queue_with(Clock())
    queue.add(A, background=True)
    queue.add(B, background=True)
    queue.add(C)
    assert [await taken(queue) for _ in range(3)] == [C, A, B]


async def test_a_live_event_makes_a_key_urgent_that_waits_in_the_background() -> None:
    queue = queue_with(Clock())
    for key in (A, B, C):
        queue.add(key, background=True)
    queue.add(C)
    assert [await taken(queue) for _ in range(4)] == [C, A, B, None]


async def test_a_key_for_later_comes_when_its_time_has_come_at_the_earliest_of_all_asked_for() -> None:
    clock = Clock()
    queue = queue_with(clock)
    queue.add_after(A, 60)
    queue.add_after(A, 10)
    queue.add_after(A, 30)
    clock.now += 9.9
    queue.promote()
    assert await taken(queue) is None
    clock.now += 0.2
    queue.promote()
    assert await taken(queue) == A
    queue.done(A)
    clock.now += 100
    queue.promote()
    assert await taken(queue) is None, "what was due later was replaced by what was due earlier"


async def test_retries_wait_longer_each_time_up_to_a_limit_and_start_anew_after_a_success() -> None:
    queue = queue_with(Clock())
    delays = [queue.retry(A) for _ in range(20)]
    assert delays == sorted(delays)
    assert delays[0] < 0.1
    assert delays[-1] == 120
    queue.forget(A)
    assert queue.retry(A) == delays[0]


async def test_a_retry_waits_at_least_as_long_as_the_server_asked_for() -> None:
    assert queue_with(Clock()).retry(A, at_least=7.0) == 7.0


async def test_what_the_server_asked_for_holds_whatever_happens_to_the_key_meanwhile() -> None:
    clock = Clock()
    queue = queue_with(clock)
    queue.add_after(A, 1)
    queue.add(A)
    assert await taken(queue) == A
    queue.add(A)
    queue.retry(A, at_least=7)
    queue.done(A)
    for _ in range(6):
        clock.now += 1
        queue.add(A)
        queue.promote()
        assert await taken(queue) is None
    clock.now += 1.1
    queue.promote()
    assert await taken(queue) == A


async def test_an_ordinary_failure_does_not_hold_back_what_is_new() -> None:
    queue = queue_with(Clock())
    queue.retry(A)
    queue.add(A)
    assert await taken(queue) == A


async def test_it_tells_how_long_each_key_has_waited() -> None:
    clock, waits = Clock(), list[float]()
    queue = WorkQueue(clock, jitter=lambda: 1.0, waited=waits.append)
    queue.add(A)
    clock.now += 3
    await taken(queue)
    assert waits == [3]


async def test_a_worker_that_is_cancelled_while_waiting_loses_no_key() -> None:
    queue = queue_with(Clock())
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await taken(queue) == A


async def test_the_age_of_the_oldest_key_is_told() -> None:
    clock = Clock()
    queue = queue_with(clock)
    assert queue.oldest_seconds == 0
    queue.add(A)
    clock.now += 42
    assert queue.oldest_seconds == 42


@given(st.lists(st.tuples(st.sampled_from(["add", "background", "get", "done", "retry", "hold", "tick"]), st.sampled_from([A, B, C]))))
def test_whatever_is_asked_for_comes_once_the_time_has_come(steps: list[tuple[str, Key]]) -> None:
    async def play() -> None:
        clock = Clock()
        queue = queue_with(clock)
        working: set[Key] = set()
        wanted: set[Key] = set()
        for step, key in steps:
            clock.now += 0.3 if step == "tick" else 0.0
            queue.promote()
            if step in {"add", "background"}:
                queue.add(key, background=step == "background")
                wanted.add(key)
            elif step == "get" and (found := _now(queue)):
                assert found not in working
                working.add(found)
                wanted.discard(found)
            elif step in {"done", "retry", "hold"} and key in working:
                if step != "done":
                    queue.retry(key, at_least=1.0 if step == "hold" else 0.0)
                    wanted.add(key)
                working.discard(key)
                queue.done(key)
        for key in working:
            queue.done(key)
        clock.now += 1000
        queue.promote()
        rest = set()
        while (found := _now(queue)) is not None:
            rest.add(found)
        assert rest >= wanted

    asyncio.run(play())


@given(st.lists(st.tuples(st.sampled_from("agdx"), st.sampled_from([A, B, C])), max_size=60))
def test_whatever_happens_no_key_is_with_two_workers_and_none_is_lost(steps: list[tuple[str, Key]]) -> None:
    async def play() -> None:
        queue = queue_with(Clock())
        working: list[Key] = []
        wanted: set[Key] = set()
        for step, key in steps:
            if step == "a":
                queue.add(key)
                wanted.add(key)
            elif step == "g" and (found := _now(queue)):
                assert found not in working
                working.append(found)
                wanted.discard(found)
            elif step == "d" and key in working:
                working.remove(key)
                queue.done(key)
        for key in working:
            queue.done(key)
        rest = set()
        while (found := _now(queue)) is not None:
            rest.add(found)
        assert rest == wanted

    asyncio.run(play())


def _now(queue: WorkQueue) -> Key | None:
    """Return the next key without waiting for one."""
    step = queue.get()
    try:
        step.send(None)
    except StopIteration as found:
        return found.value  # type: ignore[no-any-return]
    step.close()
    return None
