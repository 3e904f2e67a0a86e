"""On what the verdict about a run rests, in sentences, and without credentials."""

from __future__ import annotations

import signal

import msgspec
import pytest
from tftrainer.messages.contract import Plan, Script
from tftrainer.messages.post_mortem import Findings
from tftrainer.run.evidence import Evidence
from tftrainer.run.findings import evidence, findings
from tftrainer.run.outcome import Ending, Hang, Stop
from tftrainer.withholding import Plain

PLAN = Plan(namespace="n", job="j", uid="u", runtime="tf2", script=Script(name="t.py"), grace_seconds=30)


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (Ending(3), ["ended itself with exit code 3"]),
        (Ending(0, signal.SIGSEGV), ["killed by SIGSEGV"]),
        (
            Ending(0, signal.SIGKILL, stop=Stop.DEADLINE, forced=True, waiting="thread feeder"),
            ["killed by SIGKILL", "because of the deadline", "within 30 s", "waited for thread feeder"],
        ),
        (Ending(0, stop=Stop.OWN, by="process 7 (sh)"), ["exit code 0", "its process 7 (sh)"]),
        (
            Ending(1, memory_kills=2, since_kill=3.4),
            ["exit code 1", "2 processes that it killed for want of memory, for the last time 3 s"],
        ),
        (Ending(1, record=Evidence("ValueError", file="t.py", line=7)), ["exit code 1", "ValueError at t.py, line 7"]),
        (
            Ending(0, signal.SIGTERM, stop=Stop.HUNG, hang=Hang(600, "t.py", 7)),
            ["killed by SIGTERM", "no sign of life", "600 s, and stood at t.py, line 7"],
        ),
    ],
)
def test_every_fact_of_an_end_is_told(ending: Ending, told: list[str]) -> None:
    found = list(evidence(ending, PLAN))
    assert len(found) == len(told)
    assert all(part in sentence for part, sentence in zip(told, found, strict=True)), found


def test_findings_hold_no_credential_and_keep_to_their_bounds_whatever_it_takes_to_leave_it_out() -> None:
    plain = Plain.of(secret=["hunter2hunter2"])
    text = "hunter2hunter2" * 20_000 + "\n" + "hunter2hunter2\n" * 100
    stacks = "hunter2hunter2" * 10_000
    ending = Ending(1, stderr=text, by="hunter2hunter2" * 1000, stop=Stop.OWN, hang=Hang(1, stacks=stacks))
    found = findings(ending, PLAN, text, plain.without)
    encoded = msgspec.json.encode(found)
    assert b"hunter2" not in encoded
    assert msgspec.json.decode(encoded, type=Findings) == found
