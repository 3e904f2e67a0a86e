"""Every reason of the table, brought about through the API server: what a kubelet or containers leave, and what users are told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from control import Operator, Played, until
from controlplane import ControlPlane
from faults import FaultProxy
from played_kubelet import STAMP, Object, ended, fetching, running
from tftrainer.messages import contract
from tftrainer.messages.contract import Failure, FetchReport, PublishReport, Reason, Report, RunReport
from tftraining_operator.api.spec import Budget
from tftraining_operator.core.reasons import REASONS

Play = Callable[[Object], Object]
BUDGETS = dict.fromkeys(Budget, 1)


def terminated(code: int, reason: str = "Error", report: Report | None = None) -> Object:
    """Return the state of a container that has ended."""
    message = contract.encode_report(report).decode() if report is not None else ""
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": STAMP, "finishedAt": STAMP, "message": message}}


def changed(status: Object, container: str, state: Object, **rest: Any) -> Object:
    """Return a pod's status with a container in another state."""
    for item in (*status["initContainerStatuses"], *status["containerStatuses"]):
        if item["name"] == container:
            item |= {"state": state, "ready": False}
    return {**status, **rest}


def said(reason: Reason) -> Failure:
    return Failure(reason=reason, message=f"as it was seen: {reason}", hint="what to do about it")


def by_fetch(reason: Reason) -> Play:
    report = FetchReport(failure=said(reason))
    return lambda pod: changed(fetching(pod), contract.FETCH, terminated(1, report=report), phase="Failed")


def by_launcher(reason: Reason, code: int = 1) -> Play:
    report = RunReport(exit_code=code, failure=said(reason))
    return lambda pod: changed(ended(pod, code), contract.TRAINER, terminated(code, report=report))


def by_publisher(reason: Reason) -> Play:
    def play(pod: Object) -> Object:
        status = ended(pod)
        [told] = [item["state"]["terminated"]["message"] for item in status["containerStatuses"] if item["name"] == contract.PUBLISHER]
        report = msgspec.structs.replace(contract.decode_report(told, PublishReport), succeeded=False, failure=said(reason))
        return changed(status, contract.PUBLISHER, terminated(1, report=report), phase="Failed")

    return play


def by_victim(pod: Object) -> Object:
    exception = "UnavailableError: Collective ops is aborted by: Error reported from /job:worker/task:0: stopped sending heartbeats"
    report = RunReport(exit_code=1, failure=Failure(reason=Reason.SCRIPT_RAISED, message=exception, exception=exception))
    return changed(ended(pod, 1), contract.TRAINER, terminated(1, report=report))


def by_condition(reason: str) -> Play:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": STAMP}
    return lambda pod: {**ended(pod, 143), "phase": "Failed", "conditions": [condition]}


def by_exit(code: int) -> Play:
    return lambda pod: ended(pod, code)


FETCH_SAYS = (
    *(Reason.SYNTAX_ERROR, Reason.IMPORT_MISSING, Reason.INVALID_ARGUMENTS, Reason.INVALID_SPEC, Reason.OBJECT_NOT_FOUND),
    *(Reason.INPUT_TOO_LARGE, Reason.INPUT_CONFLICT, Reason.INVALID_ARCHIVE, Reason.DIGEST_MISMATCH, Reason.CODE_CHANGED),
    *(Reason.REQUIREMENTS_UNSATISFIABLE, Reason.PACKAGE_INDEX_UNAVAILABLE, Reason.STORAGE_DENIED, Reason.BUCKET_NOT_FOUND),
    *(Reason.STORAGE_UNAVAILABLE, Reason.STORAGE_MISCONFIGURED, Reason.TRAINER_ERROR),
)
PLAYED: Mapping[Reason, Play] = {
    **{reason: by_fetch(reason) for reason in FETCH_SAYS},
    Reason.SCRIPT_RAISED: by_launcher(Reason.SCRIPT_RAISED),
    Reason.SCRIPT_EXITED: by_exit(3),
    Reason.SCRIPT_CRASHED: by_exit(139),
    Reason.SCRIPT_KILLED: by_exit(137),
    Reason.SCRIPT_HUNG: by_launcher(Reason.SCRIPT_HUNG, 143),
    Reason.DEADLINE_EXCEEDED: by_launcher(Reason.DEADLINE_EXCEEDED, 143),
    Reason.TERMINATED: by_exit(143),
    Reason.OUT_OF_MEMORY: lambda pod: changed(ended(pod, 137), contract.TRAINER, terminated(137, "OOMKilled")),
    Reason.WORKSPACE_FULL: lambda pod: {
        **running(pod),
        "phase": "Failed",
        "reason": "Evicted",
        "message": 'Usage of EmptyDir volume "workspace" exceeds the limit "12Gi".',
    },
    Reason.MODEL_MISSING: by_publisher(Reason.MODEL_MISSING),
    Reason.MODEL_UNLOADABLE: by_publisher(Reason.MODEL_UNLOADABLE),
    Reason.OUTPUT_CONFLICT: by_publisher(Reason.OUTPUT_CONFLICT),
    Reason.PUBLISH_FAILED: lambda pod: changed(ended(pod), contract.PUBLISHER, terminated(1), phase="Failed"),
    Reason.EVICTED: by_condition("EvictionByEvictionAPI"),
    Reason.PREEMPTED: by_condition("PreemptionByScheduler"),
    Reason.NODE_LOST: by_condition("DeletionByTaintManager"),
    Reason.IMAGE_UNAVAILABLE: lambda pod: changed(
        fetching(pod), contract.FETCH, {"waiting": {"reason": "InvalidImageName", "message": "couldn't parse image name"}}
    ),
    Reason.CONTAINER_NOT_STARTED: lambda _: {"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu"},
    Reason.UNKNOWN: lambda _: {"phase": "Failed"},
    Reason.PEERS_MISSING: by_launcher(Reason.PEERS_MISSING, 70),
    Reason.PEER_LOST: by_victim,
}
"""What is shown of the job's pod."""
WITH_PEERS: Mapping[Reason, Object] = {Reason.PEER_LOST: {"replicas": {"chief": {}, "worker": {}}}}
"""What the job asks for beside that."""
SPECS: Mapping[Reason, Object] = {
    Reason.UNKNOWN_RUNTIME: {"runtime": "tf9"},
    Reason.UNKNOWN_RESOURCE_CLASS: {"resourceClass": "v100-x9"},
    Reason.PENDING_DEADLINE_EXCEEDED: {"pendingDeadlineSeconds": 1},
    Reason.NAME_CONFLICT: {},
    Reason.POD_DELETED: {},
}
"""The reasons that nothing shown of a pod brings about, with what the job asks for."""


