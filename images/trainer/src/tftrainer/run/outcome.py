"""From how the script's process ended to what the user is told. Pure: facts in, exit code and failure out."""

from __future__ import annotations

import collections
import dataclasses
import enum
import errno
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tftrainer.messages.contract import STACKS_NAME, TRACEBACK_LIMIT, Failure, Plan, Reason
from tftrainer.messages.excerpt import excerpt
from tftrainer.run import evidence, hints, wording
from tftrainer.run.evidence import Evidence
from tftrainer.run.hints import Setting
from tftrainer.run.memory import Memory

_UNKNOWN = Memory()
TERMINATED_CODE = 128 + signal.SIGTERM
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS, signal.SIGTRAP})
_UNFLUSHED = 120
"""Python's exit code where it could not flush its output at the end, whatever it would have been otherwise."""
_FAULT = "Fatal Python error:"
_CURRENT = "Current thread"
_AT_START = re.compile(r'Current thread .*\n +File ".*/tensorflow/python/eager/context\.py", line \d+ in ensure_initialized\n')
_RECENT_SECONDS = 60.0
_CODES_OF_A_KILLED_CHILD = frozenset({137, 247})
"""What a script ends with that passes on how a killed process of its own ended."""
_HANDLER = "PreemptionCheckpointHandler"
_RESTART_CODES = frozenset({42, TERMINATED_CODE})
"""What it ends a script with by default: the second on machines of Google's cloud."""
_LOST_PROCESS = frozenset(
    {"BrokenProcessPool", "BrokenExecutor", "TerminatedWorkerError", "WorkerLostError", "WorkerCrashedError", "ProcessExitedException"}
)
_CUT_OFF = frozenset({"EOFError", "ConnectionResetError", "ConnectionAbortedError", "ConnectionRefusedError", "BrokenPipeError"})
_LOST_WORDS = re.compile(
    r"terminated abruptly|unexpectedly terminated|(exited|died|terminated) unexpectedly|killed by signal: Killed|SIGKILL"
    r"|\bworkers?\b.{0,40}\b(died|killed|lost)\b|exit ?(code|status):? ?(-9|137)\b|exitcode=-9",
    re.IGNORECASE,
)
_LET_IT_END = "Let that end, or make it a daemon (daemon=True)."
LESS_WORKSPACE = "Raise spec.resources.workspace, or write less: fetched data, outputs and logs all count."
LESS_MEMORY = "Raise spec.resources.memory, or use less: a smaller batch, fewer worker processes, or data that is read in pieces."
_TEXT_LIMIT = 1000
_LINE_LIMIT = 10**9
_COMMANDS = 5
_COMMAND_LIMIT = 160


class Stop(enum.Enum):
    """Why the launcher ended the script."""

    ASKED = "a signal from outside"
    DEADLINE = "the deadline"
    WORKSPACE = "the workspace limit"
    MEMORY = "a standstill after a process was killed for want of memory"
    HUNG = "no sign of life for as long as the job allows"
    OWN = "a signal that the script itself sent"


@dataclasses.dataclass(frozen=True, slots=True)
class Hang:
    """A script that gave no sign of life for so many seconds: the innermost line of the user's where it waits, and the stack around it.

    `stacks` are those of all its processes. `aborted`: some of them were asked by a signal that ends them.
    """

    seconds: int
    file: str = ""
    line: int = 0
    stack: str = ""
    stacks: str = ""
    aborted: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """The facts. `signal` is 0 if the process ended itself with `code`. `stderr` is the end of its standard error.

    `memory_kills` is how many processes the kernel killed for want of memory meanwhile, the last of them `since_kill` seconds before the
    end, and `memory` has limit and peak. `forced`: it had to be killed because it did not end within the grace period, or, if `lost`, while
    TensorFlow waited for other replicas. `by` is who of its
    own processes asked for the stop, and `waiting` who kept it alive when its last line was passed, in words. `hang` is where it waited
    when it was ended because it did nothing.
    """

    code: int
    signal: int = 0
    stop: Stop | None = None
    forced: bool = False
    lost: bool = False
    memory_kills: int = 0
    record: Evidence | None = None
    stderr: str = ""
    memory: Memory = _UNKNOWN
    since_kill: float | None = None
    by: str = ""
    waiting: str = ""
    hang: Hang | None = None


