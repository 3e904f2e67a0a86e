"""Sweeps: what lists find, what they do where a namespace is away, and what they say of watches that are deaf."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tftraining_operator.core.records import Key
from tftraining_operator.kube.clock import ServerClock
from tftraining_operator.kube.errors import ApiError, NotFoundError, RefusedError, UnavailableError
from tftraining_operator.runtime.informer import Informer
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.sweep import Sweep
from tftraining_operator.runtime.watches import Watches
from tftraining_operator.runtime.workqueue import WorkQueue

from ..core.given import Pod
from .board import Board

JOBS = "/apis/tftraining.dev/v1alpha1/namespaces/{}/tftrainingjobs"
PODS = "/api/v1/namespaces/{}/pods"


class Swept:
    """A sweep over a board, and all that it changes."""

    def __init__(self, namespaces: Sequence[str] = ("a", "b")) -> None:
        self.board, self.store, self.watches, self.metrics = Board(), Store(), Watches(), Metrics()
        self.queue = WorkQueue(asyncio.get_running_loop().time, lambda: 1.0)
        self.clock = ServerClock(asyncio.get_running_loop().time, lambda: 1.8e9)
        self.queue.start()
        self.sweep = Sweep(self.board, self.store, self.queue, namespaces, lambda: 1.0, self.metrics, self.watches, self.clock)

    def job(self, namespace: str, name: str = "iris", version: int = 1) -> None:
        metadata = {"namespace": namespace, "name": name, "uid": f"uid-{namespace}-{name}", "resourceVersion": str(version)}
        self.board.objects[f"{JOBS.format(namespace)}/{name}"] = {"metadata": metadata, "spec": {}, "status": {}}

    def fail(self, namespace: str, error: ApiError) -> None:
        self.board.trouble = lambda path: error if f"/{namespace}/" in path else None

    def known(self) -> set[str]:
        return {key.namespace for key in self.store}

    def skipped(self) -> float:
        return float(next(line.split()[1] for line in self.metrics.render().decode().splitlines() if line.startswith(SKIPPED)))


SKIPPED = "tftraining_namespaces_skipped "


@pytest.mark.parametrize("error", [RefusedError(403, "Forbidden", "no"), NotFoundError(404, "NotFound", "no")], ids=["403", "404"])
async def test_a_namespace_that_is_away_holds_up_no_other_and_is_taken_up_again(error: ApiError) -> None:
    swept = Swept()
    swept.job("a")
    swept.job("b")
    swept.fail("b", error)
    await swept.sweep.once()
    assert (swept.known(), swept.skipped(), len(swept.queue)) == ({"a"}, 1, 1)
    swept.board.trouble = lambda _: None
    await swept.sweep.once()
    assert (swept.known(), swept.skipped(), len(swept.queue)) == ({"a", "b"}, 0, 2)


async def test_jobs_of_a_namespace_that_goes_away_stay_known_and_are_not_looked_at_meanwhile() -> None:
    swept = Swept()
    swept.job("a")
    swept.job("b")
    await swept.sweep.once()
    while len(swept.queue):
        swept.queue.done(await swept.queue.get())
    swept.fail("b", RefusedError(403, "Forbidden", "no"))
    await swept.sweep.once()
    assert swept.known() == {"a", "b"}
    assert [await swept.queue.get(), len(swept.queue)] == [Key("a", "iris"), 0]


@pytest.mark.parametrize(
    ("namespaces", "error"),
    [
        (("a", "b"), UnavailableError(503, "ServiceUnavailable", "starting")),
        (("b",), RefusedError(403, "Forbidden", "no")),
        ((), NotFoundError(404, "NotFound", "the definition is not served")),
    ],
    ids=["a server in trouble", "the only namespace", "no definition"],
)
async def test_a_list_that_fails_for_everybody_is_a_failure_of_the_sweep(namespaces: tuple[str, ...], error: ApiError) -> None:
    swept = Swept(namespaces)
    swept.board.trouble = lambda path: error if namespaces in {(), ("b",)} or "/b/" in path else None
    with pytest.raises(ApiError):
        await swept.sweep.once()


async def test_a_definition_that_is_not_served_in_any_namespace_is_a_failure_and_not_a_list_of_nothing() -> None:
    swept = Swept()
    swept.board.trouble = lambda path: NotFoundError(404, "NotFound", "no such kind") if "tftrainingjobs" in path else None
    with pytest.raises(NotFoundError):
        await swept.sweep.once()


def told(*names: str) -> Any:
    return lambda watches: [watches.heard(f"uid-a-{name}") for name in names]


@pytest.mark.parametrize(
    ("between", "silent"),
    [(told(), True), (told("first"), False), (told("first", "second"), False)],
    ids=["the watch tells nothing", "it is late", "it tells all"],
)
async def test_a_watch_counts_as_silent_once_two_sweeps_found_what_it_had_not_told_of(between: Any, silent: bool) -> None:
    swept = Swept(["a"])
    swept.job("a", "first")
    await swept.sweep.once()
    assert not swept.watches.silent
    between(swept.watches)
    swept.job("a", "second")
    await swept.sweep.once()
    assert swept.watches.silent == silent
    told("first", "second")(swept.watches)
    assert not swept.watches.silent, "a watch that tells again has recovered"


async def test_after_a_jump_of_the_servers_time_all_is_in_doubt_until_a_sweep_that_began_after_it() -> None:
    swept = Swept(["a"])
    swept.clock.hear("Fri, 15 Jan 2027 08:00:00 GMT", 0.0, 0.0)
    swept.board.trouble = lambda _: swept.clock.hear("Fri, 15 Jan 2027 10:00:00 GMT", 0.0, 0.0)
    await swept.sweep.once()
    assert not swept.clock.steady, "what this sweep listed may be from before"
    running = asyncio.create_task(swept.sweep.run())
    async with asyncio.timeout(5):
        while not swept.clock.steady:  # noqa: ASYNC110 - happens elsewhere
            await asyncio.sleep(0)
    running.cancel()


async def test_a_doubt_that_comes_back_with_every_list_is_no_reason_to_list_without_pause() -> None:
    swept = Swept(["a"])
    hours = iter(range(8, 24))
    swept.board.trouble = lambda _: swept.clock.hear(f"Fri, 15 Jan 2027 {next(hours):02}:00:00 GMT", 0.0, 0.0)
    await swept.sweep.once()
    running = asyncio.create_task(swept.sweep.run())
    for _ in range(50):
        await asyncio.sleep(0)
    running.cancel()
    assert not swept.clock.steady
    assert len(swept.board.requests) == 4, "two sweeps of pods and jobs"


async def test_where_nothing_happens_a_sweep_finds_nothing_to_complain_of() -> None:
    swept = Swept(["a"])
    swept.job("a")
    for _ in range(3):
        await swept.sweep.once()
        assert not swept.watches.silent


async def test_a_watch_that_begins_with_a_list_is_followed_by_a_sweep_for_what_was_deleted_before_it() -> None:
    swept = Swept(["a"])
    await swept.sweep.once()
    assert not swept.watches.doubtful
    Informer(swept.store, swept.queue, swept.watches).pod(Pod().record(), deleted=False, listed=False)
    assert not swept.watches.doubtful, "what happens is told"
    Informer(swept.store, swept.queue, swept.watches).pod(Pod().record(), deleted=False, listed=True)
    assert swept.watches.doubtful
    await swept.sweep.once()
    assert not swept.watches.doubtful
