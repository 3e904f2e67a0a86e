"""The Debian packages that the cluster needs."""

import os
import subprocess

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


def missing() -> list[str]:
    """List the needed packages that are not installed."""
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Abbrev}\n", *NEEDED],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {line.split()[0] for line in listed.stdout.splitlines() if line.split()[1:2] == ["ii"]}
    return [package for package in NEEDED if package not in installed]


def install() -> None:
    """Install what is missing.

    Raises ClusterError if this is not run as root or a package cannot be installed.
    """
    wanted = missing()
    if not wanted:
        return
    if os.geteuid() != 0:
        raise ClusterError(f"The packages {', '.join(wanted)} are missing; run this command as root to install them.")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print(f"installing {', '.join(wanted)}", flush=True)
    commands.run(["apt-get", "update", "--quiet=2"], environment=environment)
    commands.run(["apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", *wanted], environment=environment)
