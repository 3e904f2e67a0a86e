"""Faults that a real store shows too seldom: a server on loopback that cuts, ignores and lies. Never a corrupt file."""

from __future__ import annotations

import contextlib
import errno
import gzip
import http.server
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tftrainer.messages.contract import Reason
from tftrainer.phase_error import PhaseError
from tftrainer.storage import store as stores
from tftrainer.storage import transfer
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.patience import Patience
from tftrainer.storage.store import ObjectInfo, Store

DATA = os.urandom(1024**2) * 40 + b"end"
ETAG = "abc"
SECRET = "canary-9f27"


class Faulty:
    """What the server does to the n-th GET. A behaviour gets the handler and the range that is asked for."""

    def __init__(self) -> None:
        self.behaviours: list[Callable[[http.server.BaseHTTPRequestHandler, int, int], None]] = []
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self.data = DATA
        self.silence = threading.Event()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        with self.lock:
            self.requests.append(asked or "")
            behaviour = self.behaviours.pop(0) if self.behaviours else None
        first, last = (int(part) for part in asked.removeprefix("bytes=").split("-")) if asked else (0, len(self.data) - 1)
        (behaviour or self.properly)(handler, first, last)

    def properly(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        self.send(handler, 206 if handler.headers.get("Range") else 200, first, last, self.data[first : last + 1])

    def send(
        self, handler: http.server.BaseHTTPRequestHandler, status: int, first: int, last: int, body: bytes, length: int | None = None
    ) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.send_header("ETag", f'"{ETAG}"')
        if status == 206:
            handler.send_header("Content-Range", f"bytes {first}-{last}/{len(self.data)}")
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(body)

    def cut(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        half = self.data[first : (first + last) // 2]
        self.send(handler, 206 if handler.headers.get("Range") else 200, first, last, half, last - first + 1)
        handler.close_connection = True

    def ignore_range(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        self.send(handler, 200, 0, len(self.data) - 1, self.data)

    def other_range(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        self.send(handler, 206, first + 1, last + 1, self.data[first + 1 : last + 2])

    def short(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        self.send(handler, 206 if handler.headers.get("Range") else 200, first, last, self.data[first : last - 9])

    def status(self, code: int, xml: str = "") -> Callable[[http.server.BaseHTTPRequestHandler, int, int], None]:
        def behave(handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
            body = f"<Error><Code>{xml}</Code><Message>{SECRET}</Message></Error>".encode() if xml else b""
            handler.send_response(code)
            handler.send_header("Content-Type", "application/xml")
            handler.send_header("Content-Length", str(len(body)))
            handler.send_header("Retry-After", "0")
            handler.end_headers()
            handler.wfile.write(body)

        return behave

    def replaced(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        """Send bytes of a newer state, as a server does that knows no If-Match."""
        body = bytes(last - first + 1)
        handler.send_response(206 if handler.headers.get("Range") else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("ETag", '"newer"')
        handler.send_header("Content-Range", f"bytes {first}-{last}/{len(self.data)}")
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(body)

    def packed(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        """Compress on the way, as proxies do that nobody asked."""
        handler.send_response(206 if handler.headers.get("Range") else 200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Range", f"bytes {first}-{last}/{len(self.data)}")
        handler.end_headers()
        handler.wfile.write(gzip.compress(self.data[first : last + 1]))
        handler.close_connection = True

    def trickle(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        """Send a thousandth every few milliseconds: never silent, never fast."""
        self.send(handler, 206 if handler.headers.get("Range") else 200, first, last, b"", last - first + 1)
        step = max(1, (last - first) // 1000)
        with contextlib.suppress(OSError):
            for start in range(first, last + 1, step):
                handler.wfile.write(self.data[start : min(start + step, last + 1)])
                handler.wfile.flush()
                self.silence.wait(0.002)

    def silent(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        """Take the request, and never answer."""
        self.silence.wait(60)
        handler.close_connection = True

    def endless(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(self.data + b"more")
        handler.close_connection = True

    def closing(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        """Answer, and end the connection, as servers do that keep none."""
        handler.send_response(206 if handler.headers.get("Range") else 200)
        handler.send_header("Content-Length", str(last - first + 1))
        handler.send_header("ETag", f'"{ETAG}"')
        handler.send_header("Content-Range", f"bytes {first}-{last}/{len(self.data)}")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(self.data[first : last + 1])

    def redirect(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        handler.send_response(302)
        handler.send_header("Location", "http://127.0.0.1:1/latest/meta-data")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def page(self, handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        body = b"<html>console</html>"
        handler.send_response(404)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def faulty() -> Iterator[tuple[Faulty, Store]]:
    """Run a server, and a store that speaks to it with little patience."""
    faults = Faulty()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            faults.answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield faults, store(server.server_address[1])
    finally:
        faults.silence.set()
        server.shutdown()
        thread.join()
        server.server_close()


def store(port: int, *, secure: bool = False, host: str = "127.0.0.1") -> Store:
    credentials = Credentials(
        label="storage Secret",
        secure=secure,
        host=f"{host}:{port}",
        bucket="bucket",
        access_key="key",
        secret_key=SECRET,
        region="us-east-1",
    )
    return Store(credentials, Patience(first=1.0, later=2.0))


def info(data: bytes = DATA) -> ObjectInfo:
    return ObjectInfo("a/b", len(data), ETAG)


@pytest.mark.parametrize("fault", ["cut", "other_range", "short", "ignore_range"])
@pytest.mark.parametrize("size", [len(DATA), 1_000_000])
def test_a_fault_on_the_way_is_mended_and_the_file_is_whole(faulty: tuple[Faulty, Store], tmp_path: Path, fault: str, size: int) -> None:
    faults, bucket = faulty
    faults.data = DATA[:size]
    faults.behaviours = [faults.properly, getattr(faults, fault)] if size == len(DATA) else [faults.cut, getattr(faults, fault)]
    bucket.download(info(faults.data), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == faults.data


@pytest.mark.parametrize("size", [len(DATA), 1_000_000])
def test_a_server_that_ends_each_connection_is_read_to_the_end(faulty: tuple[Faulty, Store], tmp_path: Path, size: int) -> None:
    faults, bucket = faulty
    faults.data = DATA[:size]
    faults.behaviours = [faults.closing] * 10
    bucket.download(info(faults.data), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == faults.data
    assert len(faults.requests) == -(-size // transfer.RANGE)


def test_a_disk_that_takes_nothing_from_a_pipe_gets_the_bytes_all_the_same(
    faulty: tuple[Faulty, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bucket = faulty
    real = os.splice

    def refuse(source: int, target: int, count: int, *, offset_dst: int | None = None) -> int:
        if offset_dst is not None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(source, target, count)

    monkeypatch.setattr(os, "splice", refuse)
    bucket.download(info(), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_disk_that_is_full_is_told_as_that_and_at_once(
    faulty: tuple[Faulty, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, bucket = faulty
    real = os.splice

    def refuse(source: int, target: int, count: int, *, offset_dst: int | None = None) -> int:
        if offset_dst is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(source, target, count)

    monkeypatch.setattr(os, "splice", refuse)
    with pytest.raises(PhaseError) as caught:
        bucket.download(info(), tmp_path / "file")
    assert caught.value.failure.reason is Reason.WORKSPACE_FULL
    assert len(faults.requests) <= transfer.RANGES_AT_ONCE
    assert not list(tmp_path.iterdir())


def test_only_what_is_missing_is_fetched_again(faulty: tuple[Faulty, Store], tmp_path: Path) -> None:
    faults, bucket = faulty
    faults.behaviours = [faults.cut]
    arrived: list[int] = []
    bucket.download(info(), tmp_path / "file", progress=arrived.append)
    assert (tmp_path / "file").read_bytes() == DATA
    assert sum(arrived) == len(DATA)
    assert len(faults.requests) == -(-len(DATA) // transfer.RANGE) + 1
    asked = sum(last - first + 1 for first, last in (map(int, each.removeprefix("bytes=").split("-")) for each in faults.requests))
    assert asked - len(DATA) < 2 * transfer.RANGE


@pytest.mark.parametrize("fault", ["short", "other_range", "endless"])
def test_a_server_that_keeps_lying_is_given_up_without_a_file(faulty: tuple[Faulty, Store], tmp_path: Path, fault: str) -> None:
    faults, bucket = faulty
    faults.data = DATA[:1000]
    faults.behaviours = [faults.cut if fault == "other_range" else getattr(faults, fault)] + [getattr(faults, fault)] * 100
    with pytest.raises(PhaseError) as caught:
        bucket.download(info(faults.data), tmp_path / "file")
    assert caught.value.failure.reason is Reason.STORAGE_UNAVAILABLE
    assert not list(tmp_path.iterdir())


def test_an_object_that_is_replaced_mid_way_is_refused_without_a_file(faulty: tuple[Faulty, Store], tmp_path: Path) -> None:
    faults, bucket = faulty
    faults.behaviours = [faults.properly, faults.status(412, "PreconditionFailed")]
    with pytest.raises(PhaseError) as caught:
        bucket.download(info(), tmp_path / "file")
    assert caught.value.failure.reason is Reason.DIGEST_MISMATCH
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [1000, len(DATA)])
def test_an_object_that_is_replaced_mid_way_is_refused_where_the_store_knows_no_conditions(
    faulty: tuple[Faulty, Store], tmp_path: Path, size: int
) -> None:
    faults, bucket = faulty
    faults.data = DATA[:size]
    faults.behaviours = [faults.properly, faults.replaced] if size > transfer.RANGE else [faults.cut, faults.replaced]
    with pytest.raises(PhaseError) as caught:
        bucket.download(info(faults.data), tmp_path / "file")
    assert caught.value.failure.reason is Reason.DIGEST_MISMATCH
    assert "replaced" in caught.value.failure.message
    assert not list(tmp_path.iterdir())


def test_bytes_that_a_proxy_has_compressed_are_never_taken_for_the_object(faulty: tuple[Faulty, Store], tmp_path: Path) -> None:
    faults, bucket = faulty
    faults.data = bytes(5000)
    faults.behaviours = [faults.packed]
    bucket.download(info(faults.data), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == faults.data
    faults.behaviours = [faults.packed] * 100
    with pytest.raises(PhaseError) as caught:
        bucket.download(info(faults.data), tmp_path / "given-up")
    assert caught.value.failure.reason is Reason.STORAGE_UNAVAILABLE
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_an_object_that_is_stored_compressed_stays_so(faulty: tuple[Faulty, Store], tmp_path: Path) -> None:
    faults, bucket = faulty
    faults.data = gzip.compress(b"a,b\n")

    def labelled(handler: http.server.BaseHTTPRequestHandler, first: int, last: int) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(faults.data)))
        handler.end_headers()
        handler.wfile.write(faults.data)

    faults.behaviours = [labelled]
    bucket.download(info(faults.data), tmp_path / "table.csv.gz")
    assert (tmp_path / "table.csv.gz").read_bytes() == faults.data


def test_a_store_that_trickles_longer_than_the_patience_is_waited_for_and_the_file_is_whole(
    faulty: tuple[Faulty, Store], tmp_path: Path
) -> None:
    faults, bucket = faulty
    faults.data = DATA[:100_000]
    faults.behaviours = [faults.trickle]
    started = time.monotonic()
    bucket.download(info(faults.data), tmp_path / "file")
    assert time.monotonic() - started > bucket.patience.later
    assert (tmp_path / "file").read_bytes() == faults.data
    assert len(faults.requests) == 1


def test_a_store_that_takes_requests_and_never_answers_is_given_up(faulty: tuple[Faulty, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    faults, bucket = faulty
    # What is waited for one answer is a constant of the module; here a minute is not waited for.
    monkeypatch.setattr(stores, "READ_SECONDS", 0.5)
    impatient = store(int(bucket.credentials.host.rpartition(":")[2]))
    faults.behaviours = [faults.silent] * 100
    started = time.monotonic()
    with pytest.raises(PhaseError) as caught:
        impatient.read("a", 100)
    assert caught.value.failure.reason is Reason.STORAGE_UNAVAILABLE
    assert "does not answer" in caught.value.failure.message
    assert time.monotonic() - started < 40


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_asked_again(faulty: tuple[Faulty, Store], tmp_path: Path, code: int) -> None:
    faults, bucket = faulty
    faults.data = DATA[:1000]
    faults.behaviours = [faults.status(code, "SlowDown")] * 2
    bucket.download(info(faults.data), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == faults.data


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("page", Reason.STORAGE_MISCONFIGURED),
        ("redirect", Reason.STORAGE_MISCONFIGURED),
    ],
)
def test_an_address_that_is_no_s3_server_is_told_so_and_no_redirect_is_followed(
    faulty: tuple[Faulty, Store], fault: str, reason: Reason
) -> None:
    faults, bucket = faulty
    faults.behaviours = [getattr(faults, fault)]
    with pytest.raises(PhaseError) as caught:
        bucket.read("a", 100)
    assert caught.value.failure.reason is reason
    assert len(faults.requests) == 1


@pytest.mark.parametrize(
    ("code", "xml", "reason"),
    [
        (403, "AccessDenied", Reason.STORAGE_DENIED),
        (403, "InvalidAccessKeyId", Reason.STORAGE_DENIED),
        (403, "RequestTimeTooSkewed", Reason.STORAGE_DENIED),
        (404, "NoSuchBucket", Reason.BUCKET_NOT_FOUND),
        (400, "AuthorizationHeaderMalformed", Reason.STORAGE_MISCONFIGURED),
        (301, "PermanentRedirect", Reason.STORAGE_MISCONFIGURED),
        (400, "NobodyKnows", Reason.STORAGE_UNAVAILABLE),
        (503, "SlowDown", Reason.STORAGE_UNAVAILABLE),
    ],
)
def test_each_refusal_has_its_reason_and_repeats_nothing_that_the_server_said(
    faulty: tuple[Faulty, Store], capfd: pytest.CaptureFixture[str], code: int, xml: str, reason: Reason
) -> None:
    faults, bucket = faulty
    faults.behaviours = [faults.status(code, xml)] * 20
    with pytest.raises(PhaseError) as caught:
        bucket.read("a", 100)
    failure = caught.value.failure
    assert failure.reason is reason
    assert "127.0.0.1" in failure.message or "bucket" in failure.message
    assert failure.hint
    assert SECRET not in failure.message + failure.hint + "".join(capfd.readouterr())


def test_a_server_that_is_not_there_is_given_up_within_the_patience() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        started = time.monotonic()
        with pytest.raises(PhaseError) as caught:
            store(reserved.getsockname()[1]).read("a", 100)
    assert caught.value.failure.reason is Reason.STORAGE_UNAVAILABLE
    assert time.monotonic() - started < 30


def test_a_host_that_has_no_address_is_named() -> None:
    with pytest.raises(PhaseError) as caught:
        store(9000, host="no-such-host.invalid").read("a", 100)
    assert caught.value.failure.reason is Reason.STORAGE_UNAVAILABLE
    assert "no-such-host.invalid" in caught.value.failure.message


def test_a_server_without_tls_is_told_from_one_that_is_away(faulty: tuple[Faulty, Store]) -> None:
    _, bucket = faulty
    with pytest.raises(PhaseError) as caught:
        store(int(bucket.credentials.host.rpartition(":")[2]), secure=True).read("a", 100)
    assert caught.value.failure.reason is Reason.STORAGE_MISCONFIGURED
    assert "use http://" in caught.value.failure.hint


def test_a_download_that_is_given_up_leaves_no_file(faulty: tuple[Faulty, Store], tmp_path: Path) -> None:
    _, bucket = faulty
    cancelled = threading.Event()
    with pytest.raises(transfer.GivenUpError):
        bucket.download(info(), tmp_path / "file", progress=lambda _: cancelled.set(), cancelled=cancelled)
    assert not list(tmp_path.iterdir())
