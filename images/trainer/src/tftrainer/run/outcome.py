"""From how the script's process ended to what the user is told. Pure: facts in, exit code and failure out."""

from __future__ import annotations

import dataclasses
import enum
import errno
import re
import signal
from pathlib import Path

from tftrainer.contract import BUCKET, TRACEBACK_LIMIT, Failure, Plan, Reason
from tftrainer.run import evidence
from tftrainer.run.evidence import Evidence

TERMINATED_CODE = 128 + signal.SIGTERM
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS, signal.SIGTRAP})
_UNFLUSHED = 120
"""Python's exit code where it could not flush its output at the end, whatever it would have been otherwise."""
_FAULT = "Fatal Python error:"
_TEXT_LIMIT = 1000
_LINE_LIMIT = 10**9


class Stop(enum.Enum):
    """Why the launcher ended the script."""

    ASKED = "a signal from outside"
    DEADLINE = "the deadline"
    WORKSPACE = "the workspace limit"


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """The facts. `signal` is 0 if the process ended itself with `code`. `stderr` is the end of its standard error.

    `memory_kills` is how many processes the kernel killed for want of memory meanwhile. `forced`: it had to be killed because
    it did not end within the grace period.
    """

    code: int
    signal: int = 0
    stop: Stop | None = None
    forced: bool = False
    memory_kills: int = 0
    record: Evidence | None = None
    stderr: str = ""


def judge(ending: Ending, plan: Plan, code: Path, dependencies: Path) -> tuple[int, Failure | None]:
    """Return the exit code of the container and the failure; None if the script did its work.

    A script that was told to stop has not done its work even if it then ends with 0: its code becomes that of SIGTERM.
    """
    exit_code = 128 + ending.signal if ending.signal else ending.code
    if ending.stop is not None:
        return exit_code or TERMINATED_CODE, _stopped(ending, ending.stop, plan)
    if exit_code == 0:
        return 0, None
    if ending.memory_kills:
        return exit_code, _out_of_memory(ending)
    found = _uncaught(ending, code, dependencies)
    if found is not None:
        return exit_code, _raised(found, plan, code.parent / Path(BUCKET).name)
    return exit_code, _by_signal(ending, plan, code, dependencies) if ending.signal else _exited(ending, code, dependencies)


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


def _stopped(ending: Ending, stop: Stop, plan: Plan) -> Failure:
    forced = f" It did not end within {plan.grace_seconds} s of being asked to and was killed." if ending.forced else ""
    tail = _tail(ending.stderr)
    if stop is Stop.DEADLINE:
        return Failure(
            reason=Reason.DEADLINE_EXCEEDED,
            message=f"The script was stopped after running for {plan.active_deadline_seconds} s.{forced}",
            hint="Raise spec.activeDeadlineSeconds, or make the script do less.",
            traceback=tail,
        )
    if stop is Stop.WORKSPACE:
        return _workspace_full(f"The script was stopped because the workspace holds more than {_size(plan.workspace_bytes)}.{forced}", tail)
    return Failure(reason=Reason.TERMINATED, message=f"The script was asked to stop before it had ended by itself.{forced}", traceback=tail)


