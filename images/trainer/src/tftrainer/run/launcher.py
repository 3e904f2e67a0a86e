"""PID 1 of the container `trainer`: starts the user's script as by hand, and leaves word of how it ended."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import functools
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from tftrainer import hosted
from tftrainer.layout import MESSAGE_VARIABLE, ROOT_VARIABLE, Layout
from tftrainer.messages import contract, handover
from tftrainer.messages.contract import (
    DATASETS_PREFIX,
    PLAN_VARIABLE,
    STORAGE_PREFIX,
    Elsewhere,
    Failure,
    Message,
    Plan,
    Reason,
    RunReport,
    Usage,
)
from tftrainer.messages.handover import Resolved
from tftrainer.run import elsewhere, evidence, last_line, leaving, memory, outcome, peers, process, standstill, surroundings
from tftrainer.run.backtraces import Backtraces
from tftrainer.run.findings import findings
from tftrainer.run.hints import Setting
from tftrainer.run.inactivity import Watchdog
from tftrainer.run.killed import Killed
from tftrainer.run.last_line import LastLine
from tftrainer.run.open_files import Watch
from tftrainer.run.outcome import Ending, Stop
from tftrainer.run.shared_memory import Gauge
from tftrainer.run.standstill import Signs
from tftrainer.run.streams import Stream
from tftrainer.run.supervisor import Asked, Supervisor, Wakeup
from tftrainer.run.usage import Meter, changed_at
from tftrainer.run.vigil import Notes, Vigil
from tftrainer.withholding import Plain

_HOOK_FOLDER = Path(__file__).parent / "hook"
_HOOK_VARIABLE = "TFTRAINING_HOOK"
_OWN_VARIABLES = frozenset({PLAN_VARIABLE, ROOT_VARIABLE, MESSAGE_VARIABLE})
_OWN_FAULT_CODE = 70
_ALONE = "It runs one process, and TensorFlow may wait for the others: remove TF_CONFIG from the image, or from os.environ"
_TEMPORARY_LIMIT = 64
"""Characters of the folder for temporary files: a socket's path has 107, of which `multiprocessing` takes 33."""
_NOT_THE_SCRIPTS = "This is not the script's fault: run the job again; if it stays so, look at the node."
_NO_THREAD = "can't start new thread"
_LOCK_SECONDS = 5.0
_LOCK_PAUSE_SECONDS = 0.005
_PEERS_PAUSE_SECONDS = 0.05
_SAID_SECONDS = 1.0
_SAID_PAUSE_SECONDS = 0.01


class LaunchError(Exception):
    """The script cannot be started, or not be watched to its end."""

    def __init__(self, reason: Reason, message: str, hint: str = "", code: int = _OWN_FAULT_CODE) -> None:
        super().__init__(message)
        self.code = code
        self.failure = Failure(reason=reason, message=message, hint=hint)


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """What the launcher is given: where its control group is mounted, and its patience.

    That is for how many seconds it waits for a script that does nothing any more, or has passed its last line.
    """

    control_group: Path = memory.CONTROL_GROUP
    patience: float = standstill.PATIENCE_SECONDS


_AROUND = Surroundings()


def main(plan: Plan, layout: Layout | None = None, around: Surroundings = _AROUND) -> int:
    """Run the script of the plan and return the exit code of the container: the script's own, 128+n for signal n.

    70 if the script could not be started at all, or not watched to its end.
    """
    layout = layout or Layout.from_environment()
    try:
        wakeup = Wakeup()
    except OSError as error:
        return _give_up(layout, _not_started(error))
    try:
        return _launch(plan, layout, wakeup, around)
    except LaunchError as error:
        return _give_up(layout, error)
    except OSError as error:
        return _give_up(layout, _not_watched(error) if wakeup.listens else _not_started(error))
    except Exception as error:
        if _NO_THREAD in str(error):
            return _give_up(layout, _not_started(OSError(errno.EAGAIN, _NO_THREAD)))
        # Not before the script starts: what it imports takes its time.
        from tftrainer.phase_error import unexpected

        found = unexpected(error).failure
        return _give_up(layout, LaunchError(found.reason, found.message, found.hint))
    finally:
        wakeup.close()


def _give_up(layout: Layout, error: LaunchError) -> int:
    # Whatever of the script runs already must not run on unseen.
    process.end_all()
    _say(str(error))
    now = time.time()
    _report(layout, RunReport(exit_code=error.code, failure=error.failure, started_at=now, finished_at=now))
    return error.code


