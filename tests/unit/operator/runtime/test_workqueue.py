"""The queue's promises: no key twice at a time, none lost, retries later and later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from tftraining_operator.core.records import Key
from tftraining_operator.runtime.workqueue import Priority, WorkQueue

A, B, C = Key("n", "a"), Key("n", "b"), Key("n", "c")


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def queue_with(clock: Clock, waited: Callable[[float], object] = lambda _: None) -> WorkQueue:
    queue = WorkQueue(clock, lambda: 1.0, waited)
    queue.start()
    return queue


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


async def test_what_a_look_has_seen_itself_brings_no_other_and_what_comes_after_that_does() -> None:
    queue = queue_with(Clock())
    queue.add(A)
    assert await taken(queue) == A
    queue.add(A)
    queue.settle(A)
    assert len(queue) == 0
    queue.add(A)
    queue.done(A)
    queue.settle(A)
    assert await taken(queue) == A, "settled is only what comes during the look"


async def test_news_that_can_wait_comes_with_what_comes_meanwhile_and_half_a_second_later_at_the_latest() -> None:
    clock = Clock()
    queue = queue_with(clock)
    for _ in range(4):
        queue.add_soon(A)
        clock.now += 0.1
        queue.promote()
    assert await taken(queue) is None
    clock.now += 0.1
    queue.promote()
    assert [await taken(queue) for _ in range(2)] == [A, None]


async def test_news_that_can_wait_goes_with_an_end_that_cannot() -> None:
    clock = Clock()
    queue = queue_with(clock)
    queue.add_soon(A)
    queue.add(A, Priority.URGENT)
    queue.add_soon(A)
    assert await taken(queue) == A
    queue.forget(A)
    queue.done(A)
    clock.now += 1
    queue.promote()
    assert await taken(queue) is None


async def test_news_that_comes_during_a_look_is_not_taken_for_seen() -> None:
    queue = queue_with(Clock())
    queue.add(A)
    assert await taken(queue) == A
    queue.add_soon(A)
    queue.forget(A)
    queue.done(A)
    assert await taken(queue) == A


async def test_live_events_come_before_the_sweep() -> None:
    queue = queue_with(Clock())
    queue.add(A, Priority.BACKGROUND)
    queue.add(B, Priority.BACKGROUND)
    queue.add(C)
    assert [await taken(queue) for _ in range(3)] == [C, A, B]


async def test_events_without_end_do_not_keep_the_sweep_from_its_turn() -> None:
    clock = Clock()
    queue = queue_with(clock)
    queue.add(A, Priority.BACKGROUND)
    taken_before = []
    while A not in taken_before:
        queue.add(B, Priority.URGENT)
        queue.add(C)
        key = await taken(queue)
        assert key is not None
        taken_before.append(key)
        queue.done(key)
        assert len(taken_before) < 10


async def test_an_event_is_as_old_as_itself_and_a_sweep_is_no_event() -> None:
    clock = Clock()
    queue = queue_with(clock)
    queue.add(A, Priority.BACKGROUND)
    clock.now += 400
    assert (queue.oldest_seconds, queue.oldest_event_seconds) == (400, 0)
    queue.add(A)
    clock.now += 5
    queue.add(A, Priority.URGENT)
    assert (queue.oldest_seconds, queue.oldest_event_seconds) == (5, 5)


async def test_a_live_event_makes_a_key_urgent_that_waits_in_the_background() -> None:
    queue = queue_with(Clock())
    for key in (A, B, C):
        queue.add(key, Priority.BACKGROUND)
    queue.add(C)
    assert [await taken(queue) for _ in range(4)] == [C, A, B, None]


async def test_an_ended_pod_is_looked_at_before_all_that_waits_also_where_its_job_waits_already() -> None:
    queue = queue_with(Clock())
    queue.add(A)
    queue.add(B)
    queue.add(C, Priority.BACKGROUND)
    queue.add(C, Priority.URGENT)
    queue.add(C)
    assert [await taken(queue) for _ in range(4)] == [C, A, B, None]


async def test_a_pod_that_ends_while_its_job_is_looked_at_stays_urgent() -> None:
    queue = queue_with(Clock())
    queue.add(A)
    assert await taken(queue) == A
    queue.add(A)
    queue.add(B)
    queue.add(A, Priority.URGENT)
    queue.done(A)
    assert [await taken(queue) for _ in range(2)] == [A, B]


async def test_five_thousand_jobs_of_one_namespace_do_not_stand_before_one_of_another() -> None:
    queue = queue_with(Clock())
    for number in range(5000):
        queue.add(Key("crowded", str(number)))
    queue.add(A)
    queue.add(B)
    first = [await taken(queue) for _ in range(5)]
    crowded = [Key("crowded", str(number)) for number in range(3)]
    assert first == [crowded[0], A, crowded[1], B, crowded[2]]


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


async def test_what_is_retried_with_a_limit_of_its_own_never_waits_longer_unless_too_many_do() -> None:
    queue = queue_with(Clock())
    assert max(queue.retry(A, at_most=9) for _ in range(20)) == 9
    assert [queue.retry(key, at_most=9, spread=40) for key in (A, B)] == [40, 40]


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


async def test_a_queue_that_is_not_started_keeps_nothing() -> None:
    queue = WorkQueue(Clock(), lambda: 1.0)
    queue.add(A)
    queue.add(B, Priority.BACKGROUND)
    queue.add_soon(C)
    assert (len(queue), queue.oldest_seconds, queue._due) == (0, 0, {})
    queue.start()
    queue.add(C)
    assert [await taken(queue), await taken(queue)] == [C, None]


async def test_a_time_that_was_asked_for_goes_with_the_look_that_asks_for_none() -> None:
    clock = Clock()
    queue = queue_with(clock)
    queue.add_after(A, 30 * 86_400)
    queue.forget(A)
    clock.now += 40 * 86_400
    queue.promote()
    assert await taken(queue) is None


async def test_times_that_nobody_waits_for_any_more_do_not_gather() -> None:
    queue = queue_with(Clock())
    for number in range(5000):
        queue.add_after(Key("n", f"ended-{number}"), 30 * 86_400)
        queue.forget(Key("n", f"ended-{number}"))
    assert len(queue._heap) < 100


async def test_it_tells_how_long_each_key_has_waited() -> None:
    clock, waits = Clock(), list[float]()
    queue = queue_with(clock, waits.append)
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


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "soon", "background", "urgent", "get", "done", "retry", "hold", "tick"]), st.sampled_from([A, B, C])
        )
    )
)
def test_whatever_is_asked_for_comes_once_the_time_has_come(steps: list[tuple[str, Key]]) -> None:
    async def play() -> None:
        clock = Clock()
        queue = queue_with(clock)
        working: set[Key] = set()
        wanted: set[Key] = set()
        for step, key in steps:
            clock.now += 0.3 if step == "tick" else 0.0
            queue.promote()
            if step in {"add", "background", "urgent"}:
                queue.add(key, {"urgent": Priority.URGENT, "add": Priority.LIVE, "background": Priority.BACKGROUND}[step])
                wanted.add(key)
            elif step == "soon":
                queue.add_soon(key)
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
