"""One output stream of the script: on to the container's stream and into the log file, unchanged and unbuffered."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

_CHUNK = 256 * 1024
_PIPE_BYTES = 1024 * 1024
_TAIL_BYTES = 64 * 1024
_COPY_BYTES = 1 << 30


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
        self.log = log
        self.log_error: OSError | None = None
        self.log_was_cut = False
        self._log_file = os.open(log, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        self._log_size = 0
        self._tail = bytearray()
        self.passed = 0
        """Bytes of the script's that were read so far."""

    @property
    def tail(self) -> str:
        """The end of what went through, at most 64 KiB."""
        return bytes(self._tail[-_TAIL_BYTES:]).decode("utf-8", "replace")

    def since(self, passed: int) -> str:
        """Return what went through after so many bytes, of very much the end. Safe to call from any thread."""
        count = min(self.passed - passed, _TAIL_BYTES)
        return bytes(self._tail[-count:]).decode("utf-8", "replace") if count > 0 else ""

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

    def interject(self, line: str) -> None:
        """Put a line of our own into the container's stream, between what the script prints, and not into the log file."""
        if self.target is not None:
            begin = "\n" if self._tail and not self._tail.endswith(b"\n") else ""
            self.pending += f"{begin}{line}\n".encode("utf-8", "replace")
            self.flush()

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
        os.close(self._log_file)

    def log_is_in_place(self) -> bool:
        """Whether the log file still lies where it was made: the script can remove it, or put another in its place."""
        self._look_at_log()
        os.fchmod(self._log_file, 0o644)
        try:
            return os.path.samestat(os.fstat(self._log_file), self.log.lstat())
        except OSError:
            return False

    def write_log_anew(self) -> None:
        """Write the log file once more, where nothing lies in its place: what was removed is there as long as it is open.

        Raises:
            OSError: it cannot be written.
        """
        anew = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            done = 0
            while sent := os.sendfile(anew, self._log_file, done, _COPY_BYTES):
                done += sent
        finally:
            os.close(anew)

    def _restore(self) -> None:
        if self.target is not None:
            with contextlib.suppress(OSError):
                os.set_blocking(self.target, self._blocking)

    def _keep(self, chunk: bytes) -> None:
        self.passed += len(chunk)
        self._tail += chunk[-_TAIL_BYTES:]
        if len(self._tail) > 4 * _TAIL_BYTES:
            del self._tail[:-_TAIL_BYTES]
        if self.log_error is not None:
            return
        rest = memoryview(chunk)
        try:
            self._look_at_log()
            while rest:
                written = os.write(self._log_file, rest)
                self._log_size += written
                rest = rest[written:]
        except OSError as error:
            # A full disk must end neither the script nor the stream; the launcher tells of it.
            self.log_error = error

    def _look_at_log(self) -> None:
        size = os.fstat(self._log_file).st_size
        self.log_was_cut |= size < self._log_size
        self._log_size = size

    def _end(self) -> None:
        self.open = False
        os.close(self.source)
