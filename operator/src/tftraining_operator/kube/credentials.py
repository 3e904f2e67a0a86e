"""Where the API server is and how to be known to it: found and kept fresh by the official client's configuration code."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config


class CredentialsError(RuntimeError):
    """There is no usable way to the API server. The text says where it was looked for."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The way to the API server. `configuration` is the official client's, read from `kubeconfig` or the pod's service account."""

    configuration: Configuration
    kubeconfig: Path | None = None

    @property
    def server(self) -> str:
        """URL of the server, without a trailing slash."""
        return str(self.configuration.host).rstrip("/")

    def token(self) -> str | None:
        """Return the bearer token as it is now: a service account's changes about once an hour."""
        if self.configuration.refresh_api_key_hook is not None:
            # A file that cannot be read just now leaves the token that there is, which is good for a while yet.
            with suppress(ConfigException, OSError):
                self.configuration.refresh_api_key_hook(self.configuration)
        key = self.configuration.api_key.get("BearerToken")
        return str(key).partition(" ")[2].strip() if key else None

    async def renew(self) -> None:
        """Read the credentials again: a kubeconfig's token may come from a program and have expired.

        Raises:
            CredentialsError: they cannot be used.

        """
        try:
            if self.kubeconfig is not None:
                self.kubeconfig.open().close()
                await load_kube_config(config_file=str(self.kubeconfig), client_configuration=self.configuration)  # type: ignore[no-untyped-call]
            else:
                load_incluster_config(client_configuration=self.configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise CredentialsError(f"no way to the API server from {self._source}: {error}") from error
        except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
            # The official client does not check what it reads.
            finding = " ".join(str(error).split())
            raise CredentialsError(f"no way to the API server from {self._source}: it is no kubeconfig: {finding}") from error

    @property
    def _source(self) -> str:
        if self.kubeconfig is None:
            return "the pod's service account (outside of a cluster, name a --kubeconfig)"
        return f"the kubeconfig {self.kubeconfig}"

    def tls(self) -> ssl.SSLContext:
        """Return the TLS context: the server's authority and, if there is one, the client's certificate."""
        context = ssl.create_default_context(cafile=self.configuration.ssl_ca_cert)
        if not self.configuration.verify_ssl:
            # A kubeconfig that says insecure-skip-tls-verify means it.
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.configuration.cert_file:
            context.load_cert_chain(self.configuration.cert_file, self.configuration.key_file)
        return context


async def find_credentials(kubeconfig: Path | None) -> Credentials:
    """Return the credentials of a kubeconfig's current context or, without one, of the pod's service account.

    Raises:
        CredentialsError: neither can be used.

    """
    credentials = Credentials(Configuration(), kubeconfig)
    await credentials.renew()
    return credentials
