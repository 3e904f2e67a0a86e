"""Ends by which TensorFlow says that it was preempted, and a start at which it cannot be told to stop."""

from __future__ import annotations

import signal
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages.contract import Plan, Reason, Script
from tftrainer.run.evidence import Evidence
from tftrainer.run.findings import evidence
from tftrainer.run.outcome import Ending, Stop, judge, waits_for_peers

ALONE = Plan(namespace="team", job="iris", uid="u", runtime="tf2", script=Script(name="train.py"))
GROUP = msgspec.structs.replace(ALONE, peers={"worker": ("a:1", "b:1")}, grace_seconds=30)
SAVED = "WARNING:tensorflow:From /x/failure_handling.py:1066: PreemptionCheckpointHandler.total_run_calls (from tensorflow) is deprecated\n"
CODE, DEPS = Path("/workspace/code"), Path("/workspace/deps")


@pytest.mark.parametrize(
    ("plan", "ending", "reason"),
    [
        (GROUP, Ending(42), Reason.TERMINATED),
        (GROUP, Ending(143), Reason.TERMINATED),
        (ALONE, Ending(42, stderr=SAVED), Reason.TERMINATED),
        (ALONE, Ending(143, stderr=SAVED), Reason.TERMINATED),
        (GROUP, Ending(42, stop=Stop.ASKED), Reason.TERMINATED),
        (GROUP, Ending(42, stop=Stop.DEADLINE), Reason.DEADLINE_EXCEEDED),
        (ALONE, Ending(42), Reason.SCRIPT_EXITED),
        (ALONE, Ending(143), Reason.SCRIPT_EXITED),
        (GROUP, Ending(41), Reason.SCRIPT_EXITED),
        (GROUP, Ending(1, stderr=SAVED), Reason.SCRIPT_EXITED),
        (GROUP, Ending(1, record=Evidence("ValueError", "no")), Reason.SCRIPT_RAISED),
        (GROUP, Ending(0, signal.SIGKILL), Reason.SCRIPT_KILLED),
    ],
)
def test_the_code_for_a_restart_is_a_preemption_where_it_is_tensorflows(plan: Plan, ending: Ending, reason: Reason) -> None:
    code, failure = judge(ending, plan, CODE, DEPS)
    assert failure is not None
    assert (code, failure.reason) == (ending.code or 128 + ending.signal, reason)


STACKS = """step 3
Thread 0x00007f8d (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 331 in wait

Current thread 0x00007f8e (most recent call first):
{frames}
"""
AT_START = '  File "/usr/lib/site-packages/tensorflow/python/eager/context.py", line 745 in ensure_initialized'
IN_SCRIPT = '  File "/workspace/code/train.py", line 24 in <module>'


@pytest.mark.parametrize(
    ("stderr", "waits"),
    [
        (STACKS.format(frames=f"{AT_START}\n{IN_SCRIPT}"), True),
        (STACKS.format(frames=f"{IN_SCRIPT}\n{AT_START}\n{IN_SCRIPT}"), False),
        (STACKS.format(frames=AT_START.replace("context.py", "execute.py") + f"\n{IN_SCRIPT}"), False),
        (STACKS.format(frames=AT_START.replace("in ensure_initialized", "in num_gpus") + f"\n{IN_SCRIPT}"), False),
        (STACKS.format(frames=f"{AT_START}\n{IN_SCRIPT}") + STACKS.format(frames=IN_SCRIPT), False),
        (f"{AT_START}\n{IN_SCRIPT}\n", False),
        ("", False),
    ],
)
def test_only_a_main_thread_that_stands_in_tensorflows_start_waits_for_peers(stderr: str, waits: bool) -> None:
    assert waits_for_peers(stderr) is waits


def test_why_it_had_to_be_killed_is_told_by_what_happened() -> None:
    for lost, words in ((True, "was killed while TensorFlow waited for other replicas"), (False, "did not end within 30 s")):
        ending = Ending(0, signal.SIGKILL, stop=Stop.ASKED, forced=True, lost=lost)
        _, failure = judge(ending, GROUP, CODE, DEPS)
        assert failure is not None
        assert words in failure.message
        assert any(words in each for each in evidence(ending, GROUP))
