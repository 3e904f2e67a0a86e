"""A process of the script that the kernel kills for want of memory, while the script itself lives on."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Reason, RunNotes

from tests.integration.trainer.launcher import Pod, launched, wait_for

LIMIT = 192 << 20
PATIENCE = 3.0
GROUPS = Path("/sys/fs/cgroup/memory")

EAT = """
def eat(i):
    blocks = []
    while i == 1:
        blocks.append(bytearray(16 << 20))
    return i
"""
POOL = f"""
import multiprocessing as mp, os
{EAT}
if __name__ == "__main__":
    with mp.get_context("spawn").Pool(2) as pool:
        print(pool.map(eat, [0, 1]), flush=True)
"""
EXECUTOR = f"""
from concurrent.futures import ProcessPoolExecutor
{EAT}
if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        print(list(pool.map(eat, [0, 1])), flush=True)
"""
QUEUE = """
import multiprocessing as mp

def eat(queue):
    blocks = []
    while True:
        blocks.append(bytearray(16 << 20))

if __name__ == "__main__":
    queue = mp.Queue()
    mp.Process(target=eat, args=(queue,)).start()
    while True:
        try:
            print(queue.get(timeout=0.2))
        except Exception:
            print("still waiting", flush=True)
"""
SELF = "blocks = []\nwhile True:\n    blocks.append(bytearray(16 << 20))\n"
ITSELF_ENDED = "import subprocess, sys\ncode = subprocess.run([sys.executable, '-c', {eater!r}]).returncode\nsys.exit(code % 256)\n"
EAT = f"import os, subprocess, sys, time\nsubprocess.run([sys.executable, '-c', {SELF!r}])\n"


class Counters:
    """A control group of version 2 as far as the launcher reads it; version 1's files have other names."""

    def __init__(self, folder: Path, version: int) -> None:
        self._version = version
        self.folder = folder
        (folder / "memory").mkdir(parents=True)
        self.count(0)
        names = ("memory.max", "memory.peak") if version == 2 else ("memory/memory.limit_in_bytes", "memory/memory.max_usage_in_bytes")
        for name, value in zip(names, (512 << 20, 511 << 20), strict=True):
            (folder / name).write_text(f"{value}\n")

    def count(self, kills: int) -> None:
        if self._version == 2:
            name, text = "memory.events", f"low 0\nhigh 0\nmax 9\noom 1\noom_kill {kills}\noom_group_kill 0\n"
        else:
            name, text = "memory/memory.oom_control", f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"
        (self.folder / "new").write_text(text)
        (self.folder / "new").replace(self.folder / name)


pod = pytest.fixture(launched)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Path]:
    """Make a control group with a small limit, and give the folder at which a container would have it mounted."""
    own = GROUPS / f"tftrainer-{uuid.uuid4().hex[:8]}"
    try:
        own.mkdir()
        (own / "memory.limit_in_bytes").write_text(str(LIMIT))
    except OSError as error:
        pytest.skip(f"no control group of version 1 can be made here: {error}")
    mounted = tmp_path / "cgroup"
    mounted.mkdir()
    (mounted / "memory").symlink_to(own)
    yield mounted
    wait_for(lambda: not (own / "cgroup.procs").read_text().split())
    with contextlib.suppress(OSError):
        own.rmdir()


@pytest.mark.parametrize("script", [POOL, QUEUE], ids=["a pool that waits for ever", "a loop that looks again and again"])
def test_a_script_that_hangs_on_a_killed_worker_is_ended_with_limit_and_peak(pod: Pod, group: Path, script: str) -> None:
    ran = pod.finish(pod.start(script, control_group=group, patience=PATIENCE, grace_seconds=2))
    failure = ran.report.failure
    assert failure is not None
    assert failure.reason is Reason.OUT_OF_MEMORY
    assert "spec.resources.memory, is 192Mi, and the peak was 192Mi" in failure.message
    assert "did nothing any more" in failure.message
    assert failure.file == "train.py"
    assert "spec.resources.memory" in failure.hint
    assert ran.report.memory_kills >= 1
    assert b"tftrainer: the kernel killed a process of the script for want of memory" in ran.err
    assert b"tftrainer:" not in (pod.workspace / "logs" / "stderr.log").read_bytes()


