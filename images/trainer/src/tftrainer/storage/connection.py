"""Connections to a store: a body has time for as long as it moves, and some addresses are never those of a store."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, Final

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

STALLED_SECONDS: Final = 30.0
"""For how long a piece of a body may wait to be taken."""
PIECE: Final = 64 * 1024
"""Bytes of a piece: a line that takes less than one in that time is as good as dead."""
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


class _Patient(HTTPConnection):
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
        if self.sock is None or not isinstance(data, bytes):
            super().send(data)
            return
        self.sock.settimeout(STALLED_SECONDS)
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            super().send(view[start : start + PIECE])


class _PatientTLS(_Patient, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Patient


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _PatientTLS


POOLS: Final = {"http": _Pool, "https": _TLSPool}
