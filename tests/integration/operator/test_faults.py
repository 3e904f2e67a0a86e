"""Whatever is late, doubled, lost or refused between operator and API server: four jobs end as they do without it."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from control import Operator, Played, until
from faults import Fault, FaultProxy
from played_kubelet import Object, evicted

ENDS = {
    "evicted": ("Succeeded", 1, {"infrastructure": 1}, ["evicted-chief-0", "evicted-chief-0-r1"]),
    "paused": ("Succeeded", 1, {}, ["paused-chief-0-r1"]),
    "deleted": ("Succeeded", 1, {"infrastructure": 1}, ["deleted-chief-0-r1"]),
    "wrong": ("Failed", 0, {}, ["wrong-chief-0"]),
}
"""Of each job: phase, attempt, retries, and the pods that stay for their logs."""


@dataclass
class Jobs:
    """Four jobs whose pods come to different ends, with a kubelet that starts the operator again where it has ended."""

    played: Played
    operator: Operator
    seconds: float = 60.0
    started_again: int = 0

    def until(self, probe: Callable[[], Any], what: str) -> Any:
        """Wait, and see all the time that no two pods of a job are at work."""

        def check() -> Any:
            process = self.operator.process
            if process is not None and process.poll() is not None:
                self.started_again += 1
                self.operator.start(wait=False)
            live = [pod for pod in self.played.pods() if pod.get("status", {}).get("phase") not in {"Failed", "Succeeded"}]
            owners = Counter(pod["metadata"]["ownerReferences"][0]["uid"] for pod in live)
            assert max(owners.values(), default=0) <= 1, [pod["metadata"]["name"] for pod in live]
            return probe()

        return until(check, what, self.seconds)

    def pod(self, name: str) -> Object:
        """Wait for a pod."""
        return dict(self.until(lambda: next((pod for pod in self.played.pods() if pod["metadata"]["name"] == name), None), f"pod {name}"))

    def phase(self, name: str, phase: str) -> None:
        """Wait until a job shows a phase."""
        self.until(lambda: self.played.phase(name) == phase, f"{name} is {phase}")

    def live(self) -> None:
        """Bring them all to their ends."""
        for name in ENDS:
            self.played.submit(name)
        first = {name: self.pod(f"{name}-chief-0") for name in ENDS}
        for pod in first.values():
            self.played.run(pod)
        self.phase("paused", "Running")
        self.phase("deleted", "Running")
        self.played.show(first["evicted"], evicted(first["evicted"]))
        self.played.end(first["wrong"], 3)
        self.played.remove(first["deleted"])
        self.played.change("paused", suspend=True)
        self.phase("paused", "Suspended")
        self.played.change("paused", suspend=False)
        for name in ("paused", "deleted", "evicted"):
            pod = self.pod(f"{name}-chief-0-r1")
            self.played.run(pod)
            self.phase(name, "Running")
            self.played.end(pod)
        for name, end in ENDS.items():
            self.phase(name, end[0])

    def ends(self) -> dict[str, Any]:
        """Return what has become of each."""
        found = {name: self.played.status(name) for name in ENDS}
        pods = sorted(pod["metadata"]["name"] for pod in self.played.pods())
        return {
            name: (status["phase"], status["attempt"], status.get("retries", {}), [pod for pod in pods if pod.startswith(f"{name}-")])
            for name, status in found.items()
        }


@pytest.fixture
def jobs(operator: Operator, played: Played) -> Jobs:
    """Return the four jobs, which are still to be created."""
    return Jobs(played, operator)


def nothing_more(proxy: FaultProxy, seconds: float = 3.0) -> None:
    """See that nothing is written any more: that nothing happens shows only in time."""
    deadline, since, seen = time.monotonic() + 30, time.monotonic(), len(proxy.written())
    while time.monotonic() - since < seconds:
        assert time.monotonic() < deadline, f"never quiet: {proxy.written()[-5:]}"
        if len(proxy.written()) != seen:
            since, seen = time.monotonic(), len(proxy.written())
        time.sleep(0.05)


@pytest.mark.long
def test_without_any_fault_they_end_so(jobs: Jobs, proxy: FaultProxy) -> None:
    jobs.live()
    assert jobs.ends() == ENDS
    nothing_more(proxy)
    assert jobs.started_again == 0


def late(proxy: FaultProxy) -> None:
    proxy.late_seconds = 3.0


def very_late(proxy: FaultProxy) -> None:
    proxy.late_seconds = 10.0


def doubled(proxy: FaultProxy) -> None:
    proxy.tells = lambda line: (line, line)


def replayed(proxy: FaultProxy) -> None:
    """Tell of everything that there was once more, whenever something new comes."""
    told: list[bytes] = []

    def tells(line: bytes) -> Iterable[bytes]:
        told.append(line)
        return (*told[-40:], line)

    proxy.tells = tells


def without_deletions(proxy: FaultProxy) -> None:
    """Tell of no deletion, and say of each watch that it cannot go on from where it was: an interruption in which they fell."""

    def tells(line: bytes) -> Iterable[bytes]:
        if json.loads(line)["type"] != "DELETED":
            return (line,)
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}
        return (json.dumps({"type": "ERROR", "object": status}).encode() + b"\n",)

    proxy.tells = tells


@pytest.mark.parametrize(
    "fault", [late, replayed, without_deletions, *(pytest.param(fault, marks=pytest.mark.long) for fault in (very_late, doubled))]
)
def test_watches_that_tell_late_twice_again_or_not_at_all_change_no_end(
    jobs: Jobs, proxy: FaultProxy, fault: Callable[[FaultProxy], None]
) -> None:
    fault(proxy)
    jobs.seconds = 120
    jobs.live()
    assert jobs.ends() == ENDS
    nothing_more(proxy)
    assert jobs.operator.page("healthz") == "ok"


def first_of_each(fault: Fault) -> Callable[[str, str], Fault | None]:
    """Return what does something to the first write of each kind to each object, and to no later one."""
    seen: set[tuple[str, str]] = set()

    def judge(method: str, path: str) -> Fault | None:
        new = (method, path) not in seen and "/leases" not in path
        seen.add((method, path))
        return fault if new else None

    return judge


def every_third(fault: Fault) -> Callable[[str, str], Fault | None]:
    """Return what does something to each third write."""
    count = [0]

    def judge(_: str, path: str) -> Fault | None:
        count[0] += "/leases" not in path
        return fault if count[0] % 3 == 0 and "/leases" not in path else None

    return judge


@pytest.mark.parametrize(
    "judge",
    [
        pytest.param(first_of_each(Fault(504, apply=True)), id="the first answer to each is lost"),
        pytest.param(every_third(Fault(0, apply=True)), id="each third answer is cut off", marks=pytest.mark.long),
        pytest.param(first_of_each(Fault(429, retry_after="1")), id="the first of each is to come later"),
        pytest.param(every_third(Fault(503)), id="each third is refused", marks=pytest.mark.long),
    ],
)
def test_writes_whose_answers_are_lost_or_that_are_to_come_later_change_no_end(
    jobs: Jobs, proxy: FaultProxy, judge: Callable[[str, str], Fault | None]
) -> None:
    proxy.judge = judge
    jobs.live()
    assert jobs.ends() == ENDS
    proxy.judge = lambda *_: None
    nothing_more(proxy)
    assert jobs.started_again == 0


def test_told_to_come_later_no_write_comes_before_that(jobs: Jobs, proxy: FaultProxy) -> None:
    tried: dict[tuple[str, str], list[float]] = {}

    def judge(method: str, path: str) -> Fault | None:
        if "/leases" in path or "/events" in path:
            return None
        times = tried.setdefault((method, path), [])
        times.append(time.monotonic())
        return Fault(429, retry_after="2") if len(times) == 1 else None

    proxy.judge = judge
    jobs.played.submit("evicted")
    jobs.played.run(jobs.pod("evicted-chief-0"))
    jobs.phase("evicted", "Running")
    waits = [times[1] - times[0] for times in tried.values() if len(times) > 1]
    assert len(waits) >= 2
    assert min(waits) >= 2.0, waits


@pytest.mark.parametrize("seconds", [15, pytest.param(120, marks=pytest.mark.long)])
def test_an_api_server_that_is_away_while_pods_come_to_their_ends_changes_no_end(jobs: Jobs, proxy: FaultProxy, seconds: float) -> None:
    back = threading.Timer(seconds, lambda: setattr(proxy, "away", False))
    jobs.seconds = seconds + 60

    def go_away(count: int) -> None:
        if len(proxy.written()) == 14 and not back.is_alive():
            proxy.after = lambda _: None
            proxy.go_away()
            back.start()

    proxy.after = go_away
    jobs.live()
    assert not proxy.away
    assert jobs.ends() == ENDS
    nothing_more(proxy)
    assert jobs.started_again >= 1, "without its Lease the process has ended"
