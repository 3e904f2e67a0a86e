"""What went wrong with a store, in the user's words.

Nothing that a server or library says is repeated, except error codes known by name: it may hold keys or signed addresses.
"""

from __future__ import annotations

import ssl
from http import HTTPStatus
from typing import Final, NamedTuple

import urllib3.exceptions as http

from tftrainer.messages.contract import Reason
from tftrainer.phase_error import PhaseError
from tftrainer.storage.body import SourceChangedError, UnreadableError
from tftrainer.storage.connection import ForbiddenAddressError
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.library import InvalidResponseError, MinioException, S3Error, ServerError
from tftrainer.storage.patience import RETRIED_STATUS, OutOfTimeError
from tftrainer.storage.transfer import FULL, BrokenTransferError, ChangedError


class StorageError(PhaseError):
    """A request to the store failed for good."""


class ConditionError(StorageError):
    """The condition of an upload did not hold: nothing was written."""


class CorruptedError(Exception):
    """What arrives at the store are other bytes than were sent, again and again."""


class LostError(Exception):
    """The object is not what was uploaded, or nobody can tell."""


class RefusedError(Exception):
    """The condition of an upload does not hold. `repeated` is whether an earlier try of it may have been heard."""

    def __init__(self, *, repeated: bool = False) -> None:
        super().__init__()
        self.repeated = repeated


class _Cause(NamedTuple):
    reason: Reason
    message: str
    hint: str


_DENIED_KEY: Final = _Cause(
    Reason.STORAGE_DENIED,
    "{endpoint} refuses the access key of the {label}",
    "correct accessKey and secretKey in the Secret; both must be of this server",
)
_DENIED: Final = _Cause(
    Reason.STORAGE_DENIED,
    "{endpoint} denies {what} with the access key of the {label}",
    "check accessKey and secretKey in the Secret, and that they may list, read and write the bucket",
)
_NO_BUCKET: Final = _Cause(
    Reason.BUCKET_NOT_FOUND,
    "bucket {bucket!r} does not exist at {endpoint}",
    "create it, or correct bucket in the {label}",
)
_NO_OBJECT: Final = _Cause(
    Reason.OBJECT_NOT_FOUND,
    "{what} does not exist",
    "check the key (capitals count), and end it with / if it is a folder",
)
_REGION: Final = _Cause(
    Reason.STORAGE_MISCONFIGURED,
    "{endpoint} serves bucket {bucket!r} in another region or at another address",
    "set region (or endpoint) in the {label} to that of the bucket",
)
_NOT_S3: Final = _Cause(
    Reason.STORAGE_MISCONFIGURED,
    "{endpoint} does not answer like an S3 server",
    "correct endpoint in the {label}; a console or web page of the store is another address",
)
_FORBIDDEN: Final = _Cause(
    Reason.STORAGE_MISCONFIGURED,
    "{endpoint} leads to an address of the machine or its cloud{code}, where no store is",
    "correct endpoint in the {label}",
)
_LATE: Final = _Cause(
    Reason.PENDING_DEADLINE_EXCEEDED,
    "{what} had not arrived from {endpoint} when pendingDeadlineSeconds were over",
    "raise spec.pendingDeadlineSeconds, fetch less, or have the way to the store made faster",
)
_CLOCK: Final = _Cause(
    Reason.STORAGE_DENIED,
    "{endpoint} refuses requests because its clock and the node's differ by minutes",
    "have the node's or the server's clock set",
)
_BUSY: Final = _Cause(Reason.STORAGE_UNAVAILABLE, "{endpoint} keeps failing for {what}{code}", "try again when the store works")
_CHANGED: Final = _Cause(
    Reason.DIGEST_MISMATCH, "{what} was replaced while it was fetched", "run the job again when nobody writes the object"
)
_SILENT: Final = _Cause(Reason.STORAGE_UNAVAILABLE, "{endpoint} does not answer", "check that the store runs, and endpoint in the {label}")
_NO_HOST: Final = _Cause(
    Reason.STORAGE_UNAVAILABLE, "the host name of {endpoint} is not known", "correct endpoint in the {label}, or have the name resolved"
)
_UNTRUSTED: Final = _Cause(
    Reason.STORAGE_MISCONFIGURED,
    "the certificate of {endpoint} is not accepted{code}",
    "put the CA that signed it into caCertificate of the {label}; one that has expired or names another host has to be made anew",
)
_NO_TLS: Final = _Cause(
    Reason.STORAGE_MISCONFIGURED,
    "{endpoint} does not speak TLS as it is spoken today",
    "use http:// in endpoint of the {label} if the server is meant to be plain; else have it offer TLS 1.2 or newer",
)
_BROKEN: Final = _Cause(
    Reason.STORAGE_UNAVAILABLE,
    "{endpoint} sends other bytes of {what} than were asked for",
    "a proxy or the store cuts or rewrites answers; have it repaired",
)
_CORRUPTED: Final = _Cause(
    Reason.STORAGE_UNAVAILABLE,
    "{endpoint} gets other bytes of {what} than are sent, by their checksums",
    "a proxy or the network changes what goes through it; have it repaired",
)
_LOST: Final = _Cause(
    Reason.STORAGE_UNAVAILABLE,
    "{what} is not what was uploaded, again and again",
    "the store loses or changes writes; have it repaired",
)
_SOURCE: Final = _Cause(
    Reason.PUBLISH_FAILED,
    "{what} is not uploaded: its file {code} meanwhile",
    "let nothing write an output when the script has ended",
)
_UNREADABLE: Final = _Cause(
    Reason.PUBLISH_FAILED, "{what} is not uploaded: its file cannot be read{code}", "leave outputs readable for their owner"
)
_CONDITION: Final = _Cause(
    Reason.PUBLISH_FAILED,
    "{what} is not what it was: somebody else has written or removed it",
    "let one job at a time write the object",
)
_IN_THE_WAY: Final = _Cause(
    Reason.PUBLISH_FAILED,
    "{endpoint} cannot have {what}: it has an object or a folder of that name in its way",
    "rename one of the two",
)
_FULL: Final = _Cause(Reason.WORKSPACE_FULL, "the workspace is full: {what} does not fit", "raise spec.resources.workspace, or fetch less")

