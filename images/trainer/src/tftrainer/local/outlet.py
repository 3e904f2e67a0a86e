"""The streams of this process: what is put into one arrives whole, also where a stream is set not to block."""

from __future__ import annotations

import errno
import os
import select
from typing import Final

_GONE: Final = frozenset({errno.EPIPE, errno.EIO, errno.EBADF})


class Outlet:
    """One stream, written past Python's buffers: threads may share it, and a signal's handler may use it at any moment."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._gone = False
        self.lost = ""
        """Why something could not be written, in the system's words; empty if all was, or as far as there was a reader."""

    def put(self, data: bytes) -> None:
        """Write all of it, at the pace of the reader; what nobody reads any more is thrown away."""
        rest = memoryview(data)
        while rest and not self._gone:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                # Whoever shares a stream sets it not to block for all: node, ssh and some CI runners do.
                self._wait()
            except OSError as error:
                self._gone = error.errno in _GONE
                self.lost = self.lost or ("" if self._gone else os.strerror(error.errno or 0))
                return

    def line(self, text: str) -> None:
        """Write one line."""
        self.put(f"{text}\n".encode("utf-8", "backslashreplace"))

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        poll.poll()
