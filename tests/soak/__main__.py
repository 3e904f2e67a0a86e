"""`python tests/soak [--minutes N]`: the operator under jobs and faults without end; a table tells what drifts, hangs or stays behind."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from api import open_session
from control import Operator, Played
from controlplane import ControlPlane, control_plane
from faults import FaultProxy
from lives import NAMESPACE, Lives, orphans
from localcluster.failure import ClusterError
from mischief import make

_SAMPLE_SECONDS = 2.0
_WARM_SECONDS = 60.0
"""After which there is as much of everything as goes again: jobs stay for half a minute after their end."""
_QUIET_SECONDS = 180.0
"""For how long after the last fault a job may take: its retries have pauses."""
_SPARE_CONNECTIONS, _MOST_DESCRIPTORS = 4, 64
"""As many connections stay open as requests of late were made at a time; the pool has 32, and the watches are beside it."""
_DRIFT_PERCENT = 5.0
_HEAD = (
    "Written by `make soak`: the operator's real process before a real etcd and API server, and a proxy that makes faults by chance.",
    "Pods are played, to all kinds of ends; users suspend, resume and delete.",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """The operator's process at a moment: resident bytes, open descriptors; `at` are seconds since the first."""

    at: float
    memory: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    title: str
    found: str
    bound: str
    met: bool


def main() -> int:
    """Run, print the table, and return 0 if every bound was kept."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=5.0, help="jobs created a second (%(default)g)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="to make the same faults again")
    parser.add_argument("--page", type=Path, help="file that the table is written to")
    options = parser.parse_args()
    try:
        with (
            control_plane(controllers="garbage-collector-controller", service_accounts=True) as plane,
            tempfile.TemporaryDirectory() as folder,
        ):
            played = Played(plane, NAMESPACE)
            played.install_definition()
            played.create_namespace()
            with FaultProxy(plane) as proxy, Operator(proxy, NAMESPACE, Path(folder), forked=False) as operator:
                operator.start()
                rows = asyncio.run(_soak(plane, proxy, operator, options))
                page = _page(rows, options)
                print(page)
                if options.page is not None:
                    options.page.write_text(page)
                if not all(row.met for row in rows):
                    print(f"the log ends with:\n{operator.log()[-3000:]}")
                return int(not all(row.met for row in rows))
    except (ClusterError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _page(rows: list[Row], options: argparse.Namespace) -> str:
    """Return the table with how it came about."""
    facts = {
        "length": f"{options.minutes:g} min, {options.rate:g} jobs a second, seed {options.seed}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores shared by all that ran, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}",
        "versions": f"kopf {version('kopf')}, aiohttp {version('aiohttp')}; etcd without fsync",
    }
    head = [
        "# Soak",
        "",
        *_HEAD,
        "",
        *(f"- {name}: {text}" for name, text in facts.items()),
        "",
        "| | found | bound | |",
        "| --- | ---: | --- | --- |",
    ]
    return "\n".join([*head, *map(_line, rows)]) + "\n"


def _line(row: Row) -> str:
    return f"| {row.title} | {row.found} | {row.bound} | {'met' if row.met else '**not met**'} |"


async def _soak(plane: ControlPlane, proxy: FaultProxy, operator: Operator, options: argparse.Namespace) -> list[Row]:
    api, chance, made, seconds = open_session(plane.kubeconfig), random.Random(options.seed), Counter[str](), options.minutes * 60
    lives, samples = Lives(api, chance), list[Sample]()
    background = [asyncio.create_task(work) for work in (lives.follow(), lives.kubelet(), _watch(operator, samples))]
    faults, users = asyncio.create_task(make(proxy, chance, made)), asyncio.create_task(lives.create(options.rate, seconds))
    try:
        while not users.done():
            _check([*background, faults])
            await asyncio.sleep(0.5)
        users.result()
        faults.cancel()
        with suppress(asyncio.CancelledError):
            await faults
        _heal(proxy)
        under_load = len(samples)
        until = time.monotonic() + _QUIET_SECONDS
        while lives.open and time.monotonic() < until:
            _check(background)
            await asyncio.sleep(0.5)
        stuck = sorted(lives.open)
        await asyncio.sleep(_WARM_SECONDS)
        left = await orphans(api)
    finally:
        for task in (*background, faults, users):
            task.cancel()
        await asyncio.gather(*background, faults, users, return_exceptions=True)
        await api.session.close()
    loaded = [sample for sample in samples[:under_load] if sample.at >= min(_WARM_SECONDS, seconds / 3)]
    return [
        Row("jobs created, ended or deleted", f"{lives.created}, {lives.finished}", "all", not stuck),
        Row("jobs that hang", ", ".join(stuck[:5]) or "0", "0", not stuck),
        Row("pods and ConfigMaps without a job", ", ".join(left[:5]) or "0", "0", not left),
        _memory(loaded),
        _descriptors(loaded),
        Row("its health", operator.page("healthz"), "ok", operator.page("healthz") == "ok"),
        Row("faults", ", ".join(f"{name} {count}" for name, count in sorted(made.items())), "", True),
    ]


def _memory(samples: list[Sample]) -> Row:
    first, last = _early_and_late([sample.memory for sample in samples])
    drift = (last - first) / first * 100
    found = f"{first / 1e6:.1f} MB, {last / 1e6:.1f} MB ({drift:+.1f} %)"
    return Row("memory under load, early and late", found, f"< {_DRIFT_PERCENT:g} %", drift < _DRIFT_PERCENT)


def _descriptors(samples: list[Sample]) -> Row:
    found = [sample.descriptors for sample in samples]
    first, last = _early_and_late(found)
    met = last <= first + _SPARE_CONNECTIONS and max(found) <= _MOST_DESCRIPTORS
    bound = f"{_SPARE_CONNECTIONS} more, at most {_MOST_DESCRIPTORS}"
    return Row("descriptors under load, early and late", f"{first:g}, {last:g}, at most {max(found)}", bound, met)


def _early_and_late(values: list[int]) -> tuple[float, float]:
    """Return the medians of the first fifth and of the last."""
    part = max(1, len(values) // 5)
    return statistics.median(values[:part]), statistics.median(values[-part:])


def _heal(proxy: FaultProxy) -> None:
    proxy.judge, proxy.tells, proxy.late_seconds, proxy.away = (lambda *_: None), (lambda line: (line,)), 0.0, False


async def _watch(operator: Operator, samples: list[Sample]) -> None:
    """Sample the process until cancelled. Raises RuntimeError, with its log's end, once it has ended."""
    assert operator.process is not None
    begin = time.monotonic()
    while operator.process.poll() is None:
        samples.append(_sample(operator.process.pid, time.monotonic() - begin))
        await asyncio.sleep(_SAMPLE_SECONDS)
    raise RuntimeError(f"the operator ended with {operator.process.poll()}; its log ends with:\n{operator.log()[-3000:]}")


def _sample(pid: int, at: float) -> Sample:
    found = re.search(r"^Rss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return Sample(at, int(found[1]) * 1024, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))


def _check(tasks: list[asyncio.Task[None]]) -> None:
    """Raise what has ended one of them by surprise."""
    for task in tasks:
        if task.done():
            task.result()


if __name__ == "__main__":
    sys.exit(main())
