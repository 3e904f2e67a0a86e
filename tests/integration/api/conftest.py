"""A real API server with the custom resource definition installed, Strict, under a group of its own.

The group of its own keeps an operator that may run there away, so that a test owns every object that it makes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

ROOT = Path(__file__).parents[3]
VARIABLE = "TFTRAINING_TEST_KUBECONFIG"
DEADLINE_SECONDS = 60.0
MERGE = "application/merge-patch+json"


class RefusedError(Exception):
    """The API server refused a request: its status code, and what it said."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


@dataclass(frozen=True)
class Server:
    """A real API server: a group of the API and a namespace on it, in which Pod Security is enforced as restricted."""

    client: client.ApiClient
    group: str
    namespace: str

    @property
    def jobs(self) -> str:
        """The path of the jobs."""
        return f"/apis/{self.group}/v1alpha1/namespaces/{self.namespace}/tftrainingjobs"

    def call(self, method: str, path: str, body: Any = None, *, content: str = "application/json", accept: str = "", **query: str) -> Any:
        """Make one request with Strict field validation; `query` are parameters such as dryRun."""
        parameters = {"fieldValidation": "Strict"} | query if body is not None else query
        address = f"{self.client.configuration.host}{path}?" + "&".join(f"{name}={value}" for name, value in parameters.items())
        headers = {"Content-Type": content, "Accept": accept or "application/json"}
        try:
            answer = self.client.rest_client.request(method, address, headers=headers, body=body)  # type: ignore[no-untyped-call]
        except client.ApiException as error:
            raise RefusedError(error.status, error.body or "") from error
        data = answer.read()
        if answer.status >= 400:
            raise RefusedError(answer.status, _said(data))
        return json.loads(data)

    def job(self, spec: dict[str, Any], name: str = "case", **more: Any) -> dict[str, Any]:
        """Return a job of that spec."""
        return {"apiVersion": f"{self.group}/v1alpha1", "kind": "TFTrainingJob", "metadata": {"name": name}, "spec": spec, **more}

    def admit(self, spec: dict[str, Any], name: str = "case") -> Any:
        """Let the server judge a job without storing it."""
        return self.call("POST", self.jobs, self.job(spec, name), dryRun="All")


def _said(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError):
        # What is not served yet is answered in plain text.
        return data.decode("utf-8", "replace")


def _kubeconfig() -> str | None:
    given = os.environ.get(VARIABLE)
    if given:
        return given
    command = [sys.executable, "-m", "localcluster", "kubeconfig"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "cluster")}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    path = found.stdout.strip()
    return path if found.returncode == 0 and Path(path).is_file() else None


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    path = _kubeconfig()
    if path is None:
        pytest.skip(f"no API server: neither {VARIABLE} is set nor the local cluster is up")
    mark = uuid.uuid4().hex[:8]
    connection = config.new_client_from_config(path)  # type: ignore[no-untyped-call]
    made = Server(connection, f"t{mark}.apitest.tftraining.dev", f"tftraining-apitest-{mark}")
    try:
        made.call("GET", "/version")
    except Exception as error:  # whatever a client raises of a server that is not there
        pytest.skip(f"no API server answers at {made.client.configuration.host}: {type(error).__name__}")
    try:
        _install(made)
        yield made
    finally:
        _remove(made)


def _install(server: Server) -> None:
    definition = yaml.safe_load((ROOT / "crds" / "tftraining.dev_tftrainingjobs.yaml").read_text(encoding="utf-8"))
    definition["metadata"]["name"] = f"tftrainingjobs.{server.group}"
    definition["spec"]["group"] = server.group
    # Nobody who looks at `kubectl get training` in the meantime should see the jobs of a test.
    definition["spec"]["names"] |= {"shortNames": [], "categories": []}
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": server.namespace, "labels": labels}}
    server.call("POST", "/api/v1/namespaces", namespace)
    server.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    _await(server, server.jobs)
    # Pods are admitted only once the namespace has its default account.
    _await(server, f"/api/v1/namespaces/{server.namespace}/serviceaccounts/default")


def _await(server: Server, path: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            server.call("GET", path)
        except RefusedError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path} was not served within {DEADLINE_SECONDS} s: {error}") from error
            time.sleep(0.1)
        else:
            return


def _remove(server: Server) -> None:
    for path in (
        f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tftrainingjobs.{server.group}",
        f"/api/v1/namespaces/{server.namespace}",
    ):
        try:
            server.call("DELETE", path)
        except RefusedError as error:
            if error.status != 404:
                raise
