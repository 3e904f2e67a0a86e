"""What makes a process count as unhealthy."""

from __future__ import annotations

import asyncio

import pytest
from tftraining_operator.core.records import Key
from tftraining_operator.runtime.health import Health, ProcessState
from tftraining_operator.runtime.lease import Lease
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.reports import Reports
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.watches import Watches
from tftraining_operator.runtime.workqueue import Priority, WorkQueue

from .board import Board


def health_of(queue: WorkQueue, watches: Watches) -> Health:
    clock = asyncio.get_running_loop().time
    board, store = Board(), Store()
    state = ProcessState(Lease(board, "n", "l", "me", clock, clock))
    return Health("127.0.0.1", 0, queue, state, Metrics(), Reports(board, store, clock, queue.add), watches)


async def test_a_process_whose_watches_have_gone_silent_is_unhealthy() -> None:
    watches = Watches()
    health = health_of(WorkQueue(asyncio.get_running_loop().time, lambda: 1.0), watches)
    assert health.complaints() == []
    for uid in ("first", "second"):
        watches.begin_sweep()
        watches.missed(uid)
    assert health.complaints() == ["two sweeps found what no watch had told of"]


@pytest.mark.parametrize(("priority", "healthy"), [(Priority.URGENT, False), (Priority.LIVE, False), (Priority.BACKGROUND, True)])
async def test_who_has_much_to_look_at_is_healthy_and_who_does_not_look_at_events_is_not(priority: Priority, healthy: bool) -> None:
    now = [1000.0]
    queue = WorkQueue(lambda: now[0], lambda: 1.0)
    queue.start()
    queue.add(Key("n", "iris"), priority)
    now[0] += 301
    assert (health_of(queue, Watches()).complaints() == []) is healthy
