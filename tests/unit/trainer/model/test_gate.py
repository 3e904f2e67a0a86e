"""Which model counts, and what is said when there is none; loading itself is proved with TensorFlow on the cluster."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tftrainer.messages.contract import Reason, WantedModel
from tftrainer.messages.manifest import PublishedObject, Skipped
from tftrainer.model import gate
from tftrainer.model.gate import Verdict, Written, examine
from tftrainer.model.loader import Answer

WANTED = WantedModel(path="${bucket}/tf_model")
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
SECONDS = 60.0
LOADS = Answer(signatures=("predict", "serving_default"))


class Loader:
    """Answers as it is told, and remembers what it was asked to load."""

    def __init__(self, answer: Answer = LOADS) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, folder: Path) -> Answer:
        self.asked.append(str(folder))
        return self.answer


def verdict(keys: str, loader: Loader | None = None, wanted: WantedModel = WANTED, prefix: str = "team/", skipped: str = "") -> Verdict:
    objects = [PublishedObject(key=prefix + key, size=10, sha256=f"digest of {key}") for key in keys.split()]
    written = Written(
        Path("/bucket"),
        prefix,
        objects,
        lambda key: f"s3://models/{key}",
        [Skipped(path=each, reason="a link") for each in skipped.split()],
    )
    return examine(wanted, written, loader or Loader(), lambda _: None)


@pytest.mark.parametrize(
    ("keys", "folder", "objects"),
    [
        ("tf_model/1/saved_model.pb tf_model/1/variables/a tf_model/2/saved_model.pb tf_model/10/saved_model.pb", "tf_model/10/", 1),
        ("tf_model/9/saved_model.pb tf_model/10/saved_model.pb tf_model/10/assets/words.txt", "tf_model/10/", 2),
        ("tf_model/00012/saved_model.pb tf_model/9/saved_model.pb", "tf_model/00012/", 1),
        ("tf_model/saved_model.pb tf_model/variables/a", "tf_model/", 2),
        ("tf_model/7/saved_model.pb tf_model/saved_model.pb", "tf_model/7/", 1),
        ("tf_model/7/saved_model.pb tf_model/latest/saved_model.pb tf_model/99 other/100/saved_model.pb", "tf_model/7/", 1),
        ("tf_model/7/saved_model.pb tf_model/٨/saved_model.pb tf_model/1e3/saved_model.pb", "tf_model/7/", 1),
        (f"tf_model/7/saved_model.pb tf_model/{'9' * 19}/saved_model.pb", "tf_model/7/", 1),
    ],
)
def test_the_highest_number_that_the_run_wrote_counts_as_for_a_server(keys: str, folder: str, objects: int) -> None:
    loader = Loader()
    found = verdict(keys, loader)
    assert found.failure is None
    assert found.model is not None
    assert found.model.uri == f"s3://models/team/{folder}"
    assert (found.model.objects, found.model.bytes) == (objects, objects * 10)
    assert found.model.sha256 == f"digest of {folder}saved_model.pb"
    assert (found.model.verified, found.model.signatures) == (True, ("predict", "serving_default"))
    assert loader.asked == [f"/bucket/{folder}".rstrip("/")]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("", "the script wrote nothing there"),
        ("other/1/saved_model.pb tf_model2/1/saved_model.pb", "the script wrote nothing there"),
        ("tf_model/checkpoint tf_model/model.ckpt", "the script wrote checkpoint, model.ckpt"),
        ("tf_model/latest/saved_model.pb", "the script wrote latest"),
        ("tf_model/1/saved_model.pb tf_model/2/variables/a", "the newest version that the script wrote, 2, has no saved_model.pb"),
        ("tf_model/a tf_model/b tf_model/c tf_model/d tf_model/e tf_model/f", "a, b, c, d, e, …"),
    ],
)
def test_a_missing_model_is_said_with_what_lies_there_instead(keys: str, words: str) -> None:
    loader = Loader()
    found = verdict(keys, loader)
    assert found.failure is not None
    assert found.failure.reason is Reason.MODEL_MISSING
    assert "${bucket}/tf_model (spec.model.path)" in found.failure.message
    assert words in found.failure.message
    assert (found.model, loader.asked) == (None, [])


def test_a_model_that_does_not_load_is_named_with_the_reason() -> None:
    found = verdict("tf_model/1/saved_model.pb", Loader(Answer(error="OSError: Cannot parse file")))
    assert found.failure is not None
    assert found.failure.reason is Reason.MODEL_UNLOADABLE
    assert "s3://models/team/tf_model/1/ cannot be loaded: OSError: Cannot parse file" in found.failure.message
    assert found.model is not None
    assert not found.model.verified


@pytest.mark.parametrize(
    ("skipped", "words"),
    [
        ("tf_model/1/variables", "not uploaded: tf_model/1/variables, a link"),
        ("other tf_model/1/assets/words.txt tf_model/1/variables", "not uploaded: tf_model/1/assets/words.txt, a link, and 1 more"),
        ("tf_model/1", "not uploaded: tf_model/1, a link"),
    ],
)
def test_a_model_of_which_a_part_is_not_in_the_bucket_does_not_count_though_it_would_load_here(skipped: str, words: str) -> None:
    loader = Loader()
    found = verdict("tf_model/1/saved_model.pb", loader, skipped=skipped)
    assert found.failure is not None
    assert found.failure.reason is Reason.MODEL_UNLOADABLE
    assert f"s3://models/team/tf_model/1/ is not whole in the bucket; {words}" in found.failure.message
    assert loader.asked == []
    assert found.model is not None
    assert not found.model.verified
    lax = verdict("tf_model/1/saved_model.pb", loader, WantedModel(path="${bucket}/tf_model", required=False), skipped=skipped)
    assert (lax.failure, lax.model) == (None, found.model)


@pytest.mark.parametrize(
    "skipped", ["tf_model/10/variables", "tf_model2", "tf_model/latest", "other/tf_model/1/variables", "tf_model/11/runs/latest"]
)
def test_what_is_skipped_beside_the_newest_model_does_not_matter(skipped: str) -> None:
    found = verdict("tf_model/11/saved_model.pb", skipped=skipped)
    assert found.failure is None


@pytest.mark.parametrize("skipped", ["runs/latest", "wandb/latest-run", "2", "variables2", "assets.old/words.txt"])
def test_a_link_beside_the_files_of_a_model_without_versions_does_not_matter(skipped: str) -> None:
    found = verdict("tf_model/saved_model.pb tf_model/variables/a tf_model/runs/1/log", skipped=f"tf_model/{skipped}")
    assert found.failure is None
    assert found.model is not None
    assert (found.model.uri, found.model.verified) == ("s3://models/team/tf_model/", True)


PARTS = ("saved_model.pbtxt", "fingerprint.pb", "keras_metadata.pb", "variables", "variables/a", "assets", "assets/a/b", "assets.extra/a")


@pytest.mark.parametrize("part", PARTS)
def test_a_model_without_versions_of_which_a_part_is_not_in_the_bucket_does_not_count(part: str) -> None:
    found = verdict("tf_model/saved_model.pb", skipped=f"tf_model/{part}")
    assert found.failure is not None
    assert found.failure.reason is Reason.MODEL_UNLOADABLE
    assert f"not uploaded: tf_model/{part}, a link" in found.failure.message


def test_a_version_that_is_only_a_link_is_none_as_it_is_not_in_the_bucket() -> None:
    found = verdict("tf_model/1/saved_model.pb tf_model/1/variables/a", skipped="tf_model/2")
    assert found.failure is None
    assert found.model is not None
    assert (found.model.uri, found.model.verified) == ("s3://models/team/tf_model/1/", True)


@pytest.mark.parametrize(
    ("keys", "skipped", "words"),
    [
        ("", "tf_model", "the script wrote nothing there; not uploaded: tf_model, a link"),
        ("tf_model/readme", "tf_model/2", "the script wrote readme; not uploaded: tf_model/2, a link"),
        ("tf_model/variables/a", "tf_model/saved_model.pb", "the script wrote variables; not uploaded: tf_model/saved_model.pb, a link"),
        (
            "tf_model/1/saved_model.pb tf_model/2/variables/a",
            "tf_model/2/logs tf_model/2/saved_model.pb",
            "the newest version that the script wrote, 2, has no saved_model.pb; not uploaded: tf_model/2/saved_model.pb, a link",
        ),
    ],
)
def test_a_model_that_is_missing_because_it_is_a_link_is_said_to_be_one(keys: str, skipped: str, words: str) -> None:
    found = verdict(keys, skipped=skipped)
    assert found.failure is not None
    assert found.failure.reason is Reason.MODEL_MISSING
    assert words in found.failure.message


@pytest.mark.parametrize("keys", ["", "tf_model/1/saved_model.pb"])
def test_a_model_that_is_not_required_fails_nothing(keys: str) -> None:
    found = verdict(keys, Loader(Answer(error="broken")), WantedModel(path="${cos}/tf_model/", required=False))
    assert found.failure is None
    assert (found.model is None) is not keys
    assert found.model is None or not found.model.verified


def loader_package(folder: Path, body: str) -> dict[str, str]:
    """Put a loader in the place of the real one for the new process, and return the environment that finds it."""
    package = folder / "tftrainer" / "model"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package.parent / "__init__.py").touch()
    (package / "loader.py").write_text("import os, sys, time, signal\n" + textwrap.dedent(body))
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_without_tensorflow_the_real_loader_says_so(tmp_path: Path) -> None:
    answer = gate.load(tmp_path, lambda: False)
    assert "TensorFlow cannot be imported" in answer.error


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by signal 11"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "as when memory runs out"),
        ("sys.exit(3)", "exit code 3"),
        ("os.write(int(sys.argv[2]), b'{\"signatures\": 5}')", "exit code 0"),
        ("print('{}')", "exit code 0"),
    ],
)
def test_a_loader_that_dies_or_babbles_is_an_answer_too(tmp_path: Path, body: str, words: str) -> None:
    answer = gate.load(tmp_path, lambda: False, loader_package(tmp_path, body))
    assert words in answer.error


def test_loading_that_does_not_end_is_given_up_when_the_pod_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "STOPPED_SECONDS", 0.2)
    environment = loader_package(tmp_path, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    answer = gate.load(tmp_path, (tmp_path / "pid").exists, environment)
    assert "did not end in time" in answer.error
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_model_that_would_take_the_publishers_memory_is_given_up_and_the_publisher_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{200 * 1024**2}\n")
    found = gate.memory_limit([limit])
    monkeypatch.setattr(gate, "memory_limit", lambda: found)
    answer = gate.load(tmp_path, lambda: False, loader_package(tmp_path, "held = bytearray(b'x') * (300 * 1024**2); time.sleep(600)"))
    assert answer.error == "loading it takes more than 160.0 MiB of memory, of the publisher's 200.0 MiB"


@pytest.mark.parametrize(("text", "limit"), [("max\n", float("inf")), ("1048576\n", 1048576.0), (None, float("inf"))])
def test_the_memory_of_a_container_is_what_its_control_group_says(tmp_path: Path, text: str | None, limit: float) -> None:
    if text is not None:
        (tmp_path / "memory.max").write_text(text)
    assert gate.memory_limit([tmp_path / "memory.max"]) == limit


def test_a_loader_whose_parent_is_gone_ends_too_however_long_it_would_take(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(f'{{os.getpid()}}\\n')\ntime.sleep(600)\n"
    )
    loads = "import pathlib, sys; from tftrainer.model import gate; gate.load(pathlib.Path(sys.argv[1]), lambda: False)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", loads, str(tmp_path)], env=environment)
    pid = tmp_path / "pid"
    try:
        until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    finally:
        parent.kill()
        parent.wait()
    loader = int(pid.read_text())
    try:
        until(lambda: not alive(loader))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(loader, signal.SIGKILL)


def test_a_loader_that_starts_after_its_parent_is_gone_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('loaded')\n")
    reader, writer = os.pipe()
    command = [sys.executable, "-P", "-m", "tftrainer.model.loader", str(tmp_path), str(writer), str(os.getppid())]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, pass_fds=(writer,), capture_output=True, text=True, check=False
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        assert (done.returncode, done.stderr, answer.read()) == (1, "", b"")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(process: int) -> bool:
    """Whether a process runs; one that is dead may still wait for whoever adopted it."""
    try:
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_loader_sees_no_device_and_none_of_our_keys_not_even_through_its_parent(tmp_path: Path) -> None:
    script = f"""
    import json
    seen = {{"own": sorted(os.environ), "gpu": os.environ["CUDA_VISIBLE_DEVICES"]}}
    open({str(tmp_path / "seen")!r}, "w").write(json.dumps(seen))
    os.write(int(sys.argv[2]), b'{{"signatures": ["a"]}}')
    """
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    environment = loader_package(tmp_path, script) | {"TFTRAINING_STORAGE_SECRET_KEY": "canary"}
    assert gate.load(tmp_path, lambda: False, environment).signatures == ("a",)
    seen = (tmp_path / "seen").read_text()
    assert '"gpu": "-1"' in seen
    assert "TFTRAINING" not in seen
    # What is not "dumpable" has an environment that the kernel gives to nobody but root.
    assert ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
