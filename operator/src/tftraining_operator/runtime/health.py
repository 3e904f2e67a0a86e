"""The three routes that the operator answers: is it alive, is it ready, what has it counted. No route writes."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from aiohttp import web

from tftraining_operator.api.status import Phase
from tftraining_operator.runtime.lease import DURATION_SECONDS, Lease
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.workqueue import WorkQueue

_LAG_LIMIT_SECONDS = 10.0
_OLDEST_LIMIT_SECONDS = 300.0
_MEASURE_SECONDS = 1.0
_PHASES = frozenset(phase.value for phase in Phase)


class HealthError(RuntimeError):
    """Nobody could ask for the process's health. The text names address and port."""


@dataclass(slots=True)
class Vitals:
    """What health is judged by. `synced` tells whether all jobs and pods have been listed once."""

    lease: Lease
    lag_seconds: float = 0.0
    synced: bool = False


class Health:
    """The HTTP server."""

    def __init__(self, address: str, port: int, store: Store, queue: WorkQueue, vitals: Vitals, metrics: Metrics) -> None:
        self._address = address
        self._port = port
        self._store = store
        self._queue = queue
        self._vitals = vitals
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to answer.

        Raises:
            HealthError: the address or port cannot be used.

        """
        app = web.Application()
        app.add_routes([web.get("/healthz", self._healthz), web.get("/readyz", self._readyz), web.get("/metrics", self._metrics_page)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._address, self._port).start()
        except OSError as error:
            raise HealthError(f"httpAddress {self._address!r}, httpPort {self._port}: cannot be listened on: {error}") from error

    async def stop(self) -> None:
        """Answer no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def measure(self) -> None:
        """Measure the event loop's lag until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _MEASURE_SECONDS
            await asyncio.sleep(_MEASURE_SECONDS)
            self._vitals.lag_seconds = loop.time() - due

    def complaints(self) -> list[str]:
        """Return what is wrong with the process, nothing if it is healthy."""
        found = []
        if self._vitals.lag_seconds > _LAG_LIMIT_SECONDS:
            found.append(f"the event loop was {self._vitals.lag_seconds:.1f} s late")
        # Standing by, keys only gather; their wait counts from the moment on at which somebody looks at them.
        waiting = min(self._queue.oldest_seconds, self._vitals.lease.held_seconds)
        if waiting > _OLDEST_LIMIT_SECONDS:
            found.append(f"a job has been waiting to be looked at for {waiting:.0f} s")
        age = self._vitals.lease.age_seconds
        if age is not None and age > DURATION_SECONDS:
            found.append(f"the lease was last renewed {age:.0f} s ago")
        return found

    async def _healthz(self, _: web.Request) -> web.Response:
        complaints = self.complaints()
        return web.Response(text="; ".join(complaints) or "ok", status=503 if complaints else 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(
            text="ok" if self._vitals.synced else "the first list of jobs and pods is not complete",
            status=200 if self._vitals.synced else 503,
        )

    async def _metrics_page(self, _: web.Request) -> web.Response:
        self._metrics.depth.set(len(self._queue))
        self._metrics.oldest.set(self._queue.oldest_seconds)
        self._metrics.lag.set(self._vitals.lag_seconds)
        self._metrics.leader.set(int(self._vitals.lease.valid))
        self._metrics.pods.set(self._store.pod_count)
        phases = Counter(str(job.status.get("phase")) for job in self._store.jobs())
        for phase in _PHASES:
            self._metrics.jobs.labels(phase).set(phases.get(phase, 0))
        return web.Response(body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