def _not_started(error: OSError) -> LaunchError:
    """Tell in words what the machine has refused."""
    what = f"The script cannot be started: {error.filename or 'a process'}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LaunchError(Reason.WORKSPACE_FULL, f"{what}. What was fetched has filled it.", outcome.LESS_WORKSPACE)
    if error.errno == errno.ENOMEM:
        return LaunchError(Reason.OUT_OF_MEMORY, f"{what}.", outcome.LESS_MEMORY)
    if error.errno in (errno.EAGAIN, errno.EMFILE, errno.ENFILE):
        return LaunchError(Reason.TRAINER_ERROR, f"{what}.", "The node has no more processes or open files for this pod: try another node.")
    return LaunchError(Reason.TRAINER_ERROR, f"{what}.", _NOT_THE_SCRIPTS)


def _not_watched(error: OSError) -> LaunchError:
    """Tell in words what the machine has refused when the script ran already."""
    what = f"The script was ended, as it could not be watched any more: {error.filename or 'the launcher'}: {error.strerror or error}."
    return LaunchError(Reason.TRAINER_ERROR, what, _NOT_THE_SCRIPTS)


def _launch(plan: Plan, layout: Layout, wakeup: Wakeup, around: Surroundings) -> int:
    lock = _take_lock(layout, wakeup)
    try:
        _mark_started(layout)
        try:
            resolved = handover.read(Resolved, layout.resolved)
        except contract.ContractError as error:
            raise LaunchError(Reason.TRAINER_ERROR, str(error)) from error
        now = time.time()
        if resolved.already_done:
            _say("an earlier pod of this attempt has finished and published its outputs; nothing to run")
            _report(layout, RunReport(exit_code=0, started_at=now, finished_at=now))
            return 0
        _wait_for_peers(plan, wakeup)
        return _run(plan, resolved, layout, wakeup, around)
    finally:
        os.close(lock)


def _wait_for_peers(plan: Plan, wakeup: Wakeup) -> None:
    if not plan.peers:
        return
    missing = peers.missing(plan, lambda: _refuse_if_asked_to_stop(wakeup, _PEERS_PAUSE_SECONDS), _say)
    if missing:
        raise LaunchError(
            Reason.PEERS_MISSING,
            f"The names of {len(missing)} of the job's replicas were not known within {plan.peers_seconds} s: {peers.in_words(missing)}.",
            "A name is known once its pod has an address: look what those pods wait for, or whether the cluster's DNS works.",
        )


