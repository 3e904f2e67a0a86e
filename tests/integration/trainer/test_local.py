"""A job file run without a cluster: real processes, a folder or a real S3 server as bucket."""

from __future__ import annotations

import fcntl
import io
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tftraining_operator.api.spec import Spec
from tftraining_operator.api.status import Status

from tests.integration.trainer.interrupting_proxy import Request, interrupting
from tests.integration.trainer.package_index import running_index
from tests.integration.trainer.pods import ACCESS_KEY, SECRET_KEY, StoreServer

SECONDS = 60.0
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("TFTRAINING", "AWS_"))}
SECURE = {
    "TFTRAINING_S3_ENDPOINT": "https://127.0.0.1:1",
    "TFTRAINING_S3_BUCKET": "bucket",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
}
IRIS = """
import argparse
import os
import sys

import iris_data

parser = argparse.ArgumentParser()
parser.add_argument("--train_path", required=True)
parser.add_argument("--export_dir", required=True)
options = parser.parse_args()
rows = open(options.train_path).read().splitlines()
settings = open("conf/settings.txt").read()
print(f"{iris_data.COLUMNS} columns, {len(rows)} rows, {settings}, {os.environ['GREETING']}")
print("training", file=sys.stderr)
os.makedirs(f"{options.export_dir}/1795448933")
open(f"{options.export_dir}/1795448933/saved_model.pb", "wb").write(b"model")
"""
WAITS = """
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path(sys.argv[1]).write_text("saved")
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
print("up", flush=True)
time.sleep(600)
"""


@dataclass
class Done:
    """A run that has ended."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


class Here:
    """A folder with a bucket, a dataset library and job files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bucket, self.datasets = root / "bucket", root / "datasets"
        for folder in (self.bucket, self.datasets):
            folder.mkdir()

    def put(self, path: str, data: bytes | str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)

    def job(self, script: dict[str, str] | str, **spec: Any) -> Path:
        wanted = {"name": "train.py", "inline": script} if isinstance(script, str) else script
        job = {
            "apiVersion": "tftraining.dev/v1alpha1",
            "kind": "TFTrainingJob",
            "metadata": {"name": "iris"},
            "spec": {"script": wanted} | spec,
        }
        self.put("job.yaml", yaml.safe_dump(job))
        return self.root / "job.yaml"

    def start(
        self, *arguments: str | Path, by: Sequence[str] = (), stdout: int = subprocess.PIPE, **environment: str
    ) -> subprocess.Popen[str]:
        with (self.root / "stderr").open("wb") as stderr:
            return subprocess.Popen(
                [*(by or (sys.executable, "-m")), "tftrainer", "local", *map(str, arguments)],
                env=CLEAN | {"TMPDIR": str(self.root), **environment},
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                text=True,
            )

    def said(self, words: str) -> bool:
        """Whether a run has said that on standard error."""
        return words in (self.root / "stderr").read_text()

    def end(self, process: subprocess.Popen[str]) -> Done:
        try:
            out, _ = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
        err = (self.root / "stderr").read_text()
        assert "Traceback" not in err or "user's own" in err, err
        told = [line.split()[1].rstrip(":") for line in err.splitlines() if line.startswith("  kept ")]
        assert told == [f"{each}/workspace" for each in self.root.glob("tftraining-*")], err
        return Done(process.returncode, out, err)

    def forget(self, done: Done) -> Path:
        """Return the workspace that a run has kept, moved to where the next run's is not searched for."""
        path = Path(done.result["workspace"])
        shutil.move(path, self.root / "kept")
        shutil.rmtree(path.parent)
        return self.root / "kept"

    def kept(self) -> Path:
        """Return the workspace that a run has left."""
        [found] = self.root.glob("tftraining-*/workspace")
        return found

    def run(self, job: Path, *arguments: str | Path, **environment: str) -> Done:
        return self.end(self.start(job, "--bucket", self.bucket, *arguments, **environment))

    def manifest(self, attempt: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.bucket / f".tftraining/default/iris/local/attempt-{attempt}/manifest.json").read_text())
        return found


@pytest.fixture
def here(tmp_path: Path) -> Here:
    """Return a new folder."""
    return Here(tmp_path)


