"""The parts of the cluster: what each runs, the configuration it reads, and how it is seen to be ready."""

import hashlib
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localcluster.binaries import Binaries
from localcluster.layout import (
    API_SERVER,
    BRIDGE,
    CGROUP,
    CONTEXT,
    FIRST_POD_ADDRESS,
    HOST_ADDRESS,
    NODE,
    PAUSE_IMAGE,
    POD_NETWORK,
    SERVICE_NETWORK,
    Layout,
)

_ETCD = "http://127.0.0.1:23790"
_ETCD_PEER = "http://127.0.0.1:23800"
# Bursts of hundreds of jobs must wait for work that is done, never for a client that throttles itself.
_QPS, _BURST = 1000, 2000


@dataclass(frozen=True)
class Component:
    """One process of the cluster."""

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool]
    files: Mapping[Path, str] = field(default_factory=dict)
    reads: tuple[Path, ...] = ()

    def fingerprint(self) -> str:
        """Digest all that decides how the process behaves: when the digest changes, the process is started anew."""
        digest = hashlib.sha256(repr((self.argv, sorted((str(path), text) for path, text in self.files.items()))).encode())
        for path in self.reads:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


def stages(layout: Layout, binaries: Binaries) -> tuple[tuple[Component, ...], ...]:
    """Give the components in the order of their start; those of one stage do not wait for one another."""
    return (
        (_etcd(layout, binaries), _containerd(layout, binaries)),
        (_apiserver(layout, binaries),),
        (
            _controller_manager(layout, binaries),
            _scheduler(layout, binaries),
            _kubelet(layout, binaries),
            _proxy(layout, binaries),
            _dns(layout, binaries),
        ),
    )


