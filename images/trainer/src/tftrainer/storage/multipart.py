"""What is said about an upload in parts, and what a store answers."""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MD5: Final = re.compile(r"[0-9a-f]{32}")
_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True, slots=True)
class Part:
    """One part that the store has. `crc32c` is its checksum as headers have it."""

    number: int
    etag: str
    crc32c: str


def completion(parts: Sequence[Part]) -> bytes:
    """Return the body of the request that makes an object of the parts."""
    root = ET.Element("CompleteMultipartUpload", xmlns=_NAMESPACE)
    for part in parts:
        element = ET.SubElement(root, "Part")
        for name, value in (("ChecksumCRC32C", part.crc32c), ("ETag", f'"{part.etag}"'), ("PartNumber", str(part.number))):
            ET.SubElement(element, name).text = value
    return ET.tostring(root)


def expected_etag(parts: Sequence[Part]) -> str:
    """Return the ETag that the object of these parts has; empty where a store makes ETags in a way of its own."""
    if not all(_MD5.fullmatch(part.etag) for part in parts):
        return ""
    digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(parts)}"


def begun(answer: bytes) -> str:
    """Return the name of the upload that a store has begun.

    Raises:
        ValueError: the answer has none.
    """
    found = _element(answer, "UploadId")
    if not found:
        raise ValueError("an upload without a name")
    return found


def completed_etag(answer: bytes) -> str:
    """Return the ETag of an object that a store has put together; empty if the answer tells of an error, or of nothing."""
    try:
        return "" if _element(answer, "Code") else _element(answer, "ETag").strip('"')
    except SyntaxError:
        return ""


def _element(answer: bytes, name: str) -> str:
    root = ET.fromstring(answer)  # noqa: S314  of the store that has the credentials, and of some kilobytes
    return next((each.text or "" for each in root.iter() if each.tag.rpartition("}")[2] == name), "").strip()