def iris(put: Callable[[str, bytes | str], None]) -> dict[str, Any]:
    """Put the files of an iris-shaped job into its bucket, and return the spec that names them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("iris_data.py", "COLUMNS = 5\n")
    put("bucket/code/train.py", IRIS)
    put("bucket/code/iris.zip", buffer.getvalue())
    put("bucket/code/conf/settings.txt", "steps=10")
    put("datasets/demo/iris.csv", "1,2\n3,4\n")
    return {
        "runtime": "tf1",
        "dependencies": {"archive": {"uri": "s3://models-of-us/code/iris.zip"}, "files": [{"uri": "${bucket}/code/conf/"}]},
        "args": ["--train_path", "${ai_dataset_lib}/demo/iris.csv", "--export_dir=${cos}/tf_model"],
        "env": [{"name": "GREETING", "value": "job ${job}"}],
    }


def test_an_iris_shaped_job_runs_on_folders_and_its_result_is_a_status(here: Here) -> None:
    job = here.job({"uri": "s3://models-of-us/code/train.py"}, **iris(here.put))
    done = here.run(job, "--datasets", here.datasets, "--result", here.root / "result.json")
    assert done.code == 0, done.err
    assert done.out == "5 columns, 2 rows, steps=10, job iris\n"
    assert "training\n" in done.err
    assert (here.bucket / "tf_model/1795448933/saved_model.pb").read_bytes() == b"model"
    result = json.loads((here.root / "result.json").read_text())
    status = Status.model_validate(result)
    assert set(result) <= {field.alias for field in Status.model_fields.values()}
    assert (status.phase, status.runtime) == ("Succeeded", "tf1")
    assert status.model is not None
    assert status.model.uri == f"{here.bucket}/tf_model/1795448933/"
    assert status.code is not None
    assert status.code.script is not None
    assert status.code.archive is not None
    assert [each.uri for each in (status.code.script, status.code.archive)] == [
        f"{here.bucket}/code/{name}" for name in ("train.py", "iris.zip")
    ]
    assert status.outputs is not None
    assert Path(status.outputs.manifest).is_file()
    assert here.manifest(0)["outcome"] == "Succeeded"
    assert (here.bucket / ".tftraining/default/iris/local/attempt-0/logs/stdout.log").read_text() == done.out


def test_the_lock_file_of_a_run_is_a_job_that_runs_again_and_refuses_other_code(here: Here) -> None:
    spec = iris(here.put)
    spec["dependencies"]["files"] = [{"uri": "${bucket}/code/settings.txt"}]
    here.put("bucket/code/settings.txt", "steps=10")
    job = here.job({"uri": "${bucket}/code/train.py"}, **(spec | {"suspend": False}))
    (here.bucket / "code/train.py").write_text(IRIS.replace("conf/settings", "settings"))
    assert here.run(job, "--datasets", here.datasets).code == 0
    lock = json.loads((here.bucket / ".tftraining/default/iris/local/attempt-0/run.lock.json").read_text())
    manifest = here.manifest(0)
    assert manifest["lock"]["size"] == (here.bucket / manifest["lock"]["key"]).stat().st_size
    assert [each["uri"].rpartition("/")[2] for each in lock["code"]] == ["train.py", "iris.zip", "settings.txt"]
    assert [each["uri"].rpartition("/")[2] for each in lock["inputs"]] == ["iris.csv"]
    assert lock["packages"]["minio"]
    assert Spec.model_validate(lock["job"]["spec"]).script.sha256 == manifest["script"]["sha256"]
    again = here.root / "again.yaml"
    again.write_text(json.dumps(lock["job"]))
    shutil.rmtree(here.bucket / "tf_model")
    done = here.run(again, "--datasets", here.datasets)
    assert (done.code, done.out) == (0, "5 columns, 2 rows, steps=10, job iris\n"), done.err
    (here.bucket / "code/settings.txt").write_text("steps=11")
    done = here.run(again, "--datasets", here.datasets)
    assert "DigestMismatch" in done.err
    assert "settings.txt" in done.err


def test_the_lock_file_of_an_inline_script_holds_it(here: Here) -> None:
    assert here.run(here.job("print('ü')\n", args=["1"])).code == 0
    lock = json.loads((here.bucket / ".tftraining/default/iris/local/attempt-0/run.lock.json").read_text())
    spec = lock["job"]["spec"]
    assert (spec["runtime"], spec["script"], spec["args"]) == ("tf2", {"name": "train.py", "inline": "print('ü')\n"}, ["1"])
    assert here.run(here.job(**spec)).out == "ü\n"


PROJECT = {
    "project/src/__init__.py": "",
    "project/src/data.py": "ROWS = 3\n",
    "project/src/train.py": "import sys\nfrom .data import ROWS\nprint(ROWS, open('conf/a.json').read(), *sys.argv[1:])\n",
    "project/run.py": "import src.train\n",
    "project/conf/a.json": "{}",
}
WAYS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "a folder that holds the script": ({"uri": "${bucket}/project/run.py"}, {"uri": "${bucket}/project/"}),
    "a path": ({"path": "run.py"}, {"uri": "${bucket}/project/", "into": "."}),
    "a module": ({"module": "src.train"}, {"uri": "${bucket}/project/", "into": "."}),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_project_runs_in_each_way_to_name_it_and_so_does_its_lock_file(here: Here, way: str) -> None:
    for name, text in PROJECT.items():
        here.put(f"bucket/{name}", text)
    script, files = WAYS[way]
    done = here.run(here.job(script, dependencies={"files": [files]}, args=["x"]), "--result", here.root / "result.json")
    assert (done.code, done.out) == (0, "3 {} x\n"), done.err
    [code] = json.loads((here.root / "result.json").read_text())["code"]["files"]
    assert code["uri"] == "${bucket}/project/"
    lock = json.loads((here.bucket / ".tftraining/default/iris/local/attempt-0/run.lock.json").read_text())
    assert {name: each for name, each in lock["job"]["spec"]["script"].items() if name != "sha256"} == script
    assert sorted(Path(each["uri"]).relative_to(here.bucket).as_posix() for each in lock["code"]) == sorted(PROJECT)
    Spec.model_validate(lock["job"]["spec"])
    again = here.root / "again.yaml"
    again.write_text(json.dumps(lock["job"]))
    assert here.run(again).out == "3 {} x\n"


def test_an_address_of_the_bucket_among_the_arguments_is_told_before_the_start(here: Here) -> None:
    here.put("bucket/reports/rows.csv", "1,2")
    done = here.run(here.job("import sys\nprint(sys.argv[1])\n", args=["--train=s3://tftraining/reports/rows.csv"]))
    assert (done.code, done.out) == (0, "--train=s3://tftraining/reports/rows.csv\n")
    assert (
        "spec.args[0] holds s3://tftraining/reports/rows.csv, an address that TensorFlow cannot open: write ${bucket}/reports/rows.csv"
        in done.err
    )


def test_a_key_that_is_almost_one_is_told_before_the_start_and_again_when_the_script_does_not_find_it(here: Here) -> None:
    here.put("bucket/in/rows.csv", "1,2")
    job = here.job("import sys\nopen(sys.argv[1])  # the user's own\n", args=["${bucket}/in/row.csv"])
    done = here.run(job, "--result", here.root / "result.json")
    assert "so it is taken for something that the script will write; beside it there is ${bucket}/in/rows.csv" in done.err
    failure = json.loads((here.root / "result.json").read_text())["failure"]
    assert failure["reason"] == "ScriptRaised"
    assert failure["hint"].startswith("Write ${bucket}/in/rows.csv into the argument: nothing was at ${bucket}/in/row.csv")


def test_name_and_attempt_stand_in_every_path_of_a_job(here: Here) -> None:
    here.put("bucket/code/iris/train.py", "import pathlib, sys\nfor each in sys.argv[1:]:\n    pathlib.Path(each).write_text('x')\n")
    here.put("bucket/in/0/a", "1")
    here.put("bucket/in/1/a", "1")
    spec = {
        "args": ["${bucket}/runs/${job}/${attempt}/x", "${bucket}/$${job}"],
        "inputs": [{"name": "in", "uri": "${bucket}/in/${attempt}/"}],
        "outputs": [{"path": "${bucket}/runs/${job}/${attempt}/"}, {"path": "${bucket}/$${job}"}],
    }
    job = here.job({"uri": "${bucket}/code/${job}/train.py"}, **spec)
    for attempt in (0, 1):
        done = here.run(job)
        assert done.code == 0, done.err
        assert (here.bucket / f"runs/iris/{attempt}/x").read_text() == "x"
        lock = json.loads((here.bucket / f".tftraining/default/iris/local/attempt-{attempt}/run.lock.json").read_text())
        assert lock["job"]["spec"]["inputs"] == [{"name": "in", "uri": f"${{bucket}}/in/{attempt}/"}]
    assert (here.bucket / "${job}").read_text() == "x"


def test_all_of_the_bucket_can_be_an_input(here: Here) -> None:
    here.put("bucket/a/b.txt", "1")
    script = "import os, sys\nprint(sorted(os.listdir(sys.argv[1])), open(sys.argv[1] + '/a/b.txt').read())\n"
    done = here.run(here.job(script, args=["${inputs.all}"], inputs=[{"name": "all", "uri": "${bucket}/"}]))
    assert (done.code, done.out) == (0, "['a'] 1\n"), done.err


def settings(store_server: StoreServer, bucket: str, endpoint: str = "") -> dict[str, str]:
    """Return the variables that name a bucket."""
    return {
        "TFTRAINING_S3_ENDPOINT": endpoint or store_server.endpoint,
        "TFTRAINING_S3_BUCKET": bucket,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }


@pytest.mark.every_store
def test_the_same_job_runs_on_a_real_s3_server(here: Here, store_server: StoreServer) -> None:
    buckets = {"bucket": store_server.new_bucket(), "datasets": store_server.new_bucket()}

    def put(path: str, data: bytes | str) -> None:
        bucket, _, key = path.partition("/")
        store_server.put(buckets[bucket], f"team/{key}" if bucket == "bucket" else key, data)

    spec = iris(put)
    spec["dependencies"]["archive"]["uri"] = f"s3://{buckets['bucket']}/team/code/iris.zip"
    job = here.job({"uri": "${bucket}/code/train.py"}, **spec)
    environment = settings(store_server, buckets["bucket"]) | {
        "TFTRAINING_S3_PREFIX": "team",
        "TFTRAINING_S3_DATASETS_BUCKET": buckets["datasets"],
    }
    done = here.end(here.start(job, "--json", **environment))
    assert done.code == 0, done.err
    assert done.result["model"]["uri"] == f"s3://{buckets['bucket']}/team/tf_model/1795448933/"
    assert store_server.get(buckets["bucket"], "team/tf_model/1795448933/saved_model.pb") == b"model"
    assert "5 columns, 2 rows" in done.err
    assert SECRET_KEY not in done.out + done.err


def test_what_is_wrong_with_a_store_is_said_with_the_variables_that_stand_for_the_secret(here: Here, store_server: StoreServer) -> None:
    environment = settings(store_server, store_server.new_bucket()) | {"AWS_SECRET_ACCESS_KEY": "another"}
    done = here.end(here.start(here.job("print('ran')\n"), **environment))
    assert (done.code, done.out) == (66, ""), done.err
    assert "accessKey is AWS_ACCESS_KEY_ID, secretKey is AWS_SECRET_ACCESS_KEY" in done.err


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.02)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_publishing_that_is_given_up_leaves_the_workspace_and_says_where(here: Here, store_server: StoreServer, number: int) -> None:
    bucket = store_server.new_bucket()
    stuck, let_go = threading.Event(), threading.Event()

    def hold(_number: int, request: Request) -> None:
        if request.method == "PUT" and request.path.partition("?")[0].endswith("/out"):
            stuck.set()
            let_go.wait(SECONDS)

    job = here.job("import sys; print('said'); open(sys.argv[1], 'w').write('hours of work')\n", args=["${bucket}/out"])
    with interrupting(store_server.endpoint) as proxy:
        proxy.before = hold
        process = here.start(job, "--json", **settings(store_server, bucket, proxy.endpoint))
        try:
            assert stuck.wait(SECONDS)
            process.send_signal(number)
            until(lambda: here.said("once more gives it up"), "the first signal is heard")
            process.send_signal(number)
            done = here.end(process)
        finally:
            let_go.set()
    assert done.code == 74, done.err
    assert done.result["failure"]["reason"] == "PublishFailed"
    assert "publishing was given up" in done.result["message"]
    workspace = Path(done.result["workspace"])
    assert (workspace / "bucket/out").read_text() == "hours of work"
    assert (workspace / "logs/stdout.log").read_text() == "said\n"


@pytest.mark.usefixtures("heard")
def test_an_interrupt_before_anything_was_started_is_said_without_a_traceback(here: Here) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        secure = {**SECURE, "TFTRAINING_S3_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        process = here.start(here.job("print('ran')\n"), **secure)
        silent.settimeout(SECONDS)
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        done = here.end(process)
        connection.close()
    assert (done.code, done.out, done.err) == (130, "", "tftrainer local: interrupted\n")


@pytest.mark.usefixtures("heard")
def test_a_signal_while_data_is_fetched_ends_the_run_and_leaves_nothing(here: Here, store_server: StoreServer) -> None:
    bucket = store_server.new_bucket()
    store_server.put(bucket, "data", "x")
    stuck, let_go = threading.Event(), threading.Event()

    def hold(_number: int, request: Request) -> None:
        if request.method == "GET" and request.path.endswith("/data"):
            stuck.set()
            let_go.wait(SECONDS)

    with interrupting(store_server.endpoint) as proxy:
        proxy.before = hold
        job = here.job("print('ran')\n", args=["${bucket}/data"])
        process = here.start(job, "--json", **settings(store_server, bucket, proxy.endpoint))
        try:
            assert stuck.wait(SECONDS)
            process.send_signal(signal.SIGTERM)
            done = here.end(process)
        finally:
            let_go.set()
    assert done.code == 143, done.err
    assert done.result["failure"]["reason"] == "Terminated"
    assert "workspace" not in done.result


def test_the_scripts_own_exit_code_and_place_of_failure_come_out_and_what_it_wrote_is_published(here: Here) -> None:
    script = "import sys\nopen(sys.argv[1], 'w').write('kept')\nraise KeyError(\"user's own\")\n"
    done = here.run(here.job(script, args=["${bucket}/out.txt"]), "--json")
    assert done.code == 1
    failure = done.result["failure"]
    assert (failure["reason"], failure["file"], failure["line"], failure["exitCode"]) == ("ScriptRaised", "train.py", 3, 1)
    assert (here.bucket / "out.txt").read_text() == "kept"
    assert here.manifest(0)["outcome"] == "Failed"
    assert here.run(here.job("raise SystemExit(42)\n")).code == 42


@pytest.mark.parametrize(
    ("script", "spec", "reason", "words"),
    [
        ("def broken(:\n", {}, "ScriptSyntaxError", "train.py, line 1"),
        ("import nonexistent_xyz\n", {}, "ImportMissing", "nonexistent_xyz"),
        ("print(1)\n", {"inputs": [{"name": "a", "uri": "${bucket}/no/"}]}, "ObjectNotFound", "bucket/no/ is empty or does not exist"),
        ("print(1)\n", {"dependencies": {"archive": {"uri": "${bucket}/no.zip"}}}, "ObjectNotFound", "spec.dependencies.archive.uri"),
    ],
)
def test_what_keeps_a_script_from_starting_has_a_code_of_its_own(
    here: Here, script: str, spec: dict[str, Any], reason: str, words: str
) -> None:
    done = here.run(here.job(script, **spec), "--json")
    assert done.code == 66
    assert done.result["failure"]["reason"] == reason
    assert words in done.result["failure"]["message"]


def test_each_run_is_an_attempt_of_its_own_and_says_so(here: Here) -> None:
    job = here.job("import sys; open(sys.argv[1], 'a').write(sys.argv[2])\n", args=["${bucket}/runs", "${attempt}"])
    first, second = here.run(job, "--json"), here.run(job, "--json")
    assert [first.code, second.code] == [0, 0]
    assert "earlier runs" not in first.err
    assert "this is attempt 1" in second.err
    assert second.result["attempt"] == 1
    assert (here.bucket / "runs").read_text() == "01"
    assert here.manifest(0) != here.manifest(1)


def test_two_runs_at_a_time_of_one_job_publish_both(here: Here) -> None:
    script = "import pathlib, sys\nout = pathlib.Path(sys.argv[1])\nout.write_text('x')\nprint('waiting', flush=True)\n"
    wait = "import time\nwhile not pathlib.Path(sys.argv[2]).exists():\n    time.sleep(0.02)\n"
    first = here.start(here.job(script + wait, args=["${bucket}/first", f"{here.root}/go"]), "--bucket", here.bucket, "--json")
    until(lambda: here.said("waiting"), "the first runs")
    (here.root / "other").mkdir()
    other = Here(here.root / "other")
    second = other.end(other.start(other.job(script, args=["${bucket}/second"]), "--bucket", here.bucket, "--json"))
    here.put("go", "")
    assert (second.code, second.result["attempt"]) == (0, 1), second.err
    done = here.end(first)
    assert done.code == 0, done.err
    assert sorted(each.name for each in here.bucket.iterdir()) == [".tftraining", "first", "second"]


SAVES = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
done = len(list(folder.glob("step-*")))
print(f"step {done}")
(folder / f"step-{done}").write_text("weights")
if done < 1:
    raise SystemExit(3)
"""


