"""Everything that is wrong with a job, said at once before its script starts; and code that stays what it was."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages import contract, handover
from tftrainer.messages.contract import CodePins, FetchReport, Input, Plan, Reason, Reference, Script
from tftrainer.messages.handover import Baseline

from tests.integration.trainer.pods import Pod

SCRIPT = """import argparse

import helper
import no_such_module

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
args = parser.parse_args()
"""


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def refused(pod: Pod, plan: Plan) -> tuple[contract.Failure, str]:
    ended, report = pod.fetch(plan)
    assert ended.code == 1, ended.output
    assert "Traceback" not in ended.output
    assert report.failure is not None
    assert not (pod.state / "resolved.json").exists(), "the script could start"
    return report.failure, ended.output


def test_all_that_is_wrong_is_said_in_one_report_and_no_data_is_fetched_before(pod: Pod, plan: Plan) -> None:
    pod.put("code/train.py", SCRIPT)
    pod.put("code/lib.zip", zipped({"helper.py": "import also_missing\n"}))
    pod.put("data/large.bin", b"x" * 1000)
    plan = msgspec.structs.replace(
        plan,
        archive=Reference(uri="${bucket}/code/lib.zip"),
        inputs=(Input(name="large", uri="${bucket}/data/"),),
        args=("--epochs", "many", "--epoch", "3", "--bad"),
    )
    failure, log = refused(pod, plan)
    assert (failure.reason, failure.file, failure.line) == (Reason.IMPORT_MISSING, "helper.py", 1)
    assert "'also_missing'" in failure.message
    assert "; also: " in failure.message
    for words in ("'no_such_module'", "spec.args[1]: --epochs is 'many'", "spec.args[4]: --bad is not"):
        assert words in failure.message
    for words in ("train.py, line 4", "'no_such_module'", "spec.dependencies.archive", "--epochs is 'many', expected int", "--bad is not"):
        assert words in log
    assert not list((pod.workspace / "inputs").rglob("*.bin"))


def test_what_is_missing_in_the_bucket_does_not_hide_what_is_wrong_with_the_code(pod: Pod, plan: Plan) -> None:
    pod.put("code/train.py", "import helper\ndef f(:\n")
    plan = msgspec.structs.replace(
        plan, archive=Reference(uri="${bucket}/code/none.zip"), inputs=(Input(name="mnist", uri="${bucket}/none/"),)
    )
    failure, log = refused(pod, plan)
    assert failure.reason is Reason.OBJECT_NOT_FOUND
    for words in ("spec.dependencies.archive.uri", "spec.inputs[mnist].uri", "train.py, line 2"):
        assert words in log
        assert words in failure.message


def test_a_module_of_code_that_could_not_be_found_is_not_called_missing(pod: Pod, plan: Plan) -> None:
    pod.put("code/train.py", "import helper\n")
    failure, log = refused(pod, msgspec.structs.replace(plan, files=(Reference(uri="${bucket}/code/helper.py"),)))
    assert failure.reason is Reason.OBJECT_NOT_FOUND
    assert "ImportMissing" not in log


def test_a_job_in_order_is_told_what_was_checked_and_how_much_there_is(pod: Pod, plan: Plan) -> None:
    pod.put(
        "code/train.py",
        "import argparse\nimport conf.names\np = argparse.ArgumentParser()\np.add_argument('--n', type=int)\np.parse_args()\n",
    )
    pod.put("code/conf/names.py", "X = 1\n")
    pod.put("mnist/a", "12345")
    pod.put("mnist/b", "12345")
    plan = msgspec.structs.replace(
        plan, files=(Reference(uri="${bucket}/code/conf/"),), inputs=(Input(name="mnist", uri="${bucket}/mnist/"),), args=("--n=3",)
    )
    ended, report = pod.fetch(plan)
    assert report.failure is None, ended.output
    for words in ("spec.inputs[mnist].uri: 2 objects, 10 B", "train.py is Python", "the arguments fit the parser of train.py"):
        assert f"pre-flight: {words}" in ended.output


def test_a_script_that_is_asked_for_its_help_or_that_nobody_can_judge_starts(pod: Pod, plan: Plan) -> None:
    pod.put("code/train.py", "import argparse\np = argparse.ArgumentParser()\np.add_argument('--x', required=True)\np.parse_args()\n")
    ended, report = pod.fetch(msgspec.structs.replace(plan, args=("--help",)))
    assert report.failure is None, ended.output


def next_attempt(pod: Pod, root: Path, plan: Plan, report: FetchReport) -> tuple[Pod, Plan]:
    """Return the pod of a resumed job, and its plan as the operator makes it from the first attempt's report."""
    pins = CodePins(script=report.script, archive=report.archive, files=report.files)
    return Pod(root, pod.server, pod.bucket, pod.datasets), msgspec.structs.replace(plan, attempt=plan.attempt + 1, pins=pins)


