"""Connections to a store: a body has time for as long as it moves, and some addresses are never those of a store."""

from __future__ import annotations

import errno
import http.client
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any, Final

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from tftrainer.storage.body import BLOCK, SHORTER, SourceChangedError, Span, fill

STALLED_SECONDS: Final = 30.0
"""For how long a piece of a body may wait to be taken."""
PIECE: Final = 64 * 1024
"""Bytes of a piece: a line that takes less than one in that time is as good as dead."""
SENT_AT_ONCE: Final = 1024**2
"""Bytes that the system is asked to send from a file at a time; between two of them a transfer can end."""
METADATA: Final = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")))
"""Where clouds answer about a machine and its credentials, beside the link-local addresses."""

_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")


class ForbiddenAddressError(Exception):
    """The host's name leads to an address at which no store is."""


def check_address(text: str) -> None:
    """Make sure that an address, as a connection has it, may be a store's.

    Checked when the connection is there, before anything is sent: what a name meant a moment before proves nothing.

    Raises:
        ForbiddenAddressError: it is link-local, where clouds hand out a machine's credentials, or another address of that kind.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or _translated(address) or address
    if address.is_link_local or address in METADATA:
        raise ForbiddenAddressError(str(address))


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the address that a translator of a network without IPv4 makes of it (RFC 6052)."""
    return ipaddress.IPv4Address(address.packed[-4:]) if address in _TRANSLATED else None


class Answer(http.client.HTTPResponse):
    """An answer whose `socket` may be read directly, once what came with the headers has been taken out of the library's buffer."""

    def __init__(self, sock: socket.socket, *arguments: Any, secure: bool, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.socket = sock
        self.secure = secure

    @classmethod
    def of(cls, response: Any) -> Answer | None:
        """Return the answer behind a response of the client library whose body is not read yet; None if it does not say how long it is."""
        found = response.connection.answer if isinstance(response.connection, _Patient) else None
        return found if found is not None and not found.chunked and found.length is not None else None

    def took(self, count: int) -> None:
        """Take note of bytes of the body that were read from the socket."""
        self.length = (self.length or 0) - count
        if not self.length:
            self.close()


class _Patient(HTTPConnection):
    answer: Answer | None = None

    def response_class(self, sock: socket.socket, *arguments: Any, **options: Any) -> Answer:  # type: ignore[override]
        """Return the answer that is going to be read, and remember it."""
        self.answer = Answer(sock, *arguments, secure=isinstance(self, HTTPSConnection), **options)
        return self.answer

    def _new_conn(self) -> socket.socket:
        found = super()._new_conn()
        try:
            check_address(found.getpeername()[0])
        except BaseException:
            found.close()
            raise
        return found

    def send(self, data: Any) -> None:
        """Send bytes piece by piece: the library gives a body as a whole no more time than a connection takes to be made."""
        if isinstance(data, Span):
            self._send_span(self.sock, data)
        elif self.sock is None or not isinstance(data, bytes):
            super().send(data)
        else:
            self.sock.settimeout(STALLED_SECONDS)
            for piece in _pieces(memoryview(data)):
                super().send(piece)

    def _send_span(self, sock: Any, span: Span) -> None:
        """Have the system send a file from where it lies."""
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout_option(STALLED_SECONDS))
        at = span.start
        while at < span.end:
            try:
                count = os.sendfile(sock.fileno(), span.descriptor, at, min(SENT_AT_ONCE, span.end - at))
            except BlockingIOError:
                raise TimeoutError("nothing is taken any more") from None
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS):
                    raise
                # The file system cannot do it.
                _send_copied(sock, span, at)
                return
            if not count:
                raise SourceChangedError(SHORTER)
            at += count
            span.moved(at)


class _PatientTLS(_Patient, HTTPSConnection):
    def _send_span(self, sock: Any, span: Span) -> None:
        _send_copied(sock, span, span.start)


def _send_copied(sock: Any, span: Span, at: int) -> None:
    """Send a file through one buffer."""
    sock.settimeout(STALLED_SECONDS)
    buffer = memoryview(bytearray(min(BLOCK, span.end - at)))
    while at < span.end:
        count = fill(span.descriptor, buffer[: span.end - at], at)
        for piece in _pieces(buffer[:count]):
            sock.sendall(piece)
        at += count
        span.moved(at)


def _pieces(view: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(view), PIECE):
        yield view[start : start + PIECE]


def timeout_option(seconds: float) -> bytes:
    """Return how long a call may wait for a connection, as the system wants it; 0 is for ever."""
    return struct.pack("ll", *divmod(int(seconds * 1_000_000), 1_000_000))


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Patient


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _PatientTLS


POOLS: Final = {"http": _Pool, "https": _TLSPool}