def test_a_run_that_failed_goes_on_from_its_checkpoint_as_the_next_attempt(here: Here) -> None:
    job = here.job(SAVES, args=["${bucket}/ckpt"], checkpoints={"path": "${bucket}/ckpt"})
    first = here.run(job, "--json")
    assert (first.code, first.result.get("attempt", 0)) == (3, 0), first.err
    assert "1 file, saved by attempt 0 of default/iris" in first.result["checkpoint"]["saved"]
    assert "step 0\n" in first.err
    second = here.run(job, "--json")
    assert (second.code, second.result["attempt"]) == (0, 1), second.err
    assert "1 file, saved by attempt 0 of default/iris" in second.result["checkpoint"]["restored"]
    assert "2 files, saved by attempt 1 of default/iris" in second.result["checkpoint"]["saved"]
    assert "step 1\n" in second.err
    assert sorted(each.name for each in (here.bucket / "ckpt").iterdir()) == [".tftraining", "step-0", "step-1"]
    assert [here.manifest(attempt)["outcome"] for attempt in (0, 1)] == ["Failed", "Succeeded"]


def test_packages_are_installed_from_the_index_that_is_named(here: Here) -> None:
    spec = {"dependencies": {"requirements": ["helper>=1"]}}
    script = "import helper; print(helper.VERSION)\n"
    with running_index() as index:
        index.add("helper", "1.2")
        done = here.run(here.job(script, **spec), "--package-index", index.url)
        assert (done.code, done.out) == (0, "1.2\n"), done.err
        lock = json.loads((here.bucket / ".tftraining/default/iris/local/attempt-0/run.lock.json").read_text())
        assert [f"{each['name']}=={each['version']}" for each in lock["requirements"]] == ["helper==1.2"]
        done = here.run(here.job(script, dependencies={"requirements": ["missing"]}), "--package-index", index.url, "--json")
        assert (done.code, done.result["failure"]["reason"]) == (66, "RequirementsUnsatisfiable"), done.err
    done = here.run(here.job(script, **spec))
    assert (done.code, done.out) == (64, "")
    assert "name its URL with --package-index" in done.err


