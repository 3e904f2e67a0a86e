"""Looking at nodes: only for those who ask, seldom, and never in the way of other work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from tftraining_operator.core.nodes import Need
from tftraining_operator.core.records import Key
from tftraining_operator.kube.errors import ApiError, RefusedError, UnavailableError
from tftraining_operator.runtime.survey import NodeSurvey
from tftraining_operator.runtime.workqueue import WorkQueue

from .board import Board

IRIS, ROSE = Key("n", "iris"), Key("n", "rose")
NEED = Need({"cpu": Decimal(2)})


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


def node(name: str, cpu: str = "4") -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"allocatable": {"cpu": cpu}, "conditions": [{"type": "Ready", "status": "True"}]}}


def pod(cpu: str) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"resources": {"requests": {"cpu": cpu}}}]}}


@asynccontextmanager
async def survey_of(board: Board, clock: Time) -> AsyncIterator[tuple[NodeSurvey, WorkQueue]]:
    queue = WorkQueue(clock, lambda: 1.0)
    queue.start()
    survey = NodeSurvey(board, queue, ("accelerator",), clock)
    task = asyncio.create_task(survey.run())
    try:
        yield survey, queue
    finally:
        task.cancel()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_nodes_are_looked_at_only_when_a_job_asks_which_is_then_looked_at_again() -> None:
    board = Board()
    board.objects = {"/api/v1/nodes/a": node("a"), "/api/v1/nodes/b": node("b", "1"), "/api/v1/pods/p": pod("3500m")}
    async with survey_of(board, Time()) as (survey, queue):
        await turns()
        assert board.requests == []
        assert survey.seen is None
        survey.ask(IRIS, NEED)
        await turns()
        assert await queue.get() == IRIS
        seen = survey.seen
        assert seen is not None
        assert {each.name: each.has["cpu"] for each in seen.nodes} == {"a": 4, "b": 1}
        # Only of those that could take the pod it is worth knowing what is free.
        assert seen.used == {"a": {"pods": 1, "cpu": Decimal("3.5")}}


async def test_a_job_that_was_answered_asks_again_after_a_while_and_not_at_once() -> None:
    board, clock = Board(), Time()
    async with survey_of(board, clock) as (survey, queue):
        survey.ask(IRIS, NEED)
        await turns()
        queue.done(await queue.get())
        survey.ask(IRIS, NEED)
        await turns()
        assert board.requests == [("list", "/api/v1/nodes")]
        clock.now += 3
        queue.promote()
        # It would have said something without an answer by now.
        queue.done(await queue.get())
        survey.ask(IRIS, NEED)
        clock.now += 26
        queue.promote()
        assert len(queue) == 0
        clock.now += 2
        queue.promote()
        assert await queue.get() == IRIS


async def test_what_one_job_has_asked_for_is_still_counted_when_another_asks() -> None:
    board, clock = Board(), Time()
    board.objects = {"/api/v1/nodes/a": node("a"), "/api/v1/nodes/b": node("b", "64")}
    async with survey_of(board, clock) as (survey, _):
        survey.ask(IRIS, NEED)
        survey.ask(ROSE, Need({"cpu": Decimal(32)}))
        await turns()
        assert survey.seen is not None
        assert set(survey.seen.used) == {"a", "b"}


async def test_a_job_awaits_its_first_answer_and_not_for_long() -> None:
    board, clock = Board(), Time()
    board.silent = True
    async with survey_of(board, clock) as (survey, queue):
        assert survey.awaits(IRIS)
        survey.ask(ROSE, NEED)
        await turns()
        survey.ask(IRIS, NEED)
        assert survey.awaits(IRIS)
        clock.now += 3
        assert not survey.awaits(IRIS)
        queue.promote()
        assert {await queue.get(), await queue.get()} == {IRIS, ROSE}


async def test_a_job_that_was_answered_awaits_nothing() -> None:
    async with survey_of(Board(), Time()) as (survey, _):
        survey.ask(IRIS, NEED)
        await turns()
        assert not survey.awaits(IRIS)
        assert survey.awaits(ROSE)


async def test_what_was_seen_long_ago_says_nothing() -> None:
    clock = Time()
    async with survey_of(Board(), clock) as (survey, _):
        survey.ask(IRIS, NEED)
        await turns()
        assert survey.seen is not None
        clock.now += 121
        assert survey.seen is None


async def test_without_the_right_to_see_nodes_the_job_is_looked_at_all_the_same_and_nobody_asks_on_and_on() -> None:
    board = Board()
    board.trouble = lambda _: RefusedError(403, "Forbidden", "nodes is forbidden")
    async with survey_of(board, Time()) as (survey, queue):
        survey.ask(IRIS, NEED)
        await turns()
        assert await queue.get() == IRIS
        assert survey.seen is None
        assert not survey.awaits(ROSE)
        survey.ask(ROSE, NEED)
        await turns()
        assert board.requests == [("list", "/api/v1/nodes")]


async def test_who_may_see_nodes_but_not_all_pods_is_told_what_the_nodes_have() -> None:
    board = Board()
    board.objects = {"/api/v1/nodes/a": node("a")}

    def trouble(path: str) -> ApiError | None:
        return RefusedError(403, "Forbidden", "pods is forbidden") if path == "/api/v1/pods" else None

    board.trouble = trouble
    async with survey_of(board, Time()) as (survey, _):
        survey.ask(IRIS, NEED)
        await turns()
        seen = survey.seen
        assert seen is not None
        assert [each.name for each in seen.nodes] == ["a"]
        assert seen.used == {}


async def test_a_server_that_is_away_ends_nothing() -> None:
    board = Board()
    board.trouble = lambda _: UnavailableError(0, "TimeoutError", "away")
    async with survey_of(board, Time()) as (survey, queue):
        survey.ask(IRIS, NEED)
        await turns()
        assert await queue.get() == IRIS
        assert survey.seen is None


async def test_of_very_many_nodes_that_could_take_a_pod_no_pods_are_listed() -> None:
    board = Board()
    board.objects = {f"/api/v1/nodes/n{index}": node(f"n{index}") for index in range(33)}
    async with survey_of(board, Time()) as (survey, _):
        survey.ask(IRIS, NEED)
        await turns()
        assert board.requests == [("list", "/api/v1/nodes")]
        seen = survey.seen
        assert seen is not None
        assert len(seen.nodes) == 33


async def test_many_requests_of_one_namespace_do_not_keep_another_from_knowing_what_is_free() -> None:
    board = Board()
    board.objects = {"/api/v1/nodes/large": node("large", "1000"), "/api/v1/pods/p": pod("1")}
    async with survey_of(board, Time()) as (survey, _):
        for number in range(40):
            survey.ask(Key("crowded", f"job-{number}"), Need({"cpu": Decimal(2000 + number)}))
        survey.ask(IRIS, NEED)
        await turns()
        for _ in range(10):
            await turns()
        seen = survey.seen
        assert seen is not None
        assert set(seen.used or {}) == {"large"}
