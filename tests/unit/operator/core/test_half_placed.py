"""Groups that have a place for some of their pods only: how long they hold it, and when they try again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.decide import decide
from tftraining_operator.core.records import Observed, Plan
from tftraining_operator.core.rules import group

from .given import CONFIGURATION, CREATED, Pod, after, job, pods, seen

FULL = ("PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.")
PLACED = Pod(role="worker").condition("PodScheduled", "True")
HOMELESS = replace(Pod(role="worker", index=1), node="").condition(*FULL)
LONG = group.HOLDS_SECONDS * 1.2
SHORT = group.HOLDS_SECONDS * 0.8


def a_group(*found: Pod, status: dict[str, Any] | None = None, refusal: str = "", **spec: Any) -> Observed:
    return seen(job(status, replicas={"worker": {"count": 2}}, **spec), *found, refusal=refusal)


def decided(observed: Observed, after: float) -> Plan:
    return decide(observed, CONFIGURATION, CREATED + after)


def frees(found: Plan) -> bool:
    return found.status is not None and found.status.get("ending", {}).get("because") == "Regroup"


HELD: dict[str, tuple[Observed, bool]] = {
    "one has a node and one has none": (a_group(PLACED, HOMELESS), True),
    "one has a node and a quota refuses the other": (a_group(PLACED, refusal="exceeded quota: q, requested: pods=1, used: pods=1"), True),
    "none has a node, and a quota refuses the other": (
        a_group(replace(HOMELESS, index=0), refusal="exceeded quota: q, requested: pods=1, used: pods=1"),
        True,
    ),
    "both have one": (a_group(PLACED, replace(PLACED, index=1)), False),
    "none has one": (a_group(replace(HOMELESS, index=0), HOMELESS), False),
    "one has ended": (a_group(PLACED.ran(1).published(succeeded=False), HOMELESS), False),
    "it waits in a queue": (a_group(PLACED, HOMELESS, scheduling={"queue": "team-a"}), False),
    "it is alone": (seen(job(), replace(Pod(), node="").condition(*FULL)), False),
    "it is stopped": (a_group(PLACED, HOMELESS, stop=True), False),
}


@pytest.mark.parametrize(("observed", "expected"), HELD.values(), ids=HELD)
def test_only_a_group_of_which_some_hold_what_others_lack_frees_it(observed: Observed, expected: bool) -> None:
    assert frees(decided(observed, LONG + 10)) is expected


def test_it_holds_its_places_for_five_minutes_and_no_more_than_a_quarter_of_its_deadline() -> None:
    assert not frees(decided(a_group(PLACED, HOMELESS), SHORT))
    at = decided(a_group(PLACED, HOMELESS), SHORT).requeue_at
    assert at is not None
    assert at <= CREATED + LONG + 1
    assert not frees(decided(a_group(PLACED, HOMELESS, pendingDeadlineSeconds=40), 8))
    assert frees(decided(a_group(PLACED, HOMELESS, pendingDeadlineSeconds=40), 14))


def test_its_pods_go_and_when_they_have_it_tries_again_as_the_next_attempt_without_a_retry_and_later_each_time() -> None:
    first = decided(a_group(PLACED, HOMELESS), LONG + 10)
    assert first.status is not None
    assert sorted(each.name for each in first.deletions) == ["iris-worker-0", "iris-worker-1"]
    assert "a place for only 1 of 2 pods" in first.status["message"]
    freed = decided(a_group(status=dict(first.status)), LONG + 20)
    assert freed.status is not None
    assert (freed.status["phase"], freed.status["attempt"], freed.status.get("retries")) == ("Restarting", 1, None)
    assert "attempts" not in freed.status
    assert freed.status["restart"]["reason"] == "HalfPlaced"
    assert freed.status["restart"]["waitingSince"] == first.status["conditions"][0]["lastTransitionTime"]
    pause = (freed.requeue_at or 0.0) - CREATED - LONG - 20
    assert group.SHORTEST_PAUSE_SECONDS * 0.8 - 1 <= pause <= group.LONGEST_PAUSE_SECONDS * 1.2
    begun = decide(a_group(status=dict(freed.status)), CONFIGURATION, freed.requeue_at or 0.0)
    assert begun.status is not None
    again = decide(a_group(status=dict(begun.status)), CONFIGURATION, (freed.requeue_at or 0.0) + 1)
    assert [each["metadata"]["name"] for each in pods(again)] == ["iris-worker-0-r1", "iris-worker-1-r1"]


def test_the_pending_deadline_goes_on_over_all_tries() -> None:
    status = {
        "observedGeneration": 1,
        "attempt": 1,
        "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "lastTransitionTime": rfc3339(CREATED)}],
        "restart": {"attempt": 1, "at": rfc3339(CREATED + 500), "begun": True, "waitingSince": rfc3339(CREATED)},
    }
    both = (replace(HOMELESS, index=0, attempt=1, created=CREATED + 500), replace(HOMELESS, attempt=1, created=CREATED + 500))
    found = decided(a_group(*both, status=status, pendingDeadlineSeconds=600), 601)
    assert found.status is not None
    assert found.status["failure"]["reason"] == "PendingDeadlineExceeded"


def test_a_group_that_has_freed_its_places_for_the_last_time_ends_at_its_deadline_with_what_it_lacked() -> None:
    first = decided(a_group(PLACED, HOMELESS, pendingDeadlineSeconds=40), 30)
    assert first.status is not None
    freed = decided(a_group(status=dict(first.status), pendingDeadlineSeconds=40), 35)
    assert freed.status is not None
    assert (freed.requeue_at or 0.0) <= CREATED + 70
    found = decided(a_group(status=dict(freed.status), pendingDeadlineSeconds=40), 71)
    assert found.status is not None
    assert found.status["failure"]["reason"] == "PendingDeadlineExceeded"
    assert "worker 1" in found.status["failure"]["message"]


OVERDUE: dict[str, Observed] = {
    "its pods are not deleted yet": a_group(PLACED, HOMELESS, pendingDeadlineSeconds=40),
    "one of its pods publishes": a_group(PLACED.ran(0), HOMELESS, pendingDeadlineSeconds=40),
    "a node is silent": a_group(
        PLACED.running().condition("Ready", "False").condition("ContainersReady", "True"), HOMELESS, pendingDeadlineSeconds=40
    ),
}


@pytest.mark.parametrize("observed", OVERDUE.values(), ids=OVERDUE)
def test_beyond_its_deadline_nothing_is_due_in_the_past(observed: Observed) -> None:
    for seconds in (100, 105):
        found = decided(observed, seconds)
        assert found.requeue_at is None or found.requeue_at > CREATED + seconds
        observed = after(observed, found)