def _run(plan: Plan, resolved: Resolved, layout: Layout, wakeup: Wakeup, around: Surroundings) -> int:
    layout.logs.mkdir(exist_ok=True)
    of_before = (layout.record, layout.last_line, layout.logs / contract.STACKS_NAME)
    for left in (*of_before, *(layout.run_folder / name for name in (contract.NOTES_NAME, contract.FINDINGS_NAME))):
        left.unlink(missing_ok=True)
    streams = [Stream(1, layout.logs / "stdout.log"), Stream(2, layout.logs / "stderr.log")]
    process.adopt_orphans()
    _refuse_if_asked_to_stop(wakeup)
    started_at = time.time()
    sys.stdout.flush()
    sys.stderr.flush()
    environment = script_environment(dict(os.environ), resolved, layout) | peers.variables(plan, version_1="tftrainer_tf1" in sys.modules)
    plain = Plain.of(resolved.argv, environment, (environment.get(name, "") for name in plan.secret_variables))
    _make_folders(environment, resolved, layout)
    foreign = () if plan.peers else surroundings.foreign(environment)
    if foreign:
        _say(f"warning: TF_CONFIG names {len(foreign)} processes ({', '.join(foreign)[:200]}), which are no part of this job. {_ALONE}")
    script = process.start(
        [sys.executable, *(("-m", resolved.module) if resolved.module else (resolved.script,)), *resolved.argv],
        environment,
        resolved.cwd,
        streams[0].script_end,
        streams[1].script_end,
        outcome.largest_file(plan),
    )
    for stream in streams:
        os.close(stream.script_end)
    gauge = Gauge()
    gauge.start()
    wakeup.listen()
    meter = Meter(layout.workspace, plan.workspace_bytes, lambda: wakeup.post(Asked(Stop.WORKSPACE)))
    meter.start()
    notes = Notes(wakeup.post, lambda data: _try_to_leave(layout, contract.NOTES_NAME, data))

    def tell(reason: contract.NoteReason, text: str) -> None:
        notes.tell(reason, plain.without(text))

    vigil = Vigil()
    lost = Killed(script, lambda: memory.read(around.control_group), tell, wakeup.post, vigil.pause, around.patience)
    passed = LastLine(script, layout.last_line, tell, around.patience)
    watchdog = _watchdog(plan, script, streams, layout, environment, tell, wakeup, plain, vigil.pause)
    vigil.start([each.look for each in (lost, passed, watchdog) if each is not None], lambda line: wakeup.post(plain.without(line)))
    watch = Watch(script, layout.workspace, functools.partial(leaving.leave, layout.run_folder, contract.OPEN_NAME))
    watch.start()
    is_lost = outcome.waits_for_peers if plan.peers else None
    grace, deadline = plan.grace_seconds, plan.active_deadline_seconds
    end = Supervisor(script, streams, wakeup, watch, grace=grace, deadline=deadline, is_lost=is_lost).run()
    meter.stop()
    vigil.stop()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished_at = time.time()
    killed = os.WIFSIGNALED(end.status)
    shared = gauge.stop()
    failed = end.status != 0 or end.stop is not None
    setting = Setting(
        layout.workspace,
        plan,
        argv=resolved.argv,
        files=surroundings.files(layout) if failed else (),
        storage=resolved.storage,
        datasets=resolved.datasets,
        shared=shared,
        foreign=foreign,
        in_pod=layout.root == Path("/"),
        near=resolved.near,
        on_version_1=surroundings.on_version_1(plan.runtime, os.environ, layout.packages),
    )
    # A last line that is passed only after the deadline was passed because of it.
    by_deadline = started_at + (plan.active_deadline_seconds or 0)
    waiting = passed.waiting or (last_line.left(layout.last_line, before=by_deadline) if end.stop is Stop.DEADLINE else None) or ()
    signalled = os.WTERMSIG(end.status) if killed else 0
    seen = lost.memory()
    ending = Ending(
        code=0 if signalled else os.WEXITSTATUS(end.status),
        signal=signalled,
        stop=end.stop,
        forced=end.forced,
        lost=end.lost,
        memory_kills=seen.kills,
        record=evidence.recorded(layout.record),
        stderr=streams[1].tail,
        memory=seen,
        since_kill=lost.since_kill(),
        by=plain.without(end.by),
        waiting=last_line.words(waiting),
        hang=watchdog.hang if watchdog is not None else None,
    )
    code, failure = outcome.judge(ending, plan, layout.code, layout.dependencies, setting)
    failure = plain.without_in(failure) if failure is not None else None
    words = [outcome.left_running([plain.without(each) for each in end.left])] if end.left else []
    faults = [fault for stream in streams if (fault := _keep_log(stream, layout, words.append))]
    for stream in streams:
        stream.close()
    words += faults
    if failure is not None:
        words.append(f"{failure.reason}: {failure.message} {failure.hint}".rstrip())
        _leave(layout, contract.FINDINGS_NAME, findings(ending, plan, streams[0].tail, plain.without))
    for line in words:
        _say(line)
    _leave(layout, contract.OPEN_NAME, watch.conclusion(whole=failure is None))
    _leave(layout, contract.ELSEWHERE_NAME, _elsewhere(layout, environment, started_at))
    report = RunReport(
        exit_code=code,
        failure=failure,
        started_at=started_at,
        finished_at=finished_at,
        killed=killed,
        left_running=len(end.left),
        logs_lost=bool(faults),
        memory_kills=ending.memory_kills,
        usage=Usage(
            cpu_seconds=round(spent.ru_utime + spent.ru_stime, 3),
            memory=lost.most(),
            memory_limit=seen.limit,
            workspace=meter.most,
            shared_memory=shared.used,
        ),
    )
    _report(layout, report)
    return code


def _keep_log(stream: Stream, layout: Layout, say: Callable[[str], None]) -> str:
    """Have a log file in its place, whatever the script has done to it, and return why it is not whole, if it is not."""
    name = stream.log.relative_to(layout.workspace)
    error = stream.log_error
    try:
        leaving.claim(layout.logs)
        if not stream.log_is_in_place():
            leaving.clear(stream.log, layout.workspace)
            stream.write_log_anew()
            say(f"the script had removed or replaced {name}: it was written anew")
    except OSError as failed:
        error = error or failed
    why = error or ("the script has overwritten it" if stream.log_was_cut else "")
    return f"{name} is not complete: {why}" if why else ""


def _elsewhere(layout: Layout, environment: Mapping[str, str], since: float) -> Elsewhere:
    try:
        return elsewhere.written(_places_elsewhere(layout, environment), since, environment)
    except OSError:
        return Elsewhere()


def _places_elsewhere(layout: Layout, environment: Mapping[str, str]) -> list[Path]:
    return elsewhere.places(layout, environment, elsewhere.MOUNTS.read_text("utf-8", "surrogateescape"))


