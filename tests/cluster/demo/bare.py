"""The iris program without Kubernetes: the same interpreter and packages, taken from the trainer image's own file tree."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from images.catalogue import IMAGES

from demo.code import EXAMPLES, archive
from demo.console import CommandError, quiet
from demo.target import REPOSITORY
from images import base

DATA = REPOSITORY / "helm" / "tftraining-operator" / "files" / "dev"
_STOPWATCH = """
import subprocess, sys, time
begin = time.monotonic()
code = subprocess.run([sys.executable, *sys.argv[1:]], env={**__import__("os").environ, "PYTHONPATH": "/bare/iris.zip"}).returncode
print("seconds", time.monotonic() - begin)
sys.exit(code)
"""


def run_bare() -> float:
    """Run the iris program once and return the seconds it took.

    Raises:
        CommandError: it failed.

    """
    environment = dict(os.environ)
    container = quiet(["buildah", "from", "--pull-never", _image(environment)], environment).strip()
    folder = Path(tempfile.mkdtemp(prefix="tftraining-bare-"))
    try:
        shutil.copy(EXAMPLES / "iris" / "premade_estimator.py", folder)
        (folder / "iris.zip").write_bytes(archive("iris", "iris_data.py"))
        for name in ("iris_training.csv", "iris_test.csv"):
            shutil.copy(DATA / name, folder)
        folder.chmod(0o777)
        command = [
            "buildah",
            "run",
            "--isolation",
            "chroot",
            "--user",
            "1000",
            "-v",
            f"{folder}:/bare",
            container,
            "--",
        ]
        program = [
            "/bare/premade_estimator.py",
            "--train_path",
            "/bare/iris_training.csv",
            "--test_path",
            "/bare/iris_test.csv",
        ]
        output = quiet([*command, "python3", "-c", _STOPWATCH, *program, "--export_dir", "/bare/tf_model"], environment)
        return _seconds(output)
    finally:
        quiet(["buildah", "rm", container], environment, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _image(environment: Mapping[str, str]) -> str:
    image = IMAGES["tf1"]
    if not quiet(["buildah", "images", "--quiet", image.reference], environment, check=False):
        quiet(["buildah", "pull", "--quiet", f"oci-archive:{image.archive(base.wanted())}"], environment)
    return image.reference


def _seconds(output: str) -> float:
    for line in reversed(output.splitlines()):
        if line.startswith("seconds "):
            return float(line.removeprefix("seconds "))
    raise CommandError(f"the bare run printed no time: {output[-500:]}")