def with_code(pod: Pod, plan: Plan) -> Plan:
    pod.put("code/train.py", "import lib\n")
    pod.put("code/lib.zip", zipped({"lib.py": "X = 1\n"}))
    pod.put("code/one.json", "{}")
    pod.put("code/conf/a.json", "{}")
    pod.put("code/conf/b.json", "{}")
    return msgspec.structs.replace(
        plan,
        archive=Reference(uri="${bucket}/code/lib.zip"),
        files=(Reference(uri="${bucket}/code/one.json"), Reference(uri="${bucket}/code/conf/")),
    )


def test_the_next_attempt_runs_the_same_code_and_refuses_every_piece_that_was_changed(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    plan = with_code(pod, plan)
    ended, first = pod.fetch(plan)
    assert first.failure is None, ended.output
    assert first.script is not None
    assert [each.uri for each in first.files] == [f"s3://{pod.bucket}/code/one.json", "${bucket}/code/conf/"]
    assert [each.uri for each in handover.read(Baseline, pod.state / "baseline.json").code] == [
        f"s3://{pod.bucket}/code/{name}" for name in ("conf/a.json", "conf/b.json", "one.json")
    ]

    same, second = next_attempt(pod, tmp_path / "same", plan, first)
    ended, report = same.fetch(second)
    assert report.failure is None, ended.output
    assert (report.script, report.files) == (first.script, first.files)

    pod.put("code/train.py", "import lib  # other\n")
    pod.put("code/conf/c.json", "{}")
    changed, second = next_attempt(pod, tmp_path / "changed", plan, first)
    failure, log = refused(changed, second)
    assert failure.reason is Reason.CODE_CHANGED
    new = hashlib.sha256(b"import lib  # other\n").hexdigest()
    for words in (f"s3://{pod.bucket}/code/train.py", "spec.script", new, first.script.sha256, "; also: "):
        assert words in failure.message
    assert "create a new job" in failure.hint
    assert "${bucket}/code/conf/ (spec.dependencies.files[1])" in log


def test_a_demanded_digest_that_does_not_fit_keeps_the_script_from_starting(pod: Pod, plan: Plan) -> None:
    plan = with_code(pod, plan)
    right = hashlib.sha256(b"{}").hexdigest()
    wrong = hashlib.sha256(b"{ }").hexdigest()
    failure, _ = refused(pod, msgspec.structs.replace(plan, files=(Reference(uri="${bucket}/code/one.json", sha256=wrong),)))
    assert failure.reason is Reason.DIGEST_MISMATCH
    for words in (right, wrong, "spec.dependencies.files[0].sha256", "code/one.json"):
        assert words in failure.message


def test_an_object_that_two_fields_name_has_the_digest_that_each_demands(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    plan = with_code(pod, plan)
    wrong = "0" * 64
    script, one = plan.script, plan.files[0]
    assert script.uri is not None
    for number, (changes, field) in enumerate(
        (
            ({"script": msgspec.structs.replace(script, sha256=wrong), "files": (Reference(uri=script.uri),)}, "spec.script"),
            ({"files": (Reference(uri="${bucket}/code/train.py", sha256=wrong),)}, "spec.dependencies.files[0]"),
            ({"files": (one, Reference(uri=one.uri, sha256=wrong))}, "spec.dependencies.files[1]"),
            ({"files": (Reference(uri=one.uri, sha256=wrong), one)}, "spec.dependencies.files[0]"),
            (
                {"files": tuple(Reference(uri=one.uri, sha256=each) for each in (hashlib.sha256(b"{}").hexdigest(), wrong))},
                "spec.dependencies.files[1]",
            ),
        )
    ):
        fresh = Pod(tmp_path / str(number), pod.server, pod.bucket, pod.datasets)
        failure, _ = refused(fresh, msgspec.structs.replace(plan, **changes))
        assert failure.reason is Reason.DIGEST_MISMATCH
        assert f"{field}.sha256 is {wrong}" in failure.message


def test_an_object_that_two_fields_name_is_fetched_once_and_pinned_for_both(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    plan = with_code(pod, plan)
    files = (*plan.files, Reference(uri="${bucket}/code/train.py"), Reference(uri=f"s3://{pod.bucket}/code/one.json"))
    plan = msgspec.structs.replace(plan, files=files)
    ended, first = pod.fetch(plan)
    assert first.failure is None, ended.output
    assert first.script is not None
    assert first.objects == 5
    train, one = (hashlib.sha256(text).hexdigest() for text in (b"import lib\n", b"{}"))
    assert (first.script.sha256, [each.sha256 for each in first.files if not each.uri.endswith("/")]) == (train, [one, train, one])
    assert len(first.files) == 4
    assert "pre-flight: spec.script.uri: s3://" in ended.output
    assert "pre-flight: spec.dependencies.files[2].uri: s3://" in ended.output
    code = [each.uri.rpartition("/")[2] for each in handover.read(Baseline, pod.state / "baseline.json").code]
    assert code == ["a.json", "b.json", "one.json", "train.py"]

    pod.put("code/train.py", "import lib  # other\n")
    changed, second = next_attempt(pod, tmp_path / "changed", plan, first)
    failure, log = refused(changed, second)
    assert failure.reason is Reason.CODE_CHANGED
    assert "(spec.script)" in log
    assert "(spec.dependencies.files[2])" in log


def test_two_things_that_would_be_one_file_are_an_error_and_none_overwrites_the_other(pod: Pod, plan: Plan) -> None:
    pod.put("a/train.py", "print('other')\n")
    inline = pod.root / contract.INLINE_FOLDER.lstrip("/")
    inline.mkdir(parents=True)
    (inline / "train.py").write_text("print('mine')\n")
    plan = msgspec.structs.replace(plan, script=Script(name="train.py"), files=(Reference(uri="${bucket}/a/train.py"),))
    failure, _ = refused(pod, plan)
    assert failure.reason is Reason.INPUT_CONFLICT
    for words in ("spec.script.inline", "spec.dependencies.files[0].uri", "a/train.py"):
        assert words in failure.message


def test_a_folder_and_an_object_that_meet_in_one_file_are_both_named(pod: Pod, plan: Plan) -> None:
    pod.put("code/train.py", "print(1)\n")
    pod.put("one/conf/a.json", "{}")
    pod.put("two/conf/a.json", "[]")
    plan = msgspec.structs.replace(plan, files=(Reference(uri="${bucket}/one/conf/"), Reference(uri="${bucket}/two/conf/")))
    failure, _ = refused(pod, plan)
    assert failure.reason is Reason.INPUT_CONFLICT
    for words in ("spec.dependencies.files[0].uri", "spec.dependencies.files[1].uri", "one/conf/a.json", "two/conf/a.json"):
        assert words in failure.message


def test_the_checks_load_no_tensorflow_and_nothing_slow() -> None:
    slow = "('tensorflow', 'numpy', 'minio', 'urllib3', 'requests', 'asyncio', 'ssl')"
    code = f"import sys; import tftrainer.preflight.check; print([name for name in {slow} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.fixture
def with_tensorflow(pod: Pod, tmp_path: Path) -> Pod:
    """Have something in the image that looks like TensorFlow 2 to who reads it: its own lists of names."""
    for name, names in {"__init__": "constant", "_api/v2/compat/v1/__init__": "Session"}.items():
        file = tmp_path / "image" / "tensorflow" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"from tensorflow.python.ops import {names}\n")
    pod.variables["PYTHONPATH"] = str(tmp_path / "image")
    return pod


def named(plan: Plan, name: str, *args: str) -> Plan:
    return msgspec.structs.replace(plan, script=Script(name=name, uri=f"${{bucket}}/code/{name}"), args=args)


@pytest.mark.parametrize("name", ["code.py", "tensorflow.py"])
def test_a_script_named_like_a_module_that_it_hides_is_refused_before_the_start(with_tensorflow: Pod, plan: Plan, name: str) -> None:
    with_tensorflow.put(f"code/{name}", "from tensorflow import keras\nprint(keras.__version__)\n")
    failure, log = refused(with_tensorflow, named(plan, name))
    assert f"{name} hides the module" in failure.message
    assert failure.hint == f"rename {name}, such as to my_{name}"
    assert f"rename {name}" in log


MISTAKES = {
    "a program of TensorFlow 1": (
        "import tensorflow as tf\nwith tf.Session() as s:\n    pass\n",
        (),
        Reason.IMPORT_MISSING,
        ["line 2: tf.Session is of TensorFlow 1", "set spec.runtime: tf1"],
    ),
    "a relative import": ("from . import model\n", (), Reason.IMPORT_MISSING, ["relative to a package", "write `import model`"]),
    "a shell script": ("#!/bin/bash\nset -e\npip install x\n", (), Reason.SYNTAX_ERROR, ["is a shell script, expected a Python program"]),
    "Python 2": ("import os\nraise ValueError, 'x'\n", (), Reason.SYNTAX_ERROR, ["line 2", "as in Python 2", "2to3"]),
    "two words in one argument": (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--epochs', type=int)\np.parse_args()\n",
        ("--epochs 3",),
        Reason.INVALID_ARGUMENTS,
        ["spec.args[0] is '--epochs 3'", "write two items"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_the_report_and_in_the_log_with_what_to_do(with_tensorflow: Pod, plan: Plan, name: str) -> None:
    source, args, reason, words = MISTAKES[name]
    with_tensorflow.put("code/train.py", source)
    failure, log = refused(with_tensorflow, named(plan, "train.py", *args))
    assert failure.reason is reason
    for word in words:
        assert word in f"{failure.message} ({failure.hint})"
        assert word in log


def test_what_was_not_checked_is_in_the_log_and_requirements_beside_the_script_are_too(pod: Pod, plan: Plan) -> None:
    pod.put("code/train.py", "import argparse\nx = open(__file__)\np = argparse.ArgumentParser()\np.parse_args()\n")
    pod.put("code/requirements.txt", "nltk\n")
    plan = msgspec.structs.replace(plan, files=(Reference(uri="${bucket}/code/requirements.txt"),))
    ended, report = pod.fetch(plan)
    assert report.failure is None, ended.output
    assert "pre-flight: not checked are the arguments: train.py, line 2, may end the program" in ended.output
    assert "pre-flight: warning: requirements.txt is not installed" in ended.output
    assert "spec.dependencies.requirements" in ended.output


def test_requirements_in_an_archive_are_told_too(pod: Pod, plan: Plan) -> None:
    pod.put("code/train.py", "print(1)\n")
    pod.put("code/lib.zip", zipped({"lib.py": "", "requirements.txt": "nltk\n"}))
    ended, report = pod.fetch(msgspec.structs.replace(plan, archive=Reference(uri="${bucket}/code/lib.zip")))
    assert report.failure is None, ended.output
    assert "requirements.txt is not installed" in ended.output


def test_a_script_that_no_check_can_bear_starts_all_the_same_and_one_that_is_no_program_is_not_fetched(pod: Pod, plan: Plan) -> None:
    for source, words in (
        ("lambda: 0\n" * 19_000, "more than 2 s"),
        ("f'{a}{b}'\n" * 20_000, "was not examined"),
        ("1, 2\n" * 900_000, "MiB"),
    ):
        pod.put("code/train.py", source)
        ended, report = pod.fetch(plan)
        assert report.failure is None, ended.output
        assert [words in line for line in ended.output.splitlines() if "train.py was not examined" in line] == [True], ended.output
    pod.put("code/train.py", b"x" * (64 * 1024**2 + 1))
    (pod.state / "resolved.json").unlink()
    failure, _ = refused(pod, msgspec.structs.replace(plan, attempt=1))
    assert failure.reason is Reason.INVALID_SPEC
    assert "expected a Python program" in failure.message
    assert not (pod.workspace / "code" / "train.py").exists()
