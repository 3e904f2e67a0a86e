"""What became of a run, in the fields of a job's status, and the exit code that says the same."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Final

import msgspec

from tftrainer.local.processes import Ran
from tftrainer.messages.contract import CodePins, Failure, FetchReport, Plan, PublishedModel, PublishReport, Reason
from tftrainer.phase_error import clip
from tftrainer.progress import counted, size

NOT_FETCHED: Final = 66
"""What the job names is missing or wrong; the script did not start."""
NOT_PUBLISHED: Final = 74
"""The script ended with 0, but its outputs are not in the bucket, or not what the job demands."""
_SIGNALS: Final = 128
"""Above it, an exit code is that of a process which a signal has ended."""
_WORDLESS: Final = "the script and its launcher were killed, and left no word of why"
_MEMORY: Final = "most often the machine ran out of memory: the kernel's log (dmesg) tells"

NOTHING: Final = "wrote nothing below ${bucket}, and only what lies there is published"

_RUNTIME_HERE: Final = (
    "the runtime is the Python environment that tftrainer is installed in: add the module to it, or all of a runtime: tftrainer[local,tf2]"
)


class Fetched(msgspec.Struct, frozen=True, rename="camel"):
    """What was fetched before the script started."""

    objects: int
    bytes: int
    duration_seconds: int


class Outputs(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the run left in the bucket."""

    manifest: str
    sha256: str = ""
    objects: int = 0
    bytes: int = 0
    skipped: int = 0
    kept: int = 0


class Logs(msgspec.Struct, frozen=True):
    """Where the script's output is kept."""

    uri: str


class Checkpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the attempt has started from, and what it has saved."""

    restored: str = ""
    saved: str = ""


class FailureStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Why the run failed."""

    reason: str
    message: str
    hint: str = ""
    exit_code: int | None = None
    exception: str = ""
    file: str = ""
    line: int | None = None
    traceback: str = ""
    attempt: int = 0


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The status of the run. Times are RFC 3339.

    Two fields are of no status: `note`, what has to be known of the outputs, which ends the message too, and `workspace`, where what is
    not in the bucket still lies.
    """

    phase: str
    message: str
    attempt: int = 0
    runtime: str
    running_time: str = ""
    completion_time: str = ""
    resolved_args: tuple[str, ...] = ()
    code: CodePins | None = None
    fetched: Fetched | None = None
    failure: FailureStatus | None = None
    model: PublishedModel | None = None
    checkpoint: Checkpoint | None = None
    outputs: Outputs | None = None
    logs: Logs | None = None
    note: str = ""
    workspace: str = ""


def judge(plan: Plan, ran: Ran, now: float, kept: str = "") -> tuple[int, Result]:
    """Return the exit code and the result of a run. `now` is Unix seconds, `kept` the workspace if it was."""
    fetched = ran.fetch or FetchReport()
    published = ran.publish or PublishReport()
    code, failure = _ending(ran)
    run = ran.run
    # On one line and without what a terminal would obey: names of the script's files stand in it.
    note = clip(" ".join(published.note.split()))
    result = Result(
        phase="Failed" if failure else "Succeeded",
        message=_with(_sentence(failure, ran), note),
        attempt=plan.attempt,
        runtime=plan.runtime,
        running_time=_time(run.started_at) if run and run.started_at else "",
        completion_time=_time(now),
        resolved_args=fetched.resolved_args,
        code=CodePins(script=fetched.script, archive=fetched.archive, files=fetched.files)
        if fetched.script or fetched.archive or fetched.files
        else None,
        fetched=_fetched(ran.fetch),
        failure=None if failure is None else _failure(failure, code if ran.signal else ran.exit_code, plan.attempt),
        model=published.model,
        checkpoint=Checkpoint(fetched.restored, published.checkpoint) if fetched.restored or published.checkpoint else None,
        outputs=_outputs(published),
        logs=Logs(published.logs_uri) if published.logs_uri else None,
        note=note,
        workspace=kept,
    )
    return code, result


def _ending(ran: Ran) -> tuple[int, Failure | None]:
    """Return the exit code, and the failure that counts: the first in the order of the phases."""
    if ran.exit_code is None:
        stopped = Failure(reason=Reason.TERMINATED, message="the run was stopped before the script started")
        failure = stopped if ran.signal else (ran.fetch.failure if ran.fetch else None)
        lost = Failure(reason=Reason.TRAINER_ERROR, message="fetching ended without a report", hint="its output above says why")
        return 128 + ran.signal if ran.signal else NOT_FETCHED, failure or lost
    if ran.exit_code or (ran.run is not None and ran.run.failure is not None):
        if ran.run is None and ran.exit_code > _SIGNALS:
            return ran.exit_code, Failure(reason=Reason.SCRIPT_KILLED, message=_WORDLESS, hint=_MEMORY)
        told = ran.run.failure if ran.run else None
        return ran.exit_code, told or Failure(reason=Reason.SCRIPT_EXITED, message=f"the script ended with exit code {ran.exit_code}")
    if ran.publish is None:
        return NOT_PUBLISHED, Failure(reason=Reason.PUBLISH_FAILED, message=_given_up(ran))
    if ran.publish.failure is not None or not ran.publish.succeeded:
        unsaid = Failure(reason=Reason.PUBLISH_FAILED, message="the manifest says that the run failed")
        return NOT_PUBLISHED, ran.publish.failure or unsaid
    return 0, None


def _sentence(failure: Failure | None, ran: Ran) -> str:
    if failure is None:
        return _success(ran.publish or PublishReport())
    text = f"{failure.reason}: {failure.message}" + (f"; {failure.hint}" if failure.hint else "")
    if ran.exit_code and ran.publish is None:
        text += f". Besides, {_given_up(ran)}"
    elif ran.exit_code is not None and ran.publish is not None and ran.publish.failure not in (None, failure):
        text += f". Besides, what it wrote is not published: {ran.publish.failure.message}"
    return text


def _success(published: PublishReport) -> str:
    if published.objects or published.kept or published.skipped:
        return f"The script succeeded; outputs published: {published.objects}."
    return f"The script succeeded, but {NOTHING}."


def _with(message: str, note: str) -> str:
    """Return a message and the note as sentences after it."""
    stop = "" if not note or message.endswith((".", "!", "?")) else "."
    return f"{message}{stop} {note}".rstrip()


def _given_up(ran: Ran) -> str:
    return "publishing was given up" if ran.signal else "publishing ended without a report; its output above may say why"


def _failure(failure: Failure, code: int | None, attempt: int) -> FailureStatus:
    return FailureStatus(
        reason=failure.reason,
        message=failure.message,
        hint=failure.hint,
        exit_code=code,
        exception=failure.exception,
        file=failure.file,
        line=failure.line,
        traceback=failure.traceback,
        attempt=attempt,
    )


def _fetched(fetched: FetchReport | None) -> Fetched | None:
    if fetched is None or fetched.failure is not None:
        return None
    return Fetched(fetched.objects, fetched.bytes, round(fetched.seconds))


def _outputs(published: PublishReport) -> Outputs | None:
    if not published.manifest_uri:
        return None
    return Outputs(published.manifest_uri, published.manifest_sha256, published.objects, published.bytes, published.skipped, published.kept)


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def text(result: Result) -> str:
    """Return the result in a few lines for people."""
    return "\n".join([_headline(result), *(f"  {name:8} {what}" for name, what in _facts(result))])


def _headline(result: Result) -> str:
    if result.failure is None:
        return result.phase
    hint = f"; {result.failure.hint}" if result.failure.hint else ""
    message = result.message.removesuffix(result.note).rstrip()
    return f"{result.phase}: {message.replace(hint, '', 1)}"


def _facts(result: Result) -> Iterator[tuple[str, str]]:
    outputs = result.outputs
    if result.failure is not None:
        yield from _about(result.failure)
    if result.model:
        yield "model", result.model.uri
    if result.checkpoint and result.checkpoint.saved:
        yield "saved", result.checkpoint.saved
    if outputs:
        yield "outputs", _what_came_out(outputs)
    if result.note:
        yield "note", result.note
    if outputs:
        yield "manifest", outputs.manifest
    if result.logs:
        yield "logs", result.logs.uri
    if result.workspace:
        yield "kept", f"{result.workspace}: what the script wrote is in bucket/, its output in logs/; remove it yourself"


def _about(failure: FailureStatus) -> Iterator[tuple[str, str]]:
    place = failure.file + (f", line {failure.line}" if failure.line else "")
    if place not in failure.message:
        yield "at", place
    if failure.hint:
        yield "hint", failure.hint
    if failure.reason == Reason.IMPORT_MISSING:
        yield "here", _RUNTIME_HERE


def _what_came_out(outputs: Outputs) -> str:
    what = f"{counted(outputs.objects, 'object')}, {size(outputs.bytes)}, in {outputs.manifest.partition('/.tftraining/')[0]}"
    nothing = "none" if outputs.skipped or outputs.kept else f"none: the script {NOTHING}"
    kept = f"; {counted(outputs.kept, 'file')} kept beside" if outputs.kept else ""
    skipped = f"; {outputs.skipped} skipped, as told above" if outputs.skipped else ""
    return (what if outputs.objects else nothing) + kept + skipped
