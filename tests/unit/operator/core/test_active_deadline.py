"""`activeDeadlineSeconds` is the time that a job's script runs, of all attempts together, and of nothing but that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Failure, Reason, RunReport
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.decide import decide
from tftraining_operator.core.observe import pod_record
from tftraining_operator.core.records import Observed, Plan

from .given import CONFIGURATION, CREATED, Pod, after, job, pods, seen

LIMIT = 100
SPEC: dict[str, Any] = {"activeDeadlineSeconds": LIMIT, "retry": {"infrastructure": 3}}


def plan(observed: Observed, now: float) -> Plan:
    return decide(observed, CONFIGURATION, now)


def done(observed: Observed, now: float) -> Observed:
    return after(observed, plan(observed, now))


def evicted(ran: int, attempt: int = 0) -> Pod:
    """Return a pod that was evicted after so many seconds of running; it was fetching before and publishing after that."""
    pod = Pod(attempt=attempt).fetched().ran(143, at=CREATED + 4 + ran).published(succeeded=False, at=CREATED + 4 + ran + 50)
    return replace(pod, phase="Failed").condition("DisruptionTarget", "True", "EvictionByEvictionAPI")


def tried(*ran: int, **spec: Any) -> Observed:
    """Return a job whose attempts have run for so many seconds each, and were all taken away, when the next one is about to begin."""
    observed, now = seen(job(**SPEC | spec)), CREATED
    for attempt, seconds in enumerate(ran):
        now += 1000
        observed = replace(observed, pods=(*observed.pods, evicted(seconds, attempt).record()))
        observed = done(done(observed, now), now + 400)
    return observed


def given(found: Plan) -> tuple[str, int | None]:
    """Return the deadline of the pod that is made: as its annotation says it, and as its launcher is told."""
    [pod] = pods(found)
    plans = {each["name"]: each.get("value", "") for each in pod["spec"]["containers"][0]["env"]}
    told = msgspec.json.decode(plans[contract.PLAN_VARIABLE].replace("$$", "$"), type=contract.Plan)
    return pod["metadata"]["annotations"]["tftraining.dev/active-deadline-seconds"], told.active_deadline_seconds


def test_the_next_attempt_gets_what_the_earlier_ones_have_left() -> None:
    assert given(plan(tried(), CREATED)) == ("100", 100)
    assert given(plan(tried(30), CREATED + 5000)) == ("70", 70)
    assert given(plan(tried(30, 45), CREATED + 5000)) == ("25", 25)
    assert given(plan(tried(30, activeDeadlineSeconds=None), CREATED + 5000)) == ("none", None)


def test_a_process_that_knows_nothing_but_the_status_gives_it_the_same() -> None:
    assert given(plan(replace(tried(30, 45), pods=(), gone=()), CREATED + 50_000)) == ("25", 25)


@pytest.mark.parametrize("ran", [(100,), (60, 40), (60, 41)])
def test_a_job_whose_time_is_used_up_is_not_tried_again(ran: tuple[int, ...]) -> None:
    observed = tried(*ran[:-1])
    last = len(ran) - 1
    found = plan(replace(observed, pods=(evicted(ran[-1], last).record(),)), CREATED + 5000)
    assert found.status is not None
    assert (found.status["phase"], found.status["failure"]["reason"], found.status["failure"]["cause"]) == (
        "Failed",
        "DeadlineExceeded",
        "Deadline",
    )
    earlier = f", of which earlier attempts took {ran[0]} s" if last else ""
    begin = f"Attempt {last} failed (Evicted), and nothing is left of spec.activeDeadlineSeconds (100){earlier}: pod iris-chief-0"
    assert found.status["message"].startswith(begin)
    assert found.status.get("retries", {}).get("infrastructure", 0) == last
    assert (found.status["failure"]["exitCode"], found.status["usage"]["runningSeconds"]) == (143, sum(ran))


def test_one_second_that_is_left_is_tried() -> None:
    found = plan(replace(tried(60), pods=(evicted(39, 1).record(),)), CREATED + 5000)
    assert found.status is not None
    assert found.status["phase"] == "Restarting"


class TestSuspension:
    GONE = replace(evicted(60), phase="Running", conditions=(), deleted=CREATED + 200)

    def suspended(self, **spec: Any) -> Observed:
        suspending = done(seen(job(suspend=True, **SPEC | spec), Pod().running()), CREATED + 64)
        return done(replace(suspending, pods=(), gone=(self.GONE.record(),)), CREATED + 200)

    def resumed(self, observed: Observed) -> Observed:
        return replace(observed, job=replace(observed.job, spec={**observed.job.spec, "suspend": False}))

    def test_costs_no_time_however_long_it_is(self) -> None:
        begun = done(self.resumed(self.suspended()), CREATED + 100_000)
        assert given(plan(begun, CREATED + 100_000)) == ("40", 40)

    def test_that_is_taken_back_midway_costs_what_was_run_before(self) -> None:
        suspending = done(seen(job(suspend=True, **SPEC), Pod().running()), CREATED + 64)
        back = self.resumed(replace(suspending, pods=(), gone=(self.GONE.record(),)))
        assert given(plan(done(back, CREATED + 200), CREATED + 201)) == ("40", 40)

    def test_of_a_job_without_time_left_ends_in_no_other_attempt(self) -> None:
        observed = self.suspended(activeDeadlineSeconds=60)
        assert observed.job.status["phase"] == "Suspended"
        assert plan(observed, CREATED + 300).status is None, "it ends when it is resumed, and may be given more until then"
        found = plan(self.resumed(observed), CREATED + 300)
        assert (found.creates, found.status is not None) == ((), True)
        assert found.status is not None
        assert found.status["failure"]["reason"] == "DeadlineExceeded"
        words = "spec.activeDeadlineSeconds (60), of which earlier attempts took 60 s"
        assert found.status["failure"]["message"] == f"attempt 1 does not start: nothing is left of {words}"
        more = self.resumed(observed)
        more = replace(more, job=replace(more.job, spec={**more.job.spec, "activeDeadlineSeconds": 61}))
        assert given(plan(done(more, CREATED + 300), CREATED + 300)) == ("1", 1)


def test_a_deadline_that_is_shortened_while_the_job_waits_ends_it() -> None:
    found = plan(replace(tried(30), job=replace(tried(30).job, spec={**tried().job.spec, "activeDeadlineSeconds": 30})), CREATED + 5000)
    assert found.status is not None
    assert found.status["failure"]["reason"] == "DeadlineExceeded"


@pytest.mark.parametrize("remembered", [True, False], ids=["with its pod", "without"])
def test_a_job_that_ends_for_want_of_time_before_an_attempt_keeps_what_the_last_one_has_left(*, remembered: bool) -> None:
    pod = evicted(30).published(succeeded=False, post_mortem_uri="s3://bucket/0/post-mortem.json", manifest_sha256="ab" * 32)
    waits = done(seen(job(**SPEC), pod), CREATED + 1000)
    assert (waits.job.status["phase"], waits.job.status["attempt"]) == ("Restarting", 1)
    shorter = replace(waits, job=replace(waits.job, spec={**waits.job.spec, "activeDeadlineSeconds": 30}))
    observed = shorter if remembered else replace(shorter, pods=())
    found = plan(observed, CREATED + 5000)
    assert found.status is not None
    assert (found.status["phase"], found.status["failure"]["reason"], found.status["attempt"]) == ("Failed", "DeadlineExceeded", 0)
    for field in ("logs", "outputs", "postMortem", "usage"):
        assert found.status[field] == waits.job.status[field], field
    assert found.status["message"].startswith("Attempt 1 does not start: nothing is left of spec.activeDeadlineSeconds (30)")
    assert "restart" not in found.status
    assert plan(after(observed, found), CREATED + 6000).rule == "finished"


@pytest.mark.parametrize(
    ("limit", "told", "ends_after", "why"),
    [(100, "70", 70 + 30 + 120, "did not stop when it was told to"), (80, "70", 50, "which was shortened while it ran")],
)
def test_the_operators_backstop_counts_earlier_attempts_too(limit: int, told: str, ends_after: int, why: str) -> None:
    observed = tried(30, activeDeadlineSeconds=limit)
    runs = replace(Pod(attempt=1).running(at=CREATED + 5000).record(), deadline_seconds=float(told), earlier_seconds=30.0)
    observed = replace(observed, pods=(*observed.pods, runs))
    assert plan(observed, CREATED + 5000 + ends_after - 1).requeue_at == CREATED + 5000 + ends_after
    found = plan(observed, CREATED + 5000 + ends_after)
    assert found.status is not None
    assert found.status["failure"]["reason"] == "DeadlineExceeded"
    words = f"spec.activeDeadlineSeconds ({limit}), of which earlier attempts took 30 s"
    assert words in found.status["message"]
    assert why in found.status["message"]


def test_a_pod_says_how_much_of_the_deadline_was_used_before_it_was_made() -> None:
    [pod] = pods(plan(tried(30), CREATED + 5000))
    record = pod_record(pod | {"metadata": pod["metadata"] | {"uid": "u"}})
    assert record is not None
    assert (record.deadline_seconds, record.earlier_seconds) == (70, 30)


def test_a_script_goes_on_whose_version_counted_each_attempt_for_itself() -> None:
    told = replace(Pod(attempt=1).running(at=CREATED + 5000).record(), deadline_seconds=100.0)
    for limit in (100, 110):
        observed = tried(90, activeDeadlineSeconds=limit)
        observed = replace(observed, pods=(*observed.pods, told))
        found = plan(observed, CREATED + 5000 + 50)
        assert found.status is not None
        assert (found.status["phase"], found.deletions, found.requeue_at) == ("Running", (), CREATED + 5000 + 100 + 30 + 120)


def test_what_the_launcher_says_of_the_last_attempt_is_told_with_the_whole() -> None:
    told = Failure(reason=Reason.DEADLINE_EXCEEDED, message="The script was stopped after running for 70 s.", hint="Raise it.")
    ended = Pod(attempt=1).ran(143, RunReport(exit_code=143, failure=told)).published(succeeded=False, failure=told)
    observed = tried(30)
    found = plan(replace(observed, pods=(*observed.pods, ended.record())), CREATED + 5000)
    assert found.status is not None
    words = "spec.activeDeadlineSeconds (100), of which earlier attempts took 30 s"
    assert found.status["failure"]["message"] == f"{told.message} That was all of {words}."
    first = Pod().ran(143, RunReport(exit_code=143, failure=told)).published(succeeded=False, failure=told)
    alone = plan(seen(job(**SPEC), first), CREATED + 5000).status
    assert alone is not None
    assert alone["failure"]["message"] == told.message


def test_a_pod_that_is_lost_has_run_until_its_node_was_given_up() -> None:
    lost = replace(Pod().running(at=CREATED + 10), phase="Failed", reason="NodeLost")
    found = plan(seen(job(**SPEC), lost), CREATED + 60)
    assert found.status is not None
    assert (found.status["phase"], found.status["usage"]["runningSeconds"]) == ("Restarting", 50)
    failed = plan(seen(job(activeDeadlineSeconds=LIMIT), lost), CREATED + 60).status
    assert failed is not None
    assert failed["completionTime"] == rfc3339(CREATED + 60), "not when the last container ended that has"


DAY = 86_400


def silent(since: float, reason: str = "") -> Pod:
    """Return a pod that its node has not told of since then."""
    pod = Pod().running(at=CREATED + 10)
    ready = {"type": "Ready", "status": "False", "reason": reason, "message": "", "lastTransitionTime": rfc3339(since)}
    return replace(pod, conditions=(*pod.conditions, ready))


@pytest.mark.parametrize(
    ("pod", "ran"),
    [
        (silent(CREATED + 60), 50),
        (replace(silent(CREATED + 60), deleted=CREATED + 90), 50),
        (replace(Pod().running(at=CREATED + 10), deleted=CREATED + 90), 80),
    ],
    ids=["since its node is silent", "also if it was told to go later", "since it should have gone"],
)
def test_silence_is_no_running(pod: Pod, ran: int) -> None:
    found = plan(seen(job(**SPEC), gone=(pod,)), CREATED + DAY)
    assert found.status is not None
    assert (found.status["phase"], found.status["usage"]["runningSeconds"]) == ("Restarting", ran)


def test_a_pod_that_somebodys_gate_calls_not_ready_runs() -> None:
    found = plan(seen(job(**SPEC), gone=(silent(CREATED + 11, "ReadinessGatesNotReady"),)), CREATED + 70)
    assert found.status is not None
    assert found.status["usage"]["runningSeconds"] == 60


class TestAPodThatGoesWhileNobodyLooks:
    RUNS = done(seen(job(**SPEC), Pod().running(at=CREATED + 10)), CREATED + 15)
    ALONE = replace(RUNS, pods=())

    def test_costs_nothing_where_nobody_knows_when_that_was(self) -> None:
        found = plan(self.ALONE, CREATED + 30 * DAY)
        assert found.status is not None
        assert (found.status["phase"], "usage" in found.status) == ("Restarting", False)

    def test_has_run_until_the_operator_began_to_end_it(self) -> None:
        suspending = replace(self.RUNS, job=replace(self.RUNS.job, spec={**self.RUNS.job.spec, "suspend": True}))
        suspended = done(replace(done(suspending, CREATED + 40), pods=()), CREATED + DAY)
        assert (suspended.job.status["phase"], suspended.job.status["usage"]["runningSeconds"]) == ("Suspended", 30)

    def test_is_not_counted_twice(self) -> None:
        counted = replace(self.ALONE.job, status={**self.ALONE.job.status, "usage": {"attempts": 1, "runningSeconds": 7}})
        found = plan(replace(self.ALONE, job=counted), CREATED + 70)
        assert found.status is not None
        assert found.status["usage"] == {"attempts": 1, "runningSeconds": 7}


def test_times_that_no_container_has_count_for_nothing() -> None:
    unscheduled = replace(Pod(node=""), deleted=CREATED + 50)
    found = plan(seen(job(**SPEC), gone=(unscheduled,)), CREATED + 5000)
    assert found.status is not None
    assert "runningSeconds" not in found.status["usage"]
