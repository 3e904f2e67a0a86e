"""The script's process and everything that descends from it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_NOT_STARTED = 127
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make processes that lose their parent children of this one, so that none outlives it. PID 1 is their parent anyway."""
    if os.getpid() == 1:
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(command: Sequence[str], environment: Mapping[str, str], folder: str, stdout: int, stderr: int, largest_file: int) -> int:
    """Start a program as the leader of its own session with no input and no core dump, and return its process id.

    `largest_file` is the size in bytes that no file it writes can pass. If it cannot be started, the process says why on
    `stderr` and ends with code 127.
    """
    # The writing end closes when the program has taken the child's place: from then on signals reach it, not a copy of this.
    replaced, until_then = os.pipe()
    child = os.fork()
    if child:
        os.close(until_then)
        os.read(replaced, 1)
        os.close(replaced)
        return child
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for wanted, given in ((0, nothing), (1, stdout), (2, stderr)):
            os.dup2(given, wanted)
        for restored in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(restored, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = largest_file if hard == resource.RLIM_INFINITY else min(hard, largest_file)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        os.chdir(folder)
        os.execve(command[0], list(command), dict(environment))  # noqa: S606 - the user's own program is what this is for
    except BaseException as error:  # nothing of the launcher may run on in the child
        os.write(2, f"tftrainer: {command[0]} could not be started in {folder}: {error}\n".encode())
    finally:
        os._exit(_NOT_STARTED)


def send(group: int, number: int) -> None:
    """Send a signal to a process group, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def ask_outsiders(group: int) -> None:
    """Send SIGTERM to all that descends from this process and has left a process group."""
    for process in list(outsiders(group)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGTERM)


def ask_for_stacks(process: int) -> bool:
    """Make a Python process print the stacks of all its threads, and tell whether it can: the signal would end any other program."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("SigCgt:") and int(line.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1:
                os.kill(process, signal.SIGUSR1)
                return True
    return False


def children() -> Iterator[int]:
    """Give the ids of this process's children, dead ones included."""
    own = os.getpid()
    return (child for child, parent, _ in _processes() if parent == own)


def outsiders(group: int) -> Iterator[int]:
    """Give the ids of all that descends from this process and has left a process group."""
    family = {os.getpid()}
    everyone = list(_processes())
    while more := {child for child, parent, _ in everyone if parent in family} - family:
        family |= more
    return (child for child, _, of in everyone if child in family and child != os.getpid() and of != group)


def _processes() -> Iterator[tuple[int, int, int]]:
    """Give id, parent and process group of all processes, dead ones included."""
    for entry in os.listdir("/proc"):  # noqa: PTH208 - the names alone are wanted
        if entry.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The command's name is in parentheses and may hold anything; parent and group are the fields after its state.
                fields = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()
                yield int(entry), int(fields[1]), int(fields[2])


def end_all() -> None:
    """Kill and reap every child until there is none: the grandchildren of each become children when it dies."""
    while found := list(children()):
        for child in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        for child in found:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)
