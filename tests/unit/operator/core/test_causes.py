"""Why runs fail: what a kubelet and the containers leave behind, and the one reason that is told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Cause, Failure, FetchReport, Reason, RunReport
from tftraining_operator.core.decide import decide
from tftraining_operator.core.reasons import REASONS

from .given import CONFIGURATION, CREATED, Pod, job, pods, seen


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
    "its peers were missing": (Pod().ran(70, told(Reason.PEERS_MISSING, 70)).published(succeeded=False), Reason.PEERS_MISSING),
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
    assert (found["reason"], found["cause"]) == (reason, REASONS[reason].cause)
    assert found["message"]
    assert found["pod"] == "iris-chief-0"
    if found["message"] not in {"as the launcher saw it", "s3://bucket/x does not exist"}:
        assert found["hint"]


JUDGEMENTS = (Reason.MODEL_MISSING, Reason.MODEL_UNLOADABLE, Reason.OUTPUT_CONFLICT)


@pytest.mark.parametrize("judgement", JUDGEMENTS)
@pytest.mark.parametrize(
    "afterwards",
    [
        lambda pod: pod,
        lambda pod: replace(pod, phase="Failed"),
        lambda pod: replace(pod, deleted=CREATED + 90),
        lambda pod: pod.condition("DisruptionTarget", "True", "PreemptionByScheduler"),
        lambda pod: replace(pod, phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        lambda pod: replace(pod, phase="Failed", reason="NodeShutdown"),
    ],
    ids=["nothing", "its phase is known", "it was deleted", "it was preempted", "it was evicted", "its node was shut down"],
)
def test_what_the_publisher_found_of_the_outputs_and_wrote_down_is_the_end_whatever_happens_to_the_pod_then(
    judgement: Reason, afterwards: Callable[[Pod], Pod]
) -> None:
    found = Failure(reason=judgement, message="as the publisher saw it", hint="what to do")
    pod = afterwards(Pod().ran().published(exit_code=1, succeeded=False, failure=found))
    assert failure(pod) == {
        "reason": judgement,
        "cause": "UserError",
        "message": "as the publisher saw it",
        "hint": "what to do",
        "exitCode": 0,
        "attempt": 0,
        "pod": "iris-chief-0",
    }


@pytest.mark.parametrize("judgement", JUDGEMENTS)
def test_what_the_publisher_found_does_not_hide_why_the_script_failed(judgement: Reason) -> None:
    found = Failure(reason=judgement, message="as the publisher saw it")
    for ran in (Pod().ran(3), Pod().ran(1, told(Reason.SCRIPT_RAISED)), Pod().ran(137, reason="OOMKilled")):
        assert failure(ran.published(exit_code=1, succeeded=False, failure=found))["reason"] not in JUDGEMENTS


def test_a_judgement_without_its_manifest_does_not_outlive_the_pod() -> None:
    found = Failure(reason=Reason.OUTPUT_CONFLICT, message="as the publisher saw it")
    pod = Pod().ran().published(exit_code=1, succeeded=False, failure=found, manifest_uri="")
    assert failure(pod)["reason"] == "OutputConflict"
    assert failure(replace(pod, phase="Failed").condition("DisruptionTarget", "True", "PreemptionByScheduler"))["reason"] == "Preempted"


def test_every_reason_has_a_cause() -> None:
    assert set(REASONS) == set(Reason)
    assert {entry.cause for entry in REASONS.values()} == set(Cause)


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


@pytest.mark.parametrize(
    ("pod", "code"),
    [
        (Pod().fetched(FetchReport(failure=Failure(reason=Reason.OBJECT_NOT_FOUND, message="x")), exit_code=1), None),
        (Pod().fetched().container("trainer", terminated={"exitCode": 128, "reason": "StartError"}), None),
        (Pod().ran().published(exit_code=1, succeeded=False, failure=Failure(reason=Reason.OUTPUT_CONFLICT, message="x")), 0),
        (Pod().ran().published(exit_code=1, failure=Failure(reason=Reason.STORAGE_DENIED, message="x"), manifest_uri=""), 0),
        (Pod().ran().container("publisher", terminated={"exitCode": 137, "reason": "OOMKilled"}), 0),
        (Pod().ran(7).container("publisher", terminated={"exitCode": 1}), 7),
    ],
)
def test_the_exit_code_of_a_failure_is_the_scripts_and_no_other_containers(pod: Pod, code: int | None) -> None:
    assert failure(pod).get("exitCode") == code


def test_a_container_in_which_a_process_was_killed_long_before_its_end_ended_as_its_launcher_says() -> None:
    ended = RunReport(exit_code=1, failure=Failure(reason=Reason.SCRIPT_RAISED, message="train.py, line 3: ValueError"), memory_kills=1)
    assert failure(Pod().ran(1, ended, reason="OOMKilled").published(succeeded=False))["reason"] == Reason.SCRIPT_RAISED


def test_limit_and_peak_that_the_launcher_names_stand_behind_the_field_and_its_value() -> None:
    words = "The kernel killed a process of the script for want of memory: the peak was 511Mi."
    ended = RunReport(exit_code=143, failure=Failure(reason=Reason.OUT_OF_MEMORY, message=words, file="train.py", line=9))
    found = failure(Pod().ran(143, ended).published(succeeded=False))
    assert (found["reason"], found["file"], found["line"]) == (Reason.OUT_OF_MEMORY, "train.py", 9)
    assert found["message"].startswith("the script needed more memory than spec.resources.memory (")
    assert found["message"].endswith(words)


BROUGHT: dict[str, Any] = {"dependencies": {"files": [{"uri": "${bucket}/p/"}]}}
NEWER: dict[str, dict[str, Any]] = {
    "spec.dependencies.files[1].into": {"dependencies": {"files": [{"uri": "${bucket}/p/"}, {"uri": "${bucket}/a", "into": "."}]}},
    "spec.script.path": {"script": {"path": "a.py"}, **BROUGHT},
    "spec.script.module": {"script": {"module": "a"}, **BROUGHT},
    "spec.inputs[all].uri": {"inputs": [{"name": "all", "uri": "${bucket}/"}]},
    "spec.inactivitySeconds": {"inactivitySeconds": 600, "inputs": [{"name": "all", "uri": "${bucket}/"}]},
    "spec.inputs[b].uri": {"inputs": [{"name": "a", "uri": "${bucket}/a/"}, {"name": "b", "uri": "s3://bucket/"}]},
}


def asks_of_the_image(**spec: Any) -> list[str]:
    """Return what follows the name of the phase in the command of `fetch`."""
    (made,) = pods(decide(seen(job(**spec)), CONFIGURATION, CREATED))
    return list(made["spec"]["initContainers"][0]["command"][5:])


@pytest.mark.parametrize("field", NEWER)
def test_an_image_that_is_older_than_a_field_is_told_to_know_it_and_its_refusal_is_the_admins_to_mend(field: str) -> None:
    assert asks_of_the_image(**NEWER[field]) == [f"--contract={3 if field == 'spec.inactivitySeconds' else 2}"]
    refused = replace(Pod(), phase="Failed").container(contract.FETCH, terminated={"exitCode": contract.USAGE_ERROR, "reason": "Error"})
    found = failure(refused, **NEWER[field])
    assert (found["reason"], found["cause"]) == (Reason.IMAGE_UNAVAILABLE, Cause.IMAGE)
    for words in ("older than the operator", field, "of the runtime tf2"):
        assert words in found["message"]
    assert "runtimes.tf2.image" in found["hint"]


def test_a_job_that_uses_nothing_new_asks_nothing_of_the_image() -> None:
    spec: dict[str, Any] = {"inputs": [{"name": "a", "uri": "s3://bucket/a/"}, {"name": "b", "uri": "${datasets}/b"}], **BROUGHT}
    assert asks_of_the_image(**spec) == []
    refused = replace(Pod(), phase="Failed").container(contract.FETCH, terminated={"exitCode": contract.USAGE_ERROR, "reason": "Error"})
    assert failure(refused, **spec)["reason"] == Reason.TRAINER_ERROR
