"""The rights that the chart gives are enough: a whole life of jobs, with nothing refused, in one namespace and in all."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from control import ROOT, Operator, Played, until
from faults import FaultProxy
from localcluster import binaries

PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}


@pytest.fixture(params=[True, False], ids=["one namespace", "all namespaces"])
def limited(request: pytest.FixtureRequest, proxy: FaultProxy, played: Played, tmp_path: Path) -> Iterator[Operator]:
    """Return a running operator that may do what the chart lets it, and nothing else."""
    watched = [played.namespace] if request.param else []
    for item in rendered(played.namespace, watchNamespaces=watched):
        if item["kind"] in PATHS:
            played.call("POST", PATHS[item["kind"]].format(namespace=item["metadata"].get("namespace")), item)
    proxy.as_user = f"system:serviceaccount:{played.namespace}:{played.namespace}-operator"
    with Operator(proxy, played.namespace, tmp_path) as operator:
        path = tmp_path / "one.yaml"
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"watchNamespaces": watched, "leaseName": f"{played.namespace}-operator"})
        )
        operator.start()
        yield operator


def rendered(release: str, **values: Any) -> list[dict[str, Any]]:
    """Return what the chart renders; the release is called like its namespace, so that its cluster roles are its own."""
    helm = binaries.built().path("helm")
    argv = [helm, "template", release, str(ROOT / "helm" / "tftraining-operator"), "--namespace", release, "--values", "-"]
    done = subprocess.run(argv, input=json.dumps(values), capture_output=True, text=True, check=True)
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def test_with_the_rights_of_the_chart_jobs_run_are_suspended_and_end_and_nothing_is_refused(limited: Operator, played: Played) -> None:
    played.submit("runs")
    pod = played.wait_for_pod("runs-chief-0")
    played.run(pod)
    played.wait_for_phase("runs", "Running")
    played.end(pod)
    played.wait_for_phase("runs", "Succeeded")
    played.submit("stops")
    played.wait_for_pod("stops-chief-0")
    played.change("stops", suspend=True)
    until(lambda: all(pod["metadata"].get("deletionTimestamp") for pod in played.pods() if "stops" in pod["metadata"]["name"]), "it goes")
    assert limited.terminate() < 2
    limited.start()
    for refused in ('code="403"', 'code="401"', "forbidden"):
        assert refused not in limited.page("metrics") + limited.log()
    assert "runs" in {item["regarding"]["name"] for item in events(played)}


def events(played: Played) -> list[dict[str, Any]]:
    """Return the namespace's events."""
    return list(played.call("GET", f"/apis/events.k8s.io/v1/namespaces/{played.namespace}/events")["items"])
