"""Scripts of the shape of well-known public TensorFlow programs run unmodified, as jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cluster_client import Jobs

FOLDER = Path(__file__).parent / "scripts"
SCRIPTS = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("tf*/*.py"))


def job_name(script: str) -> str:
    """Return a job's name for a script of the folder."""
    return script.removesuffix(".py").replace("/", "-").replace("_", "-")


@pytest.fixture(scope="module")
def submitted(jobs: Jobs) -> Jobs:
    """Submit all scripts at once; the scheduler runs as many as fit."""
    for script in SCRIPTS:
        resources = {"cpu": "900m", "memory": "2Gi", "workspace": "1Gi"}
        jobs.submit(job_name(script), (FOLDER / script).read_text(), runtime=script.partition("/")[0], resources=resources)
    return jobs


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_public_style_script_runs_unmodified(submitted: Jobs, script: str) -> None:
    status = submitted.wait(job_name(script), seconds=280)
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    assert "RESULT" in submitted.log(job_name(script))
