"""The cluster to work on: the local one, or one that was given on purpose.

`CLUSTER=existing` with `KUBECONFIG` and `REGISTRY` (where images can be pushed and the cluster can pull them) selects a cluster
that is already there; nothing but the chart's release is touched in it. Everything else means the local cluster, which this
tool starts itself, and no other context is ever read.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from demo.console import CommandError, quiet

REPOSITORY = Path(__file__).resolve().parents[3]
RELEASE = "tftraining"
NAMESPACE = "tftraining-system"
STORAGE_SERVICE = "tftraining-dev-s3"


class TargetError(RuntimeError):
    """The cluster that was asked for cannot be used. The text names the variable and what to do."""


@dataclass(frozen=True)
class Target:
    """Where to install: its nodes find the images below `registry`."""

    local: bool
    registry: str

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """What makes kubectl and helm speak to it. Raises TargetError while the local cluster is not up."""
        return _local_environment() if self.local else dict(os.environ)

    @property
    def export(self) -> str:
        """The shell line that points a person's kubectl at it."""
        return local_exports()[0] if self.local else f"export KUBECONFIG={shlex.quote(os.environ['KUBECONFIG'])}"

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl against the target and return its output. Raises CommandError when it fails."""
        return quiet(["kubectl", *arguments], self.environment, stdin=stdin)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The demo store as reachable from this machine. Its fields are those of the storage Secret."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str


def cluster_tool(*arguments: str) -> list[str]:
    """Return the command line of the tool that keeps the local cluster."""
    return [sys.executable, "-m", "localcluster", *arguments]


def select_target() -> Target:
    """Read `CLUSTER`, `KUBECONFIG` and `REGISTRY`.

    Raises:
        TargetError: they contradict each other or lack something.

    """
    choice = os.environ.get("CLUSTER", "local")
    if choice == "local":
        return Target(local=True, registry="localhost")
    if choice != "existing":
        raise TargetError(f"CLUSTER={choice!r}: expected `local` or `existing`")
    for variable in ("KUBECONFIG", "REGISTRY"):
        if not os.environ.get(variable):
            raise TargetError(
                f"CLUSTER=existing needs {variable}: set it to the cluster's kubeconfig and to a registry its nodes pull from"
            )
    return Target(local=False, registry=os.environ["REGISTRY"].rstrip("/"))


def find_bucket(target: Target) -> Bucket:
    """Read the demo store's address and credentials from the cluster.

    Raises:
        CommandError: the chart is not installed with `dev.enabled`.

    """
    secret = json.loads(target.kubectl("-n", NAMESPACE, "get", "secret", "tftraining-storage", "-o", "json"))["data"]
    value = {key: base64.b64decode(text).decode() for key, text in secret.items()}
    service = json.loads(target.kubectl("-n", NAMESPACE, "get", "service", STORAGE_SERVICE, "-o", "json"))["spec"]
    # kube-proxy of the local cluster makes service addresses reachable from this very machine
    endpoint = f"http://{service['clusterIP']}:{service['ports'][0]['port']}"
    return Bucket(endpoint, value["bucket"], value["accessKey"], value["secretKey"])


def _local_environment() -> dict[str, str]:
    environment = dict(os.environ)
    for line in local_exports():
        name, _, value = shlex.split(line)[1].partition("=")
        environment[name] = os.path.expandvars(value)
    # The exported one is for people, who may have changed its namespace.
    return environment | {"KUBECONFIG": quiet(cluster_tool("kubeconfig"), os.environ).strip()}


def local_exports() -> list[str]:
    """Return the shell lines that make kubectl and helm speak to the local cluster.

    Raises:
        TargetError: it is not up.

    """
    try:
        return quiet(cluster_tool("env"), os.environ).splitlines()
    except CommandError as error:
        raise TargetError("the local cluster is not up: start it with `make up`, or `make demo` for the whole tour") from error


__all__ = ["Bucket", "CommandError", "Target", "TargetError", "cluster_tool", "find_bucket", "select_target"]
