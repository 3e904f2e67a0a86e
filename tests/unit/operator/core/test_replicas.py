"""Jobs of several replicas: what is made for them, when they run, and how they end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Failure, Reason, RunReport
from tftraining_operator.core import names
from tftraining_operator.core.attempts import asked_gpus, members
from tftraining_operator.core.culprit import PATIENCE_SECONDS
from tftraining_operator.core.decide import decide
from tftraining_operator.core.records import JobRecord, Observed, Plan
from tftraining_operator.core.rules.end import EVALUATION_SECONDS

from .given import CONFIGURATION, CREATED, NAMESPACE, UID, Pod, after, job, pods, seen

NOW = CREATED + 100
GROUP: dict[str, Any] = {"chief": {}, "worker": {"count": 2}, "ps": {"count": 1}}
EVALUATED: dict[str, Any] = {"replicas": GROUP | {"evaluator": {}}, "checkpoints": {"path": "${bucket}/m"}}
CHIEF, PS, EVALUATOR = Pod(), Pod(role="ps"), Pod(role="evaluator")
WORKERS = (Pod(role="worker"), Pod(role="worker", index=1))
COLLECTIVE = (
    "UnavailableError: Collective ops is aborted by: Error reported from /job:worker/task:{}: The following tasks are unhealthy (stopped "
    "sending heartbeats): The tasks have crashed."
)
NAMELESS = "DeadlineExceededError: Collective ops is aborted by: Deadline Exceeded RPC: /tensorflow.CoordinationService/Heartbeat"


def group(status: dict[str, Any] | None = None, *, replicas: dict[str, Any] | None = None, **spec: Any) -> JobRecord:
    return job(status, replicas=replicas or GROUP, **spec)


def raised(pod: Pod, exception: str, *, at: float = CREATED + 60, line: int = 7) -> Pod:
    failure = Failure(
        reason=Reason.SCRIPT_RAISED, message=f"the script raised {exception}", exception=exception, file="train.py", line=line
    )
    return pod.ran(1, RunReport(exit_code=1, failure=failure), at=at).published(succeeded=False, at=at + 1)


def decided(observed: Observed, now: float = NOW) -> Plan:
    return decide(observed, CONFIGURATION, now)


MEMBERS: dict[str, tuple[Any, list[str]]] = {
    "nothing said": (None, ["chief 0"]),
    "no role": ({}, ["chief 0"]),
    "the chief alone": ({"chief": {}}, ["chief 0"]),
    "workers alone": ({"worker": {"count": 2}}, ["worker 0", "worker 1"]),
    "all roles, the chief first": (GROUP, ["chief 0", "worker 0", "worker 1", "ps 0"]),
    "a role that nobody knows": ({"gambler": {"count": 5}}, ["chief 0"]),
    "a count of another type": ({"worker": {"count": "2"}}, ["chief 0"]),
    "no mapping": (["worker"], ["chief 0"]),
    "less than nothing": ({"worker": {"count": -1}}, ["chief 0"]),
}


@pytest.mark.parametrize(("replicas", "expected"), MEMBERS.values(), ids=MEMBERS)
def test_an_attempt_has_the_replicas_that_the_job_names(replicas: Any, expected: list[str]) -> None:
    spec = {} if replicas is None else {"replicas": replicas}
    assert [f"{role} {index}" for role, index in members(spec)] == expected


def test_nobody_can_have_a_million_pods_made() -> None:
    assert len(members({"replicas": {"worker": {"count": 10**9}}})) == 100


class TestWhatIsMade:
    def test_is_a_service_then_the_script_then_a_pod_for_each_replica(self) -> None:
        plan = decided(seen(group()))
        assert [body["kind"] for body in plan.creates] == ["Service", "ConfigMap", "Pod", "Pod", "Pod", "Pod"]
        assert [body["metadata"]["name"] for body in pods(plan)] == ["iris-chief-0", "iris-worker-0", "iris-worker-1", "iris-ps-0"]

    def test_knows_where_the_others_are_by_names_that_the_service_gives(self) -> None:
        plan = decided(seen(group()))
        service = plan.creates[0]
        domain = f"{service['metadata']['name']}:2222"
        for body, role, index in zip(pods(plan), ("chief", "worker", "worker", "ps"), (0, 0, 1, 0), strict=True):
            of = plan_of(body)
            assert (of.role, of.index) == (role, index)
            assert of.peers == {
                "chief": (f"iris-chief-0.{domain}",),
                "worker": (f"iris-worker-0.{domain}", f"iris-worker-1.{domain}"),
                "ps": (f"iris-ps-0.{domain}",),
            }
            assert body["spec"]["hostname"] == body["metadata"]["name"]
            assert body["spec"]["subdomain"] == service["metadata"]["name"]
            assert service["spec"]["selector"].items() <= body["metadata"]["labels"].items()
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["publishNotReadyAddresses"] is True

    def test_has_names_of_its_own_in_each_attempt_so_that_no_address_is_an_old_one(self) -> None:
        restart = {"attempt": 1, "at": "2027-01-15T08:00:00Z", "begun": True}
        plan = decided(seen(group({"attempt": 1, "restart": restart})))
        assert all("-r1." in address for of in map(plan_of, pods(plan)) for role in of.peers.values() for address in role)

    def test_says_whether_the_job_may_have_another_keras_than_its_runtimes(self) -> None:
        chosen = [{"name": "TF_USE_LEGACY_KERAS", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
        for env, plain in (([{"name": "X", "value": "1"}], True), (chosen, False)):
            assert [plan_of(body).plain_keras for body in pods(decided(seen(group(env=env))))] == [plain] * 4

    def test_of_one_replica_is_a_pod_without_service_hostname_or_peers(self) -> None:
        for replicas in ({"chief": {}}, {}):
            plan = decided(seen(job(replicas=replicas)))
            assert [body["kind"] for body in plan.creates] == ["ConfigMap", "Pod"]
            assert plan_of(pods(plan)[0]).peers == {}
            assert "subdomain" not in pods(plan)[0]["spec"]

    def test_has_the_resources_of_its_role(self) -> None:
        replicas = {"chief": {}, "worker": {"count": 1, "resources": {"gpus": 2, "memory": "8Gi"}}}
        chief, worker = pods(decided(seen(group(replicas=replicas, resources={"cpu": "3", "gpus": 1}))))
        of_chief, of_worker = (body["spec"]["containers"][0]["resources"]["limits"] for body in (chief, worker))
        assert (of_chief["memory"], of_chief["nvidia.com/gpu"]) == ("2560Mi", "1")
        assert (of_worker["memory"], of_worker["nvidia.com/gpu"]) == ("8Gi", "2")
        assert worker["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "1"

    def test_is_what_is_missing_where_an_operator_was_killed_midway(self) -> None:
        plan = decided(seen(group(), CHIEF, WORKERS[1]))
        assert [body["metadata"]["name"] for body in pods(plan)] == ["iris-worker-0", "iris-ps-0"]


def plan_of(body: Any) -> contract.Plan:
    variables = {each["name"]: each.get("value", "") for each in body["spec"]["containers"][0]["env"]}
    return contract.decode_plan(variables[contract.PLAN_VARIABLE].replace("$$", "$"))


class TestWhileItGoesOn:
    def test_it_waits_as_long_as_one_of_them_waits_and_says_which(self) -> None:
        unplaced = replace(WORKERS[1], node="").condition(
            "PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu."
        )
        status = decided(seen(group(), CHIEF.running(), WORKERS[0].running(), unplaced, PS.running())).status
        assert status is not None
        assert status["phase"] == "Pending"
        assert status["pending"]["message"].startswith("worker 1: ")
        assert status["replicas"] == {"chief": {"active": 1}, "worker": {"active": 1, "pending": 1}, "ps": {"active": 1}}

    def test_it_runs_when_the_scripts_of_all_have_been_started(self) -> None:
        everyone = (CHIEF, *WORKERS, PS)
        status = decided(seen(group(), *(each.running() for each in everyone))).status
        assert status is not None
        assert (status["phase"], status["message"]) == ("Running", "The script runs in 4 of 4 pods.")
        assert [(each["role"], each["index"], each["phase"]) for each in status["pods"]] == [
            *[("chief", 0, "Running"), ("worker", 0, "Running"), ("worker", 1, "Running"), ("ps", 0, "Running")]
        ]
        assert {each["type"]: each["status"] for each in status["conditions"]}["Running"] == "True"

    def test_a_worker_that_has_ended_well_is_no_failure(self) -> None:
        status = decided(seen(group(), CHIEF.running(), WORKERS[0].running(), WORKERS[1].ran().published(), PS.running())).status
        assert status is not None
        assert status["phase"] == "Running"
        assert status["replicas"]["worker"] == {"active": 1, "succeeded": 1}

    def test_its_time_to_run_begins_where_the_last_of_them_has_started(self) -> None:
        late = WORKERS[1].running(at=CREATED + 1000)
        everyone = (CHIEF.running(), WORKERS[0].running(), late, PS.running())
        observed = seen(group(activeDeadlineSeconds=100), *everyone)
        assert decided(observed, CREATED + 1000 + 100).rule == "running"
        over = decided(observed, CREATED + 1000 + 100 + 30 + 120).status
        assert over is not None
        assert over["failure"]["reason"] == "DeadlineExceeded"

    def test_a_half_that_waits_too_long_for_the_other_gives_its_place_back(self) -> None:
        plan = decided(seen(group(pendingDeadlineSeconds=60), CHIEF.running(), refusal="exceeded quota: small"), CREATED + 100)
        assert plan.status is not None
        assert plan.status["failure"]["reason"] == "PendingDeadlineExceeded"
        assert [each.name for each in plan.deletions] == ["iris-chief-0"]
        waits = decided(seen(group(), CHIEF.running(), refusal="exceeded quota: small"))
        assert waits.status is not None
        assert waits.status["pending"]["message"].startswith("1 of 4 pods are there; worker 0: ")
        assert [body["metadata"]["name"] for body in pods(waits)] == ["iris-worker-0"], "the others would be refused as well"

    def test_an_attempt_that_waited_for_its_last_replica_has_not_run(self) -> None:
        evicted = (
            CHIEF.ran(143, at=CREATED + 3000).published(succeeded=False).condition("DisruptionTarget", "True", "EvictionByEvictionAPI")
        )
        unplaced = replace(WORKERS[1], node="")
        plan = decided(seen(group(retry={"infrastructure": 1}), evicted, WORKERS[0].running(), unplaced, PS.running()), CREATED + 3010)
        assert plan.status is not None
        assert (plan.status["phase"], plan.status["usage"].get("runningSeconds", 0)) == ("Restarting", 0)

    def test_changes_of_many_pods_that_come_every_moment_are_told_when_it_is_quiet(self) -> None:
        first = seen(group(), CHIEF.running(), WORKERS[0].fetching(at=CREATED + 20), WORKERS[1].fetching(at=CREATED + 20), PS)
        told = after(first, decided(first, CREATED + 30))
        fresh = WORKERS[0].fetched().running(at=CREATED + 31)
        changed = replace(told, pods=tuple(pod.record() for pod in (CHIEF.running(), fresh, WORKERS[1].fetching(at=CREATED + 20), PS)))
        plan = decided(changed, CREATED + 32)
        assert (plan.status, plan.requeue_at) == (None, CREATED + 34)
        assert decided(changed, CREATED + 35).status is not None


class TestItsSuccess:
    def test_is_that_of_the_chief_and_all_others_are_ended_then(self) -> None:
        plan = decided(seen(group(), CHIEF.ran().published(), *(each.running() for each in (*WORKERS, PS))))
        assert plan.status is not None
        assert plan.status["phase"] == "Succeeded"
        assert plan.status["replicas"] == {"chief": {"succeeded": 1}, "worker": {"ended": 2}, "ps": {"ended": 1}}
        assert sorted(each.name for each in plan.deletions) == ["iris-ps-0", "iris-worker-0", "iris-worker-1"]

    def test_is_that_of_worker_0_where_there_is_no_chief(self) -> None:
        workers = {"worker": {"count": 2}}
        first = published(WORKERS[0].ran(), f"{contract.run_prefix(NAMESPACE, 'iris', UID, 0)}{contract.MANIFEST_NAME}")
        assert phase(decided(seen(group(replicas=workers), first, WORKERS[1].running()))) == "Succeeded"
        assert phase(decided(seen(group(replicas=workers), WORKERS[0].running(), WORKERS[1].ran().published()))) == "Running"

    def test_waits_for_all_workers_where_the_job_says_so_but_for_no_parameter_server(self) -> None:
        of_all = group(successPolicy="AllWorkers")
        chief, ended = CHIEF.ran().published(), WORKERS[0].ran().published()
        plan = decided(seen(of_all, chief, ended, WORKERS[1].running(), PS.running()))
        assert plan.status is not None
        assert (plan.status["phase"], plan.status["message"]) == (
            "Running",
            "The script runs in 2 of 4 pods; that of chief 0 has succeeded.",
        )
        assert phase(decided(seen(of_all, chief, ended, WORKERS[1].ran().published(), PS.running()))) == "Succeeded"

    def test_is_none_where_a_worker_fails_that_has_to_succeed(self) -> None:
        plan = decided(seen(group(successPolicy="AllWorkers"), CHIEF.ran().published(), raised(WORKERS[0], "ValueError: x"), PS))
        assert plan.status is not None
        assert plan.status["failure"]["pod"] == "iris-worker-0"

    def test_stays_where_a_worker_fails_afterwards(self) -> None:
        observed = seen(group(), CHIEF.ran().published(), *(each.running() for each in (*WORKERS, PS)))
        ended = after(observed, decided(observed))
        later = replace(ended, pods=tuple(pod.record() for pod in (CHIEF.ran().published(), raised(WORKERS[0], "ValueError: x"))))
        assert decided(later).status is None


class TestAnEvaluator:
    def observed(self, chief: Pod, evaluator: Pod | None, *others: Pod, **spec: Any) -> Observed:
        pods = (chief, *(others or (each.running() for each in (*WORKERS, PS))), *([evaluator] if evaluator else []))
        return seen(group(**EVALUATED, **spec), *pods)

    def test_is_a_pod_of_its_own_for_images_that_know_it(self) -> None:
        bodies = pods(decided(seen(group(**EVALUATED))))
        assert bodies[-1]["metadata"]["name"] == "iris-evaluator-0"
        assert (plan_of(bodies[-1]).evaluates, plan_of(bodies[0]).evaluates) == (True, False)
        assert "iris-evaluator-0" in plan_of(bodies[0]).peers["evaluator"][0]
        assert all("--contract=6" in body["spec"]["initContainers"][0]["command"] for body in bodies)

    def test_may_go_on_for_a_while_when_success_is_decided_and_the_others_are_ended(self) -> None:
        first = self.observed(CHIEF.ran().published(), EVALUATOR.running())
        plan = decided(first)
        assert plan.status is not None
        assert (plan.status["phase"], plan.rule) == ("Publishing", "succeeded")
        assert "Evaluator 0 may go on until 2027-" in plan.status["message"]
        assert plan.status["replicas"]["evaluator"] == {"active": 1}
        assert plan.status["replicas"]["worker"] == {"ended": 2}
        assert sorted(each.name for each in plan.deletions) == ["iris-ps-0", "iris-worker-0", "iris-worker-1"]
        # The others are gone by now, and nobody takes that for a loss.
        told = after(first, plan)
        gone = replace(told, pods=tuple(pod.record() for pod in (CHIEF.ran().published(), EVALUATOR.running())))
        for second in (1, 2, 3):
            again = decided(gone, NOW + second)
            assert (again.rule, again.deletions) == ("succeeded", ())
            # An operator that was started anew knows of them by the status alone.
            assert again.status is None or again.status["replicas"]["worker"] == {"ended": 2}
            gone = after(gone, again)
        last = [pod.ran(143).published(succeeded=False).record() for pod in (*WORKERS, PS)]
        ended = replace(told, pods=tuple(pod.record() for pod in (CHIEF.ran().published(), EVALUATOR.ran().published())), gone=tuple(last))
        over = decided(ended, NOW + 5)
        assert over.status is not None
        assert over.status["phase"] == "Succeeded"
        assert over.status["replicas"] == {
            "chief": {"succeeded": 1},
            "worker": {"ended": 2},
            "ps": {"ended": 1},
            "evaluator": {"succeeded": 1},
        }

    def test_is_ended_when_its_time_is_over_and_that_is_no_failure(self) -> None:
        observed = self.observed(CHIEF.ran(at=CREATED + 60).published(at=CREATED + 61), EVALUATOR.running(), PS)
        before = decided(observed, CREATED + 61 + EVALUATION_SECONDS - 1)
        assert (phase(before), before.requeue_at) == ("Publishing", CREATED + 61 + EVALUATION_SECONDS)
        plan = decided(observed, CREATED + 61 + EVALUATION_SECONDS)
        assert phase(plan) == "Succeeded"
        assert "iris-evaluator-0" in {each.name for each in plan.deletions}
        assert plan.status is not None
        assert plan.status["replicas"]["evaluator"] == {"ended": 1}

    @pytest.mark.parametrize("spec", [{"suspend": True}, {"stop": True}])
    def test_is_not_waited_for_where_the_job_is_to_end_now(self, spec: dict[str, Any]) -> None:
        assert phase(decided(self.observed(CHIEF.ran().published(), EVALUATOR.running(), **spec))) == "Succeeded"

    def test_is_not_waited_for_where_its_script_does_not_run(self) -> None:
        for evaluator in (None, EVALUATOR, EVALUATOR.fetching(), raised(EVALUATOR, "ValueError: x"), EVALUATOR.ran().published()):
            assert phase(decided(self.observed(CHIEF.ran().published(), evaluator))) == "Succeeded"

    def test_never_decides_success(self) -> None:
        assert phase(decided(self.observed(CHIEF.running(), EVALUATOR.ran().published()))) == "Running"

    def test_that_fails_before_ends_the_attempt_as_any_other_replica(self) -> None:
        plan = decided(self.observed(CHIEF.running(), raised(EVALUATOR, "ValueError: no labels")))
        assert plan.status is not None
        assert (plan.status["phase"], plan.status["failure"]["pod"]) == ("Failed", "iris-evaluator-0")
        assert plan.status["message"].startswith("Evaluator 0 failed")

    def test_has_its_time_from_the_last_success_that_the_job_needs(self) -> None:
        chief, evaluator = CHIEF.ran(at=CREATED + 60).published(at=CREATED + 61), EVALUATOR.running()
        workers = (WORKERS[0].ran(at=CREATED + 60).published(at=CREATED + 60), WORKERS[1].ran(at=CREATED + 500).published(at=CREATED + 501))
        plan = decided(self.observed(chief, evaluator, *workers, PS, successPolicy="AllWorkers"), CREATED + 600)
        assert plan.requeue_at == CREATED + 501 + EVALUATION_SECONDS


def published(pod: Pod, manifest: str) -> Pod:
    return pod.published(manifest_uri=f"s3://bucket/{manifest}")


def phase(plan: Plan) -> str:
    assert plan.status is not None
    return str(plan.status["phase"])


CULPRITS: dict[str, tuple[tuple[Pod, ...], str, str, str]] = {
    "the one that raised, though its victims are louder": (
        (
            raised(CHIEF, COLLECTIVE.format(1), at=CREATED + 67),
            raised(WORKERS[1], "ValueError: bad batch"),
            WORKERS[0].running(),
            PS.running(),
        ),
        "iris-worker-1",
        "ScriptRaised",
        "Worker 1 failed first: the script raised ValueError: bad batch; chief 0 followed.",
    ),
    "the one that was killed for want of memory": (
        (raised(CHIEF, COLLECTIVE.format(0), at=CREATED + 67), WORKERS[0].ran(137, reason="OOMKilled").published(succeeded=False)),
        "iris-worker-0",
        "OutOfMemory",
        "Worker 0 failed first: the script needed more memory than",
    ),
    "the first of two that raise by themselves": (
        (raised(CHIEF, "KeyError: 'x'", at=CREATED + 70), raised(WORKERS[0], "ValueError: y", at=CREATED + 60)),
        "iris-worker-0",
        "ScriptRaised",
        "Worker 0 failed first: the script raised ValueError: y; chief 0 followed.",
    ),
    "the one that was evicted, whenever it is gone": (
        (
            raised(CHIEF, COLLECTIVE.format(0), at=CREATED + 60),
            replace(WORKERS[0].running(), deleted=CREATED + 90).condition("DisruptionTarget", "True", "EvictionByEvictionAPI", "drained"),
        ),
        "iris-worker-0",
        "Evicted",
        "Worker 0 failed first: pod iris-worker-0 was taken away",
    ),
}


@pytest.mark.parametrize(("everyone", "pod", "reason", "message"), CULPRITS.values(), ids=CULPRITS)
def test_the_culprit_is(everyone: tuple[Pod, ...], pod: str, reason: str, message: str) -> None:
    there = {(each.role, each.index) for each in everyone}
    others = (each.running() for each in (CHIEF, *WORKERS, PS) if (each.role, each.index) not in there)
    plan = decided(seen(group(), *everyone, *others))
    assert plan.status is not None
    failure = plan.status["failure"]
    assert (failure["pod"], failure["reason"]) == (pod, reason)
    assert plan.status["message"].startswith(message)
    reasons = {each["name"]: each.get("reason") for each in plan.status["pods"]}
    assert reasons[pod] == reason
    ended = {"iris-chief-0", "iris-worker-0", "iris-worker-1", "iris-ps-0"} - {each.name for each in plan.deletions}
    assert ended >= {
        names.pod_name("iris", each.role, each.index, 0) for each in everyone if each.deleted is None and "ran" in str(each.states)
    }


def test_an_end_by_one_replica_is_not_contradicted_by_the_chief_that_still_runs() -> None:
    observed = seen(group(retry={"infrastructure": 3}), CHIEF.running(), raised(WORKERS[1], "ValueError: bad batch"), WORKERS[0], PS)
    ended = after(observed, decided(observed))
    assert ended.job.status["phase"] == "Failed"
    left = replace(ended, pods=(CHIEF.running().record(),))
    found = decided(left)
    assert (found.rule, found.status, [each.name for each in found.deletions]) == ("finished", None, ["iris-chief-0"])


ORDINARY = {
    "ConnectionAbortedError: [Errno 103] Connection reset by peer": "psycopg2",
    "OperationalError: connection to server failed: Connection refused": "asyncio.exceptions.CancelledError\nDuring handling",
    "InternalError: Socket closed": "pymysql.err.InternalError",
    "ConnectionAbortedError: failed to connect to all addresses": "",
}


@pytest.mark.parametrize(("exception", "trace"), ORDINARY.items(), ids=range(len(ORDINARY)))
def test_a_connection_of_the_scripts_own_that_ends_is_no_lost_peer(exception: str, trace: str) -> None:
    failure = Failure(reason=Reason.SCRIPT_RAISED, message=f"the script raised {exception}", exception=exception, traceback=trace)
    ended = WORKERS[1].ran(1, RunReport(exit_code=1, failure=failure)).published(succeeded=False)
    plan = decided(seen(group(retry={"infrastructure": 3}), CHIEF.running(), WORKERS[0].running(), ended, PS.running()), CREATED + 65)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["failure"]["reason"]) == ("Failed", "ScriptRaised")


def test_a_connection_between_replicas_that_ends_is_a_lost_peer() -> None:
    exception = "UnavailableError: Connection reset by peer Additional GRPC error information from remote target /job:worker/task:1"
    plan = decided(seen(group(), raised(CHIEF, exception), *(each.running() for each in (*WORKERS, PS))), CREATED + 65)
    assert (plan.status, plan.requeue_at) == (None, CREATED + 60 + PATIENCE_SECONDS)


class TestWhereOnlyAVictimHasEnded:
    victim = raised(CHIEF, COLLECTIVE.format(1))
    others = (WORKERS[0].running(), WORKERS[1].running(), PS.running())

    def test_the_culprits_end_is_waited_for(self) -> None:
        plan = decided(seen(group(), self.victim, *self.others), CREATED + 65)
        assert (plan.status, plan.deletions) == (None, ())
        assert plan.requeue_at == CREATED + 60 + PATIENCE_SECONDS

    def test_after_a_while_the_peer_that_it_names_is_told_as_lost_which_is_no_error_of_the_users(self) -> None:
        plan = decided(seen(group(), self.victim, *self.others), CREATED + 60 + PATIENCE_SECONDS)
        assert plan.status is not None
        assert plan.status["message"].startswith("Chief 0 failed: it lost worker 1, and nothing else shows why")
        failure = plan.status["failure"]
        assert (failure["reason"], failure["cause"], failure["pod"]) == ("PeerLost", "Infrastructure", "iris-chief-0")
        again = decided(seen(group(retry={"infrastructure": 1}), self.victim, *self.others), CREATED + 60 + PATIENCE_SECONDS)
        assert phase(again) == "Restarting"

    def test_a_peer_that_had_ended_with_0_is_told_as_that_and_is_the_programs_own_doing(self) -> None:
        plan = decided(seen(group(), self.victim, WORKERS[0].running(), WORKERS[1].ran().published(), PS.running()), NOW + 60)
        assert plan.status is not None
        assert plan.status["failure"]["reason"] == "ScriptRaised"
        assert "worker 1 had ended with exit code 0 before: not all replicas do the same number of steps" in plan.status["message"]

    @pytest.mark.parametrize(
        "failure",
        [
            Failure(reason=Reason.SCRIPT_EXITED, message="exit code 1", traceback=COLLECTIVE.format(1)),
            Failure(reason=Reason.SCRIPT_CRASHED, message="SIGABRT", traceback=COLLECTIVE.format(1)),
            Failure(
                reason=Reason.SCRIPT_RAISED,
                message="the script raised RuntimeError: step failed",
                exception="RuntimeError: step failed",
                traceback=f"{COLLECTIVE.format(1)}\nThe above exception was the direct cause of:\nRuntimeError: step failed",
            ),
            Failure(
                reason=Reason.SCRIPT_RAISED,
                message="the script raised PSUnavailableError",
                exception=f"PSUnavailableError: {COLLECTIVE.format(1).partition(': ')[2]}",
            ),
        ],
        ids=["printed, and exited", "aborted", "raised another from it", "as ClusterCoordinator calls it"],
    )
    def test_it_is_one_too_where_its_script_wraps_what_tensorflow_says(self, failure: Failure) -> None:
        victim = CHIEF.ran(1, RunReport(exit_code=1, failure=failure), at=CREATED + 60).published(succeeded=False)
        plan = decided(seen(group(), victim, *self.others), CREATED + 65)
        assert (plan.status, plan.deletions) == (None, ())

    @pytest.mark.parametrize("words", [NAMELESS, COLLECTIVE.format(4711), COLLECTIVE.format(0)], ids=["nobody", "no replica", "itself"])
    def test_one_that_names_nobody_else_has_mostly_lost_the_coordinator(self, words: str) -> None:
        plan = decided(seen(group(), raised(WORKERS[0], words), CHIEF.running(), WORKERS[1].running(), PS.running()), NOW + 60)
        assert plan.status is not None
        assert "it lost a peer that it does not name" in plan.status["message"]

    def test_its_own_device_in_its_words_is_not_whom_it_lost(self) -> None:
        words = f"UnavailableError: {{{{node x}}}} on /job:worker/replica:0/task:0/device:CPU:0 {COLLECTIVE.format(1)}"
        plan = decided(seen(group(), raised(WORKERS[0], words), CHIEF.running(), WORKERS[1].running(), PS.running()), NOW + 60)
        assert plan.status is not None
        assert "it lost worker 1" in plan.status["message"]

    def test_a_peer_whose_node_is_silent_is_a_lost_node(self) -> None:
        silent = WORKERS[1].running().condition("Ready", "False").condition("ContainersReady", "True")
        observed = seen(group(retry={"infrastructure": 1}), self.victim, WORKERS[0].running(), silent, PS.running())
        plan = decided(observed, CREATED + 60 + PATIENCE_SECONDS)
        assert plan.status is not None
        assert (plan.status["phase"], plan.status["attempts"][0]["reason"], plan.status["attempts"][0]["pod"]) == (
            "Restarting",
            "NodeLost",
            "iris-worker-1",
        )

    def test_the_culprits_log_is_waited_for_as_long(self) -> None:
        failure = Failure(reason=Reason.SCRIPT_RAISED, message="the script raised ValueError: x", exception="ValueError: x")
        publishes = WORKERS[1].ran(1, RunReport(exit_code=1, failure=failure), at=CREATED + 58)
        assert decided(seen(group(), self.victim, WORKERS[0].running(), publishes, PS.running()), CREATED + 65).status is None


class TestWhileTheChiefPublishes:
    """A worker that is left alone fails, often: the chief's outputs are more than that."""

    chief = CHIEF.ran(at=CREATED + 55)
    left = raised(WORKERS[0], COLLECTIVE.format(0))

    @pytest.mark.parametrize("how", [left, raised(WORKERS[0], "ValueError: x")], ids=["it lost the chief", "by itself"])
    def test_the_loss_of_another_changes_nothing(self, how: Pod) -> None:
        others = (how, WORKERS[1].running(), PS.running())
        plan = decided(seen(group(), self.chief, *others), CREATED + 300)
        assert (plan.rule, plan.deletions) == ("publishing", ())
        assert phase(decided(seen(group(), self.chief.published(), *others), CREATED + 301)) == "Succeeded"

    def test_what_a_failed_chief_has_written_is_published_before_anything_is_ended(self) -> None:
        failure = Failure(reason=Reason.SCRIPT_RAISED, message="the script raised ValueError: x", exception="ValueError: x")
        chief = CHIEF.ran(1, RunReport(exit_code=1, failure=failure), at=CREATED + 55)
        plan = decided(seen(group(), chief, self.left, WORKERS[1].running(), PS.running()), CREATED + 300)
        assert (plan.rule, plan.deletions) == ("publishing", ())

    def test_an_end_by_a_worker_that_has_to_succeed_is_kept_for_ever(self) -> None:
        failed = raised(WORKERS[0], "ValueError: x")
        observed = seen(
            group(successPolicy="AllWorkers", ttlSecondsAfterFinished=60), CHIEF.ran().published(), failed, WORKERS[1].running(), PS
        )
        ended = after(observed, decided(observed))
        later = replace(ended, pods=tuple(pod.record() for pod in (CHIEF.ran().published(), failed)))
        assert (decided(later).rule, decided(later).status) == ("finished", None)
        assert decided(later, NOW + 1000).expires


