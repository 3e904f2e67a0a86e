"""Two processes of one operator: one works, the other stands by, and goes on where the first was."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from control import Operator, Played, until
from controlplane import ControlPlane
from faults import FaultProxy
from played_kubelet import evicted

KILLED_SECONDS, TOLD_SECONDS = 20.0, 3.0
BUSY = 10.0
"""A busy machine is given so many times what it needs for a pod when nothing is handed over."""
LEADS = "tftraining_leader 1.0"


@pytest.fixture
def other_way(plane: ControlPlane) -> Iterator[FaultProxy]:
    """Return the way of the second process to the API server, so that it is known who has written what."""
    with FaultProxy(plane) as proxy:
        yield proxy


@pytest.fixture
def second(operator: Operator, other_way: FaultProxy, played: Played, tmp_path: Path) -> Iterator[Operator]:
    """Return a process that stands by while the first one works."""
    with Operator(other_way, played.namespace, tmp_path, identity="two") as second:
        stand_by(second)
        yield second


def stand_by(process: Operator) -> None:
    """Start a process beside one that works, and wait until it knows all jobs."""
    process.start(wait=False)
    until(lambda: process.page("readyz") == "ok", f"{process.identity} is ready", 40)
    assert LEADS not in process.page("metrics")


def next_pod_after(played: Played, job: str, begin: float) -> float:
    """Return how many seconds after `begin` a job that is created now has its pod."""
    played.submit(job)
    played.wait_for_pod(f"{job}-chief-0")
    return time.monotonic() - begin


def test_where_the_process_that_works_is_killed_the_other_goes_on_within_twenty_seconds(
    operator: Operator, second: Operator, played: Played
) -> None:
    pod = played.start("before")
    alone = next_pod_after(played, "alone", time.monotonic())
    begin = time.monotonic()
    operator.kill()
    played.end(pod)
    assert next_pod_after(played, "after", begin) < KILLED_SECONDS + BUSY * alone
    played.wait_for_phase("before", "Succeeded")


def test_told_to_stop_one_process_after_the_other_hands_over_within_three_seconds_whenever_it_is_told(
    operator: Operator, second: Operator, played: Played
) -> None:
    works, waits = operator, second
    needed: list[tuple[float, float]] = []
    for number in range(3):
        alone = next_pod_after(played, f"alone-{number}", time.monotonic())
        begin = time.monotonic()
        assert works.process is not None
        works.process.terminate()
        needed.append((next_pod_after(played, f"job-{number}", begin), alone))
        assert works.ended(60) == 0
        stand_by(works)
        works, waits = waits, works
    assert all(seconds < TOLD_SECONDS + BUSY * alone for seconds, alone in needed), needed
    assert [line for line in operator.log().splitlines() + second.log().splitlines() if "lease lost" in line] == []


@pytest.mark.parametrize("seconds", [20, pytest.param(60, marks=pytest.mark.long)])
def test_a_process_that_was_frozen_in_the_middle_of_a_write_writes_nothing_more_and_all_ends_as_without_it(
    operator: Operator, second: Operator, played: Played, proxy: FaultProxy, seconds: float
) -> None:
    frozen = threading.Event()

    def freeze(_: int) -> None:
        if proxy.writes[-1][1].endswith("/again/status") and not frozen.is_set():
            assert operator.process is not None
            operator.process.send_signal(signal.SIGSTOP)
            frozen.set()

    proxy.after = freeze
    played.submit("again")
    first = played.wait_for_pod("again-chief-0")
    played.run(first)
    assert frozen.wait(60), "the first process is frozen before it hears that its write was done"
    since = time.monotonic()
    until(lambda: LEADS in second.page("metrics"), "the second leads", 60)
    played.show(first, evicted(first))
    played.submit("new")
    played.wait_for_pod("new-chief-0")
    played.wait_for_phase("again", "Restarting")
    while time.monotonic() - since < seconds:
        time.sleep(0.1)  # the time for which it is frozen
    before = len(proxy.written())
    assert operator.process is not None
    operator.process.send_signal(signal.SIGCONT)
    assert operator.ended(60) == 75
    assert proxy.written()[before:] == []
    again = played.wait_for_pod("again-chief-0-r1")
    played.run(again)
    played.wait_for_phase("again", "Running")
    played.end(again)
    status = played.wait_for_phase("again", "Succeeded")
    assert (status["attempt"], status["retries"]) == (1, {"infrastructure": 1})
    assert sorted(pod["metadata"]["name"] for pod in played.pods()) == ["again-chief-0", "again-chief-0-r1", "new-chief-0"]
