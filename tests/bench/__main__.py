"""`python tests/bench [PART…]`: measure, print the table, and with all parts write it to docs/reference."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import clients
import report
import yaml
from api import Api, open_session
from controlplane import ControlPlane, control_plane
from localcluster.failure import ClusterError
from measures import Bench, Measure, Say
from subject import Subject

_ROOT = Path(__file__).parents[2]
_CRD = _ROOT / "crds" / "tftraining.dev_tftrainingjobs.yaml"
_FOLDER = _ROOT / "docs" / "reference"

ON_CLUSTER: dict[str, Callable[[Bench], Awaitable[list[Measure]]]] = {
    "latency": Bench.latency,
    "burst": Bench.burst,
    "clients": clients.measure,
    "lives": Bench.lives,
}
"""The parts that need the control plane and the operator."""


def main() -> int:
    """Run the parts and return 0; a target that was missed is a figure, not an error."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(ON_CLUSTER)}; all without any")
    wanted = parser.parse_args().parts or list(ON_CLUSTER)
    unknown = sorted(set(wanted) - set(ON_CLUSTER))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(ON_CLUSTER)}")
    # Told to stop in whatever way, it ends what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begun:6.1f} s] {text}", flush=True)

    load_before = os.getloadavg()[0]
    try:
        say("starting etcd, API server, the Job controller and the operator")
        with control_plane(controllers="job") as plane:
            kubernetes, measures = asyncio.run(_measure(plane, wanted, say))
    except KeyboardInterrupt:
        say("stopped; nothing was written")
        return 130
    except (ClusterError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    machine = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores shared by all that ran, Linux {platform.release()}, Python {platform.python_version()}",
        "versions": f"Kubernetes {kubernetes}, kopf {version('kopf')}, aiohttp {version('aiohttp')}; etcd without fsync",
        "load of the machine before and after": f"{load_before:.2f}, {os.getloadavg()[0]:.2f} (alone, about 0 and 3)",
    }
    print(f"\n{report.table(measures)}\n\nafter {time.monotonic() - begun:.0f} s")
    if set(wanted) == set(ON_CLUSTER):
        (_FOLDER / "benchmarks.md").write_text(report.page(measures, machine))
        (_FOLDER / "benchmarks.json").write_text(report.raw(measures, machine))
        print("written to docs/reference/benchmarks.md and benchmarks.json")
    return 0


async def _measure(plane: ControlPlane, wanted: list[str], say: Say) -> tuple[str, list[Measure]]:
    """Return the server's version and the measures."""
    api = open_session(plane.kubeconfig)
    try:
        await _define(api)
        with Subject(plane) as subject:
            bench = Bench(api, subject, say)
            return await _version(api), [measure for name in wanted for measure in await ON_CLUSTER[name](bench)]
    finally:
        await api.session.close()


async def _version(api: Api) -> str:
    async with api.session.get(f"{api.url}/version", raise_for_status=True) as answer:
        return str((await answer.json())["gitVersion"])


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
