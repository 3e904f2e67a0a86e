"""What the cluster changes on the machine outside its state directory, and how it is put back."""

import contextlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

from localcluster import commands, processes
from localcluster.failure import ClusterError
from localcluster.layout import BRIDGE, CGROUP, CONTEXT, HOST_ADDRESS, POD_NETWORK, Layout

_FOREIGN_CHAIN = re.compile(r"^:(KUBE-[A-Z0-9-]+)", re.MULTILINE)
# A chain or rule of kube-proxy, the kubelet or the CNI plugin for host ports, or one of our own, which bear a comment.
_OURS = re.compile(rf"^(:|-A )(KUBE-|CNI-)|(-j|-g) (KUBE-|CNI-)|--comment \"?{CONTEXT}\"?( |$)")
# The kubelet and the CNI plugins set these; the machine gets its own values back.
_SYSCTLS = (
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
_RULES = (
    ("nat", "POSTROUTING", ("-s", POD_NETWORK, "!", "-d", POD_NETWORK), "MASQUERADE"),
    ("filter", "FORWARD", ("-i", BRIDGE), "ACCEPT"),
    ("filter", "FORWARD", ("-o", BRIDGE), "ACCEPT"),
)


def prepare(layout: Layout) -> None:
    """Make the bridge, the firewall rules and the control groups that pods need; what is there is left alone.

    Raises ClusterError if another local cluster or another Kubernetes uses the machine.
    """
    if not is_prepared(layout):
        _refuse_other_clusters()
        values = {name: _sysctl(name).read_text().strip() for name in _SYSCTLS if _sysctl(name).exists()}
        _note(layout).write_text(json.dumps(values, indent=2) + "\n")
    if not _bridge().exists():
        commands.run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    size = POD_NETWORK.rpartition("/")[2]
    commands.run(["ip", "address", "replace", f"{HOST_ADDRESS}/{size}", "dev", BRIDGE])
    commands.run(["ip", "link", "set", BRIDGE, "up"])
    _sysctl("net/ipv4/ip_forward").write_text("1")
    for table, chain, match, verdict in _RULES:
        rule = [chain, *match, "-m", "comment", "--comment", CONTEXT, "-j", verdict]
        if not commands.succeeds(["iptables", "-w", "-t", table, "-C", *rule]):
            commands.run(["iptables", "-w", "-t", table, "-A", *rule])
    for controller in _controllers():
        (controller / CGROUP).mkdir(exist_ok=True)


def restore(layout: Layout) -> None:
    """Undo `prepare` and what the kubelet and the CNI plugins left outside the state directory."""
    if not is_prepared(layout):
        return
    _remove_rules()
    for name, value in json.loads(_note(layout).read_text()).items():
        _sysctl(name).write_text(value)
    _remove_droppings(layout)
    if _bridge().exists():
        commands.run(["ip", "link", "delete", BRIDGE])
    for controller in _controllers():
        for folder, _, _ in os.walk(controller / CGROUP, topdown=False):
            with contextlib.suppress(FileNotFoundError):
                Path(folder).rmdir()
    _note(layout).unlink()


def is_prepared(layout: Layout) -> bool:
    """Say whether it was for this state directory that the machine was prepared, and not for another one."""
    return _note(layout).exists()


def end_container_processes() -> None:
    """Kill whatever runs in the cluster's control groups: the processes of its containers and nothing else."""
    found: dict[int, int] = {}
    for controller in _controllers():
        for members in (controller / CGROUP).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                for pid in map(int, members.read_text().split()):
                    if started := processes.alive(pid):
                        found[pid] = started
    processes.end(found, grace=0)


def unmount(layout: Layout) -> None:
    """Unmount everything below the state directory, the innermost first."""
    for point in mounts_below(layout.root, Path("/proc/self/mountinfo").read_text()):
        commands.run(["umount", "--lazy", point])


def mounts_below(root: Path, mountinfo: str) -> list[str]:
    """List the mount points below a directory in a mountinfo text, in the order in which they can be undone."""
    points = [_unescape(line.split()[4]) for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if Path(point).is_relative_to(root) and Path(point) != root]


def without_cluster_rules(dump: str) -> str:
    """Drop the chains and rules of this cluster and of its Kubernetes from the text of `iptables-save`."""
    return "".join(f"{line}\n" for line in dump.splitlines() if not _OURS.search(line))


def _unescape(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name


def _controllers() -> Iterable[Path]:
    root = Path("/sys/fs/cgroup")
    # Version 2 has one tree for all controllers; version 1 has one for each, and runc makes its groups in all of them.
    if (root / "cgroup.controllers").exists():
        return [root]
    return [entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink()]


def _note(layout: Layout) -> Path:
    return layout.root / "machine.json"


def _bridge() -> Path:
    return Path("/sys/class/net") / BRIDGE


def _refuse_other_clusters() -> None:
    if _bridge().exists():
        raise ClusterError(
            f"The bridge `{BRIDGE}` exists already, and only one local cluster fits on a machine; run `down` with the "
            f"TFTRAINING_CLUSTER_DIR of the other one, or `ip link delete {BRIDGE}` if its directory is gone."
        )
    found = _FOREIGN_CHAIN.search(commands.run(["iptables-save"]))
    if found:
        raise ClusterError(
            f"The machine's firewall already has the chain `{found[1]}` of another Kubernetes, and the local cluster needs a "
            "machine without one; stop that Kubernetes and remove its rules, then run `up` again."
        )


def _remove_rules() -> None:
    for family in ("iptables", "ip6tables"):
        dump = commands.run([f"{family}-save"])
        kept = without_cluster_rules(dump)
        if kept != dump:
            commands.run([f"{family}-restore", "-w"], text=kept)


def _remove_droppings(layout: Layout) -> None:
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(layout.root):
            link.unlink()
    for result in Path("/var/lib/cni/results").glob(f"{CONTEXT}-*"):
        result.unlink()
    for path in Path("/run/containerd/s").glob("*"):
        _unlink_if_dead(path)
    shutil.rmtree("/var/lib/kubelet/device-plugins", ignore_errors=True)
    folders = "/var/log/containers /var/lib/cni/results /var/lib/cni /var/lib/kubelet /run/containerd/s /run/containerd"
    for folder in folders.split():
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


def _unlink_if_dead(path: Path) -> None:
    # A killed shim leaves its socket behind; one that still answers belongs to a containerd of somebody else.
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return
