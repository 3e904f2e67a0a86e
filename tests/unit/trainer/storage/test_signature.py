"""Signatures are those of the published examples of their specification."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tftrainer.storage.requests import NOTHING
from tftrainer.storage.signature import Signer, encoded, query_string

SIGNER = Signer("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
HOST = "examplebucket.s3.amazonaws.com"
AT = datetime(2013, 5, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ({"lifecycle": ""}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ({"prefix": "J", "max-keys": "2"}, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_a_request_is_signed_as_the_specification_has_it(query: dict[str, str], signature: str) -> None:
    headers = SIGNER.signed("GET", HOST, "/", query_string(query), {}, NOTHING, AT)
    assert headers["Authorization"].endswith(f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}")


def test_on_the_next_day_another_key_signs() -> None:
    def authorization(at: datetime) -> str:
        return SIGNER.signed("GET", HOST, "/", "", {}, NOTHING, at)["Authorization"]

    first, second = authorization(AT), authorization(datetime(2013, 5, 25, tzinfo=UTC))
    assert "/20130524/us-east-1/s3/aws4_request" in first
    assert "/20130525/us-east-1/s3/aws4_request" in second
    assert authorization(AT) == first


def test_a_checksum_is_signed_and_a_condition_is_not() -> None:
    headers = SIGNER.signed("PUT", HOST, "/a", "", {"x-amz-checksum-crc32": "AAAAAA==", "If-None-Match": "*"}, NOTHING, AT)
    assert "SignedHeaders=host;x-amz-checksum-crc32;x-amz-content-sha256;x-amz-date," in headers["Authorization"]
    assert headers["If-None-Match"] == "*"


def test_a_path_keeps_its_slashes_and_nothing_else_that_has_a_meaning() -> None:
    assert encoded("a b+é/~%20?#") == "a%20b%2B%C3%A9/~%2520%3F%23"
    assert query_string({"uploadId": "a/b=", "partNumber": "1"}) == "partNumber=1&uploadId=a%2Fb%3D"
