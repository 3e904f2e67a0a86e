"""The base image: the one that was asked for, or a stand-in of Debian's own packages where no registry of images is in reach."""

import os
import shutil
import tempfile
from pathlib import Path

from images import programs

STAND_IN = "localhost/tftraining-base:bookworm-1"
_PACKAGES = "python3,python3-venv,ca-certificates"
# Documentation, translations and package lists: nothing that runs reads them.
_NEEDLESS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/cache/apt", "var/lib/apt/lists", "var/log")


def wanted() -> str:
    """Return the base image that `BASE_IMAGE` names, or the stand-in."""
    return os.environ.get("BASE_IMAGE") or STAND_IN


def ensure(base: str) -> None:
    """Make the stand-in if it is what is wanted and is not there yet.

    Raises ImageError if Debian's packages cannot be had.
    """
    if base != STAND_IN or programs.succeeds(["buildah", "inspect", "--type", "image", STAND_IN]):
        return
    # Not in the system's temporary folder: that may be mounted without devices or execution.
    root = Path(tempfile.mkdtemp(prefix="tftraining-base-", dir="/var/tmp"))
    try:
        programs.run(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)])
        for folder in _NEEDLESS:
            shutil.rmtree(root / folder, ignore_errors=True)
            (root / folder).mkdir(parents=True)
        _commit(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _commit(root: Path) -> None:
    container = programs.run(["buildah", "from", "scratch"]).strip()
    try:
        programs.run(["buildah", "add", "--quiet", container, str(root), "/"])
        programs.run(["buildah", "config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", "--cmd", "python3", container])
        programs.run(["buildah", "commit", "--quiet", container, STAND_IN])
    finally:
        programs.run(["buildah", "rm", container])
