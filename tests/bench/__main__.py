"""`python tests/bench [MEASURE…]`: measure, print the table, and with all measures write it to docs/reference."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import report
import yaml
from api import Api, open_session
from controlplane import ControlPlane, control_plane
from measures import Bench, Measure, Say
from subject import Subject

_FOLDER = Path(__file__).parents[2] / "docs" / "reference"
_MEASURES = ("latency", "burst", "lives")
_CRD = Path(__file__).parents[2] / "crds" / "tftraining.dev_tftrainingjobs.yaml"


def main() -> int:
    """Run the measures and return 0; a target that was missed is a figure, not an error."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"some of {', '.join(_MEASURES)}; all without any")
    wanted = parser.parse_args().measures or list(_MEASURES)
    unknown = sorted(set(wanted) - set(_MEASURES))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(_MEASURES)}")
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begun:6.1f} s] {text}", flush=True)

    load_before = os.getloadavg()[0]
    say("starting etcd, API server, controllers and the operator")
    try:
        with control_plane(controllers=True) as plane:
            kubernetes, measures = asyncio.run(_measure(plane, wanted, say))
    except KeyboardInterrupt:
        return 130
    machine = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores shared by all that ran, Linux {platform.release()}, Python {platform.python_version()}",
        "versions": f"Kubernetes {kubernetes}, kopf {version('kopf')}, aiohttp {version('aiohttp')}; etcd without fsync",
        "load before": f"{load_before:.2f}",
    }
    print(f"\n{report.table(measures)}\n\nafter {time.monotonic() - begun:.0f} s")
    if set(wanted) == set(_MEASURES):
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
            parts = {"latency": bench.latency, "burst": bench.burst, "lives": bench.lives}
            return await _version(api), [measure for name in wanted for measure in await parts[name]()]
    finally:
        await api.session.close()


async def _version(api: Api) -> str:
    async with api.session.get(f"{api.url}/version", raise_for_status=True) as answer:
        return str((await answer.json())["gitVersion"])


async def _define(api: Api) -> None:
    await api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", yaml.safe_load(_CRD.read_text()))
    async with asyncio.timeout(30):
        while True:
            async with api.session.get(f"{api.url}/apis/tftraining.dev/v1alpha1/tftrainingjobs") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
