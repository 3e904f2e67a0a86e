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
from bodies import GROUP
from load import BARE, BARE_GROUP, GROUPS, INDEXED, JOB, KINDS, TFTJ, TFTJ_GROUP, Kind
from subject import CONTROLLERS, OPERATOR, Subject, children_cpu_seconds

Say = Callable[[str], None]
NO_TARGET = "none"
_LATENCY_ROUNDS = 4
_LATENCY_JOBS = 50
_LATENCY_SECONDS = 0.1
_BURST_JOBS = 300
_BURST_ROUNDS = 3
_GROUP_ROUNDS = 3
_GROUP_JOBS = 20
_GROUP_LIVES = 100
_CROWD = 1000
_FEW = 20
_OF_THE_CROWD = "theirs, created meanwhile"
_FINISHED = 10_000
_BESIDE = 300
_LIVES_ROUNDS = 2
_LIVES = 500
_IDLE_SECONDS = 20.0
_SETTLE_SECONDS = 3.0


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
class _Lives:
    """What some rounds of whole lives of one kind came to: jobs/s of each, seconds of each job, and requests and time in all."""

    rates: list[float] = field(default_factory=list)
    to_status: list[float] = field(default_factory=list)
    writes: int = 0
    reads: int = 0
    looks: int = 0
    cpu_seconds: float = 0.0
    all_cpu_seconds: float = 0.0


