"""A proxy before the S3 server that does to chosen requests what a bad network, a bad proxy or a bad day of the server does."""

from __future__ import annotations

import contextlib
import enum
import fcntl
import gzip
import html
import http.client
import http.server
import math
import os
import socket
import struct
import sys
import termios
import threading
import time
import urllib.parse
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.integration.trainer.pods import StoreServer

TICK = 0.02
"""Seconds between two pieces of what goes slowly."""
DRAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for: `path` holds the query too, the names of `headers` are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def key(self) -> str:
        """The key of the object, empty where a bucket is asked."""
        return urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/").partition("/")[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client is told. One that is `unsized` does not say how long it is."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    unsized: bool = False

    def header(self, name: str) -> str:
        """Return the value of a header, empty if there is none."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), "")

    def with_header(self, name: str, value: str) -> Answer:
        """Return the answer with one header set; without it if the value is empty."""
        others = tuple(each for each in self.headers if each[0].lower() != name.lower())
        return replace(self, headers=(*others, (name, value)) if value else others)


class Ending(enum.Enum):
    """How a connection ends before its time."""

    FIN = "closed in order"
    RST = "reset"
    SILENCE = "open, but nothing comes and nothing is taken any more"


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of a request; two are joined with `|`.

    `instead` answers in the place of the server, which does not hear of the request. `change` makes another of the server's answer.
    `ending` comes after so many bytes of the body, of the request's if it has one, else of the answer's; with `after` None it comes
    before anything is taken or told. Bodies go at `rate` bytes per second. Of a request's body one bit of the byte `flipped` changes.
    """

    instead: Callable[[Request], Answer] | None = None
    change: Callable[[Request, Answer], Answer] | None = None
    ending: Ending | None = None
    after: int | None = None
    rate: float = math.inf
    flipped: int | None = None

    def cut(self, length: int) -> int | None:
        """Return after how many bytes of a body of that length the connection ends; None if the whole body passes."""
        return self.after if self.ending and self.after is not None and self.after < length else None

    def __or__(self, other: Fault) -> Fault:
        first, second = self.change, other.change
        both = (lambda request, answer: second(request, first(request, answer))) if first and second else first or second
        ending, after = (other.ending, other.after) if other.ending else (self.ending, self.after)
        flipped = self.flipped if other.flipped is None else other.flipped
        return Fault(other.instead or self.instead, both, ending, after, min(self.rate, other.rate), flipped)


def status(code: int, body: str = "", kind: str = "application/xml", **headers: str) -> Fault:
    """Answer with a status; `Retry_After=…` is a header. `{path}` and `{authorization}` in the body become the request's own."""

    def instead(request: Request) -> Answer:
        said = body.replace("{path}", html.escape(request.path))
        said = said.replace("{authorization}", html.escape(request.headers.get("authorization", "")))
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return Answer(code, (*((("Content-Type", kind),) if said else ()), *named), said.encode())

    return Fault(instead=instead)


def refusal(code: int, name: str, **headers: str) -> Fault:
    """Answer as an S3 server does, and repeat as much of the request as the talkative ones do."""
    said = f"<Error><Code>{name}</Code><Message>{{path}}</Message><CanonicalRequest>{{authorization}}</CanonicalRequest></Error>"
    return status(code, f'<?xml version="1.0" encoding="UTF-8"?>{said}', **headers)


def page(code: int, **headers: str) -> Fault:
    """Answer as a load balancer does whose servers are away."""
    return status(code, f"<html><body><h1>{code}</h1>{{path}}</body></html>", "text/html", **headers)


def truncate(after: int) -> Fault:
    """End the connection in order, though more was announced."""
    return Fault(ending=Ending.FIN, after=after)


def reset(after: int) -> Fault:
    """Reset the connection; the bytes before have arrived."""
    return Fault(ending=Ending.RST, after=after)


def stall(after: int) -> Fault:
    """Fall silent in the middle."""
    return Fault(ending=Ending.SILENCE, after=after)


def black_hole() -> Fault:
    """Accept the connection, and nothing more."""
    return Fault(ending=Ending.SILENCE)


def trickle(rate: float) -> Fault:
    """Take and give so many bytes per second on each connection."""
    return Fault(rate=rate)


def flip(position: int) -> Fault:
    """Change one bit of what is sent, as memory and lines do now and then."""
    return Fault(flipped=position)


def wrong_content_range() -> Fault:
    """Label a part of the object as the part behind it."""

    def change(_request: Request, answer: Answer) -> Answer:
        span, slash, total = answer.header("Content-Range").removeprefix("bytes ").partition("/")
        if not slash:
            return answer
        first, last = map(int, span.split("-"))
        return answer.with_header("Content-Range", f"bytes {first + 1}-{last + 1}/{total}")

    return Fault(change=change)


def packed() -> Fault:
    """Compress the body on the way, as proxies do that nobody asked."""

    def change(_request: Request, answer: Answer) -> Answer:
        weak = answer.with_header("ETag", f"W/{answer.header('ETag')}")
        return replace(weak.with_header("Content-Encoding", "gzip"), body=gzip.compress(answer.body, 0), unsized=True)

    return Fault(change=change)


@dataclass(frozen=True, slots=True)
class Rule:
    """To which requests a fault is done: of that method (empty: any), with `path` in theirs.

    Of these the ones with the numbers `at`, from 1 (None: all), for so many `seconds` since the first of them.
    """

    fault: Fault
    method: str = ""
    path: str = ""
    at: Container[int] | None = None
    seconds: float = math.inf

    def is_for(self, request: Request) -> bool:
        """Whether such a request is counted."""
        return self.method in ("", request.method) and self.path in request.path


