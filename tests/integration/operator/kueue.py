"""The real Kueue beside a control plane: its definitions, its controller as a process here, its webhooks, and the queues of a test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from control import Played, RefusedError, until
from controlplane import ControlPlane, free_port
from localcluster import binaries
from played_kubelet import STAMP, Object

GROUP = "/apis/kueue.x-k8s.io/v1beta2"
_CONVERTED = {"localqueues", "clusterqueues", "workloads", "cohorts", "multikueueclusters"}
_WEBHOOKS = ("mclusterqueue", "mresourceflavor", "mworkload", "vclusterqueue", "vcohort", "vresourceflavor", "vworkload")
"""Those of Kueue's own objects. The ones of pods and jobs are not needed, and would be in the way of all others here."""
# Kueue looks for a certificate at a place that nothing can change: it gets an /etc of its own there.
_MOUNTED = 'mount --bind "$1" /etc && shift && exec "$@"'


@dataclass(slots=True)
class Kueue:
    """Kueue on a control plane. `programs` has its controller, `port` is where its webhooks listen."""

    plane: ControlPlane
    programs: binaries.Binaries
    folder: Path
    port: int
    probe_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def everything(self) -> Played:
        """The control plane as its administrator sees it."""
        return Played(self.plane, "default")

    def start(self) -> None:
        """Start the controller and wait until it is ready."""
        argv = [
            *(
                "unshare",
                *([] if os.geteuid() == 0 else ["--map-root-user"]),
                "--mount",
                "sh",
                "-c",
                _MOUNTED,
                "sh",
                str(self.folder / "etc"),
            ),
            self.programs.path("kueue"),
            f"--config={self.folder}/config.yaml",
            "--feature-gates=VisibilityOnDemand=false,MultiKueue=false,TopologyAwareScheduling=false",
            "--zap-log-level=2",
        ]
        environment = {**os.environ, "KUBECONFIG": str(self.plane.kubeconfig)}
        with (self.folder / "kueue.log").open("ab") as log:
            self.process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)
        until(self._ready, f"Kueue is ready; its log is {self.folder}/kueue.log", 60)

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "kueue.log").read_text()[-2000:]
        probe = ["curl", "-sf", "--noproxy", "*", f"http://127.0.0.1:{self.probe_port}/readyz"]
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0

    def restart(self, **settings: Any) -> None:
        """Start the controller anew, with other settings."""
        self.stop()
        path = self.folder / "config.yaml"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
        self.start()

    def stop(self) -> None:
        """End the controller; what it has left stays."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def install(self) -> None:
        """Install the definitions, start the controller, and let the API server ask it about Kueue's objects."""
        for file in self.programs.manifests("bases"):
            definition = yaml.safe_load(file.read_text())
            if definition["spec"]["names"]["plural"] in _CONVERTED:
                webhook = {"clientConfig": self._asked("/convert"), "conversionReviewVersions": ["v1"]}
                definition["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
            self.everything.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        until(self._served, "Kueue's definitions are served")
        self.start()
        for file in self.programs.manifests("webhook"):
            if file.stem == "manifests":
                for configuration in yaml.safe_load_all(file.read_text()):
                    self._create_webhooks(configuration)

    def _served(self) -> bool:
        try:
            resources = self.everything.call("GET", GROUP)["resources"]
        except RefusedError:
            return False
        plurals = {file.stem.partition("_")[2] for file in self.programs.manifests("bases")}
        return plurals <= {each["name"] for each in resources}

    def _create_webhooks(self, configuration: Object) -> None:
        kept = [each for each in configuration["webhooks"] if each["name"].partition(".")[0] in _WEBHOOKS]
        for each in kept:
            each["clientConfig"] = self._asked(each["clientConfig"]["service"]["path"])
        body = {**configuration, "metadata": {"name": f"kueue-{configuration['metadata']['name']}"}, "webhooks": kept}
        self.everything.call("POST", f"/apis/admissionregistration.k8s.io/v1/{configuration['kind'].lower()}s", body)

    def _asked(self, path: str) -> Object:
        bundle = subprocess.run(["base64", "-w0", str(self.plane.pki / "ca.crt")], capture_output=True, text=True, check=True).stdout
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": bundle}


@contextmanager
def kueue_on(plane: ControlPlane) -> Iterator[Kueue]:
    """Give a control plane Kueue, which is not yet installed there, and end it afterwards.

    Raises:
        ClusterError: it has not been built.

    """
    folder = plane.folder / "kueue"
    certificates = folder / "etc" / "kueue" / "metrics" / "certs"
    certificates.mkdir(parents=True)
    for name, source in (("tls.crt", "apiserver.crt"), ("tls.key", "apiserver.key")):
        shutil.copyfile(plane.pki / source, certificates / name)
    kueue = Kueue(plane, binaries.build([binaries.QUEUE]), folder, free_port(), free_port())
    configuration: dict[str, Any] = {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": "kueue-system",
        "health": {"healthProbeBindAddress": f"127.0.0.1:{kueue.probe_port}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": kueue.port, "certDir": "/etc/kueue/metrics/certs"},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "integrations": {"frameworks": ["batch/job"]},
    }
    (folder / "config.yaml").write_text(json.dumps(configuration))
    try:
        yield kueue
    finally:
        kueue.stop()


@dataclass(slots=True)
class Queue:
    """A LocalQueue of a test's namespace, with a ClusterQueue and a ResourceFlavor of its own, all of the namespace's name."""

    played: Played

    @property
    def name(self) -> str:
        """The name of all three."""
        return self.played.namespace

    @property
    def workloads_path(self) -> str:
        """Where the Workloads of the namespace are."""
        return f"{GROUP}/namespaces/{self.name}/workloads"

    def create(self, cpu: str = "1500m", *, local: bool = True, flavor: Object | None = None) -> None:
        """Create them, with that many CPUs for all jobs together."""
        self._make("resourceflavors", "ResourceFlavor", flavor or {})
        flavors = [{"name": self.name, "resources": [{"name": "cpu", "nominalQuota": cpu}, {"name": "memory", "nominalQuota": "100Gi"}]}]
        spec = {
            "namespaceSelector": {},
            "preemption": {"withinClusterQueue": "LowerPriority"},
            "resourceGroups": [{"coveredResources": ["cpu", "memory"], "flavors": flavors}],
        }
        self._make("clusterqueues", "ClusterQueue", spec)
        if local:
            self.create_local()

    def create_local(self) -> None:
        """Create the LocalQueue alone."""
        body = {
            "apiVersion": "kueue.x-k8s.io/v1beta2",
            "kind": "LocalQueue",
            "metadata": {"name": self.name},
            "spec": {"clusterQueue": self.name},
        }
        self.played.call("POST", f"{GROUP}/namespaces/{self.name}/localqueues", body)

    def hold(self, policy: str | None) -> None:
        """Stop the ClusterQueue, or with None let it go on."""
        path = f"{GROUP}/clusterqueues/{self.name}"
        self.played.call("PATCH", path, {"spec": {"stopPolicy": policy or "None"}}, "application/merge-patch+json")

    def demand_check(self) -> None:
        """Have the ClusterQueue ask for an admission check of its name, which the test makes ready."""
        body = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "AdmissionCheck", "metadata": {"name": self.name}}
        self.played.call("POST", f"{GROUP}/admissionchecks", {**body, "spec": {"controllerName": "example.org/test"}})
        active = {"type": "Active", "status": "True", "reason": "A", "message": "", "lastTransitionTime": STAMP}
        self.played.call(
            "PATCH", f"{GROUP}/admissionchecks/{self.name}/status", {"status": {"conditions": [active]}}, "application/merge-patch+json"
        )
        strategy = {"admissionChecksStrategy": {"admissionChecks": [{"name": self.name}]}}
        self.played.call("PATCH", f"{GROUP}/clusterqueues/{self.name}", {"spec": strategy}, "application/merge-patch+json")

    def check(self, job: str, state: str, message: str, *updates: Object) -> None:
        """Have the admission check say something of a job's Workload."""
        workload = self.of(job) or {}
        said = {"name": self.name, "state": state, "message": message, "lastTransitionTime": STAMP, "podSetUpdates": list(updates)}
        path = f"{self.workloads_path}/{workload['metadata']['name']}/status"
        self.played.call("PATCH", path, {"status": {"admissionChecks": [said]}}, "application/merge-patch+json")

    def activate(self, job: str, attempt: int, *, active: bool) -> None:
        """Take a job out of the queue, or put it back."""
        path = f"{self.workloads_path}/{(self.of(job, attempt) or {})['metadata']['name']}"
        self.played.call("PATCH", path, {"spec": {"active": active}}, "application/merge-patch+json")

    def workloads(self) -> dict[str, Object]:
        """Return the Workloads of the namespace by their names."""
        return {each["metadata"]["name"]: each for each in self.played.call("GET", self.workloads_path)["items"]}

    def of(self, job: str, attempt: int = 0) -> Object | None:
        """Return the Workload of an attempt, None where it has none."""
        suffix = f"-r{attempt}" if attempt else ""
        found = [
            each
            for name, each in self.workloads().items()
            if each["metadata"].get("ownerReferences", [{}])[0].get("name") == job
            and (name.endswith(suffix) if attempt else "-r" not in name[-4:])
        ]
        return found[0] if found else None

    def condition(self, job: str, kind: str, attempt: int = 0) -> str:
        """Return the status of a condition of an attempt's Workload, empty where there is none."""
        conditions = ((self.of(job, attempt) or {}).get("status") or {}).get("conditions") or []
        return next((str(each["status"]) for each in conditions if each["type"] == kind), "")

    def used(self) -> str:
        """Return how many CPUs of the quota are reserved, as Kueue counts it."""
        status = self.played.call("GET", f"{GROUP}/clusterqueues/{self.name}").get("status") or {}
        flavors = status.get("flavorsReservation") or [{"resources": [{"name": "cpu", "total": "0"}]}]
        return str(next(each["total"] for each in flavors[0]["resources"] if each["name"] == "cpu"))

    def _make(self, plural: str, kind: str, spec: Object) -> None:
        body = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": {"name": self.name}, "spec": spec}
        self.played.call("POST", f"{GROUP}/{plural}", body)
