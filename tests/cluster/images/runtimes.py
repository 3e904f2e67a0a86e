"""The page about the runtimes: `python -m images.runtimes` prints it, from the versions that the lock file gives to each image."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tftrainer.describe import Description, describe

REPOSITORY: Final = Path(__file__).resolve().parents[3]
UV: Final = REPOSITORY / ".build" / "uv" / "bin" / "uv"
RUNTIMES: Final = ("tf1", "tf2", "tf1-gpu", "tf2-gpu")
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
_HEAD: Final = """\
# The runtimes

What an image that is built from this repository holds, generated from its lock file by `make generate`.
In a pod or an image, `python3 -m tftrainer describe [--json]` tells the same of itself.

"""


def pins(runtime: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of each distribution that the runtime's image gets, as its Dockerfile asks for them."""
    command = [str(UV), "export", "--quiet", "--frozen", "--no-dev", "--no-emit-workspace", "--no-annotate", "--no-header", "--no-hashes"]
    command += ["--package", "tftrainer", "--extra", runtime]
    exported = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    yield from _PIN.findall(exported)


def page(found: dict[str, Description]) -> str:
    """Return the page: one column for each runtime."""
    names = sorted({name for description in found.values() for name in description.packages})
    rows = [
        ["", *(f"`{runtime}`" for runtime in found)],
        ["---"] * (len(found) + 1),
        ["Python", *(each.python for each in found.values())],
        ["TensorFlow", *(each.tensorflow or "" for each in found.values())],
        ["`import tensorflow` gives", *("the version-1 API" if each.version_1_api else "the version-2 API" for each in found.values())],
        ["CUDA", *(each.cuda or "none" for each in found.values())],
        *([name, *(each.packages.get(name, "") for each in found.values())] for name in names),
    ]
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> int:
    """Print the page."""
    found = {runtime: describe(pins(runtime), "3.11", version_1_api=runtime.startswith("tf1")) for runtime in RUNTIMES}
    sys.stdout.write(page(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
