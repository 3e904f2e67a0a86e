"""A control plane without nodes, on free ports of the loopback: etcd and API server; controller-manager and scheduler where wanted.

Pods stay what a test makes of them, and nothing else writes. Made of the local cluster's programs; several can run at once.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from localcluster import binaries, certificates, kubeconfigs

_READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running control plane: `server` is the API server's URL, `kubeconfig` the administrator's, `folder` its state and logs."""

    server: str
    kubeconfig: Path
    folder: Path

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.folder / "pki"

    @property
    def audit_log(self) -> Path:
        """What the API server says of each write that it was asked for, a line of JSON each."""
        return self.folder / "audit.log"


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def control_plane(*, controllers: str = "", service_accounts: bool = False, scheduler: bool = False) -> Iterator[ControlPlane]:
    """Start a control plane, with those of the controllers (separated by commas), and end it afterwards.

    With `service_accounts` each pod gets the one of its namespace that is called `default`, which then has to exist. With `scheduler`
    pods are placed on the nodes that a test makes up.

    Raises:
        RuntimeError: the API server did not become ready; the text has its log's end.

    """
    programs = binaries.built()
    folder = Path(tempfile.mkdtemp(prefix="tftraining-control-plane-"))
    started: list[subprocess.Popen[bytes]] = []
    try:
        plane = ControlPlane(f"https://127.0.0.1:{free_port()}", folder / "kubeconfig", folder)
        certificates.ensure(plane.pki)
        for subject in ("admin", "controller-manager", "scheduler"):
            kubeconfigs.write(folder / f"{subject}.kubeconfig", pki=plane.pki, subject=subject)
            _redirect(folder / f"{subject}.kubeconfig", plane.server)
        (folder / "admin.kubeconfig").rename(plane.kubeconfig)
        etcd = f"http://127.0.0.1:{free_port()}"
        started.append(_start(folder, "etcd", _etcd(programs, folder, etcd)))
        started.append(_start(folder, "kube-apiserver", _api_server(programs, plane, etcd, service_accounts=service_accounts)))
        _wait_until_ready(plane, started[-1])
        if controllers:
            started.append(_start(folder, "kube-controller-manager", _controller_manager(programs, plane, controllers)))
        if scheduler:
            started.append(_start(folder, "kube-scheduler", _scheduler(programs, plane)))
        yield plane
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, name: str, argv: list[str]) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log:
        # Not in the terminal's group: Ctrl-C is for the one who started it, and who ends it in order.
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)


def _etcd(programs: binaries.Binaries, folder: Path, url: str) -> list[str]:
    peer = f"http://127.0.0.1:{free_port()}"
    return [
        programs.path("etcd"),
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api_server(programs: binaries.Binaries, plane: ControlPlane, etcd: str, *, service_accounts: bool) -> list[str]:
    pki = plane.pki
    policy = plane.folder / "audit-policy.json"
    writes = {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]}
    document = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [writes, {"level": "None"}]}
    policy.write_text(json.dumps(document))
    return [
        programs.path("kube-apiserver"),
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={plane.server.rpartition(':')[2]}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/service-accounts.key",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        "--service-cluster-ip-range=10.97.0.0/16",
        *([] if service_accounts else ["--disable-admission-plugins=ServiceAccount"]),
        "--endpoint-reconciler-type=none",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={plane.audit_log}",
        "--max-requests-inflight=1600",
        "--max-mutating-requests-inflight=800",
    ]


def _controller_manager(programs: binaries.Binaries, plane: ControlPlane, controllers: str) -> list[str]:
    return [
        *_client(programs, plane, "controller-manager"),
        f"--controllers={controllers}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={plane.pki}/service-accounts.key",
        f"--root-ca-file={plane.pki}/ca.crt",
        # Its own limits would be measured, not its work.
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
        "--concurrent-job-syncs=20",
    ]


def _scheduler(programs: binaries.Binaries, plane: ControlPlane) -> list[str]:
    return _client(programs, plane, "scheduler")


def _client(programs: binaries.Binaries, plane: ControlPlane, name: str) -> list[str]:
    """Return what every program is started with that works on what the API server has."""
    kubeconfig = plane.folder / f"{name}.kubeconfig"
    return [
        programs.path(f"kube-{name}"),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={free_port()}",
        "--leader-elect=false",
    ]


def _redirect(kubeconfig: Path, server: str) -> None:
    document = json.loads(kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = server
    kubeconfig.write_text(json.dumps(document))


def _wait_until_ready(plane: ControlPlane, process: subprocess.Popen[bytes]) -> None:
    trust = ssl.create_default_context(cafile=str(plane.pki / "ca.crt"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with opener.open(f"{plane.server}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    tail = "\n".join((plane.folder / "kube-apiserver.log").read_text(errors="replace").splitlines()[-15:])
    raise RuntimeError(f"the API server at {plane.server} did not become ready:\n{tail}")
