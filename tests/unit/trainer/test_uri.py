"""The URI parser: one form each way, and never a path outside its root."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer import uri
from tftrainer.uri import Root, Uri, UriError

KEYS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/a/b.csv", Uri(Root.S3, "a/b.csv", "bucket")),
        ("s3://my.bucket-1/folder/", Uri(Root.S3, "folder/", "my.bucket-1")),
        ("${bucket}/a", Uri(Root.BUCKET, "a")),
        ("${cos}/a b/ü.txt", Uri(Root.BUCKET, "a b/ü.txt")),
        ("${datasets}/x/", Uri(Root.DATASETS, "x/")),
        ("${ai_dataset_lib}/demo/100%_done.csv", Uri(Root.DATASETS, "demo/100%_done.csv")),
    ],
)
def test_each_form_is_understood(text: str, expected: Uri) -> None:
    assert uri.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a/b",
        "/a",
        "file:///etc/passwd",
        "S3://bucket/a",
        "s3://bucket",
        "s3://bucket/",
        "s3:///a",
        "${bucket}",
        "${bucket}/",
        "${bucket}a",
        "${other}/a",
        "${bucket}//a",
        "${bucket}/a//b",
        "${bucket}/a//",
        "${bucket}/../a",
        "${bucket}/a/..",
        "${bucket}/a/../",
        "${bucket}/./a",
        "${bucket}/%2e%2e/a",
        "${bucket}/a%252fb",
        "${bucket}/a#b",
        "${bucket}/a?versionId=1",
        "${bucket}/a\\b",
        "${bucket}/a\nb",
        "${bucket}/a\x00",
        "${bucket}/a\x9b",
        "${bucket}/\ud800",
        "${bucket}/" + "ä" * 120 + "/" + "a/" * 400,
        "${bucket}/" + "a" * 256,
        "s3://a.b/../c/x",
        "s3://Bucket/x",
        "s3://127.0.0.1/x",
        "s3://ab/x",
        "s3://-ab/x",
        "s3://a..b/x",
        "s3://" + "a" * 64 + "/x",
    ],
)
def test_everything_else_is_refused_with_the_value_named(text: str) -> None:
    with pytest.raises(UriError) as caught:
        uri.parse(text)
    assert str(caught.value).isprintable()


def test_a_key_of_1024_bytes_passes_and_one_of_1025_does_not() -> None:
    names = "/".join(["a" * 255] * 4)
    assert len(names) == 1023
    assert uri.parse("${bucket}/" + names + "/").key
    with pytest.raises(UriError, match="1025 bytes"):
        uri.parse("${bucket}/" + names + "/b")


@given(root=st.sampled_from(["s3://bucket", "${bucket}", "${datasets}", "${cos}", "${ai_dataset_lib}"]), key=KEYS)
def test_a_uri_that_parses_is_the_same_after_writing_and_reading_it(root: str, key: str) -> None:
    try:
        parsed = uri.parse(f"{root}/{key}")
    except UriError:
        return
    assert uri.parse(uri.format_uri(parsed)) == parsed


@given(key=st.text(max_size=60) | st.lists(st.sampled_from(["..", ".", "", "a", "/", "\\", "~"]), max_size=6).map("/".join))
def test_the_path_of_a_key_never_leaves_its_root(key: str) -> None:
    root = Path("/workspace/bucket")
    try:
        path = uri.local_path(root, key)
    except UriError:
        return
    assert path.is_relative_to(root)
    assert path != root
    assert ".." not in path.parts
