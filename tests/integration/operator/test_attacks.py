"""What an ordinary user of one namespace tries against those of another: nothing that can be written into a job is a way over the border.

Two users of the namespace `mine` try everything: one with the role edit of Kubernetes, one with the Role of docs/how-to/access.md. The
operator watches all namespaces, with the rights of the chart.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from chart import limited_operator
from control import ROOT, Operator, Played, RefusedError, until
from controlplane import ControlPlane
from faults import FaultProxy
from played_kubelet import Object, ended
from test_reports import encoded, send
from test_rights import JOBS, bind, may

MERGE = "application/merge-patch+json"
SECRET = "the other namespace's password"


@dataclass(slots=True)
class Border:
    """An operator of all namespaces, and two of them: `mine`, the attackers', and `theirs`, with a job that runs and a Secret."""

    operator: Operator
    system: Played
    mine: Played
    theirs: Played

    def submit(self, user: str, name: str, *, metadata: Object | None = None, status: Object | None = None, **spec: Any) -> Object:
        """Create a job as a user would who asks for no check of its fields."""
        body = {"script": {"name": "a.py", "inline": "pass"}, **spec}
        job = {"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "spec": body} | ({"status": status} if status else {})
        job["metadata"] = {**(metadata or {}), "name": name}
        return self.mine.call("POST", f"{self.mine.jobs_path}?fieldValidation=Ignore", job, as_user=user)

    def tries(self, method: str, path: str, user: str) -> Object:
        """Make a request as a user."""
        body = {} if method in {"POST", "PUT", "PATCH"} else None
        return self.mine.call(method, path, body, MERGE if method == "PATCH" else "application/json", as_user=user)

    def serves_others(self) -> None:
        """Check that a new job of the other namespace gets its pod, with nothing in it that is not its own."""
        name = f"other-{secrets.token_hex(3)}"
        self.theirs.submit(name)
        pod = self.theirs.wait_for_pod(f"{name}-chief-0")
        assert pod["spec"]["containers"][0]["image"] == "localhost/tf1:x"
        assert self.theirs.phase("victim") == "Running"


@pytest.fixture(scope="module")
def border(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Border]:
    """Return the scene, the same for all attacks: what one leaves behind is there for the next."""
    mark = secrets.token_hex(3)
    system, mine, theirs = (Played(plane, f"{name}-{mark}") for name in ("system", "mine", "theirs"))
    for namespace in (system, mine, theirs):
        namespace.create_namespace()
    bait = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tftraining-storage"}, "stringData": {"secretKey": SECRET}}
    theirs.call("POST", f"/api/v1/namespaces/{theirs.namespace}/secrets", bait)
    with FaultProxy(plane) as proxy, limited_operator(proxy, system, tmp_path_factory.mktemp("operator")) as operator:
        [role] = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "how-to" / "access.md").read_text(), re.DOTALL)
        mine.call("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{mine.namespace}/roles", yaml.safe_load(role))
        bind(mine, "train", "train", "Role")
        bind(mine, "edit", "edit")
        until(lambda: may(mine, "edit", "create", JOBS, mine.namespace), "the roles are aggregated")
        theirs.submit("victim")
        theirs.run(theirs.wait_for_pod("victim-chief-0"))
        theirs.wait_for_phase("victim", "Running")
        yield Border(operator, system, mine, theirs)
        for namespace in (mine, theirs):
            for job in namespace.call("GET", namespace.jobs_path)["items"]:
                namespace.call("PATCH", f"{namespace.jobs_path}/{job['metadata']['name']}", {"metadata": {"finalizers": None}}, MERGE)
            namespace.call("DELETE", namespace.jobs_path)


def paths(namespace: Played) -> dict[str, str]:
    core = f"/api/v1/namespaces/{namespace.namespace}"
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace.namespace}/leases"
    return {
        "jobs": namespace.jobs_path,
        "pods": namespace.pods_path,
        "secrets": f"{core}/secrets",
        "configmaps": f"{core}/configmaps",
        "events": f"{core}/events",
        "log": f"{namespace.pods_path}/victim-chief-0/log",
        "lease": f"{leases}/{namespace.namespace}-operator",
        "token": f"{core}/serviceaccounts/{namespace.namespace}-operator/token",
        "token of pods": f"{core}/serviceaccounts/default/token",
        "deployments": f"/apis/apps/v1/namespaces/{namespace.namespace}/deployments",
    }


