"""When a Lease may be taken: judged by how long it was seen unchanged, never by two machines' clocks."""

from __future__ import annotations

import asyncio

import pytest
from tftraining_operator.kube.errors import UnavailableError
from tftraining_operator.runtime import lease as module
from tftraining_operator.runtime.lease import DURATION_SECONDS, RENEW_DEADLINE_SECONDS, Lease, LeaseLostError, ObservedRecord

from .board import Board

PATH = "/apis/coordination.k8s.io/v1/namespaces/n/leases/l"


class EnoughError(Exception):
    """As much time has passed as the test wants to see."""


class Clock:
    """Monotonic seconds that pauses move on, up to an end."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.end = 2000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock that pauses move on, so that minutes of a lease's life take no time."""
    clock = Clock()

    async def pause(seconds: float) -> None:
        clock.now += seconds
        if clock.now > clock.end:
            raise EnoughError

    class Asyncio:
        sleep = staticmethod(pause)
        timeout = staticmethod(asyncio.timeout)

    monkeypatch.setattr(module, "asyncio", Asyncio)
    return clock


def lease_of(board: Board, clock: Clock, identity: str = "me") -> Lease:
    return Lease(board, "n", "l", identity, clock, lambda: 1.8e9)


@pytest.mark.parametrize(
    ("holder", "unchanged_for", "free"),
    [
        ("", 0.0, True),
        ("me", 0.0, True),
        ("other", 0.0, False),
        ("other", DURATION_SECONDS - 0.1, False),
        ("other", DURATION_SECONDS + 0.1, True),
    ],
)
def test_a_lease_is_free_if_it_is_nobodys_ones_own_or_was_not_renewed(holder: str, unchanged_for: float, free: bool) -> None:
    observed = ObservedRecord()
    observed.observe({"holderIdentity": holder, "renewTime": "1970-01-01T00:00:00Z"}, 100.0)
    observed.observe({"holderIdentity": holder, "renewTime": "1970-01-01T00:00:00Z"}, 100.0 + unchanged_for)
    assert observed.free_for("me", 100.0 + unchanged_for) is free


def test_a_renewal_starts_the_time_anew_whatever_it_says_about_the_time() -> None:
    observed = ObservedRecord()
    observed.observe({"holderIdentity": "other", "renewTime": "2099-01-01T00:00:00Z"}, 0.0)
    observed.observe({"holderIdentity": "other", "renewTime": "1999-01-01T00:00:00Z"}, 14.0)
    assert not observed.free_for("me", 20.0)
    assert observed.free_for("me", 30.0)


def test_a_lease_without_fields_is_free() -> None:
    observed = ObservedRecord()
    observed.observe({}, 0.0)
    assert observed.free_for("me", 0.0)


async def test_a_lease_that_nobody_holds_is_taken_kept_and_given_back(clock: Clock) -> None:
    board = Board()
    lease = lease_of(board, clock)
    assert not lease.valid
    await lease.acquire()
    assert lease.valid
    spec = board.objects[PATH]["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("me", 15, 1)
    await lease.release()
    assert not lease.valid
    assert board.objects[PATH]["spec"]["holderIdentity"] == ""


async def test_a_lease_of_a_process_that_is_gone_is_taken_after_its_duration_and_not_before(clock: Clock) -> None:
    board = Board()
    await lease_of(board, clock, "gone").acquire()
    begin = clock.now
    lease = lease_of(board, clock)
    await lease.acquire()
    assert DURATION_SECONDS < clock.now - begin <= DURATION_SECONDS + 4
    assert board.objects[PATH]["spec"]["leaseTransitions"] == 2


async def test_a_lease_given_back_is_taken_at_once_also_when_a_renewal_was_cut_off(clock: Clock) -> None:
    board = Board()
    first = lease_of(board, clock, "first")
    await first.acquire()
    # the renewal that the server stored and whose answer never came
    await board.replace(PATH, board.objects[PATH])
    await first.release()
    begin = clock.now
    await lease_of(board, clock).acquire()
    assert clock.now == begin


async def test_a_server_in_trouble_costs_the_lease_only_after_the_deadline(clock: Clock) -> None:
    board = Board()
    lease = lease_of(board, clock)
    await lease.acquire()
    begin = clock.now
    board.trouble = lambda _: UnavailableError(503, "ServiceUnavailable", "starting") if clock.now - begin < 7 else None
    with pytest.raises(EnoughError):
        await lease.keep()
    assert lease.valid


async def test_a_lease_that_cannot_be_renewed_is_lost_before_it_expires(clock: Clock) -> None:
    board = Board()
    lease = lease_of(board, clock)
    await lease.acquire()
    begin = clock.now
    board.trouble = lambda _: UnavailableError(503, "ServiceUnavailable", "down")
    with pytest.raises(LeaseLostError, match="not renewed"):
        await lease.keep()
    assert RENEW_DEADLINE_SECONDS <= clock.now - begin < DURATION_SECONDS
    assert not lease.valid


async def test_a_lease_that_somebody_else_took_is_lost_at_once(clock: Clock) -> None:
    board = Board()
    lease = lease_of(board, clock)
    await lease.acquire()
    taken = board.objects[PATH]
    await board.replace(PATH, {**taken, "spec": {**taken["spec"], "holderIdentity": "another"}})
    with pytest.raises(LeaseLostError, match="another"):
        await lease.keep()
    await lease.release()
    assert board.objects[PATH]["spec"]["holderIdentity"] == "another"


async def test_having_waited_for_another_does_not_make_the_first_trouble_a_loss(clock: Clock) -> None:
    board = Board()
    await lease_of(board, clock, "gone").acquire()
    lease = lease_of(board, clock)
    await lease.acquire()
    failed: list[str] = []

    def once(path: str) -> UnavailableError | None:
        failed.append(path)
        return UnavailableError(503, "ServiceUnavailable", "blip") if len(failed) == 1 else None

    board.trouble = once
    with pytest.raises(EnoughError):
        await lease.keep()