def judge(ending: Ending, plan: Plan, code: Path, dependencies: Path, setting: Setting | None = None) -> tuple[int, Failure | None]:
    """Return the exit code of the container and the failure; None if the script did its work.

    A script that was told to stop has not done its work even if it then ends with 0: its code becomes that of SIGTERM.
    """
    setting = setting or Setting(code.parent, plan)
    exit_code = 128 + ending.signal if ending.signal else ending.code
    if ending.stop is not None:
        return exit_code or TERMINATED_CODE, _stopped(ending, ending.stop, plan, code, dependencies, setting)
    if exit_code == 0:
        return 0, None
    found = _uncaught(ending, code, dependencies)
    if ending.memory_kills and _for_want_of_memory(ending, found):
        return exit_code, _out_of_memory(ending, code, dependencies)
    if found is not None:
        raised = _raised(found, plan, setting)
        return exit_code, raised if raised.hint else msgspec.structs.replace(raised, hint=_killed_shortly_before(ending))
    if ending.signal:
        return exit_code, _by_signal(ending, plan, code, dependencies, setting)
    return exit_code, _preempted(ending) if _saved_before_a_preemption(ending, plan) else _exited(ending, code, dependencies, setting)


def _uncaught(ending: Ending, code: Path, dependencies: Path) -> Evidence | None:
    """Return the exception that ended the script. Python's exit code for one is 1, but of a KeyboardInterrupt it dies by SIGINT."""
    if ending.signal == signal.SIGINT:
        found = evidence.printed(ending.stderr, code, dependencies)
        return found if found and found.type == KeyboardInterrupt.__name__ else None
    if ending.signal in _CRASHES or ending.code == _UNFLUSHED:
        # The exception comes first: what Python, or a library, fails at while it ends is not why it ends.
        return ending.record
    if ending.signal or ending.code != 1:
        return None
    return ending.record or evidence.printed(ending.stderr, code, dependencies)


def _for_want_of_memory(ending: Ending, found: Evidence | None) -> bool:
    """Whether the kill of a process is why the script ended: it may have made up for it, and failed hours later of something else."""
    if ending.signal == signal.SIGKILL:
        return True
    if found is not None:
        return _lost_a_process(found)
    return _is_recent(ending) or (not ending.signal and ending.code in _CODES_OF_A_KILLED_CHILD)


def _is_recent(ending: Ending) -> bool:
    """Whether a process was killed for want of memory so shortly before the end that the end may have to do with it."""
    return ending.since_kill is not None and ending.since_kill <= _RECENT_SECONDS


def _killed_shortly_before(ending: Ending) -> str:
    """Return what to do where an exception does not say what it came of, but a process was killed just before; else nothing."""
    if not ending.memory_kills or not _is_recent(ending):
        return ""
    return (
        f"{LESS_MEMORY} Shortly before, the kernel killed {_killed(ending.memory_kills)} for want of it: {_limit_and_peak(ending.memory)}."
    )


def _killed(count: int) -> str:
    return f"{count} processes of the script" if count > 1 else "a process of the script"


def _lost_a_process(found: Evidence) -> bool:
    name = found.type.rpartition(".")[2]
    # The end of a pipe is a matter of the worker behind it; of a file or a store it is not.
    cut_off = name in _CUT_OFF and "multiprocessing" in found.traceback
    return name in _LOST_PROCESS or cut_off or bool(_LOST_WORDS.search(found.message))


def _saved_before_a_preemption(ending: Ending, plan: Plan) -> bool:
    """Whether the script's code for its end is TensorFlow's own for a restart.

    In a group one replica hears of its preemption, and all of them save and end. Of one that is alone its words have to say so.
    """
    return ending.code in _RESTART_CODES and (bool(plan.peers) or _HANDLER in ending.stderr)


def _preempted(ending: Ending) -> Failure:
    return Failure(
        reason=Reason.TERMINATED,
        message=f"The script ended itself with exit code {ending.code}, as TensorFlow's {_HANDLER} does when it has saved.",
        hint="The next attempt goes on from what was saved. If the script has chosen that code itself, let it choose another.",
        traceback=_tail(ending.stderr),
    )


