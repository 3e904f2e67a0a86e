"""The test run: brings the product up, runs pytest over everything, and ends what it started, so that pytest has the last word."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence

from localcluster import binaries

from demo.console import Console, quiet, side_by_side
from demo.install import bring_up
from demo.target import REPOSITORY, Target, cluster_tool

WAITING = 4
"""Tests at once beside one for each core: one for each group of tests of the cluster, and one more: all tests wait at times."""


DISTRIBUTED = ("tests/cluster/test_distributed.py", "tests/cluster/test_groups.py")
"""The tests that train with several replicas on the cluster."""


def run_tests(console: Console, target: Target, *, whole: bool = False, only: Sequence[str] = ("tests",)) -> int:
    """Run the tests of these places against the target, long matrices in part unless `whole`, and return pytest's exit code.

    A local cluster that was not running before is ended afterwards.

    Raises:
        CommandError: a static check failed, or the product could not be brought up.

    """
    was_running = target.local and _is_running()
    try:
        side_by_side(lambda: _check(console), lambda: bring_up(console, target), _build_others)
        workers = WAITING + len(os.sched_getaffinity(0))
        tests = [sys.executable, "-m", "pytest", f"--numprocesses={workers}", "--dist=loadgroup", *(["--whole"] if whole else [])]
        environment = {**target.environment, "TFTRAINING_TEST_KUBECONFIG": target.environment["KUBECONFIG"]}
        console.line(f"\n$ {shlex.join([*tests, *only])}")
        return subprocess.run([*tests, *only], cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    finally:
        if target.local and not was_running:
            quiet(cluster_tool("down"), os.environ, check=False)


def _check(console: Console) -> None:
    with console.step("static checks"):
        console.stream(["make", "--no-print-directory", "static"], os.environ, "checks ")


def _build_others() -> None:
    # Here rather than in the tests that need them: a first build takes minutes, and should be seen.
    if shutil.which("go") is not None:
        binaries.build([binaries.STORE, binaries.QUEUE])


def _is_running() -> bool:
    return subprocess.run(cluster_tool("status"), capture_output=True, check=False).returncode == 0
