"""The routes that the operator answers: is it alive, is it ready, what has it counted; and what running pods tell of themselves."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from aiohttp import web

from tftraining_operator.kube.errors import ApiError
from tftraining_operator.runtime.lease import DURATION_SECONDS, Lease
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.reports import LIMIT, ReportRefusedError, Reports
from tftraining_operator.runtime.watches import Watches
from tftraining_operator.runtime.workqueue import WorkQueue

_LAG_LIMIT_SECONDS = 10.0
_OLDEST_LIMIT_SECONDS = 300.0
_MEASURE_SECONDS = 1.0
_BODY_SECONDS = 5.0
_UNREVIEWED_SECONDS = 10.0
_STANDBY_SECONDS = 1.0
"""After which to ask again who was told that this process stands by: a Service may lead to the one that works then."""


class HealthError(RuntimeError):
    """Nobody could ask for the process's health. The text names address and port."""


@dataclass(slots=True)
class ProcessState:
    """What health is judged by. `synced` tells whether all jobs and pods have been listed once, `waits_for` what keeps it from that."""

    lease: Lease
    lag_seconds: float = 0.0
    synced: bool = False
    waits_for: str = ""


class Health:
    """The HTTP server."""

    def __init__(
        self,
        address: str,
        port: int,
        queue: WorkQueue,
        state: ProcessState,
        metrics: Metrics,
        reports: Reports,
        watches: Watches,
    ) -> None:
        self._address = address
        self._port = port
        self._queue = queue
        self._state = state
        self._metrics = metrics
        self._reports = reports
        self._watches = watches
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to answer.

        Raises:
            HealthError: the address or port cannot be used.

        """
        app = web.Application(client_max_size=LIMIT)
        app.add_routes([web.get("/healthz", self._healthz), web.get("/readyz", self._readyz), web.get("/metrics", self._metrics_page)])
        app.add_routes([web.post("/v1/reports", self._report)])
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
            self._state.lag_seconds = loop.time() - due

    def complaints(self) -> list[str]:
        """Return what is wrong with the process, nothing if it is healthy."""
        found = []
        if self._state.lag_seconds > _LAG_LIMIT_SECONDS:
            found.append(f"the event loop was {self._state.lag_seconds:.1f} s late")
        waiting = self._queue.oldest_event_seconds
        if waiting > _OLDEST_LIMIT_SECONDS:
            found.append(f"a job has been waiting to be looked at for {waiting:.0f} s")
        age = self._state.lease.age_seconds
        if age is not None and age > DURATION_SECONDS:
            found.append(f"the lease was last renewed {age:.0f} s ago")
        if self._watches.silent:
            found.append("two sweeps found what no watch had told of")
        return found

    async def _healthz(self, _: web.Request) -> web.Response:
        complaints = self.complaints()
        return web.Response(text="; ".join(complaints) or "ok", status=503 if complaints else 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(
            text="ok" if self._state.synced else self._state.waits_for or "the first list of jobs and pods is not complete",
            status=200 if self._state.synced else 503,
        )

    async def _report(self, request: web.Request) -> web.Response:
        if not self._state.lease.valid:
            return _answer(503, "this process stands by", _STANDBY_SECONDS)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await request.read()
            await self._reports.take(request.headers.get("Authorization", ""), body)
        except ReportRefusedError as refused:
            return _answer(refused.status, str(refused), refused.retry_after)
        except TimeoutError:
            return _answer(408, "the report did not arrive in time")
        except ApiError as error:
            return _answer(503, f"the API server does not say whose token it is: {error}", _UNREVIEWED_SECONDS)
        return web.Response(status=204)

    async def _metrics_page(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _answer(status: int, text: str, retry_after: float | None = None) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": str(math.ceil(retry_after))}
    # What was sent is not read to its end where it is refused.
    answer = web.Response(status=status, text=text, headers=headers)
    answer.force_close()
    return answer
