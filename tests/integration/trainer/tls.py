"""Certificates of an own authority, and the real server's bytes behind them."""

from __future__ import annotations

import contextlib
import dataclasses
import selectors
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.integration.trainer.pods import StoreServer


@dataclasses.dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder."""

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> Self:
        """Make one in an empty folder."""
        _openssl(folder, "ecparam", "-name", "prime256v1", "-out", "ec.pem")
        _openssl(
            folder, "req", "-x509", "-newkey", "ec:ec.pem", "-nodes", "-subj", "/CN=an authority", "-keyout", "ca.key", "-out", "ca.crt"
        )
        return cls(folder)

    @property
    def certificate(self) -> str:
        """Its own certificate, as PEM text."""
        return (self.folder / "ca.crt").read_text()

    def sign(self, name: str, address: str, days: int) -> tuple[Path, Path]:
        """Return certificate and key of a server at an address, valid for so many days from now."""
        (self.folder / f"{name}.ext").write_text(f"subjectAltName=IP:{address}\n")
        _openssl(
            self.folder, "req", "-newkey", "ec:ec.pem", "-nodes", "-subj", "/CN=store", "-keyout", f"{name}.key", "-out", f"{name}.csr"
        )
        signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext", "-days", str(days)]
        _openssl(self.folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signing)
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@contextlib.contextmanager
def behind_tls(server: StoreServer, certificate: tuple[Path, Path]) -> Iterator[str]:
    """Give the URL of a port that speaks TLS and passes what it carries on to the store, and back."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    host, _, port = server.endpoint.removeprefix("http://").rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stopped = threading.Event()

        def accept() -> None:
            while not stopped.is_set():
                with contextlib.suppress(OSError):
                    plain, _ = listener.accept()
                    threading.Thread(target=_serve, args=(plain, context, (host, int(port))), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)


def _serve(plain: socket.socket, context: ssl.SSLContext, store: tuple[str, int]) -> None:
    with (
        contextlib.suppress(OSError),
        context.wrap_socket(plain, server_side=True) as outer,
        socket.create_connection(store) as inner,
        selectors.DefaultSelector() as both,
    ):
        both.register(outer, selectors.EVENT_READ, inner)
        both.register(inner, selectors.EVENT_READ, outer)
        while True:
            # What TLS has decrypted already shows in no selector.
            ready: list[tuple[Any, Any]] = [(outer, inner)] if outer.pending() else [(key.fileobj, key.data) for key, _ in both.select()]
            for source, target in ready:
                data = source.recv(1 << 16)
                if not data:
                    return
                target.sendall(data)
