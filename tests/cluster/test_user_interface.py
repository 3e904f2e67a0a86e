"""What a user sees with kubectl and nothing else."""

from __future__ import annotations

import re

from cluster_client import Cluster, Jobs, eventually
from demo.console import quiet
from demo.target import NAMESPACE, RELEASE


def test_explain_describes_every_field(cluster: Cluster) -> None:
    listing = cluster.kubectl("explain", "tftj.spec", "--recursive")
    for field in (
        "script",
        "inline",
        "archive",
        "args",
        "inputs",
        "secretName",
        "gpus",
        "sharedMemory",
        "suspend",
        "activeDeadlineSeconds",
    ):
        assert re.search(rf"\b{field}\b", listing), listing
    for path in (
        "runtime",
        "script",
        "script.uri",
        "dependencies.archive",
        "args",
        "env",
        "inputs",
        "storage",
        "resources.workspace",
        "suspend",
    ):
        text = cluster.kubectl("explain", f"tftj.spec.{path}")
        assert len(text.partition("DESCRIPTION:")[2].strip()) > 40, text


def test_describe_fits_one_screen_and_tells_the_story(jobs: Jobs) -> None:
    jobs.submit("story", "print('hello')\n")
    assert jobs.wait("story")["phase"] == "Succeeded"

    def told() -> str | None:
        text = jobs.kubectl("describe", "tftj", "story")
        return text if "Succeeded" in text.partition("Events:")[2] else None

    text = eventually(told, lambda: "an event Succeeded, which comes after the status")
    assert len(text.splitlines()) <= 110, text


def test_get_shows_phase_reason_runtime_and_age(jobs: Jobs) -> None:
    jobs.submit("columns", "raise SystemExit(4)\n")
    jobs.wait("columns")
    header, row = jobs.kubectl("get", "tftj", "columns").splitlines()
    assert header.split()[:2] == ["NAME", "PHASE"]
    assert "Failed" in row
    assert "ScriptExited" in row
    assert "columns" in jobs.kubectl("get", "training")


def test_a_name_of_253_characters_runs_like_any_other(jobs: Jobs) -> None:
    name = ".".join(["a" * 60] * 4) + ".abcdefghi"
    assert len(name) == 253
    jobs.submit(name, "print('long')\n")
    assert jobs.wait(name)["phase"] == "Succeeded"


def test_helm_test_runs_a_real_job(cluster: Cluster) -> None:
    output = quiet(["helm", "test", RELEASE, "-n", NAMESPACE, "--timeout", "2m"], cluster.target.environment)
    assert "Succeeded" in output, output