def _workspace_full(message: str, tail: str) -> Failure:
    return Failure(
        reason=Reason.WORKSPACE_FULL,
        message=message,
        hint="Raise spec.resources.workspace, or write less: fetched data, outputs and logs all count.",
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


def _out_of_memory(ending: Ending) -> Failure:
    return Failure(
        reason=Reason.OUT_OF_MEMORY,
        message="The kernel killed the script because the container used more memory than its limit.",
        hint="Raise spec.resources.memory, or use less: a smaller batch, or data that is read in pieces.",
        traceback=_tail(ending.stderr),
    )


def _by_signal(ending: Ending, plan: Plan, code: Path, dependencies: Path) -> Failure:
    name = _signal_name(ending.signal)
    if ending.signal == signal.SIGXFSZ:
        return _file_too_large(plan, _tail(ending.stderr))
    if ending.signal not in _CRASHES:
        return Failure(
            reason=Reason.SCRIPT_KILLED,
            message=f"The script was killed by {name}, which nobody outside its container has sent.",
            hint="Look in the log for what the script or a library did just before.",
            traceback=_tail(ending.stderr),
        )
    # The interpreter prints the newest frame first, so the first frame of the user's is the deepest.
    start = ending.stderr.rfind(_FAULT)
    stack = ending.stderr[start:] if start >= 0 else ""
    thread = "\n".join(reversed(stack.partition("Current thread")[2].partition("\n\n")[0].splitlines()))
    file, line = evidence.deepest_frame(thread, code, dependencies)
    return Failure(
        reason=Reason.SCRIPT_CRASHED,
        message=f"The script crashed in native code: {name}.",
        hint="The stack in the log shows the last Python line; a library is at fault, or was given data that it cannot take.",
        exception=name,
        file=file,
        line=line or None,
        traceback=stack[:TRACEBACK_LIMIT] or _tail(ending.stderr),
    )


def _raised(found: Evidence, plan: Plan, bucket: Path) -> Failure:
    line, exception = _line(found), _exception(found)
    text = found.message[:_TEXT_LIMIT]
    where = {"exception": exception, "file": found.file[:_TEXT_LIMIT], "traceback": found.traceback[-TRACEBACK_LIMIT:]}
    if found.errno == errno.EFBIG:
        return _file_too_large(plan, found.traceback)
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
    return Failure(
        reason=Reason.SCRIPT_RAISED,
        message=f"{_place(found)}{exception}"[:_TEXT_LIMIT],
        hint=_in_bucket(found, bucket) or _memory(found),
        line=line,
        **where,
    )


def _exception(found: Evidence) -> str:
    return (f"{found.type}: {found.message}" if found.message else found.type)[:_TEXT_LIMIT]


def _line(found: Evidence) -> int | None:
    return found.line if 0 < found.line <= _LINE_LIMIT else None


def _place(found: Evidence) -> str:
    line = _line(found)
    return f"{found.file}, line {line}: " if found.file and line else ""


def _in_bucket(found: Evidence, bucket: Path) -> str:
    """Return a hint where the script looked for something in the bucket that was not fetched, or stumbled over what was there before."""
    missing = found.type.endswith("NotFoundError")
    there = found.type.endswith("ExistsError") or "already exists" in found.message
    name = re.search(rf"{re.escape(str(bucket))}/([^\s'\";:,]+)", found.message) if missing or there else None
    if name is None:
        return ""
    key = f"${{bucket}}/{name[1][:300]}"
    if there:
        return (
            f"If {key} was there when the script started: for an argument with / at its end the folder is made, so leave the / out; "
            "and what earlier runs have left is fetched, unless spec.outputs names it."
        )
    return (
        f"{key} was not fetched: of the bucket the script finds what an argument names whole (${{bucket}} alone "
        "names nothing) or spec.inputs names. Name it in one of them; if one does, check the key (capitals count). "
        "A folder that the script writes to it has to make."
    )


def _memory(found: Evidence) -> str:
    """Return a hint where memory was refused. TensorFlow's exception may also mean a full disk; its text tells."""
    name = found.type.rpartition(".")[2]
    refused = name == "ResourceExhaustedError" and re.search(r"\bOOM\b|allocate memory|out of memory", found.message, re.IGNORECASE)
    if refused and re.search(r"\bGPU\b", found.message):
        return "The memory of the GPU is full: use a smaller batch or a smaller model."
    if refused or name in ("MemoryError", "_ArrayMemoryError"):
        return "Memory was refused: use a smaller batch, or read data in pieces, or raise spec.resources.memory."
    return ""


def _exited(ending: Ending, code: Path, dependencies: Path) -> Failure:
    said = next((line.strip() for line in reversed(ending.stderr.splitlines()) if line.strip()), "")
    last = f" The last line of its standard error: {said[:400]}" if said else ""
    # A script that chooses another code than Python does for an exception has its own reason.
    found = evidence.last_printed(ending.stderr, code, dependencies) if ending.code in (1, _UNFLUSHED) else None
    exception, file, line = (_exception(found), found.file, _line(found)) if found else ("", "", None)
    if found:
        last += f"; the last traceback that it printed: {_place(found)}{exception[:300]}"
    return Failure(
        reason=Reason.SCRIPT_EXITED,
        message=f"The script ended itself with exit code {ending.code}.{last}"[:_TEXT_LIMIT],
        hint="0 means success; the log tells why the script chose another code.",
        exception=exception,
        file=file[:_TEXT_LIMIT],
        line=line,
        traceback=_tail(ending.stderr),
    )


def _tail(stderr: str) -> str:
    return stderr[-TRACEBACK_LIMIT:]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _size(number: int) -> str:
    for unit, factor in (("Gi", 1024**3), ("Mi", 1024**2), ("Ki", 1024)):
        if number % factor == 0:
            return f"{number // factor}{unit}"
    return f"{number} bytes"
