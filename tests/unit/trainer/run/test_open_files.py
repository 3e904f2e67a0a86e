"""When the script was looked at for the last time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tftrainer.run.open_files import Watch


@pytest.fixture
def script() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that ends with its standard input."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_of_a_script_that_ended_suddenly_is_told_when_it_was_last_seen(tmp_path: Path, script: subprocess.Popen[bytes]) -> None:
    times = iter((10.0, 20.0, 30.0))
    watch = Watch(script.pid, tmp_path, lambda _: None, lambda: next(times))
    watch.look()
    watch.look()
    script.kill()
    os.waitid(os.P_PID, script.pid, os.WEXITED | os.WNOWAIT)
    watch.last_look()
    assert watch.conclusion(whole=False).looked_at == 20.0
    assert watch.conclusion(whole=True).looked_at is None