_BY_CODE: Final = {
    "InvalidAccessKeyId": _DENIED_KEY,
    "XAdminUserNotFound": _DENIED_KEY,
    "SignatureDoesNotMatch": _DENIED_KEY,
    "InvalidToken": _DENIED_KEY,
    "ExpiredToken": _DENIED_KEY,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AccountProblem": _DENIED,
    "NoSuchBucket": _NO_BUCKET,
    "NoSuchKey": _NO_OBJECT,
    "NoSuchVersion": _NO_OBJECT,
    "ResourceNotFound": _NO_OBJECT,
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "Redirect": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "RequestTimeTooSkewed": _CLOCK,
    "PreconditionFailed": _CHANGED,
    "ObjectParentIsFile": _IN_THE_WAY,
    "ExistingObjectIsDirectory": _IN_THE_WAY,
}
_CORRUPT: Final = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})
"""What stores say of a body that is not what its checksum or signature says."""
_OVERTAKEN: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
"""What stores say of a condition that does not hold, or does not any more."""
_NAMED: Final = frozenset({"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted", "QuotaExceeded"})
_BY_KIND: Final[dict[type[Exception], _Cause]] = {
    ChangedError: _CHANGED,
    CorruptedError: _CORRUPTED,
    LostError: _LOST,
    RefusedError: _CONDITION,
    SourceChangedError: _SOURCE,
    UnreadableError: _UNREADABLE,
}
_BY_STATUS: Final = {**dict.fromkeys((301, 302, 303, 307, 308), _REGION), 401: _DENIED, 403: _DENIED, 404: _NO_OBJECT, 412: _CHANGED}