@dataclass(frozen=True)
class Told:
    """What users see of a job: its status, and the reasons of its events."""

    status: Object
    events: list[str]


def name_of(reason: Reason) -> str:
    return f"j-{reason.lower()}"


@pytest.fixture(scope="module")
def told(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[Reason, Told]]:
    """Bring all of them about, and return what is told of each after its first attempt."""
    played = Played(plane, "test-every-reason")
    played.create_namespace()
    with FaultProxy(plane) as proxy, Operator(proxy, played.namespace, tmp_path_factory.mktemp("every")) as operator:
        operator.start()
        stranger = {"metadata": {"name": f"{name_of(Reason.NAME_CONFLICT)}-chief-0"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
        played.call("POST", played.pods_path, {"apiVersion": "v1", "kind": "Pod", **stranger})
        for reason in (*PLAYED, *SPECS):
            played.submit(name_of(reason), **{"retry": BUDGETS, **SPECS.get(reason, {}), **WITH_PEERS.get(reason, {})})
        for reason, play in PLAYED.items():
            pod = played.wait_for_pod(f"{name_of(reason)}-chief-0")
            played.show(pod, play(pod))
        deleted = played.wait_for_pod(f"{name_of(Reason.POD_DELETED)}-chief-0")
        played.run(deleted)
        played.wait_for_phase(name_of(Reason.POD_DELETED), "Running")
        played.remove(deleted)
        found = {}
        for reason in (*PLAYED, *SPECS):
            status = until(lambda reason=reason: _over(played, reason), f"{reason} is told", 60)
            found[reason] = Told(status, until(lambda reason=reason: _events(played, reason), f"{reason} has an event"))
        yield found
    played.call("DELETE", played.jobs_path)


def _over(played: Played, reason: Reason) -> Object | None:
    status = played.status(name_of(reason))
    return status if status["phase"] in {"Failed", "Succeeded"} or status.get("attempts") else None


def _events(played: Played, reason: Reason) -> list[str]:
    path = f"/apis/events.k8s.io/v1/namespaces/{played.namespace}/events?fieldSelector=regarding.name={name_of(reason)}"
    found = [item["reason"] for item in played.call("GET", path)["items"]]
    return found if reason in found else []


def test_there_is_no_reason_that_is_not_brought_about_here() -> None:
    assert {*PLAYED, *SPECS} == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_failure_is_told_with_its_reason_its_cause_its_counter_a_message_and_an_event(
    reason: Reason, told: Mapping[Reason, Told]
) -> None:
    status, budget = told[reason].status, REASONS[reason].budget
    failure = status["attempts"][0] if budget is not None else status["failure"]
    assert (failure["reason"], failure["cause"]) == (reason, REASONS[reason].cause)
    assert failure["message"]
    assert failure["message"][:40].lower() in status["message"].lower()
    assert status.get("retries", {}) == ({budget.value: 1} if budget is not None else {})
    assert told[reason].events.count(reason) == 1