def assert_forbidden(border: Border, attack: Callable[[Border], tuple[str, str]], user: str) -> None:
    method, path = attack(border)
    with pytest.raises(RefusedError) as refused:
        border.tries(method, path, user)
    assert refused.value.status == 403


FORBIDDEN: dict[str, Callable[[Border], tuple[str, str]]] = {
    "reads the jobs of another namespace": lambda border: ("GET", border.theirs.jobs_path),
    "reads the jobs of all namespaces": lambda _: ("GET", "/apis/tftraining.dev/v1alpha1/tftrainingjobs"),
    "watches the jobs of all namespaces": lambda _: ("GET", "/apis/tftraining.dev/v1alpha1/tftrainingjobs?watch=1"),
    "reads the status of another namespace's job": lambda border: ("GET", f"{border.theirs.jobs_path}/victim/status"),
    "reads the pods of another namespace": lambda border: ("GET", border.theirs.pods_path),
    "reads the log of another namespace's pod": lambda border: ("GET", paths(border.theirs)["log"]),
    "reads the Secrets of another namespace": lambda border: ("GET", paths(border.theirs)["secrets"]),
    "reads the inline scripts of another namespace": lambda border: ("GET", paths(border.theirs)["configmaps"]),
    "reads the events of another namespace": lambda border: ("GET", paths(border.theirs)["events"]),
    "creates a job in another namespace": lambda border: ("POST", border.theirs.jobs_path),
    "changes another namespace's job": lambda border: ("PATCH", f"{border.theirs.jobs_path}/victim"),
    "deletes another namespace's job": lambda border: ("DELETE", f"{border.theirs.jobs_path}/victim"),
    "deletes another namespace's pod": lambda border: ("DELETE", f"{border.theirs.pods_path}/victim-chief-0"),
    "writes the status of a job of its own namespace": lambda border: ("PATCH", f"{border.mine.jobs_path}/own/status"),
    "replaces the status of a job of its own namespace": lambda border: ("PUT", f"{border.mine.jobs_path}/own/status"),
    "writes the status of a pod of its own namespace": lambda border: ("PATCH", f"{border.mine.pods_path}/own-chief-0/status"),
    "changes the definition": lambda _: (
        "PATCH",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tftrainingjobs.tftraining.dev",
    ),
    "takes the operator's Lease": lambda border: ("PATCH", paths(border.system)["lease"]),
    "deletes the operator's Lease": lambda border: ("DELETE", paths(border.system)["lease"]),
    "asks for a token of the operator's account": lambda border: ("POST", paths(border.system)["token"]),
    "reads the operator's configuration": lambda border: ("GET", paths(border.system)["configmaps"]),
    "stops the operator's Deployment": lambda border: ("DELETE", f"{paths(border.system)['deployments']}/operator"),
    "reviews somebody's token": lambda _: ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
}


@pytest.mark.parametrize("user", ["edit", "train"])
@pytest.mark.parametrize("attack", FORBIDDEN)
def test_no_user_of_a_namespace(border: Border, attack: str, user: str) -> None:
    assert_forbidden(border, FORBIDDEN[attack], user)


IN_ITS_OWN: dict[str, Callable[[Border], tuple[str, str]]] = {
    "reads Secrets": lambda border: ("GET", paths(border.mine)["secrets"]),
    "reads ConfigMaps": lambda border: ("GET", paths(border.mine)["configmaps"]),
    "makes a ConfigMap that passes for a script": lambda border: ("POST", paths(border.mine)["configmaps"]),
    "makes a pod that passes for a job's": lambda border: ("POST", border.mine.pods_path),
    "gives a pod another label or owner": lambda border: ("PATCH", f"{border.mine.pods_path}/own-chief-0"),
    "deletes a job's pod": lambda border: ("DELETE", f"{border.mine.pods_path}/own-chief-0"),
    "runs a command beside the script": lambda border: ("POST", f"{border.mine.pods_path}/own-chief-0/exec?command=id&container=publisher"),
    "asks for a token of the pods' account": lambda border: ("POST", paths(border.mine)["token of pods"]),
}