def _stopped(ending: Ending, stop: Stop, plan: Plan, code: Path, dependencies: Path, setting: Setting) -> Failure:
    forced = f" It {killed_after_all(ending, plan)}." if ending.forced else ""
    tail = _tail(ending.stderr)
    if stop is Stop.DEADLINE:
        return Failure(
            reason=Reason.DEADLINE_EXCEEDED,
            message=f"The script was stopped after running for {plan.active_deadline_seconds} s.{forced}",
            hint=hints.foreign_cluster(setting)
            or _ended_but_for(ending.waiting)[:_TEXT_LIMIT]
            or "Raise spec.activeDeadlineSeconds, or make the script do less.",
            traceback=tail,
        )
    if stop is Stop.HUNG:
        return _hung(ending, plan, forced, setting)
    if stop is Stop.MEMORY:
        return _out_of_memory(ending, code, dependencies)
    if stop is Stop.OWN:
        return Failure(
            reason=Reason.SCRIPT_EXITED,
            message=f"The script stopped itself: its {ending.by} sent a signal to the process that has started it.{forced}"[:_TEXT_LIMIT],
            hint="Nobody outside of its container has asked it to stop. To end itself, a script calls sys.exit.",
            traceback=tail,
        )
    if stop is Stop.WORKSPACE:
        return _workspace_full(f"The script was stopped because the workspace holds more than {_size(plan.workspace_bytes)}.{forced}", tail)
    return Failure(reason=Reason.TERMINATED, message=f"The script was asked to stop before it had ended by itself.{forced}", traceback=tail)


def killed_after_all(ending: Ending, plan: Plan) -> str:
    """Say of a script that was asked to end why it had to be killed."""
    if ending.lost:
        return "was killed while TensorFlow waited for other replicas of the job, and kept the signal to itself"
    return f"did not end within {plan.grace_seconds} s of being asked to and was killed"


def waits_for_peers(stderr: str) -> bool:
    """Whether the stacks that the interpreter was asked for last show that TensorFlow waits, at its start, for the whole cluster.

    Meanwhile it keeps SIGTERM to itself, no line of the script can run, and nothing is trained yet that could be saved.
    """
    return bool(_AT_START.match(_dumped(stderr)))


def hang(seconds: int, stacks: str, code: Path, dependencies: Path) -> Hang:
    """Return where a script waits, by the stacks of its processes: its own thread goes before others, and its own process too."""
    dumped = stacks.split("\n\n")
    for stack in sorted(dumped, key=lambda each: _CURRENT not in each):
        own = evidence.deepest_own_frame(_newest_last(stack), code, dependencies)
        if own is not None:
            return Hang(seconds, *own, stack, stacks)
    return Hang(seconds, stack=next((each for each in dumped if _CURRENT in each), stacks), stacks=stacks)


def in_words(found: Hang) -> str:
    """Say at once that a script gives no sign of life."""
    place = f" It waits at {found.file}, line {found.line}." if found.line else ""
    return (
        f"for {found.seconds} s the script has printed nothing, written to no file, and used less than 1 % of a core "
        f"(spec.inactivitySeconds).{place} The log says where its threads are, as far as they could be asked"
    )


def goes_on_after(found: Hang, seconds: int) -> str:
    """Say that it does something again."""
    place = f" It had waited at {found.file}, line {found.line}." if found.line else ""
    return f"the script goes on, after it had given no sign of life for {seconds} s.{place}"


def _hung(ending: Ending, plan: Plan, forced: str, setting: Setting) -> Failure:
    found = ending.hang or Hang(plan.inactivity_seconds or 0)
    place = f", and waited at {found.file}, line {found.line}" if found.line else ""
    return Failure(
        reason=Reason.SCRIPT_HUNG,
        message=(
            f"The script was stopped because it did nothing for {found.seconds} s{place}: it printed nothing, wrote to no file, and used "
            f"less than 1 % of a core.{forced}"
        )[:_TEXT_LIMIT],
        hint=hints.foreign_cluster(setting)
        or _ended_but_for(ending.waiting)[:_TEXT_LIMIT]
        or f"The log, and {STACKS_NAME} beside it in the bucket, say where its threads waited, as far as they could be asked. "
        "If it may rest so long, raise spec.inactivitySeconds, or let it print something now and then.",
        file=found.file[:_TEXT_LIMIT],
        line=found.line or None,
        traceback=excerpt(found.stack, TRACEBACK_LIMIT, found.file, found.line) or _tail(ending.stderr),
    )


def _workspace_full(message: str, tail: str) -> Failure:
    return Failure(
        reason=Reason.WORKSPACE_FULL,
        message=message,
        hint=LESS_WORKSPACE,
        traceback=tail,
    )


def largest_file(plan: Plan) -> int:
    """Return the bytes that no file of the script's can pass.

    The kernel holds a script to it that fills the workspace before its use is next measured. It is the same limit for every file,
    so the largest place of the container decides.
    """
    return max(plan.workspace_bytes, plan.shared_memory_bytes)


