"""The check of a job that waits: the same as before any start, without data, and what it finds in order holds for the run."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from tftrainer.messages import contract, manifest
from tftrainer.messages.contract import CodePins, FetchReport, Input, Plan, Reason, Reference, Script

from tests.integration.trainer.pods import Ended, Pod

SCRIPT = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--n', type=int)\np.parse_args()\n"


@pytest.fixture
def checking(plan: Plan) -> Plan:
    """Return the job of `plan` with some data, to be checked."""
    return msgspec.structs.replace(plan, check_only=True, inputs=(Input(name="mnist", uri="${bucket}/mnist/"),), args=("--n=3",))


def run_of(checking: Plan, attempt: int = 0) -> Plan:
    """Return the plan of the same job's run."""
    return msgspec.structs.replace(checking, check_only=False, checked_before=True, attempt=attempt)


def in_order(pod: Pod) -> None:
    pod.put("code/train.py", SCRIPT)
    pod.put("mnist/a", "12345")
    pod.put("mnist/b", "12345")


def checked(pod: Pod, plan: Plan) -> tuple[Ended, FetchReport]:
    ended, report = pod.fetch(plan)
    assert "Traceback" not in ended.output
    assert (ended.code == 0) == (report.failure is None), ended.output
    return ended, report


def left(pod: Pod, plan: Plan) -> list[str]:
    return [each.removeprefix(manifest.job_folder(plan)) for each in pod.server.keys(pod.bucket, manifest.job_folder(plan))]


@pytest.mark.every_store
def test_a_job_in_order_is_pinned_without_its_data_being_fetched(pod: Pod, checking: Plan) -> None:
    in_order(pod)
    ended, report = checked(pod, checking)
    assert report.failure is None, ended.output
    assert report.script is not None
    assert report.script.sha256 == hashlib.sha256(SCRIPT.encode()).hexdigest()
    assert (report.objects, report.bytes) == (3, len(SCRIPT) + 10)
    assert report.resolved_args == ("--n=3",)
    assert "fetch: checked, nothing runs here: 3 objects" in ended.output
    assert "can be written" in ended.output
    assert not list((pod.workspace / "inputs").rglob("?"))
    assert not (pod.state / "resolved.json").exists(), "a script could start"
    assert left(pod, checking) == ["check.json"], "the attempt has not begun"


@pytest.mark.parametrize(
    ("script", "changes", "reason", "words", "line"),
    [
        ("import os\nimport no_such_module\n", {}, Reason.IMPORT_MISSING, "'no_such_module'", 2),
        ("def f(:\n", {}, Reason.SYNTAX_ERROR, "train.py", 1),
        (SCRIPT, {"args": ("--n=many",)}, Reason.INVALID_ARGUMENTS, "'many', expected int", 3),
        (SCRIPT, {"inputs": (Input(name="mnist", uri="${bucket}/none/"),)}, Reason.OBJECT_NOT_FOUND, "spec.inputs[mnist].uri", None),
        (SCRIPT, {"archive": Reference(uri="${bucket}/mnist/a")}, Reason.INVALID_ARCHIVE, "mnist/a", None),
        (SCRIPT, {"workspace_bytes": 20}, Reason.INPUT_TOO_LARGE, "the workspace holds 20 B", None),
        (SCRIPT, {"args": ("${nothing}",)}, Reason.INVALID_SPEC, "spec.args", None),
    ],
    ids=lambda value: str(value) if isinstance(value, Reason) else "",
)
def test_what_is_wrong_is_what_the_run_would_say_and_nothing_is_pinned(
    pod: Pod, checking: Plan, script: str, changes: dict[str, object], reason: Reason, words: str, line: int | None
) -> None:
    in_order(pod)
    pod.put("code/train.py", script)
    plan = msgspec.structs.replace(checking, **changes)
    _, report = checked(pod, plan)
    assert report.failure is not None
    assert (report.failure.reason, report.failure.line) == (reason, line)
    assert words in report.failure.message
    ended, of_the_run = pod.fetch(run_of(plan))
    assert of_the_run.failure == report.failure, ended.output


def test_a_bucket_that_cannot_be_written_is_found(pod: Pod, checking: Plan) -> None:
    in_order(pod)
    pod.credentials["SECRET_KEY"] = "another"
    assert checked(pod, checking)[1].failure.reason is Reason.STORAGE_DENIED  # type: ignore[union-attr]


