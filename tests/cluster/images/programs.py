"""Running the machine's own programs, and the Debian packages that bring them."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from localcluster import packages

from images.failure import ImageError

_NEEDED = ("buildah", "ca-certificates", "debootstrap")
_TAIL_LINES = 25


def install() -> None:
    """Install the Debian packages that are missing.

    Raises ImageError if this is not run as root, ClusterError if a package cannot be installed.
    """
    if os.geteuid() != 0:
        raise ImageError(f"Images are built with mounts of their own but this runs as user {os.geteuid()}; run it as root.")
    packages.install(_NEEDED)


def run(argv: Sequence[str], log: Path | None = None) -> str:
    """Run a program to its end and return what it printed, or write that to `log`.

    Raises ImageError with the end of what the program wrote if it cannot be run or does not end well.
    """
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except FileNotFoundError as missing:
        raise ImageError(f"The program `{argv[0]}` was not found; install the Debian package that has it.") from missing
    if log is not None:
        log.write_text(done.stdout)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-_TAIL_LINES:])
        raise ImageError(f"`{' '.join(argv[:2])}` was expected to end with status 0 but ended with {done.returncode}:\n{tail}")
    return done.stdout


def succeeds(argv: Sequence[str]) -> bool:
    """Whether a program ends well; what it prints is dropped."""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
