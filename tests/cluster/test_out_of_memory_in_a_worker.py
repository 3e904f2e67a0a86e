"""A worker process that runs out of memory ends its job as that, where the kernel kills the worker alone and where it kills all."""

from __future__ import annotations

import json

import pytest
from cluster_client import SMALL, Jobs, Object

EAT = """
def eat(i):
    blocks = []
    while i == 1:
        blocks.append(bytearray(32 << 20))
    return i
"""
SCRIPTS = {
    "pool": f"""
import multiprocessing as mp
{EAT}
if __name__ == "__main__":
    with mp.get_context("spawn").Pool(2) as pool:
        print(pool.map(eat, [0, 1]), flush=True)
""",
    "executor": f"""
from concurrent.futures import ProcessPoolExecutor
{EAT}
if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        print(list(pool.map(eat, [0, 1])), flush=True)
""",
    "queue": f"""
import multiprocessing as mp
{EAT}
if __name__ == "__main__":
    queue = mp.get_context("spawn").Queue()
    mp.get_context("spawn").Process(target=eat, args=(1,)).start()
    print(queue.get(), flush=True)
""",
}


@pytest.fixture(scope="module")
def ended(jobs: Jobs) -> dict[str, Object]:
    for name, script in SCRIPTS.items():
        jobs.submit(f"oom-{name}", script, resources={**SMALL, "memory": "512Mi"})
    return {name: jobs.wait(f"oom-{name}", seconds=300) for name in SCRIPTS}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_job_whose_worker_ran_out_of_memory_failed_for_that_and_names_the_field_and_its_value(
    jobs: Jobs, ended: dict[str, Object], name: str
) -> None:
    status = ended[name]
    failure = status["failure"]
    assert (failure["reason"], failure["cause"]) == ("OutOfMemory", "OutOfMemory"), json.dumps(status, indent=1)
    assert "spec.resources.memory (512Mi)" in failure["message"]
    assert "spec.resources.memory" in failure["hint"]
    if "did nothing any more" in failure["message"]:
        assert "is 512Mi, and the peak was 51" in failure["message"]
        events = jobs.kubectl("get", "events", f"--field-selector=involvedObject.name=oom-{name},reason=ProcessOutOfMemory", "-o", "name")
        assert len(events.splitlines()) == 1
        assert "tftrainer: the kernel killed a process of the script" in jobs.log(f"oom-{name}")
