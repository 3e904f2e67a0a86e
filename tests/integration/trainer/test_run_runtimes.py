"""The public-style scripts of the cluster level, in this very environment if it holds a runtime's TensorFlow."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "cluster" / "scripts"


def runtime() -> str:
    """Return the runtime that is installed here: tf1, tf2 or none."""
    try:
        version = importlib.metadata.version("tensorflow")
    except importlib.metadata.PackageNotFoundError:
        return ""
    return "tf1" if version.startswith("2.15.") else "tf2"


@pytest.mark.parametrize("script", sorted(FOLDER.glob("tf*/*.py")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_public_style_script_runs_unmodified(script: Path) -> None:
    if runtime() != script.parent.name:
        pytest.skip(f"the runtime {script.parent.name} is not installed here; the cluster tests run it in its image")
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert "RESULT" in ran.stdout
