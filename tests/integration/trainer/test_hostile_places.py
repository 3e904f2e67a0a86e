"""What user code brings or does to the places that it shares with the product's own phases."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages.contract import FetchReport, Plan, Reason, Reference, RunReport
from tftrainer.phase_error import PhaseError
from tftrainer.storage.folder import FolderStore

from tests.integration.trainer.launched import Trainer
from tests.integration.trainer.pods import Ended, Pod

TELLS = """
import os
with open({witness!r}, "a") as file:
    file.write({name!r} + " in " + open("/proc/self/cmdline").read().replace(chr(0), " ") + chr(10))
"""
SHADOWS = (
    "json.py",
    "msgspec.py",
    "minio/__init__.py",
    "tensorflow/__init__.py",
    "tftrainer/__init__.py",
    "sitecustomize.py",
    "usercustomize.py",
)


def run(pod: Pod, plan: Plan) -> tuple[Ended, RunReport]:
    ended = pod.end(pod.start("run", plan))
    return ended, ended.report(RunReport)


@pytest.mark.parametrize("extracted", [False, True], ids=["on the path as a zip", "extracted"])
def test_no_phase_of_ours_runs_what_an_archive_shadows_or_hooks(pod: Pod, plan: Plan, tmp_path: Path, extracted: bool) -> None:
    witness = tmp_path / "witness"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in SHADOWS:
            archive.writestr(name, TELLS.format(witness=str(witness), name=name))
        archive.writestr("hook.pth", f"import sys; open({str(witness)!r}, 'a').write('hook.pth')\n")
        if extracted:
            archive.writestr("data/table.csv", "1,2\n")
    pod.put("code/train.py", "import minio, sys\nprint(minio.__file__)\n")
    pod.put("code/deps.zip", buffer.getvalue())
    plan = msgspec.structs.replace(plan, archive=Reference(uri="${bucket}/code/deps.zip"))
    ended, fetched = pod.fetch(plan)
    assert fetched.failure is None, ended.output
    ended, report = run(pod, plan)
    assert report.failure is None, ended.output
    assert "deps.zip" in ended.output
    ended, published = pod.publish(plan)
    assert published.succeeded, ended.output
    told = witness.read_text().splitlines()
    assert any(line.startswith("minio/__init__.py in ") for line in told)
    assert not [line for line in told if "tftrainer fetch" in line or "tftrainer publish" in line or "hook.pth" in line]


@pytest.mark.parametrize(
    ("name", "entries", "script"),
    [
        ("lib.zip", ("utils/text.py", "models/net.py"), "import utils.text\nfrom models import net\n"),
        ("lib.zip", ("pkg/__init__.py", "pkg/sub/mod.py"), "import pkg\nimport pkg.sub.mod\n"),
        ("lib.zip", ("utils/", "utils/text.py"), "import utils.text\n"),
        ("models-main.zip", ("models-main/__init__.py", "models-main/helpers.py"), "import helpers\n"),
        ("lib:v1.zip", ("helpers.py",), "import helpers\n"),
        ("lib:v1.zip", ("helpers.py", "data/table.csv"), "import helpers\n"),
        (".packages", ("helpers.py",), "import helpers\n"),
        ("模" * 85, ("helpers.py", "data/table.csv"), "import helpers\n"),
    ],
    ids=["two folders", "sub-package", "listed folder", "a branch of GitHub's", "colon", "colon, unpacked", "hidden", "long"],
)
def test_what_a_zip_of_common_tools_holds_is_imported_by_the_script_and_by_what_it_starts(
    pod: Pod, plan: Plan, name: str, entries: tuple[str, ...], script: str
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for each in entries:
            archive.writestr(each, "")
    again = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {script!r}], check=True)\n"
    pod.put("code/train.py", f"{script}{again}")
    pod.put(f"code/{name}", buffer.getvalue())
    plan = msgspec.structs.replace(plan, archive=Reference(uri=f"${{bucket}}/code/{name}"))
    ended, fetched = pod.fetch(plan)
    assert fetched.failure is None, ended.output
    # Where packages would be installed is free, and what goes onto PYTHONPATH is one entry.
    assert not [each.name for each in (pod.workspace / "deps").iterdir() if each.name.startswith(".") or ":" in each.name]
    ended, report = run(pod, plan)
    assert report.failure is None, ended.output


def test_a_plain_python_file_is_imported_by_its_own_name_whatever_that_is(pod: Pod, plan: Plan) -> None:
    pod.put("code/train.py", "import importlib\nprint(importlib.import_module('helpers:v1').VALUE)\n")
    pod.put("code/helpers:v1.py", "VALUE = 'found'\n")
    plan = msgspec.structs.replace(plan, archive=Reference(uri="${bucket}/code/helpers:v1.py"))
    ended, fetched = pod.fetch(plan)
    assert fetched.failure is None, ended.output
    ended, report = run(pod, plan)
    assert report.failure is None, ended.output
    assert "found" in ended.output


def test_an_archive_that_unpacks_to_more_than_the_workspace_is_refused_before_it_is_unpacked(pod: Pod, plan: Plan) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("helper.py", "")
        archive.writestr("data.bin", bytes(range(256)) * 4 * 1024 * 50)
    pod.put("code/train.py", "import helper\n")
    pod.put("code/deps.zip", buffer.getvalue())
    pod.put("input.bin", bytes(1024**2))
    wanted = {"archive": Reference(uri="${bucket}/code/deps.zip"), "args": ("${bucket}/input.bin",)}
    ended, report = pod.fetch(msgspec.structs.replace(plan, workspace_bytes=4 * 1024**2, **wanted))
    assert report.failure is not None
    assert report.failure.reason is Reason.INPUT_TOO_LARGE, ended.output
    assert "spec.resources.workspace is 4.0 MiB and has 2.8 MiB left" in report.failure.message
    assert [path.name for path in (pod.workspace / "deps").iterdir()] == ["deps.zip"]


@pytest.fixture
def small_disk(pod: Pod) -> Iterator[Pod]:
    """Give the pod's workspace a disk of 4 MiB."""
    pod.workspace.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(pod.workspace)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
    yield pod
    subprocess.run(["umount", "--lazy", str(pod.workspace)], check=True)