class TestAnotherAttempt:
    def test_is_one_of_all_replicas_and_counted_once(self) -> None:
        observed = seen(
            group(retry={"userError": 1}), CHIEF.running(), raised(WORKERS[0], "ValueError: x"), WORKERS[1].running(), PS.running()
        )
        plan = decided(observed)
        assert plan.status is not None
        assert (plan.status["phase"], plan.status["attempt"], plan.status["retries"]) == ("Restarting", 1, {"userError": 1})
        assert sorted(each.name for each in plan.deletions) == ["iris-chief-0", "iris-ps-0", "iris-worker-1"]

    def test_begins_when_nothing_of_the_last_runs(self) -> None:
        observed = seen(
            group(retry={"userError": 1}), CHIEF.running(), raised(WORKERS[0], "ValueError: x"), WORKERS[1].running(), PS.running()
        )
        waiting = after(observed, decided(observed))
        going = replace(
            waiting, pods=tuple(pod.record() for pod in (replace(CHIEF.running(), deleted=NOW), raised(WORKERS[0], "ValueError: x")))
        )
        going = replace(going, gone=(PS.running().record(), WORKERS[1].running().record()))
        plan = decided(going, NOW + 30)
        assert (plan.creates, plan.status) == ((), None), "what the operator itself has deleted is no second failure"
        free = replace(waiting, pods=(raised(WORKERS[0], "ValueError: x").record(),))
        begun = after(free, decided(free, NOW + 30))
        assert [body["metadata"]["name"] for body in pods(decided(begun, NOW + 31))] == [
            *["iris-chief-0-r1", "iris-worker-0-r1", "iris-worker-1-r1", "iris-ps-0-r1"]
        ]

    def test_follows_where_a_pod_is_gone_that_nobody_saw_end(self) -> None:
        told = {
            "attempt": 0,
            "pods": [{"name": f"iris-{each}", "phase": "Running"} for each in ("chief-0", "worker-0", "worker-1", "ps-0")],
        }
        plan = decided(seen(group(told, retry={"infrastructure": 1}), CHIEF.running(), WORKERS[0].running(), PS.running()))
        assert plan.status is not None
        assert (plan.status["phase"], plan.status["attempts"][0]["pod"]) == ("Restarting", "iris-worker-1")

    def test_follows_none_where_one_that_had_ended_well_is_gone(self) -> None:
        told = {"attempt": 0, "pods": [{"name": "iris-worker-1", "phase": "Succeeded"}]}
        assert decided(seen(group(told), CHIEF.running(), WORKERS[0].running(), PS.running())).rule == "running"


