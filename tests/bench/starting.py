"""From the container's start to the script's first line: by the launcher, and by hand with the same interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tftrainer import contract, handover
from tftrainer.contract import Plan, Script

_ROUNDS = 15
_LIMIT_MS = 150.0
_OURS = "the launcher"
_BY_HAND = "python script.py"
_SCRIPT = "import time\nprint(time.monotonic(), flush=True)\n"
_LAUNCH = """
import sys
from pathlib import Path
from tftrainer.contract import decode_plan
from tftrainer.run.launcher import main
from tftrainer.run.places import Places
root = Path(sys.argv[1])
sys.exit(main(decode_plan(sys.argv[2]), Places(root / "workspace", root / "state", root / "termination-log")))
"""
"""What `python -m tftrainer run` does, in folders of the bench instead of a container's."""


def measure() -> dict[str, Any]:
    """Start a script in both ways, in turns, and return the row of the median."""
    took: dict[str, list[float]] = {_OURS: [], _BY_HAND: []}
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory(prefix="tftraining-bench-") as folder:
            root = Path(folder)
            script = _prepare(root)
            plan = contract.encode_plan(Plan(namespace="ns", job="j", uid="u", runtime="tf2", script=Script(name=script.name)))
            took[_OURS].append(_first_line([sys.executable, "-I", "-c", _LAUNCH, str(root), plan], {contract.PLAN_VARIABLE: plan}))
            took[_BY_HAND].append(_first_line([sys.executable, str(script)], {}))
    ours, by_hand = statistics.median(took[_OURS]), statistics.median(took[_BY_HAND])
    row = {
        "number": "B12",
        "title": f"container's start to the script's first line, median of {_ROUNDS}",
        "unit": "ms",
        "ours": ours,
        "target": f"≤ by hand + {_LIMIT_MS:.0f}",
        "met": ours <= by_hand + _LIMIT_MS,
        "baselines": {_BY_HAND: by_hand},
        "raw": took,
    }
    return {"measures": [row]}


def _prepare(root: Path) -> Path:
    """Make what `fetch` leaves for the launcher, and return the script."""
    for name in ("workspace/code", "workspace/deps", "workspace/bucket", "state"):
        (root / name).mkdir(parents=True)
    (root / "state" / handover.LOCK_NAME).touch()
    script = root / "workspace" / "code" / "train.py"
    script.write_text(_SCRIPT)
    handover.write(handover.Resolved(script=str(script), cwd=str(script.parent)), root / "state" / handover.RESOLVED_NAME)
    return script


def _first_line(argv: list[str], environment: dict[str, str]) -> float:
    """Return the milliseconds from the start of a process to its script's first line; raises RuntimeError if it failed."""
    begun = time.monotonic()
    ran = subprocess.run(
        argv, env={"PATH": "/usr/bin:/bin", **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise RuntimeError(f"the script could not be started: exit code {ran.returncode}: {ran.stderr.strip()[-500:]}")
    return 1000 * (float(ran.stdout) - begun)