def test_what_does_not_fit_onto_the_disk_is_told_before_it_is_fetched(small_disk: Pod, plan: Plan) -> None:
    small_disk.put("code/train.py", "pass\n")
    small_disk.put("large.bin", bytes(5 * 1024**2))
    ended, report = small_disk.fetch(msgspec.structs.replace(plan, args=("${bucket}/large.bin",)))
    assert report.failure is not None
    assert report.failure.reason is Reason.WORKSPACE_FULL, ended.output
    assert "Traceback" not in ended.output


def test_an_archive_that_fills_the_disk_when_it_is_extracted_is_told_as_that(small_disk: Pod, plan: Plan) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("helper.py", "")
        archive.writestr("data.bin", bytes(range(256)) * 4 * 1024 * 6)
    small_disk.put("code/train.py", "import helper\n")
    small_disk.put("code/deps.zip", buffer.getvalue())
    ended, report = small_disk.fetch(msgspec.structs.replace(plan, archive=Reference(uri="${bucket}/code/deps.zip")))
    assert isinstance(report, FetchReport)
    assert report.failure is not None
    assert report.failure.reason is Reason.WORKSPACE_FULL, ended.output
    assert "Traceback" not in ended.output


def test_a_script_that_fills_the_disk_keeps_its_streams_and_its_exit_code(small_disk: Pod, plan: Plan) -> None:
    small_disk.put(
        "code/train.py",
        "import sys\n"
        "try:\n"
        "    open('fills', 'wb').write(bytes(10 * 1024**2))\n"
        "except OSError as error:\n"
        "    print('full:', error.strerror)\n"
        "for number in range(2000):\n"
        "    print('line', number)\n"
        "sys.exit(3)\n",
    )
    ended, fetched = small_disk.fetch(plan)
    assert fetched.failure is None, ended.output
    ended, report = run(small_disk, plan)
    assert ended.code == report.exit_code == 3, ended.output
    assert "full: No space left on device" in ended.output
    assert "line 1999" in ended.output
    assert "Traceback" not in ended.output
    ended, published = small_disk.publish(plan)
    assert published.manifest_uri, ended.output


