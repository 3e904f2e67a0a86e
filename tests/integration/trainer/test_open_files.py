"""What the launcher says of the files that a script had open when it was ended, or ended."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import OpenFiles

from tests.integration.trainer.launcher import Pod, launched, wait_for

HALF = """
import os, signal, sys, time
os.makedirs("../bucket/runs", exist_ok=True)
whole = open("../bucket/whole.bin", "wb")
whole.write(b"x" * 100)
whole.close()
half = open("../bucket/runs/best.bin", "wb")
half.write(b"x" * 100)
half.flush()
reads = open("../bucket/whole.bin", "rb")
print("half", flush=True)
AFTER
"""


pod = pytest.fixture(launched)


def opened(pod: Pod) -> tuple[str, ...] | None:
    path = pod.workspace / ".tftraining" / contract.OPEN_NAME
    return msgspec.json.decode(path.read_bytes(), type=OpenFiles).paths if path.exists() else None


def started(pod: Pod, after: str, before: str = "", **changes: object) -> subprocess.Popen[bytes]:
    process = pod.start(before + HALF.replace("AFTER", after), **changes)  # type: ignore[arg-type]
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    return process


def test_a_file_that_is_open_for_writing_is_known_even_if_the_launcher_itself_is_killed(pod: Pod) -> None:
    process = started(pod, "print(os.getpid(), flush=True)\ntime.sleep(60)")
    assert process.stdout is not None
    script = int(process.stdout.readline())
    wait_for(lambda: opened(pod) == ("bucket/runs/best.bin",))
    process.kill()
    wait_for(lambda: not Path(f"/proc/{script}").exists())
    assert opened(pod) == ("bucket/runs/best.bin",)


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("", "time.sleep(60)", 143),
        ("", "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\ntime.sleep(60)", 137),
        ("", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\ntime.sleep(60)", 143),
    ],
)
def test_what_was_open_at_a_stop_stands_whatever_the_script_does_with_it(pod: Pod, before: str, after: str, code: int) -> None:
    process = started(pod, after, before, grace_seconds=1)
    assert process.stdout is not None
    if "deaf" in after:
        process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert pod.finish(process).code == code
    assert opened(pod) == ("bucket/runs/best.bin",)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("os.abort()", 134),
        ("raise ValueError('in the middle')", 1),
    ],
)
def test_what_was_open_at_the_last_look_before_a_crash_stands(pod: Pod, end: str, code: int) -> None:
    process = started(pod, f"while not os.path.exists('../go'): time.sleep(0.01)\n{end}")
    wait_for(lambda: opened(pod) == ("bucket/runs/best.bin",))
    (pod.workspace / "go").touch()
    assert pod.finish(process).code == code
    assert opened(pod) == ("bucket/runs/best.bin",)


def test_nothing_is_open_after_a_success_though_the_script_closed_nothing(pod: Pod) -> None:
    process = started(pod, "while not os.path.exists('../go'): time.sleep(0.01)")
    wait_for(lambda: opened(pod) == ("bucket/runs/best.bin",))
    (pod.workspace / "go").touch()
    assert pod.finish(process).code == 0
    assert opened(pod) == ()


def test_what_a_process_had_open_that_a_successful_script_left_running_stands(pod: Pod) -> None:
    process = started(pod, "if os.fork() == 0:\n    os.setsid()\n    open('../bucket/more', 'w').close()\n    time.sleep(60)")
    assert pod.finish(process).code == 0
    assert opened(pod) == ("bucket/runs/best.bin",)


def test_a_file_that_was_closed_is_open_no_more_and_one_of_a_child_is(pod: Pod) -> None:
    child = "import time; f = open('../bucket/child.bin', 'ab'); time.sleep(60)"
    process = started(
        pod, f"import subprocess; half.close()\nsubprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(60)", grace_seconds=0
    )
    wait_for(lambda: opened(pod) == ("bucket/child.bin",))
    process.send_signal(signal.SIGTERM)
    pod.finish(process)
    assert opened(pod) == ("bucket/child.bin",)


def test_a_file_that_is_only_mapped_is_open_while_the_mapping_can_be_written(pod: Pod) -> None:
    mapped = """
half.truncate(8192); os.link("../bucket/runs/best.bin", "../bucket/two\\nlines")
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
for name, access in (("../bucket/two\\nlines", 3), ("../bucket/whole.bin", 1)):
    with open(name, "r+b") as file:
        assert libc.mmap(None, 100, access, 1, file.fileno(), 0) not in (None, 2**64 - 1)
half.close()
time.sleep(60)
"""
    process = started(pod, mapped)
    wait_for(lambda: opened(pod) == ("bucket/two\nlines",))
    process.send_signal(signal.SIGTERM)
    pod.finish(process)


def test_removed_files_pipes_and_files_outside_of_the_workspace_are_not_told(pod: Pod) -> None:
    others = """
os.unlink("../bucket/runs/best.bin")
os.mkfifo("../bucket/pipe")
outside, pipe = open("../../outside", "w"), os.open("../bucket/pipe", os.O_RDWR)
later = open("../code/later.log", "a")
time.sleep(60)
"""
    process = started(pod, others)
    wait_for(lambda: opened(pod) == ("code/later.log",))
    process.send_signal(signal.SIGTERM)
    pod.finish(process)


def test_whatever_the_script_does_to_the_folder_of_marks_what_was_open_is_told_in_the_end(pod: Pod) -> None:
    spoilt = "import shutil; shutil.rmtree('../.tftraining')\nopen('../.tftraining', 'w').close()\ntime.sleep(60)"
    process = started(pod, spoilt)
    wait_for(lambda: (pod.workspace / ".tftraining").is_file())
    process.send_signal(signal.SIGTERM)
    pod.finish(process)
    assert opened(pod) == ("bucket/runs/best.bin",)
