"""A proxy before the S3 server that counts requests, and can do something at the n-th: before the server gets it, or after."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
import urllib.parse
from collections.abc import Callable, Iterator
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


class CutError(Exception):
    """Raised by a hook: the client gets no answer, its connection ends."""


@dataclass
class Proxy:
    """`before` is called with the number of a request (from 1) before it is passed on; `after` with the server's answer too.

    Requests are passed on one at a time, so that a number means the same in every run of the same requests.
    """

    endpoint: str = ""
    before: Callable[[int, Request], None] = lambda _number, _request: None
    after: Callable[[int, Request, Answer], Answer] = lambda _number, _request, answer: answer
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


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
                    answer = proxy.after(number, request, self.ask(body))
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
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body or None)
                response = connection.getresponse()
                data = response.read()
            finally:
                connection.close()
            dropped = {"transfer-encoding", "connection"} | ({"content-length"} if self.command != "HEAD" else set())
            return Answer(response.status, [each for each in response.getheaders() if each[0].lower() not in dropped], data)

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
