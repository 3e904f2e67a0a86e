"""Why runs fail: what a kubelet and the containers leave behind, and the one reason that is told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tftrainer import contract
from tftrainer.contract import Cause, Failure, FetchReport, Reason, RunReport
from tftraining_operator.core.causes import CAUSES
from tftraining_operator.core.decide import decide

from .given import CONFIGURATION, CREATED, Pod, job, seen


def told(reason: Reason, code: int = 1) -> RunReport:
    return RunReport(exit_code=code, failure=Failure(reason=reason, message="as the launcher saw it"))


def failure(pod: Pod, **spec: Any) -> dict[str, Any]:
    plan = decide(seen(job(**spec), pod), CONFIGURATION, CREATED + 100)
    assert plan.status is not None, plan
    found: dict[str, Any] = plan.status["failure"]
    return found


def disrupted(reason: str, message: str = "") -> Pod:
    return replace(Pod().ran(143), phase="Failed").condition("DisruptionTarget", "True", reason, message)


def evicted(message: str) -> Pod:
    return replace(Pod().running(), phase="Failed", reason="Evicted", message=message)


CASES = {
    "memory limit seen by the kubelet": (Pod().ran(137, reason="OOMKilled").published(succeeded=False), Reason.OUT_OF_MEMORY),
    "memory limit hit by a child process": (
        Pod().ran(137, told(Reason.OUT_OF_MEMORY, 137)).published(succeeded=False),
        Reason.OUT_OF_MEMORY,
    ),
    "killed, and nothing says by whom": (Pod().ran(137).published(succeeded=False), Reason.SCRIPT_KILLED),
    "launcher stopped it at the deadline": (
        Pod().ran(143, told(Reason.DEADLINE_EXCEEDED, 143)).published(succeeded=False),
        Reason.DEADLINE_EXCEEDED,
    ),
    "launcher stopped it for space": (Pod().ran(1, told(Reason.WORKSPACE_FULL)).published(succeeded=False), Reason.WORKSPACE_FULL),
    "evicted for its workspace": (evicted('Usage of EmptyDir volume "workspace" exceeds the limit "12Gi". '), Reason.WORKSPACE_FULL),
    "evicted for local storage": (
        evicted("Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "),
        Reason.WORKSPACE_FULL,
    ),
    "evicted for shared memory": (evicted('Usage of EmptyDir volume "shm" exceeds the limit "64Mi". '), Reason.OUT_OF_MEMORY),
    "evicted because the node is short": (evicted("The node was low on resource: memory."), Reason.EVICTED),
    "preempted": (disrupted("PreemptionByScheduler"), Reason.PREEMPTED),
    "evicted by a drain": (disrupted("EvictionByEvictionAPI"), Reason.EVICTED),
    "node lost": (disrupted("DeletionByTaintManager"), Reason.NODE_LOST),
    "node removed": (disrupted("DeletionByPodGC"), Reason.NODE_LOST),
    "node shut down": (disrupted("TerminationByKubelet", "Pod was terminated in response to imminent node shutdown."), Reason.EVICTED),
    "disrupted by something new": (disrupted("SomethingNew"), Reason.EVICTED),
    "refused by the kubelet": (
        Pod(phase="Failed", reason="OutOfcpu", message="Node didn't have enough resource: cpu"),
        Reason.CONTAINER_NOT_STARTED,
    ),
    "raised, and disrupted afterwards": (
        replace(Pod().ran(1, told(Reason.SCRIPT_RAISED)), phase="Failed").condition("DisruptionTarget", "True", "PreemptionByScheduler"),
        Reason.SCRIPT_RAISED,
    ),
    "fetch says what is missing": (
        Pod().fetched(FetchReport(failure=Failure(reason=Reason.OBJECT_NOT_FOUND, message="s3://bucket/x does not exist")), 1),
        Reason.OBJECT_NOT_FOUND,
    ),
    "fetch ran out of memory": (Pod().container("fetch", terminated={"exitCode": 137, "reason": "OOMKilled"}), Reason.TRAINER_ERROR),
    "fetch broke": (Pod().fetched(exit_code=2), Reason.TRAINER_ERROR),
    "fetch could not be started": (
        Pod().container("fetch", terminated={"exitCode": 128, "reason": "StartError", "message": "exec: python3: not found"}),
        Reason.CONTAINER_NOT_STARTED,
    ),
    "publisher ran out of memory": (
        Pod().ran().container("publisher", terminated={"exitCode": 137, "reason": "OOMKilled"}),
        Reason.PUBLISH_FAILED,
    ),
    "publisher broke": (Pod().ran().container("publisher", terminated={"exitCode": 1}), Reason.PUBLISH_FAILED),
    "a report that does not fit its exit code": (
        Pod().ran(3, told(Reason.SCRIPT_RAISED, 1)).published(succeeded=False),
        Reason.SCRIPT_EXITED,
    ),
    "ended, and nothing is known": (Pod(phase="Failed"), Reason.UNKNOWN),
}


@pytest.mark.parametrize(("pod", "reason"), CASES.values(), ids=CASES)
def test_each_end_has_its_reason_its_cause_and_a_remedy(pod: Pod, reason: Reason) -> None:
    found = failure(pod)
    assert (found["reason"], found["cause"]) == (reason, CAUSES[reason])
    assert found["message"]
    assert found["pod"] == "iris-chief-0"
    if found["message"] not in {"as the launcher saw it", "s3://bucket/x does not exist"}:
        assert found["hint"]


def test_every_reason_has_a_cause() -> None:
    assert set(CAUSES) == set(Reason)
    assert set(CAUSES.values()) == set(Cause)


def test_out_of_memory_names_the_field_and_its_value() -> None:
    assert "spec.resources.memory (3Gi)" in failure(CASES["memory limit seen by the kubelet"][0], resources={"memory": "3Gi"})["message"]
    assert "spec.resources.memory (2560Mi)" in failure(CASES["memory limit seen by the kubelet"][0])["message"]


def test_a_full_workspace_names_the_field_and_its_value() -> None:
    assert "spec.resources.workspace (1Gi)" in failure(CASES["evicted for its workspace"][0], resources={"workspace": "1Gi"})["message"]


@pytest.mark.parametrize(
    "message", ["", "null", "[]", "{}", '{"kind":"run"}', "\x00" * 4096, "x" * 5000, '{"kind":"publish","succeeded":true}']
)
def test_a_report_that_is_none_leaves_the_exit_code_to_speak(message: str) -> None:
    pod = Pod().ran(3).published(succeeded=False).container(contract.TRAINER, terminated={"exitCode": 3, "message": message})
    assert failure(pod)["reason"] == "ScriptExited"


def test_a_model_that_is_too_large_to_be_loaded_names_the_field_and_its_value() -> None:
    pod = Pod().ran().container("publisher", terminated={"exitCode": 137, "reason": "OOMKilled"})
    found = failure(pod, model={"path": "${bucket}/m"}, resources={"memory": "3Gi"})
    assert found["reason"] == "PublishFailed"
    assert "spec.resources.memory (3Gi)" in found["message"]
    assert "spec.model" in found["message"]
