"""Brings everything up: cluster, images, chart. Each step does nothing where nothing is to be done."""

from __future__ import annotations

import os
import sys

from images.catalogue import IMAGES

from demo.console import Console, side_by_side
from demo.target import NAMESPACE, RELEASE, REPOSITORY, Target, cluster_tool
from images import base


def image_tool(*arguments: str) -> list[str]:
    """Return the command line of the tool that builds the images."""
    return [sys.executable, "-m", "images", *arguments]


def bring_up(console: Console, target: Target) -> None:
    """Start the cluster, build and load the images, install the chart.

    Raises:
        CommandError: one of the steps failed; its own words are in the text.

    """
    environment = dict(os.environ)
    with console.step("cluster and images (first time: some minutes, later: seconds)"):
        tasks = [lambda: console.stream(image_tool("build"), environment, "images ")]
        if target.local:
            tasks.append(lambda: console.stream(cluster_tool("up"), environment, "cluster"))
        side_by_side(*tasks)
        if target.local:
            console.stream(image_tool("load"), environment, "images ")
        else:
            console.stream(image_tool("push", target.registry), environment, "images ")
    with console.step(f"chart: release {RELEASE} in namespace {NAMESPACE}"):
        console.shown(helm_command(target), target.environment)


def helm_command(target: Target) -> list[str]:
    """Return the command that installs or upgrades the release with the demo store."""
    # Named by what they were built from: Helm rolls out what has changed, and nothing else.
    base_image = base.wanted()
    image = {name: item.keyed_reference(base_image, target.registry) for name, item in IMAGES.items()}
    values = {
        "image.reference": image["operator"],
        "runtimes.tf1.image": image["tf1"],
        "runtimes.tf2.image": image["tf2"],
        "dev.image": image["dev-s3"],
        "dev.enabled": "true",
    }
    chart = os.path.relpath(REPOSITORY / "helm" / "tftraining-operator")
    command = [
        "helm",
        "upgrade",
        "--install",
        RELEASE,
        chart,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--wait",
        "--timeout",
        "3m",
    ]
    return command + [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
