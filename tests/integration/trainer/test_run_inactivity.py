"""A script that gives no sign of life, where its job says for how long it may be without one."""

from __future__ import annotations

import json
import re
import signal
import time

import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import OnInactivity, Reason

from tests.integration.trainer.launcher import Pod, launched, wait_for

pod = pytest.fixture(launched)

WAITS = """
import threading

def waits():
    threading.Event().wait()

print("up", flush=True)
waits()
"""
IN_NATIVE_CODE = """
import ctypes
mutex = ctypes.create_string_buffer(64)
print("up", flush=True)
lock = ctypes.PyDLL(None).pthread_mutex_lock
lock(mutex)
lock(mutex)
"""
"""`PyDLL` holds the interpreter's lock: no other thread of Python's runs any more."""
IN_A_WORKER = """
import multiprocessing, time

def work(i):
    time.sleep(600)

if __name__ == "__main__":
    with multiprocessing.get_context("{start}").Pool(2) as pool:
        print("up", flush=True)
        pool.map(work, [1, 2])
"""
RESTS = """
import os, time
print("up", flush=True)
while not os.path.exists("go"):
    time.sleep(0.2)
print("done", flush=True)
time.sleep(1)
"""
SHELL = "import os\nprint('up', flush=True)\nos.execvp('sh', ['sh', '-c', 'sleep 600; true'])\n"
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)\n"


def _stacks(pod: Pod) -> str:
    return (pod.workspace / "logs" / contract.STACKS_NAME).read_text()


@pytest.mark.parametrize(
    ("script", "line", "stack"),
    [
        (WAITS, 5, "in waits"),
        (IN_NATIVE_CODE, 7, "in <module>"),
        (IN_A_WORKER.format(start="fork"), 10, "in work"),
        (IN_A_WORKER.format(start="spawn"), 10, "in work"),
        (IN_A_WORKER.format(start="forkserver"), 10, "in work"),
        (DEAF, 4, "in <module>"),
    ],
    ids=["in a function", "in a call that keeps the lock", "in forked workers", "in spawned workers", "in workers of a server", "deaf"],
)
def test_a_script_that_hangs_is_ended_with_its_line_and_the_stacks_of_all_its_processes(
    pod: Pod, script: str, line: int, stack: str
) -> None:
    began = time.monotonic()
    ran = pod.run(script, inactivity_seconds=2, grace_seconds=1)
    assert ran.reason is Reason.SCRIPT_HUNG
    failure = ran.report.failure
    assert failure is not None
    assert (failure.file, failure.line) == ("train.py", line)
    assert f"train.py, line {line}" in failure.message
    assert "spec.inactivitySeconds" in failure.hint
    assert "train.py" in failure.traceback
    assert stack in _stacks(pod)
    assert stack.encode() in ran.err
    assert ran.code != 0
    assert 2 <= time.monotonic() - began < 30


def test_the_grace_period_begins_when_the_script_is_told_and_not_when_its_processes_are_asked(pod: Pod) -> None:
    # One that hears it and says nothing is waited for longer than that.
    script = """
        import signal, subprocess, sys, time
        silent = "import signal, time; signal.signal(signal.SIGABRT, lambda *_: None); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", silent])
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        print("up", flush=True)
        while True:
            time.sleep(600)
        """
    ran = pod.run(script, inactivity_seconds=4, grace_seconds=1)
    assert (ran.code, ran.reason) == (7, Reason.SCRIPT_HUNG)
    assert _stacks(pod).count("line 8 in <module>") == 1
    assert ran.err.count(b"line 8 in <module>") == 1


def test_a_program_that_is_no_python_is_not_harmed_by_being_asked_and_what_the_kernel_knows_of_it_is_told(pod: Pod) -> None:
    ran = pod.run(SHELL, inactivity_seconds=2)
    assert (ran.code, ran.reason) == (143, Reason.SCRIPT_HUNG)
    stacks = _stacks(pod)
    assert "(sh -c sleep 600; true):" in stacks
    assert "(sleep 600):" in stacks
    assert " (sleep) waits" in stacks
    assert b" (sleep) waits" in ran.err


