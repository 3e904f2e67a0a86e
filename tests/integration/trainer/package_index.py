"""A Python package index (PEP 503) on loopback, of wheels that are made on the spot."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RECORD = "RECORD"


def wheel(name: str, version: str, files: Mapping[str, str] | None = None, requires: tuple[str, ...] = ()) -> bytes:
    """Return a wheel; without `files` it has one module of the package's name with `VERSION`."""
    folder = f"{name}-{version}.dist-info"
    contents = {
        **({f"{name}.py": f"VERSION = {version!r}\n"} if files is None else files),
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {each}\n" for each in requires),
        f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            lines.append(f"{path},sha256={digest},{len(text.encode())}")
        archive.writestr(f"{folder}/{RECORD}", "\n".join([*lines, f"{folder}/{RECORD},,"]))
    return buffer.getvalue()


class PackageIndex:
    """What the index holds, and what was asked of it. `status` other than 200 is its only answer; `upon` is called for each request."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.headers: list[str] = []
        self.status = 200
        self.digests = True
        self.upon: Callable[[], None] = lambda: None

    def add(self, name: str, version: str, files: Mapping[str, str] | None = None, requires: tuple[str, ...] = ()) -> None:
        self.files[f"{name}-{version}-py3-none-any.whl"] = wheel(name, version, files, requires)

    @property
    def wheels_sent(self) -> list[str]:
        return [path.rpartition("/")[2] for path in self.requests if path.endswith(".whl")]

    def answer(self, path: str) -> bytes | None:
        if path.startswith("/files/"):
            return self.files.get(path.removeprefix("/files/"))
        name = path.removeprefix("/simple/").rstrip("/").replace("-", "_")
        links = [
            f'<a href="/files/{file}{f"#sha256={hashlib.sha256(data).hexdigest()}" if self.digests else ""}">{file}</a>'
            for file, data in self.files.items()
            if file.partition("-")[0] == name
        ]
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode() if links else None


@contextmanager
def running_index() -> Iterator[PackageIndex]:
    """Serve an index until the end of the block."""
    index = PackageIndex()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.requests.append(self.path)
            index.headers.append(str(self.headers))
            index.upon()
            found = index.answer(self.path) if index.status == 200 else b""
            self.send_response(index.status if found is not None else 404)
            self.send_header("Content-Type", "text/html" if self.path.startswith("/simple") else "application/octet-stream")
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            # Whoever was stopped meanwhile does not wait for the answer.
            with suppress(ConnectionError):
                self.wfile.write(found or b"")

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
