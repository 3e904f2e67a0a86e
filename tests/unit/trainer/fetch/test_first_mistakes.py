"""What a new user is told first: all keys of a Secret at once, the object that was meant, all findings in one message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tftrainer.fetch import neighbours
from tftrainer.fetch.buckets import Buckets
from tftrainer.fetch.look_ups import look_ups
from tftrainer.fetch.neighbours import NEIGHBOURS_LIMIT, is_slip, neighbour
from tftrainer.fetch.selection import Selection
from tftrainer.fetch.wanted import Wanted, file_field
from tftrainer.layout import Layout
from tftrainer.messages.contract import Input, Plan, Reason, Reference, Script
from tftrainer.phase_error import TOLD_LIMIT, FindingsError, PhaseError
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.folder import FolderStore
from tftrainer.storage.store import ObjectInfo, Store

PLAN = Plan(namespace="n", job="j", uid="u", runtime="tf2", script=Script(name="train.py", uri="${bucket}/code/train.py"))


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    (tmp_path / "bucket").mkdir()
    store = FolderStore(tmp_path / "bucket", "models")
    for key in ("code/train.py", "code/lib/layers.py", "data/Train.csv", "data/images/1.png", "readme.txt"):
        store.write(key, b"x")
    return store


def refused(plan: Plan, store: FolderStore, tmp_path: Path) -> PhaseError:
    found = look_ups(plan, Layout(tmp_path), Buckets(store, None))
    with pytest.raises(PhaseError) as caught:
        [look_up() for look_up in found]
    assert caught.value.failure.reason is Reason.OBJECT_NOT_FOUND
    return caught.value


@pytest.mark.parametrize(
    ("missing", "meant"),
    [
        ("data/train.csv", "data/Train.csv"),
        ("data/Trian.csv", "data/Train.csv"),
        ("notes.md", None),
        ("REAMDE.txt", "readme.txt"),
        ("data/image/", "data/images/"),
        ("data/images", "data/images/"),
        ("data/Train.csv/", "data/Train.csv"),
        ("data/train", "data/Train.csv"),
        ("data/image/1.png", "data/images/1.png"),
        ("dta/image/2.png", "data/"),
        ("nowhere/1.png", None),
    ],
)
def test_a_key_that_is_almost_one_is_answered_with_the_one_beside_it(
    missing: str, meant: str | None, store: FolderStore, tmp_path: Path
) -> None:
    plan = msgspec.structs.replace(PLAN, inputs=(Input(name="data", uri=f"${{bucket}}/{missing}"),))
    hint = refused(plan, store, tmp_path).failure.hint
    assert hint.startswith(f"did you mean {store.uri(meant)}?" if meant else "check the key")


def test_a_script_or_archive_is_never_said_to_be_a_folder(store: FolderStore, tmp_path: Path) -> None:
    script = msgspec.structs.replace(PLAN, script=Script(name="t.py", uri="${bucket}/code/other"))
    archive = msgspec.structs.replace(PLAN, archive=Reference(uri="${bucket}/code/other"))
    files = msgspec.structs.replace(PLAN, files=(Reference(uri="${bucket}/code/other"),))
    assert ["folder" in refused(plan, store, tmp_path).failure.hint for plan in (script, archive, files)] == [False, False, True]


@pytest.mark.parametrize(
    ("key", "other", "slip"),
    [
        ("x/row.csv", "x/rows.csv", True),
        ("x/Rows.csv", "x/rows.csv", True),
        ("train/", "training/", True),
        ("rows.csv/", "rows.csv", True),
        ("model-2.h5", "model-1.h5", False),
        ("runs/2024/model.h5", "runs/2023/", False),
        ("RUN-1", "run-1", True),
    ],
)
def test_names_that_differ_in_numbers_alone_are_no_slip(key: str, other: str, slip: bool) -> None:
    assert is_slip(key, other) is slip


def test_nothing_above_the_prefix_of_the_secret_is_looked_at(tmp_path: Path) -> None:
    looked: list[str] = []

    class Watched(FolderStore):
        def list(self, prefix: str) -> Iterator[ObjectInfo]:
            looked.append(prefix)
            return super().list(prefix)

    (tmp_path / "bucket").mkdir()
    store = Watched(tmp_path / "bucket", "models")
    store.credentials = replace(store.credentials, prefix="team/a/")
    assert neighbour(store, "team/a/x/y.csv") is None
    assert looked == ["team/a/x/", "team/a/"]


def test_in_a_folder_of_very_many_objects_those_that_begin_alike_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "NEIGHBOURS_LIMIT", 3)
    (tmp_path / "bucket").mkdir()
    store = FolderStore(tmp_path / "bucket", "models")
    for key in ("in/a1", "in/a2", "in/a3", "in/a4", "in/rows.csv"):
        store.write(key, b"x")
    assert neighbour(store, "in/row.csv") == "in/rows.csv"


class Refusing(FolderStore):
    """A store whose credentials may read and not list: a folder cannot show that."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        raise PhaseError(Reason.STORAGE_DENIED, "not allowed to list")


def test_who_may_not_list_is_still_told_what_is_missing(store: FolderStore, tmp_path: Path) -> None:
    plan = msgspec.structs.replace(PLAN, script=Script(name="t.py", uri="${bucket}/code/trian.py"))
    assert refused(plan, Refusing(tmp_path / "bucket", "models"), tmp_path).failure.hint == "check the key (capitals count)"


class Endless(FolderStore):
    """A bucket without end."""

    listed = 0

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for number in range(10**6):
            self.listed += 1
            yield ObjectInfo(f"{prefix}{number}", 1, "e")


def test_no_more_is_listed_than_two_requests_bring(store: FolderStore, tmp_path: Path) -> None:
    endless = Endless(tmp_path / "bucket", "models")
    refused(msgspec.structs.replace(PLAN, script=Script(name="t.py", uri="${bucket}/code/x.py")), endless, tmp_path)
    assert endless.listed == 2 * NEIGHBOURS_LIMIT


def test_objects_of_one_name_on_two_servers_are_not_the_same_object() -> None:
    stores = [Store(Credentials(label="Secret", secure=False, host=host, bucket="models")) for host in ("one:9000", "two:9000")]
    one, other = (Wanted(store, ObjectInfo("conf.json", 1, "e"), Path("conf.json"), "files", "f") for store in stores)
    assert not one.is_same_object(other)
    wanted = [
        Wanted(store, ObjectInfo("conf.json", 1 + index, "e"), Path("conf.json"), "files", file_field(index))
        for index, store in enumerate(stores)
    ]
    with pytest.raises(PhaseError) as caught:
        Selection([tuple(wanted)])
    assert caught.value.failure.reason is Reason.INPUT_CONFLICT


def test_all_keys_that_a_secret_lacks_are_named_at_once() -> None:
    with pytest.raises(PhaseError) as caught:
        Credentials.read({"P_ENDPOINT": "http://s3"}, "P_", "Secret tftraining-storage")
    failure = caught.value.failure
    assert failure.message == "keys bucket, accessKey and secretKey of the Secret tftraining-storage are empty, expected a value for each"
    assert failure.hint == "set bucket, accessKey and secretKey in the Secret"


def test_short_findings_are_told_in_one_message_and_long_ones_are_counted() -> None:
    found = [PhaseError(Reason.OBJECT_NOT_FOUND, text) for text in ("one", "two", "three")]
    assert FindingsError(found).failure.message == "one; also: two; three"
    long = [*found, PhaseError(Reason.OBJECT_NOT_FOUND, "x" * TOLD_LIMIT)]
    assert FindingsError(long).failure.message == "one (and 3 more, see the log of container fetch)"