def test_an_output_that_does_not_fit_into_the_folder_of_a_bucket_fails_alone_and_leaves_nothing_half(
    pod: Pod, plan: Plan, tmp_path: Path
) -> None:
    folder = tmp_path / "bucket"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
    try:
        (folder / "code").mkdir()
        (folder / "code/train.py").write_text("pass\n")
        pod.credentials, pod.datasets = {"FOLDER": str(folder), "BUCKET": "models"}, ""
        ended, report = pod.fetch(plan)
        assert report.failure is None, ended.output
        trainer = Trainer(pod)
        others = {f"{name}.txt" for name in "aceg"}
        for path in others:
            trainer.write(path, path)
        trainer.write("b.bin", bytes(9 * 1024**2))
        trainer.end()
        ended, published = pod.publish(plan)
        assert published.failure is not None
        assert published.failure.reason is Reason.WORKSPACE_FULL, ended.output
        # The logs count too.
        assert published.failure.message.startswith("1 of 7 outputs could not be uploaded; the first: the disk is full: "), ended.output
        assert "b.bin does not fit" in published.failure.message
        assert "Traceback" not in ended.output
        there = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file() and "logs" not in each.parts}
        assert others <= there
        assert not any("b.bin" in each or ".incoming/" in each or each.endswith("manifest.json") for each in there)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """Give a folder in memory where there is one: the many files of a test are written four times."""
    shared = Path("/dev/shm")
    place = shared if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 3 * 1024**3 else None
    with tempfile.TemporaryDirectory(prefix="tftraining-test-", dir=place) as folder:
        yield Path(folder)


def test_a_hundred_thousand_outputs_are_published_in_the_memory_that_a_publisher_has(memory_folder: Path) -> None:
    bucket, limit_mib = memory_folder / "bucket", 512
    bucket.mkdir()
    (bucket / "train.py").write_text(
        "import pathlib, sys\n"
        "for number in range(100_000):\n"
        "    file = pathlib.Path(sys.argv[1], 'out', f'{number // 1000:03d}', f'{number:06d}.txt')\n"
        "    if number % 1000 == 0:\n"
        "        file.parent.mkdir(parents=True)\n"
        "    file.write_text(str(number))\n"
    )
    job = {
        "apiVersion": "tftraining.dev/v1alpha1",
        "kind": "TFTrainingJob",
        "metadata": {"name": "many"},
        "spec": {"runtime": "tf2", "script": {"uri": "${bucket}/train.py"}, "args": ["${bucket}"]},
    }
    (memory_folder / "job.yaml").write_text(json.dumps(job))
    command = [sys.executable, "-m", "tftrainer", "local", str(memory_folder / "job.yaml"), "--bucket", str(bucket), "--json"]
    # The most memory that it, or a process it has waited for, has had; measured from a small process, since a new one begins with the
    # memory of the one that starts it.
    measured = "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
    measured += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    environment = {**os.environ, "TMPDIR": str(memory_folder)}
    done = subprocess.run([sys.executable, "-c", measured, *command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    [manifest] = bucket.glob(".tftraining/default/many/*/attempt-0/manifest.json")
    objects = {each["key"]: each["size"] for each in json.loads(manifest.read_bytes())["objects"]}
    assert len(objects) == 100_000
    assert objects["out/099/099999.txt"] == (bucket / "out/099/099999.txt").stat().st_size == 5
    assert int(done.stdout.splitlines()[-1]) < limit_mib * 1024


def test_what_does_not_fit_into_a_folder_takes_the_room_of_nothing_that_is_written_beside_it(tmp_path: Path) -> None:
    folder, source = tmp_path / "bucket", tmp_path / "large"
    folder.mkdir()
    with source.open("wb") as file:
        file.truncate(9 * 1024**2)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
    try:
        store, written = FolderStore(folder, "models"), list[int]()
        with source.open("rb") as file, pytest.raises(PhaseError, match=r"the disk is full: .* does not fit"):
            store.upload("large", file, 9 * 1024**2, written.append)
        assert written == []
        with source.open("rb") as file:
            store.upload("small", file, 3 * 1024**2)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
