"""Names that scripts give to their files, from one run through a store into the next."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages.contract import Plan, Reason, WantedModel

from tests.integration.trainer.launched import Trainer, fetched
from tests.integration.trainer.pods import Pod

NAMES = (
    "a b",
    " blank before",
    "blank after ",
    "two  blanks",
    "?versionId=null",
    "a?b=c",
    "#",
    "a#b",
    "%2e%2e",
    "%2e%2e%2fb",
    "100%",
    "a+b",
    "a&b=c",
    "a;b",
    "a:b",
    "a=b",
    "a,b",
    "a@b",
    "a|b",
    "a^b`c",
    "{0}",
    "[1]",
    "$(x)",
    "${bucket}",
    "<x>",
    'q"uote',
    "it's",
    "star*",
    "tilde~",
    "-dash",
    ".hidden",
    "...",
    "dot.",
    "ü",
    unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"),
    "日本",
    "🌱",
    "מבחן",
    "x" * 200,
)
FOLDERS = (".folder", "with blank", "#1", "?acl", "🌱🌱", "%2F")


def odd() -> dict[str, str]:
    paths = [*NAMES, *(f"{folder}/{name}" for folder in FOLDERS for name in ("file", "?uploads", "é"))]
    return {path: f"{number} {path}" for number, path in enumerate(paths)}


def round_trip(pod: Pod, plan: Plan, later: Path) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    for path, text in odd().items():
        trainer.write(f"odd/{path}", text)
    trainer.write("odd/a/b", "mine")
    trainer.write("odd/a\\b", "not mine")
    trainer.end()
    ended, report = pod.publish(plan)
    assert (report.failure, report.objects, report.skipped) == (None, len(odd()) + 1, 1), ended.output
    assert "skipped odd/a\\b: the name holds a backslash" in ended.output
    second = Pod(later, pod.server, pod.bucket, "")
    second.credentials = pod.credentials
    ended, again = second.fetch(msgspec.structs.replace(plan, attempt=1, args=("${bucket}/odd",)))
    assert again.failure is None, ended.output
    top = second.local_bucket / "odd"
    assert {str(each.relative_to(top)): each.read_text() for each in top.rglob("*") if each.is_file()} == odd() | {"a/b": "mine"}


@pytest.mark.every_store
def test_odd_names_come_back_from_a_bucket_as_they_were(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    round_trip(pod, plan, tmp_path / "later")
    [manifest] = [key for key in pod.server.keys(pod.bucket, ".tftraining/") if key.endswith("manifest.json")]
    told = {each["key"] for each in json.loads(pod.server.get(pod.bucket, manifest))["objects"]}
    assert told == set(pod.server.keys(pod.bucket, "odd/")) == {f"odd/{path}" for path in (*odd(), "a/b")}


def test_odd_names_come_back_from_a_folder_in_the_place_of_a_bucket_too(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "folder/code").mkdir(parents=True)
    (tmp_path / "folder/code/train.py").write_text("print(1)\n")
    pod.credentials = {"FOLDER": str(tmp_path / "folder"), "BUCKET": "models"}
    pod.datasets = ""
    round_trip(pod, plan, tmp_path / "later")


@pytest.mark.every_store
def test_a_link_to_a_file_of_the_run_is_an_object_of_its_own_and_one_to_a_folder_is_told(pod: Pod, plan: Plan) -> None:
    pod.put("m/older.bin", "older weights")
    plan = msgspec.structs.replace(plan, args=("${bucket}/m",))
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("m/1/w.bin", "weights")
    (pod.local_bucket / "m/best.bin").symlink_to("1/w.bin")
    (pod.local_bucket / "m/absolute.bin").symlink_to(pod.local_bucket / "m/1/w.bin")
    (pod.local_bucket / "m/of-before.bin").symlink_to("older.bin")
    (pod.local_bucket / "m/latest").symlink_to("1")
    trainer.end()
    ended, report = pod.publish(plan)
    assert (report.failure, report.objects, report.skipped) == (None, 4, 1), ended.output
    assert "skipped m/latest: a symbolic link to the folder m/1, whose files are uploaded under their own names" in ended.output
    found = {key: pod.server.get(pod.bucket, key) for key in pod.server.keys(pod.bucket, "m/")}
    assert found == {
        "m/1/w.bin": b"weights",
        "m/best.bin": b"weights",
        "m/absolute.bin": b"weights",
        "m/of-before.bin": b"older weights",
        "m/older.bin": b"older weights",
    }


def test_a_model_of_which_a_part_lies_elsewhere_is_not_taken_for_published(pod: Pod, plan: Plan) -> None:
    plan = msgspec.structs.replace(plan, model=WantedModel(path="${bucket}/tf_model"))
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("tf_model/1/saved_model.pb", "graph")
    (pod.workspace / "code/variables").mkdir()
    (pod.workspace / "code/variables/variables.index").write_text("index")
    (pod.local_bucket / "tf_model/1/variables").symlink_to(pod.workspace / "code/variables")
    trainer.end()
    ended, report = pod.publish(plan)
    assert report.failure is not None, ended.output
    assert report.failure.reason is Reason.MODEL_UNLOADABLE
    assert "tf_model/1/variables, a symbolic link that leads out of the folder, not followed" in report.failure.message
    assert (report.succeeded, report.model is not None and report.model.verified) == (False, False)
