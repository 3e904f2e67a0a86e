"""What the API server refuses, told apart as far as anybody acts on it differently."""

from __future__ import annotations

import pytest
from tftraining_operator.kube.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    error_of,
)


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (404, "NotFound", NotFoundError),
        (409, "AlreadyExists", AlreadyExistsError),
        (409, "Conflict", ConflictError),
        (403, "Forbidden", RefusedError),
        (422, "Invalid", RefusedError),
        (400, "BadRequest", RefusedError),
        (429, "TooManyRequests", UnavailableError),
        (500, "InternalError", UnavailableError),
        (504, "Timeout", UnavailableError),
        (410, "Expired", ApiError),
        (401, "Unauthorized", ApiError),
    ],
)
def test_an_answer_becomes_the_error_that_tells_what_to_do(status: int, reason: str, kind: type[ApiError]) -> None:
    assert type(error_of(status, {"reason": reason, "message": "m"}, None)) is kind


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("1", 1.0), ("0.5", 0.5), ("99999", 300.0), ("-3", None), ("nan", None), ("inf", None), ("Mon, 01 Jan 2029 00:00:00 GMT", None)],
)
def test_a_wish_to_be_left_alone_is_granted_within_reason(header: str, seconds: float | None) -> None:
    assert error_of(429, {}, header).retry_after == seconds
