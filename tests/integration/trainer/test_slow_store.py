"""A store that is slow, and one that cuts its answers to small requests: whole or given up for the true reason, within a bounded time."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tftrainer.messages.contract import Reason
from tftrainer.phase_error import PhaseError
from tftrainer.storage import connection, patience
from tftrainer.storage import store as stores
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.patience import Patience
from tftrainer.storage.store import ObjectInfo, Store
from tftrainer.storage.upload import Written

DATA = os.urandom(20_000)
LARGE = 8 * 1024**2
Behaviour = Callable[[http.server.BaseHTTPRequestHandler], None]


class Server(http.server.ThreadingHTTPServer):
    """Answers each request by the next of its behaviours, the last one for ever; takes bodies with a small buffer."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours)
        self.requests: list[str] = []
        self.ended = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        super().server_bind()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        behaviours = self.server.behaviours
        with contextlib.suppress(OSError):
            (behaviours.pop(0) if len(behaviours) > 1 else behaviours[0])(self)

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextlib.contextmanager
def running(*behaviours: Behaviour, patience: Patience | None = None) -> Iterator[tuple[Server, Store]]:
    server = Server(*behaviours)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    host = f"127.0.0.1:{server.server_address[1]}"
    credentials = Credentials("storage Secret", False, host, "bucket", access_key="key", secret_key="secret", region="us-east-1")
    try:
        yield server, Store(credentials, patience or Patience(first=1.0, later=2.0))
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def reply(handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes = b"", length: int | None = None, kind: str = "") -> None:
    handler.send_response(status)
    handler.send_header("ETag", '"abc"')
    if kind:
        handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def whole(handler: http.server.BaseHTTPRequestHandler) -> None:
    reply(handler, 200, DATA)


def cut(handler: http.server.BaseHTTPRequestHandler) -> None:
    reply(handler, 200, DATA[:10_000], len(DATA))
    handler.close_connection = True


def reset(handler: http.server.BaseHTTPRequestHandler) -> None:
    reply(handler, 200, DATA[:10_000], len(DATA))
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def stall(handler: http.server.BaseHTTPRequestHandler) -> None:
    reply(handler, 200, DATA[:10_000], len(DATA))
    handler.server.ended.wait(60)  # type: ignore[attr-defined]
    handler.close_connection = True


def taken_slowly(handler: http.server.BaseHTTPRequestHandler) -> None:
    """Read the body at about 4 MiB/s."""
    left = int(handler.headers["Content-Length"])
    while left:
        left -= len(handler.rfile.read(min(left, 64 * 1024)))
        handler.server.ended.wait(1 / 64)  # type: ignore[attr-defined]
    reply(handler, 200)


def never_taken(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.server.ended.wait(60)  # type: ignore[attr-defined]
    handler.close_connection = True


def page(status: int, kind: str, body: bytes, retry_after: str = "") -> Behaviour:
    def behave(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        handler.send_response(status)
        if kind:
            handler.send_header("Content-Type", kind)
        if retry_after:
            handler.send_header("Retry-After", retry_after)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return behave


def upload(store: Store, folder: Path) -> Written:
    with (folder / "source").open("w+b") as file:
        file.truncate(LARGE)
        return store.upload("model", file, LARGE)


def test_a_body_has_time_for_as_long_as_it_moves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stores, "CONNECT_SECONDS", 0.4)
    monkeypatch.setattr(connection, "STALLED_SECONDS", 0.4)
    with running(taken_slowly) as (server, store):
        began = time.monotonic()
        written = upload(store, tmp_path)
        assert time.monotonic() - began > 1
    assert written.size == LARGE
    assert len(server.requests) == 1


def test_a_body_that_does_not_move_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(connection, "STALLED_SECONDS", 0.3)
    with running(never_taken) as (_, store):
        began = time.monotonic()
        with pytest.raises(PhaseError) as caught:
            upload(store, tmp_path)
        assert time.monotonic() - began < 25
    assert caught.value.failure.reason is Reason.STORAGE_UNAVAILABLE


@pytest.mark.parametrize("fault", [cut, reset, stall])
def test_a_small_object_whose_answer_breaks_off_is_read_again(fault: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "READ_SECONDS", 1.0)
    with running(fault, fault, whole, patience=Patience(first=30.0, later=30.0)) as (server, store):
        assert store.read("manifest.json", 1024**2) == DATA
    assert len(server.requests) == 3


@pytest.mark.parametrize("fault", [cut, reset])
def test_a_small_object_of_which_only_a_part_ever_comes_is_never_taken_for_whole(fault: Behaviour) -> None:
    with running(fault) as (_, store), pytest.raises(PhaseError) as caught:
        store.read("manifest.json", 1024**2)
    assert caught.value.failure.reason is Reason.STORAGE_UNAVAILABLE


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 507])
@pytest.mark.parametrize(("kind", "body"), [("text/html", b"<html>busy</html>"), ("", b"")])
def test_what_stands_before_a_store_and_is_busy_is_told_so(status: int, kind: str, body: bytes, tmp_path: Path) -> None:
    requests: list[Callable[[Store], object]] = [
        lambda store: store.read("a", 10),
        lambda store: list(store.list("a")),
        lambda store: store.write("a", b"1"),
        lambda store: store.write_if_absent("a", b"1"),
        lambda store: store.download(ObjectInfo("a", 5, "e"), tmp_path / "file"),
    ]
    for request in requests:
        with running(page(status, kind, body), patience=Patience(0.1, 0.1)) as (_, store), pytest.raises(PhaseError) as caught:
            request(store)
        assert caught.value.failure.reason is Reason.STORAGE_UNAVAILABLE
        assert str(status) in caught.value.failure.message


def test_time_alone_ends_the_tries_however_many_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONGEST_DELAY", 0.02)
    busy = page(503, "text/html", b"<html>starting</html>")
    with running(*[busy] * 40, whole, patience=Patience(60, 60)) as (server, store):
        assert store.read("a", len(DATA)) == DATA
    assert len(server.requests) == 41


def test_what_trickles_longer_than_there_is_time_is_given_up_without_a_file(tmp_path: Path) -> None:
    def trickle(handler: http.server.BaseHTTPRequestHandler) -> None:
        reply(handler, 200, b"", len(DATA))
        for at in range(len(DATA)):
            handler.wfile.write(DATA[at : at + 1])
            handler.wfile.flush()
            if handler.server.ended.wait(0.01):  # type: ignore[attr-defined]
                return

    began = time.monotonic()
    with running(trickle, patience=Patience(until=began + 1.0)) as (_, store), pytest.raises(PhaseError) as caught:
        store.download(ObjectInfo("data/train.csv", len(DATA), "abc"), tmp_path / "file")
    assert time.monotonic() - began < 25
    assert caught.value.failure.reason is Reason.PENDING_DEADLINE_EXCEEDED
    assert "s3://bucket/data/train.csv" in caught.value.failure.message
    assert "pendingDeadlineSeconds" in caught.value.failure.hint
    assert not list(tmp_path.iterdir())
