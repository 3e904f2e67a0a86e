"""Credentials of the pod's service account: what the kubelet puts into every pod that has one.

Own code: the official client reads the same three things, and takes eleven megabytes for it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tftraining_operator.kube.credentials import CredentialsError

FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_SECONDS = 60.0
"""For how long a token is not read again: the kubelet writes a new one long before the old one expires."""
_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"


class ServiceAccount:
    """The credentials that lie in every pod, and the server that its environment names."""

    certificate_path: str | None = None
    key_path: str | None = None
    insecure = False

    def __init__(self) -> None:
        self.server = ""
        self.authority_path: str | None = str(FOLDER / "ca.crt")
        self._token = ""
        self._read_at = 0.0

    def token(self) -> str | None:
        """Return the bearer token as it is now."""
        if time.monotonic() - self._read_at > _TOKEN_SECONDS:
            self._read_at = time.monotonic()
            try:
                self._token = self._read("token") or self._token
            except CredentialsError:
                # What cannot be read just now leaves the token that there is, which is good for a while yet.
                return self._token
        return self._token

    async def renew(self) -> None:
        """Read the credentials again.

        Raises:
            CredentialsError: they are not there, as outside of a cluster.

        """
        host, port = os.environ.get(_HOST, ""), os.environ.get(_PORT, "")
        if not (host and port):
            raise CredentialsError(f"no way to the API server: {_HOST} and {_PORT} are not set; outside of a cluster, name a --kubeconfig")
        self.server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        self._read("ca.crt")
        self._token, self._read_at = self._read("token"), time.monotonic()

    @staticmethod
    def _read(name: str) -> str:
        try:
            found = (FOLDER / name).read_text().strip()
        except (OSError, UnicodeError) as error:
            raise CredentialsError(f"no way to the API server from the pod's service account: {error}") from error
        if not found:
            raise CredentialsError(f"no way to the API server from the pod's service account: {FOLDER / name} is empty")
        return found
