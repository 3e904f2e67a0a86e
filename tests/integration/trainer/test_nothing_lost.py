"""What is good in the bucket is not replaced by what may be worse, and what is put nowhere else is kept in the run's own folder."""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Failure, OnConflict, Output, Plan, PublishReport, Reason, RunReport, WantedModel
from tftrainer.publish.placing import CUT_SECONDS

from tests.integration.trainer.launched import Trainer, fetched, until
from tests.integration.trainer.pods import Pod

pytestmark = pytest.mark.every_store

GOOD = "the good one of last week"


def killed(**changes: Any) -> RunReport:
    """Return how a run was reported that ended just now, by SIGKILL."""
    failure = Failure(reason=Reason.OUT_OF_MEMORY, message="out of memory")
    return msgspec.structs.replace(
        RunReport(exit_code=137, failure=failure, killed=True, started_at=time.time() - 60, finished_at=time.time()), **changes
    )


def succeeded() -> RunReport:
    return RunReport(exit_code=0, started_at=time.time() - 60, finished_at=time.time())


def published(pod: Pod, plan: Plan, trainer: Trainer, result: RunReport) -> tuple[PublishReport, dict[str, Any]]:
    """Let the run end and be published; what the publisher says, and the manifest."""
    publisher = pod.start("publish", plan)
    trainer.end(result)
    ended = pod.end(publisher)
    report = ended.report(PublishReport)
    assert report.manifest_uri, ended.output
    assert report.note in ended.output
    return report, json.loads(pod.server.get(pod.bucket, report.manifest_uri.removeprefix(f"s3://{pod.bucket}/")))


def kept(pod: Pod, manifest: dict[str, Any], key: str) -> bytes:
    """Return what was kept instead of the object of that key."""
    [found] = [each for each in manifest["kept"] if each.get("insteadOf") == key]
    return pod.server.get(pod.bucket, found["key"])


def until_old(path: Path) -> None:
    """Return when the file's last change lies further back than what counts as the last moments of a run."""
    until(lambda: time.time() - path.stat().st_ctime > CUT_SECONDS + 0.5, f"{path} is old")


def test_half_a_file_of_a_killed_script_does_not_take_the_place_of_a_whole_one(pod: Pod, plan: Plan) -> None:
    pod.put("models/best.bin", GOOD)
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("models/best.bin", "half of a new")
    trainer.write("models/new.bin", "half of one that was never there")
    report, manifest = published(pod, plan, trainer, killed())
    assert pod.server.get(pod.bucket, "models/best.bin") == GOOD.encode()
    assert kept(pod, manifest, "models/best.bin") == b"half of a new"
    assert [each["because"] for each in manifest["kept"]] == ["CutShort"]
    assert pod.server.get(pod.bucket, "models/new.bin") == b"half of one that was never there"
    assert [each["key"] for each in manifest["objects"]] == ["models/new.bin"]
    assert f"may have cut short s3://{pod.bucket}/models/best.bin: what was there before stays" in report.note
    assert report.kept == 1


@pytest.mark.parametrize(
    "result",
    [
        killed(exit_code=143, failure=Failure(reason=Reason.TERMINATED, message="stopped")),
        killed(exit_code=139, failure=Failure(reason=Reason.SCRIPT_CRASHED, message="SIGSEGV")),
        killed(exit_code=1, killed=False, failure=Failure(reason=Reason.SCRIPT_RAISED, message="KeyError")),
        killed(exit_code=7, killed=False, failure=None),
    ],
    ids=["stopped", "crashed", "raised", "exited"],
)
def test_every_end_that_may_have_cut_a_write_spares_what_was_there(pod: Pod, plan: Plan, result: RunReport) -> None:
    pod.put("best.bin", GOOD)
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("best.bin", "half")
    _, manifest = published(pod, plan, trainer, msgspec.structs.replace(result, finished_at=time.time()))
    assert pod.server.get(pod.bucket, "best.bin") == GOOD.encode()
    assert kept(pod, manifest, "best.bin") == b"half"


def test_a_file_whose_form_says_that_it_is_whole_was_not_cut_and_one_that_is_torn_was(pod: Pod, plan: Plan) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("model.weights.h5", b"weights" * 1000)
    whole = {"best.keras": archive.getvalue(), "metrics.json": b'{"loss": 0.1}'}
    new = {**whole, "torn.keras": archive.getvalue()[:-30], "cut.json": b'{"loss": '}
    for name in new:
        pod.put(name, GOOD)
    fetched(pod, plan)
    trainer = Trainer(pod)
    for name, data in new.items():
        trainer.write(name, data)
    _, manifest = published(pod, plan, trainer, killed())
    assert {name for name, data in new.items() if pod.server.get(pod.bucket, name) == data} == whole.keys()
    assert {each["insteadOf"] for each in manifest["kept"]} == {"torn.keras", "cut.json"}


def test_on_success_what_was_written_last_takes_the_place_of_what_was_there(pod: Pod, plan: Plan) -> None:
    pod.put("best.bin", GOOD)
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("best.bin", "a better one")
    report, manifest = published(pod, plan, trainer, succeeded())
    assert pod.server.get(pod.bucket, "best.bin") == b"a better one"
    assert (report.kept, report.note, manifest.get("kept")) == (0, "", None)


