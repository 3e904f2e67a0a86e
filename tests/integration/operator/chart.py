"""What the chart gives: its objects as they are rendered, its rights as the API server has them, and the operator that has no others."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from control import ROOT, Operator, Played
from faults import FaultProxy
from localcluster import binaries

PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}


def rendered(release: str, **values: Any) -> list[dict[str, Any]]:
    """Return what the chart renders; the release is called like its namespace, so that its cluster roles are its own."""
    helm = binaries.built().path("helm")
    argv = [helm, "template", release, str(ROOT / "helm" / "tftraining-operator"), "--namespace", release, "--values", "-"]
    done = subprocess.run(argv, input=json.dumps(values), capture_output=True, text=True, check=True)
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def account(release: str) -> str:
    """Return the user name of the operator's account."""
    return f"system:serviceaccount:{release}:{release}-operator"


def give_rights(played: Played, *watched: str, **values: Any) -> None:
    """Create all that the chart renders of rights, for an operator of those namespaces, or of all; `values` are further ones."""
    for item in rendered(played.namespace, watchNamespaces=list(watched), **values):
        if item["kind"] in PATHS:
            played.call("POST", PATHS[item["kind"]].format(namespace=item["metadata"].get("namespace")), item)


@contextmanager
def limited_operator(proxy: FaultProxy, played: Played, folder: Path, *watched: str, **values: Any) -> Iterator[Operator]:
    """Return a running operator that may do what the chart lets it, and nothing else."""
    give_rights(played, *watched, **values)
    proxy.as_user = account(played.namespace)
    with Operator(proxy, played.namespace, folder) as operator:
        path = folder / "one.yaml"
        settings = {"watchNamespaces": watched, "leaseName": f"{played.namespace}-operator"}
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))
        operator.start()
        yield operator
