"""Credentials of a kubeconfig, which can name files, hold them, or run programs: read by the official client's configuration code."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_kube_config

from tftraining_operator.kube.credentials import CredentialsError


class Kubeconfig:
    """The credentials of a kubeconfig's current context."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.configuration = Configuration()

    @property
    def server(self) -> str:
        """URL of the server, without a trailing slash."""
        return str(self.configuration.host).rstrip("/")

    @property
    def authority_path(self) -> str | None:
        """File with the certificates that the server's is checked against."""
        return self.configuration.ssl_ca_cert or None

    @property
    def certificate_path(self) -> str | None:
        """File with the client's certificate."""
        return self.configuration.cert_file or None

    @property
    def key_path(self) -> str | None:
        """File with the key of the client's certificate."""
        return self.configuration.key_file or None

    @property
    def insecure(self) -> bool:
        """Whether the server's certificate is not to be checked."""
        return not self.configuration.verify_ssl

    def token(self) -> str | None:
        """Return the bearer token as it is now."""
        if self.configuration.refresh_api_key_hook is not None:
            # What cannot be read just now leaves the token that there is, which is good for a while yet.
            with suppress(ConfigException, OSError):
                self.configuration.refresh_api_key_hook(self.configuration)
        key = self.configuration.api_key.get("BearerToken")
        return str(key).partition(" ")[2].strip() if key else None

    async def renew(self) -> None:
        """Read the kubeconfig again: its token may come from a program and have expired.

        Raises:
            CredentialsError: it cannot be used.

        """
        try:
            self._path.open().close()
            await load_kube_config(config_file=str(self._path), client_configuration=self.configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise CredentialsError(f"no way to the API server from the kubeconfig {self._path}: {error}") from error
        except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
            # The official client does not check what it reads.
            finding = " ".join(str(error).split())
            raise CredentialsError(f"no way to the API server from the kubeconfig {self._path}: it is no kubeconfig: {finding}") from error
