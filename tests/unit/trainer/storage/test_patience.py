"""How long a store is waited for, by a clock that is set by hand; and the addresses that are never a store's."""

from __future__ import annotations

import pytest
from tftrainer.storage.connection import ForbiddenAddressError, check_address
from tftrainer.storage.patience import LONGEST_DELAY, Patience, PatientRetry, Tries
from urllib3.exceptions import ProtocolError
from urllib3.response import HTTPResponse


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def failing(retry: PatientRetry, clock: Clock, seconds: float) -> int:
    """Let a request fail once in so many seconds; how often it is tried before it is given up."""
    tries = 1
    while True:
        clock.now += seconds
        retry = retry.new()
        if retry.is_exhausted():
            return tries
        tries += 1
        assert tries < 10_000


@pytest.mark.parametrize(("answered", "expected"), [(False, 60), (True, 120)])
def test_a_request_is_repeated_for_a_time_and_not_for_a_number_of_tries(clock: Clock, answered: bool, expected: int) -> None:
    patience = Patience(60, 120, clock)
    if answered:
        patience.answered()
    assert abs(failing(PatientRetry.within(patience), clock, 1.0) - expected) <= 3


def test_nothing_is_repeated_past_the_end_of_all_time(clock: Clock) -> None:
    patience = Patience(60, 120, clock, until=clock.now + 10)
    assert abs(failing(PatientRetry.within(patience), clock, 1.0) - 10) <= 1


def test_pauses_grow_up_to_a_bound_and_no_two_clients_keep_step(clock: Clock) -> None:
    def pauses() -> list[float]:
        retry, found = PatientRetry.within(Patience(1e6, 1e6, clock)), []
        for _ in range(20):
            retry = retry.increment("GET", "/", error=ProtocolError("reset"))
            found.append(retry.get_backoff_time())
        return found

    one, other = pauses(), pauses()
    assert all(0 <= each <= LONGEST_DELAY for each in one)
    assert one[-1] > 10 * max(one[1], 0.1)
    assert one[:6] != other[:6]
    assert one[-6:] != other[-6:]


@pytest.mark.parametrize(("header", "least", "most"), [("4", 4.0, 5.0), ("3600", LONGEST_DELAY, LONGEST_DELAY * 1.25)])
def test_what_a_server_asks_for_is_waited_for_and_a_little_more_each_time(clock: Clock, header: str, least: float, most: float) -> None:
    retry = PatientRetry.within(Patience(clock=clock))
    response = HTTPResponse(headers={"Retry-After": header}, status=503)
    waits = [retry.get_retry_after(response) or 0.0 for _ in range(20)]
    assert all(least <= each <= most for each in waits)
    assert len(set(waits)) > 1


def test_a_transfer_is_given_up_when_it_has_come_no_further_for_too_long(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []
    tries = Tries(Patience(60, 120, clock))
    monkeypatch.setattr(tries._cancelled, "wait", paused.append)
    for _ in range(3):
        clock.now += 25
        assert tries.again() or clock.now == 1075
    assert not tries.again()
    tries.progressed()
    assert tries.again()
    assert paused[1] > paused[0]
    assert paused[-1] < paused[1]


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
    ],
)
def test_an_address_where_a_cloud_tells_credentials_is_no_stores(address: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        check_address(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.96.3.4", "192.168.1.5", "100.64.0.7", "fd12::9", "64:ff9b::34d8:102", "52.216.1.2"]
)
def test_addresses_in_a_cluster_and_outside_are_taken(address: str) -> None:
    check_address(address)
