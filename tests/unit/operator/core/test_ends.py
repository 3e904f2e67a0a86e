"""An end is believed by its shape, whatever the words: a finished job never runs again, also not after a rollback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.decide import decide
from tftraining_operator.core.records import Deletion, Plan

from .given import CONFIGURATION, CREATED, POD_UID, Pod, job, seen

NOW = CREATED + 3600
ENDS: dict[str, dict[str, Any]] = yaml.load((Path(__file__).parent / "golden" / "ends.yaml").read_text(), yaml.CSafeLoader)
FINISHED = Plan(rule="finished")


@pytest.fixture(params=ENDS.values(), ids=list(ENDS))
def end(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


def pod_of(end: dict[str, Any]) -> Pod:
    """Return the pod as such an end leaves it, with a manifest somewhere."""
    attempt = end.get("attempt", 0)
    if end["phase"] == "Succeeded":
        return Pod(attempt=attempt).ran().published(manifest_uri=end.get("outputs", {}).get("manifest", "s3://bucket/elsewhere"))
    return Pod(attempt=attempt).ran(exit_code=1).published(succeeded=False)


def test_a_finished_job_gets_no_pod_and_no_other_status(end: dict[str, Any]) -> None:
    pod = pod_of(end)
    assert decide(seen(job(end)), CONFIGURATION, NOW) == FINISHED
    assert decide(seen(job(end), pod), CONFIGURATION, NOW) == FINISHED
    assert decide(seen(job(end), gone=(replace(pod, deleted=NOW),)), CONFIGURATION, NOW) == FINISHED
    assert decide(seen(job(end, suspend=True), pod), CONFIGURATION, NOW) == FINISHED
    assert decide(seen(job(end, runtime="tf3")), CONFIGURATION, NOW) == FINISHED


def test_it_keeps_its_words_when_its_spec_is_changed(end: dict[str, Any]) -> None:
    assert decide(seen(job(end, generation=2)), CONFIGURATION, NOW).status == {**end, "observedGeneration": 2}


def test_a_pod_that_runs_on_contradicts_it(end: dict[str, Any]) -> None:
    found = decide(seen(job(end), Pod(attempt=end.get("attempt", 0)).running()), CONFIGURATION, NOW)
    assert found.status is not None
    assert found.status["phase"] == "Running"


def test_a_pod_that_was_made_after_it_is_somebody_elses_and_contradicts_nothing(end: dict[str, Any]) -> None:
    late = Pod(attempt=end.get("attempt", 0), created=NOW - 60)
    for pod in (late.running(), late.ran().published(), late.ran(exit_code=1).published(succeeded=False)):
        assert decide(seen(job(end), pod), CONFIGURATION, NOW).status is None


def test_a_pod_that_failed_contradicts_a_success_and_one_that_succeeded_a_failure_and_none_that_ended_a_stop(end: dict[str, Any]) -> None:
    attempt = end.get("attempt", 0)
    failed, succeeded = Pod(attempt=attempt).ran(exit_code=1).published(succeeded=False), Pod(attempt=attempt).ran().published()
    if end["phase"] == "Stopped":
        assert [decide(seen(job(end), pod), CONFIGURATION, NOW) for pod in (failed, succeeded)] == [FINISHED, FINISHED]
        return
    found = decide(seen(job(end), failed if end["phase"] == "Succeeded" else succeeded), CONFIGURATION, NOW)
    assert found.status is not None
    assert {found.status["phase"], end["phase"]} == {"Succeeded", "Failed"}


def test_the_operators_own_end_stands_while_the_pod_still_goes() -> None:
    end = ENDS["failed, as the first version writes it"]
    late = {**end, "failure": {"cause": "Deadline", "reason": "DeadlineExceeded"}}
    assert decide(seen(job(late), Pod().running()), CONFIGURATION, NOW) == replace(FINISHED, deletions=(Deletion("iris-chief-0", POD_UID),))


AT = rfc3339(CREATED + 5)


def conditions(*types: str) -> list[dict[str, str]]:
    return [{"type": kind, "status": "True", "reason": "Published", "lastTransitionTime": AT} for kind in types]


NO_ENDS: dict[str, dict[str, Any]] = {
    "no time": {"conditions": conditions("Succeeded", "Finished")},
    "a time that is none": {"conditions": conditions("Succeeded", "Finished"), "completionTime": "then"},
    "no Finished": {"conditions": conditions("Succeeded"), "completionTime": AT},
    "neither of the pair": {"conditions": conditions("Finished"), "completionTime": AT},
    "both of the pair": {"conditions": conditions("Succeeded", "Failed", "Finished"), "completionTime": AT},
    "a word alone": {"phase": "Succeeded", "completionTime": AT},
}


@pytest.mark.parametrize("status", NO_ENDS.values(), ids=NO_ENDS)
def test_what_is_not_whole_is_no_end(status: dict[str, Any]) -> None:
    assert decide(seen(job(status)), CONFIGURATION, NOW).creates != ()
