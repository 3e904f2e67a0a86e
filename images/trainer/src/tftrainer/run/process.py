"""The script's process and everything that descends from it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from tftrainer.run.standstill import Work

_NOT_STARTED = 127
_FIRST = 1
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PF_EXITING = 4
_DEAD = (b"Z", b"X")
_TICKS = os.sysconf("SC_CLK_TCK")


def adopt_orphans() -> None:
    """Make processes that lose their parent children of this one, so that none outlives it. PID 1 is their parent anyway."""
    if os.getpid() != _FIRST:
        _control(_PR_SET_CHILD_SUBREAPER, 1)


def _control(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def start(command: Sequence[str], environment: Mapping[str, str], folder: str, stdout: int, stderr: int, largest_file: int) -> int:
    """Start a program as the leader of its own session with no input and no core dump, and return its process id.

    `largest_file` is the size in bytes that no file it writes can pass. If it cannot be started, the process says why on
    `stderr` and ends with code 127. It is killed when the thread that calls this ends, so that has to be the main thread.
    """
    parent = os.getpid()
    # The writing end closes when the program has taken the child's place: from then on signals reach it, not a copy of this.
    replaced, until_then = os.pipe()
    child = os.fork()
    if child:
        os.close(until_then)
        os.read(replaced, 1)
        os.close(replaced)
        return child
    try:
        if parent != _FIRST:
            # Of PID 1 the kernel lets nothing live on.
            _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(_NOT_STARTED)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for wanted, given in ((0, nothing), (1, stdout), (2, stderr)):
            os.dup2(given, wanted)
        for restored in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(restored, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
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
    with contextlib.suppress(OSError):
        os.killpg(group, number)


def ask_outsiders(group: int) -> None:
    """Send SIGTERM to all that descends from this process and has left a process group."""
    for process in list(outsiders(group)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGTERM)


def ask_for_stacks(process: int) -> bool:
    """Make a Python process print the stacks of all its threads, and tell whether it can: the signal would end any other program."""
    return send_to_who_hears(process, signal.SIGUSR1)


def ask_again(process: int) -> None:
    """Have the script's interpreter do what SIGTERM, which it was sent, means, if TensorFlow has kept it (`hook/sitecustomize`)."""
    send_to_who_hears(process, signal.SIGURG)


def send_to_who_hears(process: int, number: int) -> bool:
    """Send a signal to a process that has a handler for it, and tell whether it has."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("SigCgt:") and int(line.split()[1], 16) >> (number - 1) & 1:
                os.kill(process, number)
                return True
    return False


def children() -> Iterator[int]:
    """Give the ids of this process's children, dead ones included."""
    own = os.getpid()
    return (each.number for each in _processes() if each.parent == own)


def descendants() -> Iterator[int]:
    """Give the ids of all that descends from this process and is not about to be gone."""
    return (each.number for each in _family() if not each.ending)


def outsiders(group: int) -> Iterator[int]:
    """Give the ids of all that descends from this process and has left a process group."""
    return (each.number for each in _family() if each.group != group)


def is_below(number: int) -> bool | None:
    """Whether a process descends from this one; None if it is gone, so that nobody can tell."""
    if _process(number) is None:
        return None
    return any(each.number == number for each in _family())


def work() -> dict[int, Work]:
    """Return what each process that descends from this one has done, the dead children that it has waited for included."""
    return {each.number: Work(each.cpu, _moved(each.number)) for each in _family()}


class Effort:
    """What all processes that descend from this one have done together since this was made, those that are gone by now included."""

    def __init__(self) -> None:
        self._by_process: dict[int, Work] = {}
        self._all = Work()

    def so_far(self) -> Work:
        """Look once more, and return it."""
        seen = work()
        for number, done in seen.items():
            before = self._by_process.get(number, Work())
            self._all += Work(max(done.cpu - before.cpu, 0.0), max(done.io - before.io, 0))
        self._by_process = seen
        return self._all


def _moved(number: int) -> int:
    """Return how many bytes a process has read and written; 0 where this one may not look."""
    try:
        with open(f"/proc/{number}/io", "rb", buffering=0) as file:  # noqa: PTH123
            fields = dict(line.split(b": ") for line in file.read().splitlines())
        return int(fields[b"rchar"]) + int(fields[b"wchar"])
    except (OSError, ValueError, KeyError):
        return 0


def is_ending(number: int) -> bool:
    """Whether a process is gone, dead, or about to be."""
    found = _process(number)
    return found is None or found.ending


def command(number: int) -> str:
    """Return the words that a process was started with, between blanks; empty for one that is gone."""
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    name, *rest = (word.decode("utf-8", "replace") for word in words)
    return " ".join([name.rpartition("/")[2], *rest])


@dataclasses.dataclass(frozen=True, slots=True)
class _Process:
    number: int
    parent: int
    group: int
    ending: bool
    cpu: float


def _family() -> list[_Process]:
    """Return all that descends from this process."""
    own = os.getpid()
    family = {own}
    everyone = list(_processes())
    while more := {each.number for each in everyone if each.parent in family} - family:
        family |= more
    return [each for each in everyone if each.number in family and each.number != own]


def _processes() -> Iterator[_Process]:
    """Give all processes, dead ones included."""
    for entry in os.listdir("/proc"):  # noqa: PTH208 - the names alone are wanted
        if entry.isdecimal() and (found := _process(int(entry))):
            yield found


def _process(number: int) -> _Process | None:
    try:
        # Once a second for each process of the machine: a path object would take as long again.
        with open(f"/proc/{number}/stat", "rb", buffering=0) as file:  # noqa: PTH123
            line = file.read()
        # The command's name is in parentheses and may hold anything; the fields after it begin with its state.
        state, parent, group, _, _, _, flags, _, _, _, _, *times = line.rpartition(b")")[2].split()[:15]
    except (OSError, ValueError):
        return None
    ending = state in _DEAD or bool(int(flags) & _PF_EXITING)
    return _Process(number, int(parent), int(group), ending, cpu=sum(map(int, times)) / _TICKS)


def end_all(but: Collection[int] = ()) -> None:
    """Kill and reap every child but some until there is no other: the grandchildren of each become children when it dies."""
    while found := [child for child in children() if child not in but]:
        for child in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        for child in found:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)
