"""Namespaces with a quota, and credentials of users: what runs, what is told, and where no credential is found."""

from __future__ import annotations

import json

import pytest
from cluster_client import Cluster, Jobs, eventually
from demo.target import NAMESPACE, RELEASE, Bucket
from minio import Minio

CANARY = "canary-b83f0c6d19e7"
SEES = """
import os, sys
print("key has", len(os.environ["WANDB_API_KEY"]), "characters")
open(sys.argv[1], "w").write("done")
"""


def told(cluster: Cluster, jobs: Jobs, job: str, store: Minio, bucket: Bucket) -> list[str]:
    """Return where the canary stands of all that the product has left of a job, whose spec and pod show what the user wrote there."""
    status = jobs.status(job)
    folder = status["outputs"]["manifest"].partition(f"s3://{bucket.bucket}/")[2].rpartition("/")[0]
    found = {
        each.object_name: store.get_object(bucket.bucket, str(each.object_name)).read().decode("utf-8", "replace")
        for each in store.list_objects(bucket.bucket, prefix=f"{folder}/", recursive=True)
    }
    assert any(str(name).endswith("/run.lock.json") for name in found), found
    events = [item for item in cluster.items("-n", jobs.namespace, "events") if item["involvedObject"]["name"] == job]
    assert events
    logs = {name: jobs.kubectl("logs", f"{job}-chief-0", "-c", name) for name in ("fetch", "publisher", "trainer")}
    operator = cluster.kubectl("-n", NAMESPACE, "logs", f"deployment/{RELEASE}-operator")
    everything = {**found, **logs, "status": json.dumps(status), "events": json.dumps(events), "the operator's log": operator}
    return [str(name) for name, text in everything.items() if CANARY in text]


def test_a_variable_from_a_secret_waits_for_it_and_is_seen_by_the_script_alone(
    cluster: Cluster, jobs: Jobs, store: Minio, bucket: Bucket
) -> None:
    variable = {"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "apiKey"}}}
    jobs.submit("from-secret", SEES, args=["${bucket}/test-secrets/done"], env=[variable])
    waiting = jobs.wait_until("from-secret", lambda status: "pending" in status, "it waits for the Secret")
    assert waiting["pending"]["reason"] == "SecretNotFound"
    assert "spec.env[0].valueFrom.secretKeyRef (variable WANDB_API_KEY)" in waiting["pending"]["message"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wandb", "namespace": jobs.namespace}}
    cluster.apply(secret | {"stringData": {"entity": "me"}})
    waiting = jobs.wait_until(
        "from-secret", lambda status: status.get("pending", {}).get("reason") == "SecretKeyNotFound", "it waits for the key"
    )
    assert "has no key apiKey" in waiting["pending"]["message"]
    cluster.apply(secret | {"stringData": {"entity": "me", "apiKey": CANARY}})
    assert jobs.wait("from-secret", seconds=300)["phase"] == "Succeeded"
    assert f"key has {len(CANARY)} characters" in jobs.log("from-secret")
    assert told(cluster, jobs, "from-secret", store, bucket) == []
    assert CANARY not in jobs.kubectl("get", "pod", "from-secret-chief-0", "-o", "yaml")


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("plain-variable", {"args": ["${bucket}/test-secrets/done"], "env": [{"name": "WANDB_API_KEY", "value": CANARY}]}),
        (
            "address-in-an-argument",
            {
                "args": ["${bucket}/test-secrets/done", f"postgres://me:{CANARY}@db.example.com/runs"],
                "env": [{"name": "WANDB_API_KEY", "value": "offline-x"}],
            },
        ),
    ],
)
def test_a_credential_that_stands_in_the_job_is_copied_nowhere(
    cluster: Cluster, jobs: Jobs, store: Minio, bucket: Bucket, name: str, spec: dict[str, object]
) -> None:
    jobs.submit(name, SEES, **spec)
    assert jobs.wait(name)["phase"] == "Succeeded"
    assert told(cluster, jobs, name, store, bucket) == []

    def event() -> str | None:
        items = cluster.items("-n", jobs.namespace, "events")
        return next(
            (item["message"] for item in items if item["involvedObject"]["name"] == name and item["reason"] == "CredentialInSight"), None
        )

    assert "spec.env[].valueFrom.secretKeyRef" in eventually(event, lambda: "an event CredentialInSight")


def test_a_namespace_with_a_quota_on_cpu_limits_runs_what_fits_and_says_what_it_demands(cluster: Cluster, jobs: Jobs) -> None:
    hard = {"requests.cpu": "2", "requests.memory": "4Gi", "limits.cpu": "2", "limits.memory": "4Gi"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team", "namespace": jobs.namespace}}
    cluster.apply(quota | {"spec": {"hard": hard}})
    small = {"cpu": "50m", "memory": "512Mi", "workspace": "1Gi"}
    try:
        jobs.submit("unlimited", "print('hello')\n", resources=small)
        status = jobs.wait_until("unlimited", lambda found: found.get("pending", {}).get("reason") == "LimitRequired", "told")
        assert "limits.cpu" in status["pending"]["message"]
        assert "spec.resources.cpuLimit" in status["pending"]["message"]
        jobs.submit("too-large", "print('hello')\n", resources={**small, "cpuLimit": 3})
        jobs.wait_until("too-large", lambda found: found.get("pending", {}).get("reason") == "QuotaTooSmall", "told")
        jobs.submit("fits", "import os\nprint('threads', os.environ['OMP_NUM_THREADS'])\n", resources={**small, "cpuLimit": "500m"})
        assert jobs.wait("fits")["phase"] == "Succeeded"
        assert "threads 1" in jobs.log("fits")
    finally:
        jobs.kubectl("delete", "resourcequota", "team")
    # Long after the first try, and not as long after the cause is gone: the delays are bounded.
    jobs.wait_until("unlimited", lambda found: "pods" in found or found.get("phase") != "Pending", "it is tried again", 60)
    assert jobs.wait("unlimited")["phase"] == "Succeeded"
