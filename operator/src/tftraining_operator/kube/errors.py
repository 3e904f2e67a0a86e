"""What the API server can refuse, as far as anybody acts on it differently."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

_LONGEST_WAIT_SECONDS = 300.0
"""The longest that a server's wish to be left alone is granted."""


class ApiError(Exception):
    """A request failed. `status` is the HTTP code, 0 without an answer; `retry_after` is what the server asked for, in seconds."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status or 'no answer'} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class NotFoundError(ApiError):
    """The object, or its kind, is not there."""


class AlreadyExistsError(ApiError):
    """An object of that name is there already."""


class ConflictError(ApiError):
    """The object is not what the request took it for: another uid, or another version."""


class RefusedError(ApiError):
    """The server will not have it: no right, a quota, an admission rule, or an invalid object. Asking again alone does not help."""


class UnavailableError(ApiError):
    """The server cannot answer now: overloaded, starting, or out of reach."""


def error_of(status: int, body: Mapping[str, Any], retry_after: str | None) -> ApiError:
    """Return the error for a failed answer; `body` is the server's Status object, or empty."""
    reason, message = str(body.get("reason") or ""), str(body.get("message") or "")[:1000]
    return _class_of(status, reason)(status, reason, message, _seconds(retry_after))


def _seconds(retry_after: str | None) -> float | None:
    try:
        wait = float(retry_after or "")
    except ValueError:
        return None
    return min(wait, _LONGEST_WAIT_SECONDS) if math.isfinite(wait) and wait > 0 else None


def _class_of(status: int, reason: str) -> type[ApiError]:
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError
    if status == HTTPStatus.CONFLICT:
        return AlreadyExistsError if reason == "AlreadyExists" else ConflictError
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError
    if status in {HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.BAD_REQUEST}:
        return RefusedError
    return ApiError
