"""What the cluster tests say to the cluster: thin verbs over kubectl, and waiting for conditions with a deadline."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from demo.target import Target

Object = dict[str, Any]
Found = TypeVar("Found")
SMALL = {"cpu": "50m", "memory": "512Mi", "workspace": "1Gi"}
"""Enough for a script that imports no TensorFlow; many fit on one small node."""
TEST_NAMESPACES = "test-"
"""With what the name of each namespace of these tests begins."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster under test."""

    target: Target

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return its output; raises CommandError."""
        return self.target.kubectl(*arguments, stdin=stdin)

    def apply(self, *objects: Object) -> str:
        """Apply objects, refused if a field is unknown; raises CommandError with the server's words."""
        return self.kubectl("apply", "--validate=strict", "-f", "-", stdin="\n---\n".join(json.dumps(item) for item in objects))

    def get(self, *arguments: str) -> Object:
        """Return an object as the server has it."""
        return dict(json.loads(self.kubectl("get", *arguments, "-o", "json")))

    def items(self, *arguments: str) -> list[Object]:
        """Return the items of a list."""
        return list(self.get(*arguments)["items"])

    @contextlib.contextmanager
    def offering(self, device: str, count: int = 1) -> Iterator[str]:
        """Let the first node offer devices, as a device plugin would, for as long as the context lasts; returns the node's name."""
        node = str(self.items("nodes")[0]["metadata"]["name"])
        path = "/status/capacity/" + device.replace("/", "~1")

        def patch(**operation: str) -> None:
            self.kubectl("patch", "node", node, "--subresource=status", "--type=json", "-p", json.dumps([{"path": path, **operation}]))

        patch(op="add", value=str(count))
        try:
            eventually(lambda: self.get("node", node)["status"]["allocatable"].get(device), lambda: f"{node} offers {device}")
            yield node
        finally:
            patch(op="remove")


@dataclass(frozen=True, slots=True)
class Jobs:
    """TFTrainingJobs of one namespace."""

    cluster: Cluster
    namespace: str

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("-n", self.namespace, *arguments)

    def submit(self, name: str, inline: str | None = None, /, **spec: Any) -> str:
        """Create a job, small and on `tf1` unless `spec` says otherwise, and return its name."""
        body: Object = {"runtime": "tf1", "resources": SMALL, **spec}
        if inline is not None:
            body["script"] = {"name": "script.py", "inline": inline}
        metadata = {"name": name, "namespace": self.namespace}
        self.cluster.apply({"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "metadata": metadata, "spec": body})
        return name

    def plain_pod(self, name: str, limits: Mapping[str, str] | None = None, **spec: Any) -> Object:
        """Return a pod that is no job's, without an image to run; a restricted namespace admits it."""
        security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
        security |= {"seccompProfile": {"type": "RuntimeDefault"}}
        container = {"name": "c", "image": "localhost/none", "securityContext": security, "resources": {"limits": dict(limits or {})}}
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}

    def get(self, name: str) -> Object:
        """Return the job."""
        return self.cluster.get("-n", self.namespace, "tftj", name)

    def status(self, name: str) -> Object:
        """Return the job's status."""
        return dict(self.get(name).get("status", {}))

    def pods(self, name: str) -> list[Object]:
        """Return the job's pods."""
        return self.cluster.items("-n", self.namespace, "pods", "-l", f"tftraining.dev/job-name={name}")

    def patch(self, name: str, spec: Mapping[str, Any]) -> None:
        """Merge fields into the job's spec."""
        self.kubectl("patch", "tftj", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def wait(self, name: str, condition: str = "Finished", seconds: int = 420) -> Object:
        """Wait for a condition as a user would, and return the status then."""
        self.kubectl("wait", f"--for=condition={condition}", f"tftj/{name}", f"--timeout={seconds}s")
        return self.status(name)

    def wait_for_phase(self, name: str, phase: str, seconds: float = 300) -> Object:
        """Wait until the status shows a phase and return the status."""
        return self.wait_until(name, lambda status: status.get("phase") == phase, f"phase {phase}", seconds)

    def wait_until(self, name: str, holds: Callable[[Object], bool], what: str, seconds: float = 300) -> Object:
        """Wait until something holds of the status and return the status."""

        def probe() -> Object | None:
            status = self.status(name)
            return status if holds(status) else None

        return eventually(probe, lambda: f"job {name}: {what}; its status is {json.dumps(self.status(name), indent=1)}", seconds)

    def log(self, name: str) -> str:
        """Return the log of the job's first pod as `kubectl logs` shows it."""
        return self.kubectl("logs", f"{name}-chief-0")


def eventually(probe: Callable[[], Found | None], what: Callable[[], str], seconds: float = 120) -> Found:
    """Return the first value of `probe` that is not None, asked four times a second until the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what()}")
        time.sleep(0.25)
