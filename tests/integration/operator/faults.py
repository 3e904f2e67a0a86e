"""A proxy in front of the API server that counts, delays, loses and refuses, as a test tells it to."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

import aiohttp
from aiohttp import web
from controlplane import ControlPlane

HANG = -1
HOP = {"host", "connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request: `status` is answered instead (0: cut off, HANG: never anything), after the server did it if `apply`."""

    status: int
    apply: bool = False
    retry_after: str = ""


@dataclass(slots=True)
class FaultProxy:
    """Forwards everything with the administrator's rights. `writes` are (verb, path) of the writes that reached the server.

    `judge` decides about each write before it is forwarded; `after` is told of each write before its answer goes back. What lies under
    a `hidden` path looks empty in lists, and its watches stay silent. `as_user` is whose rights count; by default the administrator's.
    `tells` makes of each event of a watch, one line of JSON, those that are told of instead, `late_seconds` later. `away` cuts off all
    that asks for anything, and what is watched.
    """

    plane: ControlPlane
    writes: list[tuple[str, str]] = field(default_factory=list)
    judge: Callable[[str, str], Fault | None] = lambda *_: None
    after: Callable[[int], None] = lambda *_: None
    hidden: tuple[str, ...] = ()
    tells: Callable[[bytes], Iterable[bytes]] = lambda line: (line,)
    late_seconds: float = 0.0
    away: bool = False
    as_user: str = ""
    port: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None
    _stop: asyncio.Event | None = None
    _watches: dict[web.StreamResponse, web.Request] = field(default_factory=dict)

    def __enter__(self) -> FaultProxy:
        """Start to forward."""
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(20)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Stop to forward."""
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def written(self, *, leases: bool = False) -> list[tuple[str, str]]:
        """Return the writes so far, by default without those of the Lease."""
        return [item for item in self.writes if leases or "/leases" not in item[1]]

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    def go_away(self) -> None:
        """Be away from now on, until `away` is False again."""
        self.away = True
        assert self._loop is not None
        for request in list(self._watches.values()):
            self._loop.call_soon_threadsafe(_cut, request)

    def break_watches(self, code: int = 500, message: str = "etcdserver: leader changed") -> None:
        """Tell all open watches of an error after which a watch cannot go on, or with 410 not from where it is."""
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
        frame = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
        assert self._loop is not None
        for watch in list(self._watches):
            with suppress(ConnectionError):  # It may be over by now.
                asyncio.run_coroutine_threadsafe(watch.write(frame), self._loop).result(5)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tls = ssl.create_default_context(cafile=str(self.plane.pki / "ca.crt"))
        tls.load_cert_chain(self.plane.pki / "admin.crt", self.plane.pki / "admin.key")
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0), timeout=timeout, auto_decompress=False
        ) as upstream:
            app = web.Application(client_max_size=1 << 26)

            async def forward(request: web.Request) -> web.StreamResponse:
                return await self._forward(request, upstream)

            app.router.add_route("*", "/{path:.*}", forward)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = runner.addresses[0][1]
            ready.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _forward(self, request: web.Request, upstream: aiohttp.ClientSession) -> web.StreamResponse:
        if self.away:
            return await self._answer(request, Fault(0))
        write = request.method not in {"GET", "HEAD"}
        fault = self.judge(request.method, request.path) if write else None
        if fault is not None and not fault.apply:
            return await self._answer(request, fault)
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        if self.as_user:
            headers["Impersonate-User"] = self.as_user
        if request.path in self.hidden and request.method == "GET":
            return await self._empty(request)
        async with upstream.request(request.method, self.plane.server + request.path_qs, data=body or None, headers=headers) as answer:
            if write:
                self.writes.append((request.method, request.path))
                content = await answer.read()
                self.after(len(self.writes))
                if fault is not None:
                    return await self._answer(request, fault)
                return web.Response(status=answer.status, body=content, headers=_passed(answer))
            response = web.StreamResponse(status=answer.status, headers=_passed(answer))
            try:
                await response.prepare(request)
                if "watch" in request.query:
                    self._watches[response] = request
                    await self._tell(answer, response)
                else:
                    async for chunk in answer.content.iter_any():
                        await response.write(chunk)
                await response.write_eof()
            except ConnectionError:
                return response
            finally:
                self._watches.pop(response, None)
            return response

    async def _tell(self, answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        """Hand the events of a watch on, as late as they are to be."""
        clock = asyncio.get_running_loop().time
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def send() -> None:
            while True:
                due, line = await waiting.get()
                await asyncio.sleep(max(0.0, due - clock()))
                await response.write(line)

        try:
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(send())
                rest = b""
                async for chunk in answer.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        for told in self.tells(line + b"\n"):
                            waiting.put_nowait((clock() + self.late_seconds, told))
                sender.cancel()
        except* ConnectionError:
            pass

    @staticmethod
    async def _empty(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []})
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(3600)
        return response

    @staticmethod
    async def _answer(request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.status == HANG:
            await asyncio.sleep(3600)
        if fault.status == 0:
            _cut(request)
            return web.Response()
        headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
        return web.json_response(
            {"kind": "Status", "status": "Failure", "message": "a fault of the test"}, status=fault.status, headers=headers
        )


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _passed(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