def test_the_exit_code_of_a_script_that_a_signal_ends_is_that_of_a_shell(here: Here) -> None:
    done = here.run(here.job("import os; os.kill(os.getpid(), 9)\n"), "--json")
    assert done.code == 137
    assert (done.result["failure"]["reason"], done.result["failure"]["exitCode"]) == ("ScriptKilled", 137)


@pytest.mark.parametrize("field", ["suspend", "stop"])
def test_a_suspended_or_stopped_job_does_not_run(here: Here, field: str) -> None:
    done = here.run(here.job("print('ran')\n", **{field: True}))
    assert (done.code, done.out) == (65, "")
    assert f"spec.{field} is true" in done.err


def test_a_job_of_several_replicas_does_not_run(here: Here) -> None:
    done = here.run(here.job("print('ran')\n", replicas={"worker": {"count": 2}}))
    assert (done.code, done.out) == (65, "")
    assert "spec.replicas asks for 2 replicas, and here one process runs" in done.err
    assert here.run(here.job("print('ran')\n", replicas={"chief": {}})).code == 0


def test_a_wrong_job_file_has_a_code_of_its_own_and_names_the_field(here: Here) -> None:
    done = here.run(here.job("print(1)\n", arg=["a"]))
    assert done.code == 65
    assert "job.yaml: unknown field spec.arg: did you mean args?" in done.err


