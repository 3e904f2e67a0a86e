"""What Helm 4 and Flux take a job for.

Under way until it runs, or while it is stopped; right when it runs, rests, was stopped or has succeeded; failed when it has.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tftrainer.messages import contract
from tftraining_operator.api.status import Phase

from .kstatus import CURRENT, FAILED, IN_PROGRESS, TERMINATING, kstatus
from .lives import STEPS, Life


def told(life: Life) -> str:
    return kstatus(life.generation, life.status)


def right(life: Life) -> set[str]:
    """Return what is right to say, by what is there and not by what the status says of it."""
    true = {each["type"] for each in life.status.get("conditions", []) if each["status"] == "True"}
    if "Finished" in true:
        # What was stopped is as it was asked for.
        return {FAILED} if "Failed" in true and "Stopped" not in true else {CURRENT}
    held = [pod for pod in life.pods.values() if pod.phase not in {"Succeeded", "Failed"}]
    live = [pod for pod in life.pods.values() if pod in held or pod.deleted is not None]
    if life.spec.get("stop"):
        return {IN_PROGRESS}
    if life.spec.get("suspend"):
        # One that has ended holds nothing; whether its object is still there, only the API server cares.
        return {IN_PROGRESS} if held else {IN_PROGRESS, CURRENT} if live else {CURRENT}
    if life.status.get("ending") or not live:
        return {IN_PROGRESS}
    if live[-1].deleted is not None:
        # Somebody else has deleted it: it is judged when it has ended, in a minute and a half at the most.
        return {CURRENT, IN_PROGRESS}
    return {CURRENT} if life.does(contract.TRAINER) in {"running", "terminated"} else {IN_PROGRESS}


@pytest.mark.thorough
@given(steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=14))
@settings(max_examples=400)
def test_in_every_state_that_a_job_can_get_into_generic_tools_have_the_right_answer(steps: list[str]) -> None:
    life = Life()
    assert told(life) == IN_PROGRESS, "nobody has looked at it yet"
    life.settle()
    for step in steps:
        STEPS[step](life)
        life.settle()
        conditions = [(each["type"], each["status"]) for each in life.status.get("conditions", [])]
        assert "Ready" not in dict(conditions), "a job that trains for days would hold up whoever waits for it"
        assert not {("Reconciling", "True"), ("Stalled", "True")} <= set(conditions)
        assert told(life) in right(life), (step, life.status)


def lived(*steps: str, **spec: object) -> Life:
    life = Life(spec)
    life.settle()
    for step in steps:
        STEPS[step](life)
        life.settle()
    return life


ANSWERS = {
    Phase.PENDING: (("a minute passes",), IN_PROGRESS),
    Phase.FETCHING: (("the pod fetches", "a minute passes"), IN_PROGRESS),
    Phase.RUNNING: (("the pod runs",), CURRENT),
    Phase.PUBLISHING: (("the pod runs", "the script has ended", "a minute passes"), CURRENT),
    Phase.RESTARTING: (("the pod runs", "the pod is evicted"), IN_PROGRESS),
    Phase.SUSPENDED: (("the pod runs", "the user suspends", "the pod is gone"), CURRENT),
    Phase.STOPPING: (("the pod runs", "the user stops"), IN_PROGRESS),
    Phase.STOPPED: (("the pod runs", "the user stops", "the pod is gone"), CURRENT),
    Phase.SUCCEEDED: (("the pod runs", "all has ended well"), CURRENT),
    Phase.FAILED: (("the pod runs", "all has ended badly"), FAILED),
}


def test_every_phase_is_told_of_here() -> None:
    assert {*ANSWERS, Phase.QUEUED} == set(Phase)


def test_a_job_in_a_queue_is_on_its_way() -> None:
    life = lived("a minute passes", scheduling={"queue": "team-a"})
    assert (life.status["phase"], told(life)) == (Phase.QUEUED, IN_PROGRESS)


@pytest.mark.parametrize(("phase", "steps", "answer"), [(phase, *each) for phase, each in ANSWERS.items()])
def test_each_phase_has_its_answer(phase: Phase, steps: tuple[str, ...], answer: str) -> None:
    life = lived(*steps)
    assert (life.status["phase"], told(life)) == (phase, answer)


def test_a_job_that_is_being_suspended_is_under_way_until_it_holds_nothing() -> None:
    assert told(lived("the pod runs", "the user suspends")) == IN_PROGRESS


def test_a_change_that_nobody_has_seen_yet_is_under_way_and_a_deleted_job_goes() -> None:
    life = lived("the pod runs")
    life.wants(podRetentionSeconds=1)
    assert told(life) == IN_PROGRESS
    life.settle()
    assert told(life) == CURRENT
    assert kstatus(life.generation, life.status, deleted=True) == TERMINATING


def test_a_change_of_a_job_that_has_ended_is_seen_and_changes_no_answer() -> None:
    for end, answer in (("all has ended well", CURRENT), ("all has ended badly", FAILED)):
        assert told(lived("the pod runs", end, "the user suspends", "the user changes a deadline")) == answer
