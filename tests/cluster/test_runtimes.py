"""The images hold what the page about them says, and tell a running script's state."""

from __future__ import annotations

import json

import pytest
from cluster_client import Jobs, eventually
from demo.console import CommandError
from demo.target import REPOSITORY

PAGE = REPOSITORY / "docs" / "reference" / "runtimes.md"
DESCRIBE = "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'tftrainer', 'describe', '--json'], check=True)\n"
WAITING = """
import threading, time
def feed_the_model():
    while True:
        time.sleep(0.1)
threading.Thread(target=feed_the_model, daemon=True).start()
print("up", flush=True)
feed_the_model()
"""


def column(runtime: str) -> dict[str, str]:
    """Return what the page says of a runtime, by row."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in PAGE.read_text().splitlines() if line.startswith("|")]
    at = rows[0].index(f"`{runtime}`")
    return {row[0]: row[at] for row in rows[2:]}


@pytest.mark.parametrize("runtime", ["tf1", "tf2"])
def test_an_image_holds_what_the_page_about_it_says(jobs: Jobs, runtime: str) -> None:
    jobs.submit(f"describe-{runtime}", DESCRIBE, runtime=runtime)
    assert jobs.wait(f"describe-{runtime}")["phase"] == "Succeeded"
    found, page = json.loads(jobs.log(f"describe-{runtime}")), column(runtime)
    assert found["python"].startswith(f"{page.pop('Python')}.")
    assert found["tensorflow"] == page.pop("TensorFlow")
    assert found["version1Api"] == (page.pop("`import tensorflow` gives") == "the version-1 API")
    assert found["cuda"] is None
    assert page.pop("CUDA") == "none"
    assert found["packages"] == {name: version for name, version in page.items() if version}


def test_a_running_script_shows_on_demand_where_each_of_its_threads_is(jobs: Jobs) -> None:
    jobs.submit("stacks", WAITING, terminationGracePeriodSeconds=1)
    jobs.wait_for_phase("stacks", "Running")
    eventually(lambda: "up" in jobs.log("stacks") or None, lambda: "the script runs")
    jobs.kubectl("exec", "stacks-chief-0", "-c", "trainer", "--", "python3", "-m", "tftrainer", "stacks")
    eventually(lambda: jobs.log("stacks").count("in feed_the_model") >= 2 or None, lambda: f"both threads are shown: {jobs.log('stacks')}")
    assert jobs.status("stacks")["phase"] == "Running"
    with pytest.raises(CommandError, match="no script"):
        jobs.kubectl("exec", "stacks-chief-0", "-c", "publisher", "--", "python3", "-m", "tftrainer", "stacks")
    jobs.kubectl("delete", "tftj", "stacks", "--wait=false")
