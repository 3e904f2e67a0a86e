"""The Debian packages that the cluster and the images need."""

import contextlib
import fcntl
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from localcluster import commands
from localcluster.failure import ClusterError

NEEDED = (
    "buildah",
    "ca-certificates",
    "containernetworking-plugins",
    "debootstrap",
    "iproute2",
    "iptables",
    "mount",
    "openssl",
    "runc",
    "util-linux",
)


_LOCK = Path("/run/lock/tftraining-packages.lock")
_OTHERS_SECONDS = 600.0
"""A machine that was just started may be installing its own updates."""
_PAUSE_SECONDS = 2.0


def missing(needed: Sequence[str] = NEEDED) -> list[str]:
    """List the needed packages that are not installed."""
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Abbrev}\n", *needed],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {line.split()[0] for line in listed.stdout.splitlines() if line.split()[1:2] == ["ii"]}
    return [package for package in needed if package not in installed]


def install(needed: Sequence[str] = NEEDED) -> None:
    """Install what is missing; whoever else installs packages at the time is waited for.

    Raises ClusterError if this is not run as root or a package cannot be installed.
    """
    wanted = missing(needed)
    if not wanted:
        return
    if os.geteuid() != 0:
        raise ClusterError(f"The packages {', '.join(wanted)} are missing; run this command as root to install them.")
    with _alone():
        wanted = missing(needed)
        if wanted:
            print(f"installing {', '.join(wanted)}", flush=True)
            _apt_get("update", "--quiet=2")
            _apt_get("install", "--quiet=2", "--yes", "--no-install-recommends", *wanted)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep the tools of this repository, which run side by side, from the package manager at the same time."""
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    deadline = time.monotonic() + _OTHERS_SECONDS
    while True:
        try:
            commands.run(["apt-get", *arguments], environment=environment)
        except ClusterError as failure:
            # apt itself waits for the lock of an installation if it is told to, but never for that of its lists.
            if not re.search(r"\block\b", str(failure)) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return
