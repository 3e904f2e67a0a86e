"""A script whose last line is passed, and whose process lives on for the sake of a thread or a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Reason

from tests.integration.trainer.launcher import Pod, launched, wait_for

THREAD = """
import threading, time
def feed(seconds):
    time.sleep(seconds)
threading.Thread(target=feed, args=(float({seconds}),), name="feeder", daemon={daemon}).start()
{end}
"""
EXECUTOR = """
from concurrent.futures import ThreadPoolExecutor
import threading
never = threading.Event()
def wait(): never.wait()
ThreadPoolExecutor(1, "loader").submit(wait)
"""
PROCESS = """
import multiprocessing, threading, time
def work():
    time.sleep(600)
threading.Thread(target=print).start()
multiprocessing.get_context("fork").Process(target=work, name="worker").start()
"""
IN_A_FUNCTION = """
import queue, threading
jobs = queue.Queue()
def consume():
    while True:
        jobs.get()
def main():
    threading.Thread(target=consume).start()
main()
"""


pod = pytest.fixture(launched)


@pytest.mark.parametrize(
    ("script", "who"),
    [
        (THREAD.format(seconds=600, daemon=False, end=""), "thread feeder at train.py, line 4"),
        (THREAD.format(seconds=600, daemon=False, end="raise SystemExit(3)"), "thread feeder at train.py, line 4"),
        (THREAD.format(seconds=600, daemon=False, end="1 / 0"), "thread feeder at train.py, line 4"),
        (EXECUTOR, "thread loader_0 at train.py, line 5"),
        (IN_A_FUNCTION, "thread Thread-1 (consume) at train.py, line 6"),
        (PROCESS, "process worker"),
    ],
    ids=["a thread", "after sys.exit", "after an exception", "an executor's", "a consumer", "a process"],
)
def test_who_keeps_a_script_alive_after_its_last_line_is_named_with_the_line_and_a_remedy(pod: Pod, script: str, who: str) -> None:
    process = pod.start(script, patience=1.0, grace_seconds=5)
    notes = pod.workspace / ".tftraining" / contract.NOTES_NAME
    wait_for(notes.exists)
    [note] = json.loads(notes.read_bytes())["notes"]
    assert note["reason"] == "LastLinePassed"
    assert f"it still waits for {who}." in note["message"]
    assert "daemon=True" in note["message"]
    process.send_signal(signal.SIGTERM)
    ran = pod.finish(process)
    assert f"waits for {who}".encode() in ran.err
    assert ran.reason is Reason.TERMINATED


@pytest.mark.parametrize("patience", [1.0, 60.0], ids=["after it was told", "before it was told"])
def test_a_deadline_that_comes_when_the_last_line_is_passed_says_who_was_waited_for(pod: Pod, patience: float) -> None:
    ran = pod.run(THREAD.format(seconds=600, daemon=False, end=""), active_deadline_seconds=5, patience=patience)
    failure = ran.report.failure
    assert failure is not None
    assert failure.reason is Reason.DEADLINE_EXCEEDED
    assert failure.hint.startswith("The script's last line was passed, but it waited for thread feeder at train.py, line 4.")


def test_a_last_line_that_is_passed_because_of_the_deadline_is_not_why_it_came(pod: Pod) -> None:
    stops = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
    ran = pod.run(stops + THREAD.format(seconds=600, daemon=False, end="time.sleep(600)"), active_deadline_seconds=3, grace_seconds=1)
    failure = ran.report.failure
    assert failure is not None
    assert failure.reason is Reason.DEADLINE_EXCEEDED
    assert failure.hint.startswith("Raise spec.activeDeadlineSeconds")


@pytest.mark.parametrize(
    "script",
    [
        THREAD.format(seconds=600, daemon=True, end=""),
        THREAD.format(seconds=0.5, daemon=False, end=""),
        THREAD.format(seconds=0, daemon=False, end="time.sleep(3)"),
        "import _thread, time\n_thread.start_new_thread(print, ())\ntime.sleep(0.1)\n",
    ],
    ids=["a daemon", "one that ends", "one that has ended", "one of no module"],
)
def test_a_script_that_ends_by_itself_is_told_nothing(pod: Pod, script: str) -> None:
    ran = pod.run(script, patience=1.0)
    assert (ran.code, ran.report.failure) == (0, None)
    assert b"last line" not in ran.err


LOOK = """
import sys, {first}
before = sorted(set(sys.modules) & {{"threading", "functools", "collections", "json", "traceback"}})
import _thread, threading
thread = threading.Thread(target=lambda: None)
thread.start()
thread.join()
def described(what): return type(what).__name__
print(before, described(_thread.start_new_thread), described(threading._start_new_thread), threading._shutdown.__name__ != "")
import multiprocessing
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.map(abs, [-1]))
"""


@pytest.mark.parametrize("first", ["sys", "threading"])
def test_a_script_sees_threads_as_by_hand(pod: Pod, first: str) -> None:
    ran = pod.run(LOOK.format(first=first))
    by_hand = subprocess.run([sys.executable, str(pod.workspace / "code" / "train.py")], capture_output=True, check=True)
    assert ran.out == by_hand.stdout
    assert ran.err == by_hand.stderr


def test_a_module_of_the_users_that_is_named_like_one_of_pythons_is_theirs(pod: Pod) -> None:
    pod.write("OWN = True\n", "functools.py")
    pod.write("OWN = True\n", "threading.py")
    ran = pod.run("import functools, threading\nprint(functools.OWN, threading.OWN)\n")
    assert ran.out == b"True True\n", ran.err
