"""What a job has used, counted once for each attempt, and what it should ask for next time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tftrainer.messages.contract import Failure, Reason, RunReport, Usage
from tftraining_operator.core.decide import decide

from .given import CONFIGURATION, CREATED, Pod, job, seen

MIB = 1024**2


def ended(memory: int | None = None, reason: Reason | None = None, attempt: int = 0) -> Pod:
    """Return a pod that was created after a second, fetched for one, ran, published, and has told what it used."""
    failure = Failure(reason=reason, message="why") if reason is not None else None
    told = RunReport(exit_code=1 if failure else 0, failure=failure, usage=Usage(cpu_seconds=1.5, memory=memory))
    return Pod(attempt).ran(told.exit_code, told).published(succeeded=failure is None)


def used(pod: Pod, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    plan = decide(seen(job(status, **spec), pod), CONFIGURATION, CREATED + 100)
    assert plan.status is not None
    return dict(plan.status["usage"])


def test_the_seconds_of_a_job_are_told_by_what_it_did_and_times_what_it_held() -> None:
    found = used(ended(), resources={"cpu": "500m", "gpus": 2})
    held = found["fetchingSeconds"] + found["runningSeconds"] + found["publishingSeconds"]
    assert found["queuedSeconds"] == 2
    assert found["runningSeconds"] > 0
    assert (found["gpuSeconds"], found["cpuSeconds"]) == (2 * held, round(held / 2))
    assert "wastedSeconds" not in found


def test_what_a_failed_attempt_held_was_wasted() -> None:
    found = used(ended(reason=Reason.SCRIPT_RAISED), resources={"cpu": 3, "gpus": 2})
    held = found["fetchingSeconds"] + found["runningSeconds"] + found["publishingSeconds"]
    assert (found["wastedSeconds"], found["wastedGpuSeconds"], found["wastedCpuSeconds"]) == (held, 2 * held, 3 * held)


def test_an_attempt_is_counted_once_however_often_it_is_looked_at() -> None:
    plan = decide(seen(job(), ended()), CONFIGURATION, CREATED + 100)
    assert plan.status is not None
    again = {field: value for field, value in plan.status.items() if field not in {"conditions", "completionTime"}}
    assert used(ended(), again) == plan.status["usage"]


def test_a_later_attempt_is_added_to_those_before_it() -> None:
    before = {"attempts": 1, "queuedSeconds": 100, "runningSeconds": 1000, "wastedSeconds": 1000, "peakMemory": 7 * MIB}
    one, found = used(ended()), used(ended(attempt=1), {"attempt": 1, "usage": before})
    assert found["attempts"] == 2
    assert found["runningSeconds"] == 1000 + one["runningSeconds"]
    assert found["queuedSeconds"] == 100 + 1
    assert (found["wastedSeconds"], found["peakMemory"]) == (1000, 7 * MIB)


def test_an_attempt_that_is_tried_again_is_in_the_figures_from_then_on_and_its_post_mortem_stays_meanwhile() -> None:
    spec: dict[str, Any] = {"retry": {"userError": 1}}
    first = ended(reason=Reason.SCRIPT_RAISED).published(succeeded=False, post_mortem_uri="s3://bucket/0/post-mortem.json")
    plan = decide(seen(job(**spec), first), CONFIGURATION, CREATED + 100)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["usage"]["attempts"], plan.status["usage"]["wastedSeconds"]) == ("Restarting", 1, 59)
    begun = decide(seen(job(dict(plan.status), **spec), first), CONFIGURATION, CREATED + 500)
    assert begun.status is not None
    running = decide(seen(job(dict(begun.status), **spec), first, Pod(1).running()), CONFIGURATION, CREATED + 500)
    assert running.status is not None
    assert running.status["usage"] == plan.status["usage"]
    assert running.status["postMortem"]["uri"] == "s3://bucket/0/post-mortem.json"
    assert running.status["postMortem"]["attempt"] == 0


@pytest.mark.parametrize("written", [7, {"attempts": -1}, {"attempts": "one"}, {"runningSeconds": 2**80}, {"peakMemory": [1]}, [], None])
def test_figures_that_somebody_has_written_do_no_harm(written: Any) -> None:
    assert used(ended(), {"usage": written})["attempts"] >= 1


@pytest.mark.parametrize(
    ("peak", "reason", "told"),
    [
        (100 * MIB, None, "128Mi of spec.resources.memory would do: the script held 100Mi of 2Gi at the most."),
        (1000 * MIB, None, "1280Mi of spec.resources.memory would do: the script held 1000Mi of 2Gi at the most."),
        (1024 * MIB, None, ""),
        (1843 * MIB, None, ""),
        (1900 * MIB, None, "Ask for 2432Mi of spec.resources.memory: the script held 1900Mi of 2Gi at the most, which leaves no room."),
        (None, None, ""),
        (0, None, ""),
        (2048 * MIB, Reason.OUT_OF_MEMORY, "Ask for more than 2Gi of spec.resources.memory: that was not enough."),
        (100 * MIB, Reason.SCRIPT_RAISED, "128Mi of spec.resources.memory would do: the script held 100Mi of 2Gi at the most."),
    ],
)
def test_memory_that_was_asked_for_too_much_or_too_little_of_is_told(peak: int | None, reason: Reason | None, told: str) -> None:
    assert used(ended(peak, reason), resources={"memory": "2Gi"}).get("advice", "") == told


def test_a_job_that_has_not_ended_has_no_figures() -> None:
    plan = decide(seen(job(), Pod().running()), CONFIGURATION, CREATED + 100)
    assert plan.status is not None
    assert "usage" not in plan.status


def test_the_post_mortem_of_a_failure_says_where_it_lies_and_what_the_pods_status_said() -> None:
    pod = replace(ended(reason=Reason.SCRIPT_RAISED), phase="Failed").condition(
        "DisruptionTarget", "True", "EvictionByEvictionAPI", "drained"
    )
    pod = pod.published(succeeded=False, post_mortem_uri="s3://bucket/post-mortem.json")
    plan = decide(seen(job(), pod), CONFIGURATION, CREATED + 100)
    assert plan.status is not None
    found = plan.status["postMortem"]
    assert (found["attempt"], found["uri"]) == (0, "s3://bucket/post-mortem.json")
    assert any(each.startswith("container trainer ended with exit code 1") for each in found["evidence"])
    assert "condition DisruptionTarget is True (EvictionByEvictionAPI): drained" in found["evidence"]


def test_where_nobody_was_left_to_write_one_the_evidence_of_the_operator_is_the_post_mortem() -> None:
    secret = "hunter2hunter2"
    pod = replace(Pod().running(), phase="Failed", reason="NodeLost", message=f"--password={secret}", deleted=CREATED + 50)
    plan = decide(seen(job(args=[f"--password={secret}"]), pod), CONFIGURATION, CREATED + 100)
    assert plan.status is not None
    found = plan.status["postMortem"]
    assert "uri" not in found
    assert any("NodeLost" in each for each in found["evidence"])
    assert secret not in str(plan.status)


def test_a_job_that_succeeds_has_none() -> None:
    plan = decide(seen(job(), ended()), CONFIGURATION, CREATED + 100)
    assert plan.status is not None
    assert "postMortem" not in plan.status