def test_a_hang_is_only_told_where_the_job_wants_it_so_and_so_is_that_it_goes_on(pod: Pod) -> None:
    process = pod.start(RESTS, inactivity_seconds=2, on_inactivity=OnInactivity.REPORT)
    notes = pod.workspace / ".tftraining" / contract.NOTES_NAME
    wait_for(notes.exists)
    [note] = json.loads(notes.read_bytes())["notes"]
    assert note["reason"] == "ScriptHung"
    assert re.search(r"It waits at train\.py, line [45]\b", note["message"]), "both are of the loop in which it rests"
    told = notes.read_bytes()
    # Once: neither its own stacks nor the file that they go to are a sign of life.
    time.sleep(3)
    assert notes.read_bytes() == told
    (pod.workspace / "code" / "go").touch()
    ran = pod.finish(process)
    assert (ran.code, ran.report.failure) == (0, None)
    assert "goes on" in json.loads(notes.read_bytes())["notes"][0]["message"]
    assert ran.err.count(b"has printed nothing") == 1
    assert ran.err.count(b"Current thread") == 1


ACTIVE = {
    "prints": "print('.', flush=True); time.sleep(0.5)",
    "prints to standard error": "sys.stderr.write('.'); sys.stderr.flush(); time.sleep(0.5)",
    "computes": "sum(range(200000)); time.sleep(0.05)",
    "a thread of it computes": "time.sleep(0.5)",
    "a process of it computes": "time.sleep(0.5)",
    "writes a byte": "open('../bucket/f', 'a').write('x'); time.sleep(0.5)",
    "writes a byte deep below": "open('../bucket/deep/er/f', 'a').write('x'); time.sleep(0.5)",
    "writes a file that has the time of another": "open('../bucket/f', 'a').write('x'); os.utime('../bucket/f', (1, 1)); time.sleep(0.5)",
    "removes a file": "os.remove(f'../bucket/old{n}'); time.sleep(0.5)",
    "writes to its temporary folder": "tempfile.NamedTemporaryFile().close(); time.sleep(0.5)",
    "writes to a mapped file": "mapped[n % 4096] = n % 256; mapped.flush(); time.sleep(0.5)",
}
BEFORE = """
import mmap, os, subprocess, sys, tempfile, threading, time

def compute():
    while True:
        sum(range(200000))
        time.sleep(0.05)

os.makedirs("../bucket/deep/er")
for n in range(20):
    open(f"../bucket/old{n}", "w").close()
with open("../bucket/mapped", "wb") as file:
    file.write(bytes(4096))
mapped = mmap.mmap(os.open("../bucket/mapped", os.O_RDWR), 4096)
if MODE == "a thread of it computes":
    threading.Thread(target=compute, daemon=True).start()
if MODE == "a process of it computes":
    code = "import time\\nwhile True:\\n    sum(range(200000)); time.sleep(0.05)"
    subprocess.Popen([sys.executable, "-c", code])
for n in range(12):
    WORK
"""


@pytest.mark.parametrize("mode", ACTIVE)
def test_a_script_that_gives_any_sign_of_life_is_left_alone(pod: Pod, mode: str) -> None:
    temporary = pod.root / "dev" / "tmp"
    temporary.mkdir()
    script = BEFORE.replace("MODE", repr(mode)).replace("WORK", ACTIVE[mode])
    ran = pod.run(script, inactivity_seconds=2, environment={"TMPDIR": str(temporary)})
    assert (ran.code, ran.report.failure) == (0, None), ran.err


def test_a_script_may_rest_for_ever_where_its_job_says_nothing_of_it(pod: Pod) -> None:
    ran = pod.run("import time\ntime.sleep(4)\n")
    assert (ran.code, ran.report.failure) == (0, None)
    assert not (pod.workspace / "logs" / contract.STACKS_NAME).exists()


