"""A stop of a script in which TensorFlow keeps SIGTERM to itself, as it does where several workers train together.

Its handler is stood in for by a function of another library, under the name of TensorFlow's: like that, it lets the signal pass.
"""

from __future__ import annotations

import signal

import pytest
from tftrainer.messages.contract import Reason

from tests.integration.trainer import launcher
from tests.integration.trainer.launcher import launched

pod = pytest.fixture(launched)
pytestmark = pytest.mark.usefixtures("heard")

KEEPS = """
import ctypes, math, shutil, signal, sys, threading, time

def keep(library):
    maths = next(line.split()[-1] for line in open("/proc/self/maps") if "/libm.so" in line or "/libm-" in line)
    shutil.copy(maths, library)
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.signal(15, ctypes.cast(ctypes.CDLL(library).ilogb, ctypes.c_void_p))

def save(*_):
    with open("../bucket/saved", "a") as file:
        file.write("saved\\n")
    sys.exit(7)

def train():
    print("trains", flush=True)
    while True:
        time.sleep(0.01)

TENSORFLOW = "./libtensorflow_cc.so.2"
"""
WATCHES = """
import time

def watch():
    while True:
        time.sleep(0.01)
"""


def stopped(pod: launcher.Pod, script: str, grace_seconds: int, **plan: object) -> launcher.Ran:
    started = pod.start(KEEPS + script, grace_seconds=grace_seconds, **plan)  # type: ignore[arg-type]
    assert started.stdout is not None
    assert started.stdout.readline() == b"trains\n"
    started.send_signal(signal.SIGTERM)
    return pod.finish(started)


@pytest.mark.parametrize("in_group", [False, True])
def test_a_script_that_would_end_by_sigterm_without_tensorflow_ends_by_it_and_not_by_force(pod: launcher.Pod, in_group: bool) -> None:
    peers = {"worker": ("localhost:1", "localhost:2")} if in_group else {}
    ran = stopped(pod, "keep(TENSORFLOW); train()", 600, role="worker", peers=peers)
    assert (ran.code, ran.reason) == (143, Reason.TERMINATED)
    assert ran.report.failure is not None
    assert "killed" not in ran.report.failure.message


def test_the_scripts_own_handler_runs_though_tensorflow_has_replaced_it(pod: launcher.Pod) -> None:
    ran = stopped(pod, "signal.signal(signal.SIGTERM, save); keep(TENSORFLOW); train()", 600)
    assert (ran.code, ran.reason) == (7, Reason.TERMINATED)
    assert (pod.workspace / "bucket/saved").read_text() == "saved\n"


def test_a_handler_that_was_set_later_runs_once(pod: launcher.Pod) -> None:
    script = "keep(TENSORFLOW); signal.signal(signal.SIGTERM, lambda *_: open('../bucket/saved', 'a').write('heard')); train()"
    ran = stopped(pod, script, 1)
    assert (ran.code, ran.reason) == (137, Reason.TERMINATED)
    assert (pod.workspace / "bucket/saved").read_text() == "heard"


@pytest.mark.parametrize(
    "script",
    [
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); keep(TENSORFLOW); train()",
        "keep('./libsaves.so'); train()",
        "keep(TENSORFLOW); from failure_handling import watcher; threading.Thread(target=watcher.watch, daemon=True).start(); train()",
    ],
    ids=["the script ignores it", "it is another library's", "something watches for a preemption"],
)
def test_what_means_to_go_on_is_left_its_grace_period(pod: launcher.Pod, script: str) -> None:
    folder = pod.workspace / "code/failure_handling"
    folder.mkdir()
    (folder / "watcher.py").write_text(WATCHES)
    ran = stopped(pod, script, 1)
    assert (ran.code, ran.reason) == (137, Reason.TERMINATED)
    assert ran.report.failure is not None
    assert "did not end within 1 s" in ran.report.failure.message


BLOCKED = """
import ctypes, os, threading, time

def tell_when_blocked():
    # In the kernel for a lock at each of ten looks, between which it could go on: then it is not only waiting for the interpreter.
    looks = 0
    while looks < 10:
        time.sleep(0.02)
        with open(f"/proc/self/task/{os.getpid()}/syscall") as file:
            looks = looks + 1 if file.read().startswith("202 ") else 0
    print("waits", flush=True)

def ensure_initialized():
    threading.Thread(target=tell_when_blocked, daemon=True).start()
    # With signals that interrupt it, and no line of Python between: a lock that nobody opens.
    libc = ctypes.CDLL(None)
    libc.pthread_mutex_lock(lock) or libc.pthread_mutex_lock(lock)

lock = ctypes.create_string_buffer(256)
"""


def test_a_start_that_waits_for_other_replicas_does_not_cost_the_grace_period(pod: launcher.Pod) -> None:
    folder = pod.workspace / "code/tensorflow/python/eager"
    folder.mkdir(parents=True)
    (folder / "context.py").write_text(BLOCKED)
    script = "from tensorflow.python.eager.context import ensure_initialized; keep(TENSORFLOW); ensure_initialized()"
    started = pod.start(KEEPS + script, grace_seconds=600, role="worker", index=1, peers={"worker": ("localhost:1", "localhost:2")})
    assert started.stdout is not None
    assert started.stdout.readline() == b"waits\n"
    started.send_signal(signal.SIGTERM)
    ran = pod.finish(started)
    assert (ran.code, ran.reason) == (137, Reason.TERMINATED)
    assert ran.report.failure is not None
    assert "while TensorFlow waited for other replicas" in ran.report.failure.message
    assert b"in ensure_initialized" in ran.err


def test_what_a_group_does_beyond_its_start_is_left_its_grace_period(pod: launcher.Pod) -> None:
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('trains', flush=True)\nwhile True: time.sleep(0.01)"
    started = pod.start(KEEPS + script, grace_seconds=7, role="worker", index=1, peers={"worker": ("localhost:1", "localhost:2")})
    assert started.stdout is not None
    started.stdout.readline()
    started.send_signal(signal.SIGTERM)
    ran = pod.finish(started)
    assert (ran.code, ran.reason) == (137, Reason.TERMINATED)
    assert ran.report.failure is not None
    assert "did not end within 7 s" in ran.report.failure.message