def test_the_run_is_held_to_what_was_checked(pod: Pod, checking: Plan) -> None:
    in_order(pod)
    _, report = checked(pod, checking)
    pod.put("code/train.py", SCRIPT + "# changed\n")
    ended, of_the_run = pod.fetch(run_of(checking))
    assert of_the_run.failure is not None
    assert of_the_run.failure.reason is Reason.CODE_CHANGED, ended.output
    assert report.script is not None
    assert f"but what was checked while this job waited had {report.script.sha256}" in of_the_run.failure.message
    pod.put("code/train.py", SCRIPT)
    ended, of_the_run = pod.fetch(run_of(checking))
    assert of_the_run.failure is None, ended.output
    assert of_the_run.script == report.script


def test_a_folder_of_files_that_holds_the_script_is_pinned_as_the_run_fetches_it(pod: Pod, checking: Plan) -> None:
    in_order(pod)
    pod.put("code/helper.py", "X = 1\n")
    plan = msgspec.structs.replace(checking, files=(Reference(uri="${bucket}/code/"),))
    _, report = checked(pod, plan)
    ended, of_the_run = pod.fetch(run_of(plan))
    assert of_the_run.failure is None, ended.output
    assert of_the_run.files == report.files


def test_a_job_is_checked_again_as_what_it_was_and_the_pins_stay(pod: Pod, checking: Plan) -> None:
    in_order(pod)
    checked(pod, checking)
    again = msgspec.structs.replace(checking, checked_before=True)
    pod.put("code/train.py", SCRIPT + "# changed\n")
    assert checked(pod, again)[1].failure.reason is Reason.CODE_CHANGED  # type: ignore[union-attr]
    record = json.loads(pod.server.get(pod.bucket, f"{manifest.job_folder(checking)}check.json"))
    assert record["pins"]["script"]["sha256"] == hashlib.sha256(SCRIPT.encode()).hexdigest()


def test_a_run_that_nobody_has_checked_or_whose_check_was_not_finished_is_free(pod: Pod, checking: Plan) -> None:
    in_order(pod)
    run = run_of(checking)
    assert pod.fetch(run)[1].failure is None
    pod.put(f"{manifest.job_folder(run)}check.json", json.dumps({"job": "team/iris", "uid": run.uid}))
    assert pod.fetch(run)[1].failure is None


@pytest.mark.parametrize("record", [b"", b"{", b'{"job": "team/iris", "uid": "of another"}', b"\xff"])
def test_a_record_that_no_check_has_left_is_not_believed(pod: Pod, checking: Plan, record: bytes) -> None:
    in_order(pod)
    run = run_of(checking)
    pod.put(f"{manifest.job_folder(run)}check.json", record)
    failure = pod.fetch(run)[1].failure
    assert failure is not None
    assert failure.reason is Reason.CODE_CHANGED
    assert "check.json is not what the check of this job has left" in failure.message


def test_an_inline_script_is_checked_too(pod: Pod, checking: Plan) -> None:
    in_order(pod)
    folder = pod.root / contract.INLINE_FOLDER.lstrip("/")
    folder.mkdir(parents=True)
    (folder / "train.py").write_text("import no_such_module\n")
    failure = checked(pod, msgspec.structs.replace(checking, script=Script(name="train.py")))[1].failure
    assert failure is not None
    assert (failure.reason, failure.file, failure.line) == (Reason.IMPORT_MISSING, "train.py", 1)


def test_where_the_job_brings_compiled_modules_none_is_called_missing(pod: Pod, checking: Plan) -> None:
    in_order(pod)
    pod.put("code/train.py", "import fast\n")
    pod.put("code/fast.cpython-311-another-processor.so", "x")
    plan = msgspec.structs.replace(checking, files=(Reference(uri="${bucket}/code/fast.cpython-311-another-processor.so"),), args=())
    assert checked(pod, plan)[1].failure is None
    failure = pod.fetch(run_of(plan))[1].failure
    assert failure is not None
    assert failure.reason is Reason.IMPORT_MISSING, "the run is on the node that counts"


def test_pins_of_an_earlier_attempt_go_before_those_of_the_check(pod: Pod, checking: Plan) -> None:
    in_order(pod)
    checked(pod, checking)
    pod.put("code/train.py", SCRIPT + "# changed\n")
    changed = contract.Pinned(uri="", sha256=hashlib.sha256((SCRIPT + "# changed\n").encode()).hexdigest())
    run = msgspec.structs.replace(run_of(checking, attempt=1), pins=CodePins(script=changed))
    ended, report = pod.fetch(run)
    assert report.failure is None, ended.output