@dataclass(slots=True)
class Passed:
    """One request, and how many bytes of bodies were taken from the client and given to it."""

    request: Request
    taken: int = 0
    given: int = 0


@dataclass
class FaultyProxy:
    """What is done, and what was asked. `endpoint` is the proxy's own."""

    server: StoreServer
    endpoint: str = ""
    rules: tuple[Rule, ...] = ()
    passed: list[Passed] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    broken: list[BaseException] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _counts: dict[int, int] = field(default_factory=dict)
    _since: dict[int, float] = field(default_factory=dict)

    def asked(self, method: str, path: str = "") -> list[Passed]:
        """Return the requests of that method, with `path` in theirs."""
        return [each for each in self.passed if each.request.method == method and path in each.request.path]

    def ignore_range(self) -> Fault:
        """Answer a request for a part with the whole object."""

        def change(request: Request, answer: Answer) -> Answer:
            if answer.status != 206:
                return answer
            bucket = request.path.lstrip("/").partition("/")[0]
            return replace(answer.with_header("Content-Range", ""), status=200, body=self.server.get(bucket, request.key))

        return Fault(change=change)

    def take(self, request: Request) -> tuple[Passed, Fault]:
        """Note a request, and return what is to be done to it."""
        passed, fault = Passed(request), Fault()
        with self._lock:
            self.passed.append(passed)
            for index, rule in enumerate(self.rules):
                if not rule.is_for(request):
                    continue
                number = self._counts[index] = self._counts.get(index, 0) + 1
                since = self._since.setdefault(index, time.monotonic())
                if (rule.at is None or number in rule.at) and time.monotonic() - since <= rule.seconds:
                    fault |= rule.fault
        return passed, fault


class _EndedError(Exception):
    """The connection has come to the end that the fault gives it."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, proxy: FaultyProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        # Else megabytes that a fault does not take would lie in the system's buffers, and look as if they had been.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that give up, which is what this is about; keep what is wrong with the test itself."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.proxy.broken.append(error)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def relay(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        passed, fault = self.server.proxy.take(Request(self.command, self.path, headers))
        with contextlib.suppress(OSError, _EndedError):
            if fault.ending and fault.after is None:
                self.end(fault.ending)
            length = int(self.headers.get("Content-Length") or 0)
            body = self.receive(passed, length, fault)
            if len(body) < length:
                # Of a client that gave up: a server would wait for the rest.
                raise _EndedError
            if fault.flipped is not None:
                body = body[: fault.flipped] + bytes([body[fault.flipped] ^ 1]) + body[fault.flipped + 1 :]
            answer = fault.instead(passed.request) if fault.instead else self.ask(body)
            if fault.change:
                answer = fault.change(passed.request, answer)
            self.tell(passed, answer, fault if not length else replace(fault, ending=None))
            return
        self.close_connection = True

    def receive(self, passed: Passed, length: int, fault: Fault) -> bytes:
        cut = fault.cut(length)
        body = bytearray()
        for size in _pieces(length if cut is None else cut, fault.rate):
            piece = self.rfile.read(size)
            body += piece
            passed.taken += len(piece)
            if len(piece) < size:
                return bytes(body)
            self.pause(fault)
        if fault.ending and cut is not None:
            self.end(fault.ending)
        return bytes(body)

    def ask(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.server.proxy.server.endpoint).netloc, timeout=30)
        try:
            # All headers as they came, the host too: the signature is over it.
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        dropped = {"transfer-encoding", "connection"} | ({"content-length"} if self.command != "HEAD" else set())
        return Answer(response.status, tuple(each for each in response.getheaders() if each[0].lower() not in dropped), data)

    def tell(self, passed: Passed, answer: Answer, fault: Fault) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if self.command == "HEAD":
            self.end_headers()
            return
        self.send_header(*(("Transfer-Encoding", "chunked") if answer.unsized else ("Content-Length", str(len(answer.body)))))
        self.end_headers()
        body = _chunked(answer.body) if answer.unsized else answer.body
        cut = fault.cut(len(body))
        position = 0
        for size in _pieces(len(body) if cut is None else cut, fault.rate):
            self.wfile.write(memoryview(body)[position : position + size])
            position += size
            passed.given += size
            self.pause(fault)
        if fault.ending and cut is not None:
            self.end(fault.ending)

    def pause(self, fault: Fault) -> None:
        if fault.rate < math.inf and self.server.proxy.over.wait(TICK):
            raise _EndedError

    def end(self, ending: Ending) -> None:
        if ending is Ending.SILENCE:
            self.server.proxy.over.wait()
        elif ending is Ending.RST:
            _drain(self.connection)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
        else:
            # What the client still sends is taken: a close with unread bytes would be a reset.
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(DRAIN_SECONDS)
            while self.connection.recv(1 << 16):
                pass
        raise _EndedError

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = relay  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def _pieces(length: int, rate: float) -> Iterator[int]:
    step = 1 << 18 if rate == math.inf else max(1, int(rate * TICK))
    for position in range(0, length, step):
        yield min(step, length - position)


def _chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"


def _drain(connection: socket.socket) -> None:
    """Wait until the other side's system has all that was sent: a reset throws away what has not left."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline and struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]:
        time.sleep(0.001)


@contextlib.contextmanager
def faulty(server: StoreServer, *rules: Rule) -> Iterator[FaultyProxy]:
    """Run a proxy before the server."""
    proxy = FaultyProxy(server, rules=rules)
    listener = _Server(proxy)
    proxy.endpoint = f"http://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.over.set()
        listener.shutdown()
        thread.join()
        listener.server_close()
    for error in proxy.broken:
        raise error