BOUNDED = CONFIGURATION.model_copy(update={"maxima": CONFIGURATION.maxima.model_copy(update={"memory": "8Gi"})})


class TestMoreMemory:
    def next_attempt(self, **spec: Any) -> list[Any]:
        killed = WORKERS[0].ran(137, reason="OOMKilled").published(succeeded=False)
        asked = {"resources": {"memory": "1Gi"}, "retry": {"outOfMemory": 3, "memoryGrowth": 4}, **spec}
        observed = seen(group(**asked), CHIEF.running(), killed, WORKERS[1].running(), PS.running())
        waiting = after(observed, decide(observed, BOUNDED, NOW))
        free = replace(waiting, pods=(killed.record(),))
        begun = after(free, decide(free, BOUNDED, NOW + 60))
        return pods(decide(begun, BOUNDED, NOW + 61))

    def test_is_shared_by_all_replicas_where_an_admin_bounds_it(self) -> None:
        limits = [body["spec"]["containers"][0]["resources"]["limits"]["memory"] for body in self.next_attempt()]
        assert limits == ["2048Mi"] * 4

    def test_is_that_of_the_replica_which_had_too_little(self) -> None:
        own = {"worker": {"count": 2, "resources": {"memory": "512Mi"}}}
        made = self.next_attempt(replicas=GROUP | own, resources={"memory": "2Gi"})
        limits = {body["metadata"]["name"]: body["spec"]["containers"][0]["resources"]["limits"]["memory"] for body in made}
        assert limits["iris-worker-0-r1"] == "2048Mi", "the chief, which cannot grow, has no say in it"


