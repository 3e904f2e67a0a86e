"""What one job may ask for at most: refused with the field, its value, the bound and who sets it; never cut without a word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Failure, Reason, RunReport
from tftraining_operator.core.configuration import Configuration, Maxima, Retries
from tftraining_operator.core.decide import decide
from tftraining_operator.core.records import Observed, Plan

from .given import CONFIGURATION, CREATED, Pod, after, job, pods, seen

NOW = CREATED + 100
FULL: dict[str, Any] = {
    "cpu": "4",
    "memory": "8Gi",
    "workspace": "20Gi",
    "gpus": 2,
    "activeDeadlineSeconds": 600,
    "ttlSecondsAfterFinished": 3600,
    "retries": 2,
}


def bounded(**maxima: Any) -> Configuration:
    return CONFIGURATION.model_copy(update={"maxima": Maxima.model_validate(maxima)})


def plan(observed: Observed, now: float = NOW, **maxima: Any) -> Plan:
    return decide(observed, bounded(**maxima), now)


def deadline(found: Plan) -> str:
    [pod] = pods(found)
    return str(pod["metadata"]["annotations"]["tftraining.dev/active-deadline-seconds"])


OVER = {
    "cpu": ({"resources": {"cpu": "4500m"}}, "resources.cpu is 4500m, where maxima.cpu of the chart allows 4"),
    "memory": ({"resources": {"memory": "8193Mi"}}, "resources.memory is 8193Mi, where maxima.memory of the chart allows 8Gi"),
    "workspace": ({"resources": {"workspace": "21Gi"}}, "resources.workspace is 21Gi, where maxima.workspace of the chart allows 20Gi"),
    "gpus": ({"resources": {"gpus": 3}}, "resources.gpus is 3, where maxima.gpus of the chart allows 2"),
    "deadline": (
        {"activeDeadlineSeconds": 601},
        "activeDeadlineSeconds is 601, where maxima.activeDeadlineSeconds of the chart allows 600",
    ),
    "ttl": (
        {"ttlSecondsAfterFinished": 3601},
        "ttlSecondsAfterFinished is 3601, where maxima.ttlSecondsAfterFinished of the chart allows 3600",
    ),
    "retries": ({"retry": {"outOfMemory": 3}}, "retry.outOfMemory is 3, where maxima.retries of the chart allows 2"),
}


@pytest.mark.parametrize(("spec", "told"), OVER.values(), ids=OVER)
def test_a_job_over_a_bound_is_refused_before_it_has_a_pod(spec: dict[str, Any], told: str) -> None:
    found = plan(seen(job(**spec)), **FULL)
    assert (found.creates, found.status is not None) == ((), True)
    assert found.status is not None
    assert (found.status["phase"], found.status["failure"]["reason"]) == ("Failed", "InvalidSpec")
    assert found.status["message"] == f"spec.{told}. Ask for less, or ask an admin to raise it; then create the job again."
    assert plan(seen(job(**spec))).creates != (), "without bounds it runs"


def test_all_that_is_over_is_told_at_once() -> None:
    found = plan(seen(job(resources={"gpus": 3, "memory": "9Gi"}, activeDeadlineSeconds=601)), **FULL).status
    assert found is not None
    assert [field in found["message"] for field in ("gpus", "memory", "activeDeadlineSeconds", "cpu")] == [True, True, True, False]


def test_a_job_at_its_bounds_runs() -> None:
    at = {
        "resources": {"cpu": "4000m", "memory": "8192Mi", "workspace": "20Gi", "gpus": 2},
        "activeDeadlineSeconds": 600,
        "ttlSecondsAfterFinished": 3600,
        "retry": {"preemption": 2},
    }
    assert deadline(plan(seen(job(**at)), **FULL)) == "600"


def test_a_job_that_is_created_suspended_is_refused_when_it_is_to_begin() -> None:
    observed = seen(job(suspend=True, resources={"gpus": 3}))
    suspended = after(observed, plan(observed, **FULL))
    assert suspended.job.status["phase"] == "Suspended"
    resumed = replace(suspended, job=replace(suspended.job, spec={**suspended.job.spec, "suspend": False}))
    found = plan(resumed, **FULL).status
    assert found is not None
    assert found["phase"] == "Failed"


EVICTED = replace(Pod().ran(143), phase="Failed").condition("DisruptionTarget", "True", "EvictionByEvictionAPI")


def test_a_job_that_has_begun_goes_on_when_a_bound_is_lowered() -> None:
    spec: dict[str, Any] = {"resources": {"gpus": 8, "memory": "64Gi"}, "retry": {"infrastructure": 9}}
    runs = plan(seen(job(**spec), Pod().running()), **FULL).status
    assert runs is not None
    assert runs["phase"] == "Running"
    observed = seen(job({"attempt": 0, "retries": {"infrastructure": 5}}, **spec), EVICTED)
    restarting = after(observed, plan(observed, **FULL))
    assert restarting.job.status["retries"] == {"infrastructure": 6}, "what it was given when it began"
    begun = after(restarting, plan(restarting, NOW + 1000, **FULL))
    [pod] = pods(plan(begun, NOW + 1000, **FULL))
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "64Gi"


class TestADeadline:
    def test_that_a_job_does_not_name_is_the_bound(self) -> None:
        assert deadline(plan(seen(job()), activeDeadlineSeconds=600)) == "600"
        assert deadline(plan(seen(job(activeDeadlineSeconds=60)), activeDeadlineSeconds=600)) == "60"
        assert deadline(plan(seen(job()))) == "none"

    def test_that_is_raised_later_is_the_bound_in_the_next_attempt(self) -> None:
        usage = {"attempts": 1, "runningSeconds": 100}
        restart = {"attempt": 1, "at": "2027-01-15T08:00:10Z", "begun": True}
        raised = job({"attempt": 1, "usage": usage, "restart": restart}, activeDeadlineSeconds=10_000)
        assert deadline(plan(seen(raised, EVICTED), activeDeadlineSeconds=600)) == "500"

    def test_of_a_running_script_is_what_it_began_with_when_a_bound_comes(self) -> None:
        pod = replace(Pod().running(at=CREATED + 4).record(), deadline_seconds=float("inf"))
        found = plan(replace(seen(job()), pods=(pod,)), CREATED + 10_000, activeDeadlineSeconds=600)
        assert (found.deletions, found.requeue_at) == ((), None)
        told = replace(pod, deadline_seconds=600.0)
        late = plan(replace(seen(job()), pods=(told,)), CREATED + 4 + 600 + 30 + 120, activeDeadlineSeconds=600)
        assert len(late.deletions) == 1
        assert late.status is not None
        assert "longer than maxima.activeDeadlineSeconds of the chart (600) and did not stop" in late.status["message"]
        assert "Ask an admin to raise it" in late.status["message"]

    def test_that_ends_a_job_is_told_as_what_it_is(self) -> None:
        told = Failure(reason=Reason.DEADLINE_EXCEEDED, message="The script was stopped after running for 600 s.")
        pod = Pod().ran(143, RunReport(exit_code=143, failure=told)).published(succeeded=False, failure=told)
        found = plan(seen(job(), pod), activeDeadlineSeconds=600).status
        assert found is not None
        assert found["failure"]["message"] == f"{told.message} That was all of maxima.activeDeadlineSeconds of the chart (600)."

    def test_that_was_taken_out_while_the_script_ran_is_still_kept_from_outside(self) -> None:
        pod = replace(Pod().running(at=CREATED + 4).record(), deadline_seconds=60.0)
        found = plan(replace(seen(job()), pods=(pod,)), CREATED + 4 + 60 + 30 + 120)
        assert found.status is not None
        assert "the deadline that it began with" in found.status["message"]


class TestRetries:
    def test_that_a_job_does_not_name_are_cut(self) -> None:
        used = {"attempt": 0, "retries": {"infrastructure": 1}}
        found = plan(seen(job(used, retry={}), EVICTED), retries=1).status
        assert found is not None
        assert (found["phase"], "The one retry of spec.retry.infrastructure is used." in found["message"]) == ("Failed", True)
        assert plan(seen(job(used, retry={}), EVICTED)).status["phase"] == "Restarting"  # type: ignore[index]

    def test_have_no_more_than_usual_where_the_bound_is_higher(self) -> None:
        found = plan(seen(job({"attempt": 0, "retries": {"infrastructure": 3}}, retry={}), EVICTED), retries=50).status
        assert found is not None
        assert found["phase"] == "Failed"

    @pytest.mark.parametrize(
        ("growth", "maximum", "name"), [("", "6Gi", "maxima.memory"), ("9Gi", "6Gi", "maxima.memory"), ("6Gi", "9Gi", "retries.maxMemory")]
    )
    def test_grow_no_further_than_one_job_may_have_and_say_by_what(self, growth: str, maximum: str, name: str) -> None:
        admin = bounded(memory=maximum).model_copy(update={"retries": Retries(max_memory=growth)})
        spec: dict[str, Any] = {"retry": {"outOfMemory": 5, "memoryGrowth": 1.5}, "resources": {"memory": "4Gi"}}
        killed = Pod(attempt=1).ran(137, reason="OOMKilled")
        record = job({"attempt": 1, "retries": {"outOfMemory": 1}}, **spec)
        found = decide(seen(record, killed.container(contract.PUBLISHER, terminated={"exitCode": 0})), admin, NOW).status
        assert found is not None
        assert f"more memory than 6144Mi is not to be had ({name} of the chart is 6Gi)" in found["message"]


def test_a_job_goes_when_the_bound_says_so_whatever_it_says_itself() -> None:
    for spec, expires in (({}, 3600), ({"ttlSecondsAfterFinished": 60}, 60), ({"ttlSecondsAfterFinished": 10**6}, 3600)):
        observed = seen(job(**spec), Pod().ran().published())
        ended = replace(after(observed, plan(observed)), pods=())
        assert not plan(ended, CREATED + 61 + expires - 1, ttlSecondsAfterFinished=3600).expires
        assert plan(ended, CREATED + 61 + expires, ttlSecondsAfterFinished=3600).expires


@pytest.mark.parametrize("name", ["gpus", "retries", "ttlSecondsAfterFinished"])
def test_a_bound_of_zero_is_one(name: str) -> None:
    spec: dict[str, dict[str, Any]] = {
        "gpus": {"resources": {"gpus": 1}},
        "retries": {"retry": {"storage": 1}},
        "ttlSecondsAfterFinished": {"ttlSecondsAfterFinished": 1},
    }
    found = plan(seen(job(**spec[name])), **{name: 0}).status
    assert found is not None
    assert f"maxima.{name} of the chart allows 0" in found["message"]
