"""A predecessor is no rival, a rival is found by its next write, and of two one goes on."""

from __future__ import annotations

from typing import Any

import pytest
from tftraining_operator.runtime.rivals import GIVE_WAY_SECONDS, Rivals, installation

FIRST, OWN, LAST = (installation("system", name) for name in ("a", "b", "c"))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def job(*stamps: tuple[str, str], uid: str = "u", namespace: str = "team", subresource: str = "status") -> dict[str, Any]:
    entries = [{"manager": manager, "time": time, "subresource": subresource, "operation": "Update"} for manager, time in stamps]
    return {"metadata": {"name": "iris", "namespace": namespace, "uid": uid, "managedFields": entries}}


def seen(*events: tuple[dict[str, Any], str | None]) -> Rivals:
    rivals = Rivals(OWN, Clock())
    for event in events:
        rivals.see(*event)
    return rivals


@pytest.mark.parametrize(
    ("events", "gives_way"),
    [
        ([(job((FIRST, "1")), None)], False),
        ([(job((FIRST, "1")), None), (job((FIRST, "1")), "MODIFIED"), (job((FIRST, "1")), None)], False),
        ([(job((FIRST, "1")), None), (job((FIRST, "1"), (OWN, "2")), "MODIFIED"), (job((OWN, "3")), "MODIFIED")], False),
        ([(job((FIRST, "1")), None), (job((FIRST, "2")), "MODIFIED")], True),
        ([(job((FIRST, "1")), None), (job((FIRST, "2")), None)], True),
        ([(job(), None), (job((FIRST, "1")), "MODIFIED")], True),
        ([(job((FIRST, "1")), "ADDED")], True),
        ([(job((OWN, "1")), "ADDED"), (job((OWN, "2")), "MODIFIED")], False),
        ([(job((LAST, "1")), "ADDED")], False),
        ([(job((FIRST, "1"), subresource=""), "ADDED")], False),
        ([(job(("kubectl", "1"), ("tftraining-operator", "1")), "ADDED")], False),
    ],
    ids=[
        "what was written before the watch began is a predecessor's",
        "the same told again is no news",
        "nor is that it goes when this installation writes",
        "what it writes while the watch goes on is a rival's",
        "also when a broken watch begins anew",
        "also the first write of a job that was there",
        "also that of a new job",
        "one's own writes are no rival's",
        "a rival that sorts behind gives way itself",
        "who changes a spec is no rival",
        "nor is a person, or a version that has no name yet",
    ],
)
def test_a_namespace_is_left_to_a_rival_that_sorts_first(events: list[tuple[dict[str, Any], str | None]], gives_way: bool) -> None:
    assert (seen(*events).seconds_to_give_way("team") == GIVE_WAY_SECONDS) is gives_way


def test_a_rival_that_gives_way_is_told_all_the_same() -> None:
    assert seen((job((LAST, "1")), "ADDED")).namespaces == 1


def test_only_the_namespace_in_which_it_works_is_left_to_a_rival() -> None:
    assert seen((job((FIRST, "1")), "ADDED")).seconds_to_give_way("other") == 0


def test_who_has_not_written_for_ten_minutes_is_gone() -> None:
    clock = Clock()
    rivals = Rivals(OWN, clock)
    rivals.see(job((FIRST, "1")), "ADDED")
    clock.now += GIVE_WAY_SECONDS - 1
    assert (rivals.seconds_to_give_way("team"), rivals.namespaces) == (1, 1)
    clock.now += 1
    assert (rivals.seconds_to_give_way("team"), rivals.namespaces) == (0, 0)


def test_a_deleted_job_leaves_nothing_behind() -> None:
    rivals = seen((job((FIRST, "1")), None), (job((FIRST, "1")), "DELETED"), (job((FIRST, "1")), None))
    assert rivals.seconds_to_give_way("team") == 0


@pytest.mark.parametrize("garbage", [None, 7, {}, {"metadata": []}, {"metadata": {"managedFields": [None, {"manager": 3}, "x"]}}])
def test_garbage_is_nobodys_write(garbage: Any) -> None:
    assert seen((garbage, "ADDED"), (garbage, "DELETED")).namespaces == 0


def test_a_name_is_no_longer_than_what_the_api_server_keeps_of_it() -> None:
    assert len(installation("n" * 63, "l" * 253)) == 128