@pytest.mark.parametrize("attack", IN_ITS_OWN)
def test_who_only_trains_in_a_namespace_never(border: Border, attack: str) -> None:
    assert_forbidden(border, IN_ITS_OWN[attack], "train")


REFUSED: dict[str, Object] = {
    "a Secret's name that leads into another namespace": {"storage": {"secretName": "theirs/tftraining-storage"}},
    "a Secret's name that is a path": {"datasets": {"secretName": "../../theirs/secrets/tftraining-storage"}},
    "a variable's Secret that is a path": {
        "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "../theirs", "key": "secretKey"}}}]
    },
    "a variable that is a credential of the product's": {"env": [{"name": "AWS_ENDPOINT_URL", "value": "http://evil"}]},
    "a variable that loads code into the launcher": {"env": [{"name": "LD_PRELOAD", "value": "/workspace/x.so"}]},
    "a variable that carries the pod's orders": {"env": [{"name": "TFTRAINING_PLAN", "value": "{}"}]},
    "a variable that takes accelerators": {"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]},
    "a bucket by a URI with an endpoint": {"inputs": [{"name": "x", "uri": "http://evil/bucket/key"}]},
    "a key that climbs out of its folder": {"inputs": [{"name": "x", "uri": "${bucket}/../../other/key"}]},
    "a script that lies outside of what is fetched": {"script": {"path": "../../run/tftraining/resolved.json"}},
    "a resource of nodes that is no resource": {"resources": {"gpus": 1, "gpuResource": "x\nhostPath"}},
}


@pytest.mark.parametrize("attack", REFUSED)
def test_the_api_server_refuses_a_job_with(border: Border, attack: str) -> None:
    with pytest.raises(RefusedError) as refused:
        border.submit("train", "refused", **REFUSED[attack])
    assert refused.value.status == 422


UNKNOWN: Object = {
    "serviceAccountName": "admin",
    "automountServiceAccountToken": True,
    "hostNetwork": True,
    "hostPID": True,
    "nodeName": "node",
    "namespace": "theirs",
    "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
    "securityContext": {"runAsUser": 0, "privileged": True},
    "template": {"spec": {"serviceAccountName": "admin"}},
    "imagePullSecrets": [{"name": "tftraining-storage"}],
    "priorityClassName": "system-node-critical",
    "image": "evil",
    "tolerations": [{"operator": "Exists"}],
    "storage": {"namespace": "theirs", "endpoint": "http://evil"},
    "env": [
        {"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "namespace": "theirs"}, "fieldRef": {"fieldPath": "spec"}}},
        {"name": "Y", "value": "$(TFTRAINING_STORAGE_SECRET_KEY)"},
    ],
}


@pytest.mark.parametrize("user", ["edit", "train"])
def test_fields_that_a_job_does_not_have_change_nothing_of_its_pod(border: Border, user: str) -> None:
    border.submit(user, f"plain-{user}")
    border.submit(user, f"unknown-{user}", **UNKNOWN)
    plain, found = (border.mine.wait_for_pod(f"{name}-{user}-chief-0")["spec"] for name in ("plain", "unknown"))
    assert found.keys() == plain.keys()
    for field in plain.keys() - {"containers", "initContainers", "volumes"}:
        assert found[field] == plain[field], field
    assert (found["serviceAccountName"], found["automountServiceAccountToken"]) == ("default", False)
    kinds = {next(iter(volume.keys() - {"name"})) for volume in found["volumes"]}
    assert kinds == {"emptyDir", "projected", "configMap"}
    [projected] = [volume["projected"] for volume in found["volumes"] if "projected" in volume]
    assert [set(source) for source in projected["sources"]] == [{"serviceAccountToken"}]
    assert projected["sources"][0]["serviceAccountToken"]["audience"] == "tftraining.dev/reports"
    mounted = {each["name"] for each in found["containers"] if "reports-token" in {mount["name"] for mount in each["volumeMounts"]}}
    assert mounted == {"publisher"}
    trainer = next(each for each in found["containers"] if each["name"] == "trainer")
    variables = {each["name"]: each for each in trainer["env"]}
    assert variables["X"]["valueFrom"] == {"secretKeyRef": {"name": "s", "key": "k"}}
    # A doubled dollar is one: the kubelet expands nothing.
    assert variables["Y"]["value"] == "$$(TFTRAINING_STORAGE_SECRET_KEY)"
    assert not [name for name in variables if "STORAGE" in name or "SECRET_KEY" in name]


def done(border: Border, name: str) -> Object:
    """Return a status that says that a job has succeeded, in every word that an operator would use."""
    at = "2026-01-01T00:00:00Z"
    true = [{"type": kind, "status": "True", "reason": "Published", "lastTransitionTime": at} for kind in ("Succeeded", "Finished")]
    manifest = f"s3://b/.tftraining/{border.mine.namespace}/{name}/uid/attempt-0/manifest.json"
    return {"phase": "Succeeded", "observedGeneration": 1, "completionTime": at, "conditions": true, "outputs": {"manifest": manifest}}


@pytest.mark.parametrize("user", ["edit", "train"])
def test_a_status_that_is_sent_along_with_a_job_or_a_change_of_it_is_nobodys_word(border: Border, user: str) -> None:
    name = f"forged-{user}"
    created = border.submit(user, name, status=done(border, name))
    assert created["status"] == {"observedGeneration": -1, "phase": "Pending"}
    pod = border.mine.wait_for_pod(f"{name}-chief-0")
    border.mine.run(pod)
    border.mine.wait_for_phase(name, "Running")
    body = {"status": done(border, name), "metadata": {"labels": {"tftraining.dev/phase": "Succeeded"}}}
    changed = border.mine.call("PATCH", f"{border.mine.jobs_path}/{name}", body, MERGE, as_user=user)
    assert changed["status"]["phase"] == "Running"
    border.mine.end(pod, 3)
    assert border.mine.wait_for_phase(name, "Failed")["failure"]["reason"] == "ScriptExited"


def test_labels_annotations_and_owners_of_a_job_reach_neither_its_pod_nor_anybody_elses(border: Border) -> None:
    victim = border.theirs.call("GET", f"{border.theirs.jobs_path}/victim")["metadata"]
    owner = {"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "name": "victim", "uid": victim["uid"], "controller": True}
    metadata = {
        "labels": {"tftraining.dev/job-name": "victim", "tftraining.dev/job-uid": victim["uid"], "app": "evil"},
        "annotations": {"tftraining.dev/job": "victim", "kubectl.kubernetes.io/default-container": "publisher", "evil": "yes"},
        "ownerReferences": [owner],
    }
    job = border.submit("train", "disguised", metadata=metadata)["metadata"]
    pod = border.mine.wait_for_pod("disguised-chief-0")["metadata"]
    assert [reference["uid"] for reference in pod["ownerReferences"]] == [job["uid"]]
    assert pod["labels"]["tftraining.dev/job-uid"] == job["uid"]
    ours = {"kubectl.kubernetes.io/default-container": "trainer", "tftraining.dev/job": "disguised"}
    assert {name: pod["annotations"][name] for name in ours} == ours
    assert not {"app", "evil"} & (pod["labels"].keys() | pod["annotations"].keys())
    border.serves_others()


def strange_pod(border: Border, name: str, **metadata: Any) -> Object:
    """Create a pod of three idle containers, named as a job's are, as who may edit the namespace can."""
    containers = [{"name": each, "image": "evil"} for each in ("trainer", "publisher")]
    spec = {"restartPolicy": "Never", "initContainers": [{"name": "fetch", "image": "evil"}], "containers": containers}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}
    return border.mine.call("POST", border.mine.pods_path, body, as_user="edit")


def test_a_pod_of_one_namespace_that_names_a_job_of_another_as_its_owner_does_not_end_it(border: Border) -> None:
    victim = border.theirs.call("GET", f"{border.theirs.jobs_path}/victim")["metadata"]
    owner = {"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "name": "victim", "uid": victim["uid"], "controller": True}
    labels = {"tftraining.dev/job-uid": victim["uid"], "tftraining.dev/job-name": "victim", "tftraining.dev/attempt": "0"}
    for name in ("victim-chief-0", "victim-chief-0-r1"):
        pod = strange_pod(border, name, ownerReferences=[owner], labels=labels, annotations={"tftraining.dev/job": "victim"})
        # As a kubelet would report a pod whose publisher printed the proof of success, for that very job.
        said = ended({**pod, "metadata": {**pod["metadata"], "namespace": border.theirs.namespace}})
        border.mine.show(pod, said)
    border.serves_others()
    assert border.theirs.status("victim").get("attempt", 0) == 0
    assert {pod["metadata"]["name"] for pod in border.mine.pods()} >= {"victim-chief-0", "victim-chief-0-r1"}, "nor is it deleted"


def test_what_the_operator_tells_everybody_names_no_namespace(border: Border) -> None:
    for route in ("metrics", "healthz", "readyz"):
        assert border.theirs.namespace not in border.operator.page(route)


def test_a_report_with_a_token_that_only_claims_to_be_of_another_pod_is_not_heard(border: Border) -> None:
    victim = border.theirs.wait_for_pod("victim-chief-0")
    claims = {"kubernetes.io": {"pod": {"name": "victim-chief-0", "uid": victim["metadata"]["uid"]}}, "aud": ["tftraining.dev/reports"]}
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "RS256"}, claims))
    token = ".".join((*parts, "c2ln"))
    assert send(border.operator, token, encoded(checkpoint="forged"))[0] == 401
    assert "checkpoint" not in border.theirs.status("victim")


