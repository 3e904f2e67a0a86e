"""The cluster's processes: started apart from the terminal, recognised without doubt, and ended one by one."""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from localcluster.failure import ClusterError

# Every process is born with this variable, and what it starts inherits it: the shims of containerd are known by it.
MARK = "TFTRAINING_CLUSTER_PROCESS_OF"
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Record:
    """A started process. The start time tells it from a later process that was given the same number."""

    pid: int
    started: int
    fingerprint: str


def start_time(stat: str) -> int | None:
    """Read the start time in the text of a `/proc/PID/stat` file; none for a process that has already ended."""
    # The program's name stands in brackets and may itself hold spaces and brackets.
    state, *numbers = stat.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else int(numbers[18])


def alive(pid: int) -> int | None:
    """Read the start time of a process that runs; none if it does not."""
    try:
        return start_time(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def running(record_file: Path) -> Record | None:
    """Find the process that a record names, if it is still that very process."""
    try:
        record = Record(**json.loads(record_file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return record if alive(record.pid) == record.started else None


def start(argv: Sequence[str], *, record_file: Path, log: Path, fingerprint: str, owner: Path, folders: Iterable[Path]) -> None:
    """Start a process that outlives this one and write its record.

    Raises ClusterError if the program cannot be started.
    """
    environment = {
        "PATH": os.pathsep.join([*map(str, folders), _SYSTEM_PATH]),
        "HOME": str(owner),
        "LANG": "C.UTF-8",
        MARK: str(owner),
    }
    with log.open("ab") as out:
        try:
            process = subprocess.Popen(
                argv, env=environment, cwd=owner, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        except OSError as refused:
            raise ClusterError(f"The program `{argv[0]}` could not be started: {refused.strerror}.") from refused
    record = Record(process.pid, alive(process.pid) or 0, fingerprint)
    unfinished = record_file.with_suffix(".new")
    unfinished.write_text(json.dumps(asdict(record)))
    unfinished.rename(record_file)


def stop(record_file: Path, *, grace: float) -> None:
    """Ask a recorded process to end, insist after `grace` seconds, and drop the record."""
    record = running(record_file)
    if record is not None:
        end({record.pid: record.started}, grace=grace)
    record_file.unlink(missing_ok=True)


def marked(owner: Path) -> dict[int, int]:
    """Find the processes, by number and start time, that are of this state directory or inherited its mark."""
    mark = f"{MARK}={owner}".encode()
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                started = alive(int(entry.name))
                if started is not None:
                    found[int(entry.name)] = started
    return found


def end_marked(owner: Path) -> None:
    """Kill the processes that are of this state directory or inherited its mark, until a look finds none.

    Raises ClusterError if one outlives even that.
    """
    # The kernel shows no environment of a process in the middle of its exec: once none is found another may have come to light.
    while found := marked(owner):
        end(found, grace=0)


def end(processes: dict[int, int], *, grace: float) -> None:
    """Ask processes, given by number and start time, to end; kill those that have not done so after `grace` seconds.

    Raises ClusterError if one outlives even that.
    """
    handles = [handle for pid, started in processes.items() if (handle := _handle(pid, started)) is not None]
    try:
        remaining = handles
        for sent, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
            if not remaining or (sent is signal.SIGTERM and grace <= 0):
                continue
            for handle in remaining:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, sent)
            remaining = _wait(remaining, patience)
        if remaining:
            raise ClusterError(f"{len(remaining)} processes of the cluster outlived SIGKILL; restart the machine.")
    finally:
        for handle in handles:
            os.close(handle)


def _handle(pid: int, started: int) -> int | None:
    # A handle taken before the start time is compared cannot come to mean another process afterwards.
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if alive(pid) == started:
        return handle
    os.close(handle)
    return None


def _wait(handles: list[int], seconds: float) -> list[int]:
    deadline = time.monotonic() + seconds
    remaining = set(handles)
    poller = select.poll()
    for handle in handles:
        poller.register(handle, select.POLLIN)
    while remaining and (left := deadline - time.monotonic()) > 0:
        for handle, _ in poller.poll(left * 1000):
            remaining.discard(handle)
            poller.unregister(handle)
    return [handle for handle in handles if handle in remaining]