@pytest.mark.parametrize(
    ("spec", "arguments", "environment", "words"),
    [
        ({}, [], {}, "--bucket DIR, or an S3 bucket in the environment: TFTRAINING_S3_ENDPOINT, TFTRAINING_S3_BUCKET"),
        ({}, [], {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, "no bucket is given"),
        ({}, [], {"TFTRAINING_S3_BUCKET": "b"}, "TFTRAINING_S3_ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY must be set"),
        ({}, ["--bucket", "missing"], {}, "--bucket is 'missing', which is missing"),
        ({}, ["--bucket", "job.yaml"], {}, "not a folder"),
        ({}, ["--bucket", "not-utf-8-\udcff"], {}, "whose path is not UTF-8"),
        ({"args": ["${datasets}/x"]}, ["--bucket", "bucket"], {}, "--datasets DIR"),
        (
            {"inputs": [{"name": "a", "uri": "s3://one/a"}, {"name": "b", "uri": "s3://two/b"}]},
            ["--bucket", "bucket"],
            {},
            "names 2 buckets",
        ),
        ({}, [], SECURE | {"AWS_CA_BUNDLE": "missing"}, "AWS_CA_BUNDLE: missing cannot be read: No such file"),
        ({}, [], SECURE | {"AWS_CA_BUNDLE": "job.yaml"}, "AWS_CA_BUNDLE: job.yaml holds no certificate"),
        ({}, ["--buckt", "bucket"], {}, "--help"),
    ],
)
def test_a_bucket_that_cannot_be_told_is_said_with_both_ways(
    here: Here, spec: dict[str, Any], arguments: list[str], environment: dict[str, str], words: str
) -> None:
    (here.root / "not-utf-8-\udcff").mkdir()
    done = here.end(here.start(here.job("print(1)\n", **spec), *arguments, **environment))
    assert done.code == 64
    assert words in done.err


@pytest.mark.parametrize(("folder", "words"), [("missing", "No such file or directory"), ("not-utf-8-\udcff", "its path is not UTF-8")])
def test_a_workspace_that_cannot_be_is_said_with_the_variable_that_names_its_folder(here: Here, folder: str, words: str) -> None:
    (here.root / "not-utf-8-\udcff").mkdir()
    done = here.run(here.job("print(1)\n"), TMPDIR=str(here.root / folder))
    assert (done.code, done.out) == (70, ""), done.err
    assert "TMPDIR" in done.err
    assert words in done.err


@pytest.mark.parametrize(
    ("ending", "code", "reason"), [("", 74, "PublishFailed"), ("import time; time.sleep(3); raise SystemExit(5)\n", 5, "ScriptExited")]
)
def test_outputs_that_cannot_be_published_fail_the_run_and_stay_in_the_workspace(here: Here, ending: str, code: int, reason: str) -> None:
    here.put("bucket/taken/file", "x")
    script = "import sys; print('said'); open(sys.argv[1] + '/taken', 'w').write('hours of work')\n"
    done = here.run(here.job(script + ending, args=["${bucket}"]), "--json")
    assert done.code == code, done.err
    assert done.result["failure"]["reason"] == reason
    assert "both a file and a folder" in done.result["message"]
    workspace = here.forget(done)
    assert (workspace / "bucket/taken").read_text() == "hours of work"
    assert (workspace / "logs/stdout.log").read_text() == "said\n"
    shutil.rmtree(here.bucket / "taken")
    done = here.run(here.job(script, args=["${bucket}"]), "--json")
    assert done.code == 0, done.err
    assert "workspace" not in done.result


@pytest.mark.parametrize("name", [b"out\\model.h5", b"caf\xe9", b"out/.tftraining/model.h5"])
def test_outputs_that_cannot_be_objects_stay_in_the_workspace(here: Here, name: bytes) -> None:
    script = f"""
import os, sys
target = os.path.join(os.fsencode(sys.argv[1]), {name!r})
os.makedirs(os.path.dirname(target), exist_ok=True)
open(target, "w").write("hours of work")
"""
    done = here.run(here.job(script, args=["${bucket}"]), "--json")
    assert done.code == 0, done.err
    workspace = Path(done.result["workspace"])
    assert Path(os.fsdecode(os.path.join(os.fsencode(workspace / "bucket"), name))).read_text() == "hours of work"  # noqa: PTH118 - bytes
    assert "publish: skipped " in done.err
    assert "  outputs  none; 1 skipped, as told above" in done.err
    assert here.manifest(0)["skipped"][0]["data"]


@pytest.mark.parametrize(("rewritten", "kept"), [(False, False), (True, True)])
def test_an_input_that_is_skipped_keeps_the_workspace_only_if_the_script_has_rewritten_it(here: Here, rewritten: bool, kept: bool) -> None:
    here.put("bucket/data/a\\b", "of the bucket")
    script = f"import sys; path = sys.argv[1] + 'a' + chr(92) + 'b'; print(open(path).read()); {rewritten} and open(path, 'w').write('x')\n"
    done = here.run(here.job(script, args=["${bucket}/data/"]), "--result", here.root / "result.json")
    assert (done.code, done.out) == (0, "of the bucket\n"), done.err
    result = json.loads((here.root / "result.json").read_text())
    assert result["outputs"]["skipped"] == 1
    assert ("workspace" in result) is kept


def test_more_links_than_a_manifest_lists_hide_no_output_that_cannot_be_an_object(here: Here) -> None:
    script = """
import os, sys
os.chdir(sys.argv[1])
for number in range(1001):
    os.symlink("nowhere", f"link-{number}")
open("z\\\\model.h5", "w").write("hours of work")
"""
    done = here.run(here.job(script, args=["${bucket}/"]), "--json")
    assert done.code == 0, done.err
    assert (Path(done.result["workspace"]) / "bucket/z\\model.h5").read_text() == "hours of work"
    assert here.manifest(0)["skipped"][0]["path"] == "z\\model.h5"


def test_links_and_pipes_that_are_skipped_keep_no_workspace(here: Here) -> None:
    script = "import os, sys; os.chdir(sys.argv[1]); os.mkfifo('pipe'); os.symlink('/etc/hosts', 'link'); os.symlink('.', 'a\\\\b')\n"
    done = here.run(here.job(script, args=["${bucket}/"]), "--json")
    assert done.code == 0, done.err
    assert done.result["outputs"]["skipped"] == 3
    assert "workspace" not in done.result


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 7), (signal.SIGTERM, 7), (signal.SIGHUP, 7)])
def test_a_signal_stops_the_script_properly_and_what_it_wrote_is_published(here: Here, number: int, code: int) -> None:
    process = here.start(here.job(WAITS, args=["${bucket}/saved"]), "--bucket", here.bucket, "--result", here.root / "result.json")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    done = here.end(process)
    assert done.code == code, done.err
    failure = json.loads((here.root / "result.json").read_text())["failure"]
    assert (failure["reason"], failure["exitCode"]) == ("Terminated", code)
    assert (here.bucket / "saved").read_text() == "saved"
    assert here.manifest(0)["outcome"] == "Failed"


