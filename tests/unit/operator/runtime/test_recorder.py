"""Events: one per piece of news, whole and within the API's limits, and never a flood."""

from __future__ import annotations

import asyncio
import re

from hypothesis import given
from hypothesis import strategies as st
from tftraining_operator.core.records import JobRecord, Key, Note
from tftraining_operator.kube.errors import RefusedError
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.recorder import REPEAT_SECONDS, Recorder, event

from .board import Board

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NOTE = Note("Warning", "SecretNotFound", "The Secret x does not exist.")


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
    recorder.post(job(), Note("Normal", "Running", "The script runs."))
    recorder.post(job(), Note("Normal", "Succeeded", "Done."))
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
    recorder.post(job(), Note("Normal", "Running", "The script runs."))
    assert [item["reason"] for item in await posted(board, recorder)] == ["Running"]
    assert b'tftraining_events_dropped_total{why="refused"} 1.0' in metrics.render()


async def test_a_flood_is_cut_off_and_counted() -> None:
    metrics = Metrics()
    recorder = Recorder(Board(), "pod-1", Wall(), metrics)
    for index in range(1200):
        recorder.post(job(uid=f"uid-{index}"), NOTE)
    assert b'tftraining_events_dropped_total{why="too many"} 200.0' in metrics.render()


@given(
    st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True).filter(NAME.fullmatch),
    st.text(max_size=3000),
    st.floats(min_value=0, max_value=4e9),
)
def test_whatever_is_told_about_whatever_job_the_event_is_within_the_limits(name: str, message: str, at: float) -> None:
    found = event(job(name), Note("Normal", "Running", message), at, "pod-1", serial=5000)
    assert NAME.fullmatch(found["metadata"]["name"])
    assert len(found["metadata"]["name"]) <= 253
    assert len(found["note"].encode()) <= 1024
