"""Fetch and publish as real processes against a real S3 server."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import zipfile
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages import contract, handover
from tftrainer.messages.contract import Input, Plan, Reason, Reference, RunReport, Script
from tftrainer.messages.handover import Resolved

from tests.integration.trainer.launched import LAUNCH, STOPPED_EARLY, Trainer, fetched, until_handler_is_set, with_script
from tests.integration.trainer.pods import ACCESS_KEY, IN_PARTS, SECRET_KEY, Pod

pytestmark = pytest.mark.every_store


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/").replace("_py", ".py"), text)
    return buffer.getvalue()


def test_iris_goes_from_the_buckets_to_the_script_and_its_model_back_into_the_bucket(pod: Pod, plan: Plan) -> None:
    pod.put("code/train.py", "import iris_data\n")
    pod.put("code/iris.zip", zipped(iris_data_py="COLUMNS = 4\n"))
    pod.server.put(pod.datasets, "demo/other/iris_training.csv", "1,2,3,4,0\n")
    pod.server.put(pod.datasets, "demo/other/iris_test.csv", "1,2,3,4,0\n")
    plan = msgspec.structs.replace(
        plan,
        archive=Reference(uri=f"s3://{pod.bucket}/code/iris.zip"),
        args=(
            "--train_path",
            "${ai_dataset_lib}/demo/other/iris_training.csv",
            "--test_path=${datasets}/demo/other/iris_test.csv",
            "--export_dir",
            "${cos}/tf_model",
        ),
    )
    ended, fetched = pod.fetch(plan)
    assert (ended.code, fetched.failure) == (0, None), ended.output
    assert fetched.objects == 4
    datasets = pod.workspace / "datasets" / "demo" / "other"
    assert (datasets / "iris_training.csv").read_text() == (datasets / "iris_test.csv").read_text() == "1,2,3,4,0\n"
    resolved = handover.read(Resolved, pod.state / "resolved.json")
    assert resolved.argv == (
        "--train_path",
        str(datasets / "iris_training.csv"),
        f"--test_path={datasets}/iris_test.csv",
        "--export_dir",
        str(pod.local_bucket / "tf_model"),
    )
    assert resolved.path == (str(pod.workspace / "deps" / "iris.zip"),)

    trainer = Trainer(pod)
    publisher = pod.start("publish", plan)
    trainer.write("tf_model/1795448933/saved_model.pb", b"model")
    trainer.write("tf_model/1795448933/variables/variables.index", b"index")
    trainer.end()
    ended = pod.end(publisher)
    report = ended.report(contract.PublishReport)
    assert (ended.code, report.failure, report.succeeded) == (0, None, True), ended.output
    assert report.model is not None
    assert report.model.uri == f"s3://{pod.bucket}/tf_model/1795448933/"
    assert (report.model.objects, report.model.bytes) == (2, 10)
    place = f".tftraining/team/iris/{plan.uid}/attempt-0/"
    assert report.manifest_uri == f"s3://{pod.bucket}/{place}manifest.json"
    assert pod.server.get(pod.bucket, "tf_model/1795448933/saved_model.pb") == b"model"
    assert pod.server.get(pod.bucket, place + "logs/stdout.log") == b"Test set accuracy: 0.967\n"
    written = json.loads(pod.server.get(pod.bucket, place + "manifest.json"))
    assert written["outcome"] == "Succeeded"
    assert [each["key"] for each in written["objects"]] == [
        "tf_model/1795448933/saved_model.pb",
        "tf_model/1795448933/variables/variables.index",
    ]
    assert written["script"]["sha256"]


def failure(pod: Pod, plan: Plan) -> contract.Failure:
    ended, report = pod.fetch(plan)
    assert ended.code == 1
    assert "Traceback" not in ended.output
    assert report.failure is not None
    assert not (pod.state / "resolved.json").exists()
    return report.failure


def test_an_object_that_does_not_exist_is_named_with_its_field_and_all_findings_are_in_the_log(pod: Pod, plan: Plan) -> None:
    plan = msgspec.structs.replace(plan, archive=Reference(uri="${bucket}/no.zip"), args=("--data", "${datasets}/no.csv"))
    ended, report = pod.fetch(plan)
    assert report.failure is not None
    assert report.failure.reason is Reason.OBJECT_NOT_FOUND
    assert f"s3://{pod.bucket}/code/train.py" in report.failure.message
    assert "spec.script.uri" in report.failure.message
    assert "spec.dependencies.archive.uri" in ended.output
    assert "spec.args[1]" in ended.output


@pytest.mark.parametrize(
    ("key", "value", "reason", "words"),
    [
        ("ACCESS_KEY", "somebody-else", Reason.STORAGE_DENIED, "accessKey"),
        ("SECRET_KEY", "canary-wrong-secret", Reason.STORAGE_DENIED, "secretKey"),
        ("BUCKET", "no-such-bucket-here", Reason.BUCKET_NOT_FOUND, "no-such-bucket-here"),
        ("BUCKET", "Not_A_Bucket", Reason.STORAGE_MISCONFIGURED, "key bucket"),
        ("BUCKET", "", Reason.STORAGE_MISCONFIGURED, "key bucket"),
        ("ENDPOINT", "store:9000", Reason.STORAGE_MISCONFIGURED, "http(s)://host"),
        ("ENDPOINT", "http://user:canary@store", Reason.STORAGE_MISCONFIGURED, "key endpoint"),
        ("SECRET_KEY", "canary-with-newline\n", Reason.STORAGE_MISCONFIGURED, "key secretKey"),
        ("CA_CERTIFICATE", "no certificate", Reason.STORAGE_MISCONFIGURED, "key caCertificate"),
        ("PREFIX", "a/../b", Reason.STORAGE_MISCONFIGURED, "key prefix"),
    ],
)
def test_a_wrong_secret_ends_in_its_own_reason_and_names_the_key_but_no_value(
    pod: Pod, plan: Plan, key: str, value: str, reason: Reason, words: str
) -> None:
    with_script(pod)
    pod.credentials[key] = value
    if key == "CA_CERTIFICATE":
        pod.credentials["ENDPOINT"] = pod.credentials["ENDPOINT"].replace("http:", "https:")
    ended, report = pod.fetch(plan)
    assert report.failure is not None
    assert report.failure.reason is reason, ended.output
    assert words in report.failure.message + report.failure.hint
    assert "canary" not in ended.output + ended.message.decode()
    assert "Traceback" not in ended.output


def test_a_missing_bucket_is_not_created_by_looking_for_it(pod: Pod, plan: Plan) -> None:
    pod.credentials["BUCKET"] = "never-made-by-us"
    assert failure(pod, plan).reason is Reason.BUCKET_NOT_FOUND
    assert not pod.server.client.bucket_exists("never-made-by-us")


@pytest.mark.parametrize("use", ["args", "inputs"])
def test_a_missing_bucket_of_the_dataset_library_is_told_from_a_missing_object(pod: Pod, plan: Plan, use: str) -> None:
    with_script(pod)
    pod.datasets = "no-such-library"
    changes = {"args": ("${datasets}/a.csv",)} if use == "args" else {"inputs": (Input(name="a", uri="${datasets}/a.csv"),)}
    found = failure(pod, msgspec.structs.replace(plan, **changes))
    assert found.reason is Reason.BUCKET_NOT_FOUND
    assert "spec.datasets" in found.hint


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"this is no zip", "not a zip archive"),
        (b"\x1f\x8b\x08\x00" + bytes(100), "looks like gzip"),
        (zipped(**{"..__x_py": "x = 1"}), "'../x.py'"),
    ],
)
def test_an_archive_that_cannot_be_trusted_ends_as_invalid_archive_and_writes_nothing(
    pod: Pod, plan: Plan, data: bytes, words: str
) -> None:
    with_script(pod)
    pod.put("code/lib.zip", data)
    found = failure(pod, msgspec.structs.replace(plan, archive=Reference(uri="${bucket}/code/lib.zip")))
    assert found.reason is Reason.INVALID_ARCHIVE
    assert words in found.message
    assert [path.name for path in (pod.workspace / "deps").iterdir()] == ["lib.zip"]


def test_a_bomb_is_refused_before_it_is_unpacked(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros.bin", "w") as entry:
        for _ in range(300):
            entry.write(bytes(1024**2))
    pod.put("code/bomb.zip", buffer.getvalue())
    found = failure(pod, msgspec.structs.replace(plan, archive=Reference(uri="${bucket}/code/bomb.zip")))
    assert found.reason is Reason.INVALID_ARCHIVE
    assert "bomb" in found.message


def test_a_syntax_error_is_found_before_the_start_with_file_and_line(pod: Pod, plan: Plan) -> None:
    with_script(pod, "import os\n\nprint 'hello'\n")
    found = failure(pod, plan)
    assert (found.reason, found.file, found.line) == (Reason.SYNTAX_ERROR, "train.py", 3)
    assert "Python 3" in found.hint


def test_a_wrong_digest_is_refused(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    found = failure(pod, msgspec.structs.replace(plan, script=Script(name="train.py", uri="${bucket}/code/train.py", sha256="0" * 64)))
    assert found.reason is Reason.DIGEST_MISMATCH
    assert "spec.script.sha256" in found.message


def test_an_inline_script_is_taken_from_its_config_map(pod: Pod, plan: Plan) -> None:
    inline = pod.root / contract.INLINE_FOLDER.lstrip("/")
    inline.mkdir(parents=True)
    (inline / "run.py").write_text("print(2)\n")
    _, report = pod.fetch(msgspec.structs.replace(plan, script=Script(name="run.py")))
    assert report.failure is None
    assert report.script is not None
    assert len(report.script.sha256) == 64
    assert (pod.workspace / "code" / "run.py").read_text() == "print(2)\n"


def test_files_and_folders_lie_beside_the_script_and_inputs_in_their_own_folder(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    for key in ("lib/helper.py", "conf/a.json", "conf/deep/b.json", "mnist/train.bin", "one.csv"):
        pod.put(key, key)
    plan = msgspec.structs.replace(
        plan,
        files=(Reference(uri="${bucket}/lib/helper.py"), Reference(uri="${cos}/conf/")),
        inputs=(Input(name="mnist", uri="${bucket}/mnist/"), Input(name="one", uri=f"s3://{pod.bucket}/one.csv")),
        args=("${inputs.mnist}/train.bin",),
    )
    ended, report = pod.fetch(plan)
    assert report.failure is None, ended.output
    code = pod.workspace / "code"
    assert sorted(str(path.relative_to(code)) for path in code.rglob("*") if path.is_file()) == [
        "conf/a.json",
        "conf/deep/b.json",
        "helper.py",
        "train.py",
    ]
    assert (pod.workspace / "inputs" / "one" / "one.csv").read_text() == "one.csv"
    assert Path(report.resolved_args[0]).read_text() == "mnist/train.bin"
    resolved = handover.read(Resolved, pod.state / "resolved.json")
    assert resolved.environment["SM_CHANNEL_MNIST"] == str(pod.workspace / "inputs" / "mnist")


def test_two_objects_for_one_file_are_a_conflict_that_names_both(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    pod.put("other/train.py", "x")
    found = failure(pod, msgspec.structs.replace(plan, files=(Reference(uri="${bucket}/other/train.py"),)))
    assert found.reason is Reason.INPUT_CONFLICT
    assert "code/train.py" in found.message
    assert "other/train.py" in found.message


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("${nonsense}/x", "placeholder ${nonsense}"),
        ("${inputs.absent}", "${inputs.absent}"),
    ],
)
def test_an_argument_that_cannot_be_resolved_is_refused_with_what_is_possible(pod: Pod, plan: Plan, argument: str, words: str) -> None:
    with_script(pod)
    found = failure(pod, msgspec.structs.replace(plan, args=(argument,)))
    assert found.reason is Reason.INVALID_SPEC
    assert words in found.message


MAKES_ITS_FOLDERS = """
import os, sys
os.mkdir(sys.argv[1])
os.makedirs(sys.argv[2])
os.makedirs(os.path.join(sys.argv[3], "checkpoints"))
open(sys.argv[4] + "model.h5", "w").write("1")
open(sys.argv[5], "w").write("1")
"""


def test_a_script_that_makes_its_folders_finds_none_there_but_the_one_that_its_argument_ends_with(pod: Pod, plan: Plan) -> None:
    with_script(pod, MAKES_ITS_FOLDERS)
    args = ("${bucket}/model", "${cos}/output", "${bucket}", "${bucket}/out/", "${bucket}/results/out.txt")
    ended, report = pod.fetch(msgspec.structs.replace(plan, args=args))
    assert report.failure is None, ended.output
    argv = handover.read(Resolved, pod.state / "resolved.json").argv
    ran = subprocess.run([sys.executable, pod.workspace / "code/train.py", *argv], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr


def test_a_script_of_a_hosted_platform_finds_the_folders_that_its_code_names_by_their_variables(pod: Pod, plan: Plan) -> None:
    with_script(pod, "import os, paths\nopen(os.path.join(os.environ['SM_MODEL_DIR'], 'x'), 'w')\n")
    pod.put("lib.zip", zipped(paths_py="import os\nLOGS = os.environ['AIP_TENSORBOARD_LOG_DIR']\n"))
    pod.put("conf/settings.py", "import os\nCHECKPOINTS = os.environ['AIP_CHECKPOINT_DIR']\n")
    plan = msgspec.structs.replace(plan, archive=Reference(uri="${bucket}/lib.zip"), files=(Reference(uri="${bucket}/conf/"),))
    ended, report = pod.fetch(plan)
    assert report.failure is None, ended.output
    assert sorted(each.name for each in pod.local_bucket.iterdir()) == ["checkpoints", "model", "tensorboard"]
    environment = handover.read(Resolved, pod.state / "resolved.json").environment
    assert environment.keys() >= {"SM_OUTPUT_DATA_DIR", "TM_MODEL_DIR"}
    assert (environment["SM_CURRENT_HOST"], json.loads(environment["SM_HOSTS"])) == ("chief-0", ["chief-0"])


def test_an_argument_that_is_no_key_reaches_the_script_as_text_and_the_log_says_that_nothing_was_fetched(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    args = (
        "--out=${bucket}/../x",
        "${bucket}/ckpt/weights-%04d.h5",
        "${bucket}//tf_model",
        ",".join(["${bucket}/" + "a" * 250] * 6) + ",b",
    )
    ended, report = pod.fetch(msgspec.structs.replace(plan, args=args))
    assert report.failure is None, ended.output
    argv = handover.read(Resolved, pod.state / "resolved.json").argv
    assert argv == tuple(each.replace("${bucket}", str(pod.local_bucket)) for each in args)
    assert [f"spec.args[{index}]: " in ended.output for index in range(4)] == [True] * 4
    assert ended.output.count("is not a key, so it is taken as text and nothing is fetched") == 4
    assert {each.name for each in pod.workspace.iterdir()} == {"bucket", "code", "datasets", "deps", "inputs", "logs", ".tftraining"}
    assert (pod.local_bucket / "ckpt").is_dir()


def test_patterns_and_names_of_checkpoints_are_fetched_from_both_buckets(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    for key in ("bert/bert_model.ckpt.index", "bert/bert_model.ckpt.meta", "bert/bert_model.ckpt.data-00000-of-00001", "bert/vocab.txt"):
        pod.server.put(pod.datasets, key, key)
    for number in range(3):
        pod.put(f"in/train-{number:05}-of-00003", str(number))
    pod.put("in/eval-00000-of-00001", "x")
    args = ("--init_checkpoint", "${datasets}/bert/bert_model.ckpt", "data.files=${bucket}/in/train-?????-of-*")
    ended, report = pod.fetch(msgspec.structs.replace(plan, args=args))
    assert report.failure is None, ended.output
    assert sorted(each.name for each in (pod.workspace / "datasets/bert").iterdir()) == [
        "bert_model.ckpt.data-00000-of-00001",
        "bert_model.ckpt.index",
        "bert_model.ckpt.meta",
    ]
    assert [each.read_text() for each in sorted((pod.local_bucket / "in").iterdir())] == ["0", "1", "2"]
    assert "pre-flight: spec.args[1]: 3 objects" in ended.output
    assert "pre-flight: spec.args[2]: 3 objects" in ended.output


def test_a_folder_named_by_an_argument_is_fetched_up_to_the_limit_and_no_further(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    pod.put("ckpt/a", "1" * 600)
    pod.put("ckpt/b/c", "2" * 600)
    plan = msgspec.structs.replace(plan, args=("--ckpt", "${bucket}/ckpt"))
    found = failure(pod, msgspec.structs.replace(plan, implicit_fetch_bytes=1000))
    assert found.reason is Reason.INPUT_TOO_LARGE
    assert "spec.inputs" in found.hint
    _, report = pod.fetch(plan)
    assert report.failure is None
    assert (pod.local_bucket / "ckpt" / "b" / "c").read_text() == "2" * 600


def test_a_job_that_is_run_again_does_not_fetch_the_models_that_it_only_writes(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    pod.put("tf_model/1700000000/saved_model.pb", "old" * 1000)
    plan = msgspec.structs.replace(
        plan, outputs=(contract.Output(path="${bucket}/tf_model"),), args=("--export_dir", "${cos}/tf_model"), implicit_fetch_bytes=9
    )
    ended, report = pod.fetch(plan)
    assert report.failure is None, ended.output
    assert report.objects == 1, "the script"
    assert list(pod.local_bucket.iterdir()) == []
    trainer = Trainer(pod)
    trainer.write("tf_model/1800000000/saved_model.pb", "new")
    trainer.end()
    ended, published = pod.publish(plan)
    assert (published.failure, published.objects) == (None, 1), ended.output
    assert pod.server.keys(pod.bucket, "tf_model/") == ["tf_model/1700000000/saved_model.pb", "tf_model/1800000000/saved_model.pb"]


def test_more_than_the_workspace_holds_is_refused_before_the_first_byte(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    pod.put("big", "1" * 5000)
    found = failure(pod, msgspec.structs.replace(plan, inputs=(Input(name="big", uri="${bucket}/big"),), workspace_bytes=4000))
    assert found.reason is Reason.INPUT_TOO_LARGE
    assert "spec.resources.workspace" in found.hint


def test_a_large_object_comes_in_ranges_and_goes_back_in_parts(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    data = os.urandom(1024**2) * 40 + b"end"
    pod.put("data/large.bin", data)
    ended, report = pod.fetch(msgspec.structs.replace(plan, args=("${bucket}/data/large.bin",)))
    assert report.failure is None, ended.output
    local = pod.local_bucket / "data" / "large.bin"
    assert local.read_bytes() == data
    trainer = Trainer(pod)
    trainer.write("out/large.bin", data)
    trainer.end()
    _, published = pod.publish(plan, IN_PARTS)
    assert (published.failure, published.objects) == (None, 1)
    assert pod.server.get(pod.bucket, "out/large.bin") == data


def test_a_prefix_of_the_secret_holds_all_that_the_job_reads_and_writes(pod: Pod, plan: Plan) -> None:
    pod.credentials["PREFIX"] = "/team/a/"
    pod.put("team/a/code/train.py", "print(1)\n")
    ended, report = pod.fetch(plan)
    assert report.failure is None, ended.output
    trainer = Trainer(pod)
    trainer.write("out.txt", "x")
    trainer.end()
    _, published = pod.publish(plan)
    assert published.failure is None
    assert published.manifest_uri.startswith(f"s3://{pod.bucket}/team/a/.tftraining/")
    assert all(key.startswith("team/a/") for key in pod.server.keys(pod.bucket))


def test_a_failed_run_is_published_with_its_outputs_and_says_so(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("half.txt", "half")
    why = contract.Failure(reason=Reason.SCRIPT_RAISED, message="KeyError: 'x'", file="train.py", line=3)
    trainer.end(RunReport(exit_code=1, failure=why))
    ended, report = pod.publish(plan)
    assert (ended.code, report.failure, report.succeeded, report.objects) == (0, None, False, 1)
    written = json.loads(pod.server.get(pod.bucket, report.manifest_uri.removeprefix(f"s3://{pod.bucket}/")))
    assert (written["outcome"], written["failure"]["reason"], written["failure"]["line"]) == ("Failed", "ScriptRaised", 3)


def test_a_trainer_killed_without_a_word_is_noticed_at_once_and_never_a_success(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    publisher = pod.start("publish", plan)
    os.close(trainer.lock)
    ended = pod.end(publisher)
    report = ended.report(contract.PublishReport)
    assert (ended.code, report.succeeded, report.failure) == (0, False, None)
    assert ended.seconds < 30


def test_links_sockets_and_reserved_names_are_listed_and_never_uploaded(
    pod: Pod, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched(pod, plan)
    secret = tmp_path / "credentials"
    secret.mkdir()
    (secret / "token").write_text("canary-token")
    trainer = Trainer(pod)
    trainer.write("model/saved_model.pb", "m")
    (pod.local_bucket / "model" / "link").symlink_to(secret / "token")
    (pod.local_bucket / "folder").symlink_to(secret)
    os.mkfifo(pod.local_bucket / "pipe")
    # The path of a socket is short, or it is relative.
    monkeypatch.chdir(pod.local_bucket)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    trainer.write(f".tftraining/team/iris/{plan.uid}/attempt-0/manifest.json", "{}")
    trainer.write("bad\nname", "x")
    (pod.workspace / "logs" / "stdout.log").unlink(missing_ok=True)
    trainer.end()
    (pod.workspace / "logs" / "stderr.log").unlink()
    (pod.workspace / "logs" / "stderr.log").symlink_to(secret / "token")
    ended, report = pod.publish(plan)
    assert (report.failure, report.objects, report.skipped) == (None, 1, 6), ended.output
    written = json.loads(pod.server.get(pod.bucket, report.manifest_uri.removeprefix(f"s3://{pod.bucket}/")))
    assert {each["path"]: each["reason"] for each in written["skipped"]} == {
        ".tftraining": "the name is reserved",
        "bad�name": "the name cannot be a key: control characters, not UTF-8, or over 1,024 bytes",
        "folder": "a symbolic link that leads out of the folder, not followed",
        "model/link": "a symbolic link that leads out of the folder, not followed",
        "pipe": "a pipe, not followed",
        "socket": "a socket, not followed",
    }
    assert "publish: skipped socket: a socket, not followed" in ended.output
    assert "6 skipped" in ended.output
    everything = b"".join(pod.server.get(pod.bucket, key) for key in pod.server.keys(pod.bucket))
    assert b"canary" not in everything
    assert not [key for key in pod.server.keys(pod.bucket) if "token" in key or "stderr" in key]


def test_unchanged_files_are_not_uploaded_again_and_changed_ones_are(pod: Pod, plan: Plan) -> None:
    pod.put("state/a", "same")
    pod.put("state/b", "before")
    plan = msgspec.structs.replace(plan, args=("${bucket}/state",))
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("state/b", "after!")
    trainer.end()
    _, report = pod.publish(plan)
    assert report.objects == 1
    assert pod.server.get(pod.bucket, "state/b") == b"after!"


def test_publishing_twice_changes_nothing_and_a_second_writer_is_fenced(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("out", "1")
    trainer.end()
    _, first = pod.publish(plan)
    _, again = pod.publish(plan)
    assert again == first
    (pod.local_bucket / "out").write_text("2")
    ended, other = pod.publish(plan)
    assert ended.code == 1
    assert other.failure is not None
    assert other.failure.reason is Reason.PUBLISH_FAILED
    assert pod.server.get(pod.bucket, "out") == b"1"


def test_a_run_that_has_succeeded_is_not_run_again(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("out", "1")
    trainer.end()
    _, first = pod.publish(plan)
    second = Pod(pod.root.with_name("second"), pod.server, pod.bucket, pod.datasets)
    ended, report = second.fetch(plan)
    assert (ended.code, report.failure) == (0, None)
    assert handover.read(Resolved, second.state / "resolved.json").already_done
    os.close(Trainer(second).lock)
    _, confirmed = second.publish(plan)
    assert confirmed == first


def test_a_run_that_has_failed_says_so_again_instead_of_running(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    Trainer(pod).end(RunReport(exit_code=3))
    pod.publish(plan)
    second = Pod(pod.root.with_name("second"), pod.server, pod.bucket, pod.datasets)
    assert failure(second, plan).reason is Reason.SCRIPT_EXITED


def test_a_publisher_that_is_asked_to_stop_waits_for_the_trainer_and_then_publishes(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    publisher = pod.start("publish", plan)
    until_handler_is_set(publisher.pid)
    publisher.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        publisher.wait(0.5)
    trainer.write("late.txt", "saved")
    trainer.end(RunReport(exit_code=143))
    report = pod.end(publisher).report(contract.PublishReport)
    assert (report.failure, report.objects, report.succeeded) == (None, 1, False)


def test_a_publisher_that_is_asked_to_stop_before_the_start_ends_at_once(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    publisher = pod.start("publish", plan)
    until_handler_is_set(publisher.pid)
    publisher.send_signal(signal.SIGTERM)
    ended = pod.end(publisher, 20)
    report = ended.report(contract.PublishReport)
    assert (ended.code, report.succeeded) == (0, False)


def test_a_publisher_that_is_asked_to_stop_during_its_imports_publishes_all_the_same(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    command = [sys.executable, "-I", *STOPPED_EARLY, str(int(signal.SIGTERM)), "publish"]
    ended = pod.end(subprocess.Popen(command, env=pod.environment(plan), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True), 20)
    report = ended.report(contract.PublishReport)
    assert (ended.code, report.failure, report.succeeded) == (0, None, False)
    assert report.manifest_uri


def test_fetch_that_is_asked_to_stop_ends_promptly_with_143(pod: Pod, plan: Plan) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        pod.credentials["ENDPOINT"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = pod.start("fetch", plan)
        connection, _ = silent.accept()
        process.send_signal(signal.SIGTERM)
        ended = pod.end(process, 10)
        connection.close()
    assert ended.code == 143
    found = ended.report(contract.FetchReport).failure
    assert found is not None
    assert found.reason is Reason.TERMINATED


@pytest.mark.parametrize("kill_after", [1, 2, 3, 4])
def test_a_publisher_killed_between_two_requests_leaves_no_manifest_or_a_whole_one(pod: Pod, plan: Plan, kill_after: int) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    for number in range(3):
        trainer.write(f"out/{number}", f"{number}")
    trainer.end()
    publisher = pod.start("publish", plan)
    place = f".tftraining/team/iris/{plan.uid}/attempt-0/"
    deadline = time.monotonic() + 20
    while publisher.poll() is None and time.monotonic() < deadline:
        if len([key for key in pod.server.keys(pod.bucket) if key.startswith(("out/", place + "logs"))]) >= kill_after:
            publisher.kill()
            break
    pod.end(publisher)
    keys = pod.server.keys(pod.bucket)
    if place + "manifest.json" in keys:
        written = json.loads(pod.server.get(pod.bucket, place + "manifest.json"))
        assert {each["key"] for each in written["objects"]} <= set(keys)
    ended, report = pod.publish(plan)
    assert (report.failure, report.succeeded, report.objects) == (None, True, 3), ended.output


def test_the_secret_is_in_no_output_of_any_phase_or_object(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("out", "1")
    trainer.end()
    fetch, _ = pod.fetch(plan)
    publish, _ = pod.publish(plan)
    files = b"".join(path.read_bytes() for path in pod.root.rglob("*") if path.is_file())
    objects = b"".join(pod.server.get(pod.bucket, key) for key in pod.server.keys(pod.bucket))
    everything = fetch.output.encode() + publish.output.encode() + fetch.message + publish.message + files + objects
    forms = {SECRET_KEY, SECRET_KEY[:8], urllib.parse.quote(SECRET_KEY, safe=""), base64.b64encode(SECRET_KEY.encode()).decode()}
    assert not [form for form in forms if form.encode() in everything]
    assert ACCESS_KEY.encode() not in everything


@pytest.mark.parametrize(
    ("script", "succeeded"),
    [
        ("import sys, helper\nopen(sys.argv[1], 'w').write(helper.VALUE)\nprint('done')\n", True),
        ("import sys, helper\nopen(sys.argv[1], 'w').write(helper.VALUE)\nraise KeyError('x')\n", False),
    ],
)
def test_fetch_the_real_launcher_and_publish_understand_each_other(pod: Pod, plan: Plan, script: str, succeeded: bool) -> None:
    with_script(pod, script)
    pod.put("lib.zip", zipped(helper_py="VALUE = 'from the archive'\n"))
    plan = msgspec.structs.replace(plan, archive=Reference(uri="${bucket}/lib.zip"), args=("${bucket}/results/out.txt",))
    ended, report = pod.fetch(plan)
    assert report.failure is None, ended.output
    publisher = pod.start("publish", plan)
    ran = subprocess.run([sys.executable, "-I", "-c", LAUNCH, str(pod.root), contract.encode_plan(plan)], check=False, timeout=60)
    ended = pod.end(publisher)
    published = ended.report(contract.PublishReport)
    assert (published.failure, published.succeeded, ran.returncode == 0) == (None, succeeded, succeeded), ended.output
    assert pod.server.get(pod.bucket, "results/out.txt") == b"from the archive"
    written = json.loads(pod.server.get(pod.bucket, published.manifest_uri.removeprefix(f"s3://{pod.bucket}/")))
    assert written.get("failure", {}).get("reason") == (None if succeeded else "ScriptRaised")
    logs = published.logs_uri.removeprefix(f"s3://{pod.bucket}/")
    assert (b"done" in pod.server.get(pod.bucket, logs + "stdout.log")) is succeeded


def test_a_reader_of_the_bucket_sees_the_log_while_the_script_runs(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    flag = tmp_path / "go on"
    with_script(pod, f"import os, sys, time\nprint('first')\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.02)\nprint('last')\n")
    ended, report = pod.fetch(plan)
    assert report.failure is None, ended.output
    logs = report.logs_uri.removeprefix(f"s3://{pod.bucket}/")
    publisher = pod.start("publish", plan)
    launcher = subprocess.Popen([sys.executable, "-I", "-c", LAUNCH, str(pod.root), contract.encode_plan(plan)])
    until = time.monotonic() + 30
    while f"{logs}live/index.json" not in pod.server.keys(pod.bucket, logs):
        assert time.monotonic() < until
        assert launcher.poll() is None
        time.sleep(0.1)
    index = json.loads(pod.server.get(pod.bucket, f"{logs}live/index.json"))
    assert (index["streams"]["stderr"], index["cut"]) == ([], [])
    assert [(part["offset"], part["size"]) for part in index["streams"]["stdout"]] == [(0, 6)]
    assert pod.server.get(pod.bucket, f"{logs}live/{index['streams']['stdout'][0]['name']}") == b"first\n"
    flag.touch()
    assert launcher.wait(60) == 0
    ended = pod.end(publisher)
    assert ended.report(contract.PublishReport).succeeded, ended.output
    assert pod.server.get(pod.bucket, f"{logs}stdout.log") == b"first\nlast\n"


def test_the_phases_say_in_one_sentence_what_is_wrong_with_their_call() -> None:
    for arguments, environment, words in (
        (["fetch"], {}, contract.PLAN_VARIABLE),
        (["publish"], {contract.PLAN_VARIABLE: "{}"}, "is not a plan"),
    ):
        ran = subprocess.run(
            [sys.executable, "-I", "-m", "tftrainer", *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert ran.returncode == 64
        assert words in ran.stderr
        assert len(ran.stderr.splitlines()) == 1


def test_the_run_phase_never_meets_the_storage_client() -> None:
    code = "import sys, tftrainer.__main__, tftrainer.run.launcher; print([m for m in sys.modules if m.startswith(('minio', 'urllib3'))])"
    ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"
