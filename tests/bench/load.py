"""The load: jobs of one kind, created one by one or in a burst, timed by a separate watch on pods."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from api import Api, Object
from played_kubelet import ended, running

POD_SPEC: Object = {
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": 0,
    "containers": [{"name": "main", "image": "bench", "command": ["true"], "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}],
}


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


def _named(api: str, kind: str, spec: Object) -> Callable[[str], Object]:
    return lambda name: {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}


KINDS = {
    "bare": Kind(
        "bare POST of the pod",
        "/api/v1/namespaces/{}/pods",
        _named("v1", "Pod", POD_SPEC),
        lambda pod: pod.get("status", {}).get("phase") == "Succeeded",
    ),
    "job": Kind(
        "batch/v1 Job",
        "/apis/batch/v1/namespaces/{}/jobs",
        _named("batch/v1", "Job", {"template": {"spec": POD_SPEC}}),
        _condition("Complete"),
    ),
    "tftj": Kind(
        "TFTrainingJob",
        "/apis/tftraining.dev/v1alpha1/namespaces/{}/tftrainingjobs",
        _named("tftraining.dev/v1alpha1", "TFTrainingJob", {"runtime": "tf1", "script": {"uri": "${bucket}/train.py"}}),
        _condition("Finished"),
    ),
}


@dataclass(slots=True)
class Times:
    """Monotonic seconds at which each job of a run was created, had its pod, had it finished, and was seen as finished."""

    created: dict[str, float] = field(default_factory=dict)
    pod: dict[str, float] = field(default_factory=dict)
    done: dict[str, float] = field(default_factory=dict)
    finished: dict[str, float] = field(default_factory=dict)
    complete: asyncio.Event = field(default_factory=asyncio.Event)


def owner(pod: Object) -> str:
    """Return the name of the job that a pod belongs to: its controller's, or its own."""
    references = pod["metadata"].get("ownerReferences", [])
    return str(references[0]["name"] if references else pod["metadata"]["name"])


async def run(api: Api, kind: Kind, namespace: str, count: int, *, every: float | None, in_flight: int = 16) -> Times:
    """Create `count` jobs, one each `every` seconds or, with None, as fast as `in_flight` creators can, and wait for all their ends."""
    times = Times()
    watches = [
        asyncio.create_task(_watch_pods(api, namespace, times)),
        asyncio.create_task(_watch_jobs(api, kind, namespace, times, count)),
    ]
    await asyncio.sleep(0.5)  # not for synchronisation: keeps the watches' start out of the first figure
    try:
        await _create(api, kind, namespace, count, times, every, in_flight)
        async with asyncio.timeout(240):
            await times.complete.wait()
    finally:
        for watch in watches:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
    return times


async def _create(api: Api, kind: Kind, namespace: str, count: int, times: Times, every: float | None, in_flight: int) -> None:
    gate = asyncio.Semaphore(in_flight)

    async def one(index: int) -> None:
        name = f"job-{index}"
        async with gate:
            times.created[name] = time.monotonic()
            await api.create(kind.path.format(namespace), kind.make(name))

    if every is None:
        await asyncio.gather(*(one(index) for index in range(count)))
        return
    for index in range(count):
        await asyncio.gather(one(index), asyncio.sleep(every))


async def _watch_jobs(api: Api, kind: Kind, namespace: str, times: Times, count: int) -> None:
    async for event, item in api.watch(kind.path.format(namespace)):
        if event != "BOOKMARK" and kind.finished(item):
            times.finished.setdefault(item["metadata"]["name"], time.monotonic())
            if len(times.finished) == count:
                times.complete.set()


async def _watch_pods(api: Api, namespace: str, times: Times) -> None:
    """Note when pods appear, and play the kubelet: each pod runs, and ends, as soon as it is there."""
    writers: set[asyncio.Task[None]] = set()
    gate = asyncio.Semaphore(16)

    async def play(pod: Object) -> None:
        async with gate:
            path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/status"
            await api.merge(path, {"status": running(pod)})
            await api.merge(path, {"status": ended(pod)})
            times.done[owner(pod)] = time.monotonic()

    async for event, pod in api.watch(f"/api/v1/namespaces/{namespace}/pods"):
        if event == "ADDED" and owner(pod) not in times.pod:
            times.pod[owner(pod)] = time.monotonic()
            writer = asyncio.create_task(play(pod))
            writers.add(writer)
            writer.add_done_callback(writers.discard)
