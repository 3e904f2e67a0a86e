"""What a user reads of a script that stumbled, from real scripts, processes and files."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest
from tftrainer.messages import contract, handover
from tftrainer.messages.contract import Plan, RunReport, Script

from tests.integration.trainer.launcher import DRIVER, INHERITED, Pod, launched

FILLS_SHARED_MEMORY = """
import sys
from multiprocessing import shared_memory
segment = shared_memory.SharedMemory(create=True, size=int(sys.argv[1]) << 20)
for at in range(0, len(segment.buf), 4096):
    segment.buf[at] = 1
segment.close(), segment.unlink()
"""
BREAKS_A_POOL = """
import concurrent.futures
from multiprocessing import shared_memory
def work(_):
    segment = shared_memory.SharedMemory(create=True, size=32 << 20)
    segment.buf[:] = bytes(32 << 20)
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        list(pool.map(work, range(2)))
"""
DIES_OF_A_TRUNCATED_FILE = """
import mmap, os
with open("file", "w+b") as file:
    file.truncate(1 << 20)
    view = mmap.mmap(file.fileno(), 1 << 20)
    file.truncate(0)
    view[0]
"""


pod = pytest.fixture(launched)


@pytest.mark.parametrize(
    ("script", "hint"),
    [
        ("open('data/row.csv')", "Use an argument, ${bucket}/demo/rows.csv, and read what it names"),
        ("open('/no/such/place/model.h5', 'w')", "Write to ${bucket}/no/such/place/model.h5, given as an argument"),
        ("open('/mnt/data/nothing.npz')", "Use an argument, ${bucket}/nothing.npz, and read what it names"),
        ("open('/opt/ml/model/m.h5', 'w')", "Use the folder that the variable SM_MODEL_DIR names: there is no /opt/ml without a cluster."),
        ("open('s3://mine/team/a.csv')", "Write ${bucket}/a.csv as the argument, in place of s3://mine/team/a.csv"),
        ("open('gs://theirs/a.csv')", "Instead of gs://theirs/a.csv, copy it into the job's bucket"),
        ("import os; open('/dev/shm/hint', 'w'); os.rename('/dev/shm/hint', 'hint')", "Make the file with `tempfile`"),
        ("import subprocess; subprocess.run(['no-such-program'])", "Do without the program 'no-such-program'"),
        (
            "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))\nkept = [open(__file__) for _ in range(9)]",
            "Close files after use, or use fewer workers",
        ),
        (
            "import concurrent.futures, os\nif __name__ == '__main__':\n    with concurrent.futures.ProcessPoolExecutor(1) as pool:\n"
            "        pool.submit(os.abort).result()",
            "Look in the log for the last that a worker process printed",
        ),
        ("raise KeyError('/models/x')", ""),
    ],
)
def test_what_a_real_script_stumbles_over_has_its_hint(pod: Pod, script: str, hint: str) -> None:
    (pod.workspace / "bucket/demo").mkdir()
    (pod.workspace / "bucket/demo/rows.csv").write_text("1,2\n")
    ran = pod.finish(pod.start(script, place=handover.Place(bucket="mine", prefix="team/")))
    assert ran.report.failure is not None
    assert ran.report.failure.hint.startswith(hint)
    assert bool(ran.report.failure.hint) == bool(hint)


def test_a_tf_config_of_other_processes_is_warned_of_and_one_that_the_script_sets_is_its_own(pod: Pod) -> None:
    cluster = '{"cluster": {"worker": ["worker-0:2222", "worker-1:2222"]}, "task": {"type": "worker", "index": 0}}'
    script = "import os; print(os.environ['TF_CONFIG'])"
    ran = pod.finish(pod.start(script, environment={"TF_CONFIG": cluster}))
    assert ran.code == 0
    assert ran.out.decode().strip() == cluster
    assert b"warning: TF_CONFIG names 2 processes (worker-0:2222, worker-1:2222), which are no part of this job" in ran.err
    ran = pod.run(f"import os; os.environ['TF_CONFIG'] = '''{cluster}'''")
    assert (ran.code, ran.err) == (0, b"")


@pytest.mark.skipif(os.getuid() != 0, reason="a /dev/shm of its own needs a mount")
@pytest.mark.parametrize(
    ("script", "argument", "size", "full"),
    [
        (FILLS_SHARED_MEMORY, "24", "16m", "16Mi"),
        (FILLS_SHARED_MEMORY, "24", "64m", ""),
        (BREAKS_A_POOL, "", "40m", "40Mi"),
        (DIES_OF_A_TRUNCATED_FILE, "", "16m", ""),
        ("open('/dev/shm/cache', 'wb').write(bytes(20 << 20))", "", "16m", "16Mi"),
    ],
)
def test_a_full_shared_memory_is_measured_however_soon_it_is_gone(pod: Pod, script: str, argument: str, size: str, full: str) -> None:
    file = pod.write(script)
    resolved = handover.Resolved(script=str(file), cwd=str(file.parent), argv=(argument,))
    handover.write(resolved, pod.root / "run/tftraining" / "resolved.json")
    text = contract.encode_plan(Plan(namespace="ns", job="j", uid="u", runtime="tf2", script=Script(name="train.py")))
    mounted = f'mount -t tmpfs -o size={size} shm /dev/shm && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mounted, "sh", sys.executable, "-I", "-c", DRIVER, str(pod.root), text]
    done = subprocess.run(command, env=INHERITED, capture_output=True, timeout=60, check=False)
    report = contract.decode_report((pod.root / "dev/termination-log").read_text(), RunReport)
    if script == FILLS_SHARED_MEMORY and not full:
        assert (done.returncode, report.failure) == (0, None)
        return
    assert report.failure is not None, done.stderr
    assert ("/dev/shm was full" in report.failure.message) == bool(full), msgspec.json.encode(report)
    assert (f"it has {full}" in report.failure.message) == bool(full)
    assert ("spec.resources.sharedMemory" in report.failure.hint) == bool(full)
