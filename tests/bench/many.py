"""A million objects through the half of `fetch` that sees all of them: listed, planned, told to the publisher; a thousand are fetched.

The server is VersityGW over empty files in memory that were put there by hand, so that it gives no ETags: 32 bytes more for each object
are what a bucket with ETags takes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.integration.trainer.pods import ACCESS_KEY, SECRET_KEY, running_gateway

_MIB = 1024**2
_PARTS, _FOLDERS, _FILES = 4, 250, 1000
_COUNT = _PARTS * _FOLDERS * _FILES
_SAMPLE = 1000
_LIMIT = 512
_LINEAR = 1.25
"""How much longer an object may take among a million than among a quarter of them."""
_CHILD = Path(__file__).parent / "bytes_moved.py"


def measure() -> dict[str, Any]:
    """Measure a quarter of the objects and all of them, and return the rows."""
    with tempfile.TemporaryDirectory(prefix="tftraining-bench-", dir="/dev/shm") as folder:
        root = Path(folder)
        (root / "server").mkdir()
        with running_gateway(root / "server") as server:
            bucket = server.new_bucket()
            _fill(root / "server" / "data" / bucket)
            common = {"endpoint": server.endpoint, "bucket": bucket, "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY, "sample": _SAMPLE}
            part, whole = (_alone(root / "target", common | {"prefix": prefix}) for prefix in ("many/0/", "many/"))
    peak = whole["peak"] / _MIB
    each = {"a quarter": 1e6 * part["cpu"] * _PARTS / _COUNT, "all": 1e6 * whole["cpu"] / _COUNT}
    return {
        "measures": [
            {
                "number": "B13",
                "title": f"memory of fetch for {_COUNT} objects, {_SAMPLE} of them fetched, the interpreter's own included",
                "unit": "MiB",
                "ours": peak,
                "target": f"≤ {_LIMIT}",
                "met": peak <= _LIMIT,
                "baselines": {"a quarter of them": part["peak"] / _MIB},
                "raw": {"bytes over what it takes without objects": [part["memory"], whole["memory"]]},
            },
            {
                "number": "B13",
                "title": "CPU time that one of them takes",
                "unit": "µs",
                "ours": each["all"],
                "target": f"≤ {_LINEAR} x of a quarter of them",
                "met": each["all"] <= _LINEAR * each["a quarter"],
                "baselines": {"a quarter of them": each["a quarter"]},
                "raw": {"seconds": [part["seconds"], whole["seconds"]], "CPU seconds": [part["cpu"], whole["cpu"]]},
            },
        ]
    }


def _fill(bucket: Path) -> None:
    for part in range(_PARTS):
        for number in range(_FOLDERS):
            folder = bucket / "many" / str(part) / f"n{number:08d}"
            folder.mkdir(parents=True)
            for file in range(_FILES):
                (folder / f"n{number:08d}_{file:08d}.JPEG").touch()


def _alone(target: Path, job: dict[str, Any]) -> dict[str, float]:
    target.mkdir()
    ran = subprocess.run(
        [sys.executable, "-P", str(_CHILD), "fetch_many", json.dumps(job | {"target": str(target)})],
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree(target)
    if ran.returncode:
        raise RuntimeError(f"fetch_many failed: {ran.stderr.strip()[-800:]}")
    figures: dict[str, float] = json.loads(ran.stdout)
    return figures
