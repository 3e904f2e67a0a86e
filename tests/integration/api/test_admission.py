"""What a real API server says to specs, accepted and refused, and what becomes of spec and status in it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tftraining_operator.core.build import pod
from tftraining_operator.core.case import Case
from tftraining_operator.core.configuration import Configuration, Runtime
from tftraining_operator.core.effective import effective
from tftraining_operator.core.observe import job_record
from tftraining_operator.core.records import Observed

from .conftest import DEADLINE_SECONDS, MERGE, RefusedError, Server
from .tables import ACCEPTED, REFUSED
from .variants import operator_takes, specs

SCRIPT = {"script": {"uri": "s3://bucket/train.py"}}
EVERY = ACCEPTED["every field"]


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED)
def test_a_good_spec_is_accepted_and_stored_as_it_was_written(server: Server, spec: dict[str, Any]) -> None:
    stored = server.admit(spec)["spec"]
    assert stored == {"suspend": False} | spec | {"resources": {"gpus": 0} | spec.get("resources", {})}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_bad_spec_is_refused_in_the_users_words(server: Server, case: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as error:
        server.admit(case["spec"])
    assert error.value.status in {400, 422}
    assert not [words for words in case["says"] if words not in error.value.message], error.value.message


def test_the_server_and_the_operator_are_of_one_mind_about_fields_in_many_forms(server: Server) -> None:
    assert [name for name, spec in specs() if _is_refused(server, spec) is operator_takes(spec)] == []


@pytest.fixture
def name(server: Server) -> Iterator[str]:
    """Yield the name of a job that is gone after the test."""
    made = f"job-{uuid.uuid4().hex[:8]}"
    yield made
    server.call("DELETE", f"{server.jobs}/{made}")


def create(server: Server, name: str, spec: dict[str, Any], **more: Any) -> Any:
    return server.call("POST", server.jobs, server.job(spec, name, **more))


def patch(server: Server, name: str, body: dict[str, Any]) -> Any:
    return server.call("PATCH", f"{server.jobs}/{name}", body, content=MERGE)


CHANGES: dict[str, Any] = {
    "runtime": "tf1",
    "script": {"uri": "s3://bucket/other.py"},
    "dependencies": None,
    "args": ["x"],
    "env": None,
    "inputs": [{"name": "mnist", "uri": "${bucket}/other/"}, {"name": "other_1", "uri": "${bucket}/x"}],
    "outputs": None,
    "storage": {"secretName": "other"},
    "datasets": None,
    "resources": {"memory": "8Gi"},
    "terminationGracePeriodSeconds": 5,
    "resourceClass": "v100-x1",
    "scheduling": {"nodeSelector": {"disk": "ssd"}},
    "managedBy": "kueue.x-k8s.io/multikueue",
}


def test_what_ran_cannot_be_changed_afterwards_and_the_refusal_names_the_field(server: Server, name: str) -> None:
    create(server, name, EVERY)
    for field, value in CHANGES.items():
        with pytest.raises(RefusedError, match=f"{field} cannot be changed after creation"):
            patch(server, name, {"spec": {field: value}})


def test_a_field_that_was_left_out_cannot_be_added_afterwards(server: Server, name: str) -> None:
    create(server, name, SCRIPT)
    with pytest.raises(RefusedError, match="args cannot be changed"):
        patch(server, name, {"spec": {"args": ["x"]}})


def test_suspending_and_deadlines_can_be_changed(server: Server, name: str) -> None:
    create(server, name, SCRIPT)
    changed = patch(server, name, {"spec": {"suspend": True, "activeDeadlineSeconds": 5, "pendingDeadlineSeconds": 6}})
    assert changed["metadata"]["generation"] == 2
    assert "activeDeadlineSeconds" not in patch(server, name, {"spec": {"activeDeadlineSeconds": None}})["spec"]


@pytest.mark.parametrize("at_creation", [True, False])
def test_a_job_can_be_stopped_at_any_time_and_that_cannot_be_taken_back(server: Server, name: str, *, at_creation: bool) -> None:
    create(server, name, SCRIPT | ({"stop": True} if at_creation else {"stop": False}))
    assert patch(server, name, {"spec": {"stop": True}})["spec"]["stop"] is True
    for taken_back in (False, None):
        with pytest.raises(RefusedError, match="stop cannot be taken back: the job has ended by it"):
            patch(server, name, {"spec": {"stop": taken_back}})
    assert patch(server, name, {"spec": {"suspend": True, "ttlSecondsAfterFinished": 5}})["spec"]["stop"] is True
    stopped = {"phase": "Stopped", "message": "It was stopped.", "stop": {"reason": "ForceStopped"}}
    assert server.call("PATCH", f"{server.jobs}/{name}/status", {"status": stopped}, content=MERGE)["status"].items() >= stopped.items()


def test_a_new_job_is_shown_as_pending_and_not_yet_seen_whatever_status_it_claims(server: Server, name: str) -> None:
    made = create(server, name, SCRIPT, status={"phase": "Failed"})
    assert made["status"] == {"observedGeneration": -1, "phase": "Pending"}


OLDER = {
    "checkpoints where the model goes": {"model": {"path": "${bucket}/m"}, "checkpoints": {"path": "${bucket}/m/"}},
    "checkpoints of one attempt": {"checkpoints": {"path": "${bucket}/${attempt}"}},
    "a literal placeholder": {"outputs": [{"path": "${bucket}/${x}"}], "inputs": [{"name": "a", "uri": "${bucket}/${x}"}]},
}


def _rules_of_creation(server: Server, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put rules into the root of the definition, wait until they count, and return those that were there."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tftrainingjobs.{server.group}"
    place = "/spec/versions/0/schema/openAPIV3Schema/x-kubernetes-validations"
    before = server.call("GET", path)["spec"]["versions"][0]["schema"]["openAPIV3Schema"].get("x-kubernetes-validations", [])
    server.call("PATCH", path, [{"op": "add", "path": place, "value": rules}], content="application/json-patch+json")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while _is_refused(server, SCRIPT | OLDER["a literal placeholder"]) is not bool(rules):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return before


def _is_refused(server: Server, spec: dict[str, Any]) -> bool:
    try:
        server.admit(spec)
    except RefusedError:
        return True
    return False


def test_what_an_older_definition_let_in_goes_on_once_an_operator_has_taken_it_up(server: Server) -> None:
    names = {what: f"job-{uuid.uuid4().hex[:8]}" for what in OLDER}
    rules = _rules_of_creation(server, [])
    try:
        for what, name in names.items():
            create(server, name, SCRIPT | OLDER[what])
            server.call("PATCH", f"{server.jobs}/{name}/status", {"status": {"observedGeneration": 1, "phase": "Running"}}, content=MERGE)
    finally:
        _rules_of_creation(server, rules)
    for what, name in names.items():
        assert _is_refused(server, SCRIPT | OLDER[what])
        server.call("PATCH", f"{server.jobs}/{name}/status", {"status": {"attempt": 0, "message": "It runs."}}, content=MERGE)
        patch(server, name, {"spec": {"suspend": True}})
        server.call("PATCH", f"{server.jobs}/{name}/status", {"status": {"observedGeneration": 2}}, content=MERGE)
        server.call("DELETE", f"{server.jobs}/{name}")


def test_a_name_of_253_characters_with_dots_is_a_good_name(server: Server) -> None:
    long = ".".join(["a" * 50] * 5)[:253]
    assert server.admit(SCRIPT, long)["metadata"]["name"] == long


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED)
def test_the_pod_of_every_good_spec_is_admitted_under_the_restricted_standard(server: Server, spec: dict[str, Any]) -> None:
    made = job_record(server.admit(spec | {"suspend": False}))
    assert made is not None
    configuration = Configuration(default_runtime="tf2", runtimes={name: Runtime(image=f"registry.test/{name}") for name in ("tf1", "tf2")})
    case = Case(Observed(made), configuration, 0.0)
    wanted = effective(case.spec, configuration, case.runtime_name, configuration.runtimes[case.runtime_name])
    body = pod(made, wanted, configuration, 0)
    # No cluster has all of these.
    spec_of_pod = {key: value for key, value in body["spec"].items() if key != "priorityClassName"}
    admitted = server.call("POST", f"/api/v1/namespaces/{server.namespace}/pods", {**body, "spec": spec_of_pod}, dryRun="All")
    assert admitted["metadata"]["name"] == "case-chief-0"


OF_A_CLASS = {"cpu": "8", "memory": "64Gi", "sharedMemory": "1Gi", "workspace": "1Ti", "gpus": 8, "gpuResource": "nvidia.com/gpu"}


def test_kubectl_get_shows_phase_reason_runtime_and_gpus(server: Server, name: str) -> None:
    create(server, name, EVERY)
    for status, reason in (
        ({"runtime": "tf2", "resources": OF_A_CLASS, "pending": {"reason": "Unschedulable"}}, "Unschedulable"),
        ({"pending": None, "failure": {"cause": "OutOfMemory", "reason": "OutOfMemory"}}, "OutOfMemory"),
        ({"failure": None, "stop": {"reason": "ForceStopped"}}, "ForceStopped"),
    ):
        server.call("PATCH", f"{server.jobs}/{name}/status", {"status": status}, content=MERGE)
        shown = server.call("GET", f"{server.jobs}/{name}", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
        columns = [column["name"] for column in shown["columnDefinitions"]]
        row = dict(zip(columns, shown["rows"][0]["cells"], strict=True))
        assert (row["Phase"], row["Reason"], row["Runtime"], row["GPUs"]) == ("Pending", reason, "tf2", 8)