class TestWhatIsWantedOfIt:
    everyone = (CHIEF.running(), WORKERS[0].running(), WORKERS[1].ran().published(), PS.running())

    @pytest.mark.parametrize(("wish", "word"), [("suspend", "suspended"), ("stop", "stopped")])
    def test_all_that_runs_is_told_to_go_once_it_is_written_down_why(self, wish: str, word: str) -> None:
        observed = seen(group(**{wish: True}), *self.everyone)
        plan = decided(observed)
        assert plan.status is not None
        assert plan.status["message"] == f"The job is being {word}: 3 pods are told to stop and publish what they have."
        assert sorted(each.name for each in plan.deletions) == ["iris-chief-0", "iris-ps-0", "iris-worker-0"]

    @pytest.mark.parametrize(("wish", "end"), [("suspend", "Suspended"), ("stop", "Stopped")])
    def test_it_is_done_when_all_of_them_have_gone(self, wish: str, end: str) -> None:
        observed = seen(group(**{wish: True}), *self.everyone)
        told = after(observed, decided(observed))
        going = replace(
            told, pods=tuple(pod.record() for pod in (replace(CHIEF.running(), deleted=NOW + 60), WORKERS[1].ran().published()))
        )
        assert decided(going, NOW + 5).status is None
        left = replace(told, pods=(WORKERS[1].ran().published().record(),), gone=(replace(CHIEF.running(), deleted=NOW + 60).record(),))
        assert phase(decided(left, NOW + 6)) == end

    def test_a_resume_is_an_attempt_of_all(self) -> None:
        observed = seen(group(suspend=True), *self.everyone)
        told = after(observed, decided(observed))
        left = replace(told, pods=(WORKERS[1].ran().published().record(),))
        suspended = after(left, decided(left, NOW + 6))
        resumed = replace(suspended, job=replace(suspended.job, spec={**suspended.job.spec, "suspend": False}))
        begun = after(resumed, decided(resumed, NOW + 9))
        assert len(pods(decided(begun, NOW + 10))) == 4

    def test_a_suspension_taken_back_before_anything_has_gone_changes_nothing(self) -> None:
        for spec, everyone in ((group(suspend=True), self.everyone), (job(suspend=True), (CHIEF.running(),))):
            observed = seen(spec, *everyone)
            told = after(observed, decided(observed))
            back = replace(told, job=replace(told.job, spec={**told.job.spec, "suspend": False}))
            assert (decided(back, NOW + 5).creates, decided(back, NOW + 5).rule) == ((), "running")

    def test_a_failure_in_the_moment_of_suspending_is_one(self) -> None:
        for spec, everyone in ((group(suspend=True), self.everyone), (job(suspend=True), (CHIEF.running(),))):
            observed = seen(spec, *everyone)
            told = after(observed, decided(observed))
            failed = tuple(raised(replace(pod, states=()), "ValueError: x").record() for pod in everyone)
            assert phase(decided(replace(told, pods=failed), NOW + 5)) == "Failed"

    def test_a_suspension_taken_back_midway_ends_what_is_left_of_a_torn_group(self) -> None:
        observed = seen(group(suspend=True), *self.everyone)
        told = after(observed, decided(observed))
        torn = replace(told, pods=(WORKERS[0].running().record(),), job=replace(told.job, spec={**told.job.spec, "suspend": False}))
        assert [each.name for each in decided(torn, NOW + 5).deletions] == ["iris-worker-0"]