def _file_too_large(plan: Plan, traceback: str) -> Failure:
    return Failure(
        reason=Reason.WORKSPACE_FULL,
        message=(
            f"The script wrote, or reserved, a single file of more than {_size(largest_file(plan))}: no file may be larger than "
            f"spec.resources.workspace ({_size(plan.workspace_bytes)}), or spec.resources.sharedMemory "
            f"({_size(plan.shared_memory_bytes)}) where that is more."
        ),
        hint="Raise spec.resources.workspace, or spec.resources.sharedMemory if the file is in /dev/shm; or write less.",
        traceback=traceback,
    )


def _out_of_memory(ending: Ending, code: Path, dependencies: Path) -> Failure:
    who = "the script" if ending.stop is None and ending.signal == signal.SIGKILL else _killed(ending.memory_kills)
    stood = ending.stop is Stop.MEMORY
    stack = _dumped(ending.stderr) if stood else ""
    file, line = evidence.deepest_frame(_newest_last(stack), code, dependencies) if stack else ("", 0)
    place = f" at {file}, line {line}," if file and line else ""
    then = f" The rest of it, which waits{place} did nothing any more and was ended." if stood else ""
    return Failure(
        reason=Reason.OUT_OF_MEMORY,
        message=f"The kernel killed {who} for want of memory: {_limit_and_peak(ending.memory)}.{then}"[:_TEXT_LIMIT],
        hint=LESS_MEMORY,
        file=file[:_TEXT_LIMIT],
        line=line or None,
        traceback=excerpt(stack, TRACEBACK_LIMIT, file, line) or _tail(ending.stderr),
    )


def killed_meanwhile(memory: Memory) -> str:
    """Say at once that processes were killed, as many as `memory` counts, and the script goes on."""
    return f"the kernel killed {_killed(memory.kills)} for want of memory: {_limit_and_peak(memory)}. {LESS_MEMORY}"


def past_the_last_line(seconds: int, waiting: str) -> str:
    """Say who keeps a script alive whose main program has ended."""
    return f"the script's last line was passed {seconds} s ago, and it still waits for {waiting}. {_LET_IT_END}"


def _ended_but_for(waiting: str) -> str:
    return f"The script's last line was passed, but it waited for {waiting}. {_LET_IT_END}" if waiting else ""


def _limit_and_peak(memory: Memory) -> str:
    if memory.limit is None:
        return "the container has no limit of its own, so that the machine's memory was full"
    peak = f", and the peak was {memory.peak / 1024**2:.0f}Mi" if memory.peak is not None else ""
    return f"the container's limit, spec.resources.memory, is {_size(memory.limit)}{peak}"


def _by_signal(ending: Ending, plan: Plan, code: Path, dependencies: Path, setting: Setting) -> Failure:
    name = signal_name(ending.signal)
    if ending.signal == signal.SIGXFSZ:
        return _file_too_large(plan, _tail(ending.stderr))
    if ending.signal not in _CRASHES:
        return Failure(
            reason=Reason.SCRIPT_KILLED,
            message=f"The script was killed by {name}, which nobody outside its container has sent.",
            hint="Look in the log for what the script or a library did just before.",
            traceback=_tail(ending.stderr),
        )
    start = ending.stderr.rfind(_FAULT)
    stack = ending.stderr[start:] if start >= 0 else ""
    file, line = evidence.deepest_frame(_newest_last(stack.partition(_CURRENT)[2]), code, dependencies)
    full = ending.signal == signal.SIGBUS and setting.shared.was_full
    return Failure(
        reason=Reason.SCRIPT_CRASHED,
        message=f"The script crashed in native code: {name}.{f' {hints.full_shared_memory(setting)}' * full}",
        hint=hints.more_shared_memory(setting)
        if full
        else "The stack in the log shows the last Python line; a library is at fault, or was given data that it cannot take.",
        exception=name,
        file=file,
        line=line or None,
        traceback=excerpt(stack, TRACEBACK_LIMIT, file, line) or _tail(ending.stderr),
    )


def _dumped(stderr: str) -> str:
    """Return the stack of the main thread that the interpreter was asked for last."""
    start = stderr.rfind(_CURRENT)
    return stderr[start:].partition("\n\n")[0] if start >= 0 else ""


def _newest_last(stack: str) -> str:
    """Return the first stack of a dump, which has the newest frame first, as a traceback has it."""
    return "\n".join(reversed(stack.partition("\n\n")[0].splitlines()))