@dataclass(slots=True)
class Bench:
    """What the measures share: a session with the API server, the operator, and a voice."""

    api: Api
    subject: Subject
    say: Say
    fresh: int
    """Resident bytes of the operator after its start, with nothing to do."""
    _count: int = 0

    @asynccontextmanager
    async def namespace(self, *, emptied: bool = True) -> AsyncIterator[str]:
        """Give a namespace of its own to each part; one that is not emptied afterwards goes with the control plane."""
        self._count += 1
        async with load.namespace(self.api, f"bench-{self._count}", emptied=emptied) as name:
            yield name

    async def latency(self) -> list[Measure]:
        """Measure B1 and B4 at rest: one job after another, kinds take turns, so that a change of the machine hits all."""
        pods: dict[str, list[float]] = {kind.title: [] for kind in KINDS}
        ends: dict[str, list[float]] = {kind.title: [] for kind in (JOB, TFTJ)}
        for turn in range(_LATENCY_ROUNDS):
            for kind in KINDS:
                async with self.namespace() as place:
                    times = await load.run(self.api, kind, place, _LATENCY_JOBS, every=_LATENCY_SECONDS, whole=True)
                pods[kind.title] += [1000 * seconds for seconds in times.to_pod()]
                if kind is not BARE:
                    ends[kind.title] += [1000 * seconds for seconds in times.to_status()]
                median = statistics.median(pods[kind.title][-_LATENCY_JOBS:])
                self.say(f"create to pod {turn + 1} of {_LATENCY_ROUNDS}, {kind.title}: p50 {median:.1f} ms")
        count = _LATENCY_ROUNDS * _LATENCY_JOBS
        return [
            _quantile("B1", f"create to pod, p50 of {count}, one after another", pods, 0.5, 20.0),
            _quantile("B1", f"create to pod, p99 of {count}", pods, 0.99, 250.0),
            _quantile("B4", f"pod's end to the job's status, p50 of {count}, one after another", ends, 0.5, 8.0),
            _quantile("B4", f"pod's end to the job's status, p99 of {count}", ends, 0.99, 1000.0),
        ]

    async def burst(self) -> list[Measure]:
        """Measure B2: so many jobs at once, until all pods exist; kinds take turns, so that a change of the machine hits all."""
        rates: dict[str, list[float]] = {kind.title: [] for kind in KINDS}
        for turn in range(_BURST_ROUNDS):
            # Each kind comes first, second and third: what the server still does for one falls on all in turn.
            for kind in (*KINDS[turn % 3 :], *KINDS[: turn % 3]):
                async with self.namespace() as place:
                    times = await load.run(self.api, kind, place, _BURST_JOBS)
                rates[kind.title].append(times.rate(times.pod))
                self.say(f"burst {turn + 1} of {_BURST_ROUNDS}, {kind.title}: {rates[kind.title][-1]:.0f} pods/s")
        value = {title: statistics.median(values) for title, values in rates.items()}
        ours, bare = value[TFTJ.title], value[BARE.title]
        return [
            Measure(
                "B2",
                f"burst of {_BURST_JOBS} jobs until all pods exist, median of {_BURST_ROUNDS}",
                "pods/s",
                ours,
                "≥ 0.7 of the bare POSTs",
                ours >= 0.7 * bare,
                _others(value),
                rates,
            )
        ]

    async def fairness(self) -> list[Measure]:
        """Measure B14: jobs of one namespace, one after another, while another namespace's are created as fast as they can be."""
        async with self.namespace() as crowded, self.namespace() as place:
            crowd = asyncio.create_task(load.run(self.api, TFTJ, crowded, _CROWD))
            while not await self.api.names(load.BARE.path.format(crowded)):  # noqa: ASYNC110 - happens elsewhere
                await asyncio.sleep(0.05)
            times = await load.run(self.api, TFTJ, place, _FEW, every=_LATENCY_SECONDS)
            found = await crowd
        # Those that were created meanwhile waited for the same workers.
        begin, end = min(times.created.values()), max(times.pod.values())
        theirs = [found.pod[name] - created for name, created in found.created.items() if begin <= created <= end]
        ours = {TFTJ.title: [1000 * seconds for seconds in times.to_pod()], _OF_THE_CROWD: [1000 * seconds for seconds in theirs]}
        value = {title: statistics.median(values) for title, values in ours.items()}
        few, crowd_ms = value[TFTJ.title], value[_OF_THE_CROWD]
        self.say(f"beside {_CROWD} jobs of another namespace: p50 {few:.0f} ms, of the crowd {crowd_ms:.0f} ms")
        title = f"create to pod, p50 of {_FEW}, while another namespace creates {_CROWD}"
        return [Measure("B14", title, "ms", few, "≤ 0.5 of theirs", few <= 0.5 * crowd_ms, {_OF_THE_CROWD: crowd_ms}, ours)]

    async def groups(self) -> list[Measure]:
        """Measure B15: jobs of several pods, one after another until all its pods exist, and whole lives of many at once."""
        pods: dict[str, list[float]] = {kind.title: [] for kind in GROUPS}
        for turn in range(_GROUP_ROUNDS):
            for kind in GROUPS:
                async with self.namespace() as place:
                    times = await load.run(self.api, kind, place, _GROUP_JOBS, every=_LATENCY_SECONDS)
                pods[kind.title] += [1000 * seconds for seconds in times.to_pod()]
                median = statistics.median(pods[kind.title][-_GROUP_JOBS:])
                self.say(f"create to {GROUP} pods {turn + 1} of {_GROUP_ROUNDS}, {kind.title}: p50 {median:.1f} ms")
        ours, theirs = _Lives(), _Lives()
        for turn in range(_LIVES_ROUNDS):
            for lives, kind in ((theirs, INDEXED), (ours, TFTJ_GROUP))[:: -1 if turn % 2 else 1]:
                async with self.namespace() as place:
                    await self._live(kind, place, lives, _GROUP_LIVES)
                self.say(
                    f"{_GROUP_LIVES} whole lives of {GROUP} pods {turn + 1} of {_LIVES_ROUNDS}, {kind.title}: {lives.rates[-1]:.1f} jobs/s"
                )
        value = {title: statistics.median(values) for title, values in pods.items()}
        until, bare = value[TFTJ.title], value[BARE_GROUP.title]
        rate, other, count = statistics.median(ours.rates), statistics.median(theirs.rates), _LIVES_ROUNDS * _GROUP_LIVES
        return [
            Measure(
                "B15",
                f"create to {GROUP} pods, p50 of {_GROUP_ROUNDS * _GROUP_JOBS}, one job after another",
                "ms",
                until,
                "≤ 1.5 of the bare POSTs, all at once",
                until <= 1.5 * bare,
                _others(value),
                {title: sorted(values) for title, values in pods.items()},
            ),
            Measure(
                "B15",
                f"{_GROUP_LIVES} whole lives of {GROUP} pods at once, median of {_LIVES_ROUNDS}",
                "jobs/s",
                rate,
                "≥ 1.5 of the Indexed Job",
                rate >= 1.5 * other,
                {INDEXED.title: other},
                {TFTJ.title: ours.rates, INDEXED.title: theirs.rates},
            ),
            Measure(
                "B15",
                f"writes per job of {GROUP} pods, events included",
                "requests",
                ours.writes / count,
                f"≤ {GROUP + 3}",
                ours.writes <= (GROUP + 3) * count,
                {INDEXED.title: theirs.writes / count},
            ),
        ]

    async def lives(self) -> list[Measure]:
        """Measure B3 to B8: whole lives of many jobs, what they cost, what they leave behind, and a restart over them."""
        base, started = self.subject.memory(), list[int]()
        count = _LIVES_ROUNDS * _LIVES
        ours, theirs = _Lives(), _Lives()
        for turn in range(_LIVES_ROUNDS):
            for lives, kind in ((theirs, JOB), (ours, TFTJ))[:: -1 if turn % 2 else 1]:
                # The baseline's objects go before the next begins, ours stay: the rest is measured beside them.
                async with self.namespace(emptied=kind is JOB) as place:
                    await self._live(kind, place, lives, _LIVES)
                self.say(f"{_LIVES} whole lives {turn + 1} of {_LIVES_ROUNDS}, {kind.title}: {lives.rates[-1]:.0f} jobs/s")
            self.subject.restart()
            await asyncio.sleep(_SETTLE_SECONDS)
            started.append(self.subject.memory())
        # What a start and its lists take is in all of them.
        slope = (started[-1] - started[0]) / (count - _LIVES) / 1000
        rate, other, status = statistics.median(ours.rates), statistics.median(theirs.rates), _share(ours.to_status, 0.99)
        measures = [
            Measure(
                "B3",
                f"{_LIVES} whole lives at once, median of {_LIVES_ROUNDS}",
                "jobs/s",
                rate,
                "≥ 2 x batch/v1",
                rate >= 2 * other,
                {JOB.title: other},
                {TFTJ.title: ours.rates, JOB.title: theirs.rates},
            ),
            Measure(
                "B4",
                "pod's end to the job's status, p99 in B3",
                "s",
                status,
                "≤ 0.8",
                status <= 0.8,
                {JOB.title: _share(theirs.to_status, 0.99)},
            ),
            Measure(
                "B5",
                "writes per job, events included",
                "requests",
                ours.writes / count,
                "≤ 3.5",
                ours.writes <= 3.5 * count,
                {JOB.title: theirs.writes / count},
            ),
            Measure("B5", "reads per job", "requests", ours.reads / count, "≤ 0.1", ours.reads <= 0.1 * count),
            Measure("B5", "looks per job", "looks", ours.looks / count, "≤ 3", ours.looks <= 3 * count),
            Measure(
                "B5", "the operator's own CPU time per job", "ms", 1000 * ours.cpu_seconds / count, "≤ 5", ours.cpu_seconds <= 0.005 * count
            ),
            Measure(
                "B5",
                "CPU time of server, etcd and operator per job",
                "ms",
                1000 * ours.all_cpu_seconds / count,
                "≤ batch/v1",
                ours.all_cpu_seconds <= theirs.all_cpu_seconds,
                {JOB.title: 1000 * theirs.all_cpu_seconds / count},
            ),
            Measure("B6", "memory of a fresh idle process", "MB", self.fresh / 1e6, "≤ 62", self.fresh <= 62e6),
            Measure("B6", "memory of the idle operator, after what was measured before", "MB", base / 1e6, NO_TARGET, met=True),
            Measure("B6", f"memory after a start beside {count} finished jobs", "MB", started[-1] / 1e6, NO_TARGET, met=True),
            Measure("B6", f"memory per finished job, of {_LIVES} more beside a start", "kB", slope, "≤ 4", slope <= 4),
        ]
        return [*measures, *await self._idle(count), *await self._restart(count)]

    async def standing(self) -> list[Measure]:
        """Measure B16: a fresh process beside very many jobs that have ended, and what a job costs it then."""
        self.subject.restart()
        few, many = _Lives(), _Lives()
        async with self.namespace() as place:
            await self._live(TFTJ, place, few, _BESIDE)
        async with self.namespace(emptied=False) as place:
            times = await load.run(self.api, TFTJ, place, 1, whole=True)
            self.subject.kill()
            await load.finished(self.api, place, next(iter(times.created)), _FINISHED)
            self.say(f"{_FINISHED} jobs that have ended are there")
            self.subject.restart()
            await asyncio.sleep(_SETTLE_SECONDS)
            memory = self.subject.memory()
            async with self.namespace() as beside:
                await self._live(TFTJ, beside, many, _BESIDE)
        without, beside_them = (1000 * lives.cpu_seconds / _BESIDE for lives in (few, many))
        return [
            Measure("B16", f"memory after a start beside {_FINISHED} finished jobs", "MB", memory / 1e6, "≤ 110", memory <= 110e6),
            Measure(
                "B16",
                f"the operator's own CPU time per job of {_BESIDE}, beside {_FINISHED} finished ones",
                "ms",
                beside_them,
                "≤ 1.2 x without them",
                beside_them <= 1.2 * without,
                {"without them": without},
            ),
        ]

    async def _live(self, kind: Kind, place: str, lives: _Lives, count: int) -> None:
        by = OPERATOR if kind in (TFTJ, TFTJ_GROUP) else CONTROLLERS
        start = self.subject.audited()
        before, looks = self.subject.requests(), self.subject.looks()
        begun, all_begun = self.subject.cpu_seconds(), children_cpu_seconds()
        times = await load.run(self.api, kind, place, count, whole=True)
        await self._quiet(by)
        lives.rates.append(times.rate(times.finished))
        lives.to_status += times.to_status()
        lives.writes += len(self.subject.writes(start, by))
        lives.reads += self.subject.requests().get("GET", 0) - before.get("GET", 0)
        lives.looks += self.subject.looks() - looks
        lives.cpu_seconds += self.subject.cpu_seconds() - begun
        lives.all_cpu_seconds += children_cpu_seconds() - all_begun

    async def _idle(self, count: int) -> list[Measure]:
        start = self.subject.audited()
        begun = self.subject.cpu_seconds()
        await asyncio.sleep(_IDLE_SECONDS)
        cpu = 100 * (self.subject.cpu_seconds() - begun) / _IDLE_SECONDS
        written = self.subject.writes(start)
        self.say(f"idle beside {count} finished jobs: {cpu:.2f} % of a core, {len(written)} writes")
        return [
            Measure("B8", f"idle beside {count} finished jobs, {_IDLE_SECONDS:.0f} s", "% of a core", cpu, "< 1", cpu < 1),
            Measure("B8", "writes meanwhile, but its Lease", "requests", len(written), "0", not written),
        ]

    async def _restart(self, count: int) -> list[Measure]:
        """Kill the operator without warning, start it and create a job at once."""
        start = self.subject.audited()
        async with self.namespace() as place:
            self.subject.kill()
            begun = time.monotonic()
            created = asyncio.create_task(load.run(self.api, TFTJ, place, 1))
            await asyncio.to_thread(self.subject.restart)
            seconds = max((await created).pod.values()) - begun
            await self._quiet()
            written = [what for what in self.subject.writes(start) if "pods" not in what]
        self.say(f"killed and started beside {count} finished jobs: {seconds:.1f} s to the first new pod")
        return [
            Measure("B7", f"killed beside {count} finished jobs: to the first new pod", "s", seconds, "≤ 15", seconds <= 15),
            Measure("B7", "writes to the finished ones meanwhile", "requests", len(written), "0", not written),
        ]

    async def _quiet(self, by: str = OPERATOR) -> None:
        """Wait until a program has written nothing for two seconds."""
        start, since = self.subject.audited(), time.monotonic()
        while time.monotonic() - since < 2:
            await asyncio.sleep(0.2)
            if self.subject.writes(start, by):
                start, since = self.subject.audited(), time.monotonic()


def _quantile(number: str, title: str, found: dict[str, list[float]], share: float, limit: float | None) -> Measure:
    """Return the row of a quantile of milliseconds; the one of the median keeps all that was seen."""
    value = {kind: _share(values, share) for kind, values in found.items()}
    ours = value[TFTJ.title]
    target = NO_TARGET if limit is None else f"≤ {limit:.0f}"
    raw = {kind: sorted(values) for kind, values in found.items()} if share == 0.5 else {}
    return Measure(number, title, "ms", ours, target, limit is None or ours <= limit, _others(value), raw)


def _others(value: dict[str, float]) -> dict[str, float]:
    return {title: number for title, number in value.items() if title != TFTJ.title}


def _share(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
