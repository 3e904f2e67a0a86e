"""From the container's start to the script's only line, and from there to its exit: by the launcher, and by hand."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tftrainer.layout import ROOT_VARIABLE, Layout
from tftrainer.messages import contract, handover
from tftrainer.messages.contract import Plan, Script

_ROUNDS = 15
_START_LIMIT_MS, _EXIT_LIMIT_MS = 150.0, 100.0
_OURS = "the launcher"
_BY_HAND = "python script.py"
_SCRIPT = "import time\nprint(time.monotonic(), flush=True)\n"


def measure() -> dict[str, Any]:
    """Start a script in both ways, in turns, and return the rows of the medians."""
    starts: dict[str, list[float]] = {_OURS: [], _BY_HAND: []}
    exits: dict[str, list[float]] = {_OURS: [], _BY_HAND: []}
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory(prefix="tftraining-bench-") as folder:
            root = Path(folder)
            script = _prepare(root)
            plan = contract.encode_plan(Plan(namespace="ns", job="j", uid="u", runtime="tf2", script=Script(name=script.name)))
            launch = [sys.executable, "-I", "-m", "tftrainer", "run"]
            for way, argv, environment in (
                (_OURS, launch, {contract.PLAN_VARIABLE: plan, ROOT_VARIABLE: folder}),
                (_BY_HAND, [sys.executable, str(script)], {}),
            ):
                start, leave = _around_its_line(argv, environment)
                starts[way].append(start)
                exits[way].append(leave)
    return {
        "measures": [
            _row(f"container's start to the script's first line, median of {_ROUNDS}", starts, _START_LIMIT_MS),
            _row(f"the script's last line to the container's exit, its result reported, median of {_ROUNDS}", exits, _EXIT_LIMIT_MS),
        ]
    }


def _row(title: str, took: dict[str, list[float]], limit: float) -> dict[str, Any]:
    ours, by_hand = statistics.median(took[_OURS]), statistics.median(took[_BY_HAND])
    return {
        "number": "B12",
        "title": title,
        "unit": "ms",
        "ours": ours,
        "target": f"≤ by hand + {limit:.0f}",
        "met": ours <= by_hand + limit,
        "baselines": {_BY_HAND: by_hand},
        "raw": took,
    }


def _prepare(root: Path) -> Path:
    """Make what `fetch` leaves for the launcher, and return the script."""
    at = Layout(root)
    for each in (at.code, at.dependencies, at.bucket, at.state, at.termination_log.parent):
        each.mkdir(parents=True)
    at.lock.touch()
    script = at.code / "train.py"
    script.write_text(_SCRIPT)
    handover.write(handover.Resolved(script=str(script), cwd=str(script.parent)), at.resolved)
    return script


def _around_its_line(argv: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return the milliseconds from a process's start to its script's only line, and from there to its exit; RuntimeError if it failed."""
    begun = time.monotonic()
    ran = subprocess.run(
        argv, env={"PATH": "/usr/bin:/bin", **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    ended = time.monotonic()
    if ran.returncode:
        raise RuntimeError(f"the script could not be started: exit code {ran.returncode}: {ran.stderr.strip()[-500:]}")
    printed = float(ran.stdout)
    return 1000 * (printed - begun), 1000 * (ended - printed)
