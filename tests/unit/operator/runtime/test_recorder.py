"""Events: one per piece of news, whole and within the API's limits, and never a flood."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftraining_operator.core.records import Event, JobRecord, Key
from tftraining_operator.kube.errors import RefusedError, UnavailableError
from tftraining_operator.runtime import recorder as recorder_module
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.recorder import FRESH_SECONDS, POSTERS, REPEAT_SECONDS, Recorder, event

from .board import Board

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NOTE = Event("Warning", "SecretNotFound", "The Secret x does not exist.")


def job(name: str = "iris", uid: str = "uid-1") -> JobRecord:
    return JobRecord(Key("n", name), uid, 1, 0.0, "1", {}, {})


class Wall:
    """Unix seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1.8e9

    def __call__(self) -> float:
        return self.now


async def posted(board: Board, recorder: Recorder) -> list[dict[str, object]]:
    running = asyncio.create_task(recorder.run())
    await recorder.drain()
    running.cancel()
    return list(board.objects.values())


async def test_news_become_events_about_the_job_in_their_order() -> None:
    board, wall = Board(), Wall()
    recorder = Recorder(board, "pod-1", wall, Metrics())
    recorder.post(job(), Event("Normal", "Running", "The script runs."))
    recorder.post(job(), Event("Normal", "Succeeded", "Done."))
    found = await posted(board, recorder)
    assert [(item["reason"], item["note"], item["type"]) for item in found] == [
        ("Running", "The script runs.", "Normal"),
        ("Succeeded", "Done.", "Normal"),
    ]
    assert found[0]["regarding"] == {
        "apiVersion": "tftraining.dev/v1alpha1",
        "kind": "TFTrainingJob",
        "namespace": "n",
        "name": "iris",
        "uid": "uid-1",
    }


async def test_an_event_that_repeats_itself_is_posted_once_and_later_with_its_count() -> None:
    board, wall = Board(), Wall()
    recorder = Recorder(board, "pod-1", wall, Metrics())
    for _ in range(5):
        recorder.post(job(), NOTE)
        wall.now += 60
    assert len(await posted(board, recorder)) == 1
    wall.now += REPEAT_SECONDS
    recorder.post(job(), NOTE)
    last = (await posted(board, recorder))[-1]
    assert isinstance(last["series"], dict)
    assert last["series"]["count"] == 6


async def test_two_states_that_alternate_are_told_once_each_however_their_numbers_change() -> None:
    board, wall = Board(), Wall()
    recorder = Recorder(board, "pod-1", wall, Metrics())
    for number in range(10):
        recorder.post(job(), Event("Warning", ("Unschedulable", "NodesNotReady")[number % 2], f"0/{number} nodes.", topic="pending"))
    assert [item["reason"] for item in await posted(board, recorder)] == ["Unschedulable", "NodesNotReady"]


async def test_the_same_event_about_another_job_is_news() -> None:
    board = Board()
    recorder = Recorder(board, "pod-1", Wall(), Metrics())
    recorder.post(job(), NOTE)
    recorder.post(job(uid="uid-2"), NOTE)
    assert len(await posted(board, recorder)) == 2


async def test_an_event_that_is_refused_holds_nothing_up() -> None:
    board, metrics = Board(), Metrics()
    refusals = [RefusedError(403, "Forbidden", "the namespace is being terminated")]
    board.trouble = lambda _: refusals.pop() if refusals else None
    recorder = Recorder(board, "pod-1", Wall(), metrics)
    recorder.post(job(), NOTE)
    recorder.post(job(), Event("Normal", "Running", "The script runs."))
    assert [item["reason"] for item in await posted(board, recorder)] == ["Running"]
    assert b'tftraining_events_dropped_total{why="refused"} 1.0' in metrics.render()


async def test_a_warning_that_the_server_cannot_take_now_is_tried_again_and_what_is_only_for_information_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorder_module, "AGAIN_SECONDS", 0.0)
    board, metrics = Board(), Metrics()
    down = [UnavailableError(503, "ServiceUnavailable", "etcd has no leader") for _ in range(3)]
    board.trouble = lambda _: down.pop() if down else None
    recorder = Recorder(board, "pod-1", Wall(), metrics)
    recorder.post(job(), Event("Normal", "Running", "The script runs."))
    recorder.post(job(), NOTE)
    poster = asyncio.create_task(recorder.run())
    async with asyncio.timeout(10):
        while not board.objects:  # noqa: ASYNC110 - happens elsewhere
            await asyncio.sleep(0)
    poster.cancel()
    assert [item["reason"] for item in board.objects.values()] == [NOTE.reason]
    assert b'tftraining_events_dropped_total{why="refused"} 1.0' in metrics.render()


@pytest.mark.parametrize(("kind", "dropped"), [("Normal", 1200), ("Warning", 200)])
async def test_a_flood_is_cut_off_and_counted_first_what_is_only_for_information(kind: str, dropped: int) -> None:
    metrics = Metrics()
    recorder = Recorder(Board(), "pod-1", Wall(), metrics)
    for index in range(2200):
        recorder.post(job(uid=f"uid-{index}"), Event(kind, "Some", "Thing."))
    assert f'tftraining_events_dropped_total{{why="too many"}} {dropped}.0' in metrics.render().decode()


async def test_warnings_are_posted_before_what_is_only_for_information() -> None:
    board = Board()
    recorder = Recorder(board, "pod-1", Wall(), Metrics())
    recorder.post(job(), Event("Normal", "Running", "The script runs."))
    recorder.post(job(), NOTE)
    assert [item["type"] for item in await posted(board, recorder)] == ["Warning", "Normal"]


async def test_what_is_only_for_information_and_has_waited_too_long_is_dropped_and_a_warning_is_not() -> None:
    board, wall, metrics = Board(), Wall(), Metrics()
    recorder = Recorder(board, "pod-1", wall, metrics)
    recorder.post(job(), Event("Normal", "Running", "The script runs."))
    recorder.post(job(), NOTE)
    wall.now += FRESH_SECONDS + 0.1
    assert [item["type"] for item in await posted(board, recorder)] == ["Warning"]
    assert b'tftraining_events_dropped_total{why="late"} 1.0' in metrics.render()


async def test_a_server_that_does_not_answer_for_one_event_does_not_hold_up_the_others() -> None:
    board = Board()
    recorder = Recorder(board, "pod-1", Wall(), Metrics())
    posters = [asyncio.create_task(recorder.run()) for _ in range(POSTERS)]
    board.silent = True
    for index in range(POSTERS - 1):
        recorder.post(job(uid=f"uid-{index}"), NOTE)
    async with asyncio.timeout(5):
        while len(board.requests) < POSTERS - 1:  # noqa: ASYNC110 - happens elsewhere
            await asyncio.sleep(0)
        board.silent = False
        recorder.post(job(uid="another"), NOTE)
        while not board.objects:  # noqa: ASYNC110 - happens elsewhere
            await asyncio.sleep(0)
    for poster in posters:
        poster.cancel()


@given(
    st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True).filter(NAME.fullmatch),
    st.text(max_size=3000),
    st.floats(min_value=0, max_value=4e9),
)
def test_whatever_is_told_about_whatever_job_the_event_is_within_the_limits(name: str, message: str, at: float) -> None:
    found = event(job(name), Event("Normal", "Running", message), at, "pod-1", serial=5000)
    assert NAME.fullmatch(found["metadata"]["name"])
    assert len(found["metadata"]["name"]) <= 253
    assert len(found["note"].encode()) <= 1024