def test_a_script_whose_output_nobody_takes_is_not_blamed_for_that(pod: Pod) -> None:
    process = pod.start("import sys\nfor _ in range(400):\n    sys.stdout.write('x' * 65536)\nprint('done')\n", inactivity_seconds=2)
    time.sleep(5)
    ran = pod.finish(process)
    assert (ran.code, ran.report.failure) == (0, None)
    assert ran.out.endswith(b"done\n")


def test_a_stop_that_comes_while_a_script_is_asked_is_answered_within_its_grace_period(pod: Pod) -> None:
    process = pod.start(DEAF, inactivity_seconds=2, grace_seconds=1)
    wait_for(lambda: (pod.workspace / "logs" / contract.STACKS_NAME).exists())
    process.send_signal(signal.SIGTERM)
    ran = pod.finish(process)
    assert ran.reason is Reason.SCRIPT_HUNG


def test_a_credential_of_the_job_is_in_no_stack_that_is_kept(pod: Pod) -> None:
    script = "import subprocess, sys\nprint('up', flush=True)\nsubprocess.run(['sh', '-c', 'sleep 600; true', 'x', sys.argv[1]])\n"
    ran = pod.run(script, "--password=hunter2hunter2", inactivity_seconds=2)
    assert ran.reason is Reason.SCRIPT_HUNG
    assert "hunter2" not in _stacks(pod)
    assert "${withheld}" in _stacks(pod)


QUIET_AT_ITS_END = """
import os, signal, subprocess, sys, time

def save(*_):
    open("asked", "a").write("x")
    if os.path.getsize("asked") > 1:
        os._exit(9)
    time.sleep(5)
    sys.exit(3)

signal.signal(signal.SIGTERM, save)
worker = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", worker])
print("up", flush=True)
while True:
    time.sleep(600)
"""


@pytest.mark.parametrize("on_inactivity", list(OnInactivity))
def test_who_saves_quietly_in_the_grace_period_of_a_stop_is_neither_pressed_nor_blamed(pod: Pod, on_inactivity: OnInactivity) -> None:
    process = pod.start(QUIET_AT_ITS_END, inactivity_seconds=2, grace_seconds=20, on_inactivity=on_inactivity)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    ran = pod.finish(process)
    assert (ran.code, ran.reason) == (3, Reason.TERMINATED)
    assert not (pod.workspace / "logs" / contract.STACKS_NAME).exists()
    assert b"Aborted" not in ran.err


def test_a_deadline_is_a_stop_in_whose_grace_period_nobody_looks_for_a_hang(pod: Pod) -> None:
    ran = pod.run(QUIET_AT_ITS_END, inactivity_seconds=4, grace_seconds=20, active_deadline_seconds=2)
    assert (ran.code, ran.reason) == (3, Reason.DEADLINE_EXCEEDED)


def test_the_script_itself_is_asked_to_end_and_not_killed_where_it_keeps_its_stacks_to_itself(pod: Pod) -> None:
    script = """
        import signal, sys, time
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        print("up", flush=True)
        while True:
            time.sleep(600)
        """
    ran = pod.run(script, inactivity_seconds=3)
    assert (ran.code, ran.reason) == (7, Reason.SCRIPT_HUNG)
    assert b"Aborted" not in ran.err


def test_of_a_credential_at_the_place_where_a_command_is_cut_off_no_half_is_kept(pod: Pod) -> None:
    command = "['sh', '-c', 'sleep 600; true', 'p' * 160, sys.argv[1]]"
    script = f"import subprocess, sys\nprint('up', flush=True)\nsubprocess.run({command})\n"
    ran = pod.run(script, "--password=hunter2hunter2", inactivity_seconds=2)
    assert ran.reason is Reason.SCRIPT_HUNG
    assert "hunt" not in _stacks(pod)
    assert b"hunt" not in ran.err