FAMILY = """
import os, sys, time
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(writing, str(os.getpid()).encode())
        while True:
            open(f"{sys.argv[1]}/child", "a").write("x")
            time.sleep(0.01)
    os._exit(0)
os.wait()
print(int(os.read(reading, 20)), os.getpid(), os.getppid(), flush=True)
time.sleep(600)
"""


def test_a_script_whose_launcher_is_killed_does_not_live_on_and_neither_does_what_it_has_started(here: Here) -> None:
    process = here.start(here.job(FAMILY, args=["${bucket}/out/"]), "--bucket", here.bucket, "--result", here.root / "result.json")
    assert process.stdout is not None
    child, script, launcher = map(int, process.stdout.readline().split())
    os.kill(launcher, signal.SIGKILL)
    done = here.end(process)
    assert done.code == 137, done.err
    left = [number for number in (child, script) if Path(f"/proc/{number}").exists()]
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert left == []
    failure = json.loads((here.root / "result.json").read_text())["failure"]
    assert (failure["reason"], failure["message"]) == ("ScriptKilled", "the script and its launcher were killed, and left no word of why")


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_ends_the_launcher_before_it_can_heed_it_stops_the_run_before_the_script(here: Here, number: int) -> None:
    here.put(
        "hold/sitecustomize.py",
        f"""
import pathlib, signal, sys, time
if sys.orig_argv[-2:] == ["tftrainer", "run"]:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    pathlib.Path({str(here.root / "held")!r}).touch()
    time.sleep(600)
""",
    )
    process = here.start(here.job("print('ran')\n"), "--bucket", here.bucket, "--json", PYTHONPATH=str(here.root / "hold"))
    until((here.root / "held").exists, "the launcher is on its way")
    process.send_signal(number)
    done = here.end(process)
    assert done.code == 128 + number, done.err
    assert done.result["message"] == "Terminated: the run was stopped before the script started"
    assert "workspace" not in done.result
    assert "given up" not in done.err


