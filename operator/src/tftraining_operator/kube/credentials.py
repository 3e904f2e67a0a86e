"""Where the API server is and how to be known to it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Protocol


class CredentialsError(RuntimeError):
    """There is no usable way to the API server. The text says where it was looked for."""


class Credentials(Protocol):
    """The way to the API server. Paths are None where there is no such file."""

    @property
    def server(self) -> str:
        """URL of the server, without a trailing slash."""

    @property
    def authority_path(self) -> str | None:
        """File with the certificates that the server's is checked against; None for those of the system."""

    @property
    def certificate_path(self) -> str | None:
        """File with the client's certificate."""

    @property
    def key_path(self) -> str | None:
        """File with the key of the client's certificate."""

    @property
    def insecure(self) -> bool:
        """Whether the server's certificate is not to be checked."""

    def token(self) -> str | None:
        """Return the bearer token as it is now: a service account's changes about once an hour."""

    async def renew(self) -> None:
        """Read the credentials again. Raises CredentialsError where they cannot be used."""


def tls(credentials: Credentials) -> ssl.SSLContext:
    """Return the TLS context: the server's authority and, if there is one, the client's certificate."""
    context = ssl.create_default_context(cafile=credentials.authority_path)
    if credentials.insecure:
        # A kubeconfig that says insecure-skip-tls-verify means it.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if credentials.certificate_path is not None:
        context.load_cert_chain(credentials.certificate_path, credentials.key_path)
    return context


async def find_credentials(kubeconfig: Path | None) -> Credentials:
    """Return the credentials of a kubeconfig's current context or, without one, of the pod's service account.

    Raises:
        CredentialsError: neither can be used.

    """
    if kubeconfig is None:
        from tftraining_operator.kube.service_account import ServiceAccount

        credentials: Credentials = ServiceAccount()
    else:
        # Imported only here: the official client takes eleven megabytes.
        from tftraining_operator.kube.kubeconfig import Kubeconfig

        credentials = Kubeconfig(kubeconfig)
    await credentials.renew()
    return credentials
