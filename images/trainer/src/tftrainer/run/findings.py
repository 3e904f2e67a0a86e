"""What the launcher leaves for the post-mortem of a run that failed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tftrainer.messages.contract import Plan
from tftrainer.messages.post_mortem import LINE_LIMIT, LINES, STACKS_LIMIT, Findings, last_lines
from tftrainer.run.outcome import Ending, killed_after_all, signal_name

_TEXT_LIMIT = 1024


def findings(ending: Ending, plan: Plan, stdout: str, without: Callable[[str], str]) -> Findings:
    """Return them; `without` takes the credentials out of a text."""

    def lines(text: str) -> tuple[str, ...]:
        # A marker may be longer than what it stands for, and a credential may have more than one line.
        return tuple(line[-LINE_LIMIT:] for line in last_lines(without(text)))[-LINES:]

    return Findings(
        evidence=tuple(without(each)[:_TEXT_LIMIT] for each in evidence(ending, plan)),
        stdout=lines(stdout),
        stderr=lines(ending.stderr),
        stacks=without(ending.hang.stacks)[:STACKS_LIMIT] if ending.hang is not None else "",
    )


def evidence(ending: Ending, plan: Plan) -> Iterator[str]:
    """Yield in sentences what a run was judged by."""
    if ending.signal:
        yield f"the script's process was killed by {signal_name(ending.signal)}"
    else:
        yield f"the script's process ended itself with exit code {ending.code}"
    if ending.stop is not None:
        yield f"the launcher had told it to end because of {ending.stop.value}{f': its {ending.by}' if ending.by else ''}"
    if ending.forced:
        yield f"it {killed_after_all(ending, plan)}"
    if ending.memory_kills:
        last = f", for the last time {ending.since_kill:.0f} s before the end was judged" if ending.since_kill is not None else ""
        yield f"the kernel counted {ending.memory_kills} processes that it killed for want of memory{last}"
    if ending.record is not None:
        place = f" at {ending.record.file}, line {ending.record.line}" if ending.record.file else ""
        yield f"its interpreter recorded an exception that nobody caught: {ending.record.type}{place}"
    if ending.waiting:
        yield f"its last line was passed, and it waited for {ending.waiting}"
    if ending.hang is not None:
        place = f", and stood at {ending.hang.file}, line {ending.hang.line}" if ending.hang.line else ""
        yield f"it gave no sign of life for {ending.hang.seconds} s{place}"
        if ending.hang.aborted:
            yield "processes of it that had not answered were sent SIGABRT for their stacks, which ends them"
