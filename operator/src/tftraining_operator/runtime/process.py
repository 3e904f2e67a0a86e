"""The process around the loop: starts and ends the tasks in the right order, and ends the process when it must not go on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

import structlog

from tftraining_operator.kube.errors import ApiError
from tftraining_operator.runtime.health import Health, ProcessState
from tftraining_operator.runtime.lease import Lease, LeaseLostError
from tftraining_operator.runtime.queues import Queues
from tftraining_operator.runtime.reconciler import Reconciler
from tftraining_operator.runtime.recorder import POSTERS, Recorder
from tftraining_operator.runtime.survey import NodeSurvey
from tftraining_operator.runtime.sweep import Sweep
from tftraining_operator.runtime.workqueue import WorkQueue

_log = structlog.get_logger()
_WORKERS = 16
_EXIT_LEASE_LOST = 75
_LIST_PAUSE_SECONDS = 2.0


class Process:
    """All that runs beside the watches. Standing by, it keeps the store warm; leading, it works."""

    def __init__(
        self,
        lease: Lease,
        sweep: Sweep,
        queue: WorkQueue,
        reconciler: Reconciler,
        recorder: Recorder,
        health: Health,
        state: ProcessState,
        survey: NodeSurvey,
        queues: Queues,
    ) -> None:
        self._lease = lease
        self._sweep = sweep
        self._queue = queue
        self._reconciler = reconciler
        self._recorder = recorder
        self._health = health
        self._state = state
        self._listed = asyncio.Event()
        self._survey = survey
        self._queues = queues
        self._tasks: list[asyncio.Task[None]] = []
        self._workers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin with everything in the background, and return once all jobs and pods have been listed.

        Then their kinds are served for certain: a watch of one that is not would end the process.
        """
        self._tasks += _spawn(self._health.measure(), self._lead(), *(self._recorder.run() for _ in range(POSTERS)))
        await self._listed.wait()

    async def stop(self) -> None:
        """End all tasks and give the Lease back."""
        await _cancel(self._workers)
        await self._recorder.drain()
        await _cancel(self._tasks)
        await self._lease.release()

    async def _lead(self) -> None:
        await self._first_sync()
        self._listed.set()
        self._tasks += _spawn(self._sweep.run())
        await self._lease.acquire()
        self._queue.start()
        self._sweep.enqueue()
        self._workers += _spawn(self._survey.run(), self._queues.run(), *(self._reconciler.work() for _ in range(_WORKERS)))
        try:
            await self._lease.keep()
        except LeaseLostError as error:
            # Another process may lead from now on: not one more write, not even those of an orderly end.
            _log.error("lease lost", error=str(error))
            os._exit(_EXIT_LEASE_LOST)

    async def _first_sync(self) -> None:
        while not self._state.synced:
            try:
                await self._sweep.once()
                self._state.synced = True
            except ApiError as error:
                _log.warning("jobs and pods cannot be listed yet", error=str(error))
                await asyncio.sleep(_LIST_PAUSE_SECONDS)


def _spawn(*coroutines: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    tasks = []
    for coroutine in coroutines:
        task = asyncio.create_task(coroutine)
        task.add_done_callback(_ended(getattr(coroutine, "__qualname__", repr(coroutine))))
        tasks.append(task)
    return tasks


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


def _ended(name: str) -> Callable[[asyncio.Task[None]], None]:
    def check(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            # Crash-only: a loop that ended by surprise cannot be repaired from inside; a restart is cheap.
            _log.error("a task ended by surprise, the process ends", task=name, exc_info=task.exception())
            os._exit(1)

    return check
