"""A job that is stopped: its pods go, no attempt follows, and the end says what became of its outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Failure, Reason, RunReport
from tftraining_operator.api.status import Phase
from tftraining_operator.core import claims
from tftraining_operator.core.decide import decide
from tftraining_operator.core.records import Observed, Plan

from .given import CONFIGURATION, CREATED, POD_UID, UID, Pod, after, job, seen

NOW = CREATED + 100
LOGS = f"s3://bucket/{contract.run_prefix('team-a', 'iris', UID, 0)}logs/"
MANIFEST = f"s3://bucket/{contract.run_prefix('team-a', 'iris', UID, 0)}manifest.json"
TOLD = RunReport(exit_code=143, failure=Failure(reason=Reason.TERMINATED, message="The script was asked to stop."), killed=True)
FETCHED = Pod().fetched(contract.FetchReport(logs_uri=LOGS))


def plan(observed: Observed, now: float = NOW) -> Plan:
    return decide(observed, CONFIGURATION, now)


def done(observed: Observed, now: float = NOW) -> Observed:
    return after(observed, plan(observed, now))


def willed(observed: Observed, **will: bool) -> Observed:
    return replace(observed, job=replace(observed.job, spec={**observed.job.spec, **will}))


def conditions(status: Any) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def stopping(pod: Pod, **spec: Any) -> Observed:
    """Return a job whose pod was told to go, and is going."""
    return replace(done(seen(job(stop=True, **spec), pod)), pods=(replace(pod, deleted=NOW + 60).record(),))


def end(observed: Observed, pod: Pod) -> Plan:
    """Return the plan for a job whose pod has gone, and was last seen like this."""
    return plan(replace(observed, pods=(), gone=(replace(pod, deleted=NOW + 60).record(),)))


ALIVE = {"waiting": Pod(), "fetching": Pod().fetching(), "running": Pod().running(), "publishing": Pod().ran()}


@pytest.mark.parametrize("pod", ALIVE.values(), ids=ALIVE)
def test_its_pod_is_deleted_gently_and_once_and_why_is_written_before(pod: Pod) -> None:
    found = plan(seen(job(stop=True), pod))
    assert [(gone.name, gone.uid) for gone in found.deletions] == [("iris-chief-0", POD_UID)]
    assert found.status is not None
    assert (found.status["phase"], found.status["ending"]["because"]) == ("Stopping", "Stop")
    told = conditions(found.status)
    assert (told["Stopped"], told["Reconciling"]) == (("False", "Stopping"), ("True", "Stopping"))
    assert not {"Finished", "Failed", "Stalled", "Suspended"} & set(told)
    going = plan(stopping(pod))
    assert (going.deletions, going.status, going.creates) == ((), None, ())


GONE = FETCHED.ran(143, TOLD).published(succeeded=False, failure=TOLD.failure)
DENIED = Failure(reason=Reason.STORAGE_DENIED, message="writing to bucket was denied", hint="correct the Secret")
ENDS: dict[str, tuple[Pod, str, str]] = {
    "at once": (GONE, "Stopped", f"The job was stopped: its script ended with exit code 143. What it published is listed in {MANIFEST}."),
    "in its own way": (
        FETCHED.ran(1, RunReport(exit_code=1)).published(succeeded=False),
        "Stopped",
        f"The job was stopped: its script ended with exit code 1. What it published is listed in {MANIFEST}.",
    ),
    "killed after its grace period": (
        FETCHED.ran(137, msgspec.structs.replace(TOLD, exit_code=137)).published(succeeded=False),
        "ForceStopped",
        f"The job was stopped by force: its script did not end within 30 s, and was killed. What it published is listed in {MANIFEST}.",
    ),
    "killed for want of memory meanwhile": (
        FETCHED.ran(137, reason="OOMKilled").published(succeeded=False),
        "ForceStopped",
        f"The job was stopped by force: its script was killed (exit code 137). What it published is listed in {MANIFEST}.",
    ),
    "killed while it published": (
        FETCHED.ran(143, TOLD).container("publisher", terminated={"exitCode": 137, "reason": "Error"}),
        "ForceStopped",
        "The job was stopped by force: nobody has seen pod iris-chief-0 publish what the script wrote. "
        f"What it left, if anything, is beside {LOGS}.",
    ),
    "without a manifest and without a word why": (
        FETCHED.ran(143, TOLD).published(succeeded=False, manifest_uri=""),
        "ForceStopped",
        "The job was stopped by force: nobody has seen pod iris-chief-0 publish what the script wrote. "
        f"What it left, if anything, is beside {LOGS}.",
    ),
    "out of sight": (
        FETCHED.running(),
        "ForceStopped",
        "The job was stopped by force: nobody has seen pod iris-chief-0 publish what the script wrote. "
        f"What it left, if anything, is beside {LOGS}.",
    ),
    "unpublished": (
        FETCHED.ran(143, TOLD).published(exit_code=1, succeeded=False, manifest_uri="", failure=DENIED),
        "StopFailed",
        "The job was stopped, but what it wrote could not be published. Writing to bucket was denied. Correct the Secret.",
    ),
    "before its script had started": (
        Pod().fetched(exit_code=143),
        "Stopped",
        "The job was stopped before its script had started. Nothing was published.",
    ),
    "before it had a node": (Pod(node=""), "Stopped", "The job was stopped before its script had started. Nothing was published."),
}


FORGOTTEN = {"exitCode": 137, "reason": "ContainerStatusUnknown"}


@pytest.mark.parametrize(
    "pod",
    [
        replace(FETCHED, phase="Failed").container("trainer", terminated=FORGOTTEN).container("publisher", terminated=FORGOTTEN),
        Pod(phase="Failed", reason="Evicted"),
    ],
    ids=["a node that started anew", "an eviction"],
)
def test_a_script_that_ran_as_the_status_knows_was_stopped_by_force_though_its_pod_has_forgotten_that(pod: Pod) -> None:
    observed = done(seen(job(), FETCHED.running()))
    observed = done(willed(observed, stop=True))
    assert observed.job.status["runningTime"]
    found = end(observed, pod).status
    assert found is not None
    assert found["stop"] == {"reason": "ForceStopped"}
    assert found["message"].startswith("The job was stopped by force: nobody has seen pod iris-chief-0 publish what the script wrote.")


def test_a_job_whose_script_never_started_was_stopped_whatever_its_publisher_says() -> None:
    never = FETCHED.container("trainer", terminated={"exitCode": 137, "reason": "ContainerCannotRun"})
    found = end(stopping(Pod()), never.published(exit_code=1, succeeded=False, manifest_uri="", failure=DENIED)).status
    assert found is not None
    message = "The job was stopped before its script had started. Nothing was published."
    assert (found["stop"], found["message"]) == ({"reason": "Stopped"}, message)


@pytest.mark.parametrize("will", ["stop", "suspend"])
def test_a_pod_that_only_lost_its_label_is_told_to_go_by_its_uid(will: str) -> None:
    observed = done(seen(job(), Pod().running()))
    hidden = willed(replace(observed, pods=(), gone=(Pod().running().record(),)), **{will: True})
    found = plan(hidden)
    assert found.status is not None
    its = [("iris-chief-0", POD_UID)]
    assert (found.status["phase"], [(item.name, item.uid) for item in found.deletions]) == (
        "Stopping" if will == "stop" else "Running",
        its,
    )
    told = after(hidden, found)
    again = plan(told, NOW + 5)
    assert ([(item.name, item.uid) for item in again.deletions], again.status) == (its, None), "until the server says that it is gone"
    gone = replace(told, gone=(replace(told.gone[0], absent=True),))
    ended = plan(gone, NOW + 9).status
    assert ended is not None
    assert ended["phase"] == ("Stopped" if will == "stop" else "Suspended")


def test_a_pod_that_only_lost_its_label_does_not_outlive_the_end_of_its_job() -> None:
    failed = done(seen(job(retry={"infrastructure": 0}), gone=(Pod().running(),)))
    assert failed.job.status["phase"] == "Failed"
    assert [item.name for item in plan(failed, NOW + 60).deletions] == ["iris-chief-0"]
    assert plan(replace(failed, gone=(replace(failed.gone[0], absent=True),)), NOW + 60).deletions == ()


@pytest.mark.parametrize(("pod", "reason", "message"), ENDS.values(), ids=ENDS)
def test_the_end_says_how_it_came_and_where_the_outputs_are(pod: Pod, reason: str, message: str) -> None:
    started = any(name == contract.TRAINER for name, _ in pod.states)
    found = end(stopping(Pod().running() if started else Pod()), pod)
    assert found.status is not None
    assert (found.status["phase"], found.status["stop"], found.status["message"]) == ("Stopped", {"reason": reason}, message)
    assert [(each.type, each.reason, each.message) for each in found.events] == [
        ("Normal" if reason == "Stopped" else "Warning", reason, message)
    ]


def test_an_end_has_the_shape_that_every_version_believes_and_is_no_failure_beside_that() -> None:
    observed = stopping(Pod().running())
    found = end(observed, GONE)
    assert found.status is not None
    told = conditions(found.status)
    assert told == dict.fromkeys(("Failed", "Stopped", "Finished"), ("True", "Stopped")) | {"Accepted": ("True", "Accepted")}
    assert not {"failure", "postMortem", "ending", "pending"} & set(found.status)
    assert found.status["outputs"]["manifest"] == MANIFEST
    assert found.status["usage"]["runningSeconds"] > 0
    assert "wastedSeconds" not in found.status["usage"]
    ended = after(observed, found)
    assert claims.end(ended.job) is Phase.STOPPED
    assert plan(replace(ended, pods=()), NOW + 10_000) == Plan(rule="finished")


def test_a_pod_that_has_ended_is_judged_before_it_is_gone() -> None:
    observed = stopping(Pod().running())
    found = plan(replace(observed, pods=(replace(GONE, deleted=NOW + 60).record(),)))
    assert found.status is not None
    assert (found.status["phase"], found.deletions) == ("Stopped", ())


def test_a_pod_that_ends_between_the_word_and_its_deletion_is_judged_and_stays_for_its_log() -> None:
    found = plan(replace(stopping(Pod().running()), pods=(GONE.record(),)))
    assert found.status is not None
    assert (found.status["phase"], found.deletions) == ("Stopped", ())


def test_one_that_nobody_saw_end_is_told_as_that() -> None:
    found = plan(replace(stopping(FETCHED.running()), pods=()))
    assert found.status is not None
    assert found.status["stop"] == {"reason": "ForceStopped"}
    message = "The job was stopped, and nobody has seen how pod iris-chief-0 ended. What it left, if anything, is beside"
    assert found.status["message"] == f"{message} {LOGS}."
    assert found.status["logs"] == {"uri": LOGS}


def test_on_a_node_that_does_not_answer_the_job_says_so_and_goes_on_stopping() -> None:
    observed = stopping(Pod().running())
    found = plan(observed, NOW + 60 + 61)
    assert found.status is not None
    assert (found.status["phase"], conditions(found.status)["Running"]) == ("Stopping", ("Unknown", "NodeLost"))
    assert found.status["ending"]["because"] == "Stop"
    assert found.status["message"].endswith(". The job is stopped when the node is back, or is removed from the cluster.")


@pytest.mark.parametrize(
    ("pod", "what"), [(None, "attempt 1"), (replace(Pod(attempt=1, node=""), phase="Failed", deleted=NOW), "the script of attempt 1")]
)
def test_a_later_attempt_that_never_ran_says_where_the_earlier_ones_have_left_theirs(pod: Pod | None, what: str) -> None:
    earlier = {"attempt": 0, "reason": "Evicted", "logs": LOGS}
    for attempts, left in (
        ([earlier], f"What attempt 0 left, if anything, is beside {LOGS}"),
        ([], "What earlier attempts have published stays"),
    ):
        begun = {"attempt": 1, "attempts": attempts, "restart": {"attempt": 1, "at": "2027-01-15T08:00:00Z", "begun": True}}
        found = plan(seen(job(begun, stop=True), *([pod] if pod is not None else [])))
        assert found.status is not None
        assert found.status["message"] == f"The job was stopped before {what} had started. {left}."


def test_a_script_that_came_to_its_own_end_before_has_ended_as_it_has() -> None:
    raised = RunReport(exit_code=1, failure=Failure(reason=Reason.SCRIPT_RAISED, message="KeyError"))
    for pod, phase in ((Pod().ran().published(), "Succeeded"), (Pod().ran(1, raised).published(succeeded=False), "Failed")):
        found = plan(seen(job(stop=True), pod)).status
        assert found is not None
        assert found["phase"] == phase


def test_one_that_succeeds_while_it_is_being_stopped_has_succeeded() -> None:
    found = end(stopping(Pod().running()), Pod().ran().published()).status
    assert found is not None
    assert found["phase"] == "Succeeded"


class TestRetriesStopAtOnce:
    EVICTED = replace(Pod().ran(143, TOLD).published(succeeded=False), phase="Failed").condition(
        "DisruptionTarget", "True", "EvictionByEvictionAPI"
    )

    def test_an_attempt_that_would_be_tried_again_is_the_last(self) -> None:
        found = plan(seen(job(stop=True, retry={"infrastructure": 3}), self.EVICTED)).status
        assert found is not None
        assert (found["phase"], found.get("retries"), found["attempt"]) == ("Stopped", None, 0)

    def test_also_while_the_job_waits_for_the_next_one(self) -> None:
        waits = done(seen(job(retry={"infrastructure": 3}), self.EVICTED))
        assert (waits.job.status["phase"], waits.job.status["attempt"]) == ("Restarting", 1)
        for observed in (waits, replace(waits, pods=())):
            found = plan(willed(observed, stop=True), NOW + 500)
            assert found.status is not None
            assert (found.status["phase"], found.status["attempt"], found.status["stop"]) == ("Stopped", 0, {"reason": "Stopped"})
            message = "The job was stopped before attempt 1 had started. What attempt 0 published is listed in"
            assert found.status["message"] == f"{message} {MANIFEST}."
            assert "restart" not in found.status
            assert found.status["outputs"]["manifest"] == MANIFEST
            assert found.status["completionTime"] == "2027-01-15T08:10:00Z", "it ended when it was stopped"
            assert plan(after(willed(observed, stop=True), found), NOW + 600).rule == "finished"

    def test_what_somebody_passes_off_as_the_attempt_that_never_began_is_no_end_of_it(self) -> None:
        waits = done(seen(job(retry={"infrastructure": 3}), self.EVICTED))
        ended = done(willed(replace(waits, pods=()), stop=True))
        forged = Pod(attempt=1).ran().published()
        assert plan(replace(ended, pods=(forged.record(),))).rule == "finished"


def test_a_pod_of_the_last_attempt_that_is_there_again_while_a_retry_waits_is_stopped_as_that_attempt() -> None:
    waits = {"attempt": 2, "phase": "Restarting", "restart": {"attempt": 2, "at": "2027-01-15T09:00:00Z"}}
    observed = seen(job(waits, stop=True), Pod(attempt=1).running())
    told = plan(observed)
    assert told.status is not None
    assert (told.status["phase"], told.status["attempt"], told.status["ending"]["attempt"]) == ("Stopping", 1, 1)
    gone = replace(Pod(attempt=1).ran(143, TOLD).published(succeeded=False), deleted=NOW + 60)
    found = plan(replace(after(observed, told), pods=(), gone=(gone.record(),))).status
    assert found is not None
    assert (found["phase"], found["attempt"], found["stop"], "restart" in found) == ("Stopped", 1, {"reason": "Stopped"}, False)


class TestAgainstSuspend:
    def test_a_job_that_is_created_stopped_never_starts(self) -> None:
        for suspend in (False, True):
            found = plan(seen(job(stop=True, suspend=suspend)))
            assert found.creates == ()
            assert found.status is not None
            assert (found.status["phase"], found.status["attempt"]) == ("Stopped", 0)
            assert found.status["message"] == "The job was stopped before it had started. Nothing was published."
            assert plan(after(seen(job(stop=True)), found)).rule == "finished"

    def test_a_suspended_job_ends_with_what_its_attempts_have_published(self) -> None:
        suspending = done(seen(job(suspend=True), FETCHED.running()))
        suspended = done(replace(suspending, pods=(), gone=(replace(GONE, deleted=NOW + 60).record(),)))
        assert suspended.job.status["phase"] == "Suspended"
        for observed in (suspended, replace(suspended, gone=()), willed(suspended, suspend=False)):
            found = plan(willed(observed, stop=True)).status
            assert found is not None
            assert (found["phase"], found["attempt"], found["outputs"]["manifest"]) == ("Stopped", 0, MANIFEST)
            assert "before attempt 1 had started" in found["message"]
            assert "Suspended" not in conditions(found)
            assert found["usage"] == suspended.job.status["usage"], "counted once"

    def test_stop_beats_a_suspension_that_is_under_way(self) -> None:
        suspending = done(seen(job(suspend=True), Pod().running()))
        going = replace(willed(suspending, stop=True), pods=(replace(Pod().running(), deleted=NOW + 60).record(),))
        found = plan(going)
        assert found.status is not None
        assert (found.status["phase"], found.status["ending"]["because"], found.deletions) == ("Stopping", "Stop", ())
        assert "Suspended" not in conditions(found.status)
        assert plan(after(going, found)).status is None
        ended = end(after(going, found), GONE).status
        assert ended is not None
        assert ended["phase"] == "Stopped"


@pytest.mark.parametrize("pod", [Pod().ran().published(), Pod().ran(1).published(succeeded=False)], ids=["succeeded", "failed"])
def test_a_job_that_has_ended_stays_as_it_is(pod: Pod) -> None:
    ended = done(seen(job(), pod))
    assert plan(willed(ended, stop=True)) == Plan(rule="finished")


def test_a_stopped_job_and_its_pods_go_when_their_time_has_come() -> None:
    observed = replace(stopping(Pod().running(), ttlSecondsAfterFinished=600, podRetentionSeconds=60), pods=(GONE.record(),))
    ended = done(observed)
    assert ended.job.status["phase"] == "Stopped"
    found = plan(ended, CREATED + 61 + 60)
    assert ([item.name for item in found.deletions], found.expires) == (["iris-chief-0"], False)
    assert plan(replace(ended, pods=()), CREATED + 61 + 600).expires


def test_a_pod_that_runs_on_contradicts_a_stop_and_is_stopped_too() -> None:
    ended = done(seen(job(stop=True)))
    found = plan(replace(ended, pods=(Pod().running().record(),)))
    assert found.status is not None
    assert (found.status["phase"], [item.name for item in found.deletions]) == ("Stopping", ["iris-chief-0"])
    assert "stop" not in found.status
