"""What an operator test does: starts and kills the operator, makes jobs, plays the kubelet."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import pytest
import urllib3
import yaml
import zygote
from controlplane import ControlPlane, control_plane, free_port
from faults import FaultProxy
from localcluster.failure import ClusterError
from played_kubelet import Object, ended, running
from zygote import Forked

ROOT = Path(__file__).parents[3]
_PROGRAM = ["-m", "tftraining_operator"]
_LEAN = """
from tftraining_operator.runtime.memory import lean_imports
with lean_imports():
    import kopf
"""
_WRONG_CLOCK = """
import sys, time
right = time.time
time.time = lambda: right() + {}
from tftraining_operator.__main__ import main
sys.exit(main())
"""
GPU = "nvidia.com/gpu"
Found = TypeVar("Found")


class RefusedError(Exception):
    """The API server refused: its status code and what it said."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


def until(probe: Callable[[], Found | None], what: str, seconds: float = 30) -> Found:
    """Return the first value that is not None or False, asked every 50 ms until the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


@functools.cache
def _administrator(pki: Path) -> urllib3.PoolManager:
    """Return connections that stay open: a test that waits asks forty times a second, and a handshake costs more than an answer."""
    certificates = {"ca_certs": str(pki / "ca.crt"), "cert_file": str(pki / "admin.crt"), "key_file": str(pki / "admin.key")}
    return urllib3.PoolManager(**certificates, timeout=30, retries=False)


@dataclass(slots=True)
class Played:
    """A namespace of a control plane without nodes; speaks to the server itself, not through the proxy."""

    plane: ControlPlane
    namespace: str

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        content: str = "application/json",
        *,
        accept: str = "application/json",
        as_user: str = "",
    ) -> Object:
        """Make one request and return the answer. `as_user` is whose rights count; by default the administrator's."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content, "Accept": accept} | ({"Impersonate-User": as_user} if as_user else {})
        answer = _administrator(self.plane.pki).request(method, self.plane.server + path, body=data, headers=headers)
        if answer.status >= 400:
            raise RefusedError(answer.status, answer.data.decode())
        return dict(answer.json())

    @property
    def pods_path(self) -> str:
        """The path of the namespace's pods."""
        return f"/api/v1/namespaces/{self.namespace}/pods"

    @property
    def jobs_path(self) -> str:
        """The path of the namespace's jobs."""
        return f"/apis/tftraining.dev/v1alpha1/namespaces/{self.namespace}/tftrainingjobs"

    def install_definition(self) -> None:
        """Install the custom resource definition, Strict, and wait until it is served."""
        definition = yaml.safe_load((ROOT / "crds" / "tftraining.dev_tftrainingjobs.yaml").read_text())
        self.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?fieldValidation=Strict", definition)

        def served() -> bool:
            try:
                self.call("GET", self.jobs_path)
            except RefusedError:
                return False
            return True

        until(served, "the definition is served")

    def create_namespace(self) -> None:
        """Create the namespace, with what a controller would put into it."""
        self.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        self.call("POST", f"/api/v1/namespaces/{self.namespace}/serviceaccounts", account)

    def submit(self, name: str, **spec: Any) -> Object:
        """Create a job."""
        body = {"runtime": "tf1", "script": {"name": "a.py", "inline": "pass"}, **spec}
        job = {"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "metadata": {"name": name}, "spec": body}
        return self.call("POST", f"{self.jobs_path}?fieldValidation=Strict", job)

    def change(self, name: str, **spec: Any) -> None:
        """Merge fields into a job's spec."""
        self.call("PATCH", f"{self.jobs_path}/{name}", {"spec": spec}, "application/merge-patch+json")

    def status(self, name: str) -> Object:
        """Return a job's status."""
        return dict(self.call("GET", f"{self.jobs_path}/{name}").get("status", {}))

    def phase(self, name: str) -> str:
        """Return a job's phase."""
        return str(self.status(name).get("phase"))

    def pods(self) -> list[Object]:
        """Return all pods of the namespace."""
        return list(self.call("GET", self.pods_path)["items"])

    def wait_for_pod(self, name: str) -> Object:
        """Wait until a pod exists and return it."""
        return until(lambda: next((pod for pod in self.pods() if pod["metadata"]["name"] == name), None), f"pod {name} exists")

    def wait_for_phase(self, name: str, phase: str, seconds: float = 30) -> Object:
        """Wait until a job shows a phase and return its status."""
        until(lambda: self.phase(name) == phase, f"job {name} is {phase}", seconds)
        return self.status(name)

    def show(self, pod: Object, status: Object) -> None:
        """Let a pod be in any state."""
        self._report(pod, status)

    def run(self, pod: Object) -> None:
        """Let a pod's containers start."""
        self._report(pod, running(pod))

    def start(self, name: str, **spec: Any) -> Object:
        """Create a job, let its script run until the job says so, and return its pod."""
        self.submit(name, **spec)
        pod = self.wait_for_pod(f"{name}-chief-0")
        self.run(pod)
        self.wait_for_phase(name, "Running")
        return pod

    def end(self, pod: Object, exit_code: int = 0) -> None:
        """Let a pod's containers end."""
        self._report(pod, ended(pod, exit_code))

    def operators_writes(self) -> list[tuple[str, str]]:
        """Return (verb, resource) of the writes in this namespace that the API server's audit log ascribes to an operator."""
        found = []
        for entry in map(json.loads, self.plane.audit_log.read_text().splitlines()):
            thing = entry.get("objectRef", {})
            if entry.get("userAgent", "").startswith("tftraining-operator") and thing.get("namespace") == self.namespace:
                found.append((str(entry["verb"]), "/".join(filter(None, (thing["resource"], thing.get("subresource"))))))
        return found

    def remove(self, pod: Object) -> None:
        """Delete a pod, and take it away at once: no kubelet waits for anything."""
        self.call("DELETE", f"{self.pods_path}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})

    def hold(self, pod: Object) -> None:
        """Let a deleted pod stay until it is released, as a kubelet does that waits for its containers."""
        self._finalizers(pod, ["example.org/kubelet"])

    def release(self, pod: Object) -> None:
        """Let a deleted pod that was held go."""
        self._finalizers(pod, [])

    def _finalizers(self, pod: Object, names: list[str]) -> None:
        body = {"metadata": {"finalizers": names}}
        self.call("PATCH", f"{self.pods_path}/{pod['metadata']['name']}", body, "application/merge-patch+json")

    def _report(self, pod: Object, status: Object) -> None:
        self.call("PATCH", f"{self.pods_path}/{pod['metadata']['name']}/status", {"status": status}, "application/merge-patch+json")


@dataclass(slots=True)
class Operator:
    """The operator's process. `namespace` is what it watches and where its Lease lies, `ahead_seconds` how wrong its machine's clock is.

    `settings` is what its configuration has beside what every test needs. `start_seconds` is how long it took until it led, the last time
    that this was waited for: a machine that is busy then is not faster afterwards. It is `forked` from a process that has imported it,
    but where its clock is wrong.
    """

    proxy: FaultProxy
    namespace: str
    folder: Path
    identity: str = "one"
    ahead_seconds: float = 0.0
    settings: Object = field(default_factory=dict)
    forked: bool = True
    process: subprocess.Popen[bytes] | Forked | None = None
    port: int = field(default_factory=free_port)
    start_seconds: float = 0.0

    def __enter__(self) -> Operator:
        """Write the configuration."""
        runtimes = {name: {"image": f"localhost/{name}:x"} for name in ("tf1", "tf2")}
        config = {
            "watchNamespaces": [self.namespace],
            "leaseNamespace": self.namespace,
            "defaultRuntime": "tf2",
            "runtimes": runtimes,
            "httpAddress": "127.0.0.1",
            "httpPort": self.port,
            "reportsUrl": f"http://127.0.0.1:{self.port}/v1/reports",
            "logFormat": "console",
            **self.settings,
        }
        (self.folder / f"{self.identity}.yaml").write_text(json.dumps(config))
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.proxy.port}"}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (self.folder / f"{self.identity}.kubeconfig").write_text(json.dumps(kubeconfig))
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """End the process in any case."""
        self.kill()

    def start(self, *, wait: bool = True) -> None:
        """Start the process and, if asked to, wait until it leads."""
        self.kill()
        begin = time.monotonic()
        argv = ["run", "--config", f"{self.folder}/{self.identity}.yaml", "--kubeconfig", f"{self.folder}/{self.identity}.kubeconfig"]
        environment = {"POD_NAME": self.identity, "PATH": "/usr/bin:/bin"}
        with (self.folder / f"{self.identity}.log").open("ab") as log:
            if self.forked and not self.ahead_seconds:
                self.process = zygote.of("operator", _LEAN).start([*_PROGRAM, *argv], environment, log)
            else:
                program = ["-c", _WRONG_CLOCK.format(self.ahead_seconds)] if self.ahead_seconds else _PROGRAM
                command = [sys.executable, *program, *argv]
                self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            try:
                until(lambda: "tftraining_leader 1.0" in self.page("metrics"), "the operator leads", 40)
            except AssertionError as error:
                raise AssertionError(f"{error}; its log:\n{self.log()}") from error
            self.start_seconds = time.monotonic() - begin

    def page(self, route: str) -> str:
        """Return what a route of the operator answers, empty if it does not."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}/{route}", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def kill(self) -> None:
        """Kill the process as hard as possible."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def terminate(self) -> float:
        """Ask the process to stop and return the seconds that it took."""
        assert self.process is not None
        begin = time.monotonic()
        self.process.terminate()
        assert self.process.wait(60) == 0
        self.process = None
        return time.monotonic() - begin

    def ended(self, seconds: float) -> int:
        """Wait until the process has ended by itself and return its exit code."""
        assert self.process is not None
        code = self.process.wait(seconds)
        self.process = None
        return code

    def log(self) -> str:
        """Return what the process said."""
        path = self.folder / f"{self.identity}.log"
        return path.read_text() if path.exists() else ""


def settle(proxy: FaultProxy, seconds: float = 1.5) -> list[tuple[str, str]]:
    """Return the writes made once nothing was written for a while: that nothing happens shows only in time."""
    deadline, quiet_since, seen = time.monotonic() + 20, time.monotonic(), len(proxy.written())
    while time.monotonic() - quiet_since < seconds:
        assert time.monotonic() < deadline, f"never quiet: {proxy.written()[-5:]}"
        if len(proxy.written()) != seen:
            quiet_since, seen = time.monotonic(), len(proxy.written())
        time.sleep(0.05)
    return proxy.written()


class Killed:
    """An operator that is killed after its k-th write from now on, and started again by whoever waits for something then."""

    def __init__(self, operator: Operator, proxy: FaultProxy, k: int) -> None:
        self._operator = operator
        self._killed = threading.Event()
        written = len(proxy.written())

        def kill(_: int) -> None:
            if len(proxy.written()) - written == k and not self._killed.is_set():
                self._killed.set()
                operator.kill()

        proxy.after = kill

    def until(self, probe: Callable[[], Any], what: str) -> Any:
        """Return the first value of the probe that is not None or False."""

        def check() -> Any:
            if self._killed.is_set() and self._operator.process is None:
                self._operator.start()
            return probe()

        return until(check, what, 60)

    def and_back(self) -> None:
        """Wait until it was killed, and is there again."""
        self.until(self._killed.is_set, "it was killed")
        self.until(lambda: self._operator.process is not None, "it is back")


def lasting_plane(*, controllers: str = "", scheduler: bool = False) -> Iterator[ControlPlane]:
    """Give a control plane with the custom resource definition, for as long as a fixture lasts."""
    try:
        with control_plane(controllers=controllers, service_accounts=True, scheduler=scheduler) as started:
            Played(started, "default").install_definition()
            yield started
    except ClusterError as error:
        pytest.skip(f"the control plane's programs are not built: {error}")


def remove_nodes(plane: ControlPlane) -> None:
    """Take away the nodes that a test has made, and all pods, whatever they wait for."""
    everything = Played(plane, "default")
    everything.call("DELETE", "/api/v1/nodes")
    for pod in everything.call("GET", "/api/v1/pods")["items"]:
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        with suppress(RefusedError):
            everything.call("DELETE", path, {"gracePeriodSeconds": 0})


def add_node(played: Played, name: str, *, cpu: str = "4", memory: str = "16Gi", gpus: int = 0, **spec: Any) -> None:
    """Make a node up that is ready."""
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    played.call("POST", "/api/v1/nodes", body)
    has = {"cpu": cpu, "memory": memory, "pods": "110"} | ({GPU: str(gpus)} if gpus else {})
    status = {"capacity": has, "allocatable": has, "conditions": [{"type": "Ready", "status": "True"}]}
    played.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, "application/merge-patch+json")
    # A new node has a taint until its controller has seen it, and here is none.
    played.call("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None, **spec}}, "application/merge-patch+json")


def pending(played: Played, name: str) -> Object:
    """Return what a job says that it waits for."""
    return dict(played.status(name).get("pending") or {})


def events(played: Played, name: str) -> list[str]:
    """Return the reasons of a job's events."""
    path = f"/apis/events.k8s.io/v1/namespaces/{played.namespace}/events"
    return [item["reason"] for item in played.call("GET", path)["items"] if item["regarding"]["name"] == name]
