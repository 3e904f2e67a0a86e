"""The launcher as a process of its own, in folders that are as `fetch` leaves them."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from tftrainer.messages import contract, handover
from tftrainer.messages.contract import Plan, Reason, RunReport, Script
from tftrainer.run import memory, standstill

DRIVER = """
import sys
from pathlib import Path
from tftrainer.messages.contract import decode_plan
from tftrainer.run.launcher import Surroundings, main
from tftrainer.layout import Layout
root, plan, group, patience = (*sys.argv[1:], "/sys/fs/cgroup", "60")[:4]
if group != "/sys/fs/cgroup" and (Path(group) / "memory").is_symlink():
    # As the container's runtime does it: before the launcher starts.
    (Path(group) / "memory" / "cgroup.procs").write_text("0")
sys.exit(main(decode_plan(plan), Layout(Path(root)), Surroundings(Path(group), float(patience))))
"""

INHERITED = {name: value for name, value in os.environ.items() if not name.startswith("TFTRAINING")}
"""What a container would have: nothing of this test run's own."""


@dataclasses.dataclass(frozen=True)
class Ran:
    """What is left of a run."""

    code: int
    out: bytes
    err: bytes
    report: RunReport

    @property
    def reason(self) -> Reason:
        assert self.report.failure is not None
        return self.report.failure.reason


class Pod:
    """The folders of one pod, as `fetch` leaves them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._started: list[subprocess.Popen[bytes]] = []
        self.workspace = root / "workspace"
        for name in ("workspace/code", "workspace/deps", "workspace/bucket", "run/tftraining", "dev"):
            (root / name).mkdir(parents=True)
        (root / "run/tftraining" / "trainer.lock").touch()

    def write(self, script: str, name: str = "train.py") -> Path:
        path = self.workspace / "code" / name
        path.write_text(textwrap.dedent(script))
        return path

    def start(
        self,
        script: str,
        *argv: str,
        path: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        aliases: dict[str, str] | None = None,
        module: str = "",
        place: handover.Place | None = None,
        control_group: Path = memory.CONTROL_GROUP,
        patience: float = standstill.PATIENCE_SECONDS,
        **changes: object,
    ) -> subprocess.Popen[bytes]:
        file = self.write(script)
        variables = {"SM_MODEL_DIR": "/alias"} if aliases is None else aliases
        resolved = handover.Resolved(
            script=str(file), cwd=str(file.parent), module=module, argv=argv, path=path, environment=variables, storage=place
        )
        handover.write(resolved, self.root / "run/tftraining" / "resolved.json")
        plan = msgspec.structs.replace(Plan(namespace="ns", job="j", uid="u", runtime="tf2", script=Script(name="train.py")), **changes)
        text = contract.encode_plan(plan)
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", DRIVER, str(self.root), text, str(control_group), str(patience)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**INHERITED, contract.PLAN_VARIABLE: text, **(environment or {})},
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        """Let no launcher outlive its test; its script ends with it."""
        for process in self._started:
            with process:
                process.kill()

    def finish(self, process: subprocess.Popen[bytes]) -> Ran:
        out, err = process.communicate(timeout=60)
        report = contract.decode_report((self.root / "dev/termination-log").read_text(), RunReport)
        assert (self.workspace / ".tftraining" / "result.json").read_bytes() == (self.root / "dev/termination-log").read_bytes()
        return Ran(process.returncode, out, err, report)

    def run(self, script: str, *argv: str, **changes: object) -> Ran:
        return self.finish(self.start(script, *argv, **changes))  # type: ignore[arg-type]


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "the condition did not come true"
        time.sleep(0.01)


def launched(tmp_path: Path) -> Iterator[Pod]:
    """Give a pod whose launcher ends with the test: the fixture of modules that start scripts."""
    found = Pod(tmp_path)
    yield found
    found.end()
