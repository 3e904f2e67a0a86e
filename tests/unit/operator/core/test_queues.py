"""Queues: what a job says that waits in one, when its place is asked for, kept and given back, and what becomes of its pods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tftraining_operator.core import names, workloads
from tftraining_operator.core.case import Case
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.configuration import Configuration, Kueue
from tftraining_operator.core.decide import decide
from tftraining_operator.core.observe import flavor, priority, workload_record
from tftraining_operator.core.records import Observed, Plan, Queueing, WorkloadRecord, WorkloadUpdate

from .given import CONFIGURATION, CREATED, JOB, NAMESPACE, UID, Pod, job

QUEUES = CONFIGURATION.model_copy(update={"kueue": Kueue(enabled=True)})
NAME = names.workload_name(JOB, UID, 0)
ADMITTED = {"QuotaReserved": ("True", "QuotaReserved", ""), "Admitted": ("True", "Admitted", "")}
EVICTED = {**ADMITTED, "Evicted": ("True", "Preempted", "Preempted to accommodate a workload (UID: …) due to prioritization")}
Conditions = dict[str, tuple[str, str, str]]


def workload(
    conditions: Conditions | None = None, *, attempt: int = 0, at: float = CREATED + 1, owner: str = UID, active: bool = True, **status: Any
) -> WorkloadRecord:
    """Return the Workload of an attempt with these conditions, each status, reason and message."""
    found = workload_record(
        {
            "metadata": {
                "name": names.workload_name(JOB, UID, attempt),
                "namespace": NAMESPACE,
                "uid": f"workload-{attempt}",
                "resourceVersion": "3",
                "creationTimestamp": rfc3339(CREATED + 1),
                "ownerReferences": [{"kind": "TFTrainingJob", "name": JOB, "uid": owner, "controller": True}],
            },
            "spec": {"active": active},
            "status": {
                "conditions": [
                    {"type": kind, "status": state, "reason": reason, "message": message, "lastTransitionTime": rfc3339(at)}
                    for kind, (state, reason, message) in (conditions or {}).items()
                ],
                **status,
            },
        }
    )
    assert found is not None
    return found


def refused(message: str, reason: str = "Pending") -> Conditions:
    return {"QuotaReserved": ("False", reason, message)}


def observed(*found: WorkloadRecord, pods: tuple[Pod, ...] = (), status: dict[str, Any] | None = None, **spec: Any) -> Observed:
    queueing = Queueing(workloads=found, priorities={"": 0, "high": 1000})
    record = job(status, **{"scheduling": {"queue": "team-a"}, **spec})
    return Observed(record, tuple(pod.record() for pod in pods), queueing=queueing)


def plan(*found: WorkloadRecord, now: float = CREATED + 60, configuration: Configuration = QUEUES, **rest: Any) -> Plan:
    return decide(observed(*found, **rest), configuration, now)


def told(found: Plan) -> tuple[str, str]:
    """Return reason and message of what a job is said to wait for."""
    assert found.status is not None
    assert found.status["phase"] == "Queued"
    assert [each for each in found.creates if each["kind"] == "Pod"] == []
    return found.status["pending"]["reason"], found.status["pending"]["message"]


WORDS: dict[str, tuple[Conditions, str, tuple[str, ...]]] = {
    "no room now": (
        refused("couldn't assign flavors to pod set chief: insufficient unused quota for cpu in flavor default, 200m more needed"),
        "QueueFull",
        ("team-a", "200m more of cpu in flavor default", "starts by itself"),
    ),
    "no room now in any of two flavors": (
        refused(
            "couldn't assign flavors to pod set chief: insufficient unused quota for cpu in flavor a, 1 more needed, "
            "insufficient unused quota for cpu in flavor b, 2 more needed"
        ),
        "QueueFull",
        ("1 more of cpu in flavor a or 2 more of cpu in flavor b",),
    ),
    "larger than all": (
        refused(
            "couldn't assign flavors to pod set chief: insufficient quota for cpu in flavor default, previously considered podsets "
            "requests (0) + current podset request (5) > maximum capacity (200m)"
        ),
        "LargerThanQueue",
        ("asks for 5 of cpu", "flavor default has 200m", "create the job again with less"),
    ),
    "others are being preempted": (
        refused(
            "couldn't assign flavors to pod set chief: insufficient unused quota for cpu in flavor default, 200m more needed. Pending the "
            "preemption of 2 workload(s)"
        ),
        "QueuePreempting",
        ("2 others",),
    ),
    "no such queue": (refused("LocalQueue team-a doesn't exist", "Inadmissible"), "QueueNotFound", ("namespace team-a", "create it")),
    "no queue behind it": (refused("ClusterQueue all doesn't exist", "Inadmissible"), "QueueNotFound", ("ClusterQueue all",)),
    "a queue that is stopped": (
        refused("ClusterQueue all is inactive", "Inadmissible"),
        "QueueInactive",
        ("ClusterQueue all is inactive",),
    ),
    "a queue for others": (
        refused("Workload namespace doesn't match ClusterQueue selector"),
        "QueueNotForNamespace",
        ("is not for namespace team-a",),
    ),
    "what nobody knows": (refused("resource nvidia.com/gpu unavailable in ClusterQueue"), "QueueRefuses", ("nvidia.com/gpu unavailable",)),
    "nothing at all": (refused(""), "QueueRefuses", ("gives no reason",)),
    "nothing yet": ({}, "QueueSilent", ("whether its controller runs",)),
    "checks": ({"QuotaReserved": ("True", "QuotaReserved", "")}, "AdmissionChecks", ("has room",)),
}


@pytest.mark.parametrize(("conditions", "reason", "words"), WORDS.values(), ids=WORDS)
def test_what_kueue_says_is_told_with_its_own_numbers_and_what_to_do(conditions: Conditions, reason: str, words: tuple[str, ...]) -> None:
    found, message = told(plan(workload(conditions)))
    assert found == reason
    for each in words:
        assert each in message


def test_an_admission_check_that_is_not_ready_is_named_with_what_it_says() -> None:
    checks = [{"name": "capacity", "state": "Pending", "message": "a node is coming"}, {"name": "other", "state": "Ready"}]
    _, message = told(plan(workload({"QuotaReserved": ("True", "QuotaReserved", "")}, admissionChecks=checks)))
    assert "capacity (a node is coming)" in message
    assert "other" not in message


AWAY: dict[str, tuple[Configuration, Queueing | None, str, str]] = {
    "not switched on": (CONFIGURATION, None, "QueuesDisabled", "kueue.enabled"),
    "not installed": (QUEUES, Queueing(away="Kueue is not installed in this cluster"), "QueuesUnavailable", "Kueue is not installed"),
    "not reachable": (QUEUES, Queueing(refusal="failed calling webhook", barred=True), "QueueNotReachable", "failed calling webhook"),
}


@pytest.mark.parametrize(("configuration", "queueing", "reason", "words"), AWAY.values(), ids=AWAY)
def test_a_job_that_names_a_queue_where_there_is_none_to_be_had_says_so_at_once_and_makes_no_pod(
    configuration: Configuration, queueing: Queueing | None, reason: str, words: str
) -> None:
    found = decide(replace(observed(), queueing=queueing), configuration, CREATED + 1)
    assert told(found)[0] == reason
    assert words in told(found)[1]
    assert found.workload is None


def test_before_the_queues_are_known_nothing_is_done_and_nothing_said() -> None:
    found = decide(replace(observed(), queueing=None), QUEUES, CREATED + 1)
    assert (found.creates, found.workload, found.status) == ((), None, None)
    assert found.requeue_at == CREATED + 2


def test_a_place_is_asked_for_with_what_the_pods_of_each_role_ask_for_and_nothing_of_the_plan() -> None:
    replicas = {"chief": {"count": 1}, "worker": {"count": 3, "resources": {"cpu": "4", "memory": "8Gi"}}}
    found = plan(replicas=replicas, scheduling={"queue": "team-a", "priorityClassName": "high"}, configuration=allowing("high"))
    assert found.workload is not None
    spec = found.workload["spec"]
    assert (spec["queueName"], spec["priority"], spec["active"]) == ("team-a", 1000, True)
    assert spec["priorityClassRef"] == {"group": "scheduling.k8s.io", "kind": "PriorityClass", "name": "high"}
    assert [(each["name"], each["count"]) for each in spec["podSets"]] == [("chief", 1), ("worker", 3)]
    trainer = spec["podSets"][1]["template"]["spec"]["containers"][0]
    assert (trainer["name"], trainer["resources"]["requests"]["cpu"]) == ("trainer", "4")
    assert set(trainer) == {"name", "image", "resources"}
    [owner] = found.workload["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (UID, True)


def allowing(name: str) -> Configuration:
    return QUEUES.model_copy(update={"scheduling": QUEUES.scheduling.model_copy(update={"allowed_priority_classes": (name,)})})


def test_a_priority_class_that_does_not_exist_is_told_and_no_place_is_asked_for() -> None:
    found = plan(scheduling={"queue": "team-a", "priorityClassName": "none"}, configuration=allowing("none"))
    assert told(found)[0] == "PriorityClassNotFound"
    assert found.workload is None


def test_an_admitted_attempt_gets_its_pods_with_what_its_flavors_and_checks_demand() -> None:
    assignment = {"podSetAssignments": [{"name": "chief", "flavors": {"cpu": "spot", "memory": "spot"}, "count": 1}]}
    update = {"name": "chief", "nodeSelector": {"rack": "7"}, "annotations": {"consume": "x"}}
    found = workload(ADMITTED, admission=assignment, admissionChecks=[{"name": "a", "state": "Ready", "podSetUpdates": [update]}])
    raw = {"metadata": {"name": "spot"}, "spec": {"nodeLabels": {"pool": "spot"}, "tolerations": [{"key": "spot", "operator": "Exists"}]}}
    [known] = [dict([flavor(raw)])]
    seen = observed(found)
    assert seen.queueing is not None
    without = decide(seen, QUEUES, CREATED + 2)
    assert told(decide(seen, QUEUES, CREATED + 60))[0] == "FlavorUnknown"
    assert without.creates == ()
    [pod] = [
        each
        for each in decide(replace(seen, queueing=replace(seen.queueing, flavors=known)), QUEUES, CREATED + 2).creates
        if each["kind"] == "Pod"
    ]
    assert pod["spec"]["nodeSelector"] == {"pool": "spot", "rack": "7"}
    assert pod["spec"]["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    assert pod["metadata"]["annotations"]["consume"] == "x"


def test_the_pending_deadline_begins_with_the_admission() -> None:
    late = CREATED + 100_000
    assert Case(observed(workload(refused("no")), pendingDeadlineSeconds=10), QUEUES, late).pending_until == late + 10
    waiting = workload(refused("LocalQueue team-a doesn't exist", "Inadmissible"))
    assert told(plan(waiting, now=late, pendingDeadlineSeconds=10))[0] == "QueueNotFound"
    pod = Pod(created=late, node="").condition("PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient memory.")
    for after, phase in ((5.0, "Pending"), (15.0, "Failed")):
        found = plan(workload(ADMITTED, at=late), pods=(pod,), now=late + after, pendingDeadlineSeconds=10)
        assert found.status is not None
        assert found.status["phase"] == phase


ADMITTED_LATE = CREATED + 7200
WHAT_IS_KNOWN: dict[str, Queueing | None] = {
    "its Workload": Queueing(workloads=(workload(ADMITTED, at=ADMITTED_LATE),), priorities={"": 0}),
    "nothing yet, as the operator has just been started": None,
    "that its Workload was deleted": Queueing(priorities={"": 0}),
    "that it was made again and is not admitted yet": Queueing(workloads=(workload(),), priorities={"": 0}),
    "that Kueue is away": Queueing(away="gone"),
}


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("pod", [Pod(created=ADMITTED_LATE + 1), Pod(created=ADMITTED_LATE + 1).fetching(ADMITTED_LATE + 3)])
@pytest.mark.parametrize("known", WHAT_IS_KNOWN.values(), ids=WHAT_IS_KNOWN)
def test_a_pod_that_came_after_a_long_wait_in_the_queue_has_its_whole_pending_deadline(
    known: Queueing | None, pod: Pod, enabled: bool
) -> None:
    accepted = {"type": "Accepted", "status": "True", "reason": "Accepted", "lastTransitionTime": rfc3339(CREATED)}
    status = {"observedGeneration": 1, "phase": "Queued", "attempt": 0, "conditions": [accepted]}
    seen = replace(observed(pods=(pod,), status=status, pendingDeadlineSeconds=600), queueing=known)
    configuration = QUEUES if enabled else CONFIGURATION
    waits, over = (decide(seen, configuration, ADMITTED_LATE + after).status or {} for after in (20, 620))
    assert (waits.get("phase"), over.get("phase")) in {("Pending", "Failed"), ("Fetching", "Failed"), (None, "Failed")}
    assert over["failure"]["reason"] == "PendingDeadlineExceeded"


def test_before_the_first_list_of_workloads_an_attempt_that_is_taken_back_is_not_judged() -> None:
    first = plan(workload(EVICTED), pods=(Pod().running(),), retry={"preemption": 2})
    assert first.status is not None
    unknown = replace(observed(status=dict(first.status), retry={"preemption": 2}), queueing=None)
    found = decide(unknown, QUEUES, CREATED + 70)
    assert (found.status, found.requeue_at) == (None, CREATED + 71)
    switched_off = decide(unknown, CONFIGURATION, CREATED + 70)
    assert switched_off.status is not None
    assert switched_off.status["attempts"][0]["reason"] == "Preempted"


def updates(found: Plan) -> dict[str, object]:
    return {
        each.name: "deleted" if each.delete else {kind: holds for kind, (holds, _, _) in each.conditions.items()} for each in found.updates
    }


GIVEN_BACK = {"QuotaReserved": False, "Admitted": False, "Requeued": True}
FINISHED = {"observedGeneration": 1, "phase": "Succeeded", "completionTime": rfc3339(CREATED + 50)} | {
    "conditions": [
        {"type": kind, "status": "True", "reason": "Published", "lastTransitionTime": rfc3339(CREATED)}
        for kind in ("Succeeded", "Finished")
    ]
}
WHAT_BECOMES: dict[str, tuple[WorkloadRecord, dict[str, Any], object]] = {
    "it waits": (workload(refused("no")), {}, None),
    "it is admitted": (workload(ADMITTED), {}, None),
    "it runs": (workload(ADMITTED), {"pods": (Pod().running(),)}, {"PodsReady": True}),
    "it is fetched for": (workload(ADMITTED), {"pods": (Pod().fetching(),)}, None),
    "it runs and Kueue knows": (workload({**ADMITTED, "PodsReady": ("True", "Started", "")}), {"pods": (Pod().running(),)}, None),
    "taken back before it had a pod": (workload(EVICTED), {}, GIVEN_BACK),
    "taken back as its queue was stopped": (
        workload({**ADMITTED, "Evicted": ("True", "ClusterQueueStopped", "")}),
        {},
        {**GIVEN_BACK, "Requeued": False},
    ),
    "taken back while its pod is ending": (workload(EVICTED), {"pods": (Pod(deleted=CREATED + 90).running(),)}, None),
    "the job is suspended before it had a pod": (workload(refused("no")), {"suspend": True}, "deleted"),
    "the job is suspended while its pod is ending": (
        workload({**ADMITTED, "PodsReady": ("True", "Started", "")}),
        {"suspend": True, "pods": (Pod(deleted=CREATED + 90).running(),)},
        None,
    ),
    "the job is stopped before it had a pod": (workload(refused("no")), {"stop": True}, "deleted"),
    "the job has ended": (workload(ADMITTED), {"pods": (Pod().ran().published(),), "status": FINISHED}, {"Finished": True}),
    "it is finished": (workload({**ADMITTED, "Finished": ("True", "Succeeded", "")}), {"status": FINISHED}, None),
    "it is another's": (workload(ADMITTED, owner="somebody"), {"status": FINISHED}, None),
    "of an attempt that never was": (workload(ADMITTED, attempt=5), {}, "deleted"),
}


@pytest.mark.parametrize(("found", "rest", "expected"), WHAT_BECOMES.values(), ids=WHAT_BECOMES)
def test_a_place_is_kept_as_long_as_pods_need_it_and_given_back_then(found: WorkloadRecord, rest: dict[str, Any], expected: object) -> None:
    assert updates(plan(found, **rest)).get(found.name) == expected


def test_an_attempt_whose_place_is_taken_back_ends_its_pods_first_and_is_then_preempted_and_queued_anew() -> None:
    pod = Pod().running()
    first = plan(workload(EVICTED), pods=(pod,), retry={"preemption": 2})
    assert first.status is not None
    assert (first.status["ending"]["because"], [each.name for each in first.deletions]) == ("Evict", ["iris-chief-0"])
    assert updates(first) == {}
    gone = observed(workload(EVICTED), status=dict(first.status), retry={"preemption": 2})
    then = decide(gone, QUEUES, CREATED + 70)
    assert then.status is not None
    assert then.status["retries"] == {"preemption": 1}
    assert then.status["attempts"][0]["reason"] == "Preempted"
    assert then.requeue_at == CREATED + 70, "out of the queue, others would be served before it"
    assert updates(then) == {NAME: {**GIVEN_BACK, "Finished": True}}
    again = decide(observed(workload(EVICTED), status=dict(then.status), retry={"preemption": 2}), QUEUES, CREATED + 71)
    assert again.status is not None
    assert again.status["restart"]["begun"] is True
    last = decide(observed(workload(EVICTED), status=dict(again.status), retry={"preemption": 2}), QUEUES, CREATED + 72)
    assert last.workload is not None
    assert last.workload["metadata"]["name"] == names.workload_name(JOB, UID, 1)


def test_a_pod_that_ended_by_itself_before_has_the_say() -> None:
    found = plan(workload(EVICTED), pods=(Pod().ran(3).published(succeeded=False),))
    assert found.status is not None
    assert found.status["failure"]["reason"] == "ScriptExited"


@pytest.mark.parametrize(
    ("ended", "code", "reason"),
    [
        (CREATED + 40, 3, "ScriptExited"),
        (CREATED + 50, 3, "Preempted"),
        (CREATED + 55, 3, "Preempted"),
        # By the clock of a node that is slow.
        (CREATED + 40, 143, "Preempted"),
    ],
)
def test_a_script_that_had_failed_before_its_place_was_taken_back_has_failed_and_gives_it_back_all_the_same(
    ended: float, code: int, reason: str
) -> None:
    evicted, retry = workload(EVICTED, at=CREATED + 50), {"preemption": 3}
    first = plan(evicted, pods=(Pod().ran(code, at=ended),), retry=retry)
    assert first.status is not None
    assert [each.name for each in first.deletions] == ["iris-chief-0"]
    gone = Pod(deleted=CREATED + 90).ran(code, at=ended).published(succeeded=False)
    for pods, seen_before in (((gone,), ()), ((), (gone,))):
        seen = replace(
            observed(evicted, pods=pods, status=dict(first.status), retry=retry), gone=tuple(each.record() for each in seen_before)
        )
        found = decide(seen, QUEUES, CREATED + 95)
        assert found.status is not None
        attempts = found.status.get("attempts") or [found.status["failure"]]
        assert attempts[0]["reason"] == reason
        assert updates(found) == {NAME: {**GIVEN_BACK, "Finished": True}}


@pytest.mark.parametrize(("why", "pauses"), [("Preempted", False), ("PodsReadyTimeout", True), ("ClusterQueueStopped", True)])
def test_only_whom_its_queue_has_preempted_comes_back_without_a_pause(why: str, pauses: bool) -> None:
    evicted, retry = workload({**ADMITTED, "Evicted": ("True", why, "")}), {"preemption": 2}
    first = plan(evicted, pods=(Pod().running(),), retry=retry)
    assert first.status is not None
    then = decide(observed(evicted, status=dict(first.status), retry=retry), QUEUES, CREATED + 70)
    assert then.requeue_at is not None
    assert (then.requeue_at >= CREATED + 78) is pauses


WITHOUT_PLACE: dict[str, tuple[WorkloadRecord | None, Queueing, str]] = {
    "its Workload was finished by somebody": (workload({**ADMITTED, "Finished": ("True", "x", "y")}), Queueing(), "WorkloadFinished"),
    "Kueue says nothing of it": (workload(), Queueing(), "QueueSilent"),
    "it waits for checks": (workload({"QuotaReserved": ("True", "q", "")}), Queueing(), "AdmissionChecks"),
    "Kueue cannot be asked": (None, Queueing(refusal="failed calling webhook", barred=True), "QueueNotReachable"),
}


@pytest.mark.parametrize(("found", "known", "reason"), WITHOUT_PLACE.values(), ids=WITHOUT_PLACE)
def test_a_group_with_some_of_its_pods_and_no_place_says_so_and_ends_at_its_deadline(
    found: WorkloadRecord | None, known: Queueing, reason: str
) -> None:
    seen = observed(pods=(Pod(role="worker"),), replicas={"worker": {"count": 2}}, pendingDeadlineSeconds=60)
    seen = replace(seen, queueing=replace(known, workloads=(found,) if found else (), priorities={"": 0}))
    waits, over = (decide(seen, QUEUES, CREATED + after).status for after in (30, 70))
    assert waits is not None
    assert (waits["phase"], waits["pending"]["reason"]) == ("Pending", reason)
    assert over is not None
    assert over["failure"]["reason"] == "PendingDeadlineExceeded"
    assert decide(replace(seen, queueing=None), QUEUES, CREATED + 70).status is None, "what is known of it comes in a moment"


def test_a_workload_that_is_made_again_for_a_running_attempt_is_active_whatever_the_last_one_was() -> None:
    status = {"observedGeneration": 1, "attempt": 1, "restart": {"attempt": 1, "at": rfc3339(CREATED), "begun": True}}
    before = workload({**EVICTED, "Finished": ("True", "Failed", "")}, active=False)
    found = plan(before, pods=(Pod(attempt=1).running(),), status=status)
    assert found.workload is not None
    assert found.workload["spec"]["active"] is True


def test_whose_pods_have_ended_gives_its_place_back_in_one_write() -> None:
    found = plan(workload(EVICTED), pods=(Pod().ran(3).published(succeeded=False),))
    assert updates(found) == {NAME: {**GIVEN_BACK, "Finished": True}}


def test_whom_somebody_has_taken_out_of_the_queue_does_not_come_back_as_the_next_attempt() -> None:
    status = {"observedGeneration": 1, "attempt": 1, "restart": {"attempt": 1, "at": rfc3339(CREATED), "begun": True}}
    found = plan(workload({**EVICTED, "Finished": ("True", "Failed", "")}, active=False), status=status)
    assert found.workload is not None
    assert found.workload["spec"]["active"] is False
    assert told(plan(workload({}, attempt=1, active=False), status=status))[0] == "WorkloadInactive"


def test_of_a_workload_that_was_deleted_while_its_pods_run_another_is_asked_for_and_the_pods_go_only_when_others_have_the_place() -> None:
    pod = Pod().running()
    asked = plan(pods=(pod,))
    assert asked.workload is not None
    assert asked.deletions == ()
    patience = CREATED + 50 + workloads.TAKEN_AFTER_SECONDS
    full = workload(refused("insufficient unused quota for cpu in flavor default, 1 more needed"), at=CREATED + 50)
    before, after = (plan(full, pods=(pod,), now=at) for at in (patience - 1, patience))
    assert (before.deletions, before.requeue_at) == ((), patience)
    assert [each.name for each in after.deletions] == ["iris-chief-0"]


def test_a_group_of_which_a_pod_is_missing_gets_it_without_kueue_and_else_with_its_place_only() -> None:
    replicas = {"worker": {"count": 2}}
    there = Pod(role="worker").running()
    without = observed(pods=(there,), replicas=replicas)
    gone = decide(replace(without, queueing=Queueing(away="gone")), QUEUES, CREATED + 60)
    assert [each["metadata"]["name"] for each in gone.creates if each["kind"] == "Pod"] == ["iris-worker-1"]
    asked = decide(without, QUEUES, CREATED + 60)
    assert asked.workload is not None
    assert asked.status is None
    given = decide(observed(workload(ADMITTED), pods=(there,), replicas=replicas), QUEUES, CREATED + 60)
    assert [each["metadata"]["name"] for each in given.creates if each["kind"] == "Pod"] == ["iris-worker-1"]


def test_by_a_place_that_was_known_before_kueue_went_no_attempt_begins_and_no_time_passes() -> None:
    seen = observed(workload(ADMITTED), pendingDeadlineSeconds=30)
    assert seen.queueing is not None
    found = decide(replace(seen, queueing=replace(seen.queueing, away="gone")), QUEUES, CREATED + 60)
    assert told(found)[0] == "QueuesUnavailable"


def test_with_kueue_itself_gone_nothing_is_concluded_from_missing_workloads() -> None:
    found = decide(replace(observed(pods=(Pod().running(),)), queueing=Queueing(away="gone")), QUEUES, CREATED + 60)
    assert (found.workload, found.deletions, found.updates) == (None, (), ())


def test_a_condition_is_written_as_kueue_writes_its_own_and_without_a_reservation_there_is_no_admission() -> None:
    before = {"type": "Admitted", "status": "True", "reason": "Admitted", "message": "", "lastTransitionTime": "2027-01-01T00:00:00Z"}
    kept = {**before, "type": "Evicted"}
    update = WorkloadUpdate(
        "a", "u", {"Admitted": (False, "NoReservation", "x"), "Evicted": (True, "Preempted", ""), "QuotaReserved": (False, "Pending", "y")}
    )
    found = workloads.updated({"conditions": [before, kept], "admission": {"clusterQueue": "q"}, "requeueState": {}}, update, 4, CREATED)
    assert set(found) == {"conditions", "requeueState"}
    conditions = {each["type"]: each for each in found["conditions"]}
    assert conditions["Admitted"]["lastTransitionTime"] == rfc3339(CREATED)
    assert conditions["Evicted"]["lastTransitionTime"] == "2027-01-01T00:00:00Z"
    assert {each["observedGeneration"] for each in found["conditions"]} == {4}


def test_the_check_of_a_job_is_made_while_it_waits_in_a_queue_and_asks_for_no_place_there() -> None:
    first = plan(workload(refused("no")), preflight="Always", now=CREATED + 5)
    assert first.status is not None
    found = plan(workload(refused("no")), preflight="Always", now=CREATED + 16, status=dict(first.status))
    assert found.check is not None
    assert not [name for name in (*found.check["metadata"]["labels"], *found.check["metadata"].get("annotations", {})) if "kueue" in name]


@pytest.mark.parametrize(
    "raw", [None, {}, {"metadata": {"name": 3}}, {"metadata": {"name": "a"}, "spec": {"tolerations": [{"key": 1}], "nodeLabels": []}}]
)
def test_whatever_lies_in_flavors_and_priorities_nothing_raises(raw: object) -> None:
    flavor(raw)
    priority(raw)
    workload_record(raw)


@pytest.mark.parametrize(("conditions", "phase"), [(ADMITTED, "Publishing"), (EVICTED, "Succeeded")])
def test_an_evaluator_whose_place_is_taken_back_is_not_waited_for_when_success_is_decided(conditions: Conditions, phase: str) -> None:
    pods = (Pod().ran(at=CREATED + 50).published(at=CREATED + 51), Pod(role="evaluator").running())
    found = plan(workload(conditions), pods=pods, replicas={"chief": {}, "evaluator": {}}, checkpoints={"path": "${bucket}/m"})
    assert found.status is not None
    assert found.status["phase"] == phase
    assert [each.name for each in found.deletions if each.name.startswith(JOB)] == ([f"{JOB}-evaluator-0"] if phase == "Succeeded" else [])
