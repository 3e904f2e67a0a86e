"""Statuses of pods as Kubernetes gives them when something goes wrong, and the verdict that is drawn from each.

Seen on Kubernetes 1.36 with containerd 2.4: reasons, messages, exit codes and their order are what the API server had, also where they
are wrong.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Failure, FetchReport, PublishReport, Reason, RunReport
from tftraining_operator.api.spec import Spec
from tftraining_operator.core import build
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.decide import decide
from tftraining_operator.core.effective import SIDE_VOLUMES, Effective, effective
from tftraining_operator.core.observe import pod_record
from tftraining_operator.core.records import Observed, Plan

from .given import CONFIGURATION, CREATED, JOB, NAMESPACE, UID, Pod, after, job, seen

Raw = dict[str, Any]
NOW = CREATED + 100
LOST = {"reason": "ContainerStatusUnknown", "exitCode": 137, "message": "The container could not be located when the pod was terminated"}
TAKEN = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
NOT_READY = {"type": "Ready", "status": "False"}
CONTAINERS_READY = {"type": "ContainersReady", "status": "True"}
WORKSPACE = 'Usage of EmptyDir volume "workspace" exceeds the limit "12Gi". '


def ended(code: int, report: Any = None, reason: str = "", at: float = CREATED + 60) -> Raw:
    """Return the state of a container that has ended."""
    message = {} if report is None else {"message": contract.encode_report(report).decode()}
    times = {"startedAt": rfc3339(CREATED + 4), "finishedAt": rfc3339(at)}
    return {"terminated": {"exitCode": code, "reason": reason or ("Error" if code else "Completed"), **times, **message}}


def stopped(code: int = 143) -> Raw:
    """Return the state of a trainer that was told to stop and did."""
    return ended(code, RunReport(exit_code=code, failure=Failure(reason=Reason.TERMINATED, message="told to stop")))


def waits(reason: str) -> Raw:
    return {"waiting": {"reason": reason}}


RUNS: Raw = {"running": {"startedAt": rfc3339(CREATED + 4)}}
FETCHED = ended(0, FetchReport(objects=1, bytes=1), at=CREATED + 3)
PUBLISHED = ended(
    0,
    PublishReport(succeeded=True, manifest_uri=f"s3://bucket/{contract.run_prefix(NAMESPACE, JOB, UID, 0)}{contract.MANIFEST_NAME}"),
)


def pod(
    phase: str,
    trainer: Raw | None = None,
    publisher: Raw | None = None,
    *,
    fetch: Raw | None = FETCHED,
    conditions: tuple[Raw, ...] = (),
    deleted: float | None = None,
    **status: Any,
) -> Raw:
    """Return a pod with that status."""
    raw = Pod(deleted=deleted).raw()

    def of(**states: Raw | None) -> list[Raw]:
        return [{"name": name, "restartCount": 0, "state": state} for name, state in states.items() if state is not None]

    raw["status"] = {
        "phase": phase,
        "conditions": list(conditions),
        "initContainerStatuses": of(fetch=fetch),
        "containerStatuses": of(trainer=trainer, publisher=publisher),
        **status,
    }
    return raw


def observed(raw: Raw, **spec: Any) -> Observed:
    record = pod_record(raw)
    assert record is not None
    return replace(seen(job(**spec)), pods=(record,))


def plan(of: Observed, now: float = NOW) -> Plan:
    return decide(of, CONFIGURATION, now)


CASES: dict[str, tuple[Raw, Reason, int | None]] = {
    # A volume over its limit: the kubelet kills within 2 s, invents exit codes and loses reports. The phase comes first.
    "over its volume's limit, while the kubelet still looks for the containers": (
        pod("Failed", waits("ContainerCreating"), waits("ContainerCreating"), reason="Evicted", message=WORKSPACE),
        Reason.WORKSPACE_FULL,
        None,
    ),
    "over its volume's limit, with invented exit codes": (
        pod("Failed", {"terminated": LOST}, {"terminated": LOST}, reason="Evicted", message=WORKSPACE),
        Reason.WORKSPACE_FULL,
        None,
    ),
    "over its volume's limit, killed because it did not stop": (
        pod("Failed", ended(137), {"terminated": LOST}, reason="Evicted", message=WORKSPACE),
        Reason.WORKSPACE_FULL,
        137,
    ),
    "over the limit of its containers' storage": (
        pod(
            "Failed",
            {"terminated": LOST},
            {"terminated": LOST},
            reason="Evicted",
            message="Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ",
        ),
        Reason.WORKSPACE_FULL,
        None,
    ),
    "over the limit of a volume that is not the user's": (
        pod(
            "Failed",
            {"terminated": LOST},
            {"terminated": LOST},
            reason="Evicted",
            message='Usage of EmptyDir volume "tmp-publisher" exceeds the limit "1Gi". ',
        ),
        Reason.TRAINER_ERROR,
        None,
    ),
    "evicted from a node that is short of memory": (
        pod(
            "Failed",
            {"terminated": LOST},
            {"terminated": LOST},
            reason="Evicted",
            message="The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. ",
            conditions=({**TAKEN, "reason": "TerminationByKubelet", "message": "The node was low on resource: memory. "},),
        ),
        Reason.EVICTED,
        None,
    ),
    "evicted from a node that is short of disk": (
        pod(
            "Failed",
            {"terminated": LOST},
            {"terminated": LOST},
            reason="Evicted",
            message="The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 512Mi. ",
        ),
        Reason.EVICTED,
        None,
    ),
    "a node that has forgotten its containers": (
        pod("Failed", {"terminated": LOST}, {"terminated": LOST}),
        Reason.NODE_LOST,
        None,
    ),
    "a node that has forgotten the containers while they fetched": (
        pod("Failed", waits("PodInitializing"), waits("PodInitializing"), fetch={"terminated": LOST}),
        Reason.NODE_LOST,
        None,
    ),
    # A deadline of the pod's own, which only an admission of the cluster can have set: the pod's reason is the only sign.
    "over a deadline that somebody has put on the pod": (
        pod(
            "Failed",
            stopped(),
            ended(137),
            reason="DeadlineExceeded",
            message="Pod was active on the node longer than the specified deadline",
        ),
        Reason.DEADLINE_EXCEEDED,
        143,
    ),
    # An init container that fails: the others stay waiting for ever, and the pod has neither reason nor message.
    "what fetch found, with containers that wait for ever": (
        pod(
            "Failed",
            waits("PodInitializing"),
            waits("PodInitializing"),
            fetch=ended(1, FetchReport(failure=Failure(reason=Reason.OBJECT_NOT_FOUND, message="no such object"))),
        ),
        Reason.OBJECT_NOT_FOUND,
        None,
    ),
    "what fetch found, a second before the phase says so": (
        pod(
            "Pending",
            waits("PodInitializing"),
            waits("PodInitializing"),
            fetch=ended(1, FetchReport(failure=Failure(reason=Reason.OBJECT_NOT_FOUND, message="no such object"))),
        ),
        Reason.OBJECT_NOT_FOUND,
        None,
    ),
    # OOMKilled says that any process was: the exit code says whether that was the end.
    "out of memory in a child, and the launcher ended with 1": (
        pod("Failed", ended(1, reason="OOMKilled"), ended(0, PublishReport(succeeded=False))),
        Reason.OUT_OF_MEMORY,
        1,
    ),
    "out of memory itself": (pod("Failed", ended(137, reason="OOMKilled"), ended(0)), Reason.OUT_OF_MEMORY, 137),
    "a child out of memory, and then an exception of the script's own": (
        pod(
            "Failed",
            ended(1, RunReport(exit_code=1, failure=Failure(reason=Reason.SCRIPT_RAISED, message="KeyError")), reason="OOMKilled"),
            ended(0, PublishReport(succeeded=False)),
        ),
        Reason.SCRIPT_RAISED,
        1,
    ),
    # Evicted by the API, deleted by somebody: grace is honoured, and there is no reason of the pod's.
    "drained, and stopped when it was told to": (
        pod("Failed", stopped(), ended(0, PublishReport(succeeded=False)), conditions=(TAKEN,), deleted=CREATED + 90),
        Reason.EVICTED,
        143,
    ),
    "drained, and all of it ended with 0": (
        pod("Succeeded", ended(0), ended(0), conditions=(TAKEN,), deleted=CREATED + 90),
        Reason.EVICTED,
        0,
    ),
    "deleted, and all of it ended with 0": (pod("Succeeded", ended(0), ended(0), deleted=CREATED + 90), Reason.POD_DELETED, 0),
    "deleted, and stopped when it was told to": (
        pod("Failed", stopped(), ended(0, PublishReport(succeeded=False)), deleted=CREATED + 90),
        Reason.POD_DELETED,
        143,
    ),
    "deleted while it published": (pod("Failed", ended(0), ended(137), deleted=CREATED + 90), Reason.POD_DELETED, 0),
    "preempted by the scheduler": (
        pod("Failed", stopped(), ended(0), conditions=({**TAKEN, "reason": "PreemptionByScheduler"},), deleted=CREATED + 90),
        Reason.PREEMPTED,
        143,
    ),
    "preempted by a queue": (
        pod(
            "Failed",
            stopped(),
            ended(0),
            conditions=({**TAKEN, "type": "TerminationTarget", "reason": "WorkloadEvictedDueToPreempted"},),
            deleted=CREATED + 90,
        ),
        Reason.PREEMPTED,
        143,
    ),
    "on a node that is gone": (
        pod("Failed", RUNS, RUNS, conditions=({**TAKEN, "reason": "DeletionByPodGC"},), deleted=CREATED + 90),
        Reason.NODE_LOST,
        None,
    ),
    "refused by the kubelet for a device": (
        pod("Failed", fetch=None, reason="UnexpectedAdmissionError", message="Pod was rejected: Allocate failed due to no device"),
        Reason.CONTAINER_NOT_STARTED,
        None,
    ),
}


@pytest.mark.parametrize(("raw", "reason", "code"), CASES.values(), ids=CASES)
def test_what_kubernetes_shows_of_an_end_is_read_as_what_it_is(raw: Raw, reason: Reason, code: int | None) -> None:
    found = plan(observed(raw)).status
    assert found is not None
    assert found["phase"] == "Failed"
    assert (found["failure"]["reason"], found["failure"].get("exitCode")) == (reason, code)


PROVEN = {
    "its phase says so": pod("Succeeded", ended(0, RunReport(exit_code=0)), PUBLISHED),
    "a child of it was killed for memory": pod("Succeeded", ended(0, RunReport(exit_code=0), reason="OOMKilled"), PUBLISHED),
    "its phase does not say so yet": pod("Running", ended(0, RunReport(exit_code=0)), PUBLISHED),
    "somebody deletes it when all is done": pod("Succeeded", ended(0, RunReport(exit_code=0)), PUBLISHED, deleted=NOW),
    "its node is drained when all is done": pod("Succeeded", ended(0, RunReport(exit_code=0)), PUBLISHED, conditions=(TAKEN,), deleted=NOW),
}


@pytest.mark.parametrize("raw", PROVEN.values(), ids=PROVEN)
def test_a_script_that_ended_well_and_whose_manifest_is_there_has_succeeded_whatever_follows(raw: Raw) -> None:
    found = plan(observed(raw)).status
    assert found is not None
    assert found["phase"] == "Succeeded"


def silent(at: float = CREATED + 70, **more: Any) -> Raw:
    """Return a running pod whose node has not told anything for so long that its controller has marked it."""
    return pod("Running", RUNS, RUNS, conditions=({**NOT_READY, "lastTransitionTime": rfc3339(at)}, CONTAINERS_READY), **more)


def test_a_running_pod_on_a_node_that_does_not_answer_is_not_said_to_run_and_the_job_says_since_when() -> None:
    first = observed(pod("Running", RUNS, RUNS, conditions=({"type": "Ready", "status": "True"}, CONTAINERS_READY)))
    running = after(first, plan(first))
    record = pod_record(silent())
    assert record is not None
    found = plan(replace(running, pods=(record,)))
    assert found.status is not None
    assert (
        f"has not answered since {rfc3339(CREATED + 70)}, so that nobody knows whether pod iris-chief-0 still runs"
        in found.status["message"]
    )
    conditions = {each["type"]: each for each in found.status["conditions"]}
    assert (conditions["Running"]["status"], conditions["Running"]["reason"]) == ("Unknown", "NodeLost")
    assert [(event.type, event.reason) for event in found.events] == [("Warning", "NodeLost")]
    assert found.deletions == ()


def test_a_node_that_comes_back_makes_its_job_run_again() -> None:
    lost = observed(silent())
    lost = after(lost, plan(lost))
    assert plan(lost, NOW + 60).status is None, "said once"
    back = pod_record(pod("Running", RUNS, RUNS, conditions=({"type": "Ready", "status": "True"}, CONTAINERS_READY)))
    assert back is not None
    found = plan(replace(lost, pods=(back,)), NOW + 400)
    assert found.status is not None
    assert "the script runs" in found.status["message"].lower()
    assert [(event.type, event.reason) for event in found.events] == [("Normal", "Running")]


@pytest.mark.parametrize(
    "conditions",
    [
        ({**NOT_READY, "reason": "ContainersNotReady"}, {**CONTAINERS_READY, "status": "False"}),
        ({**NOT_READY, "reason": "ReadinessGatesNotReady"}, CONTAINERS_READY),
        (),
    ],
    ids=["a container is not ready", "a gate that somebody has put on the pod", "nothing is known yet"],
)
def test_a_pod_that_is_not_ready_for_another_reason_is_not_lost(conditions: tuple[Raw, ...]) -> None:
    found = plan(observed(pod("Running", RUNS, RUNS, conditions=conditions))).status
    assert found is not None
    assert "runs in pod" in found["message"]


def test_a_script_on_a_node_that_does_not_answer_still_has_its_deadline() -> None:
    lost = observed(silent(), activeDeadlineSeconds=60)
    assert plan(lost, NOW).deletions == ()
    late = plan(lost, CREATED + 4 + 60 + 30 + 121)
    assert len(late.deletions) == 1
    assert late.status is not None
    assert late.status["failure"]["reason"] == Reason.DEADLINE_EXCEEDED


def test_the_volumes_that_are_not_the_user_s_are_those_of_a_fixed_size() -> None:
    small, large = (build.pod(job(), wanted(workspace), CONFIGURATION, 0)["spec"]["volumes"] for workspace in ("2Gi", "4Gi"))
    fixed = [volume["name"] for volume in small if volume in large and "emptyDir" in volume and "medium" not in volume["emptyDir"]]
    assert tuple(fixed) == SIDE_VOLUMES


def wanted(workspace: str) -> Effective:
    spec = Spec.model_validate({"script": {"inline": "pass", "name": "a.py"}, "resources": {"workspace": workspace}})
    return effective(spec, CONFIGURATION, "tf2", CONFIGURATION.runtimes["tf2"])