def test_a_file_that_was_still_open_is_spared_however_long_ago_it_was_written_to(pod: Pod, plan: Plan) -> None:
    for name in ("open.bin", "closed.bin"):
        pod.put(name, GOOD)
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("open.bin", "half")
    trainer.write("closed.bin", "whole")
    told = contract.OpenFiles(paths=("bucket/open.bin", "code/other"))
    (pod.workspace / ".tftraining" / contract.OPEN_NAME).write_bytes(msgspec.json.encode(told))
    until_old(pod.local_bucket / "closed.bin")
    _, manifest = published(pod, plan, trainer, killed())
    assert pod.server.get(pod.bucket, "open.bin") == GOOD.encode()
    assert kept(pod, manifest, "open.bin") == b"half"
    assert pod.server.get(pod.bucket, "closed.bin") == b"whole"


def shared(plan: Plan, *outputs: Output) -> Plan:
    return msgspec.structs.replace(plan, args=("${bucket}/board.csv",), outputs=outputs)


def test_what_somebody_else_wrote_meanwhile_stays_and_the_runs_own_is_kept_and_told(pod: Pod, plan: Plan) -> None:
    pod.put("board.csv", "run,accuracy\n")
    plan = shared(plan)
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("board.csv", "run,accuracy\nmine,0.9\n")
    pod.put("board.csv", "run,accuracy\ntheirs,0.8\n")
    report, manifest = published(pod, plan, trainer, succeeded())
    assert report.succeeded
    assert pod.server.get(pod.bucket, "board.csv") == b"run,accuracy\ntheirs,0.8\n"
    assert kept(pod, manifest, "board.csv") == b"run,accuracy\nmine,0.9\n"
    assert f"omebody else wrote s3://{pod.bucket}/board.csv while the job ran" in report.note


def test_what_somebody_else_removed_meanwhile_does_not_come_back_unsaid(pod: Pod, plan: Plan) -> None:
    pod.put("board.csv", "run,accuracy\n")
    plan = shared(plan)
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("board.csv", "mine")
    pod.server.client.remove_object(pod.bucket, "board.csv")
    report, manifest = published(pod, plan, trainer, succeeded())
    assert pod.server.keys(pod.bucket, "board.csv") == []
    assert kept(pod, manifest, "board.csv") == b"mine"
    assert report.note


def test_of_two_that_make_the_same_new_file_the_second_does_not_replace_the_first(pod: Pod, plan: Plan) -> None:
    plan = shared(plan)
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("board.csv", "mine")
    pod.put("board.csv", "theirs")
    _, manifest = published(pod, plan, trainer, succeeded())
    assert pod.server.get(pod.bucket, "board.csv") == b"theirs"
    assert kept(pod, manifest, "board.csv") == b"mine"


def test_a_file_that_nobody_else_touched_takes_the_place_of_the_one_that_was_fetched(pod: Pod, plan: Plan) -> None:
    pod.put("board.csv", "run,accuracy\n")
    plan = shared(plan)
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("board.csv", "run,accuracy\nmine,0.9\n")
    report, _ = published(pod, plan, trainer, succeeded())
    assert pod.server.get(pod.bucket, "board.csv") == b"run,accuracy\nmine,0.9\n"
    assert (report.kept, report.note) == (0, "")


@pytest.mark.parametrize(
    ("what", "there", "reason"), [(OnConflict.REPLACE, b"mine", None), (OnConflict.FAIL, b"theirs", Reason.OUTPUT_CONFLICT)]
)
def test_a_declared_output_says_what_becomes_of_a_conflict(
    pod: Pod, plan: Plan, what: OnConflict, there: bytes, reason: Reason | None
) -> None:
    pod.put("board.csv", "before")
    plan = shared(plan, Output(path="${bucket}/board.csv", on_conflict=what))
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("board.csv", "mine")
    pod.put("board.csv", "theirs")
    report, manifest = published(pod, plan, trainer, succeeded())
    assert pod.server.get(pod.bucket, "board.csv") == there
    assert (report.failure.reason if report.failure else None, report.succeeded) == (reason, reason is None)
    if reason is not None:
        assert kept(pod, manifest, "board.csv") == b"mine"
        assert "onConflict: Fail" in report.failure.message


def promised(plan: Plan, *, required: bool = True) -> Plan:
    return msgspec.structs.replace(plan, model=WantedModel(path="${bucket}/served", required=required))


