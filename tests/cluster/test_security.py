"""Credentials stay where they belong, whatever the script tries."""

from __future__ import annotations

import base64
import json
import urllib.parse

from cluster_client import Cluster, Jobs, Object, eventually
from demo.target import NAMESPACE, RELEASE, Bucket
from minio import Minio

# All that a process of the trainer container can read: of itself, its siblings, and the file systems that are not the image's.
SNOOP = r"""
import os, pathlib, sys
found = bytearray(repr(dict(os.environ)).encode())
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline", "mountinfo", "root/etc/hosts"):
        try:
            found += pathlib.Path("/proc", pid, name).read_bytes()
        except OSError:
            pass
for root in ("/workspace", "/run", "/var/run", "/tmp", "/etc", "/dev/shm", "/home", "/root", "/mnt"):
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                with open(os.path.join(folder, name), "rb") as file:
                    found += file.read(1 << 20)
            except OSError:
                pass
open(sys.argv[1], "wb").write(found)
try:
    os.symlink("/proc/self/environ", os.path.dirname(sys.argv[1]) + "/link-to-environ")
    os.symlink("/run/tftraining", os.path.dirname(sys.argv[1]) + "/link-to-state")
except FileExistsError:
    pass
token = os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token")
print("service account token:", token, "uid:", os.getuid())
"""


def forms(secret: str) -> list[bytes]:
    """Return the ways in which a secret could be written down."""
    return [
        secret.encode(),
        base64.b64encode(secret.encode()),
        urllib.parse.quote(secret, safe="").encode(),
        secret[:8].encode(),
    ]


def test_the_trainer_container_holds_no_credential_and_no_output_shows_one(
    jobs: Jobs, cluster: Cluster, bucket: Bucket, store: Minio
) -> None:
    jobs.submit("snoop", SNOOP, args=["${bucket}/snoop/found.bin"])
    status = jobs.wait("snoop")
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    assert "token: False uid: 1000" in jobs.log("snoop")
    places = {"what the script could read": store.get_object(bucket.bucket, "snoop/found.bin").read()}
    assert len(places["what the script could read"]) > 1000
    keys = {item.object_name for item in store.list_objects(bucket.bucket, "snoop/", recursive=True)}
    assert keys == {"snoop/found.bin"}, "links out of the tree are not followed"
    manifest = status["outputs"]["manifest"].removeprefix(f"s3://{bucket.bucket}/")
    places["manifest"] = store.get_object(bucket.bucket, manifest).read()
    for container in ("fetch", "trainer", "publisher"):
        places[f"log of {container}"] = jobs.kubectl("logs", "snoop-chief-0", "-c", container).encode()
    places["job"] = json.dumps(jobs.get("snoop")).encode()
    places["pod"] = json.dumps(jobs.pods("snoop")).encode()
    places["events"] = jobs.kubectl("get", "events", "-o", "json").encode()
    places["operator's log"] = cluster.kubectl("-n", NAMESPACE, "logs", f"deploy/{operator(cluster)}", "--tail=-1").encode()
    address = f"/api/v1/namespaces/{NAMESPACE}/pods/{operator_pod(cluster)}:8080/proxy/metrics"
    places["metrics"] = cluster.kubectl("get", "--raw", address).encode()
    shown = [place for place, content in places.items() for form in forms(bucket.secret_key) if form in content]
    assert shown == []


def test_who_may_read_a_namespace_sees_names_of_secrets_and_nothing_of_what_is_in_them(
    jobs: Jobs, cluster: Cluster, bucket: Bucket
) -> None:
    resources = {"tftraining.dev": ["tftrainingjobs"], "": ["pods", "pods/log", "configmaps", "events"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader", "namespace": jobs.namespace}}
    role |= {"rules": [{"apiGroups": [group], "resources": names, "verbs": ["get", "list"]} for group, names in resources.items()]}
    cluster.apply(role)
    jobs.kubectl("create", "rolebinding", "reader", "--role=reader", "--user=reader")
    for name, script in {
        "read-well": "print('done')\n",
        "read-failed": "import sys\nopen(sys.argv[1], 'w')\nraise KeyError('no')\n",
    }.items():
        jobs.submit(name, script, args=["${bucket}/read/out.txt"])
    for name in ("read-well", "read-failed"):
        jobs.wait(name)
    seen = jobs.kubectl("get", "tftj,pods,configmaps,events", "-o", "json", "--as", "reader")
    for name in ("read-well", "read-failed"):
        seen += jobs.kubectl("logs", f"{name}-chief-0", "--all-containers", "--as", "reader")
    assert "tftraining-storage" in seen
    assert [form for form in forms(bucket.secret_key) if form.decode() in seen] == []
    for word in ("X-Amz-", "Signature", "last-handled", "kopf.zalando.org"):
        assert word not in seen, word


def test_the_operator_may_not_read_secrets_nor_anything_else_it_does_not_need(cluster: Cluster) -> None:
    account = cluster.get("-n", NAMESPACE, "deploy", operator(cluster))["spec"]["template"]["spec"]["serviceAccountName"]
    user = f"system:serviceaccount:{NAMESPACE}:{account}"
    rules = cluster.kubectl("auth", "can-i", "--list", "--as", user, "-n", "default", "--no-headers")
    verbs = {line.split()[0]: line[line.rindex("[") :].strip() for line in rules.splitlines() if line and not line.startswith(" ")}
    for resource in ("secrets", "serviceaccounts", "*.*", "customresourcedefinitions.apiextensions.k8s.io"):
        assert resource not in verbs, rules
    # what nodes have is asked for when no node takes a job's pod, and never watched
    assert verbs["nodes"] == "[list]", rules


def operator(cluster: Cluster) -> str:
    """Return the name of the operator's Deployment."""
    found = cluster.items("-n", NAMESPACE, "deploy", "-l", f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=operator")
    return str(found[0]["metadata"]["name"])


def operator_pod(cluster: Cluster) -> str:
    """Return the name of the operator's pod that is ready."""
    return str(ready_operator(cluster)["metadata"]["name"])


def ready_operator(cluster: Cluster, restarts: int = 0) -> Object:
    """Return the operator's pod once it is ready, and its container has been started anew at least so many times."""
    selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=operator"

    def find() -> Object | None:
        for pod in cluster.items("-n", NAMESPACE, "pods", "-l", selector):
            stays = "deletionTimestamp" not in pod["metadata"]
            for container in pod["status"].get("containerStatuses", []) if stays else ():
                if container["ready"] and container["restartCount"] >= restarts:
                    return pod
        return None

    return eventually(find, lambda: f"the operator is ready, after {restarts} restarts of its container")
