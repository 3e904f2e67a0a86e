"""What stays of a job that has ended, and for how long: its pods for their logs, and the job itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.decide import decide
from tftraining_operator.core.records import Observed, Plan

from .given import CONFIGURATION, CREATED, Pod, after, job, seen

ENDED = CREATED + 61
DAY = 86_400


def plan(observed: Observed, now: float) -> Plan:
    return decide(observed, CONFIGURATION, now)


def finished(*earlier: Pod, **spec: Any) -> Observed:
    number = len(earlier)
    observed = seen(job({"attempt": number}, **spec), *earlier, Pod(attempt=number).ran().published())
    return after(observed, plan(observed, ENDED + 1))


def deleted(found: Plan) -> list[str]:
    return [item.name for item in found.deletions]


def evicted(attempt: int) -> Pod:
    return replace(Pod(attempt=attempt).ran(143), phase="Failed").condition("DisruptionTarget", "True", "EvictionByEvictionAPI")


class TestThePodsOfAFinishedJob:
    def test_stay_for_a_day_unless_the_job_says_otherwise(self) -> None:
        assert deleted(plan(finished(), ENDED + DAY - 1)) == []
        assert deleted(plan(finished(), ENDED + DAY)) == ["iris-chief-0"]
        assert deleted(plan(finished(podRetentionSeconds=60), ENDED + 60)) == ["iris-chief-0"]
        assert deleted(plan(finished(podRetentionSeconds=0), ENDED + 1)) == ["iris-chief-0"]

    def test_stay_as_long_as_the_admin_says(self) -> None:
        defaults = CONFIGURATION.defaults.model_copy(update={"pod_retention_seconds": 60})
        found = decide(finished(), CONFIGURATION.model_copy(update={"defaults": defaults}), ENDED + 61)
        assert deleted(found) == ["iris-chief-0"]

    def test_have_a_timer_only_where_no_sweep_comes_before(self) -> None:
        assert plan(finished(), ENDED + 10).requeue_at is None
        assert plan(finished(podRetentionSeconds=60), ENDED + 10).requeue_at == ENDED + 60
        assert plan(finished(), ENDED + DAY - 100).requeue_at == ENDED + DAY

    def test_are_not_cut_short_by_a_node_whose_clock_is_slow(self) -> None:
        late = CREATED + 400 * DAY
        observed = seen(replace(job(ttlSecondsAfterFinished=60), created_at=late), replace(Pod(), created=late).ran().published())
        observed = after(observed, plan(observed, late + 30))
        assert observed.job.status["completionTime"] < "2027-02"
        assert plan(observed, late + 59) == replace(Plan(rule="finished"), requeue_at=late + 60)

    def test_of_a_lost_node_are_kept_from_when_that_was_told(self) -> None:
        lost = CREATED + 2 * DAY
        told = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "lastTransitionTime": rfc3339(lost)}
        observed = seen(job(), replace(Pod().running(), phase="Failed", conditions=(told,)))
        observed = after(observed, plan(observed, lost + 1))
        assert deleted(plan(observed, lost + DAY - 1)) == []
        assert deleted(plan(observed, lost + DAY)) == ["iris-chief-0"]

    def test_of_which_nothing_says_when_they_ended_are_kept_from_their_creation(self) -> None:
        observed = seen(job(retry={"infrastructure": 0}), replace(Pod(), phase="Failed", reason="Evicted"))
        observed = after(observed, plan(observed, CREATED + 1))
        assert deleted(plan(observed, CREATED + DAY)) == []
        assert deleted(plan(observed, CREATED + 1 + DAY)) == ["iris-chief-0"]

    def test_of_earlier_attempts_go_in_their_own_time(self) -> None:
        observed = finished(evicted(0), podRetentionSeconds=60)
        assert deleted(plan(observed, ENDED + 59)) == ["iris-chief-0"]
        assert deleted(plan(observed, ENDED + 60)) == ["iris-chief-0-r1", "iris-chief-0"]

    def test_are_deleted_once_and_the_end_stays(self) -> None:
        observed = finished()
        pod = observed.pods[0]
        going = replace(observed, pods=(replace(pod, deleted_at=ENDED + DAY),))
        assert plan(going, ENDED + DAY + 1) == Plan(rule="finished")
        assert plan(replace(observed, pods=()), ENDED + DAY + 9) == Plan(rule="finished")

    def test_stay_although_their_job_is_suspended_while_they_run_no_more(self) -> None:
        observed = seen(job({"attempt": 1}, suspend=True), evicted(0), Pod(attempt=1).running())
        assert deleted(plan(observed, ENDED)) == ["iris-chief-0-r1"]


def test_the_pod_of_a_failed_attempt_goes_while_the_next_one_runs() -> None:
    observed = seen(job({"attempt": 1}, podRetentionSeconds=600), evicted(0), Pod(attempt=1).running())
    assert (plan(observed, CREATED + 659).rule, deleted(plan(observed, CREATED + 659))) == ("running", [])
    assert (plan(observed, CREATED + 660).rule, deleted(plan(observed, CREATED + 660))) == ("running", ["iris-chief-0"])


def test_a_pod_that_outlives_its_time_holds_up_no_judgement_of_the_attempt_after_it() -> None:
    observed = seen(job({"attempt": 1}, podRetentionSeconds=600), evicted(0), Pod(attempt=1).ran().published())
    found = plan(observed, CREATED + 660)
    assert (found.rule, (found.status or {})["phase"], deleted(found)) == ("succeeded", "Succeeded", ["iris-chief-0"])
    failed = seen(job({"attempt": 1}, retry={"infrastructure": 0}), Pod(attempt=0).running(), evicted(1))
    found = plan(failed, CREATED + 70)
    assert (found.rule, (found.status or {})["phase"], deleted(found)) == ("failed", "Failed", ["iris-chief-0"])


class TestTheJobItself:
    def test_is_deleted_when_its_time_has_come_and_not_before(self) -> None:
        observed = finished(ttlSecondsAfterFinished=3600)
        assert plan(observed, ENDED + 3599).expires is False
        assert plan(observed, ENDED + 3600) == Plan(rule="expired", expires=True)
        assert plan(observed, ENDED + 3599).requeue_at == ENDED + 3600
        assert plan(replace(observed, pods=()), ENDED + 10).requeue_at is None, "a sweep comes before"

    def test_stays_without_one(self) -> None:
        assert plan(finished(), ENDED + 1000 * DAY).expires is False

    def test_goes_at_once_where_it_says_so(self) -> None:
        assert plan(finished(ttlSecondsAfterFinished=0), ENDED + 2).expires is True

    def test_stays_while_a_pod_of_it_contradicts_its_end(self) -> None:
        observed = replace(finished(ttlSecondsAfterFinished=0), pods=(Pod().running().record(),))
        assert plan(observed, ENDED + 2).expires is False

    @pytest.mark.parametrize("pod", [Pod(), Pod().running(), Pod().ran()])
    def test_stays_as_long_as_it_has_not_ended(self, pod: Pod) -> None:
        assert plan(seen(job(ttlSecondsAfterFinished=0), pod), CREATED + 61).expires is False

    @pytest.mark.parametrize("value", ["1", 1.5, True, {}, -(2**70)])
    def test_is_not_deleted_for_what_no_api_server_lets_in(self, value: Any) -> None:
        observed = finished()
        hostile = replace(observed, job=replace(observed.job, spec={**observed.job.spec, "ttlSecondsAfterFinished": value}))
        assert plan(hostile, ENDED + 10 * DAY).expires is False
