"""What follows a failed attempt: another one within the budget of its cause, after a pause, and when nothing of the last one runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.messages.contract import Failure, FetchReport, LiveReport, Note, NoteReason, Reason, RunReport
from tftraining_operator.api.spec import Budget
from tftraining_operator.core import recorded
from tftraining_operator.core.attempts import doubtful
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.configuration import Retries
from tftraining_operator.core.decide import decide
from tftraining_operator.core.effective import grown
from tftraining_operator.core.observe import timestamp
from tftraining_operator.core.reasons import REASONS
from tftraining_operator.core.records import Observed, Plan

from .given import CONFIGURATION, CREATED, POD_UID, Pod, after, job, pods, seen

NOW = CREATED + 100
ALL = {"userError": 9, "infrastructure": 9, "preemption": 9, "storage": 9, "outOfMemory": 9}


def plan(observed: Observed, now: float = NOW) -> Plan:
    return decide(observed, CONFIGURATION, now)


def status(of: Plan) -> dict[str, Any]:
    assert of.status is not None, of
    return dict(of.status)


def raised(line: int = 41, exception: str = "KeyError: 'a'") -> RunReport:
    failure = Failure(reason=Reason.SCRIPT_RAISED, message=exception, exception=exception, file="train.py", line=line)
    return RunReport(exit_code=1, failure=failure)


def preempted(pod: Pod) -> Pod:
    return replace(pod.ran(143), phase="Failed").condition("DisruptionTarget", "True", "PreemptionByScheduler")


def evicted(pod: Pod) -> Pod:
    return replace(pod.ran(143), phase="Failed").condition("DisruptionTarget", "True", "EvictionByEvictionAPI")


def unpublished(pod: Pod) -> Pod:
    broken = Failure(reason=Reason.STORAGE_UNAVAILABLE, message="the store does not answer")
    return pod.ran().published(exit_code=1, succeeded=False, manifest_uri="", failure=broken)


def short_of_memory(pod: Pod) -> Pod:
    return pod.ran(137, reason="OOMKilled").published(succeeded=False)


def at_fault(pod: Pod) -> Pod:
    return pod.ran(1, raised()).published(succeeded=False)


def missing(pod: Pod) -> Pod:
    return pod.fetched(FetchReport(failure=Failure(reason=Reason.OBJECT_NOT_FOUND, message="s3://bucket/x does not exist")), 1)


def gone(observed: Observed, pod: Pod) -> Observed:
    """Let the pod be deleted by somebody."""
    return replace(observed, pods=(), gone=(replace(pod, deleted=NOW).record(),))


FAILURES: dict[str, tuple[Callable[[Pod], Pod], str, str]] = {
    "preempted": (preempted, "preemption", "Preempted"),
    "drained": (evicted, "infrastructure", "Evicted"),
    "not published": (unpublished, "storage", "StorageUnavailable"),
    "too little memory": (short_of_memory, "outOfMemory", "OutOfMemory"),
    "raised": (at_fault, "userError", "ScriptRaised"),
}


@pytest.mark.parametrize(("fails", "budget", "reason"), FAILURES.values(), ids=FAILURES)
class TestAFailedAttempt:
    def test_is_followed_by_another_one_of_its_own_budget_and_no_other(self, fails: Callable[[Pod], Pod], budget: str, reason: str) -> None:
        found = plan(seen(job(retry={**dict.fromkeys(ALL, 0), budget: 1}), fails(Pod())))
        assert (status(found)["phase"], status(found)["attempt"], status(found)["retries"]) == ("Restarting", 1, {budget: 1})
        assert f"retry 1 of 1 of spec.retry.{budget}" in status(found)["message"]
        assert (found.creates, found.deletions) == ((), ()), "its pod stays, for its log"
        others = plan(seen(job(retry={**ALL, budget: 0}), fails(Pod())))
        assert (status(others)["phase"], status(others)["failure"]["reason"]) == ("Failed", reason)
        assert "retries" not in status(others)

    def test_ends_the_job_when_its_budget_is_used_up_and_says_so(self, fails: Callable[[Pod], Pod], budget: str, reason: str) -> None:
        used = job({"attempt": 2, "retries": {budget: 2}}, retry={budget: 2})
        found = plan(seen(used, fails(Pod(attempt=2))))
        assert (status(found)["phase"], status(found)["failure"]["reason"], status(found)["retries"]) == ("Failed", reason, {budget: 2})
        assert f"All 2 retries of spec.retry.{budget} are used." in status(found)["message"]

    def test_is_told_in_one_event_and_kept_in_the_status(self, fails: Callable[[Pod], Pod], budget: str, reason: str) -> None:
        observed = seen(job(retry=ALL), fails(Pod()))
        found = plan(observed)
        assert [(event.type, event.reason) for event in found.events] == [("Warning", reason)]
        [kept] = status(found)["attempts"]
        assert (kept["attempt"], kept["reason"], kept["pod"], kept["endedAt"][:10]) == (0, reason, "iris-chief-0", "2027-01-15")
        again = after(observed, found)
        assert (plan(again).status, plan(again).events) == (None, ())


def test_a_script_that_was_killed_from_within_its_container_counts_as_its_own_failure() -> None:
    killed = Failure(reason=Reason.SCRIPT_KILLED, message="killed by SIGALRM")
    told = Pod().ran(142, RunReport(exit_code=142, failure=killed)).published(succeeded=False)
    assert status(plan(seen(job(retry={}), told)))["phase"] == "Failed"
    assert status(plan(seen(job(retry={"userError": 1}), told)))["retries"] == {"userError": 1}
    untold = Pod().ran(137).published(succeeded=False)
    assert status(plan(seen(job(retry={}), untold)))["retries"] == {"infrastructure": 1}


def test_a_pod_that_somebody_deleted_is_made_again_as_the_next_attempt() -> None:
    found = plan(gone(seen(job(retry={})), Pod().running()))
    assert (status(found)["phase"], status(found)["retries"]) == ("Restarting", {"infrastructure": 1})


@pytest.mark.parametrize("spec", [{"args": ["${nonsense}"]}, {"runtime": "tf3"}, {"dependencies": {"requirements": ["a==1"]}}])
def test_what_cannot_be_run_is_not_tried_again(spec: dict[str, Any]) -> None:
    assert status(plan(seen(job(retry=ALL, **spec))))["phase"] == "Failed"


def test_what_no_other_attempt_would_find_otherwise_is_not_tried_again() -> None:
    assert status(plan(seen(job(retry=ALL), missing(Pod()))))["phase"] == "Failed"


def test_an_attempt_whose_time_is_over_ends_the_job() -> None:
    waits = plan(seen(job(retry=ALL, pendingDeadlineSeconds=60), Pod()), CREATED + 70)
    late = plan(seen(job(retry=ALL, activeDeadlineSeconds=60), Pod().running()), CREATED + 400)
    assert [(status(each)["phase"], len(each.deletions)) for each in (waits, late)] == [("Failed", 1)] * 2


@pytest.mark.parametrize(
    "pod",
    [Pod().ran(), Pod().fetched().ran(128, reason="StartError")],
    ids=["a publisher that is stuck", "a trainer that the node cannot start"],
)
def test_of_a_failed_attempt_that_still_runs_the_pod_goes_before_the_next_one_begins(pod: Pod) -> None:
    observed = seen(job(retry=ALL, resources={"workspace": "1Gi"}), pod)
    found = plan(observed, CREATED + 4000)
    assert (status(found)["phase"], [item.name for item in found.deletions]) == ("Restarting", ["iris-chief-0"])
    waits = plan(after(observed, found), CREATED + 5000)
    assert (waits.status, waits.creates) == (None, ())
    begins = plan(replace(after(observed, found), pods=()), CREATED + 5000)
    assert (status(begins)["attempt"], status(begins)["restart"]["begun"]) == (1, True)


@pytest.mark.parametrize("watched", [True, False], ids=["still there", "gone again"])
def test_a_publisher_that_counted_as_stuck_and_ends_well_while_it_is_deleted_ends_the_job_well(watched: bool) -> None:
    observed = seen(job(retry=ALL, resources={"workspace": "1Gi"}), Pod().ran())
    restarting = after(observed, plan(observed, CREATED + 4000))
    assert (restarting.job.status["phase"], restarting.job.status["restart"]["reason"]) == ("Restarting", "PublishFailed")
    done = (replace(Pod().ran().published(at=CREATED + 4010), deleted=CREATED + 4030).record(),)
    published = replace(restarting, pods=done if watched else (), gone=() if watched else done)
    found = plan(published, CREATED + 5000)
    assert (status(found)["phase"], status(found)["attempt"], found.creates) == ("Succeeded", 0, ())
    assert "restart" not in status(found)
    assert status(found)["outputs"]["manifest"].endswith("/attempt-0/manifest.json")
    assert plan(after(published, found), CREATED + 6000).rule == "finished"


def test_a_retry_says_that_it_waits_for_a_pod_whose_node_does_not_answer_and_starts_when_that_is_gone() -> None:
    observed = seen(job(retry=ALL, resources={"workspace": "1Gi"}), Pod().ran())
    restarting = after(observed, plan(observed, CREATED + 4000))
    going = replace(restarting, pods=(replace(Pod().ran(), deleted=CREATED + 4100).record(),))
    early = plan(going, CREATED + 4159)
    assert (early.status, early.creates, early.requeue_at) == (None, (), CREATED + 4160)
    found = plan(going, CREATED + 4160)
    assert (status(found)["phase"], status(found)["attempt"], found.creates) == ("Restarting", 1, ())
    assert status(found)["restart"] == restarting.job.status["restart"], "why the attempt failed stays said"
    assert status(found)["message"] == (
        "Node node-a does not answer, so that nobody knows whether pod iris-chief-0 still runs. "
        "Attempt 1 starts when the node is back, or is removed from the cluster."
    )
    assert [event.reason for event in found.events] == ["NodeLost"]
    told = after(going, found)
    assert (plan(told, CREATED + 9000).status, plan(told, CREATED + 9000).events) == (None, ())
    begins = plan(replace(told, pods=()), CREATED + 9000)
    assert (status(begins)["attempt"], status(begins)["restart"]["begun"]) == (1, True)
    assert [each["attempt"] for each in status(begins)["attempts"]] == [0]


class TestTheNextAttempt:
    """From the end of one attempt to the pod of the next."""

    def restarting(self, retry: dict[str, Any] | None = None) -> Observed:
        observed = seen(job(retry={} if retry is None else retry), evicted(Pod()))
        return after(observed, plan(observed))

    def at(self, observed: Observed) -> float:
        return timestamp(observed.job.status["restart"]["at"]) or 0.0

    def test_waits_for_its_time_begins_in_the_status_and_then_gets_its_pod(self) -> None:
        observed = self.restarting()
        assert NOW + 8 <= self.at(observed) <= NOW + 13
        early = plan(observed, self.at(observed) - 1)
        assert (early.creates, early.status, early.requeue_at) == ((), None, self.at(observed))
        assert observed.job.status["restart"]["reason"] == "Evicted", "which the column REASON shows"
        begins = plan(observed, self.at(observed))
        assert "reason" not in status(begins)["restart"]
        assert (begins.creates, status(begins)["restart"]["begun"], status(begins)["phase"]) == ((), True, "Pending")
        begun = after(observed, begins)
        made = plan(begun, self.at(observed))
        assert [pod["metadata"]["name"] for pod in pods(made)] == ["iris-chief-0-r1"]
        running = replace(begun, pods=(*begun.pods, Pod(attempt=1, created=NOW + 14).running(NOW + 20).record()))
        found = plan(running, NOW + 21)
        assert (status(found)["phase"], status(found)["attempt"], status(found)["retries"]) == ("Running", 1, {"infrastructure": 1})
        assert found.deletions == (), "the pod of the failed attempt stays for its log"
        assert [each["attempt"] for each in status(found)["attempts"]] == [0]

    def test_says_nothing_of_what_the_one_before_it_has_told(self) -> None:
        note = Note(reason=NoteReason.PROCESS_OUT_OF_MEMORY, message="the kernel killed a process")
        told = LiveReport(notes=(note,))
        observed = seen(job(retry={}), Pod().running(), live=told)
        observed = replace(after(observed, plan(observed)), pods=(evicted(Pod()).record(),))
        observed = after(observed, plan(observed))
        assert "notes" not in observed.job.status
        observed = replace(after(observed, plan(observed, self.at(observed))), live={})
        observed = replace(observed, pods=(Pod(attempt=1).running(NOW + 20).record(),))
        found = plan(observed, NOW + 30)
        assert ("notes" in status(found), "killed" in status(found)["message"]) == (False, False)
        again = plan(replace(after(observed, found), live={POD_UID: told}), NOW + 31)
        assert [event.reason for event in again.events] == ["ProcessOutOfMemory"]

    def test_is_told_by_conditions_that_no_tool_takes_for_an_end(self) -> None:
        conditions = {each["type"]: each["status"] for each in self.restarting().job.status["conditions"]}
        assert conditions == {"Accepted": "True", "Scheduled": "False", "Running": "False", "Reconciling": "True"}

    def test_keeps_in_the_status_where_the_log_of_the_failed_one_is(self) -> None:
        observed = seen(job(retry={}), evicted(Pod()).published(succeeded=False))
        found = plan(observed)
        assert status(found)["logs"]["uri"].endswith("/attempt-0/logs/")
        assert status(found)["attempts"][0]["logs"].endswith("/attempt-0/logs/")
        assert plan(replace(after(observed, found), pods=())).status is None

    def test_that_never_comes_ends_the_job_with_what_the_last_one_had_to_say_of_its_outputs(self) -> None:
        observed = seen(job(retry={}), evicted(Pod()).published(succeeded=False, note="one output is cut"))
        observed = after(observed, plan(observed))
        ends = replace(observed, job=replace(observed.job, spec={**observed.job.spec, "runtime": "unheard-of"}))
        found = plan(ends)
        assert (status(found)["phase"], status(found)["attempt"]) == ("Failed", 0)
        assert "One output is cut." in [event.message for event in found.events]

    def test_is_not_begun_while_a_pod_of_an_earlier_one_runs(self) -> None:
        observed = self.restarting()
        zombie = replace(observed, pods=(Pod().running().record(),))
        assert plan(zombie, self.at(observed) + 60).creates == ()

    def test_is_not_begun_while_the_failed_one_is_back_from_under_a_lost_label_and_that_goes_at_once(self) -> None:
        observed = gone(self.restarting(), Pod().running())
        back = replace(observed, pods=(Pod().running().record(),), gone=())
        found = plan(back, self.at(observed) + 60)
        assert (found.creates, found.status, [item.name for item in found.deletions]) == ((), None, ["iris-chief-0"])

    def test_asks_the_server_for_a_pod_of_the_last_one_that_may_only_have_lost_its_label(self) -> None:
        observed = gone(self.restarting(), Pod().running())
        assert doubtful(observed) == {"iris-chief-0": ""}
        begun = after(observed, plan(observed, self.at(observed)))
        assert doubtful(begun) == {}

    def test_is_nobody_elses_pod_that_has_its_name_too_early(self) -> None:
        observed = self.restarting()
        planted = replace(observed, pods=(*observed.pods, Pod(attempt=1).ran().published().record()))
        found = plan(planted)
        assert (found.status, [item.name for item in found.deletions]) == (None, ["iris-chief-0-r1"])
        going = replace(planted, pods=(*observed.pods, replace(Pod(attempt=1).running(), deleted=NOW + 60).record()))
        assert plan(going, self.at(observed) + 1).status is None, "it does not begin while that is there"

    def test_succeeds_as_any_other(self) -> None:
        observed = self.restarting()
        begun = after(observed, plan(observed, self.at(observed)))
        ended = replace(begun, pods=(*begun.pods, Pod(attempt=1).ran().published().record()))
        found = plan(ended, NOW + 60)
        assert (status(found)["phase"], status(found)["attempt"], status(found)["retries"]) == ("Succeeded", 1, {"infrastructure": 1})
        assert plan(after(ended, found), NOW + 70) == Plan(rule="finished")

    def test_waits_in_a_suspended_job_and_is_the_one_that_a_resume_starts(self) -> None:
        observed = self.restarting()
        paused = replace(observed, job=replace(observed.job, spec={**observed.job.spec, "suspend": True}))
        paused = after(paused, plan(paused))
        assert (paused.job.status["phase"], paused.job.status["attempt"]) == ("Suspended", 1)
        looks = replace(paused, job=replace(paused.job, spec=observed.job.spec))
        resumed = after(looks, plan(looks, NOW + 1))
        assert [pod["metadata"]["name"] for pod in pods(plan(resumed, NOW + 1))] == ["iris-chief-0-r1"]

    def test_stays_the_one_that_comes_where_the_job_is_suspended_before_the_last_one_has_gone(self) -> None:
        observed = self.restarting()
        left = replace(observed, job=replace(observed.job, spec={**observed.job.spec, "suspend": True}), pods=(Pod().running().record(),))
        found = plan(left)
        assert (status(found)["phase"], status(found)["attempt"], [each.name for each in found.deletions]) == (
            *("Restarting", 1),
            ["iris-chief-0"],
        )
        going = replace(after(left, found), pods=(replace(Pod().running(), deleted=NOW + 60).record(),))
        assert plan(going, NOW + 5).status is None
        suspended = status(plan(replace(going, pods=()), NOW + 9))
        assert (suspended["phase"], suspended["attempt"], suspended["restart"]["at"]) == ("Suspended", 1, rfc3339(self.at(observed)))

    def test_has_the_whole_time_to_start_again(self) -> None:
        observed = self.restarting()
        spec = {**observed.job.spec, "pendingDeadlineSeconds": 60}
        for start in (self.at(observed), NOW + 5000):
            begun = after(observed, plan(observed, start))
            begun = replace(begun, job=replace(begun.job, spec=spec), pods=(Pod(attempt=1, created=start + 1, node="").record(),))
            assert plan(begun, start + 58).deletions == ()
            assert status(plan(begun, start + 61))["failure"]["reason"] == "PendingDeadlineExceeded"

    def test_comes_later_each_time_but_within_minutes(self) -> None:
        pauses = []
        for used in range(12):
            record = job({"attempt": used, "retries": {"infrastructure": used}}, retry={"infrastructure": 50})
            found = status(plan(seen(record, evicted(Pod(attempt=used)))))
            pauses.append((timestamp(found["restart"]["at"]) or 0.0) - NOW)
        assert all(10 * 2**n * 0.8 <= pause <= 10 * 2**n * 1.2 + 1 for n, pause in enumerate(pauses[:5]))
        assert all(240 <= pause <= 361 for pause in pauses[5:])

    def test_comes_at_different_times_for_jobs_that_failed_together(self) -> None:
        at = set()
        for number in range(20):
            observed = seen(
                replace(job({"attempt": 0, "retries": {"infrastructure": 3}}, retry={"infrastructure": 9}), uid=f"uid-{number}")
            )
            observed = replace(observed, pods=(replace(evicted(Pod()), owner=f"uid-{number}").record(),))
            at.add(status(plan(observed))["restart"]["at"])
        assert len(at) > 8


class TestTheSameFailure:
    def second(self, first: RunReport, then: RunReport) -> dict[str, Any]:
        observed = seen(job(retry={"userError": 5}), Pod().ran(1, first).published(succeeded=False))
        for later in (0, 60):
            observed = after(observed, plan(observed, NOW + later))
        return status(plan(replace(observed, pods=(Pod(attempt=1).ran(1, then).published(succeeded=False).record(),)), NOW + 90))

    def test_twice_ends_the_job_whatever_is_left_of_the_budget_and_says_so(self) -> None:
        found = self.second(raised(), raised())
        assert (found["phase"], found["failure"]["reason"], found["failure"]["attempt"]) == ("Failed", "ScriptRaised", 1)
        assert "Attempt 0 ended by the same exception at the same line: it is not tried again." in found["message"]

    def test_at_another_line_is_another_failure(self) -> None:
        assert self.second(raised(), raised(line=42))["phase"] == "Restarting"

    def test_with_other_words_is_another_failure(self) -> None:
        assert self.second(raised(), raised(exception="KeyError: 'b'"))["phase"] == "Restarting"

    def test_also_of_an_exception_of_many_lines(self) -> None:
        many = raised(exception="ValueError: a\n\x1b[31mb\x1b[0m")
        assert self.second(many, many)["phase"] == "Failed"


class TestMemoryGrowth:
    RETRY = {"outOfMemory": 5, "memoryGrowth": 1.5}  # noqa: RUF012

    def memory(self, found: Plan) -> str:
        [pod] = pods(found)
        return str(pod["spec"]["containers"][0]["resources"]["limits"]["memory"])

    def test_the_limit_that_was_too_little_is_told_as_the_pod_had_it_whatever_an_admin_allows_since_then(self) -> None:
        pod = replace(Pod().fetched().ran(137, reason="OOMKilled").published(succeeded=False), memory="4Gi")
        least = CONFIGURATION.model_copy(update={"maxima": CONFIGURATION.maxima.model_copy(update={"memory": "3Gi"})})
        found = decide(seen(job(resources={"memory": "4Gi"}), pod), least, NOW)
        assert "spec.resources.memory (4Gi)" in status(found)["message"]

    def next_memory(self, retries: int, most: str = "", **retry: Any) -> str:
        admin = CONFIGURATION.model_copy(update={"retries": Retries(max_memory=most)})
        recorded = {"attempt": retries, "retries": {"outOfMemory": retries}}
        record = job(recorded, retry=self.RETRY | retry, resources={"memory": "4Gi"})
        return self.memory(decide(seen(record), admin, NOW))

    def test_gives_each_attempt_more_after_one_that_had_too_little_up_to_what_the_admin_allows(self) -> None:
        assert [self.next_memory(retries) for retries in range(3)] == ["4Gi", "6144Mi", "9216Mi"]
        assert self.next_memory(2, most="8Gi") == "8192Mi"
        assert self.next_memory(2, most="1Gi") == "4096Mi", "never less than the job asks for"
        assert self.next_memory(2, memoryGrowth=1) == "4Gi"

    def test_gives_as_much_more_shared_memory_which_is_part_of_it(self) -> None:
        record = job({"attempt": 1, "retries": {"outOfMemory": 1}}, retry=self.RETRY, resources={"memory": "4Gi", "sharedMemory": "1Gi"})
        [pod] = pods(plan(seen(record)))
        [shared] = [each for each in pod["spec"]["volumes"] if each["name"] == "shm"]
        assert (self.memory(plan(seen(record))), shared["emptyDir"]["sizeLimit"]) == ("6144Mi", "1536Mi")

    def test_is_told_with_the_retry(self) -> None:
        found = plan(seen(job(retry=self.RETRY, resources={"memory": "4Gi"}), short_of_memory(Pod())))
        assert "retry 1 of 5 of spec.retry.outOfMemory, with 6144Mi of memory" in status(found)["message"]

    def test_a_failure_names_the_limit_that_its_attempt_had(self) -> None:
        record = job({"attempt": 5, "retries": {"outOfMemory": 1}}, retry=self.RETRY | {"outOfMemory": 1}, resources={"memory": "4Gi"})
        assert "(6144Mi)" in status(plan(seen(record, short_of_memory(Pod(attempt=5)))))["message"]

    def test_is_over_where_there_is_no_more_to_be_had(self) -> None:
        admin = CONFIGURATION.model_copy(update={"retries": Retries(max_memory="6Gi")})
        record = job({"attempt": 1, "retries": {"outOfMemory": 1}}, retry=self.RETRY, resources={"memory": "4Gi"})
        found = status(decide(seen(record, short_of_memory(Pod(attempt=1))), admin, NOW))
        assert found["phase"] == "Failed"
        assert "more memory than 6144Mi is not to be had (retries.maxMemory of the chart is 6Gi)" in found["message"]

    @pytest.mark.parametrize("most", ["4Gi", "4096Mi", "2Gi"])
    def test_is_over_at_once_where_the_job_asks_for_all_there_is_in_whatever_unit(self, most: str) -> None:
        admin = CONFIGURATION.model_copy(update={"retries": Retries(max_memory=most)})
        record = job(retry=self.RETRY, resources={"memory": "4Gi"})
        assert status(decide(seen(record, short_of_memory(Pod())), admin, NOW))["phase"] == "Failed"

    @given(growth=st.floats(1, 4), times=st.integers(0, 10**6), most=st.sampled_from(["", "1Mi", "1Ti"]))
    def test_never_gives_less_and_always_a_quantity(self, growth: float, times: int, most: str) -> None:
        found = grown("4Gi", growth, times, most)
        assert found == "4Gi" or 4096 <= int(found.removesuffix("Mi")) <= 2**40


def test_of_all_attempts_the_last_eight_are_kept() -> None:
    observed = seen(job(retry={"infrastructure": 50}), evicted(Pod()))
    for number in range(1, 12):
        for later in (0, 500):
            observed = after(observed, plan(observed, NOW + 1000 * number + later))
        observed = replace(observed, pods=(evicted(Pod(attempt=number)).record(),))
    kept = status(plan(observed, NOW + 12_000))
    assert [each["attempt"] for each in kept["attempts"]] == list(range(4, 12))
    assert (kept["attempt"], kept["retries"]) == (12, {"infrastructure": 12})


HOSTILE: tuple[Any, ...] = (
    None,
    1,
    "x",
    [],
    {},
    [1],
    {"attempt": 1},
    {"attempt": "1", "at": "x"},
    {"infrastructure": -5},
    [{"attempt": 0}],
)


@pytest.mark.parametrize("value", HOSTILE, ids=str)
@pytest.mark.parametrize("field", ["restart", "retries", "attempts"])
def test_what_somebody_else_has_written_of_retries_raises_nothing(field: str, value: Any) -> None:
    observed = seen(job({"attempt": 0, field: value}, retry=ALL), evicted(Pod()))
    assert status(plan(observed))["phase"] == "Restarting"
    assert recorded.retries({field: value})[Budget.INFRASTRUCTURE] >= 0


def test_a_reason_of_the_operators_own_will_has_no_budget() -> None:
    never = {reason for reason, entry in REASONS.items() if entry.budget is None}
    assert {Reason.INVALID_SPEC, Reason.DEADLINE_EXCEEDED, Reason.PENDING_DEADLINE_EXCEEDED, Reason.NAME_CONFLICT} <= never
    assert {Reason.PREEMPTED, Reason.EVICTED, Reason.NODE_LOST, Reason.POD_DELETED}.isdisjoint(never)
    assert {REASONS[each].budget for each in (Reason.PREEMPTED, Reason.EVICTED)} == {Budget.PREEMPTION, Budget.INFRASTRUCTURE}
    assert rfc3339(CREATED).endswith("Z")
