"""Checks of waiting jobs: made beside all else, few at a time, and never in the way of a job."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import pytest
from tftrainer.messages.contract import FetchReport, encode_report
from tftraining_operator.core import names
from tftraining_operator.core.observe import job_record
from tftraining_operator.core.records import ContainerRecord, Key, PodRecord, Raw
from tftraining_operator.kube.errors import ApiError, RefusedError, UnavailableError
from tftraining_operator.runtime.checks import AGAIN_SECONDS, AT_ONCE, Checks
from tftraining_operator.runtime.guard import NotLeadingError
from tftraining_operator.runtime.informer import Informer
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.watches import Watches

from .board import Board
from .test_reconciler import JOBS, NOW, PODS, loop_with

DONE = ContainerRecord("fetch", "terminated", "Completed", encode_report(FetchReport()).decode(), 0)


def waiting(board: Board, store: Store, name: str = "iris", namespace: str = "n") -> Key:
    """Have a job wait for a GPU for a minute."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{name}",
        "creationTimestamp": "2027-01-15T07:00:00Z",
        "resourceVersion": "0",
    }
    raw: dict[str, Any] = {"metadata": metadata, "spec": {"script": {"uri": "${bucket}/a.py"}, "resources": {"gpus": 1}}, "status": {}}
    board.objects[f"{JOBS.replace('/n/', f'/{namespace}/')}/{name}"] = raw
    job = job_record(raw)
    assert job is not None
    store.put_job(job)
    name_of_pod = names.pod_name(name, "chief", 0, 0)
    store.put_pod(PodRecord(job.key, name_of_pod, f"pod-{name}", job.uid, "Pending", NOW - 60, "1", checked_with="image"))
    return job.key


def check_of(key: Key, **changes: Any) -> PodRecord:
    name = names.check_name(key.name, f"uid-{key.name}")
    return replace(
        PodRecord(
            key, name, f"check-{key.namespace}-{key.name}", f"uid-{key.name}", "Running", NOW, "2", node="node-b", checked_with="image"
        ),
        **changes,
    )


async def test_it_is_made_once_beside_all_else_and_the_job_says_so() -> None:
    board, store = Board(), Store()
    reconciler, queue = loop_with(board, store)
    key = waiting(board, store)
    await reconciler.reconcile(key)
    async with asyncio.timeout(5):
        assert await queue.get() == key, "what the new pod means is looked at, without anybody telling of it"
    await reconciler.reconcile(key)
    await reconciler.reconcile(key)
    assert board.requests.count(("create", PODS)) == 1
    assert board.objects[f"{JOBS}/iris"]["status"]["preflight"]["result"] == "Started"


@pytest.mark.parametrize("status", [HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.BAD_REQUEST])
async def test_one_that_is_refused_is_not_tried_again_and_is_no_refusal_of_the_job(status: int) -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    key = waiting(board, store)
    board.trouble = lambda path: RefusedError(status, "Forbidden", "exceeded quota") if path == PODS else None
    for _ in range(3):
        await reconciler.reconcile(key)
    assert board.requests.count(("create", PODS)) == 1
    observed = store.observe(key)
    assert observed is not None
    assert observed.refusal == ""
    assert "preflight" not in board.objects[f"{JOBS}/iris"]["status"]


async def test_one_whose_name_a_stranger_has_is_not_tried_again() -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    key = waiting(board, store)
    name = names.check_name("iris", "uid-iris")
    board.objects[f"{PODS}/{name}"] = {
        "metadata": {"name": name, "namespace": "n", "uid": "x", "resourceVersion": "1", "labels": {names.JOB_NAME: "iris"}}
    }
    for _ in range(3):
        await reconciler.reconcile(key)
    assert board.requests.count(("create", PODS)) == 1
    assert "preflight" not in board.objects[f"{JOBS}/iris"]["status"]


@pytest.mark.parametrize(
    "trouble", [UnavailableError(503, "", ""), UnavailableError(429, "", ""), UnavailableError(0, "", "")], ids=["503", "429", "no answer"]
)
async def test_one_that_the_server_could_not_answer_for_keeps_nothing_up_and_is_tried_again_a_minute_later(trouble: ApiError) -> None:
    board, store = Board(), Store()
    now = 0.0
    store.checks = Checks(lambda: now)
    reconciler, _ = loop_with(board, store)
    key = waiting(board, store)
    board.trouble = lambda path: trouble if path == PODS else None
    for _ in range(3):
        await reconciler.reconcile(key)
    assert board.requests.count(("create", PODS)) == 1
    board.trouble = lambda _: None
    now = AGAIN_SECONDS - 1
    await reconciler.reconcile(key)
    assert board.requests.count(("create", PODS)) == 1
    now = AGAIN_SECONDS
    await reconciler.reconcile(key)
    assert board.requests.count(("create", PODS)) == 2


