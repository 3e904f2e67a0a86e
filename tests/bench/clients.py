"""What a request costs the operator: its own client beside the official one, against the same server with the same pod."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bodies import bare_pod
from kubernetes.aio.client import ApiClient, CoreV1Api
from measures import Bench, Measure
from tftraining_operator.kube import paths
from tftraining_operator.kube.client import KubeClient
from tftraining_operator.kube.kubeconfig import Kubeconfig

_ROUNDS = 3
_REQUESTS = 150
_OURS = "kube/client.py"
_OFFICIAL = "the official client"


async def measure(bench: Bench) -> list[Measure]:
    """Create pods one after another with either client, in turns, and compare CPU time and duration of the requests."""
    credentials = Kubeconfig(bench.subject.plane.kubeconfig)
    await credentials.renew()
    cpu: dict[str, list[float]] = {_OURS: [], _OFFICIAL: []}
    took: dict[str, list[float]] = {_OURS: [], _OFFICIAL: []}
    client, official = KubeClient(credentials, "bench"), ApiClient(credentials.configuration)
    core = CoreV1Api(official)
    try:
        async with bench.namespace() as place:

            async def ours(name: str) -> None:
                await client.create(paths.collection(paths.PODS, place), bare_pod(name))

            async def theirs(name: str) -> None:
                pod: Any = bare_pod(name)
                await core.create_namespaced_pod(place, pod)

            for turn in range(_ROUNDS):
                for title, create in ((_OURS, ours), (_OFFICIAL, theirs)):
                    cpu[title].append(await _cost(create, f"pod-{turn}-{len(title)}", took[title]))
    finally:
        await client.close()
        await official.close()  # type: ignore[no-untyped-call]
    median = {title: statistics.median(values) for title, values in cpu.items()}
    wait = {title: statistics.median(values) for title, values in took.items()}
    bench.say(f"a request's CPU time, {_OURS}: {median[_OURS]:.1f} ms, {_OFFICIAL}: {median[_OFFICIAL]:.1f} ms")
    return [
        Measure(
            "C1",
            f"CPU time of creating a pod, median of {_ROUNDS}",
            "ms",
            median[_OURS],
            "≤ 0.5 of the official client",
            median[_OURS] <= 0.5 * median[_OFFICIAL],
            {_OFFICIAL: median[_OFFICIAL]},
            cpu,
        ),
        Measure(
            "C1",
            f"creating a pod, p50 of {_ROUNDS * _REQUESTS}",
            "ms",
            wait[_OURS],
            "≤ the official client",
            wait[_OURS] <= wait[_OFFICIAL],
            {_OFFICIAL: wait[_OFFICIAL]},
            {title: sorted(values) for title, values in took.items()},
        ),
    ]


async def _cost(create: Callable[[str], Awaitable[None]], prefix: str, took: list[float]) -> float:
    """Return the milliseconds of CPU time that one request took, and add how long each lasted."""
    begun = _cpu_seconds()
    for index in range(_REQUESTS):
        asked = time.monotonic()
        await create(f"{prefix}-{index}")
        took.append(1000 * (time.monotonic() - asked))
    return 1000 * (_cpu_seconds() - begun) / _REQUESTS


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