def hostile_jobs(border: Border) -> Iterator[None]:
    """Create one strange job after the other."""
    marker = {"finalizers": ["kopf.zalando.org/KopfFinalizerMarker"]}
    yield border.submit("train", "kopf-finalizer", metadata=marker)
    yield border.submit("train", "own-finalizer", metadata={"finalizers": ["evil.example.com/never"]})
    yield border.mine.call("DELETE", f"{border.mine.jobs_path}/own-finalizer", as_user="train")
    annotations = {"kopf.zalando.org/last-handled-configuration": "{" * 1000, "kopf.zalando.org/x": "not json"}
    yield border.submit("train", "kopf-annotations", metadata={"annotations": annotations})
    yield border.submit("train", "a" * 253)
    yield border.submit("train", "dots.and.dots")
    yield border.submit("train", "huge", script={"name": "a.py", "inline": "\U0001f600" * 65536}, suspend=True)
    yield border.submit("train", "many", args=["x" * 2000] * 20, env=[{"name": f"V{at}", "value": "$(A)" * 20} for at in range(100)])
    yield border.submit("train", "runtime", runtime="no-such-runtime")
    yield border.submit("train", "victim")


def test_the_operator_serves_others_whatever_jobs_there_are(border: Border) -> None:
    for _ in hostile_jobs(border):
        border.serves_others()
    assert border.operator.page("healthz") == "ok"