def test_signals_that_are_blocked_where_a_run_is_started_are_not_for_the_script(here: Here) -> None:
    blocks = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
    blocks += "os.execv(sys.executable, [sys.executable, '-m', *sys.argv[1:]])"
    job = here.job("import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))\n")
    done = here.end(here.start(job, "--bucket", here.bucket, by=[sys.executable, "-c", blocks]))
    assert (done.code, done.out) == (0, "set()\n"), done.err


def test_a_run_under_nohup_outlives_its_terminal(here: Here) -> None:
    script = "import sys, time\nprint('up', flush=True)\ntime.sleep(1)\nprint('done')\n"
    process = here.start(here.job(script), "--bucket", here.bucket, by=["nohup", sys.executable, "-m"])
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGHUP)
    done = here.end(process)
    assert (done.code, done.out) == (0, "done\n"), done.err


def test_a_reader_that_is_slow_gets_all_even_if_the_stream_does_not_block(here: Here) -> None:
    script = "for number in range(20000): print(f'line {number:06}')\nprint('last')\n"
    source, target = os.pipe()
    os.set_blocking(target, False)
    process = here.start(here.job(script), "--bucket", here.bucket, stdout=target)
    poll = select.poll()
    poll.register(target, select.POLLOUT)
    until(lambda: not poll.poll(0), "the pipe is full")
    os.close(target)
    with os.fdopen(source) as output:
        lines = output.read().splitlines()
    assert here.end(process).code == 0
    assert (len(lines), lines[-1]) == (20001, "last")


def test_a_reader_of_errors_that_is_slow_gets_the_words_of_every_phase(here: Here) -> None:
    source, target = os.pipe()
    full = fcntl.fcntl(target, fcntl.F_SETPIPE_SZ, 4096)
    os.write(target, b"#" * full)
    process = subprocess.Popen(
        [sys.executable, "-m", "tftrainer", "local", here.job("print('up')\n"), "--bucket", here.bucket],
        env=CLEAN | {"TMPDIR": str(here.root)},
        stdout=subprocess.PIPE,
        stderr=target,
        text=True,
    )
    os.close(target)
    assert process.stdout is not None
    assert process.stdout.read(3) == "up\n"
    # With the manifest the publisher, too, has said what it has to say.
    until((here.bucket / ".tftraining/default/iris/local/attempt-0/manifest.json").exists, "the run is published")
    with os.fdopen(source) as errors:
        told = errors.read().lstrip("#")
    process.stdout.close()
    assert process.wait(SECONDS) == 0
    phases = [line.partition(":")[0] for line in told.splitlines()]
    assert "fetch: ready" in told, told
    assert phases.count("fetch") > 1, told
    assert "publish: published" in told, told
    assert "Exception in thread" not in told


