"""What S3 servers make of names, folders and listings differs: docs/reference/stores.md. What a job finds and leaves does not."""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from minio.error import S3Error
from tftrainer.fetch.wanted import SCRIPT_FIELD, file_field, input_field
from tftrainer.messages import contract
from tftrainer.messages.contract import Input, Output, Plan, Reason, Reference, Script
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.store import Store

from tests.integration.trainer.launched import Trainer, fetched, with_script
from tests.integration.trainer.pods import ACCESS_KEY, IN_PARTS, SECRET_KEY, Pod, StoreServer

pytestmark = pytest.mark.every_store

LARGE = os.urandom(9 * 1024**2)
MIXED = ("k!0", "k-x", "k.1/0", "k/0", "k0", "m", "m.txt")
"""In the order of their bytes. A server that walks folders gives `k/0` first."""


def store_of(pod: Pod) -> Store:
    host = pod.server.endpoint.removeprefix("http://")
    return Store(Credentials(label="test", secure=False, host=host, bucket=pod.bucket, access_key=ACCESS_KEY, secret_key=SECRET_KEY))


def takes_both(server: StoreServer, bucket: str, first: str, second: str) -> bool:
    """Put two objects of which one is the other's folder; whether the server has both, else the first has stayed."""
    server.put(bucket, first, first)
    with contextlib.suppress(S3Error):
        server.put(bucket, second, second)
        return True
    assert server.keys(bucket, first.partition("/")[0]) == [first]
    return False


def files(folder: Path) -> dict[str, str]:
    return {str(each.relative_to(folder)): each.read_text() for each in folder.rglob("*") if each.is_file()}


def later(pod: Pod, root: Path) -> Pod:
    """Return another pod of the same bucket."""
    found = Pod(root, pod.server, pod.bucket, "")
    found.prefix = pod.prefix
    return found


def test_more_objects_than_a_page_holds_are_all_listed_once_in_whatever_order(pod: Pod) -> None:
    keys = [f"{folder}{number:04d}" for folder in ("k/", "k!", "k-", "k.1/", "k/deep/er/") for number in range(450)]
    for key in keys:
        pod.server.client.put_object(pod.bucket, key, io.BytesIO(), 0)
    assert Counter(each.key for each in store_of(pod).list("k")) == Counter(keys)
    assert Counter(each.key for each in store_of(pod).list("k/")) == Counter(key for key in keys if key.startswith("k/"))


def test_what_is_found_of_a_folder_does_not_depend_on_the_order_of_the_listing(pod: Pod, plan: Plan) -> None:
    for key in MIXED:
        pod.put(f"data/{key}", key)
    fetched(pod, msgspec.structs.replace(plan, inputs=(Input(name="all", uri="${bucket}/data/"),), args=("${bucket}/data/k*",)))
    assert files(pod.workspace / "inputs/all") == {key: key for key in MIXED}
    assert files(pod.local_bucket / "data") == {key: key for key in MIXED if key.startswith("k")}


@pytest.mark.parametrize("pair", [("data/x", "data/x/y"), ("data/x/y", "data/x")])
def test_an_object_that_is_the_folder_of_another_is_a_conflict_with_both_names(pod: Pod, plan: Plan, pair: tuple[str, str]) -> None:
    with_script(pod)
    if not takes_both(pod.server, pod.bucket, *pair):
        return
    for changed in (
        msgspec.structs.replace(plan, inputs=(Input(name="all", uri="${bucket}/data/"),)),
        msgspec.structs.replace(plan, args=("${bucket}/data",)),
        msgspec.structs.replace(plan, args=("${bucket}/data/x",)),
    ):
        ended, report = pod.fetch(changed)
        assert report.failure is not None, ended.output
        assert report.failure.reason is Reason.INPUT_CONFLICT
        assert f"object s3://{pod.bucket}/data/x and the folder of s3://{pod.bucket}/data/x/y would have the same path" in ended.output


