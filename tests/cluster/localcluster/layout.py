"""Where the local cluster keeps its state, and the names and addresses by which it is known."""

import os
from dataclasses import dataclass
from pathlib import Path

CONTEXT = "tftraining-local"
NODE = "tftraining-local"
BRIDGE = "tftrain0"
HOST_ADDRESS = "10.88.0.1"
POD_NETWORK = "10.88.0.0/16"
FIRST_POD_ADDRESS = "10.88.0.10"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
API_SERVER = f"https://{HOST_ADDRESS}:6443"
CGROUP = "tftraining-local"
PAUSE_IMAGE = "localhost/tftraining-pause:1"


@dataclass(frozen=True)
class Layout:
    """The state directory: everything in it belongs to the cluster and to nothing else."""

    root: Path

    @classmethod
    def from_environment(cls) -> "Layout":
        """Take the directory that `TFTRAINING_CLUSTER_DIR` names, or the usual one."""
        return cls(Path(os.environ.get("TFTRAINING_CLUSTER_DIR") or "/var/lib/tftraining-cluster").absolute())

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def user_kubeconfig(self) -> Path:
        """A copy for people, who may change its namespace and more; nothing here reads it."""
        return self.root / "user.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line for every write that the API server answered."""
        return self.root / "audit" / "writes.log"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.root / "pki"

    @property
    def config(self) -> Path:
        """Configuration files of the components, rewritten by every `up`."""
        return self.root / "config"

    @property
    def logs(self) -> Path:
        """What the components print; kept by `down` so that a failure can be read afterwards."""
        return self.root / "logs"

    @property
    def pids(self) -> Path:
        """One record per started component."""
        return self.root / "pids"

    @property
    def images(self) -> Path:
        """The store of containerd; kept by `down` so that images need not be loaded again."""
        return self.root / "containerd"

    @property
    def run(self) -> Path:
        """Sockets and mounts that mean nothing after a reboot."""
        return self.root / "run"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens."""
        return self.run / "containerd.sock"

    @property
    def kubelet(self) -> Path:
        """Volumes of the pods."""
        return self.root / "kubelet"

    @property
    def etcd(self) -> Path:
        """The store of the API server."""
        return self.root / "etcd"

    @property
    def lock(self) -> Path:
        """Held while the cluster is being changed."""
        return self.root / "lock"

    @property
    def gpus(self) -> Path:
        """How many pretended GPUs the node should have, for the times that the kubelet forgets."""
        return self.root / "gpus"
