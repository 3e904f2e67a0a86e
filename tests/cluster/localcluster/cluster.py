"""Bringing the cluster up, down, and telling how it is."""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from localcluster import binaries, certificates, commands, components, images, kubeconfigs, machine, packages, processes
from localcluster.binaries import Binaries
from localcluster.components import Component
from localcluster.failure import ClusterError
from localcluster.layout import CONTEXT, NODE, Layout

_READY_SECONDS = 90.0
_COMPONENT_SUBJECTS = ("controller-manager", "scheduler", "kubelet", "proxy", "dns")
_KEPT_BY_DOWN = ("containerd", "logs", "lock")
_TAIL_LINES = 12


def up(layout: Layout, *, gpus: int | None) -> None:
    """Start what does not run, start anew what has changed, and wait until the node takes pods.

    Raises ClusterError if a part does not become ready.
    """
    _require_root("up")
    packages.install()
    programs = binaries.build()
    with _locked(layout):
        for folder in (layout.config, layout.logs, layout.pids, layout.run, layout.audit_log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        machine.prepare(layout)
        certificates.ensure(layout.pki)
        _write_kubeconfigs(layout)
        first, second, third = components.stages(layout, programs)
        _run_stage(layout, programs, first)
        images.load_pause(layout, programs)
        _run_stage(layout, programs, second)
        _kubectl(layout, programs, "apply", "--filename", str(Path(__file__).with_name("bootstrap.json")))
        _run_stage(layout, programs, third)
        _await_node(layout, programs)
        if gpus is not None:
            layout.gpus.write_text(str(gpus))
        if layout.gpus.exists():
            _set_gpus(layout, programs, int(layout.gpus.read_text()))


def down(layout: Layout, *, purge: bool) -> None:
    """End every process of the cluster and undo what it changed; keep loaded images and logs unless `purge` is set.

    Raises ClusterError if something will not go away.
    """
    if not layout.root.exists():
        return
    _require_root("down")
    with _locked(layout):
        # The node agent goes first: it would start again what is ended below.
        for name in ("kubelet", "kube-proxy", "coredns", "kube-scheduler", "kube-controller-manager"):
            processes.stop(layout.pids / f"{name}.json", grace=2.0)
        _end_containers(layout)
        for name in ("kube-apiserver", "containerd", "etcd"):
            processes.stop(layout.pids / f"{name}.json", grace=3.0)
        # Shims have no record, and a process whose starter was killed may have none either.
        processes.end_marked(layout.root)
        _end_containers(layout)
        machine.unmount(layout)
        machine.restore(layout)
        for entry in layout.root.iterdir():
            if purge or entry.name not in _KEPT_BY_DOWN:
                _remove(entry)
        if purge:
            layout.root.rmdir()


def status(layout: Layout) -> bool:
    """Print one line per component and one for the node; say whether all is well."""
    programs = binaries.built()
    well = True
    for component in (part for stage in components.stages(layout, programs) for part in stage):
        record = processes.running(layout.pids / f"{component.name}.json")
        state = "stopped" if record is None else "ready" if component.ready() else "not ready"
        well = well and state == "ready"
        print(f"{component.name:24} {state:10} {f'process {record.pid}' if record else ''}".rstrip())
    well = well and _node_is_ready(layout, programs)
    print(f"{'node ' + NODE:24} {'ready' if well else 'not ready'}")
    return well


def gpus(layout: Layout, count: int) -> None:
    """Make the node pretend to have GPUs.

    Raises ClusterError if the cluster is not up.
    """
    with _locked(layout):
        _set_gpus(layout, binaries.built(), count)
        layout.gpus.write_text(str(count))


def load_image(layout: Layout, archive: Path, references: list[str]) -> list[str]:
    """Put an image into the cluster's store and return its names.

    Raises ClusterError if the cluster is not up or the archive cannot be read.
    """
    _require_root("load-image")
    if processes.running(layout.pids / "containerd.json") is None:
        raise ClusterError(f"The cluster in {layout.root} is not up, and images go into a running one; run `up` first.")
    return images.load(layout, binaries.built(), archive, references)


def _end_containers(layout: Layout) -> None:
    if machine.is_prepared(layout):
        machine.end_container_processes()


def _require_root(command: str) -> None:
    if os.geteuid() != 0:
        raise ClusterError(f"The command `{command}` changes mounts and networks but runs as user {os.geteuid()}; run it as root.")


@contextlib.contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with layout.lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            lock.seek(0)
            raise ClusterError(
                f"The cluster in {layout.root} is being changed by process {lock.read().strip() or 'unknown'}; "
                "wait until that has ended, then try again."
            ) from held
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _write_kubeconfigs(layout: Layout) -> None:
    if not layout.kubeconfig.exists():
        kubeconfigs.write(layout.kubeconfig, pki=layout.pki, subject="admin")
    kubeconfigs.check(layout.kubeconfig)
    for subject in _COMPONENT_SUBJECTS:
        kubeconfigs.write(components.kubeconfig_of(layout, subject), pki=layout.pki, subject=subject)


def _run_stage(layout: Layout, programs: Binaries, stage: tuple[Component, ...]) -> None:
    for component in stage:
        _ensure_started(layout, programs, component)
    deadline = time.monotonic() + _READY_SECONDS
    for component in stage:
        _await_ready(layout, component, deadline)


def _ensure_started(layout: Layout, programs: Binaries, component: Component) -> None:
    record_file = layout.pids / f"{component.name}.json"
    fingerprint = component.fingerprint()
    record = processes.running(record_file)
    if record is not None and record.fingerprint == fingerprint:
        return
    processes.stop(record_file, grace=5.0)
    for path, text in component.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    print(f"starting {component.name}", flush=True)
    processes.start(
        component.argv,
        record_file=record_file,
        log=layout.logs / f"{component.name}.log",
        fingerprint=fingerprint,
        owner=layout.root,
        folders=programs.folders,
    )


def _await_ready(layout: Layout, component: Component, deadline: float) -> None:
    log = layout.logs / f"{component.name}.log"
    while not component.ready():
        ended = processes.running(layout.pids / f"{component.name}.json") is None
        if ended or time.monotonic() > deadline:
            what = "has ended" if ended else f"was expected to be ready within {_READY_SECONDS:.0f} s but is not"
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
            raise ClusterError(f"The component `{component.name}` {what}; its log {log} tells why and ends so:\n{tail}")
        time.sleep(0.05)


def _kubectl(layout: Layout, programs: Binaries, *argv: str) -> str:
    kubeconfigs.check(layout.kubeconfig)
    return commands.run([
        *(programs.path("kubectl"), f"--kubeconfig={layout.kubeconfig}", f"--context={CONTEXT}"),
        *argv,
    ])  # fmt: skip


def _await_node(layout: Layout, programs: Binaries) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not _node_is_ready(layout, programs):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"The node `{NODE}` was expected to be ready within {_READY_SECONDS:.0f} s but is not; "
                f"read {layout.logs / 'kubelet.log'}, then run `up` again."
            )
        time.sleep(0.1)


def _node_is_ready(layout: Layout, programs: Binaries) -> bool:
    answer = _kubectl(layout, programs, "get", "node", NODE, "--ignore-not-found", "--output=json")
    node = json.loads(answer or "{}")
    # A node stays "ready" in the API while its kubelet is away: only a heartbeat of the running kubelet counts.
    started = datetime.fromtimestamp(int((layout.pids / "kubelet.json").stat().st_mtime), UTC)
    return any(
        condition["type"] == "Ready" and condition["status"] == "True" and datetime.fromisoformat(condition["lastHeartbeatTime"]) >= started
        for condition in node.get("status", {}).get("conditions", [])
    )


def _set_gpus(layout: Layout, programs: Binaries, count: int) -> None:
    amount = {"nvidia.com/gpu": str(count)}
    # The kubelet would derive what can be allocated from the capacity, but only some seconds later.
    change = json.dumps({"status": {"capacity": amount, "allocatable": amount}})
    _kubectl(layout, programs, "patch", "node", NODE, "--subresource=status", "--type=merge", f"--patch={change}")


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
