"""The rights that the chart gives are enough for a whole life of jobs, they are these and no more, and users get theirs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart import account, give_rights, limited_operator
from control import ROOT, Operator, Played, until
from controlplane import ControlPlane
from faults import FaultProxy
from localcluster import binaries

GOLDEN = Path(__file__).parent / "golden" / "rights.txt"


@pytest.fixture(params=[True, False], ids=["one namespace", "all namespaces"])
def limited(request: pytest.FixtureRequest, proxy: FaultProxy, played: Played, tmp_path: Path) -> Iterator[Operator]:
    """Return a running operator with the rights of the chart."""
    with limited_operator(proxy, played, tmp_path, *([played.namespace] if request.param else [])) as operator:
        yield operator


def test_with_the_rights_of_the_chart_jobs_run_are_suspended_and_end_and_nothing_is_refused(limited: Operator, played: Played) -> None:
    pod = played.start("runs")
    played.end(pod)
    played.wait_for_phase("runs", "Succeeded")
    played.submit("stops")
    played.wait_for_pod("stops-chief-0")
    played.change("stops", suspend=True)
    until(lambda: all(pod["metadata"].get("deletionTimestamp") for pod in played.pods() if "stops" in pod["metadata"]["name"]), "it goes")
    assert limited.terminate() < 4 + limited.start_seconds
    limited.start()
    for refused in ('code="403"', 'code="401"', "forbidden"):
        assert refused not in limited.page("metrics") + limited.log()
    until(lambda: "runs" in {item["regarding"]["name"] for item in events(played)}, "an event tells of it")


def events(played: Played) -> list[dict[str, Any]]:
    """Return the namespace's events."""
    return list(played.call("GET", f"/apis/events.k8s.io/v1/namespaces/{played.namespace}/events")["items"])


def told_rights(played: Played, user: str, namespace: str) -> set[str]:
    """Return what kubectl says that a user may do in a namespace: resource or path, names, verbs."""
    argv = [binaries.built().path("kubectl"), "auth", "can-i", "--list", "--as", user, "--namespace", namespace]
    environment = {**os.environ, "KUBECONFIG": str(played.plane.kubeconfig)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    lines = [re.sub(r"\s{2,}", "  ", line.strip()) for line in done.stdout.splitlines()[1:]]
    return {line.replace(played.namespace, "RELEASE") for line in lines}


def test_operator_and_pods_have_the_rights_of_the_golden_file_and_no_more(plane: ControlPlane, played: Played) -> None:
    other = Played(plane, f"{played.namespace}-other")
    other.create_namespace()
    everybodys = told_rights(played, f"system:serviceaccount:{other.namespace}:default", other.namespace)
    found = {"The account of a job's pod, in its namespace": everybodys}
    for words, watched in (("some namespaces", [other.namespace]), ("all namespaces", [])):
        release = Played(plane, f"{played.namespace}-{'some' if watched else 'all'}")
        release.create_namespace()
        give_rights(release, *watched)
        for where, namespace in (("in its own", release), ("in a watched one", other), ("in another", played)):
            if where != "in another" or watched:
                rights = told_rights(release, account(release.namespace), namespace.namespace)
                found[f"The operator of {words}, {where}, beside these"] = rights - everybodys
    said = "\n\n".join("\n".join([f"# {title}", *sorted(rights)]) for title, rights in found.items()) + "\n"
    assert said == GOLDEN.read_text(), "a right that is meant to be stands in the golden file and in docs/explanation/security.md"


def test_with_queues_the_operator_may_have_workloads_and_read_what_they_refer_to_and_no_more(played: Played) -> None:
    found = []
    for values in ({}, {"kueue": {"enabled": True}}):
        release = Played(played.plane, f"{played.namespace}-{'queues' if values else 'none'}")
        release.create_namespace()
        give_rights(release, **values)
        rights = told_rights(release, account(release.namespace), played.namespace)
        found.append({line.replace(release.namespace, "RELEASE") for line in rights})
    assert found[1] - found[0] == {
        "priorityclasses.scheduling.k8s.io  []  []  [list]",
        "resourceflavors.kueue.x-k8s.io  []  []  [list]",
        "workloads.kueue.x-k8s.io  []  []  [get list watch create delete]",
        "workloads.kueue.x-k8s.io/status  []  []  [patch]",
    }


def bind(played: Played, user: str, role: str, kind: str = "ClusterRole") -> None:
    """Give a user a role in the namespace."""
    body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    played.call("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{played.namespace}/rolebindings", body)


def may(played: Played, user: str, verb: str, what: str, namespace: str) -> bool:
    """Tell whether a user may do something with a resource, such as `pods/log` or `tftrainingjobs.tftraining.dev`."""
    resource, _, subresource = what.partition("/")
    plural, _, group = resource.partition(".")
    attributes = {"verb": verb, "resource": plural, "group": group, "subresource": subresource, "namespace": namespace}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    return bool(played.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)["status"]["allowed"])


JOBS = "tftrainingjobs.tftraining.dev"
READ = [(verb, what) for verb in ("get", "list", "watch") for what in (JOBS, "pods", "events")] + [("get", "pods/log")]
WRITE = [(verb, JOBS) for verb in ("create", "update", "patch", "delete", "deletecollection")]
NEVER = [(verb, f"{JOBS}/status") for verb in ("update", "patch")]


@pytest.fixture
def users(played: Played) -> Played:
    """Return a namespace in which view, edit, admin and the Role of the documentation are each bound to a user of that name."""
    give_rights(played)
    for role in ("view", "edit", "admin"):
        bind(played, role, role)
    [text] = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "how-to" / "access.md").read_text(), re.DOTALL)
    played.call(
        "POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{played.namespace}/roles?fieldValidation=Strict", yaml.safe_load(text)
    )
    bind(played, "train", "train", "Role")
    until(lambda: may(played, "admin", "create", JOBS, played.namespace), "the roles are aggregated")
    return played


@pytest.mark.parametrize(("user", "allowed"), [("view", READ), ("edit", READ + WRITE), ("admin", READ + WRITE), ("train", READ + WRITE)])
def test_users_may_do_with_jobs_what_their_role_says_and_nobody_writes_a_status(users: Played, user: str, allowed: list[Any]) -> None:
    asked = [*READ, *WRITE, *NEVER]
    if user == "train":
        allowed = [right for right in allowed if right[0] != "deletecollection"]
    found = [right for right in asked if may(users, user, *right, users.namespace)]
    assert found == [right for right in asked if right in allowed]
    assert not [right for right in asked if may(users, user, *right, "default")]


LESS = [("get", "secrets"), ("create", "pods"), ("create", "pods/exec"), ("create", "configmaps"), ("update", "pods")]


@pytest.mark.parametrize("right", LESS)
def test_the_role_of_the_documentation_is_less_than_edit(users: Played, right: tuple[str, str]) -> None:
    assert may(users, "edit", *right, users.namespace)
    assert not may(users, "train", *right, users.namespace)
