"""The kubeconfigs of the administrator and of each component."""

import base64
import json
from pathlib import Path

from localcluster.failure import ClusterError
from localcluster.layout import API_SERVER, CONTEXT


def write(target: Path, *, pki: Path, subject: str) -> None:
    """Write a kubeconfig that is complete in itself and speaks as `subject`."""

    def embedded(file: str) -> str:
        return base64.b64encode((pki / file).read_bytes()).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": CONTEXT,
                "cluster": {"server": API_SERVER, "certificate-authority-data": embedded("ca.crt")},
            }
        ],
        "users": [
            {
                "name": subject,
                "user": {
                    "client-certificate-data": embedded(f"{subject}.crt"),
                    "client-key-data": embedded(f"{subject}.key"),
                },
            }
        ],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": subject}}],
        "current-context": CONTEXT,
    }
    target.touch(mode=0o600)
    target.write_text(json.dumps(document, indent=2) + "\n")


def hand_out(source: Path, target: Path) -> None:
    """Copy a kubeconfig for people to use, unless they have one of this cluster already."""
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        target.touch(mode=0o600)
        target.write_bytes(source.read_bytes())


def check(target: Path) -> None:
    """Make sure that a kubeconfig still is the one that `write` wrote.

    Raises ClusterError if it is missing or leads anywhere else: no other cluster is ever touched.
    """
    try:
        document = json.loads(target.read_text())
    except FileNotFoundError as missing:
        raise ClusterError(f"The kubeconfig {target} does not exist; start the cluster with `make up`.") from missing
    except ValueError:
        document = {}
    context = document.get("current-context", "one that cannot be read")
    servers = [entry.get("cluster", {}).get("server") for entry in document.get("clusters", [])]
    if context != CONTEXT or servers != [API_SERVER]:
        raise ClusterError(
            f"The kubeconfig {target} was expected to know only the context `{CONTEXT}` at {API_SERVER} but its context is "
            f"`{context}`; keep other clusters in a file of their own, then run the command `up` to have this one rewritten."
        )