def translate(error: Exception, what: str, credentials: Credentials) -> PhaseError:
    """Return the failure that a request for `what` ended with; `what` names an object as the user knows it."""
    if isinstance(error, PhaseError):
        return error
    cause, code = _classify(error)
    kind = ConditionError if cause is _CONDITION else StorageError
    values = {
        "what": what,
        "endpoint": credentials.endpoint,
        "bucket": credentials.bucket,
        "label": credentials.label,
        "code": code if cause is _SOURCE else f" ({code})" if code else "",
    }
    return kind(cause.reason, cause.message.format(**values), cause.hint.format(**values))


def missing_bucket(credentials: Credentials) -> StorageError:
    """Return the failure of a bucket that does not exist."""
    values = {"endpoint": credentials.endpoint, "bucket": credentials.bucket, "label": credentials.label}
    return StorageError(_NO_BUCKET.reason, _NO_BUCKET.message.format(**values), _NO_BUCKET.hint.format(**values))


def is_missing(error: Exception) -> bool:
    """Whether the server said that there is no such object."""
    return isinstance(error, S3Error) and error.code in ("NoSuchKey", "NoSuchVersion", "ResourceNotFound")


def is_gone(error: S3Error) -> bool:
    """Whether a request that is not about an upload in parts found no object, whatever the server calls that."""
    return error.response.status == HTTPStatus.NOT_FOUND and error.code not in ("NoSuchBucket", "NoSuchUpload")


def is_condition(error: S3Error) -> bool:
    """Whether the server refused a condition of the request."""
    return error.code in _OVERTAKEN or error.response.status == HTTPStatus.PRECONDITION_FAILED


def is_corrupted(error: S3Error) -> bool:
    """Whether the server got other bytes than the request says."""
    return error.code in _CORRUPT


def _classify(error: Exception) -> tuple[_Cause, str]:
    if isinstance(error, S3Error):
        code = error.code or ""
        cause = _BY_CODE.get(code) or _BY_STATUS.get(error.response.status) or _BUSY
        return cause, code if code in _NAMED else f"HTTP {error.response.status}"
    if isinstance(error, ServerError):
        return _BY_STATUS.get(error.status_code, _BUSY), f"HTTP {error.status_code}"
    if isinstance(error, InvalidResponseError):
        # No S3 error, but what stands before a store, a proxy or an ingress, says by its status whether it is only busy.
        status = error._code  # noqa: SLF001
        return (_BUSY, f"HTTP {status}") if status in RETRIED_STATUS or status >= HTTPStatus.INTERNAL_SERVER_ERROR else (_NOT_S3, "")
    if isinstance(error, ForbiddenAddressError):
        return _FORBIDDEN, str(error)
    if isinstance(error, OutOfTimeError):
        return _LATE, ""
    if isinstance(error, OSError) and error.errno in FULL:
        return _FULL, ""
    own = _BY_KIND.get(type(error))
    if own is not None:
        return own, str(error)
    refused = _refused_certificate(error)
    return (_UNTRUSTED, refused) if refused else (_connection(error), "")


def _refused_certificate(error: BaseException | None) -> str:
    """Return what is wrong with the server's certificate, empty if that is not what the error is about."""
    for _ in range(8):
        if isinstance(error, ssl.SSLCertVerificationError):
            return str(error.verify_message or error.reason or "no reason given").rstrip(".")
        if isinstance(error, http.MaxRetryError):
            error = error.reason
        else:
            inner = error.args[0] if error is not None and error.args else None
            error = inner if isinstance(inner, BaseException) else None
    return ""


def _connection(error: Exception) -> _Cause:
    if isinstance(error, http.MaxRetryError) and error.reason is not None:
        return _connection(error.reason)
    if isinstance(error, BrokenTransferError | http.IncompleteRead):
        return _BROKEN
    if isinstance(error, http.SSLError | ssl.SSLError):
        return _NO_TLS
    if isinstance(error, http.NameResolutionError):
        return _NO_HOST
    if isinstance(error, http.ResponseError):
        return _BUSY
    if isinstance(error, MinioException | ValueError | http.LocationParseError | SyntaxError):
        return _NOT_S3
    return _SILENT
