"""The one parser for what names an object: `s3://bucket/key`, `${bucket}/key`, `${datasets}/key` and their older names.

A key that passes here is safe as a local path: no segment is empty, `.` or `..`, and none is too long for a file name.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KEY_LIMIT: Final = 1024
"""Bytes of a key that S3 allows."""
SEGMENT_LIMIT: Final = 255
"""Bytes of a file name that Linux allows."""

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ENCODING: Final = re.compile(r"%[0-9a-fA-F]{2}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Root(enum.StrEnum):
    """What a key is below."""

    S3 = "s3"
    BUCKET = "bucket"
    DATASETS = "datasets"


ROOT_NAMES: Final = {"bucket": Root.BUCKET, "cos": Root.BUCKET, "datasets": Root.DATASETS, "ai_dataset_lib": Root.DATASETS}
"""Placeholders that stand for a bucket: the neutral name and its older twin."""


class UriError(ValueError):
    """Not a URI of an object. Its text is a sentence with the value and what was expected."""


@dataclass(frozen=True, slots=True)
class Uri:
    """An object, or a folder when `key` ends with `/`, or all of a bucket when it is empty.

    `bucket` is set if and only if `root` is `Root.S3`.
    """

    root: Root
    key: str
    bucket: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether all objects below the key are meant."""
        return not self.key or self.key.endswith("/")

    @property
    def name(self) -> str:
        """Last segment of the key."""
        return self.key.rstrip("/").rpartition("/")[2]


def parse(text: str, *, whole: bool = False) -> Uri:
    """Read a URI; with `whole` also one that names all of a bucket, such as `s3://bucket/`.

    Raises:
        UriError: it is of another form, or its bucket or key breaks a rule.
    """
    if text.startswith("s3://"):
        bucket, separator, key = text.removeprefix("s3://").partition("/")
        check_bucket(bucket)
        uri = Uri(Root.S3, key, bucket)
    else:
        head, separator, key = text.partition("/")
        root = ROOT_NAMES.get(head[2:-1]) if head.startswith("${") and head.endswith("}") else None
        if root is None:
            raise UriError(f"{text!r} is not a URI: expected s3://bucket/key, ${{bucket}}/key or ${{datasets}}/key")
        uri = Uri(root, key)
    if not separator or not (key or whole):
        raise UriError(f"{text!r} names no object: expected a key after the bucket{', or a / for all that is in it' if whole else ''}")
    if key:
        check_key(key)
    return uri


def format_uri(uri: Uri) -> str:
    """Return the URI in its canonical form: `parse(format_uri(uri)) == uri`."""
    if uri.root is Root.S3:
        return f"s3://{uri.bucket}/{uri.key}"
    return f"${{{uri.root}}}/{uri.key}"


def check_bucket(bucket: str) -> None:
    """Check a bucket's name by the rules of S3.

    Raises:
        UriError: it breaks one.
    """
    if not _BUCKET.fullmatch(bucket) or ".." in bucket or _is_address(bucket):
        raise UriError(f"{bucket!r} is not the name of a bucket: expected 3 to 63 lower-case letters, digits, dots and hyphens")


def check_key(key: str) -> None:
    """Check the key of an object, or of a folder when it ends with `/`.

    Raises:
        UriError: it breaks a rule; the text names the key and the rule.
    """
    for mark in ("\\", "#", "?"):
        if mark in key:
            raise UriError(f"key {key!r} holds {mark!r}, which is not allowed")
    if _ENCODING.search(key):
        raise UriError(f"key {key!r} holds a %-encoding: write the character itself")
    segments(key)


def segments(key: str) -> tuple[str, ...]:
    """Split a key into names that are safe in a local path. One `/` at the end is allowed.

    Raises:
        UriError: a name is empty, `.`, `..` or too long, holds a control character, or the key is too long or not UTF-8.
    """
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise UriError(f"key {key!r} is not UTF-8") from None
    if length > KEY_LIMIT:
        raise UriError(f"key {key[:80]!r}… takes {length} bytes, at most {KEY_LIMIT} are possible")
    if _CONTROL.search(key):
        raise UriError(f"key {key!r} holds a control character")
    names = tuple(key.removesuffix("/").split("/"))
    for name in names:
        if name in ("", ".", ".."):
            raise UriError(f"key {key!r} holds the segment {name!r}: expected names between single slashes")
        if len(name.encode()) > SEGMENT_LIMIT:
            raise UriError(f"key {key[:80]!r}… holds a name over {SEGMENT_LIMIT} bytes, which no file can have")
    return names


def local_path(root: Path, key: str) -> Path:
    """Return where the key lies below `root`; never outside of it.

    Raises:
        UriError: as `segments`.
    """
    return root.joinpath(*segments(key))


def is_within(key: str, folder: str) -> bool:
    """Whether the key is the folder, or that of something in it."""
    return f"{key.removesuffix('/')}/".startswith(f"{folder.removesuffix('/')}/")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
