"""Packages from an index inside the cluster, which an admin allows by one value of the chart."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_client import Cluster, Jobs
from demo.console import quiet
from demo.install import helm_command

from tests.integration.trainer.package_index import wheel

FILE = "tftraining_helper-1.0-py3-none-any.whl"
SCRIPT = """
import tftraining_helper
print("helper", tftraining_helper.VERSION)
"""


@pytest.fixture(scope="module")
def index(cluster: Cluster, jobs: Jobs) -> Iterator[None]:
    """Serve an index of one package, which depends on TensorFlow, and have the admin allow it for as long as the test runs."""
    data = wheel("tftraining_helper", "1.0", requires=("tensorflow>=2",))
    page = f'<a href="../../{FILE}#sha256={hashlib.sha256(data).hexdigest()}">{FILE}</a>'
    name = {"name": "packages", "namespace": jobs.namespace}
    image = next(part for part in helm_command(cluster.target) if part.startswith("runtimes.tf2.image=")).partition("=")[2]
    container = {
        "name": "server",
        "image": image,
        "command": ["python3", "-m", "http.server", "8080", "--directory", "/index"],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "index", "mountPath": "/index"}],
    }
    items = [{"key": "page", "path": "simple/tftraining-helper/index.html"}, {"key": "wheel", "path": FILE}]
    cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {"page": page}, "binaryData": {"wheel": encoded(data)}},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": name | {"labels": {"app": "packages"}},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [container],
                "volumes": [{"name": "index", "configMap": {"name": "packages", "items": items}}],
            },
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": name, "spec": {"selector": {"app": "packages"}, "ports": [{"port": 8080}]}},
    )
    jobs.kubectl("wait", "--for=condition=Ready", "pod/packages", "--timeout=120s")
    url = f"http://packages.{jobs.namespace}.svc:8080/simple"
    quiet([*helm_command(cluster.target), "--set", f"packageIndex.url={url}"], cluster.target.environment)
    yield
    quiet(helm_command(cluster.target), cluster.target.environment)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_job_that_names_packages_is_refused_where_none_is_allowed(jobs: Jobs) -> None:
    jobs.submit("no-packages", SCRIPT, dependencies={"requirements": ["tftraining-helper"]})
    status = jobs.wait("no-packages", "Failed")
    assert status["failure"]["reason"] == "InvalidSpec"
    assert "packageIndex.url" in status["message"]
    assert jobs.pods("no-packages") == []


def test_a_job_installs_packages_where_the_admin_allows_an_index(jobs: Jobs, index: None) -> None:
    jobs.submit("packages", SCRIPT, runtime="tf2", dependencies={"requirements": ["tftraining-helper"]})
    status = jobs.wait("packages")
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    assert jobs.log("packages") == "helper 1.0\n"
    assert "packages: tftraining-helper 1.0;" in jobs.kubectl("logs", "packages-chief-0", "-c", "fetch")


def test_a_package_that_is_not_there_is_told_apart_from_an_index_that_is_away(jobs: Jobs, index: None) -> None:
    once: dict[str, Any] = {"runtime": "tf2", "retry": {"infrastructure": 0}}
    jobs.submit("no-such-package", SCRIPT, dependencies={"requirements": ["no-such-package==1.0"]}, **once)
    status = jobs.wait("no-such-package", "Failed")
    assert status["failure"]["reason"] == "RequirementsUnsatisfiable"
    assert "no-such-package==1.0" in status["message"]
    jobs.kubectl("delete", "pod", "packages", "--wait=true")
    jobs.submit("no-index", SCRIPT, dependencies={"requirements": ["tftraining-helper"]}, **once)
    status = jobs.wait("no-index", "Failed")
    assert (status["failure"]["reason"], status["failure"]["cause"]) == ("PackageIndexUnavailable", "Infrastructure")
    assert f"packages.{jobs.namespace}.svc" in status["message"]