def _raised(found: Evidence, plan: Plan, setting: Setting) -> Failure:
    line, exception = _line(found), _exception(found)
    text = wording.cause(found.message)[:_TEXT_LIMIT]
    where = {"exception": exception, "file": found.file[:_TEXT_LIMIT], "traceback": _traceback(found)}
    if found.errno == errno.EFBIG:
        return _file_too_large(plan, _traceback(found))
    if found.syntax:
        message = f"{found.file} is not valid Python at line {found.line}: {text}"
        return Failure(reason=Reason.SYNTAX_ERROR, message=message[:_TEXT_LIMIT], hint="Correct the line.", line=line, **where)
    if found.missing:
        return Failure(
            reason=Reason.IMPORT_MISSING,
            message=(
                f"The script imports `{found.missing[:200]}`, which is neither beside it, nor in its archive, "
                f"nor in the runtime `{plan.runtime}`."
            ),
            hint=(
                "Put the module into the zip of spec.dependencies.archive, or name its file in spec.dependencies.files, "
                "or choose a spec.runtime that has it."
            ),
            line=line,
            **where,
        )
    full = f"{hints.full_shared_memory(setting)} " * hints.out_of_shared_memory(found, setting)
    return Failure(
        reason=Reason.SCRIPT_RAISED,
        message=f"{full}{_place(found)}{exception}"[:_TEXT_LIMIT],
        hint=hints.hint(found, setting),
        line=line,
        **where,
    )


def _exception(found: Evidence) -> str:
    text, name = wording.cause(found.message), wording.plain(found.type)
    return (f"{name}: {text}" if text else name)[:_TEXT_LIMIT]


def _traceback(found: Evidence) -> str:
    return excerpt(wording.plain(found.traceback), TRACEBACK_LIMIT, found.file, found.line)


def _line(found: Evidence) -> int | None:
    return found.line if 0 < found.line <= _LINE_LIMIT else None


def _place(found: Evidence) -> str:
    line = _line(found)
    return f"{found.file}, line {line}: " if found.file and line else ""


def _exited(ending: Ending, code: Path, dependencies: Path, setting: Setting) -> Failure:
    said = next((line.strip() for line in reversed(wording.without_noise(ending.stderr).splitlines()) if line.strip()), "")
    last = f" The last line of its standard error: {said[:400]}" if said else ""
    # A script that chooses another code than Python does for an exception has its own reason.
    found = evidence.last_printed(ending.stderr, code, dependencies) if ending.code in (1, _UNFLUSHED) else None
    exception, file, line = (_exception(found), found.file, _line(found)) if found else ("", "", None)
    evident = found or Evidence("", said)
    # A child's crash is in the same stream, above what the script had to say of it.
    full = any(hints.out_of_shared_memory(each, setting) for each in (evident, Evidence("", _tail(ending.stderr))))
    if full:
        last = f" {hints.full_shared_memory(setting)}{last}"
    if found:
        last += f"; the last traceback that it printed: {_place(found)}{exception[:300]}"
    return Failure(
        reason=Reason.SCRIPT_EXITED,
        message=f"The script ended itself with exit code {ending.code}.{last}"[:_TEXT_LIMIT],
        hint=(hints.more_shared_memory(setting) if full else hints.hint(evident, setting))
        or "0 means success; the log tells why the script chose another code.",
        exception=exception,
        file=file[:_TEXT_LIMIT],
        line=line,
        traceback=_traceback(found) if found and len(found.traceback) > TRACEBACK_LIMIT else _tail(ending.stderr),
    )


def left_running(commands: Sequence[str]) -> str:
    """Say what had to be killed when the script had ended; of many commands the first are named."""
    counts = collections.Counter("".join(each if each.isprintable() else " " for each in command)[:_COMMAND_LIMIT] for command in commands)
    named = [f"{command} ({count} times)" if count > 1 else command for command, count in counts.items()]
    who, were = (f"{len(commands)} processes", "were") if len(commands) > 1 else ("1 process", "was")
    list_of_some = ", ".join([*named[:_COMMANDS], *["…"] * (len(named) > _COMMANDS)])
    return f"{who} {were} still running when the script had ended and {were} killed: {list_of_some}"


def _tail(stderr: str) -> str:
    return wording.without_noise(stderr)[-TRACEBACK_LIMIT:]


def signal_name(number: int) -> str:
    """Return the name of a signal, as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _size(number: int) -> str:
    for unit, factor in (("Gi", 1024**3), ("Mi", 1024**2), ("Ki", 1024)):
        if number % factor == 0:
            return f"{number // factor}{unit}"
    return f"{number} bytes"
