"""A pod whose trainer runs, as far as the publisher can tell."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tftrainer.messages import contract
from tftrainer.messages.contract import Plan, RunReport

from tests.integration.trainer.pods import Pod

LAUNCH = """
import sys
from pathlib import Path
from tftrainer.messages.contract import decode_plan
from tftrainer.run.launcher import main
from tftrainer.layout import Layout
root = Path(sys.argv[1])
sys.exit(main(decode_plan(sys.argv[2]), Layout(root, "dev/run-log")))
"""
"""The launcher, with the pod's root and the plan as arguments."""

STOPPED_EARLY = [
    "-c",
    """
import os, runpy, sys
number = int(sys.argv.pop(1))
class Stopper:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "tftrainer.messages.contract":
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Stopper)
runpy.run_module("tftrainer", run_name="__main__", alter_sys=True)
""",
]
"""Arguments of the interpreter, before a signal and a phase: the phase, which gets the signal while it imports its first module."""

QUICK = """
import os, sys
from tftrainer.messages.contract import decode_plan, PLAN_VARIABLE
from tftrainer.publish.phase import Pauses, main
sys.exit(main(decode_plan(os.environ[PLAN_VARIABLE]), pauses=Pauses(events=1.0, following=0.1)))
"""
"""A publisher that looks for event files every second, and for its leader's checkpoints ten times as often."""


class Trainer:
    """Stands in for the launcher: holds the lock, leaves the marks and the result, and lets go."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.lock = os.open(pod.state / "trainer.lock", os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        (pod.workspace / ".tftraining" / "started").touch()

    def write(self, path: str, data: bytes | str) -> None:
        target = self.pod.local_bucket / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)

    def save(self, step: int, folder: str = "ckpt") -> None:
        """Save as TensorFlow does: the state file last, and by renaming."""
        self.write(f"{folder}/model-{step}.data-00000-of-00001", f"weights {step}")
        self.write(f"{folder}/model-{step}.index", f"index {step}")
        place = self.pod.local_bucket / folder
        self.write(f"{folder}/checkpoint.tmp1", f'model_checkpoint_path: "{place}/model-{step}"\n')
        (place / "checkpoint.tmp1").rename(place / "checkpoint")

    def end(self, report: RunReport | None = None) -> None:
        (self.pod.workspace / "logs" / "stdout.log").write_text("Test set accuracy: 0.967\n")
        (self.pod.workspace / "logs" / "stderr.log").write_text("")
        if report is None:
            report = RunReport(exit_code=0, started_at=10.0, finished_at=20.0)
        (self.pod.workspace / ".tftraining" / "result.json").write_bytes(contract.encode_report(report))
        os.close(self.lock)


def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def until_handler_is_set(pid: int) -> None:
    """Return when the process handles SIGTERM, by the kernel's account."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    raise AssertionError("the process never set a handler")


def with_script(pod: Pod, text: str = "print(1)\n") -> None:
    pod.put("code/train.py", text)


def fetched(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    ended, report = pod.fetch(plan)
    assert report.failure is None, ended.output