async def test_one_that_must_not_be_written_any_more_is_left_to_who_leads() -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    key = waiting(board, store)
    board.trouble = lambda path: NotLeadingError() if path == PODS else None
    with pytest.raises(NotLeadingError):
        await reconciler.reconcile(key)
    assert not store.checks.bars(key)


class SlowBoard(Board):
    """A server whose answers take so long that all others are asking meanwhile."""

    async def create(self, path: str, body: Raw) -> Raw:
        await asyncio.sleep(0.01)
        return await super().create(path, body)


async def test_of_many_that_are_made_in_the_same_moment_no_more_than_few_are() -> None:
    board, store = SlowBoard(), Store()
    reconciler, _ = loop_with(board, store)
    keys = [waiting(board, store, f"job-{number:02}") for number in range(AT_ONCE + 6)]
    await asyncio.gather(*(reconciler.reconcile(key) for key in keys))
    await asyncio.gather(*(reconciler.reconcile(key) for key in keys))
    assert len([path for path in board.objects if "-check-" in path]) == AT_ONCE


async def test_of_many_jobs_few_are_checked_at_once_and_each_has_its_turn() -> None:
    board, store = Board(), Store()
    reconciler, queue = loop_with(board, store)
    informer = Informer(store, queue, Watches())
    keys = [waiting(board, store, f"job-{number:02}") for number in range(AT_ONCE + 3)]
    other = waiting(board, store, "theirs", "other")
    for key in (*keys, other):
        await reconciler.reconcile(key)
        await reconciler.reconcile(key)

    def checked() -> set[str]:
        return {path.rpartition("/")[2].partition("-check-")[0] for path in board.objects if "-check-" in path}

    assert checked() == {key.name for key in (*keys[:AT_ONCE], other)}
    for key in keys[:2]:
        informer.pod(
            check_of(key, uid=uid_of(board, key), phase="Succeeded", containers=(DONE,), resource_version="900"),
            deleted=False,
            listed=False,
        )
    for key in keys[AT_ONCE:]:
        await reconciler.reconcile(key)
    assert checked() == {key.name for key in (*keys[: AT_ONCE + 2], other)}


def uid_of(board: Board, key: Key) -> str:
    return str(board.objects[f"{PODS}/{names.check_name(key.name, f'uid-{key.name}')}"]["metadata"]["uid"])


def test_who_asks_has_his_turn_in_his_order_and_one_who_does_not_ask_again_holds_up_nobody() -> None:
    checks, keys = Checks(), [Key("n", f"job-{number}") for number in range(AT_ONCE + 3)]
    for key in keys[:AT_ONCE]:
        assert checks.admit(key)
        checks.see(check_of(key))
        checks.release(key)
    assert [checks.admit(key) for key in keys[AT_ONCE:]] == [False] * 3
    assert checks.next("n") == []
    assert all(checks.bars(key) for key in keys[AT_ONCE:])
    checks.lose("n", check_of(keys[0]).uid)
    assert not any(checks.bars(key) for key in keys[AT_ONCE:])
    assert checks.next("n") == [keys[AT_ONCE]]
    assert checks.next("n") == [keys[AT_ONCE + 1]], "the first has started meanwhile, and asks no more"
    checks.forget(keys[AT_ONCE + 2])
    assert checks.next("n") == []


def test_pods_of_runs_and_checks_that_have_ended_count_for_nothing() -> None:
    checks = Checks()
    for number in range(AT_ONCE):
        key = Key("n", f"job-{number}")
        checks.see(replace(check_of(key), name=f"job-{number}-chief-0"))
        checks.see(check_of(key))
        checks.see(check_of(key, phase="Failed"))
        checks.see(check_of(key, uid="going", deleted_at=NOW))
    assert checks.admit(Key("n", "another"))


def test_a_place_is_kept_from_the_answer_that_there_is_one_until_its_pod_is_counted_or_there_will_be_none() -> None:
    checks, keys = Checks(), [Key("n", f"job-{number}") for number in range(AT_ONCE + 1)]
    assert [checks.admit(key) for key in keys] == [True] * AT_ONCE + [False]
    checks.release(keys[0])
    assert checks.next("n") == [keys[AT_ONCE]]
