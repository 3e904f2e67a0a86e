"""What holds for every observation, however hostile or out of order: checked on generated ones."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tftrainer.messages import contract
from tftrainer.messages.contract import Failure, Reason, RunReport
from tftraining_operator.api.status import Because, Status
from tftraining_operator.core.configuration import Kueue, ResourceClass, Scheduling
from tftraining_operator.core.decide import decide
from tftraining_operator.core.names import RESOURCES, check_name, workload_name
from tftraining_operator.core.observe import job_record, pod_record, workload_record
from tftraining_operator.core.records import Observed, Plan, Queueing
from tftraining_operator.core.words import sentence

from .given import CONFIGURATION as SMALL
from .given import CREATED, JOB, NAMESPACE, POD_UID, UID, Pod, after, job, seen

NOW = CREATED + 100
CONFIGURATION = SMALL.model_copy(
    update={
        "resource_classes": {"v100": ResourceClass(cpu="8", memory="1Gi", gpus=1, resource_claim_template="one")},
        "kueue": Kueue(enabled=True),
        "scheduling": Scheduling(allowed_priority_classes=("high",), allowed_node_selector_keys=("zone",), allowed_toleration_keys=("x",)),
    }
)
CHECK = check_name(JOB, UID)

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=40))
garbage = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4), max_leaves=12
)


def _mostly(*good: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(good) | garbage


times = _mostly(
    "2027-01-15T08:00:02Z", "2027-01-15T08:05:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2027-01-15T08:00:02.5+23:59"
)
messages = _mostly(
    contract.encode_report(contract.FetchReport(resolved_args=("a",) * 40)).decode(),
    contract.encode_report(contract.FetchReport(failure=Failure(reason=Reason.IMPORT_MISSING, message="x" * 1024))).decode(),
    contract.encode_report(RunReport(exit_code=1, failure=Failure(reason=Reason.SCRIPT_RAISED, message="x" * 1024))).decode(),
    contract.encode_report(
        contract.PublishReport(succeeded=True, manifest_uri=f"s3://b/{contract.run_prefix(NAMESPACE, JOB, UID, 0)}manifest.json")
    ).decode(),
    contract.encode_report(
        contract.PublishReport(
            succeeded=True,
            manifest_uri=f"s3://b/{contract.run_prefix(NAMESPACE, JOB, UID, 0)}manifest.json",
            kept=2**62,
            note="\x1b[31mé" * 200,
        )
    ).decode(),
    "\u0000" * 4096,
    '{"kind":"run","exitCode":1,"failure":{"reason":"ScriptRaised","message":"\\ud800"}}',
)
states = _mostly("waiting", "running", "terminated").flatmap(
    lambda kind: st.fixed_dictionaries(
        {
            str(kind): st.fixed_dictionaries(
                {},
                optional={
                    "reason": _mostly("OOMKilled", "Completed", "Error", "ImagePullBackOff", "CreateContainerConfigError", "StartError"),
                    "message": messages,
                    "exitCode": _mostly(0, 1, 137, 143, 2**70),
                    "startedAt": times,
                    "finishedAt": times,
                },
            )
        }
    )
)
containers = st.lists(
    st.fixed_dictionaries({"name": _mostly(*contract.CONTAINERS)}, optional={"state": states | garbage, "restartCount": garbage}) | garbage,
    max_size=4,
)
conditions = st.lists(
    st.fixed_dictionaries(
        {"type": _mostly("PodScheduled", "DisruptionTarget", "Ready")},
        optional={"status": _mostly("True", "False"), "reason": _mostly("Unschedulable", "PreemptionByScheduler"), "message": garbage},
    )
    | garbage,
    max_size=3,
)
owners = _mostly([{"kind": "TFTrainingJob", "name": JOB, "uid": UID, "controller": True}], [{"uid": UID}], [])
pods = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {
                "name": _mostly(
                    f"{JOB}-chief-0",
                    f"{JOB}-chief-0-r1",
                    f"{JOB}-worker-0",
                    f"{JOB}-worker-1",
                    f"{JOB}-worker-1-r1",
                    f"{JOB}-evaluator-0",
                    CHECK,
                ),
                "namespace": st.just(NAMESPACE),
                "uid": st.sampled_from([POD_UID, POD_UID.replace("a", "b"), POD_UID.replace("a", "c")]),
            },
            optional={
                "ownerReferences": owners,
                "labels": garbage | st.just({"tftraining.dev/job-name": JOB}),
                "annotations": garbage
                | st.fixed_dictionaries({RESOURCES: _mostly('{"cpu":"2","memory":"1Gi","gpus":2}', '{"gpus":1e9}', "{", '{"cpu":[]}')}),
                "creationTimestamp": times,
                "deletionTimestamp": times,
            },
        )
    },
    optional={
        "spec": garbage,
        "status": garbage
        | st.fixed_dictionaries(
            {},
            optional={
                "phase": _mostly("Pending", "Running", "Succeeded", "Failed", "Unknown"),
                "reason": _mostly("Evicted", "NodeLost", "OutOfcpu"),
                "message": _mostly('Usage of EmptyDir volume "workspace" exceeds the limit "12Gi".'),
                "conditions": conditions | garbage,
                "initContainerStatuses": containers | garbage,
                "containerStatuses": containers | garbage,
            },
        ),
    },
)
job_conditions = st.lists(
    st.fixed_dictionaries(
        {"type": _mostly("Finished", "Succeeded", "Failed", "Suspended", "Stopped"), "status": _mostly("True", "False")},
        optional={"reason": _mostly("Suspending"), "lastTransitionTime": times},
    )
    | garbage,
    max_size=4,
)
jobs = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.just(JOB), "namespace": st.just(NAMESPACE), "uid": st.just(UID)},
            optional={"generation": garbage, "creationTimestamp": times, "deletionTimestamp": times},
        )
    },
    optional={
        "spec": garbage
        | st.fixed_dictionaries(
            {"script": _mostly({"inline": "print(1)", "name": "a.py"}, {"uri": "s3://bucket/a.py"})},
            optional={
                "suspend": _mostly(True, False),
                "stop": _mostly(True, False),
                "runtime": _mostly("tf1", "tf3"),
                "replicas": _mostly(
                    {"worker": {"count": 2}},
                    {"chief": {}, "worker": {"resources": {"gpus": 1}}},
                    {"ps": {}},
                    {"chief": {}, "evaluator": {}},
                ),
                "checkpoints": _mostly({"path": "${bucket}/m"}),
                "successPolicy": _mostly("Chief", "AllWorkers"),
                "resources": garbage
                | st.fixed_dictionaries({}, optional={"memory": _mostly("4Gi", "0"), "workspace": _mostly("1Mi"), "gpus": _mostly(1)}),
                "preflight": _mostly("Auto", "Always", "Never"),
                "resourceClass": _mostly("v100", "a100"),
                "scheduling": garbage
                | st.fixed_dictionaries(
                    {},
                    optional={
                        "queue": _mostly("team-a"),
                        "priorityClassName": _mostly("high"),
                        "nodeSelector": _mostly({"zone": "a"}),
                        "tolerations": _mostly([{"key": "x"}]),
                    },
                ),
                "args": garbage,
                "retry": garbage
                | st.dictionaries(st.sampled_from(["userError", "infrastructure", "outOfMemory", "memoryGrowth"]), _mostly(1, 2)),
                "activeDeadlineSeconds": _mostly(1, 10),
                "pendingDeadlineSeconds": _mostly(1, 10),
            },
        ),
        "status": garbage
        | st.fixed_dictionaries(
            {},
            optional={
                "phase": _mostly("Pending", "Running", "Succeeded"),
                "attempt": _mostly(0, 1, -5, 2**80),
                "conditions": job_conditions | garbage,
                "completionTime": times,
                "startTime": times,
                "pods": garbage
                | st.lists(
                    st.fixed_dictionaries(
                        {"name": _mostly(f"{JOB}-worker-1", f"{JOB}-evaluator-0"), "phase": _mostly("Ended", "Succeeded")}
                    )
                ),
                "pending": garbage,
                "failure": garbage | st.just({"reason": "OutOfMemory"}),
                "outputs": garbage,
                "preflight": garbage
                | st.fixed_dictionaries(
                    {"result": _mostly("Started", "Passed", "Failed", "Inconclusive"), "lastUpdateTime": times},
                    optional={"message": st.text(max_size=40)},
                ),
                "ending": garbage
                | st.fixed_dictionaries({"attempt": _mostly(0, 1), "because": st.sampled_from(list(Because)), "since": times}),
                "restart": garbage
                | st.fixed_dictionaries({"attempt": _mostly(0, 1), "at": times}, optional={"begun": st.booleans(), "waitingSince": times}),
                "retries": garbage | st.dictionaries(st.sampled_from(["userError", "infrastructure"]), _mostly(0, 1, 2)),
                "attempts": garbage | st.lists(st.fixed_dictionaries({"attempt": _mostly(0, 1), "reason": st.just("Evicted")})),
            },
        ),
    },
)


workloads = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {
                "name": _mostly(workload_name(JOB, UID, 0), workload_name(JOB, UID, 1), workload_name(JOB, UID, 2**40)),
                "namespace": st.just(NAMESPACE),
                "uid": st.sampled_from(["w", "x"]),
                "ownerReferences": owners,
            },
            optional={"creationTimestamp": times, "deletionTimestamp": times},
        )
    },
    optional={
        "spec": garbage | st.fixed_dictionaries({"active": _mostly(True, False)}),
        "status": garbage
        | st.fixed_dictionaries(
            {},
            optional={
                "conditions": garbage
                | st.lists(
                    garbage
                    | st.fixed_dictionaries(
                        {"type": _mostly("QuotaReserved", "Admitted", "Evicted", "Finished"), "status": _mostly("True", "False")},
                        optional={"reason": _mostly("Pending", "Preempted"), "message": messages, "lastTransitionTime": times},
                    ),
                    max_size=4,
                ),
                "admission": garbage
                | st.fixed_dictionaries(
                    {"podSetAssignments": garbage | st.lists(st.fixed_dictionaries({"name": _mostly("chief"), "flavors": garbage}))}
                ),
                "admissionChecks": garbage | st.lists(st.fixed_dictionaries({"name": garbage, "state": garbage, "podSetUpdates": garbage})),
            },
        ),
    },
)
queueings = st.none() | st.builds(
    lambda away, raws, refusal, barred, priorities: Queueing(
        away, tuple(record for raw in raws if (record := workload_record(raw)) is not None), refusal, barred, {}, priorities
    ),
    st.sampled_from(["", "", "gone"]),
    st.lists(workloads, max_size=3),
    st.sampled_from(["", "failed calling webhook"]),
    st.booleans(),
    st.sampled_from([None, {}, {"": 1, "high": 7}]),
)


def observed_from(raw_job: Any, raw_pods: list[Any], raw_gone: list[Any], refusal: str) -> Observed | None:
    record = job_record(raw_job)
    if record is None:
        return None
    pods, gone = ([pod for raw in raws if (pod := pod_record(raw)) is not None] for raws in (raw_pods, raw_gone))
    return Observed(record, tuple(pods), tuple(gone), refusal)


def is_kept_by_the_schema(status: Any) -> bool:
    """Whether the API server would store exactly this: within all bounds, and nothing that it would prune."""
    read = Status.model_validate(status).model_dump(by_alias=True, exclude_unset=True, mode="json")
    return bool(read == msgspec.json.decode(msgspec.json.encode(status)))


@given(raw=garbage)
@settings(max_examples=400)
def test_garbage_is_no_object_and_raises_nothing(raw: Any) -> None:
    assert job_record(raw) is None
    assert pod_record(raw) is None


@pytest.mark.thorough
@given(raw_job=jobs, raw_pods=st.lists(pods, max_size=3), raw_gone=st.lists(pods, max_size=2), refusal=st.sampled_from(["", "quota"]))
@example(
    # Found: a phase that is a list.
    raw_job={
        "metadata": {"namespace": NAMESPACE, "name": JOB, "uid": UID},
        "spec": {"script": {"name": "a.py", "inline": "print(1)"}},
        "status": {"attempt": 0, "phase": []},
    },
    raw_pods=[Pod(created=CREATED + 300).raw()],
    raw_gone=[],
    refusal="",
)
@settings(max_examples=1000)
def test_whatever_is_observed_plans_come_of_it_that_settle_within_three_looks(
    raw_job: Any, raw_pods: list[Any], raw_gone: list[Any], refusal: str
) -> None:
    observed = observed_from(raw_job, raw_pods, raw_gone, refusal)
    assert observed is not None
    plans = []
    # An attempt that has failed may be followed by another, whose pod's name may be taken.
    for _ in range(4):
        plan = decide(observed, CONFIGURATION, NOW)
        plans.append(plan)
        if plan.status is not None and plan.rule != "finished":
            assert is_kept_by_the_schema(plan.status)
        assert bool(plan.events) <= (plan.status is not None)
        own = {pod.uid for pod in (*observed.pods, *observed.gone) if pod.owner_uid == UID}
        assert {deletion.uid for deletion in plan.deletions} <= own
        observed = after(observed, plan)
    assert (plans[-1].status, plans[-1].events) == (None, ()), plans


@pytest.mark.thorough
@given(raw_job=jobs, raw_pods=st.lists(pods, max_size=3), refusal=st.sampled_from(["", "quota"]), queueing=queueings)
@settings(max_examples=500)
def test_whatever_lies_in_workloads_nothing_raises_and_only_what_the_job_owns_is_touched(
    raw_job: Any, raw_pods: list[Any], refusal: str, queueing: Queueing | None
) -> None:
    observed = observed_from(raw_job, raw_pods, [], refusal)
    assert observed is not None
    observed = replace(observed, queueing=queueing)
    owned = {each.uid for each in queueing.workloads if each.owner_uid == UID} if queueing is not None else set()
    for _ in range(4):
        plan = decide(observed, CONFIGURATION, NOW)
        if plan.status is not None and plan.rule != "finished":
            assert is_kept_by_the_schema(plan.status)
        assert {update.uid for update in plan.updates} <= owned
        observed = after(observed, plan)


@given(message=st.text(max_size=5000), code=st.integers(-1, 300))
@settings(max_examples=300)
def test_no_termination_message_grows_a_status_beyond_its_schema(message: str, code: int) -> None:
    pod = Pod().fetched().running()
    for name in contract.CONTAINERS:
        pod = pod.container(name, terminated={"exitCode": code, "message": message})
    plan = decide(seen(job(), pod), CONFIGURATION, NOW)
    assert plan.status is not None
    assert is_kept_by_the_schema(plan.status)
    assert len(msgspec.json.encode(plan.status)) < 32_000


@given(
    note=st.text(max_size=1024),
    texts=st.tuples(st.text(max_size=1024), st.text(max_size=1024)),
    counts=st.tuples(*[st.integers(0, 2**62)] * 3),
    reason=st.sampled_from([None, *Reason]),
    code=st.integers(0, 255),
)
@settings(max_examples=300)
def test_whatever_the_publisher_says_of_the_outputs_is_told_whole_in_plain_words_within_the_schema_and_once(
    note: str, texts: tuple[str, str], counts: tuple[int, int, int], reason: Reason | None, code: int
) -> None:
    failure = Failure(reason=reason, message=texts[0], hint=texts[1]) if reason else None
    objects, kept, skipped = counts
    pod = (
        Pod()
        .ran(code)
        .published(
            succeeded=not code, exit_code=int(bool(failure)), failure=failure, note=note, objects=objects, kept=kept, skipped=skipped
        )
    )
    told = contract.decode_report(pod.record().containers[-1].message, contract.PublishReport).note
    observed = seen(job(), pod)
    plan = decide(observed, CONFIGURATION, NOW)
    assert plan.status is not None
    assert is_kept_by_the_schema(plan.status)
    assert all(character.isspace() or character >= " " for note in plan.events for character in note.message)
    plain = sentence(told)
    assert [note.message for note in plan.events if note.reason == "OutputsIncomplete"] == ([plain] if plain else [])
    assert plan.status.get("message", "").endswith(plain)
    assert decide(after(observed, plan), CONFIGURATION, NOW).rule == "finished"


LIFE = [
    Pod(),
    Pod().fetching(),
    Pod().fetched(),
    Pod().running(),
    Pod().ran(),
    Pod().ran().published(kept=1, note="one file is kept"),
    replace(Pod().ran().published(kept=1, note="one file is kept"), phase="Succeeded"),
]


def lived(steps: list[Pod]) -> dict[str, Any]:
    observed = seen(job())
    for second, pod in enumerate(steps):
        observed = replace(observed, pods=(pod.record(),))
        observed = after(observed, decide(observed, CONFIGURATION, NOW + second))
    return {key: value for key, value in observed.job.status.items() if key not in {"conditions", "pods"}}


@pytest.mark.parametrize("dropped", list(itertools.chain.from_iterable(itertools.combinations(range(6), n) for n in range(7))))
def test_whatever_is_missed_of_a_life_its_end_is_the_same(dropped: tuple[int, ...]) -> None:
    assert lived([pod for number, pod in enumerate(LIFE) if number not in dropped]) == lived(LIFE)


@given(order=st.lists(st.sampled_from(LIFE), max_size=8))
@settings(max_examples=200)
def test_states_that_come_doubled_or_late_lead_to_the_same_end(order: list[Pod]) -> None:
    assert lived([*order, LIFE[-1]])["phase"] == "Succeeded"


@pytest.mark.parametrize("code", range(256))
def test_every_exit_code_has_one_true_reason(code: int) -> None:
    def ended() -> Plan:
        return decide(seen(job(), Pod().ran(code).published(succeeded=code == 0)), CONFIGURATION, NOW)

    status = ended().status
    assert status is not None
    if code == 0:
        assert status["phase"] == "Succeeded"
        return
    expected = {
        143: ("Terminated", "Infrastructure"),
        **{128 + signal: ("ScriptCrashed", "UserError") for signal in (4, 6, 7, 8, 11)},
        **{128 + signal: ("ScriptKilled", "Unknown") for signal in range(1, 65) if signal not in {4, 6, 7, 8, 11, 15}},
    }.get(code, ("ScriptExited", "UserError"))
    assert (status["failure"]["reason"], status["failure"]["cause"]) == expected
    assert status["failure"]["exitCode"] == code
    assert str(code) in status["message"]
    assert status["failure"]["hint"]
