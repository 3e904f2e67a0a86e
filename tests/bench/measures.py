"""The measures of the operator, each beside its baseline in the same run."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import load
from api import Api
from load import JOB, KINDS, TFTJ
from subject import Subject

Say = Callable[[str], None]
_LATENCY_JOBS = 200
_LATENCY_SECONDS = 0.1
_BURST_JOBS = 300
_BURST_ROUNDS = 3
_LIVES = 1000
_IDLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Measure:
    """One row: our value and those of the baselines, and whether the target is met. `raw` is all that was seen."""

    number: str
    title: str
    unit: str
    ours: float
    target: str
    met: bool
    baselines: dict[str, float] = field(default_factory=dict)
    raw: dict[str, list[float]] = field(default_factory=dict)


@dataclass(slots=True)
class Bench:
    """What the measures share: a session with the API server, the operator, and a voice."""

    api: Api
    subject: Subject
    say: Say
    _count: int = 0

    @asynccontextmanager
    async def namespace(self) -> AsyncIterator[str]:
        """Give a namespace of its own to each part, emptied afterwards."""
        self._count += 1
        async with load.namespace(self.api, f"bench-{self._count}") as name:
            yield name

    async def latency(self) -> list[Measure]:
        """Measure B1: from create to the pod's existence, one job after another."""
        found: dict[str, list[float]] = {}
        for kind in KINDS:
            async with self.namespace() as place:
                await load.run(self.api, kind, place, 10, every=_LATENCY_SECONDS, first=_LATENCY_JOBS)
                times = await load.run(self.api, kind, place, _LATENCY_JOBS, every=_LATENCY_SECONDS)
            found[kind.title] = sorted(1000 * seconds for seconds in times.to_pod())
            self.say(f"create to pod, {kind.title}: p50 {statistics.median(found[kind.title]):.1f} ms")
        measures = []
        for share, limit in ((0.5, 20.0), (0.99, 250.0)):
            value = {title: values[min(len(values) - 1, int(share * len(values)))] for title, values in found.items()}
            measures.append(
                Measure(
                    "B1",
                    f"create to pod, p{100 * share:.0f} of {_LATENCY_JOBS}, idle operator",
                    "ms",
                    value[TFTJ.title],
                    f"≤ {limit:.0f}",
                    value[TFTJ.title] <= limit,
                    _others(value),
                    found if share == 0.5 else {},
                )
            )
        return measures

    async def burst(self) -> list[Measure]:
        """Measure B2: so many jobs at once, until all pods exist; kinds take turns, so that a change of the machine hits all."""
        rates: dict[str, list[float]] = {kind.title: [] for kind in KINDS}
        for turn in range(_BURST_ROUNDS):
            for kind in KINDS:
                async with self.namespace() as place:
                    times = await load.run(self.api, kind, place, _BURST_JOBS)
                rates[kind.title].append(times.rate(times.pod))
                self.say(f"burst {turn + 1} of {_BURST_ROUNDS}, {kind.title}: {rates[kind.title][-1]:.0f} pods/s")
        value = {title: statistics.median(values) for title, values in rates.items()}
        ours, theirs = value[TFTJ.title], value[JOB.title]
        return [
            Measure(
                "B2",
                f"burst of {_BURST_JOBS} jobs until all pods exist, median of {_BURST_ROUNDS}",
                "pods/s",
                ours,
                "≥ 40, and ≥ 0.5 of batch/v1",
                ours >= 40 and ours >= 0.5 * theirs,
                _others(value),
                rates,
            )
        ]

    async def lives(self) -> list[Measure]:
        """Measure B3 to B8: whole lives of many jobs, what they cost, what they leave behind, and a restart over them."""
        base = self.subject.memory()
        async with self.namespace() as place:
            theirs = await load.run(self.api, JOB, place, _LIVES, whole=True)
        self.say(f"{_LIVES} whole lives, {JOB.title}: {theirs.rate(theirs.finished):.0f} jobs/s")
        async with self.namespace() as place:
            _, line = self.subject.writes()
            before, begun = self.subject.requests(), self.subject.cpu_seconds()
            ours = await load.run(self.api, TFTJ, place, _LIVES, whole=True)
            self.say(f"{_LIVES} whole lives, {TFTJ.title}: {ours.rate(ours.finished):.0f} jobs/s")
            await self._quiet()
            writes, line = self.subject.writes(line)
            after = self.subject.requests()
            rate = {JOB.title: theirs.rate(theirs.finished), TFTJ.title: ours.rate(ours.finished)}
            status = {kind.title: _share(times.to_status(), 0.99) for kind, times in ((JOB, theirs), (TFTJ, ours))}
            per_job = len(writes) / _LIVES
            reads = (after.get("GET", 0) - before.get("GET", 0)) / _LIVES
            cpu = 1000 * (self.subject.cpu_seconds() - begun) / _LIVES
            slope = (self.subject.memory() - base) / _LIVES / 1000
            measures = [
                Measure(
                    "B3", f"{_LIVES} whole lives at once", "jobs/s", rate[TFTJ.title], "≥ 42.7", rate[TFTJ.title] >= 42.7, _others(rate)
                ),
                Measure(
                    "B4",
                    "pod's end to the job's status, p99 in B3",
                    "s",
                    status[TFTJ.title],
                    "≤ 1",
                    status[TFTJ.title] <= 1,
                    _others(status),
                    {"median": [statistics.median(times.to_status()) for times in (ours, theirs)]},
                ),
                Measure("B5", "writes per job, events included", "requests", per_job, "≤ 6", per_job <= 6),
                Measure("B5", "reads per job", "requests", reads, "≤ 0.1", reads <= 0.1),
                Measure("B5", "CPU time per job", "ms", cpu, "none", met=True),
                Measure("B6", "memory of the idle operator", "MB", base / 1e6, "≤ 105", base / 1e6 <= 105),
                Measure("B6", f"memory per finished job, after {_LIVES}", "kB", slope, "≤ 20", slope <= 20),
            ]
            measures += await self._idle(line)
            measures += await self._restart(place)
        return measures

    async def _idle(self, line: int) -> list[Measure]:
        begun = self.subject.cpu_seconds()
        await asyncio.sleep(_IDLE_SECONDS)
        cpu = 100 * (self.subject.cpu_seconds() - begun) / _IDLE_SECONDS
        written, _ = self.subject.writes(line)
        self.say(f"idle beside {_LIVES} finished jobs: {cpu:.2f} % of a core, {len(written)} writes")
        return [
            Measure("B8", f"idle beside {_LIVES} finished jobs, {_IDLE_SECONDS:.0f} s", "% of a core", cpu, "< 1", cpu < 1),
            Measure("B8", "writes meanwhile, but its Lease", "requests", len(written), "0", not written),
        ]

    async def _restart(self, place: str) -> list[Measure]:
        _, line = self.subject.writes()
        begun = time.monotonic()
        self.subject.kill()
        created = asyncio.create_task(load.run(self.api, TFTJ, place, 1, first=_LIVES))
        await asyncio.to_thread(self.subject.restart)
        await created
        seconds = time.monotonic() - begun
        await self._quiet()
        written = [what for what in self.subject.writes(line)[0] if "pods" not in what]
        self.say(f"kill and restart beside {_LIVES} finished jobs: {seconds:.1f} s to the first new pod")
        return [
            Measure("B7", f"killed beside {_LIVES} finished jobs: to the first new pod", "s", seconds, "≤ 15", seconds <= 15),
            Measure("B7", "writes to the finished ones meanwhile", "requests", len(written), "0", not written),
        ]

    async def _quiet(self) -> None:
        """Wait until the operator has written nothing for two seconds."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < 2:
            await asyncio.sleep(0.2)
            count = len(self.subject.writes()[0])
            if count != seen:
                seen, since = count, time.monotonic()


def _others(value: dict[str, float]) -> dict[str, float]:
    return {title: number for title, number in value.items() if title != TFTJ.title}


def _share(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