def script_environment(environment: dict[str, str], resolved: Resolved, layout: Layout) -> dict[str, str]:
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
    # Of a longer path the sockets that libraries make in there would have none.
    temporary = {"TMPDIR": str(layout.temporary)} if len(str(layout.temporary)) <= _TEMPORARY_LIMIT else {}
    own = {
        "PYTHONPATH": os.pathsep.join(path),
        _HOOK_VARIABLE: os.pathsep.join(map(str, (layout.record, layout.code, layout.dependencies, layout.packages))),
    }
    return {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **temporary, **resolved.environment, **kept, **own}


def _make_folders(environment: Mapping[str, str], resolved: Resolved, layout: Layout) -> None:
    # A script that can do without is not kept from running.
    with contextlib.suppress(OSError):
        if environment.get("TMPDIR") == str(layout.temporary):
            layout.temporary.mkdir(exist_ok=True)
    hosted.make(layout, resolved.environment, hosted.named("\n".join(environment.values()).encode("utf-8", "surrogateescape")))


def _watchdog(
    plan: Plan,
    script: int,
    streams: Sequence[Stream],
    layout: Layout,
    environment: Mapping[str, str],
    tell: Callable[[contract.NoteReason, str], None],
    wakeup: Wakeup,
    plain: Plain,
    pause: Callable[[float], bool],
) -> Watchdog | None:
    if plan.inactivity_seconds is None:
        return None
    effort = process.Effort()
    folders = [layout.workspace, *_places_elsewhere(layout, environment)]

    def say(line: str) -> None:
        # What it announces comes by another way, and must not overtake it.
        wakeup.post(plain.without(line))
        until = time.monotonic() + _SAID_SECONDS
        while not wakeup.all_taken and time.monotonic() < until and not pause(_SAID_PAUSE_SECONDS):
            pass

    def signs() -> Signs:
        printed = sum(stream.passed for stream in streams)
        return Signs(effort.so_far(), printed, time.time(), any(stream.pending for stream in streams))

    return Watchdog(
        plan.inactivity_seconds,
        plan.on_inactivity,
        signs,
        lambda: changed_at(folders, but=(layout.run_folder, layout.logs)),
        Backtraces(script, streams[-1], say, pause, plain.without),
        lambda stacks: _keep_stacks(layout, plain.without(stacks)),
        tell,
        wakeup.post,
        lambda seconds, stacks: outcome.hang(seconds, stacks, layout.code, layout.dependencies),
        lambda: wakeup.asked_to_end or process.is_ending(script),
    )


def _keep_stacks(layout: Layout, stacks: str) -> None:
    # They are in the log too.
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(layout.logs / contract.STACKS_NAME, flags, 0o644), "a", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n{stacks}\n")


def _take_lock(layout: Layout, wakeup: Wakeup) -> int:
    """Hold the lock by which the publisher sees this process live.

    The publisher tries the lock for an instant to see whether it is held, so a refusal is final only if it lasts.
    """
    try:
        lock = os.open(layout.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LaunchError(
            Reason.TRAINER_ERROR, f"{layout.lock} cannot be opened ({error.strerror}); the container `fetch` makes it"
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


def _refuse_if_asked_to_stop(wakeup: Wakeup, seconds: float = 0) -> None:
    number = wakeup.stop_asked(seconds)
    if number:
        raise LaunchError(Reason.TERMINATED, "The run was stopped before the script started.", code=128 + number)


def _mark_started(layout: Layout) -> None:
    layout.run_folder.mkdir(exist_ok=True)
    (layout.run_folder / contract.STARTED_NAME).write_text(f"{time.time()}\n")


def _say(text: str) -> None:
    # Nobody need be reading any more, and Python's own stream would fail once more when it is closed.
    with contextlib.suppress(OSError):
        os.write(2, f"tftrainer: {text}\n".encode("utf-8", "replace"))


def _report(layout: Layout, report: RunReport) -> None:
    encoded = contract.encode_report(report)
    # Where the disk is full, the kubelet's message file still takes the report, and the other way round.
    with contextlib.suppress(OSError):
        leaving.leave_last(layout.run_folder, contract.RESULT_NAME, encoded)
    with contextlib.suppress(OSError):
        layout.termination_log.write_bytes(encoded)


def _try_to_leave(layout: Layout, name: str, data: bytes) -> None:
    # The same is in the log.
    with contextlib.suppress(OSError):
        leaving.leave(layout.run_folder, name, data)


def _leave(layout: Layout, name: str, message: Message) -> None:
    # Without it the publisher knows less; the run has ended as it has.
    with contextlib.suppress(OSError):
        leaving.leave_last(layout.run_folder, name, msgspec.json.encode(message))


__all__ = ["LaunchError", "Surroundings", "main", "script_environment"]