def test_the_operator_serves_others_whatever_pods_there_are(border: Border) -> None:
    for at, name in enumerate(("../../victim", "x" * 1000, "", "victim", "no/such", "\u202e")):
        labels = {"tftraining.dev/job-uid": "not-a-uid", "tftraining.dev/attempt": "99999999999", "tftraining.dev/index": "x"}
        strange_pod(border, f"strange-{at}", labels=labels, annotations={"tftraining.dev/job": name})
    border.serves_others()
    assert border.operator.page("healthz") == "ok"


def test_who_forges_that_another_installation_has_written_stops_nobody_but_his_own_namespace(border: Border) -> None:
    border.submit("train", "rivalled", suspend=True)
    border.mine.wait_for_phase("rivalled", "Suspended")
    job = border.mine.call("GET", f"{border.mine.jobs_path}/rivalled")
    entry = next(entry for entry in job["metadata"]["managedFields"] if entry.get("subresource") == "status")
    forged = {**entry, "manager": "tftraining-operator.aaa.aaa", "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    job["metadata"]["managedFields"] = [forged]
    border.mine.call("PUT", f"{border.mine.jobs_path}/rivalled", job, as_user="train")
    until(lambda: "another installation works on the same jobs" in border.operator.log(), "it is taken for true")
    border.serves_others()
