"""The whole product on a real cluster, driven as its users do: by kubectl, the Kubernetes API, and an S3 client.

`make test` brings cluster and chart up and sets `TFTRAINING_TEST_KUBECONFIG`; without it these tests skip.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator

import pytest
from cluster_client import TEST_NAMESPACES, Cluster, Jobs
from demo.code import client
from demo.target import NAMESPACE, Bucket, find_bucket, select_target
from minio import Minio


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and skip them where there is no cluster to test on."""
    ready = bool(os.environ.get("TFTRAINING_TEST_KUBECONFIG"))
    for item in items:
        if "tests/cluster/" in item.path.as_posix():
            item.add_marker(pytest.mark.cluster)
            if not item.get_closest_marker("timeout"):
                # More than any of them waits for one thing on a busy node, so that it is that which tells what did not come.
                item.add_marker(pytest.mark.timeout(900))
            if not ready:
                item.add_marker(pytest.mark.skip(reason="no cluster with the chart: run `make test`"))


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the cluster that the chart is installed in."""
    return Cluster(select_target())


@pytest.fixture(scope="session")
def bucket(cluster: Cluster) -> Bucket:
    """Return address and credentials of the demo store."""
    return find_bucket(cluster.target)


@pytest.fixture(scope="session")
def store(bucket: Bucket) -> Minio:
    """Return an S3 client of the demo store."""
    return client(bucket)


@pytest.fixture(scope="module")
def jobs(cluster: Cluster) -> Iterator[Jobs]:
    """Return a fresh namespace that admits restricted pods only and holds the demo store's Secrets."""
    namespace = f"{TEST_NAMESPACES}{secrets.token_hex(3)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    for name in ("tftraining-storage", "tftraining-datasets"):
        secret = json.loads(cluster.kubectl("-n", NAMESPACE, "get", "secret", name, "-o", "json"))
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace},
                "data": secret["data"],
            }
        )
    yield Jobs(cluster, namespace)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
