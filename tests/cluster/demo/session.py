"""The test run: brings the product up, runs pytest over everything, and ends what it started, so that pytest has the last word."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from localcluster import binaries

from demo.console import Console, quiet
from demo.install import bring_up
from demo.target import REPOSITORY, Target, cluster_tool


def run_tests(console: Console, target: Target) -> int:
    """Run all tests against the target and return pytest's exit code.

    A local cluster that was not running before is ended afterwards.
    """
    was_running = target.local and _is_running()
    try:
        bring_up(console, target)
        if shutil.which("go") is not None:
            # Here rather than in the test that needs it: a first build takes a minute, and should be seen.
            binaries.build(binaries.STORES)
        tests = [sys.executable, "-m", "pytest", "tests/unit", "tests/integration", "tests/cluster"]
        environment = {**target.environment, "TFTRAINING_TEST_KUBECONFIG": target.environment["KUBECONFIG"]}
        return subprocess.run(tests, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    finally:
        if target.local and not was_running:
            quiet(cluster_tool("down"), os.environ, check=False)


def _is_running() -> bool:
    return subprocess.run(cluster_tool("status"), capture_output=True, check=False).returncode == 0