def test_output_that_a_full_disk_does_not_take_is_whole_in_the_bucket_and_that_is_said(here: Here) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    done = here.end(here.start(here.job("print('said')\n"), "--bucket", here.bucket, stdout=full))
    os.close(full)
    assert done.code == 0
    assert "standard output was not written whole: No space left on device" in done.err
    assert (here.bucket / ".tftraining/default/iris/local/attempt-0/logs/stdout.log").read_text() == "said\n"


def test_a_run_that_nobody_listens_to_any_more_still_publishes(here: Here) -> None:
    source, target = os.pipe()
    os.close(source)
    process = subprocess.Popen(
        [sys.executable, "-m", "tftrainer", "local", here.job("open('/dev/stderr', 'w').write('x')\n"), "--bucket", here.bucket, "--json"],
        env=CLEAN | {"TMPDIR": str(here.root)},
        stdout=target,
        stderr=target,
    )
    os.close(target)
    assert process.wait(SECONDS) == 0
    assert here.manifest(0)["outcome"] == "Succeeded"
    assert not list(here.root.glob("tftraining-*"))


def test_a_deadline_stops_the_script(here: Here) -> None:
    begun = time.monotonic()
    done = here.run(here.job(WAITS, args=["${bucket}/saved"], activeDeadlineSeconds=1), "--json")
    assert time.monotonic() - begun < SECONDS / 2
    assert done.result["failure"]["reason"] == "DeadlineExceeded"
    assert (here.bucket / "saved").read_text() == "saved"


def test_the_script_gets_this_environment_but_no_keys_and_none_of_our_settings(here: Here) -> None:
    script = "import os, json; print(json.dumps(dict(os.environ)))\n"
    done = here.run(here.job(script), AWS_SECRET_ACCESS_KEY="canary-secret", MINE="kept", PYTHONPATH="/somewhere")
    seen = json.loads(done.out)
    assert seen["MINE"] == "kept"
    assert seen["PYTHONPATH"].endswith("/somewhere")
    assert not [name for name in seen if name.startswith(("TFTRAINING", "AWS_"))]
    assert "canary-secret" not in done.out


def test_gpus_are_asked_for_in_vain_with_one_word_about_it(here: Here) -> None:
    done = here.run(here.job("print(1)\n", resources={"gpus": 2}))
    assert done.code == 0
    assert done.err.count("resources.gpus is 2") == 1


def test_what_only_a_cluster_can_give_is_told_and_the_script_runs(here: Here) -> None:
    asked = {"resourceClass": "v100-x1", "scheduling": {"nodeSelector": {"zone": "a"}}, "managedBy": "kueue.x-k8s.io/multikueue"}
    done = here.run(here.job("print(1)\n", **asked))
    assert (done.code, done.out) == (0, "1\n")
    for told in ("resourceClass is v100-x1: ", "scheduling is of no meaning", "managedBy is kueue.x-k8s.io/multikueue: "):
        assert done.err.count(told) == 1


def test_modules_that_lie_in_the_folder_of_the_call_are_not_ours(here: Here) -> None:
    for name in ("msgspec", "minio", "json"):
        here.put(f"{name}.py", "raise SystemExit('shadowed')\n")
    done = here.end(here.start(here.job("print('ran')\n"), "--bucket", here.bucket, by=[sys.executable, "-P", "-m"]))
    assert (done.code, done.out) == (0, "ran\n"), done.err


@pytest.mark.parametrize(
    ("script", "required", "reason", "words"),
    [
        ("pass", True, "ModelMissing", "the script wrote nothing there"),
        ("put('latest/saved_model.pb')", True, "ModelMissing", "the script wrote latest"),
        ("put('1/saved_model.pb'); put('2/variables/a')", True, "ModelMissing", "version that the script wrote, 2,"),
        ("put('1/saved_model.pb')", True, "ModelUnloadable", "TensorFlow cannot be imported"),
        ("put('1/saved_model.pb')", False, None, ""),
        ("pass", False, None, ""),
        ("put('1/saved_model.pb'); raise SystemExit(5)", True, "ScriptExited", "5"),
    ],
)
def test_a_promised_model_has_to_be_there_and_its_want_is_in_manifest_and_result(
    here: Here, script: str, required: bool, reason: str | None, words: str
) -> None:
    put = "import os, sys\ndef put(name):\n    os.makedirs(os.path.dirname(name := sys.argv[1] + '/' + name), exist_ok=True)\n"
    job = here.job(
        put + "    open(name, 'w').write('model')\n" + script, args=["${bucket}/m"], model={"path": "${bucket}/m", "required": required}
    )
    here.put("bucket/m/7/saved_model.pb", "of an earlier run")
    done = here.run(job, "--json")
    failure = done.result.get("failure", {})
    assert failure.get("reason") == reason, done.err
    assert done.code == {None: 0, "ScriptExited": 5}.get(reason, 74)
    assert words in failure.get("message", "")
    manifest = here.manifest(0)
    assert manifest["outcome"] == ("Succeeded" if reason is None else "Failed")
    assert manifest.get("failure", {}).get("reason") == reason
    assert not done.result.get("model", {}).get("verified", False)
    assert not (here.bucket / "m/1/saved_model.pb").exists()
    assert ("m/1/saved_model.pb" in [each["insteadOf"] for each in manifest.get("kept", ())]) is ("1/" in script)
