"""What a job has tried, made of pods, of pods that are gone, and of what its status remembers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tftraining_operator.api.status import Because
from tftraining_operator.core.attempts import doubtful, history
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.decide import decide
from tftraining_operator.core.recorded import Ending
from tftraining_operator.core.records import Observed

from .given import CONFIGURATION, CREATED, POD_UID, Pod, after, job, pods, seen

NOW = CREATED + 100


SUSPENDED = [{"type": "Suspended", "status": "True", "reason": "Suspended", "lastTransitionTime": rfc3339(CREATED)}]


def suspending(since: float = CREATED + 50, reason: str = "Suspending") -> list[dict[str, str]]:
    return [{"type": "Suspended", "status": "False", "reason": reason, "lastTransitionTime": rfc3339(since)}]


CURRENT: dict[str, tuple[Observed, int]] = {
    "a new job": (seen(job({})), 0),
    "as recorded where there is no pod": (seen(job({"attempt": 3})), 3),
    "that of the pods that there are, whatever is recorded": (seen(job({"attempt": 3}), Pod(attempt=1)), 1),
    "the latest of the pods that there are": (seen(job({"attempt": 2}), Pod(attempt=0), Pod(attempt=2), Pod(attempt=1)), 2),
    "the one that comes when all pods that there are have ended": (seen(job({"attempt": 2}), Pod(attempt=1).ran().published()), 2),
    "no attempt that has not begun": (seen(job({"attempt": 1}), Pod(attempt=1), Pod(attempt=9), gone=(Pod(attempt=5),)), 1),
    "no attempt of a job that is suspended": (seen(job({"attempt": 0, "conditions": SUSPENDED}), Pod()), 0),
    "nobody else's pod": (seen(job(), replace(Pod(attempt=4), owner="somebody else")), 0),
    "no pod of another name": (seen(job(), replace(Pod(), name="iris-helper"), replace(Pod(), name="iris-chief-1")), 0),
    "no number that cannot be": (seen(job({"attempt": -4})), 0),
    "no number that no name holds": (seen(job({"attempt": 10**6})), 0),
}


@pytest.mark.parametrize(("observed", "number"), CURRENT.values(), ids=CURRENT)
def test_the_current_attempt_is(observed: Observed, number: int) -> None:
    found = history(observed)
    assert (found.current.number, found.next.number) == (number, number + 1)
    assert found.next.chief.name == f"iris-chief-0-r{number + 1}"


EXISTED: dict[str, tuple[Observed, bool]] = {
    "a new job's": (seen(job()), False),
    "of which there is a pod": (seen(job(), Pod()), True),
    "of which a pod is gone": (seen(job(), gone=(Pod(),)), True),
    "of which only the status tells": (seen(job({"pods": [{"name": "iris-chief-0"}]})), True),
    "that is being ended": (seen(job({"ending": {"attempt": 0, "because": "Suspend", "since": rfc3339(CREATED)}})), True),
}


@pytest.mark.parametrize(("observed", "existed"), EXISTED.values(), ids=EXISTED)
def test_an_attempt_has_had_a_pod(observed: Observed, existed: bool) -> None:
    assert history(observed).current.existed is existed


SINCE = CREATED + 50
ENDING: dict[str, tuple[dict[str, Any], bool]] = {
    "what the operator has begun": ({"attempt": 1, "ending": {"attempt": 1, "because": "Suspend", "since": rfc3339(SINCE)}}, True),
    "what the first versions wrote of it": ({"attempt": 1, "conditions": suspending(SINCE)}, True),
    "what is over": ({"attempt": 1, "conditions": suspending(SINCE, "Resumed")}, False),
    "another attempt": ({"attempt": 1, "ending": {"attempt": 0, "because": "Suspend", "since": rfc3339(SINCE)}}, False),
    "a reason that nobody knows": ({"attempt": 1, "ending": {"attempt": 1, "because": "Whim", "since": rfc3339(SINCE)}}, False),
    "no time": ({"attempt": 1, "ending": {"attempt": 1, "because": "Suspend", "since": "then"}}, False),
    "no mapping": ({"attempt": 1, "ending": [1]}, False),
}


@pytest.mark.parametrize(("status", "ends"), ENDING.values(), ids=ENDING)
def test_the_operator_is_remembered_to_end_the_current_attempt_by(status: dict[str, Any], ends: bool) -> None:
    found = history(seen(job(status), Pod(attempt=1)))
    assert found.ending == (Ending(1, Because.SUSPEND, SINCE) if ends else None)
    assert found.upcoming.number == (2 if ends else 1)


def test_an_attempt_is_alive_while_anything_of_a_pod_may_run() -> None:
    going_on, ended = (Pod(), Pod().running(), Pod().ran()), (Pod().ran().published(), Pod().fetched(exit_code=1))
    assert all(history(seen(job(), pod)).current.alive for pod in going_on)
    assert not any(history(seen(job(), pod)).current.alive for pod in ended)
    assert not history(seen(job(), gone=(Pod().running(),))).current.alive


def test_all_pods_of_the_job_are_deleted_that_are_not_on_their_way_out() -> None:
    tried = (Pod(attempt=0), replace(Pod(attempt=1), deleted=NOW), Pod(attempt=2), replace(Pod(attempt=3), owner="x"))
    found = history(seen(job({"attempt": 2}), *tried))
    assert [item.name for item in found.deletions()] == ["iris-chief-0-r2", "iris-chief-0"]


def test_the_server_is_asked_for_what_nobody_has_seen_and_for_whatever_has_no_right_to_its_name() -> None:
    told: dict[str, Any] = {"pods": [{"name": "iris-chief-0"}, {"name": "other-chief-0"}, {"name": 3}]}
    assert doubtful(seen(job(told))) == {"iris-chief-0": ""}
    assert doubtful(seen(job(told), Pod())) == {}
    assert doubtful(seen(job(told), gone=(Pod(),))) == {}
    assert doubtful(seen(job(), replace(Pod(), owner=None))) == {"iris-chief-0": POD_UID}


def test_of_many_strangers_the_server_is_asked_for_the_one_that_is_in_the_way() -> None:
    strangers = [replace(Pod(), owner="somebody else", name=f"iris-{number}") for number in range(300)]
    assert doubtful(seen(job(), *strangers)) == {}
    assert doubtful(seen(job(), Pod().running(), *strangers, replace(Pod(attempt=1), owner="somebody else"))) == {}
    assert doubtful(seen(job(), *strangers, replace(Pod(), owner="somebody else"))) == {"iris-chief-0": POD_UID}


class TestAPodThatSomebodyHasGivenOurOwner:
    """Who may create pods in a namespace may name any owner: no attempt has begun by that."""

    FORGED = replace(Pod(attempt=9), states=Pod(attempt=9).ran().published().states)

    def test_neither_supersedes_the_attempt_that_runs_nor_succeeds_for_it_and_goes(self) -> None:
        observed = seen(job({"attempt": 0}), Pod().running(), self.FORGED)
        found = decide(observed, CONFIGURATION, NOW)
        assert (found.rule, [item.name for item in found.deletions]) == ("running", ["iris-chief-0-r9"])
        observed = after(observed, found)
        going = replace(self.FORGED, deleted=NOW)
        later = decide(replace(observed, pods=(Pod().running().record(), going.record())), CONFIGURATION, NOW)
        assert (later.rule, later.deletions, later.status) == ("running", (), None)

    def test_is_no_success_of_a_job_that_is_suspended(self) -> None:
        forged = Pod().ran().published()
        found = decide(seen(job({"attempt": 0, "conditions": SUSPENDED}, suspend=True), forged), CONFIGURATION, NOW)
        assert ([item.name for item in found.deletions], (found.status or {})["phase"]) == (["iris-chief-0"], "Suspended")

    @pytest.mark.parametrize("will", ["stop", "suspend"])
    def test_keeps_nobody_from_ending_the_job_however_long_it_stays(self, will: str) -> None:
        observed = seen(job({"attempt": 0}, **{will: True}), replace(self.FORGED, deleted=NOW))
        assert (decide(observed, CONFIGURATION, NOW).status or {})["phase"] == {"stop": "Stopped", "suspend": "Suspended"}[will]

    def test_counts_for_nothing_when_it_is_gone(self) -> None:
        assert history(seen(job({"attempt": 0}), gone=(self.FORGED,))).current.number == 0


class TestASuspensionThatTheFirstVersionsHaveBegun:
    """An upgrade finds a pod that its predecessor has deleted: a condition alone remembers who did."""

    STATUS: dict[str, Any] = {  # noqa: RUF012
        "observedGeneration": 2,
        "phase": "Running",
        "attempt": 0,
        "conditions": [
            {"type": "Running", "status": "True", "reason": "Suspending", "lastTransitionTime": rfc3339(CREATED + 4)},
            *suspending(),
        ],
        "pods": [{"name": "iris-chief-0", "phase": "Running", "node": "node-a"}],
    }

    def test_ends_in_a_suspended_job(self) -> None:
        found = decide(seen(job(self.STATUS, suspend=True), gone=(replace(Pod().ran(143), deleted=NOW),)), CONFIGURATION, NOW)
        assert found.status is not None
        assert (found.status["phase"], found.status["attempt"]) == ("Suspended", 1)

    def test_and_taken_back_midway_in_the_next_attempt(self) -> None:
        going = replace(Pod().running(), deleted=NOW + 30)
        assert decide(seen(job(self.STATUS), going), CONFIGURATION, NOW).creates == ()
        gone = seen(job(self.STATUS))
        found = decide(after(gone, decide(gone, CONFIGURATION, NOW)), CONFIGURATION, NOW)
        assert [pod["metadata"]["name"] for pod in pods(found)] == ["iris-chief-0-r1"]

    def test_also_where_that_has_a_pod_already_of_which_the_status_does_not_tell(self) -> None:
        found = decide(seen(job(self.STATUS), Pod(attempt=1).running(CREATED + 60)), CONFIGURATION, NOW)
        assert found.status is not None
        assert (found.status["phase"], found.status["attempt"], found.deletions) == ("Running", 1, ())


def test_a_resume_that_the_first_versions_have_begun_keeps_its_pod() -> None:
    status = {"observedGeneration": 2, "phase": "Suspended", "attempt": 1, "conditions": SUSPENDED}
    found = decide(seen(job(status), Pod(attempt=1).running(CREATED + 60)), CONFIGURATION, NOW)
    assert found.status is not None
    assert (found.status["phase"], found.status["attempt"], found.deletions) == ("Running", 1, ())


def test_a_suspension_that_a_silent_node_holds_up_says_so_and_is_still_a_suspension() -> None:
    observed = seen(job(suspend=True), Pod().running())
    observed = after(observed, decide(observed, CONFIGURATION, NOW))
    observed = replace(observed, pods=(replace(Pod().running(), deleted=NOW + 30).record(),))
    early = decide(observed, CONFIGURATION, NOW + 40)
    assert (early.status, early.requeue_at) == (None, NOW + 90)
    late = decide(observed, CONFIGURATION, NOW + 90)
    assert late.status is not None
    assert "does not answer" in late.status["message"]
    assert late.status["ending"]["because"] == "Suspend"
    assert [(event.reason, event.topic) for event in late.events] == [("NodeLost", "lost")]
    assert decide(after(observed, late), CONFIGURATION, NOW + 95).status is None


def test_who_ends_an_attempt_is_written_with_the_plan_that_deletes_its_pod_and_forgotten_when_it_is_gone() -> None:
    observed = seen(job(suspend=True), Pod().running())
    found = decide(observed, CONFIGURATION, NOW)
    assert len(found.deletions) == 1
    assert found.status is not None
    assert found.status["ending"] == {"attempt": 0, "because": "Suspend", "since": rfc3339(NOW)}
    again = after(observed, found)
    assert decide(again, CONFIGURATION, NOW + 5).status is None, "since when does not change"
    suspended = decide(replace(again, pods=()), CONFIGURATION, NOW + 9).status
    assert suspended is not None
    assert "ending" not in suspended