def test_a_stranger_that_has_the_name_of_any_replica_is_in_the_way() -> None:
    stranger = replace(WORKERS[1], owner=None)
    plan = decided(seen(group(), stranger), CREATED + 100)
    assert plan.status is not None
    assert plan.status["failure"]["reason"] == "NameConflict"


def test_what_an_admin_allows_one_job_is_for_all_its_replicas_together() -> None:
    bounded = CONFIGURATION.model_copy(update={"maxima": CONFIGURATION.maxima.model_copy(update={"gpus": 3, "memory": "8Gi"})})
    plan = decide(seen(group(resources={"gpus": 1, "memory": "4Gi"})), bounded, CREATED + 1)
    assert plan.status is not None
    assert (
        "spec.resources.memory of all 4 replicas together is 16384Mi, where maxima.memory of the chart allows 8Gi" in plan.status["message"]
    )
    assert "spec.resources.gpus of all 4 replicas together is 4, where maxima.gpus of the chart allows 3" in plan.status["message"]


def test_what_a_job_has_used_is_what_all_its_replicas_held_and_it_ran_from_the_last_start_on() -> None:
    everyone = (CHIEF.ran().published(), *(each.running(at=CREATED + 34) for each in (*WORKERS, PS)))
    replicas = GROUP | {"worker": {"count": 2, "resources": {"cpu": "2", "gpus": 3}}}
    status = decided(seen(group(replicas=replicas), *everyone)).status
    assert status is not None
    used = status["usage"]
    assert used["runningSeconds"] == 60 - 34
    of_chief, of_others = 61 - 2, 61 - 2
    assert used["gpuSeconds"] == 2 * 3 * of_others
    assert used["cpuSeconds"] == of_chief + of_others + 2 * 2 * of_others


def test_the_gpus_of_a_job_are_those_of_all_its_replicas() -> None:
    replicas: dict[str, Any] = {"chief": {}, "worker": {"count": 3, "resources": {"gpus": 2}}, "ps": {"resources": {"gpus": 0}}}
    assert asked_gpus(group(replicas=replicas, resources={"gpus": 1})) == 1 + 3 * 2
    assert asked_gpus(group({"resources": {"gpus": 4}}, replicas={"worker": {"count": 2}}, resourceClass="large")) == 2 * 4
    assert asked_gpus(job(resources={"gpus": 1})) == 1
    assert asked_gpus(job(replicas={"worker": "x"}, resources={"gpus": "1"})) == 0


@pytest.mark.parametrize("gone", [{"resourceClass": "gone"}, {"runtime": "gone"}], ids=["class", "runtime"])
def test_what_an_admin_removes_ends_no_group_whose_chief_has_succeeded_and_whose_pod_is_gone(gone: dict[str, Any]) -> None:
    others = (each.running() for each in (*WORKERS, PS))
    observed = seen(group(successPolicy="AllWorkers", **gone), *others, gone=(CHIEF.ran().published(),))
    assert decided(observed).rule == "running"
