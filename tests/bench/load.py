"""The load: jobs of one kind, created at a pace or in a burst, timed by watches of this process, which is neither operator nor server."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from api import Api, Object
from bodies import GROUP, bare_group, bare_pod, batch_job, indexed_job, training_group, training_job
from played_kubelet import ended, running

_IN_FLIGHT = 16
_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Kind:
    """What is created: `make` gives the objects for a name, of which `pods` pods come; `finished` tells whether one has ended."""

    title: str
    path: str
    make: Callable[[str], list[Object]]
    finished: Callable[[Object], bool]
    pods: int = 1


def _condition(*types: str) -> Callable[[Object], bool]:
    def holds(item: Object) -> bool:
        found = item.get("status", {}).get("conditions", [])
        return any(condition["type"] in types and condition["status"] == "True" for condition in found)

    return holds


def _succeeded(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Succeeded")


_JOBS = "/apis/batch/v1/namespaces/{}/jobs"
_TRAINING_JOBS = "/apis/tftraining.dev/v1alpha1/namespaces/{}/tftrainingjobs"
_COMPLETE, _FINISHED = _condition("Complete"), _condition("Finished")
BARE = Kind("bare POST of the same pod", "/api/v1/namespaces/{}/pods", lambda name: [bare_pod(name)], _succeeded)
JOB = Kind("batch/v1 Job", _JOBS, lambda name: [batch_job(name)], _COMPLETE)
TFTJ = Kind("TFTrainingJob", _TRAINING_JOBS, lambda name: [training_job(name)], _FINISHED)
KINDS = (BARE, JOB, TFTJ)
BARE_GROUP = Kind("bare POSTs of the same pods", BARE.path, bare_group, _succeeded, GROUP)
INDEXED = Kind("Indexed Job", _JOBS, lambda name: [indexed_job(name)], _COMPLETE, GROUP)
TFTJ_GROUP = Kind(TFTJ.title, _TRAINING_JOBS, lambda name: [training_group(name)], _FINISHED, GROUP)
GROUPS = (BARE_GROUP, INDEXED, TFTJ_GROUP)


@dataclass(slots=True)
class Times:
    """Monotonic seconds at which each job was created, had its pods, had all ended, and was itself finished: all but the first as seen."""

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


async def finished(api: Api, place: str, model: str, count: int) -> None:
    """Create so many jobs that have ended as the job `model` of that namespace has, while no operator runs."""
    gate, path = asyncio.Semaphore(_IN_FLIGHT), TFTJ.path.format(place)
    status = (await api.get(f"{path}/{model}"))["status"]

    async def one(index: int) -> None:
        async with gate:
            await api.create(path, training_job(f"ended-{index}"))
            await api.merge(f"{path}/ended-{index}/status", {"status": status})

    await asyncio.gather(*(one(index) for index in range(count)))


async def run(api: Api, kind: Kind, place: str, count: int, *, every: float | None = None, whole: bool = False, first: int = 0) -> Times:
    """Create `count` jobs, as fast as 16 creators can or one each `every` seconds once the pod before it exists, and wait for all pods.

    With `whole`, each pod also runs and ends at once, as a kubelet would report it, and the end of all jobs is waited for.
    """
    times = Times()
    watching = asyncio.Event()
    tasks = [asyncio.create_task(_watch_pods(api, place, times, watching, each=kind.pods, whole=whole))]
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
            await asyncio.gather(*(api.create(kind.path.format(place), made) for made in kind.make(name)))

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


async def _watch_pods(api: Api, place: str, times: Times, watching: asyncio.Event, *, each: int, whole: bool) -> None:
    """Note when `each` pods of a job have appeared and, for whole lives, play the kubelet."""
    gate = asyncio.Semaphore(_IN_FLIGHT)
    seen, over = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)

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
                continue
            job, name = owner(pod), pod["metadata"]["name"]
            if event == "MODIFIED" and _succeeded(pod):
                over[job].add(name)
                if len(over[job]) == each:
                    times.ended.setdefault(job, time.monotonic())
            if event == "ADDED" and watching.is_set() and name not in seen[job]:
                seen[job].add(name)
                if len(seen[job]) == each:
                    times.pod[job] = time.monotonic()
                if whole:
                    players.create_task(play(pod))
