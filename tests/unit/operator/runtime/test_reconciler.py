"""The loop around the core: many jobs do not stop the process, and what is in doubt is asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from tftraining_operator.core.configuration import Configuration, Runtime
from tftraining_operator.core.records import JobRecord, Key
from tftraining_operator.kube.errors import ConflictError
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.reconciler import Reconciler
from tftraining_operator.runtime.recorder import Recorder
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.workqueue import WorkQueue

from .board import Board

NOW = 1_800_000_000.0
CONFIGURATION = Configuration(default_runtime="tf2", runtimes={"tf2": Runtime(image="image")})
JOBS = "/apis/tftraining.dev/v1alpha1/namespaces/n/tftrainingjobs"
PODS = "/api/v1/namespaces/n/pods"


def job(name: str = "iris", **fields: Any) -> JobRecord:
    return replace(JobRecord(Key("n", name), f"uid-{name}", 1, NOW, "1", {"script": {"uri": "${bucket}/a.py"}}, {}), **fields)


def loop_with(board: Board, store: Store, *, may_write: bool = True) -> tuple[Reconciler, WorkQueue]:
    metrics = Metrics()
    queue = WorkQueue(asyncio.get_running_loop().time, lambda: 1.0)
    recorder = Recorder(board, "pod-1", lambda: NOW, metrics)
    return Reconciler(board, store, queue, recorder, CONFIGURATION, lambda: NOW, metrics, lambda: may_write), queue


async def test_thousands_of_jobs_that_need_nothing_do_not_keep_the_loop_from_other_things() -> None:
    store = Store()
    reconciler, queue = loop_with(Board(), store)
    for index in range(500):
        store.put_job(job(f"job-{index}", deleted_at=NOW))
        queue.add(Key("n", f"job-{index}"), background=True)
    worker = asyncio.create_task(reconciler.work())
    turns = 0
    while len(queue):
        await asyncio.sleep(0)
        turns += 1
    worker.cancel()
    assert turns >= 500


async def test_a_process_that_does_not_lead_writes_nothing_and_loses_no_key() -> None:
    board, store = Board(), Store()
    reconciler, queue = loop_with(board, store, may_write=False)
    store.put_job(job())
    queue.add(Key("n", "iris"))
    worker = asyncio.create_task(reconciler.work())
    for _ in range(20):
        await asyncio.sleep(0)
    worker.cancel()
    assert board.requests == []
    queue.add(Key("n", "iris"))
    assert await queue.get() == Key("n", "iris")


async def test_the_pod_that_it_made_is_known_at_once_so_that_a_late_watch_does_not_make_another() -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    store.put_job(job())
    await reconciler.reconcile(Key("n", "iris"))
    await reconciler.reconcile(Key("n", "iris"))
    assert board.requests.count(("create", PODS)) == 1


async def test_a_status_written_on_an_old_version_is_decided_again_on_the_newest_without_waiting_for_the_watch() -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    metadata = {"name": "iris", "namespace": "n", "uid": "uid-iris", "resourceVersion": "9"}
    board.objects[f"{JOBS}/iris"] = {"metadata": metadata, "spec": {"runtime": "unheard-of"}, "status": {}}
    store.put_job(job(spec={"runtime": "unheard-of", "script": {"uri": "${bucket}/a.py"}}))
    try:
        await reconciler.reconcile(Key("n", "iris"))
    except ConflictError:
        observed = store.observe(Key("n", "iris"))
        assert observed is not None
        assert observed.job.resource_version == "9"
    else:
        raise AssertionError
