"""PID 1 of the container `trainer`: starts the user's script as by hand, and leaves word of how it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from tftrainer import contract, handover
from tftrainer.contract import DATASETS_PREFIX, PLAN_VARIABLE, STORAGE_PREFIX, Failure, Plan, Reason, RunReport
from tftrainer.handover import Resolved
from tftrainer.layout import MESSAGE_VARIABLE, ROOT_VARIABLE
from tftrainer.run import evidence, memory, outcome, process
from tftrainer.run.outcome import Ending
from tftrainer.run.places import Places
from tftrainer.run.streams import Stream
from tftrainer.run.supervisor import End, Supervisor, Wakeup
from tftrainer.run.usage import Meter

_HOOK_FOLDER = Path(__file__).parent / "hook"
_HOOK_VARIABLE = "TFTRAINING_HOOK"
_OWN_VARIABLES = frozenset({PLAN_VARIABLE, ROOT_VARIABLE, MESSAGE_VARIABLE})
_OWN_FAULT_CODE = 70
_LOCK_SECONDS = 5.0
_LOCK_PAUSE_SECONDS = 0.005


class LaunchError(Exception):
    """The script cannot be started; nothing of it has run."""

    def __init__(self, reason: Reason, message: str, hint: str = "", code: int = _OWN_FAULT_CODE) -> None:
        super().__init__(message)
        self.code = code
        self.failure = Failure(reason=reason, message=message, hint=hint)


def main(plan: Plan, places: Places | None = None) -> int:
    """Run the script of the plan and return the exit code of the container: the script's own, 128+n for signal n.

    70 if the script could not be started at all.
    """
    places = places or Places()
    wakeup = Wakeup()
    try:
        return _launch(plan, places, wakeup)
    except LaunchError as error:
        print(f"tftrainer: {error}", file=sys.stderr, flush=True)
        now = time.time()
        _report(places, RunReport(exit_code=error.code, failure=error.failure, started_at=now, finished_at=now))
        return error.code
    finally:
        wakeup.close()


def _launch(plan: Plan, places: Places, wakeup: Wakeup) -> int:
    lock = _take_lock(places, wakeup)
    try:
        _mark_started(places)
        try:
            resolved = handover.read(Resolved, places.resolved)
        except contract.ContractError as error:
            raise LaunchError(Reason.TRAINER_ERROR, str(error)) from error
        now = time.time()
        if resolved.already_done:
            print("tftrainer: an earlier pod of this attempt has finished and published its outputs; nothing to run", file=sys.stderr)
            _report(places, RunReport(exit_code=0, started_at=now, finished_at=now))
            return 0
        return _run(plan, resolved, places, wakeup)
    finally:
        os.close(lock)


def _run(plan: Plan, resolved: Resolved, places: Places, wakeup: Wakeup) -> int:
    places.logs.mkdir(exist_ok=True)
    places.record.unlink(missing_ok=True)
    streams = [Stream(1, places.logs / "stdout.log"), Stream(2, places.logs / "stderr.log")]
    kills_before = memory.kills()
    process.adopt_orphans()
    _refuse_if_asked_to_stop(wakeup)
    started_at = time.time()
    sys.stdout.flush()
    sys.stderr.flush()
    script = process.start(
        [sys.executable, resolved.script, *resolved.argv],
        script_environment(dict(os.environ), resolved, places),
        resolved.cwd,
        streams[0].script_end,
        streams[1].script_end,
        outcome.largest_file(plan),
    )
    for stream in streams:
        os.close(stream.script_end)
    meter = Meter(places.workspace, plan.workspace_bytes, wakeup.workspace_passed)
    meter.start()
    end = Supervisor(script, streams, wakeup, grace=plan.grace_seconds, deadline=plan.active_deadline_seconds).run()
    meter.stop()
    finished_at = time.time()
    killed = os.WIFSIGNALED(end.status)
    code, failure = outcome.judge(_ending(end, streams, places, memory.kills() - kills_before), plan, places.code, places.dependencies)
    for stream in streams:
        stream.close()
    if streams[0].log_error or streams[1].log_error:
        print(f"tftrainer: the log files are not complete: {streams[0].log_error or streams[1].log_error}", file=sys.stderr)
    if failure is not None:
        print(f"tftrainer: {failure.reason}: {failure.message}", file=sys.stderr, flush=True)
    _report(places, RunReport(exit_code=code, failure=failure, started_at=started_at, finished_at=finished_at, killed=killed))
    return code


def script_environment(environment: dict[str, str], resolved: Resolved, places: Places) -> dict[str, str]:
    """Return the environment of the script: that of the container, without what is the product's own.

    The archive leads `PYTHONPATH`, so that it follows the script's folder on `sys.path` and programs that the script starts
    see it too.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _OWN_VARIABLES and not name.startswith((STORAGE_PREFIX, DATASETS_PREFIX))
    }
    path = [str(_HOOK_FOLDER), *resolved.path]
    if kept.get("PYTHONPATH"):
        path.append(kept["PYTHONPATH"])
    own = {
        "PYTHONPATH": os.pathsep.join(path),
        _HOOK_VARIABLE: os.pathsep.join(map(str, (places.record, places.code, places.dependencies, places.packages))),
    }
    return {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **resolved.environment, **kept, **own}


def _ending(end: End, streams: list[Stream], places: Places, memory_kills: int) -> Ending:
    signalled = os.WTERMSIG(end.status) if os.WIFSIGNALED(end.status) else 0
    return Ending(
        code=0 if signalled else os.WEXITSTATUS(end.status),
        signal=signalled,
        stop=end.stop,
        forced=end.forced,
        memory_kills=memory_kills,
        record=evidence.recorded(places.record),
        stderr=streams[1].tail,
    )


def _take_lock(places: Places, wakeup: Wakeup) -> int:
    """Hold the lock by which the publisher sees this process live.

    The publisher tries the lock for an instant to see whether it is held, so a refusal is final only if it lasts.
    """
    try:
        lock = os.open(places.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LaunchError(
            Reason.TRAINER_ERROR, f"{places.lock} cannot be opened ({error.strerror}); the container `fetch` makes it"
        ) from error
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        _refuse_if_asked_to_stop(wakeup)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise LaunchError(Reason.TERMINATED, "The run was given up before the script started: the publisher has begun.") from None
            time.sleep(_LOCK_PAUSE_SECONDS)
        else:
            return lock


def _refuse_if_asked_to_stop(wakeup: Wakeup) -> None:
    heard = wakeup.read()
    for number in heard:
        if number in (signal.SIGTERM, signal.SIGINT):
            raise LaunchError(Reason.TERMINATED, "The run was stopped before the script started.", code=128 + number)


def _mark_started(places: Places) -> None:
    try:
        places.run_folder.mkdir(exist_ok=True)
        (places.run_folder / "started").write_text(f"{time.time()}\n")
    except OSError as error:
        raise LaunchError(Reason.TRAINER_ERROR, f"{places.run_folder} cannot be written: {error.strerror}") from error


def _report(places: Places, report: RunReport) -> None:
    encoded = contract.encode_report(report)
    # Where the disk is full, the kubelet's message file still takes the report, and the other way round.
    with contextlib.suppress(OSError):
        places.run_folder.mkdir(exist_ok=True)
        temporary = places.run_folder / "result.json.new"
        # The script may have put anything there, even a pipe that nobody reads.
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:
            file.write(encoded)
        temporary.replace(places.run_folder / "result.json")
    with contextlib.suppress(OSError):
        places.termination_log.write_bytes(encoded)


__all__ = ["LaunchError", "main", "script_environment"]
