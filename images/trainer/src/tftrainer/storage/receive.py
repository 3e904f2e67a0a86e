"""The bytes of one answer into a file: past this process where the system can, else through one buffer."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from tftrainer.storage.connection import Answer, timeout_option

BLOCK: Final = 256 * 1024
"""Bytes in memory per transfer, and what has to come within a second to be waited for as a whole."""
PIPE: Final = 1024**2
"""Bytes that are between connection and file at most."""
_UNABLE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


class Receiver:
    """Takes the body of an answer into a file, piece by piece: of a slow store what has arrived and no more.

    A block of a slow store may take minutes, and would be lost as a whole. Of a fast one it takes whole blocks: over TLS each record
    is a piece of its own, and costs as much as a block. `now` is a clock.
    """

    def __init__(self, response: Any, descriptor: int, now: Callable[[], float]) -> None:
        self._response = response
        self._answer = Answer.of(response)
        self._descriptor = descriptor
        self._now = now
        self._fast = False
        self._buffer: memoryview | None = None
        self._pipe: _Pipe | None = None

    def close(self) -> None:
        """Let go of what it holds; not of the answer."""
        if self._pipe is not None:
            self._pipe.close()

    def take(self, position: int, most: int) -> int:
        """Take up to `most` bytes to their place in the file; return how many came, 0 at the end of the answer.

        Raises:
            OSError, urllib3.exceptions.HTTPError: the connection is broken, or the file does not fit.
        """
        if self._pipe is not None:
            return self._pipe.take(position, most)
        since = self._now()
        block = self._block(min(BLOCK, most))
        self._fast = len(block) >= BLOCK * (self._now() - since)
        _write(self._descriptor, block, position)
        if self._answer is not None and not self._answer.secure and len(block) < most:
            # What came with the headers is out of the library's buffer: the rest is in the system's.
            self._pipe = _Pipe(self._answer, self._descriptor)
        return len(block)

    def _block(self, most: int) -> memoryview:
        if self._answer is None or not self._fast:
            return memoryview((self._response.read if self._fast else self._response.read1)(most, decode_content=False))
        if self._buffer is None:
            self._buffer = memoryview(bytearray(BLOCK))
        return self._buffer[: self._answer.readinto(self._buffer[:most])]


class _Pipe:
    """Moves bytes from a connection to a file within the system."""

    def __init__(self, answer: Answer, descriptor: int) -> None:
        self._answer = answer
        self._descriptor = descriptor
        seconds = answer.socket.gettimeout()
        answer.socket.settimeout(None)
        answer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout_option(seconds or 0.0))
        self._out, self._in = os.pipe2(os.O_CLOEXEC)
        # More may be than the system gives to one user; a small pipe does too.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, PIPE)

    def close(self) -> None:
        os.close(self._in)
        os.close(self._out)

    def take(self, position: int, most: int) -> int:
        try:
            count = os.splice(self._answer.socket.fileno(), self._in, min(PIPE, most))
        except BlockingIOError:
            raise TimeoutError("nothing comes any more") from None
        end = position + count
        while position < end:
            position += self._empty(position, end - position)
        self._answer.took(count)
        return count

    def _empty(self, position: int, most: int) -> int:
        try:
            return os.splice(self._out, self._descriptor, most, offset_dst=position)
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
        # To a file system that cannot do it.
        block = os.read(self._out, most)
        _write(self._descriptor, memoryview(block), position)
        return len(block)


def _write(descriptor: int, view: memoryview, position: int) -> None:
    while view:
        written = os.pwrite(descriptor, view, position)
        position += written
        view = view[written:]