@pytest.mark.parametrize(
    ("script", "code"),
    [(SELF, 137), (EXECUTOR, 1), (ITSELF_ENDED.format(eater=SELF), 247)],
    ids=["the script itself", "a pool that notices", "the end of a child passed on"],
)
def test_a_script_that_ends_by_a_kill_for_want_of_memory_is_told_as_that(pod: Pod, group: Path, script: str, code: int) -> None:
    ran = pod.finish(pod.start(script, control_group=group, patience=PATIENCE))
    assert (ran.code, ran.reason) == (code, Reason.OUT_OF_MEMORY), ran.report
    assert ran.report.failure is not None
    assert "is 192Mi, and the peak was 192Mi" in ran.report.failure.message


def test_a_kill_that_the_script_makes_up_for_is_told_at_once_and_is_not_the_cause_of_what_comes_after(pod: Pod, group: Path) -> None:
    script = EAT + "while not os.path.exists('go'):\n    time.sleep(0.05)\nraise ValueError('later')\n"
    process = pod.start(script, control_group=group)
    notes = pod.workspace / ".tftraining" / contract.NOTES_NAME
    wait_for(notes.exists)
    [note] = json.loads(notes.read_bytes())["notes"]
    assert note["reason"] == "ProcessOutOfMemory"
    assert "limit, spec.resources.memory, is 192Mi" in note["message"]
    assert msgspec.json.decode(notes.read_bytes(), type=RunNotes).notes[0].message == note["message"]
    (pod.workspace / "code" / "go").touch()
    ran = pod.finish(process)
    assert ran.reason is Reason.SCRIPT_RAISED
    assert ran.report.failure is not None
    assert ran.report.failure.exception == "ValueError: later"
    assert ran.report.memory_kills == 1


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_of_control_groups_are_read(pod: Pod, tmp_path: Path, version: int) -> None:
    counters = Counters(tmp_path / "cgroup", version)
    counters.count(7)
    process = pod.start("import time\nprint('up', flush=True)\ntime.sleep(600)\n", control_group=counters.folder, patience=PATIENCE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    counters.count(9)
    ran = pod.finish(process)
    failure = ran.report.failure
    assert failure is not None
    assert (failure.reason, ran.report.memory_kills) == (Reason.OUT_OF_MEMORY, 2)
    assert "killed 2 processes of the script" in failure.message
    assert "is 512Mi, and the peak was 511Mi" in failure.message
    assert (failure.file, failure.line) == ("train.py", 3)


@pytest.mark.parametrize(
    "work",
    ["x = sum(range(20000))", "open('f', 'wb').write(bytes(1 << 16)); time.sleep(0.2)", "subprocess.run([sys.executable, '-Sc', ''])"],
    ids=["computing", "writing", "processes"],
)
def test_a_script_that_works_on_after_a_kill_is_not_ended(pod: Pod, tmp_path: Path, work: str) -> None:
    counters = Counters(tmp_path / "cgroup", 2)
    script = (
        f"import subprocess, sys, time\nprint('up', flush=True)\nend = time.monotonic() + 6\nwhile time.monotonic() < end:\n    {work}\n"
    )
    process = pod.start(script, control_group=counters.folder, patience=1.5)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    counters.count(1)
    ran = pod.finish(process)
    assert (ran.code, ran.report.failure, ran.report.memory_kills) == (0, None, 1)


def test_a_script_that_rests_without_a_kill_is_left_alone(pod: Pod, tmp_path: Path) -> None:
    counters = Counters(tmp_path / "cgroup", 2)
    ran = pod.finish(pod.start("import time\ntime.sleep(4)\n", control_group=counters.folder, patience=1.0))
    assert (ran.code, ran.report.failure) == (0, None)
