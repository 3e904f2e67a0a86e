"""What the publisher takes from a run while its log grows: the whole pod as processes, beside one whose script is silent."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from subject import process_cpu_seconds
from tftrainer.messages.contract import Plan, Script

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.integration.trainer.pods import Pod, running_gateway

_LINES_PER_SECOND = 1000
_SETTLE_SECONDS, _WINDOW_SECONDS = 6.0, 30.0
"""The publisher has imported what it needs, and has uploaded once, before the window; the window holds several uploads."""
_ROUNDS = 2
_LIMIT = 1.0
_SCRIPT = """
import sys, time
seconds, lines = float(sys.argv[1]), int(sys.argv[2])
begun = time.monotonic()
written = 0
while (passed := time.monotonic() - begun) < seconds:
    due = int(passed * lines)
    for number in range(written, due):
        print(f"step {number} loss 0.123456 accuracy 0.987654 learning rate 0.001 images/s 4096")
    written = due
    time.sleep(0.01)
"""


def measure() -> dict[str, Any]:
    """Measure with and without a log, in turns, and return the row of the medians."""
    taken: dict[int, list[float]] = {_LINES_PER_SECOND: [], 0: []}
    with tempfile.TemporaryDirectory(prefix="tftraining-bench-") as folder:
        root = Path(folder)
        (root / "server").mkdir()
        with running_gateway(root / "server") as server:
            bucket = server.new_bucket()
            for number in range(_ROUNDS):
                for lines, found in taken.items():
                    found.append(_percent(Pod(root / f"pod-{number}-{lines}", server, bucket, ""), f"job-{number}-{lines}", lines))
    ours, silent = statistics.median(taken[_LINES_PER_SECOND]), statistics.median(taken[0])
    row = {
        "number": "B12",
        "title": f"the publisher's CPU while a script prints {_LINES_PER_SECOND} lines/s, {_WINDOW_SECONDS:.0f} s, median of {_ROUNDS}",
        "unit": "% of a core",
        "ours": ours,
        "target": f"< {_LIMIT:.0f}",
        "met": ours < _LIMIT,
        "baselines": {"a silent script": silent},
        "raw": {f"{lines} lines/s": found for lines, found in taken.items()},
    }
    return {"measures": [row]}


def _percent(pod: Pod, name: str, lines: int) -> float:
    """Return the publisher's part of a core in the window of one run; raises RuntimeError if the run failed."""
    seconds = str(_SETTLE_SECONDS + _WINDOW_SECONDS + 1)
    script = Script(name="train.py", uri="${bucket}/train.py")
    plan = Plan(namespace="ns", job=name, uid=name, runtime="tf2", script=script, args=(seconds, str(lines)))
    pod.put("train.py", _SCRIPT)
    fetched, _ = pod.fetch(plan)
    if fetched.code:
        raise RuntimeError(f"the run of {name} could not be prepared: {fetched.output.strip()[-500:]}")
    run = [sys.executable, "-I", "-m", "tftrainer", "run"]
    with subprocess.Popen(run, env=pod.environment(plan), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as launcher:
        publisher = pod.start("publish", plan)
        time.sleep(_SETTLE_SECONDS)
        before = process_cpu_seconds(publisher.pid)
        time.sleep(_WINDOW_SECONDS)
        used = process_cpu_seconds(publisher.pid) - before
        published = pod.end(publisher)
    if launcher.returncode or published.code:
        raise RuntimeError(f"the run of {name} failed: exit code {launcher.returncode}, {published.output.strip()[-500:]}")
    live = pod.server.keys(pod.bucket, f".tftraining/ns/{name}/")
    if lines and not any("/live/" in key for key in live):
        raise RuntimeError(f"the log of {name} was not shown live: there is only {', '.join(live)}")
    return 100 * used / _WINDOW_SECONDS
