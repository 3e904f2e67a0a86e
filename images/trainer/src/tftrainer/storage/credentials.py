"""Credentials of one bucket, as the kubelet hands a Secret over: one environment variable per key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

from tftrainer import uri
from tftrainer.messages import contract
from tftrainer.messages.contract import Reason
from tftrainer.phase_error import PhaseError

_REGION: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
PATH_STYLE: Final = "path"
VIRTUAL_STYLE: Final = "virtual"
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What reaches one bucket. `prefix` is empty or ends with `/`; `label` names the Secret in messages.

    `addressing` is how the bucket is named: `path`, below the endpoint's host, or `virtual`, as part of the host's name; None: as the
    endpoint is known to want it.

    The secret parts are left out of `repr`; so no message can hold them by accident.
    """

    label: str
    secure: bool
    host: str
    bucket: str
    prefix: str = ""
    region: str | None = None
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    addressing: str | None = None
    ca_certificate: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str], variable_prefix: str, label: str) -> Self | None:
        """Read them from the environment; None when no variable of that prefix is set.

        Raises:
            PhaseError: `StorageMisconfigured`, naming the key of the Secret and what it should be, or all keys that are empty. Values are
                never shown.
        """
        found = {key: environment.get(variable_prefix + end, "") for key, end in contract.CREDENTIAL_KEYS.items()}
        if not any(found.values()):
            return None
        empty = [key for key, value in found.items() if not value and key not in contract.OPTIONAL_CREDENTIAL_KEYS]
        if len(empty) > 1:
            listed = f"{', '.join(empty[:-1])} and {empty[-1]}"
            message = f"keys {listed} of the {label} are empty, expected a value for each"
            raise PhaseError(Reason.STORAGE_MISCONFIGURED, message, f"set {listed} in the Secret")
        if empty:
            raise _wrong(label, empty[0], "is empty", "a value")
        for key, value in found.items():
            if key != "caCertificate" and (value != value.strip() or not value.isprintable()):
                raise _wrong(label, key, "holds blanks at an end or a line break", "the bare value (create it with `printf`, not `echo`)")
        secure, host = _endpoint(label, found["endpoint"])
        return cls(
            label=label,
            secure=secure,
            host=host,
            bucket=_bucket(label, found["bucket"]),
            prefix=_prefix(label, found["prefix"]),
            region=_region(label, found["region"]),
            access_key=found["accessKey"],
            secret_key=found["secretKey"],
            addressing=_addressing(label, found["addressing"]),
            ca_certificate=found["caCertificate"] or None,
        )

    @property
    def endpoint(self) -> str:
        """The endpoint for messages."""
        return f"{'https' if self.secure else 'http'}://{self.host}"

    def key(self, relative: str) -> str:
        """Return the whole key of what is named below the prefix."""
        return self.prefix + relative

    def uri(self, key: str) -> str:
        """Return the URI of a whole key."""
        return f"s3://{self.bucket}/{key}"


def _wrong(label: str, key: str, what: str, expected: str) -> PhaseError:
    return PhaseError(Reason.STORAGE_MISCONFIGURED, f"key {key} of the {label} {what}, expected {expected}", f"correct {key} in the Secret")


def _endpoint(label: str, value: str) -> tuple[bool, str]:
    expected = "http(s)://host or http(s)://host:port"
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _wrong(label, "endpoint", "is not the address of an S3 server", expected)
    try:
        port = parts.port
    except ValueError:
        raise _wrong(label, "endpoint", "has a port that is not a number up to 65535", expected) from None
    host = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc.removesuffix(":")
    if not _HOST.fullmatch(host):
        raise _wrong(label, "endpoint", "has no valid host name", expected)
    return parts.scheme == "https", host if port is None else f"{host}:{port}"


def _bucket(label: str, value: str) -> str:
    try:
        uri.check_bucket(value)
    except uri.UriError:
        raise _wrong(label, "bucket", "is not the name of a bucket", "3 to 63 lower-case letters, digits, dots and hyphens") from None
    return value


def _prefix(label: str, value: str) -> str:
    trimmed = value.strip("/")
    if not trimmed:
        return ""
    try:
        uri.check_key(trimmed)
    except uri.UriError:
        raise _wrong(label, "prefix", "is not a prefix of keys", "names between single slashes, such as team/project") from None
    return trimmed + "/"


def _addressing(label: str, value: str) -> str | None:
    if value not in ("", PATH_STYLE, VIRTUAL_STYLE):
        raise _wrong(label, "addressing", "is not a way to name a bucket", f"{PATH_STYLE} or {VIRTUAL_STYLE}")
    return value or None


def _region(label: str, value: str) -> str | None:
    if value and not _REGION.fullmatch(value):
        raise _wrong(label, "region", "is not the name of a region", "letters, digits and hyphens, such as eu-central-1")
    return value or None