@pytest.mark.parametrize("required", [True, False])
def test_a_model_that_does_not_load_never_lies_where_a_server_looks_for_it(pod: Pod, plan: Plan, required: bool) -> None:
    pod.put("served/1/saved_model.pb", GOOD)
    plan = promised(plan, required=required)
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("served/2/saved_model.pb", "half of a graph")
    trainer.write("served/2/variables/variables.index", "index")
    trainer.write("report.txt", "accuracy 0.9")
    report, manifest = published(pod, plan, trainer, succeeded())
    assert pod.server.keys(pod.bucket, "served/") == ["served/1/saved_model.pb"]
    assert kept(pod, manifest, "served/2/saved_model.pb") == b"half of a graph"
    assert {each["because"] for each in manifest["kept"]} == {"ModelNotVerified"}
    assert pod.server.get(pod.bucket, "report.txt") == b"accuracy 0.9"
    assert report.succeeded is not required
    assert "kept in" in report.note
    assert report.model is not None
    assert (report.model.verified, "/kept/bucket/served/2/" in report.model.uri) == (False, True)


def test_a_script_that_failed_leaves_the_served_model_as_it_is(pod: Pod, plan: Plan) -> None:
    pod.put("served/saved_model.pb", GOOD)
    plan = promised(plan)
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("served/saved_model.pb", "a new graph, whole or not")
    until_old(pod.local_bucket / "served" / "saved_model.pb")
    _, manifest = published(pod, plan, trainer, killed(killed=False, exit_code=1))
    assert pod.server.get(pod.bucket, "served/saved_model.pb") == GOOD.encode()
    assert kept(pod, manifest, "served/saved_model.pb") == b"a new graph, whole or not"


AMONG = "1 file was written among temporary files or outside of the workspace, and not kept"


def test_what_is_written_beside_the_script_is_kept_in_the_runs_folder_and_told(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    code = pod.workspace / "code"
    (code / "checkpoints").mkdir()
    (code / "checkpoints" / "best.keras").write_bytes(b"model" * 1000)
    (code / "__pycache__").mkdir()
    (code / "__pycache__" / "helper.pyc").write_bytes(b"cache")
    (pod.workspace / "scratch.txt").write_text("notes")
    told = contract.Elsewhere(files=(contract.FileElsewhere(path="/tmp/model.keras", size=2048),), count=1, bytes=2048)
    (pod.workspace / ".tftraining" / contract.ELSEWHERE_NAME).write_bytes(msgspec.json.encode(told))
    report, manifest = published(pod, plan, trainer, succeeded())
    assert {each["path"]: each["because"] for each in manifest["kept"]} == {
        "code/checkpoints/best.keras": "OutsideTheBucket",
        "scratch.txt": "OutsideTheBucket",
    }
    [model] = [each for each in manifest["kept"] if each["path"].endswith(".keras")]
    assert pod.server.get(pod.bucket, model["key"]) == b"model" * 1000
    for words in ("2 files were written outside ${bucket}", "checkpoints/best.keras (4.9 KiB)", f"{AMONG}: /tmp/model.keras (2.0 KiB)"):
        assert words in report.note
    assert "train.py" not in report.note


def test_no_more_is_kept_of_what_lies_outside_than_the_admin_allows_and_what_is_not_is_named(pod: Pod, plan: Plan) -> None:
    plan = msgspec.structs.replace(plan, kept_bytes=1000)
    fetched(pod, plan)
    trainer = Trainer(pod)
    for name, size in (("small", 600), ("large", 700)):
        (pod.workspace / "code" / name).write_bytes(bytes(size))
    report, manifest = published(pod, plan, trainer, succeeded())
    assert [each["path"] for each in manifest["kept"]] == ["code/large"]
    assert "1 file was written outside ${bucket} and not kept" in report.note
    assert "small (600 B)" in report.note


def test_an_output_at_which_nothing_was_written_is_told(pod: Pod, plan: Plan) -> None:
    plan = msgspec.structs.replace(plan, outputs=(Output(path="${bucket}/table.csv"), Output(path="${bucket}/model/")))
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("model/weights", "w")
    report, _ = published(pod, plan, trainer, succeeded())
    assert report.note == "The script wrote nothing at ${bucket}/table.csv (spec.outputs[0].path)."


def test_processes_and_logs_that_did_not_come_to_a_good_end_are_told(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    result = msgspec.structs.replace(succeeded(), left_running=2, logs_lost=True)
    report, _ = published(pod, plan, trainer, result)
    assert "2 processes that the script left running were killed at its end." in report.note
    assert "log files" in report.note


def test_holes_and_many_names_do_not_make_a_publisher_send_what_no_disk_could_hold(pod: Pod, plan: Plan) -> None:
    plan = msgspec.structs.replace(plan, workspace_bytes=1024**2)
    fetched(pod, plan)
    publisher = pod.start("publish", plan)
    trainer = Trainer(pod)
    trainer.write("model.bin", "the model")
    for number in range(3):
        with (pod.local_bucket / f"hole-{number}").open("wb") as file:
            file.truncate(3 * 1024**2)
    trainer.end(succeeded())
    ended = pod.end(publisher)
    failure = ended.report(PublishReport).failure
    assert failure is not None
    assert failure.reason is Reason.PUBLISH_FAILED
    assert "2 files, the largest 'hole-2' with 3.0 MiB" in failure.message
    assert "2 of 6 outputs" in failure.message
    assert pod.server.keys(pod.bucket, "hole") == ["hole-0"]
    assert pod.server.get(pod.bucket, "model.bin") == b"the model"
