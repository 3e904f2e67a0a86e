"""What is known of Kueue by this process: as its watch tells, as it is read when it is needed, and as its own writes were answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from tftraining_operator.core.records import JobRecord, Key, Queueing, Raw, WorkloadUpdate
from tftraining_operator.kube import paths
from tftraining_operator.kube.errors import ApiError, NotFoundError, RefusedError, UnavailableError
from tftraining_operator.runtime.breaker import AT_ONCE, PROBE_SECONDS, TOLERATED
from tftraining_operator.runtime.queues import BARRED_SECONDS, PATIENCE_SECONDS, Queues
from tftraining_operator.runtime.workqueue import WorkQueue

from .board import Board

KEY = Key("n", "iris")
JOB = JobRecord(KEY, "uid-iris", 1, 0.0, "1", {"scheduling": {"queue": "q"}}, {})
WORKLOADS = "/apis/kueue.x-k8s.io/v1beta2/namespaces/n/workloads"


def body(name: str = "iris-w", owner: str = "uid-iris") -> Raw:
    reference = {"kind": "TFTrainingJob", "name": "iris", "uid": owner, "controller": True}
    return {"metadata": {"name": name, "namespace": "n", "ownerReferences": [reference]}, "spec": {}}


@dataclass
class World:
    """A board with Kueue's objects, and what a process knows of them."""

    board: Board = field(default_factory=Board)
    now: float = 0.0

    def __post_init__(self) -> None:
        """Begin to know."""
        self.queue = WorkQueue(lambda: self.now, lambda: 1.0)
        self.queue.start()
        self.queues = Queues(self.board, self.queue, ["n"], lambda: self.now, lambda: 1_800_000_000.0, enabled=True)

    @property
    def known(self) -> Queueing:
        """What is known of the job's place."""
        found = self.queues.known(JOB)
        assert found is not None
        return found

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow what happens meanwhile, from a first list on."""
        task = asyncio.create_task(self.queues.run())
        try:
            for _ in range(50):
                await asyncio.sleep(0)
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_before_the_first_list_nothing_is_known_and_of_a_job_without_a_queue_never_anything() -> None:
    world = World()
    assert world.queues.known(JOB) is None
    async with world.following():
        assert world.known == Queueing()
        other = JobRecord(Key("n", "other"), "u", 1, 0.0, "1", {}, {})
        assert world.queues.known(other) is None


AWAY: dict[str, tuple[ApiError, str]] = {
    "no definition": (NotFoundError(404, "NotFound", "x"), "not installed"),
    "no right": (RefusedError(403, "Forbidden", "x"), "may not read"),
}


@pytest.mark.parametrize(("error", "words"), AWAY.values(), ids=AWAY)
async def test_that_workloads_cannot_be_had_is_known_and_brings_the_jobs_that_wait_for_them(error: ApiError, words: str) -> None:
    world = World()
    await world.queues.read(JOB)
    world.board.trouble = lambda _: error
    async with world.following():
        assert words in world.known.away
        assert await asyncio.wait_for(world.queue.get(), 1) == KEY


async def test_a_server_that_does_not_answer_changes_nothing_that_was_known() -> None:
    world = World()
    await world.board.create(WORKLOADS, body())
    async with world.following():
        assert len(world.known.workloads) == 1
    world.board.trouble = lambda _: UnavailableError(0, "x", "x")
    async with world.following():
        assert (world.known.away, len(world.known.workloads)) == ("", 1)


async def test_what_a_watch_tells_is_known_and_brings_the_job_once() -> None:
    world = World()
    created = await world.board.create(WORKLOADS, body())
    world.board.told = [("MODIFIED", created), ("DELETED", created), ("MODIFIED", created)]
    async with world.following():
        assert world.known.workloads == ()
        assert await asyncio.wait_for(world.queue.get(), 1) == KEY


async def test_what_a_list_does_not_have_any_more_is_gone() -> None:
    world = World()
    assert await world.queues.create(KEY, body()) is True
    async with world.following():
        assert len(world.known.workloads) == 1
        world.board.objects.clear()
    async with world.following():
        assert world.known.workloads == ()


async def test_a_workload_that_is_refused_is_not_asked_for_again_at_once_and_the_job_knows_why() -> None:
    world = World()
    async with world.following():
        world.board.trouble = lambda _: UnavailableError(500, "InternalError", "failed calling webhook")
        assert await world.queues.create(KEY, body()) is False
        assert (world.known.refusal, world.known.barred) == ("failed calling webhook", True)
        world.now = BARRED_SECONDS
        assert (world.known.refusal, world.known.barred) == ("failed calling webhook", False)
        world.board.trouble = lambda _: None
        assert await world.queues.create(KEY, body()) is True
        assert (world.known.refusal, len(world.known.workloads)) == ("", 1)


@pytest.mark.parametrize("owner", ["uid-iris", "somebody"])
async def test_one_of_its_name_that_is_there_already_is_looked_at_whoever_owns_it(owner: str) -> None:
    world = World()
    async with world.following():
        await world.board.create(WORKLOADS, body(owner=owner))
        assert await world.queues.create(KEY, body()) is False
        assert [each.owner_uid for each in world.known.workloads] == [owner]


async def test_one_that_has_lost_its_label_is_not_taken_for_gone_for_ever() -> None:
    world = World()
    created = await world.board.create(WORKLOADS, body())
    world.board.told = [("DELETED", created)]
    async with world.following():
        assert world.known.workloads == ()
        await world.queues.create(KEY, body())
        [known] = world.known.workloads
        await world.queues.update(KEY, WorkloadUpdate(known.name, known.uid, {"Finished": (True, "Failed", "")}))
        assert world.known.workloads[0].holds("Finished")


async def test_those_who_need_flavors_in_the_same_moment_get_one_answer() -> None:
    world = World()
    async with world.following():
        await asyncio.gather(*(world.queues.read(JOB) for _ in range(5)))
        assert world.known.priorities == {}
        assert world.board.requests.count(("list", paths.collection(paths.FLAVORS))) == 1


async def test_flavors_and_priorities_are_read_when_a_job_needs_them_and_not_at_each_look() -> None:
    world = World()
    spec = {"nodeLabels": {"pool": "a"}}
    await world.board.create(paths.collection(paths.FLAVORS), {"metadata": {"name": "a"}, "spec": spec})
    await world.board.create(paths.collection(paths.PRIORITIES), {"metadata": {"name": "high"}, "value": 7, "globalDefault": True})
    async with world.following():
        for _ in range(5):
            await world.queues.read(JOB)
        assert world.known.flavors["a"].node_selector == {"pool": "a"}
        assert world.known.priorities == {"high": 7, "": 7}
        assert world.board.requests.count(("list", paths.collection(paths.FLAVORS))) == 1


async def test_that_they_may_not_be_read_is_known() -> None:
    world = World()
    async with world.following():
        world.board.trouble = lambda _: RefusedError(403, "Forbidden", "may not list priorityclasses")
        await world.queues.read(JOB)
        assert (world.known.refusal, world.known.priorities) == ("may not list priorityclasses", None)


async def test_conditions_are_written_to_the_very_workload_that_was_decided_about() -> None:
    world = World()
    async with world.following():
        await world.queues.create(KEY, body())
        [known] = world.known.workloads
        await world.queues.update(KEY, WorkloadUpdate(known.name, "another", {"Finished": (True, "Failed", "")}))
        assert world.known.workloads == (known,)
        await world.queues.update(KEY, WorkloadUpdate(known.name, known.uid, {"Finished": (True, "Failed", "")}))
        assert world.known.workloads[0].holds("Finished")
        stored: Any = world.board.objects[f"{WORKLOADS}/{known.name}"]
        assert [each["type"] for each in stored["status"]["conditions"]] == ["Finished"]
        await world.queues.update(KEY, WorkloadUpdate(known.name, known.uid, delete=True))
        assert (world.known.workloads, world.board.objects) == ((), {})


async def test_flavors_that_a_server_is_slow_to_list_keep_nobody_longer_than_a_moment_and_are_asked_for_once() -> None:
    world = World()
    async with world.following():
        world.board.silent = True
        first = asyncio.create_task(world.queues.read(JOB))
        await asyncio.sleep(0)
        world.now = PATIENCE_SECONDS
        async with asyncio.timeout(1):
            for _ in range(10):
                await world.queues.read(JOB)
            world.now = 10 * BARRED_SECONDS
            await world.queues.read(JOB)
        assert world.board.requests.count(("list", paths.collection(paths.FLAVORS))) == 1
        first.cancel()


async def test_a_list_that_has_failed_after_a_while_is_not_asked_for_again_at_once() -> None:
    world = World()

    def late(_: str) -> ApiError:
        world.now += 30.0
        return UnavailableError(0, "TimeoutError", "no answer")

    async with world.following():
        world.board.trouble = late
        for _ in range(5):
            await world.queues.read(JOB)
        assert world.board.requests.count(("list", paths.collection(paths.FLAVORS))) == 1


def posts(world: World) -> int:
    return world.board.requests.count(("create", WORKLOADS))


async def test_a_webhook_that_hangs_holds_few_requests_and_whoever_comes_then_is_put_off() -> None:
    world = World()
    async with world.following():
        world.board.silent = True
        held = [asyncio.create_task(world.queues.create(Key("n", f"held-{each}"), body(f"held-{each}"))) for each in range(AT_ONCE)]
        await asyncio.sleep(0)
        world.now = 1.0
        async with asyncio.timeout(1):
            assert [await world.queues.create(Key("n", f"job-{each}"), body(f"job-{each}")) for each in range(20)] == [False] * 20
            with pytest.raises(UnavailableError):
                await world.queues.update(KEY, WorkloadUpdate("a", "u", delete=True))
        assert (posts(world), world.known.refusal) == (AT_ONCE, "")
        for each in held:
            each.cancel()


async def test_of_a_webhook_that_fails_one_job_finds_out_when_it_answers_again_and_then_all_are_brought_back() -> None:
    world = World()
    async with world.following():
        await world.queues.read(JOB)
        world.board.trouble = lambda path: UnavailableError(500, "InternalError", "failed calling webhook") if path == WORKLOADS else None
        for each in range(3 * TOLERATED):
            await world.queues.create(Key("n", f"job-{each}"), body(f"job-{each}"))
        assert posts(world) == TOLERATED
        assert (world.known.refusal, world.known.barred) == ("failed calling webhook", True), "also for those that have not asked"
        world.now = PROBE_SECONDS
        assert world.known.barred is False
        for each in range(5):
            await world.queues.create(Key("n", f"job-{each}"), body(f"job-{each}"))
        assert posts(world) == TOLERATED + 1
        world.now += PROBE_SECONDS - 1
        assert await world.queues.create(KEY, body()) is False
        world.now += 1
        world.board.trouble = lambda _: None
        assert await world.queues.create(Key("n", "job-0"), body("job-0")) is True
        assert (world.known.refusal, world.known.barred) == ("", False)
        assert await asyncio.wait_for(world.queue.get(), 1) == KEY


async def test_what_kueue_refuses_of_one_job_is_no_failure_of_kueue() -> None:
    world = World()
    async with world.following():
        world.board.trouble = lambda path: RefusedError(403, "Forbidden", "denied") if path == WORKLOADS else None
        for each in range(2 * TOLERATED):
            await world.queues.create(Key("n", f"job-{each}"), body(f"job-{each}"))
        assert (posts(world), world.known.refusal) == (2 * TOLERATED, "")


async def test_while_the_probe_of_a_webhook_that_fails_has_no_answer_nobody_else_asks() -> None:
    world = World()
    async with world.following():
        await world.queues.read(JOB)
        world.board.trouble = lambda path: UnavailableError(500, "InternalError", "failed calling webhook") if path == WORKLOADS else None
        for each in range(TOLERATED):
            await world.queues.create(Key("n", f"job-{each}"), body(f"job-{each}"))
        world.now, world.board.silent = PROBE_SECONDS, True
        probe = asyncio.create_task(world.queues.create(Key("n", "job-0"), body("job-0")))
        await asyncio.sleep(0)
        assert world.known.barred is True
        assert await world.queues.create(KEY, body()) is False
        assert posts(world) == TOLERATED + 1
        probe.cancel()
