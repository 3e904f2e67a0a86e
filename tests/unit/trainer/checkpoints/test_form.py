"""Which files are whole by their form, and which are torn."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.checkpoints import form as forms
from tftrainer.checkpoints.form import Form, form_of


def zipped(comment: bytes = b"", count: int = 3) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.comment = comment
        for number in range(count):
            archive.writestr(f"layers/{number}.npy", bytes([number]) * 500)
    return data.getvalue()


def zipped_of_more_than_its_old_fields_hold() -> bytes:
    """Return an archive whose end record leaves all to that of 64 bits, as of more than 65,535 entries or 4 GiB."""
    data = zipped()
    at = data.rindex(b"PK\x05\x06")
    entries, length, offset = (
        int.from_bytes(data[at + 10 : at + 12], "little"),
        int.from_bytes(data[at + 12 : at + 16], "little"),
        int.from_bytes(data[at + 16 : at + 20], "little"),
    )
    record = b"PK\x06\x06" + (44).to_bytes(8, "little") + bytes(2 * 2 + 2 * 4)
    record += b"".join(each.to_bytes(8, "little") for each in (entries, entries, length, offset))
    locator = b"PK\x06\x07" + bytes(4) + at.to_bytes(8, "little") + (1).to_bytes(4, "little")
    return data[:at] + record + locator + b"PK\x05\x06" + bytes(4) + b"\xff" * 12 + bytes(2)


def hdf5(size: int, *, end: int | None = None, version: int = 0, width: int = 8, flags: int = 0) -> bytes:
    """Return bytes with the superblock that HDF5 writes at a file's beginning: the addresses of its base, of nothing, and of its end."""
    addresses = bytes(width) + b"\xff" * width + (size if end is None else end).to_bytes(width, "little")
    head = b"\x89HDF\r\n\x1a\n" + bytes([version])
    if version < 2:
        head += bytes(4) + bytes([width, 8]) + bytes(9 + 4 * version)
    else:
        head += bytes([width, 8, flags])
    return (head + addresses).ljust(size, b"d")


ALL = {
    "keras": ("model.keras", zipped()),
    "npz": ("weights.npz", zipped(b"a comment with PK\x05\x06 in it")),
    "zip of 64 bits": ("large.pt", zipped_of_more_than_its_old_fields_hold()),
    "empty zip": ("none.zip", zipped(count=0)),
    "HDF5": ("latest.weights.h5", hdf5(900)),
    "HDF5 version 1": ("latest.weights.h5", hdf5(900, version=1)),
    "HDF5 version 2": ("latest.weights.h5", hdf5(900, version=2)),
    "HDF5 version 3": ("any.name", hdf5(900, version=3)),
    "HDF5 of 32 bits": ("latest.weights.h5", hdf5(900, width=4)),
    "JSON": ("training_metadata.json", json.dumps({"epoch": 2, "batch": 0}).encode()),
    "JSON in lines": ("log.json", b'[\n {"epoch": 1}\n]\n'),
}


@pytest.mark.parametrize("kind", ALL)
def test_a_file_is_whole_at_its_end_and_torn_at_every_byte_before(tmp_path: Path, kind: str) -> None:
    name, data = ALL[kind]
    path = tmp_path / name
    path.write_bytes(data)
    assert form_of(path) is Form.WHOLE
    for length in range(8, len(data.rstrip())):
        path.write_bytes(data[:length])
        assert form_of(path) is Form.TORN, length
    path.write_bytes(data + b"more")
    assert form_of(path) is Form.TORN


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("latest.weights.h5", b"", Form.TORN),
        ("model.keras", bytes(2095), Form.TORN),
        ("training_metadata.json", b"", Form.TORN),
        ("open.h5", hdf5(900, version=3, flags=1), Form.TORN),
        ("growing.h5", hdf5(900, end=2048), Form.TORN),
        ("later.h5", hdf5(900, version=9), Form.TORN),
        ("notes.txt", b"", Form.UNKNOWN),
        ("step", b"4", Form.UNKNOWN),
        ("step.json", b"4", Form.UNKNOWN),
        ("history.csv", b"epoch,loss\n1,0.5\n", Form.UNKNOWN),
        ("other.h5", b"no HDF5 at all", Form.UNKNOWN),
        ("state.pkl", b"\x80\x04\x95\x00.", Form.UNKNOWN),
        ("large.json", b"[" + b" " * forms.JSON_LIMIT, Form.UNKNOWN),
    ],
)
def test_of_other_files_nothing_is_claimed(tmp_path: Path, name: str, data: bytes, expected: Form) -> None:
    (tmp_path / name).write_bytes(data)
    assert form_of(tmp_path / name) is expected


@given(head=st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x89HDF\r\n\x1a\n"]), data=st.binary(max_size=600))
def test_no_file_is_a_surprise(tmp_path_factory: pytest.TempPathFactory, head: bytes, data: bytes) -> None:
    path = tmp_path_factory.mktemp("form") / "file.h5"
    path.write_bytes(head + data)
    assert form_of(path) in Form