def test_a_folder_is_never_taken_for_an_object(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    pod.put("data/x", "rows")
    ended, report = pod.fetch(
        msgspec.structs.replace(
            plan,
            script=Script(name="train.py", uri="${bucket}/code"),
            files=(Reference(uri="${bucket}/data"),),
            inputs=(Input(name="all", uri="${bucket}/data"),),
        )
    )
    assert report.failure is not None, ended.output
    assert report.failure.reason is Reason.OBJECT_NOT_FOUND
    for key, field in (("code", SCRIPT_FIELD), ("data", file_field(0)), ("data", input_field("all"))):
        assert f"object s3://{pod.bucket}/{key} does not exist (named by {field})" in ended.output
    fetched(pod, msgspec.structs.replace(plan, args=("${bucket}/data",)))
    assert files(pod.local_bucket / "data") == {"x": "rows"}


@pytest.mark.parametrize("left", ["a marker", "what a removed object leaves"])
def test_a_folder_in_which_there_is_no_object_is_empty(pod: Pod, plan: Plan, left: str) -> None:
    with_script(pod)
    key = "data/" if left == "a marker" else "data/deep/x"
    pod.put(key, "")
    if left != "a marker":
        pod.server.client.remove_object(pod.bucket, key)
    ended, report = pod.fetch(msgspec.structs.replace(plan, inputs=(Input(name="all", uri="${bucket}/data/"),)))
    assert report.failure is not None, ended.output
    assert report.failure.reason is Reason.OBJECT_NOT_FOUND
    assert f"folder s3://{pod.bucket}/data/ is empty or does not exist" in report.failure.message
    fetched(pod, msgspec.structs.replace(plan, args=("${bucket}/data", "${bucket}/made/")))
    assert not (pod.local_bucket / "data").exists()


@pytest.mark.parametrize(("first", "second", "code"), [("m/1/w.bin", "m", ""), ("m", "m/1/w.bin", ""), ("m", "m/1/w.bin", IN_PARTS)])
def test_an_output_with_an_object_or_a_folder_of_its_name_in_its_way_fails_alone_and_at_once(
    pod: Pod, plan: Plan, first: str, second: str, code: str
) -> None:
    pod.put(first, "of before")
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write(second, LARGE)
    trainer.write("other", "mine")
    trainer.end()
    ended, report = pod.publish(plan, code)
    assert (pod.server.get(pod.bucket, first), pod.server.get(pod.bucket, "other")) == (b"of before", b"mine")
    if report.failure is None:
        # This server has both.
        assert pod.server.get(pod.bucket, second) == LARGE
        return
    assert report.failure.reason is Reason.PUBLISH_FAILED, ended.output
    assert report.failure.message.startswith("1 of 4 outputs could not be uploaded; the first: "), ended.output
    assert f"cannot have s3://{pod.bucket}/{second}: it has an object or a folder of that name in its way" in report.failure.message
    assert "rename one of the two" in ended.output
    assert "trying again" not in ended.output
    assert not [key for key in pod.server.keys(pod.bucket) if key.endswith(contract.MANIFEST_NAME)]
    assert not pod.server.client._list_multipart_uploads(pod.bucket).uploads


@pytest.mark.parametrize("folder", [".uploads", "run.versions", ".versions", ".sgwtmp"])
def test_an_output_that_a_listing_hides_is_published_and_fetched_by_its_name(pod: Pod, plan: Plan, tmp_path: Path, folder: str) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write(f"{folder}/best.bin", "weights")
    trainer.end()
    ended, report = pod.publish(plan)
    assert (report.failure, report.objects) == (None, 1), ended.output
    other = later(pod, tmp_path / "later")
    fetched(other, msgspec.structs.replace(plan, uid="another", args=(f"${{bucket}}/{folder}/best.bin",)))
    assert files(other.local_bucket) == {f"{folder}/best.bin": "weights"}


def test_of_an_output_that_a_listing_hides_neither_the_older_nor_the_newer_is_lost(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    plan = msgspec.structs.replace(plan, outputs=(Output(path="${bucket}/out/"),))
    folders = ("plain", ".versions", ".sgwtmp")
    for number, root in enumerate((pod, later(pod, tmp_path / "later"))):
        again = msgspec.structs.replace(plan, uid=f"run-{number}")
        fetched(root, again)
        trainer = Trainer(root)
        for folder in folders:
            trainer.write(f"out/{folder}/best.bin", f"weights {number}")
        trainer.end()
        ended, report = root.publish(again)
        assert report.failure is None, ended.output
    for folder in folders:
        key = f"out/{folder}/best.bin"
        if pod.server.get(pod.bucket, key) != b"weights 1":
            # Not seen before the start, it is taken for somebody else's.
            assert f"Somebody else wrote s3://{pod.bucket}/{key}" in ended.output
            [manifest] = [each for each in pod.server.keys(pod.bucket, ".tftraining/team/iris/run-1/") if each.endswith("manifest.json")]
            folder_of_run = manifest.removesuffix("manifest.json")
            assert pod.server.get(pod.bucket, f"{folder_of_run}kept/bucket/{key}") == b"weights 1"


def test_a_key_with_a_backslash_is_fetched_as_the_file_that_the_listing_names(pod: Pod, plan: Plan) -> None:
    pod.put("data/c\\d", "one")
    [key] = pod.server.keys(pod.bucket, "data/")
    fetched(pod, msgspec.structs.replace(plan, inputs=(Input(name="all", uri="${bucket}/data/"),)))
    assert files(pod.workspace / "inputs/all") == {key.removeprefix("data/"): "one"}
