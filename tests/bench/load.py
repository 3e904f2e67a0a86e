"""The load: jobs of one kind, created at a pace or in a burst, timed by watches of this process, which is neither operator nor server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from api import Api, Object
from bodies import bare_pod, batch_job, training_job
from played_kubelet import ended, running

_IN_FLIGHT = 16
_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Kind:
    """What is created: `make` gives the object for a name, `finished` tells whether one has ended."""

    title: str
    path: str
    make: Callable[[str], Object]
    finished: Callable[[Object], bool]


def _condition(*types: str) -> Callable[[Object], bool]:
    def holds(item: Object) -> bool:
        found = item.get("status", {}).get("conditions", [])
        return any(condition["type"] in types and condition["status"] == "True" for condition in found)

    return holds


BARE = Kind(
    "bare POST of the same pod",
    "/api/v1/namespaces/{}/pods",
    bare_pod,
    lambda pod: pod.get("status", {}).get("phase") == "Succeeded",
)
JOB = Kind(
    "batch/v1 Job",
    "/apis/batch/v1/namespaces/{}/jobs",
    batch_job,
    _condition("Complete"),
)
TFTJ = Kind(
    "TFTrainingJob",
    "/apis/tftraining.dev/v1alpha1/namespaces/{}/tftrainingjobs",
    training_job,
    _condition("Finished"),
)
KINDS = (BARE, JOB, TFTJ)


@dataclass(slots=True)
class Times:
    """Monotonic seconds at which each job was created, had its pod, had it ended, and was itself finished: all but the first as seen."""

    created: dict[str, float] = field(default_factory=dict)
    pod: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    finished: dict[str, float] = field(default_factory=dict)

    def to_pod(self) -> list[float]:
        """Return the seconds from each creation's begin to its pod."""
        return [self.pod[name] - at for name, at in self.created.items()]

    def to_status(self) -> list[float]:
        """Return the seconds from each pod's end to its job's."""
        return [self.finished[name] - at for name, at in self.ended.items()]

    def rate(self, ends: dict[str, float]) -> float:
        """Return jobs per second from the first creation to the last of `ends`."""
        return len(ends) / (max(ends.values()) - min(self.created.values()))


def owner(pod: Object) -> str:
    """Return the name of the job that a pod belongs to: its controller's, or its own."""
    references = pod["metadata"].get("ownerReferences", [])
    return str(references[0]["name"] if references else pod["metadata"]["name"])


@asynccontextmanager
async def namespace(api: Api, name: str, *, emptied: bool = True) -> AsyncIterator[str]:
    """Give a namespace and, if asked to, leave nothing in it after an orderly end; otherwise it goes with the control plane."""
    await api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    if emptied:
        await _empty(api, name)


async def _empty(api: Api, name: str) -> None:
    for kind in (TFTJ, JOB, BARE):
        await api.clear(kind.path.format(name))
    async with asyncio.timeout(_SECONDS):
        while await api.names(BARE.path.format(name)) or await api.names(TFTJ.path.format(name)):  # noqa: ASYNC110 - happens elsewhere
            await asyncio.sleep(0.2)


async def run(api: Api, kind: Kind, place: str, count: int, *, every: float | None = None, whole: bool = False, first: int = 0) -> Times:
    """Create `count` jobs, as fast as 16 creators can or one each `every` seconds once the pod before it exists, and wait for all pods.

    With `whole`, each pod also runs and ends at once, as a kubelet would report it, and the end of all jobs is waited for.
    """
    times = Times()
    watching = asyncio.Event()
    tasks = [asyncio.create_task(_watch_pods(api, place, times, watching, whole=whole))]
    if whole:
        tasks.append(asyncio.create_task(_watch_jobs(api, kind, place, times)))
    try:
        async with asyncio.timeout(_SECONDS):
            await watching.wait()
            await _create(api, kind, place, range(first, first + count), times, every)
            wanted = times.created.keys()
            while not (wanted <= times.pod.keys() and (not whole or wanted <= times.finished.keys())):
                for task in tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.01)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    return times


async def _create(api: Api, kind: Kind, place: str, indices: range, times: Times, every: float | None) -> None:
    gate = asyncio.Semaphore(_IN_FLIGHT)

    async def one(index: int) -> None:
        name = f"job-{index}"
        async with gate:
            times.created[name] = time.monotonic()
            await api.create(kind.path.format(place), kind.make(name))

    if every is None:
        await asyncio.gather(*(one(index) for index in indices))
        return
    for index in indices:
        await asyncio.gather(one(index), asyncio.sleep(every))
        while f"job-{index}" not in times.pod:  # noqa: ASYNC110 - happens elsewhere
            await asyncio.sleep(0.005)


async def _watch_jobs(api: Api, kind: Kind, place: str, times: Times) -> None:
    async for event, item in api.watch(kind.path.format(place)):
        if event != "BOOKMARK" and kind.finished(item):
            times.finished.setdefault(item["metadata"]["name"], time.monotonic())


async def _watch_pods(api: Api, place: str, times: Times, watching: asyncio.Event, *, whole: bool) -> None:
    """Note when pods appear and, for whole lives, play the kubelet."""
    gate = asyncio.Semaphore(_IN_FLIGHT)

    async def play(pod: Object) -> None:
        async with gate:
            path = f"{BARE.path.format(place)}/{pod['metadata']['name']}/status"
            await api.merge(path, {"status": running(pod)})
            await api.merge(path, {"status": ended(pod)})

    async with asyncio.TaskGroup() as players:
        async for event, pod in api.watch(BARE.path.format(place)):
            # The bookmark says that all that was there before has been shown.
            if event == "BOOKMARK":
                watching.set()
            if event == "MODIFIED" and pod["status"]["phase"] == "Succeeded":
                times.ended.setdefault(owner(pod), time.monotonic())
            if event == "ADDED" and watching.is_set() and owner(pod) not in times.pod:
                times.pod[owner(pod)] = time.monotonic()
                if whole:
                    players.create_task(play(pod))
