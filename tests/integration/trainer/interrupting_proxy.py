"""A proxy before the S3 server that counts requests, and can do something at the n-th: before the server gets it, or after."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for; `path` holds the query too."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client is told."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


NOT_IMPLEMENTED = Answer(
    501,
    [("Content-Type", "application/xml")],
    b"<Error><Code>NotImplemented</Code><Message>A header implies what is not implemented</Message></Error>",
)

DENIED = Answer(403, [("Content-Type", "application/xml")], b"<Error><Code>AccessDenied</Code><Message>not this one</Message></Error>")


class CutError(Exception):
    """Raised by a hook: the client gets no answer, its connection ends."""


@dataclass
class Proxy:
    """`before` is called with the number of a request (from 1) before it is passed on; `after` with the server's answer too.

    Requests are passed on one at a time, so that a number means the same in every run of the same requests. What `instead` answers
    never reaches the server. Of the request headers, those in `drops` (lower case) never reach it; one in `refuses` is answered with 501.
    """

    endpoint: str = ""
    before: Callable[[int, Request], None] = lambda _number, _request: None
    after: Callable[[int, Request, Answer], Answer] = lambda _number, _request, answer: answer
    instead: Callable[[Request], Answer | None] = lambda _request: None
    drops: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def refusal(self, headers: Iterable[str]) -> Answer | None:
        return NOT_IMPLEMENTED if self.refuses & {name.lower() for name in headers} else None

    def passed_on(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name, value) for name, value in headers if name.lower() not in self.drops]


def _relayed(method: str, response: http.client.HTTPResponse, data: bytes) -> Answer:
    dropped = {"transfer-encoding", "connection"} | ({"content-length"} if method != "HEAD" else set())
    return Answer(response.status, [each for each in response.getheaders() if each[0].lower() not in dropped], data)


@contextlib.contextmanager
def interrupting(endpoint: str) -> Iterator[Proxy]:
    """Run a proxy before the server at `endpoint` (`http://host:port`)."""
    server_address = urllib.parse.urlsplit(endpoint).netloc
    proxy = Proxy()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def relay(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:
                # Of a client that was killed: a server would wait for the rest.
                self.close_connection = True
                return
            request = Request(self.command, self.path)
            try:
                with proxy.lock:
                    proxy.requests.append(request)
                    number = len(proxy.requests)
                    proxy.before(number, request)
                    answer = proxy.after(number, request, proxy.instead(request) or proxy.refusal(self.headers) or self.ask(body))
            except CutError:
                self.close_connection = True
                return
            with contextlib.suppress(OSError):
                self.send_response(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

        def ask(self, body: bytes) -> Answer:
            connection = http.client.HTTPConnection(server_address, timeout=30)
            try:
                # All headers as they came, the host too: the signature is over it.
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in proxy.passed_on(self.headers.items()):
                    connection.putheader(name, value)
                connection.endheaders(body or None)
                response = connection.getresponse()
                data = response.read()
            finally:
                connection.close()
            return _relayed(self.command, response, data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = relay  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    server = Server(("127.0.0.1", 0), Handler)
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