def _etcd(layout: Layout, binaries: Binaries) -> Component:
    return Component(
        "etcd",
        (
            binaries.path("etcd"),
            f"--data-dir={layout.etcd}",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            f"--listen-peer-urls={_ETCD_PEER}",
            f"--initial-advertise-peer-urls={_ETCD_PEER}",
            f"--initial-cluster=default={_ETCD_PEER}",
            # What a test cluster holds may be lost with the machine's power, and every write is faster for it.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ),
        _answers(f"{_ETCD}/health"),
    )


def _containerd(layout: Layout, binaries: Binaries) -> Component:
    config = layout.config / "containerd.toml"
    networks = layout.config / "cni"
    text = f"""\
version = 4
root = '{layout.images}'
state = '{layout.run}/containerd'
imports = []
oom_score = 0

[plugins.'io.containerd.server.v1.grpc']
  address = '{layout.containerd_socket}'
[plugins.'io.containerd.server.v1.ttrpc']
  address = '{layout.containerd_socket}.ttrpc'
[plugins.'io.containerd.internal.v1.opt']
  path = '{layout.root}/opt'
[plugins.'io.containerd.nri.v1.nri']
  disable = true
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '{PAUSE_IMAGE}'
[plugins.'io.containerd.cri.v1.runtime']
  # Machines without CAP_SYS_RESOURCE cannot lower a score, and without this no sandbox starts on them.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['/usr/lib/cni']
  conf_dir = '{networks}'
  use_internal_loopback = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  Root = '{layout.run}/runc'
"""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(layout.run / "addresses"),
            "ranges": [[{"subnet": POD_NETWORK, "rangeStart": FIRST_POD_ADDRESS, "gateway": HOST_ADDRESS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    host_ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    network = {"cniVersion": "1.0.0", "name": CONTEXT, "plugins": [bridge, host_ports]}
    return Component(
        "containerd",
        (binaries.path("containerd"), "--config", str(config), "--log-level", "info"),
        _listens(layout.containerd_socket),
        {config: text, networks / "10-bridge.conflist": _document(network)},
    )


def _apiserver(layout: Layout, binaries: Binaries) -> Component:
    policy = layout.config / "audit-policy.json"
    pki = layout.pki
    return Component(
        "kube-apiserver",
        (
            binaries.path("kube-apiserver"),
            f"--etcd-servers={_ETCD}",
            f"--bind-address={HOST_ADDRESS}",
            f"--advertise-address={HOST_ADDRESS}",
            "--secure-port=6443",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/apiserver-to-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-to-kubelet.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki}/service-accounts.key",
            f"--service-account-signing-key-file={pki}/service-accounts.key",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--max-requests-inflight=1600",
            "--max-mutating-requests-inflight=800",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={layout.audit_log}",
            # A test counts the lines of one file: it must never be cut into several.
            "--audit-log-maxsize=0",
        ),
        _answers(f"{API_SERVER}/readyz", authority=pki / "ca.crt"),
        {
            policy: _document({
                "apiVersion": "audit.k8s.io/v1",
                "kind": "Policy",
                "omitStages": ["RequestReceived"],
                "rules": [
                    {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
                    {"level": "None"},
                ],
            }),
        },
        (pki / "apiserver.crt", pki / "ca.crt"),
    )  # fmt: skip


def _controller_manager(layout: Layout, binaries: Binaries) -> Component:
    pki = layout.pki
    kubeconfig = kubeconfig_of(layout, "controller-manager")
    return Component(
        "kube-controller-manager",
        (
            binaries.path("kube-controller-manager"),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={pki}/service-accounts.key",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            f"--kube-api-qps={_QPS}",
            f"--kube-api-burst={_BURST}",
            "--concurrent-job-syncs=20",
            f"--flex-volume-plugin-dir={layout.kubelet}/volume-plugins",
        ),
        _answers("https://127.0.0.1:10257/healthz"),
        reads=(kubeconfig,),
    )


def _scheduler(layout: Layout, binaries: Binaries) -> Component:
    config = layout.config / "scheduler.json"
    kubeconfig = kubeconfig_of(layout, "scheduler")
    return Component(
        "kube-scheduler",
        (
            binaries.path("kube-scheduler"),
            f"--config={config}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
        ),
        _answers("https://127.0.0.1:10259/healthz"),
        {
            config: _document({
                "apiVersion": "kubescheduler.config.k8s.io/v1",
                "kind": "KubeSchedulerConfiguration",
                "clientConnection": {"kubeconfig": str(kubeconfig), "qps": _QPS, "burst": _BURST},
                "leaderElection": {"leaderElect": False},
            }),
        },
        (kubeconfig,),
    )  # fmt: skip


def _kubelet(layout: Layout, binaries: Binaries) -> Component:
    config = layout.config / "kubelet.json"
    kubeconfig = kubeconfig_of(layout, "kubelet")
    pki = layout.pki
    return Component(
        "kubelet",
        (
            binaries.path("kubelet"),
            f"--config={config}",
            f"--kubeconfig={kubeconfig}",
            f"--root-dir={layout.kubelet}",
            f"--cert-dir={layout.kubelet}/pki",
            f"--hostname-override={NODE}",
            # The kubelet refuses a loopback address, and pods could not reach one.
            f"--node-ip={HOST_ADDRESS}",
        ),
        _answers("http://127.0.0.1:10248/healthz"),
        {
            config: _document({
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "address": HOST_ADDRESS,
                "authentication": {
                    "anonymous": {"enabled": False},
                    "webhook": {"enabled": True},
                    "x509": {"clientCAFile": str(pki / "ca.crt")},
                },
                "authorization": {"mode": "Webhook"},
                "tlsCertFile": str(pki / "kubelet-server.crt"),
                "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
                "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
                "cgroupDriver": "cgroupfs",
                "cgroupRoot": f"/{CGROUP}",
                "enforceNodeAllocatable": [],
                "failCgroupV1": False,
                "failSwapOn": False,
                "oomScoreAdj": 0,
                "clusterDNS": [HOST_ADDRESS],
                "clusterDomain": "cluster.local",
                "resolvConf": "",
                "podLogsDir": str(layout.root / "pod-logs"),
                "volumePluginDir": str(layout.kubelet / "volume-plugins"),
                "maxPods": 250,
                "kubeAPIQPS": _QPS,
                "kubeAPIBurst": _BURST,
                "eventRecordQPS": 0,
                "registryPullQPS": 0,
                "serializeImagePulls": False,
                # Tests kill the operator again and again: minutes of pause after the fifth time would prove nothing.
                "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},
                "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%"},
                # Loaded images cannot be pulled again, so none is ever collected.
                "imageGCHighThresholdPercent": 100,
                "imageGCLowThresholdPercent": 99,
            }),
        },
        (kubeconfig, pki / "kubelet-server.crt"),
    )  # fmt: skip


def _proxy(layout: Layout, binaries: Binaries) -> Component:
    config = layout.config / "proxy.json"
    kubeconfig = kubeconfig_of(layout, "proxy")
    return Component(
        "kube-proxy",
        (binaries.path("kube-proxy"), f"--config={config}"),
        _answers("http://127.0.0.1:10256/healthz"),
        {
            config: _document({
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "clientConnection": {"kubeconfig": str(kubeconfig), "qps": _QPS, "burst": _BURST},
                "hostnameOverride": NODE,
                "mode": "iptables",
                "clusterCIDR": POD_NETWORK,
                "nodePortAddresses": [f"{HOST_ADDRESS}/32"],
                "healthzBindAddress": "127.0.0.1:10256",
                "metricsBindAddress": "127.0.0.1:10249",
                "iptables": {"minSyncPeriod": "100ms"},
                # The machine's own limits on tracked connections stay as they are.
                "conntrack": {
                    "maxPerCore": 0,
                    "min": 0,
                    "tcpEstablishedTimeout": "0s",
                    "tcpCloseWaitTimeout": "0s",
                },
            }),
        },
        (kubeconfig,),
    )  # fmt: skip


def _dns(layout: Layout, binaries: Binaries) -> Component:
    config = layout.config / "Corefile"
    kubeconfig = kubeconfig_of(layout, "dns")
    text = f"""\
. {{
    bind {HOST_ADDRESS}
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig} {CONTEXT}
        pods insecure
        ttl 1
    }}
}}
"""
    return Component(
        "coredns",
        (binaries.path("coredns"), "-conf", str(config)),
        _answers("http://127.0.0.1:8181/ready"),
        {config: text},
        (kubeconfig,),
    )


def kubeconfig_of(layout: Layout, subject: str) -> Path:
    """Name the kubeconfig with which a component speaks to the API server."""
    return layout.config / f"{subject}.kubeconfig"


def _document(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"


def _answers(url: str, *, authority: Path | None = None) -> Callable[[], bool]:
    def probe() -> bool:
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
        if authority is None:
            # Two components make a certificate of their own at every start; only their health is asked for.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        # The machine's settings for the way to other networks must not be applied to its own addresses.
        direct = urllib.request.ProxyHandler({})
        opener = urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return probe


def _listens(path: Path) -> Callable[[], bool]:
    def probe() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(path))
            except OSError:
                return False
            return True

    return probe
