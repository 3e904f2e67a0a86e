"""Whether a file is whole by its form: what libraries that write in place leave half written for seconds shows it.

A zip archive (`.keras`, `.npz`, what PyTorch saves) ends with a record that says where its directory lies; HDF5 (`.h5`) says at its
beginning where it ends; a JSON object closes. Of any other file nobody can tell.
"""

from __future__ import annotations

import enum
import os
import struct
from pathlib import Path
from typing import Final

import msgspec

from tftrainer.outputs.tree import open_file

JSON_LIMIT: Final = 1024**2
"""Bytes of a JSON file that is read to see whether it closes; the counters beside a checkpoint take some dozen."""
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_ENTRY: Final = b"PK\x01\x02"
_END: Final = struct.Struct("<4s4H2LH")
_END_MARK: Final = b"PK\x05\x06"
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_END64_MARK: Final = b"PK\x06\x06"
_LOCATOR: Final = struct.Struct("<4sLQL")
_LOCATOR_MARK: Final = b"PK\x06\x07"
_COMMENT_LIMIT: Final = 65_535
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_HDF5_SIZES: Final = (2, 4, 8)
_HEAD: Final = 512
_ENDINGS: Final = (".keras", ".npz", ".zip", ".h5", ".hdf5")
"""What a file of that name is once it is whole: an empty one, or one that begins with zeros, is none yet."""


class Form(enum.Enum):
    """What the form of a file says of it."""

    WHOLE = enum.auto()
    TORN = enum.auto()
    UNKNOWN = enum.auto()


def form(descriptor: int, name: str) -> Form:
    """Return what the form of an open file says, at the size that it has now. A file that cannot be read says nothing.

    `name` counts only where a file has no content yet.
    """
    try:
        return _form(descriptor, name)
    except OSError:
        return Form.UNKNOWN


def form_of(path: Path) -> Form:
    """Return what the form of a file says; see `form`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return form(descriptor, path.name)
    finally:
        os.close(descriptor)


def form_below(root: Path, path: str) -> Form:
    """Return what the form of a file below a folder says that a script writes to; no link on the way is followed."""
    try:
        descriptor = open_file(root, path)
    except OSError:
        return Form.UNKNOWN
    try:
        return form(descriptor, path)
    finally:
        os.close(descriptor)


def _form(descriptor: int, name: str) -> Form:
    size = os.fstat(descriptor).st_size
    head = os.pread(descriptor, _HEAD, 0)
    if head.startswith(_ZIP):
        return _either(_zip_closes(descriptor, size))
    if head.startswith(_HDF5):
        return _either(_hdf5_end(head) == size)
    if name.endswith(_ENDINGS) and not head[: len(_HDF5)].strip(b"\0"):
        return Form.TORN
    if name.endswith(".json") and size <= JSON_LIMIT:
        return _json(os.pread(descriptor, JSON_LIMIT, 0))
    return Form.UNKNOWN


def _either(whole: bool) -> Form:
    return Form.WHOLE if whole else Form.TORN


def _zip_closes(descriptor: int, size: int) -> bool:
    """Whether the end record is the last of the archive and the directory ends where the record begins."""
    start = max(0, size - _END.size - _COMMENT_LIMIT)
    tail = os.pread(descriptor, size - start, start)
    at = len(tail)
    while (at := tail.rfind(_END_MARK, 0, at)) >= 0:
        if at + _END.size > len(tail):
            continue
        _, _, _, _, entries, length, offset, comment = _END.unpack_from(tail, at)
        if at + _END.size + comment != len(tail):
            continue
        end = start + at
        if entries == 0xFFFF or 0xFFFFFFFF in (length, offset):
            located = _zip64(descriptor, end)
            if located is None:
                continue
            end, entries, length, offset = located
        if offset + length == end and (not entries or os.pread(descriptor, len(_ENTRY), offset) == _ENTRY):
            return True
    return False


def _zip64(descriptor: int, end: int) -> tuple[int, int, int, int] | None:
    """Return where the directory ends, how many entries it has, how long it is and where it begins, of an archive of more than 4 GiB."""
    data = os.pread(descriptor, _LOCATOR.size, max(0, end - _LOCATOR.size))
    if len(data) < _LOCATOR.size or not data.startswith(_LOCATOR_MARK):
        return None
    _, _, at, _ = _LOCATOR.unpack(data)
    record = os.pread(descriptor, _END64.size, at) if at < end else b""
    if len(record) < _END64.size or not record.startswith(_END64_MARK):
        return None
    *_, entries, length, offset = _END64.unpack(record)
    return at, entries, length, offset


def _hdf5_end(head: bytes) -> int | None:
    """Return where the file ends by its superblock, None if that makes no sense, or says that the file is being written."""
    version = head[8] if len(head) > 8 else -1
    if version in (0, 1):
        width, at = (head[13] if len(head) > 13 else 0), 24 + 4 * version
    elif version in (2, 3):
        width, at = (head[9] if len(head) > 9 else 0), 12
        if version == 3 and head[11:12] != b"\0":
            return None
    else:
        return None
    if width not in _HDF5_SIZES or len(head) < at + 3 * width:
        return None
    return int.from_bytes(head[at + 2 * width : at + 3 * width], "little")


def _json(data: bytes) -> Form:
    """Return what JSON says of itself: a number that was cut is one still, only an object or a list that closes is known to be whole."""
    if not data.strip():
        return Form.TORN
    if data.lstrip()[:1] not in b"{[":
        return Form.UNKNOWN
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return Form.TORN
    return Form.WHOLE
