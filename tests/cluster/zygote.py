"""Processes of the product forked from one that has imported them, so that a test does not wait for half a second of imports each time.

A child has arguments, environment, streams and signals of its own, runs the real `__main__` and ends as an interpreter ends. The process
that it is forked from has one thread and has imported what this one program imports. What differs from a start by the command line: that
in `/proc` is this process's, which is its parent too, and all children have one seed of `hash`. The phases of a run without a cluster,
`run`, the stops during imports and the operator of a soak have real command lines.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

IMPORTS = {
    "fetch": ("tftrainer.fetch.phase", "tftrainer.storage.store"),
    "publish": ("tftrainer.publish.phase", "tftrainer.outputs.upload", "tftrainer.storage.opening", "tftrainer.storage.store"),
    "operator": (
        *("tftraining_operator.api.crd", "tftraining_operator.settings", "tftraining_operator.handlers", "tftraining_operator.kube.client"),
        *("tftraining_operator.kube.credentials", "tftraining_operator.runtime.logs", "tftraining_operator.runtime.process"),
    ),
}
"""What a phase, or the operator, imports in every case."""
HEARD = (signal.SIGINT, signal.SIGHUP)
"""What a process may have been told to ignore, and its children then do too."""
LONGEST = 1024**2
"""Bytes of one request at most: arguments and environment."""


class Forked:
    """A running child: the part of `subprocess.Popen` that the tests use, with both streams in one pipe."""

    def __init__(self, output: int, status: socket.socket) -> None:
        self.stdout = os.fdopen(output, "rb", 0)
        self.returncode: int | None = None
        self._said = b""
        self._status = status
        self.pid = self._told()

    def poll(self) -> int | None:
        return self._end(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code as `Popen` gives it; raises TimeoutExpired."""
        code = self._end(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"forked {self.pid}", timeout or 0.0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Return all that the child, and whatever has its streams, has written; raises TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.stdout.closed:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            if not select.select([self.stdout], [], [], left)[0]:
                raise subprocess.TimeoutExpired(f"forked {self.pid}", timeout or 0.0)
            data = self.stdout.read(65536) or b""
            self._said += data
            if not data:
                self.stdout.close()
        self.wait(None if deadline is None else max(deadline - time.monotonic(), 0.0))
        return self._said.decode(), None

    def send_signal(self, number: int) -> None:
        # Between its end and the news of it the number may be nobody's.
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _end(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._status.settimeout(timeout)
            with contextlib.suppress(TimeoutError, BlockingIOError):
                # Left where it is: another thread may wait for it too.
                self.returncode = self._told(socket.MSG_PEEK)
        return self.returncode

    def _told(self, flags: int = 0) -> int:
        said = self._status.recv(16, flags)
        assert said, "the process that forks others has died: what it said is on standard error"
        return int(said)


class Zygote:
    """The process that has imported a phase. Safe to use from several threads."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def start(self, argv: Sequence[str], environment: Mapping[str, str], log: IO[bytes] | None = None) -> Forked:
        """Start what `python3 -I` would with these arguments: `-m MODULE` or a file, and theirs. With a `log`, both streams go there."""
        ignored = [int(number) for number in HEARD if signal.getsignal(number) is signal.SIG_IGN]
        output, given = os.pipe() if log is None else (os.open(os.devnull, os.O_RDONLY), os.dup(log.fileno()))
        status, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with told:
            request = json.dumps({"argv": list(argv), "environment": dict(environment), "ignored": ignored}).encode()
            socket.send_fds(self._control, [request], [given, told.fileno()])
        os.close(given)
        return Forked(output, status)


def of(phase: str, first: str = "") -> Zygote:
    """Return the process that has run some code and imported a phase, or the operator; it ends with this one."""
    with _one_at_a_time:
        return _started(phase, first)


_one_at_a_time = threading.Lock()


@functools.cache
def _started(phase: str, first: str) -> Zygote:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
    with its:
        # Streams are made as those of a pod's process: no locale, no terminal.
        subprocess.Popen(
            [sys.executable, "-I", __file__, phase, first, str(its.fileno())],
            env={"PATH": os.environ["PATH"]},
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    return Zygote(ours)


def _serve(control: socket.socket) -> Callable[[], Any]:
    """Fork a child for each request and tell how it ends, until nobody can ask any more; return, in a child, what it runs."""
    # Not epoll, which a child would share.
    with selectors.PollSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    selector.unregister(key.fileobj)
                    _tell(key.fd, *key.data)
                    continue
                request, received, _, _ = socket.recv_fds(control, LONGEST, 2)
                if not request:
                    return lambda: None
                status = socket.socket(fileno=received[1])
                pid = os.fork()
                if not pid:
                    running = [each for each in selector.get_map().values() if each.data]
                    for handle in running:
                        os.close(handle.fd)
                    for each in (control, status, *(handle.data[1] for handle in running)):
                        each.close()
                    return _become(json.loads(request), received[0])
                os.close(received[0])
                status.send(str(pid).encode())
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def _tell(handle: int, pid: int, status: socket.socket) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(handle)
    # Whoever asked may be gone.
    with status, contextlib.suppress(OSError):
        status.send(str(code).encode())


def _become(request: dict[str, Any], output: int) -> Callable[[], Any]:
    """Make this process what it would be if it had been started, and return what it runs."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(request["environment"])
    for number in HEARD:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if int(number) in request["ignored"] else usual)
    kind, *rest = request["argv"]
    if kind == "-m":
        sys.argv = ["-m", *rest[1:]]
        return lambda: runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    sys.argv = [kind, *rest]
    return lambda: runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    # An interruption from the terminal is for the tests, which end this process by ending themselves.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    phase, first, control = sys.argv[1:]
    exec(compile(first, "<what is run first>", "exec"), {})
    for module in IMPORTS[phase]:
        importlib.import_module(module)
    run = _serve(socket.socket(fileno=int(control)))
    run()
