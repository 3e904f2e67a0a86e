"""One output stream of the script: on to the container's stream and into the log file, unchanged and unbuffered."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

_CHUNK = 256 * 1024
_PIPE_BYTES = 1024 * 1024
_TAIL_BYTES = 64 * 1024


class Stream:
    """Reads `source` (a pipe's end, in chunks), writes the log file at once, and the container's stream as fast as it is read.

    While the container's stream does not take what was read, nothing more is read: memory stays bounded and the script waits,
    as it would by hand. A container stream that was closed is given up, the log file goes on.
    """

    def __init__(self, target: int, log: Path) -> None:
        self.source, self.script_end = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.source, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self.source, False)
        self._blocking = os.get_blocking(target)
        os.set_blocking(target, False)
        self.target: int | None = target
        self.pending = b""
        self.open = True
        self.log_error: OSError | None = None
        self._log: int | None = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        self._tail = bytearray()

    @property
    def tail(self) -> str:
        """The end of what went through, at most 64 KiB."""
        return bytes(self._tail[-_TAIL_BYTES:]).decode("utf-8", "replace")

    def pump(self) -> None:
        """Move on what can be moved on without waiting."""
        while self.open and not self.pending:
            try:
                chunk = os.read(self.source, _CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                self._end()
                return
            self._keep(chunk)
            self.pending = chunk
            self.flush()
            if len(chunk) < _CHUNK:
                return

    def flush(self) -> None:
        """Write on what the container's stream has not taken yet."""
        while self.pending:
            if self.target is None:
                self.pending = b""
                return
            try:
                self.pending = self.pending[os.write(self.target, self.pending) :]
            except BlockingIOError:
                return
            except OSError:
                self.target = None

    def give_up_target(self) -> None:
        """Write to the container's stream no more."""
        self._restore()
        self.target = None
        self.pending = b""

    def close(self) -> None:
        """Let go of everything."""
        self.flush()
        self._restore()
        if self.open:
            self._end()

    def _restore(self) -> None:
        if self.target is not None:
            with contextlib.suppress(OSError):
                os.set_blocking(self.target, self._blocking)

    def _keep(self, chunk: bytes) -> None:
        self._tail += chunk[-_TAIL_BYTES:]
        if len(self._tail) > 4 * _TAIL_BYTES:
            del self._tail[:-_TAIL_BYTES]
        rest = memoryview(chunk)
        while self._log is not None and rest:
            try:
                rest = rest[os.write(self._log, rest) :]
            except OSError as error:
                # A full disk must end neither the script nor the stream; the launcher tells of it.
                self.log_error = error
                os.close(self._log)
                self._log = None

    def _end(self) -> None:
        self.open = False
        os.close(self.source)
        if self._log is not None:
            os.close(self._log)
            self._log = None
