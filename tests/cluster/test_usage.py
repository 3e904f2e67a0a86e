"""What a job has used, on the real cluster, with the memory that the kernel counts for its container."""

from __future__ import annotations

import json

from cluster_client import SMALL, Jobs

HOLDS = """
import time
with open("/workspace/cached", "wb") as file:
    for _ in range(256):
        file.write(bytes(1 << 20))
held = bytearray(b"x") * ({held} << 20)
time.sleep(5)
"""


def test_the_peak_is_what_the_script_held_and_not_what_the_kernel_caches_of_its_files(jobs: Jobs) -> None:
    jobs.submit("holds", HOLDS.replace("{held}", "200"), resources={**SMALL, "memory": "1Gi"})
    status = jobs.wait("holds")
    used = status["usage"]
    assert 200 * 1024**2 <= used["peakMemory"] < 320 * 1024**2, json.dumps(status, indent=1)
    assert "of spec.resources.memory would do" in used["advice"], used
    assert used["runningSeconds"] >= 5
    assert "wastedSeconds" not in used


def test_memory_that_was_just_enough_is_told(jobs: Jobs) -> None:
    jobs.submit("tight", HOLDS.replace("{held}", "462"), resources={**SMALL, "memory": "512Mi"})
    status = jobs.wait("tight")
    assert status["usage"]["advice"].startswith("Ask for 640Mi"), json.dumps(status, indent=1)
