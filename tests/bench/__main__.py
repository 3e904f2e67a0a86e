"""`python tests/bench [PART…]`: measure, print the table, and with all parts write it to docs/reference."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import clients
import living
import many
import moving
import report
import starting
import yaml
from api import Api, open_session
from controlplane import ControlPlane, control_plane
from localcluster import binaries
from localcluster.failure import ClusterError
from measures import Bench, Measure, Say
from subject import SERVICE_ACCOUNT, Subject

_ROOT = Path(__file__).parents[2]
_CRD = _ROOT / "crds" / "tftraining.dev_tftrainingjobs.yaml"
_FOLDER = _ROOT / "docs" / "reference"

ON_CLUSTER: dict[str, Callable[[Bench], Awaitable[list[Measure]]]] = {
    "latency": Bench.latency,
    "burst": Bench.burst,
    "fairness": Bench.fairness,
    "groups": Bench.groups,
    "clients": clients.measure,
    "lives": Bench.lives,
    "standing": Bench.standing,
}
"""The parts that need the control plane and the operator."""
ALONE: dict[str, Callable[[], dict[str, Any]]] = {
    "starting": starting.measure,
    "moving": moving.measure,
    "living": living.measure,
    "many": many.measure,
}
"""The parts that need neither: each returns {"measures": […]}, a mapping of the fields of `Measure` for each row."""
_SETTLE_SECONDS = 3.0
PARTS = (*ON_CLUSTER, *ALONE)


def main() -> int:
    """Run the parts and return 0; a target that was missed is a figure, not an error."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; all without any")
    wanted = parser.parse_args().parts or list(PARTS)
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(PARTS)}")
    # Told to stop in whatever way, it ends what it has started; a shell's background jobs begin with Ctrl-C ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begun:6.1f} s] {text}", flush=True)

    load_before = os.getloadavg()[0]
    try:
        measures = [*_on_cluster(wanted, say), *_alone(wanted, say)]
    except KeyboardInterrupt:
        say("stopped; nothing was written")
        return 130
    except (ClusterError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    kubernetes = subprocess.run([binaries.built().path("kube-apiserver"), "--version"], capture_output=True, text=True, check=True)
    machine = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores shared by all that ran, Linux {platform.release()}, Python {platform.python_version()}",
        "versions": f"{kubernetes.stdout.strip()}, kopf {version('kopf')}, aiohttp {version('aiohttp')}; etcd without fsync",
        "load of the machine before and after": f"{load_before:.2f}, {os.getloadavg()[0]:.2f} (with nothing else on it: 0 and about 3)",
    }
    print(f"\n{report.table(measures)}\n\nafter {time.monotonic() - begun:.0f} s")
    if set(wanted) == set(PARTS):
        (_FOLDER / "benchmarks.md").write_text(report.page(measures, machine))
        (_FOLDER / "benchmarks.json").write_text(report.raw(measures, machine))
        print("written to docs/reference/benchmarks.md and benchmarks.json")
    return 0


def _on_cluster(wanted: list[str], say: Say) -> list[Measure]:
    if not ON_CLUSTER.keys() & set(wanted):
        return []
    say("starting etcd, API server, the Job controller and the operator")
    with control_plane(controllers="job") as plane:
        return asyncio.run(_beside_operator(plane, wanted, say))


async def _beside_operator(plane: ControlPlane, wanted: list[str], say: Say) -> list[Measure]:
    api = open_session(plane.kubeconfig)
    try:
        await _define(api)
        with Subject(plane, await _account(api)) as subject:
            await asyncio.sleep(_SETTLE_SECONDS)
            bench = Bench(api, subject, say, fresh=subject.memory())
            return [measure for name, part in ON_CLUSTER.items() if name in wanted for measure in await part(bench)]
    finally:
        await api.session.close()


def _alone(wanted: list[str], say: Say) -> list[Measure]:
    found = []
    for name, part in ALONE.items():
        if name in wanted:
            say(name)
            found += [Measure(**row) for row in part()["measures"]]
    return found


async def _account(api: Api) -> str:
    """Create the operator's service account, with all rights, and return a token of it."""
    place = "/api/v1/namespaces/default/serviceaccounts"
    await api.create(place, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": SERVICE_ACCOUNT}})
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": SERVICE_ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": SERVICE_ACCOUNT}],
    }
    await api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86_400}}
    made = await api.create(f"{place}/{SERVICE_ACCOUNT}/token", request)
    return str(made["status"]["token"])


async def _define(api: Api) -> None:
    """Create the custom resource definition and wait until it is served."""
    await api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", yaml.safe_load(_CRD.read_text()))
    async with asyncio.timeout(30):
        while True:
            async with api.session.get(f"{api.url}/apis/tftraining.dev/v1alpha1/tftrainingjobs") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
