"""What was seen of the bucket before the start: by it the publisher knows what somebody else has written since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tftrainer.fetch import seen
from tftrainer.fetch.buckets import Buckets
from tftrainer.fetch.look_ups import look_ups
from tftrainer.fetch.seen import Seen, together
from tftrainer.layout import Layout
from tftrainer.messages.contract import Input, Output, Plan, Reason, Script, WantedCheckpoints
from tftrainer.messages.handover import ListedObject
from tftrainer.storage.errors import StorageError
from tftrainer.storage.folder import FolderStore
from tftrainer.storage.store import ObjectInfo

PLAN = Plan(namespace="n", job="nightly", uid="u", runtime="tf1", script=Script(name="train.py"))


class Unlisted(FolderStore):
    """A bucket of which single objects may be read, and nothing may be listed."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        raise StorageError(Reason.STORAGE_DENIED, f"{self.uri(prefix)} may not be listed")


class Job:
    """A job's bucket and library, and what the look-ups have seen and said of them."""

    def __init__(self, root: Path) -> None:
        for name in ("storage", "library"):
            (root / name).mkdir()
        self.root = root
        self.bucket: FolderStore = FolderStore(root / "storage", "models")
        self.facts: list[str] = []

    def holds(self, *keys: str) -> None:
        for key in keys:
            self.bucket.write(key, b"12345")

    def seen(self, *args: str, **changes: object) -> Seen:
        buckets = Buckets(self.bucket, FolderStore(self.root / "library", "library"))
        plan = msgspec.structs.replace(PLAN, args=args, **changes)
        found = [look_up() for look_up in look_ups(plan, Layout(self.root / "pod"), buckets)]
        self.facts = [fact for each in found for fact in each.facts]
        return together(each.seen for each in found)

    def others(self, *keys: str) -> set[ListedObject]:
        return {ListedObject(path=key, etag=info.etag) for key in keys if (info := self.bucket.find(key)) is not None}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_an_argument_that_names_nothing_has_shown_that_there_is_neither_an_object_nor_a_folder(job: Job) -> None:
    assert set(job.seen("--out=${bucket}/best.bin").listed) == {"best.bin", "best.bin/"}


def test_an_object_and_a_folder_that_are_fetched_are_seen_whole(job: Job) -> None:
    job.holds("a/1", "a/deep/2", "b")
    assert set(job.seen("${bucket}/a/", "${bucket}/b").listed) == {"a/", "b", "b/"}


def test_of_a_pattern_only_what_matches_is_seen(job: Job) -> None:
    job.holds("a/train-1", "a/eval-1")
    assert job.seen("${bucket}/a/train-*", "${bucket}/none-?").listed == ()


def test_the_library_and_declared_inputs_are_no_places_that_a_script_writes_to(job: Job) -> None:
    job.holds("data/1")
    FolderStore(job.root / "library", "library").write("flowers/1", b"1")
    assert job.seen("${datasets}/flowers/", inputs=(Input(name="data", uri="${bucket}/data/"),)) == Seen()


def test_what_lies_at_a_declared_output_is_remembered_and_not_fetched(job: Job) -> None:
    job.holds("out/1", "out/deep/2", "best.bin", "beside")
    found = job.seen(outputs=(Output(path="${bucket}/out/"), Output(path="${bucket}/best.bin"), Output(path="${bucket}/new")))
    assert set(found.listed) == {"out/", "best.bin", "best.bin/", "new", "new/"}
    assert set(found.others) == job.others("out/1", "out/deep/2", "best.bin")


def test_checkpoints_within_an_output_are_not_remembered(job: Job) -> None:
    job.holds("out/1", "out/ckpt/2")
    found = job.seen(outputs=(Output(path="${bucket}/out/"),), checkpoints=WantedCheckpoints(path="${bucket}/out/ckpt"))
    assert set(found.others) == job.others("out/1")


def test_a_folder_that_holds_an_output_is_seen_whole_with_what_lies_at_the_output(job: Job) -> None:
    job.holds("a/in/1", "a/out/2")
    found = job.seen("${bucket}/a/", outputs=(Output(path="${bucket}/a/out/"),))
    assert (set(found.listed), set(found.others)) == ({"a/", "a/out/"}, job.others("a/out/2"))


def test_an_output_that_holds_too_many_objects_is_not_seen_nor_is_a_folder_around_it(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "OUTPUTS_LIMIT", 3)
    job.holds("a/in/1", *(f"a/out/{n}" for n in range(3)), *(f"small/{n}" for n in range(2)))
    outputs = tuple(Output(path=f"${{bucket}}/{each}") for each in ("small/", "a/out/", "few/"))
    found = job.seen("${bucket}/a/", "${bucket}/a/in/", outputs=outputs)
    assert (set(found.listed), set(found.others)) == ({"a/in/", "small/", "few/"}, job.others("small/0", "small/1"))
    [fact] = [each for each in job.facts if "not noticed" in each]
    assert "a/out/: the outputs hold more than 3 objects" in fact


def test_an_output_that_may_not_be_listed_is_not_seen_and_the_job_goes_on(job: Job) -> None:
    job.bucket = Unlisted(job.root / "storage", "models")
    assert job.seen(outputs=(Output(path="${bucket}/out/"),)).listed == ()
    [fact] = job.facts
    assert "out/: the storage Secret may not list it" in fact
