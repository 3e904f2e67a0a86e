"""Checkpoints on their way: uploaded while the script runs, whole or not at all, and restored before the next attempt."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from minio.error import S3Error
from tftrainer.checkpoints import saved
from tftrainer.checkpoints.saved import SavedState
from tftrainer.messages import contract
from tftrainer.messages.contract import FetchReport, Plan, PublishReport, RunReport, WantedCheckpoints
from tftrainer.outputs.events import LiveEvents
from tftrainer.outputs.settled import SETTLED_SECONDS
from tftrainer.outputs.upload import Uploaded
from tftrainer.storage.interface import Store
from tftrainer.storage.opening import open_store

from tests.integration.trainer import faulty_proxy
from tests.integration.trainer.faulty_proxy import Rule, faulty
from tests.integration.trainer.interrupting_proxy import Request, interrupting
from tests.integration.trainer.launched import QUICK, Trainer, fetched, until, with_script
from tests.integration.trainer.pods import Pod, Process

pytestmark = pytest.mark.every_store

FOLDER = "ckpt/"


@pytest.fixture
def plan(plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, checkpoints=WantedCheckpoints(path="${bucket}/ckpt", interval_seconds=1))


def index(pod: Pod) -> SavedState | None:
    key = FOLDER + saved.INDEX_NAME
    return saved.decode(pod.server.get(pod.bucket, key)) if key in pod.server.keys(pod.bucket, FOLDER) else None


def lists(pod: Pod, *paths: str) -> Callable[[], bool]:
    def whether() -> bool:
        state = index(pod)
        return state is not None and {each.path for each in state.files} == set(paths)

    return whether


@contextlib.contextmanager
def publishing(pod: Pod, plan: Plan, code: str = "") -> Iterator[Process]:
    process = pod.start("publish", plan, code)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def parts(*steps: int) -> list[str]:
    return [f"model-{step}.{end}" for step in steps for end in ("index", "data-00000-of-00001")]


def next_pod(pod: Pod, root: Path) -> Pod:
    return Pod(root, pod.server, pod.bucket, "")


def restored(pod: Pod, plan: Plan, root: Path, attempt: int = 1) -> tuple[dict[str, str], FetchReport, str]:
    """Return what the next attempt finds in the folder."""
    later = next_pod(pod, root)
    ended, report = later.fetch(msgspec.structs.replace(plan, attempt=attempt))
    assert report.failure is None, ended.output
    top = later.local_bucket / "ckpt"
    return {str(each.relative_to(top)): each.read_text() for each in top.rglob("*") if each.is_file()}, report, ended.output


def test_a_pod_that_vanishes_leaves_its_last_checkpoint_to_the_next_attempt(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    fetched(pod, plan)
    with publishing(pod, plan) as publisher:
        trainer = Trainer(pod)
        trainer.save(100)
        until(lists(pod, "checkpoint", *parts(100)), "the first checkpoint")
        trainer.save(200)
        until(lists(pod, "checkpoint", *parts(100, 200)), "the second one")
        publisher.kill()
    found, report, output = restored(pod, plan, tmp_path / "next")
    assert found["model-200.data-00000-of-00001"] == "weights 200"
    # An absolute path of another pod's folder would name nothing here.
    assert found["checkpoint"] == 'model_checkpoint_path: "model-200"\n'
    assert report.restored == "model-200 (5 files), saved by attempt 0 of team/iris"
    assert "spec.checkpoints.path: restoring model-200" in output


def test_a_pod_that_was_given_up_and_lives_on_writes_nothing_over_what_the_next_attempt_has(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    fetched(pod, plan)
    with publishing(pod, plan, QUICK) as publisher:
        trainer = Trainer(pod)
        trainer.save(100)
        until(lists(pod, "checkpoint", *parts(100)), "the first checkpoint")
        restored(pod, plan, tmp_path / "next")
        before = {key: pod.server.get(pod.bucket, key) for key in pod.server.keys(pod.bucket, FOLDER)}
        trainer.save(200)
        trainer.write("board/events.out.tfevents.1", "late")
        trainer.write("result.txt", "late")
        assert publisher.stdout is not None
        said = [str(publisher.stdout.readline()) for _ in range(3)]
        assert sum("ttempt 1 of the job has begun: nothing of attempt 0 is written any more" in line for line in said) == 2, said
        trainer.end()
        ended = pod.end(publisher)
    report = ended.report(PublishReport)
    assert (ended.code, report.manifest_uri) == (1, "")
    assert report.failure is not None
    assert "attempt 1 of the job has begun" in report.failure.message
    assert {key: pod.server.get(pod.bucket, key) for key in pod.server.keys(pod.bucket, FOLDER)} == before
    assert [key for key in pod.server.keys(pod.bucket) if key in {"result.txt", "board/events.out.tfevents.1"}] == []


def test_the_first_attempt_starts_from_the_beginning_and_finds_its_folder(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    with_script(pod)
    found, report, output = restored(pod, plan, tmp_path / "first", attempt=0)
    assert (found, report.restored) == ({}, "")
    assert "no checkpoint yet, the script starts from the beginning" in output
    assert (tmp_path / "first/workspace/bucket/ckpt").is_dir()


def test_a_checkpoint_that_is_in_the_bucket_is_not_uploaded_again_with_the_next_one(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    with interrupting(pod.server.endpoint) as proxy, publishing(_through(pod, proxy.endpoint), plan):
        trainer = Trainer(pod)
        trainer.save(1)
        until(lists(pod, "checkpoint", *parts(1)), "the first checkpoint")
        trainer.save(2)
        until(lists(pod, "checkpoint", *parts(1, 2)), "the second one")
        sent = [each.path.partition("?")[0].rpartition("/")[2] for each in proxy.requests if each.method == "PUT"]
    assert sent.count("model-1.index") == sent.count("model-1.data-00000-of-00001") == 1


def _through(pod: Pod, endpoint: str) -> Pod:
    pod.credentials["ENDPOINT"] = endpoint
    return pod


def test_what_the_script_removes_is_removed_from_the_bucket_once_a_newer_checkpoint_is_there(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    with publishing(pod, plan) as publisher:
        trainer = Trainer(pod)
        trainer.save(1)
        until(lists(pod, "checkpoint", *parts(1)), "the first checkpoint")
        for name in parts(1):
            (pod.local_bucket / "ckpt" / name).unlink()
        trainer.save(2)
        until(lists(pod, "checkpoint", *parts(2)), "the second one")
        until(lambda: FOLDER + "model-1.index" not in pod.server.keys(pod.bucket, FOLDER), "the first one's removal")
        trainer.end()
        ended = pod.end(publisher)
    assert ended.code == 0, ended.output
    names = {key.removeprefix(FOLDER) for key in pod.server.keys(pod.bucket, FOLDER)}
    assert names == {saved.INDEX_NAME, "checkpoint", *parts(2)}
    assert "checkpoint saved: model-2 (3 files)" in ended.output


def test_a_script_that_has_emptied_its_folder_at_the_end_leaves_nothing_to_go_on_from(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    fetched(pod, plan)
    with publishing(pod, plan) as publisher:
        trainer = Trainer(pod)
        trainer.write("ckpt/latest.weights.h5", "epoch 1")
        until(lists(pod, "latest.weights.h5"), "the checkpoint")
        (pod.local_bucket / "ckpt/latest.weights.h5").unlink()
        trainer.end()
        ended = pod.end(publisher)
    assert ended.report(contract.PublishReport).checkpoint == ""
    assert pod.server.keys(pod.bucket, FOLDER) == [FOLDER + saved.INDEX_NAME]
    found, report, output = restored(pod, plan, tmp_path / "next")
    assert (found, report.restored) == ({}, "")
    assert "no checkpoint yet" in output


def test_files_of_any_kind_are_a_checkpoint_when_they_are_left_alone(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    fetched(pod, plan)
    with publishing(pod, plan) as publisher:
        trainer = Trainer(pod)
        trainer.write("ckpt/latest.weights.h5", "epoch 1")
        trainer.write("ckpt/training_metadata.json", "1")
        until(lists(pod, "latest.weights.h5", "training_metadata.json"), "the first checkpoint")
        trainer.write("ckpt/latest.weights.h5", "epoch 2")
        trainer.write("ckpt/training_metadata.json", "2")
        until(lambda: pod.server.get(pod.bucket, FOLDER + "training_metadata.json") == b"2" and settled(pod), "the second one")
        publisher.kill()
    found, _, _ = restored(pod, plan, tmp_path / "next")
    assert found == {"latest.weights.h5": "epoch 2", "training_metadata.json": "2"}


def test_a_link_to_a_file_of_the_bucket_is_part_of_a_checkpoint_as_that_file(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    fetched(pod, plan)
    with publishing(pod, plan) as publisher:
        trainer = Trainer(pod)
        trainer.write("weights/model-3.index", "index 3")
        trainer.write("weights/model-3.data-00000-of-00001", "weights 3")
        trainer.write("weights/state", 'model_checkpoint_path: "model-3"\n')
        (pod.local_bucket / "ckpt").mkdir(exist_ok=True)
        for name, target in (("checkpoint", "state"), *((each, each) for each in parts(3))):
            (pod.local_bucket / "ckpt" / name).symlink_to(f"../weights/{target}")
        until(lists(pod, "checkpoint", *parts(3)), "the checkpoint")
        publisher.kill()
    found, _, _ = restored(pod, plan, tmp_path / "next")
    assert found["model-3.data-00000-of-00001"] == "weights 3"


@pytest.mark.parametrize(("killed", "expected"), [(True, "epoch 1"), (False, "epoch 2, cut sh")])
def test_a_file_that_a_killed_script_may_have_been_writing_does_not_take_the_place_of_a_whole_one(
    pod: Pod, plan: Plan, tmp_path: Path, killed: bool, expected: str
) -> None:
    fetched(pod, plan)
    with publishing(pod, plan) as publisher:
        trainer = Trainer(pod)
        trainer.write("ckpt/latest.weights.h5", "epoch 1")
        until(lists(pod, "latest.weights.h5"), "the first checkpoint")
        trainer.write("ckpt/latest.weights.h5", "epoch 2, cut sh")
        trainer.end(RunReport(exit_code=137, started_at=1.0, finished_at=time.time(), killed=killed))
        ended = pod.end(publisher)
    assert ended.code == 0, ended.output
    # What it wrote is in the bucket all the same, in the run's own folder if it may be cut: nothing is lost.
    assert pod.server.get(pod.bucket, FOLDER + "latest.weights.h5") == (b"epoch 1" if killed else b"epoch 2, cut sh")
    kept = [pod.server.get(pod.bucket, key) for key in pod.server.keys(pod.bucket, ".tftraining/") if "/kept/" in key]
    assert kept == ([b"epoch 2, cut sh"] if killed else [])
    found, _, _ = restored(pod, plan, tmp_path / "next")
    assert found == {"latest.weights.h5": expected}


def test_a_preempted_script_that_saves_in_its_grace_period_goes_on_from_there(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    fetched(pod, plan)
    with publishing(pod, plan) as publisher:
        trainer = Trainer(pod)
        trainer.save(6)
        until(lists(pod, "checkpoint", *parts(6)), "the last checkpoint before")
        publisher.send_signal(signal.SIGTERM)
        trainer.save(7)
        trainer.end(RunReport(exit_code=143, started_at=1.0, finished_at=time.time()))
        ended = pod.end(publisher)
        report = ended.report(contract.PublishReport)
    assert report.checkpoint == "model-7 (5 files), saved by attempt 0 of team/iris", ended.output
    found, _, _ = restored(pod, plan, tmp_path / "next")
    assert found["model-7.index"] == "index 7"


def test_what_lay_there_before_is_restored_but_of_checkpoints_whole_ones_only(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    with_script(pod)
    for name in parts(1, 2):
        pod.put(FOLDER + name, name)
    pod.put(FOLDER + "model-3.index", "its data is missing")
    pod.put(FOLDER + "checkpoint", 'model_checkpoint_path: "model-3"\n')
    pod.put(FOLDER + "vocabulary.txt", "a b c")
    found, report, output = restored(pod, plan, tmp_path / "next", attempt=0)
    assert set(found) == {"checkpoint", "vocabulary.txt", *parts(1, 2)}
    assert found["checkpoint"].startswith('model_checkpoint_path: "model-2"\n')
    assert report.restored == "model-2 (5 files)"
    assert "2 files of checkpoints that are not whole are left out" in output


def test_an_index_that_does_not_stand_any_more_is_not_followed(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    fetched(pod, plan)
    with publishing(pod, plan) as publisher:
        Trainer(pod).save(5)
        until(lists(pod, "checkpoint", *parts(5)), "the checkpoint")
        publisher.kill()
    pod.server.client.remove_object(pod.bucket, FOLDER + "model-5.index")
    found, report, _ = restored(pod, plan, tmp_path / "next")
    assert (found, report.restored) == ({}, "")


def test_an_argument_that_names_the_folder_or_one_above_does_not_fetch_what_was_not_restored(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    with_script(pod)
    pod.put("out/ckpt/model-3.index", "half of its data is missing")
    pod.put("out/ckpt/model-3.data-00000-of-00002", "half of its data is missing")
    pod.put("out/vocabulary.txt", "a b c")
    pod.put("out/.tftraining/own", "nobody's business")
    plan = msgspec.structs.replace(
        plan, checkpoints=WantedCheckpoints(path="${bucket}/out/ckpt/"), args=("--model_dir", "${bucket}/out", "${bucket}/out/ckpt")
    )
    later = next_pod(pod, tmp_path / "next")
    ended, report = later.fetch(plan)
    assert report.failure is None, ended.output
    assert [str(each.relative_to(later.local_bucket)) for each in later.local_bucket.rglob("*") if each.is_file()] == ["out/vocabulary.txt"]


def test_restored_files_that_the_script_leaves_alone_are_not_uploaded_again(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    fetched(pod, plan)
    with publishing(pod, plan) as publisher:
        (trainer := Trainer(pod)).save(5)
        trainer.end()
        assert pod.end(publisher).code == 0
    later, again = next_pod(pod, tmp_path / "next"), msgspec.structs.replace(plan, attempt=1)
    assert later.fetch(again)[1].failure is None
    trainer = Trainer(later)
    trainer.end()
    ended, report = later.publish(again)
    assert (ended.code, report.objects) == (0, 0), ended.output
    assert report.checkpoint == "model-5 (3 files), saved by attempt 0 of team/iris"


def test_event_files_are_in_the_bucket_while_they_grow_and_need_no_second_upload_once_they_do_not(pod: Pod, tmp_path: Path) -> None:
    name = "tb/train/events.out.tfevents.1.host"
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"one")
    (tmp_path / "tb/notes.txt").write_text("no event file")
    credentials = {contract.STORAGE_PREFIX + key: value for key, value in pod.credentials.items()}
    uploaded: Uploaded = {}
    said: list[str] = []

    def opened() -> Store:
        store = open_store(credentials, contract.STORAGE_PREFIX, "the test's")
        assert store is not None
        return store

    # The file is older than what a clock may still hide when its turn comes again.
    events = LiveEvents(tmp_path, opened, uploaded, said.append, pause=SETTLED_SECONDS + 1)
    events.start()
    until(lambda: name in pod.server.keys(pod.bucket), "the event file")
    file.write_bytes(b"one two")
    until(lambda: [each.size for each in uploaded.values()] == [3, 7], "the settled file's upload, after that of its beginning")
    events.stop()
    assert pod.server.get(pod.bucket, name) == b"one two"
    assert {each.key for each in uploaded.values()} == {name}
    assert (pod.server.keys(pod.bucket), said) == ([name], [])


def test_at_every_request_of_a_publisher_there_is_one_whole_state_to_restore(pod: Pod, plan: Plan) -> None:
    """Whatever is killed, and whenever: nothing but requests changes the bucket."""
    fetched(pod, plan)
    states: list[set[bytes]] = []
    broken: list[str] = []

    def look(number: int, request: Request) -> None:
        state = index(pod)
        if state is None:
            return
        there = {each.object_name.removeprefix(FOLDER): each for each in pod.server.client.list_objects(pod.bucket, FOLDER, recursive=True)}
        if not saved.stands(state, {name: (each.size or 0, (each.etag or "").strip('"')) for name, each in there.items()}):
            broken.append(f"{number}: {request.method} {request.path}")
            return
        states.append(contents(pod))

    with interrupting(pod.server.endpoint) as proxy:
        pod.credentials["ENDPOINT"] = proxy.endpoint
        proxy.before = look
        with publishing(pod, plan) as publisher:
            trainer = Trainer(pod)
            for epoch in (1, 2, 3):
                trainer.write("ckpt/a.h5", f"epoch {epoch}")
                trainer.write("ckpt/b.json", f"epoch {epoch}")
                if epoch < 3:
                    until(lambda epoch=epoch: contents(pod) == {f"epoch {epoch}".encode()} and settled(pod), f"epoch {epoch}")  # type: ignore[misc]
            trainer.end()
            ended = pod.end(publisher)
    assert ended.code == 0, ended.output
    assert not broken
    assert all(len(each) == 1 for each in states), states
    assert [each.name for each in (index(pod) or saved_nothing()).files] == ["a.h5", "b.json"]
    assert {pod.server.get(pod.bucket, FOLDER + name) for name in ("a.h5", "b.json")} == {b"epoch 3"}
    assert not [key for key in pod.server.keys(pod.bucket, FOLDER) if saved.ASIDE in key]


def contents(pod: Pod) -> set[bytes]:
    """Return what the files of the listed state hold."""
    state = index(pod)
    return {pod.server.get(pod.bucket, FOLDER + each.name) for each in state.files} if state else set()


def settled(pod: Pod) -> bool:
    """Whether nothing is put aside any more."""
    return not any(saved.ASIDE in key for key in pod.server.keys(pod.bucket, FOLDER))


def saved_nothing() -> SavedState:
    return SavedState(version=0, namespace="", job="", uid="", attempt=0, saved_at=0.0)


def test_files_of_other_libraries_that_are_named_as_tensorflows_are_saved_and_restored(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    names = ("checkpoint", "step", "faiss.index", "vocab.meta", "data/cache.data-00000-of-00002", "model_temp/w.bin", "checkpoint.tmp")
    fetched(pod, plan)
    with publishing(pod, plan) as publisher:
        trainer = Trainer(pod)
        for name in names:
            trainer.write(f"ckpt/{name}", f"\x80{name}" * (200_000 if name == "checkpoint" else 1))
        trainer.save(7, "ckpt/tf")
        trainer.write("ckpt/tf/vocab.meta", "words")
        every = {*names, "tf/vocab.meta", "tf/checkpoint", *(f"tf/{each}" for each in parts(7))}
        until(lists(pod, *every), "all of them")
        publisher.kill()
    found, _, _ = restored(pod, plan, tmp_path / "next")
    assert set(found) == every
    pod.server.client.remove_object(pod.bucket, FOLDER + saved.INDEX_NAME)
    # Without an index too, and what is long is not read as a state file.
    found, _, output = restored(pod, plan, tmp_path / "by-hand")
    assert set(found) == every, output
    assert found["checkpoint"] == "\x80checkpoint" * 200_000


def hdf5(content: bytes) -> bytes:
    """Return what HDF5 takes for whole by its superblock."""
    size = 2048 + len(content)
    head = b"\x89HDF\r\n\x1a\n" + bytes(5) + b"\x08\x08" + bytes(9) + bytes(8) + b"\xff" * 8 + size.to_bytes(8, "little")
    return head.ljust(2048, b"\0") + content


FAST = """
import io, json, os, sys, time, zipfile
folder, pause = sys.argv[1], float(sys.argv[2])
sys.path.insert(0, "")
os.makedirs(folder, exist_ok=True)
head = bytes.fromhex(sys.argv[3])

def slowly(name, data):
    # As Keras does: the file is truncated, and written in place.
    with open(os.path.join(folder, name), "wb", buffering=0) as file:
        for at in range(0, len(data), len(data) // 3 or 1):
            file.write(data[at : at + (len(data) // 3 or 1)])
            time.sleep(0.01)

def archive(text):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as made:
        made.writestr("weights", text * 1000)
    return data.getvalue()

epoch = 0
while True:
    epoch += 1
    text = b"%06d" % epoch
    slowly("latest.weights.h5", head + text * 10_000)
    slowly("model.keras", archive(text))
    slowly("arrays.npz", archive(text))
    slowly("training_metadata.json", json.dumps({"epoch": epoch}).encode())
    print(epoch, flush=True)
    time.sleep(pause)
"""


@contextlib.contextmanager
def saving(pod: Pod, pause: float) -> Iterator[subprocess.Popen[str]]:
    """Run a script that saves in place, again and again, with so many seconds between."""
    head = hdf5(bytes(60_000))[:2048].hex()
    command = [sys.executable, "-c", FAST, str(pod.local_bucket / "ckpt"), str(pause), head]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


SAVED_FAST = ("latest.weights.h5", "model.keras", "arrays.npz", "training_metadata.json")


def epochs(read: Callable[[str], bytes]) -> set[int]:
    """Return of which epochs the files are, each whole."""
    found = {json.loads(read("training_metadata.json"))["epoch"]}
    weights = read("latest.weights.h5")
    assert weights[:2048] == hdf5(bytes(60_000))[:2048]
    found |= {int(weights[at : at + 6]) for at in range(2048, len(weights), 6)}
    for name in ("model.keras", "arrays.npz"):
        with zipfile.ZipFile(io.BytesIO(read(name))) as archive:
            assert archive.testzip() is None
            found |= {int(archive.read("weights")[:6]), int(archive.read("weights")[-6:])}
    return found


def of_one_moment(found: set[int]) -> bool:
    """Whether files of these epochs can lie there together: the script has no more than one of two epochs at any moment."""
    return bool(found) and max(found) - min(found) <= 1


def test_files_that_are_rewritten_all_the_time_are_in_the_bucket_while_the_script_runs_whole_and_of_one_moment(
    pod: Pod, plan: Plan, tmp_path: Path
) -> None:
    fetched(pod, plan)
    seen: set[int] = set()
    with publishing(pod, plan) as publisher:
        trainer = Trainer(pod)
        with saving(pod, 0.4):

            def another() -> bool:
                state = index(pod)
                if state is None:
                    return False
                names = {each.path: each.name for each in state.files}
                assert set(names) == set(SAVED_FAST)
                try:
                    found = epochs(lambda name: pod.server.get(pod.bucket, FOLDER + names[name]))
                except (S3Error, ValueError, zipfile.BadZipFile, AssertionError):
                    found = set()
                # Between the two looks a file may have been put aside: only what still stands is what was listed.
                if index(pod) == state:
                    assert of_one_moment(found)
                    seen.add(max(found))
                return len(seen) >= 3

            until(another, "three states", 60)
        publisher.kill()
        publisher.communicate()
        del trainer
    later = next_pod(pod, tmp_path / "next")
    _, report = later.fetch(msgspec.structs.replace(plan, attempt=1))
    assert report.failure is None
    assert of_one_moment(epochs(lambda name: (later.local_bucket / "ckpt" / name).read_bytes()))


def test_what_is_never_whole_is_told_after_three_intervals_and_named_at_the_end(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    fetched(pod, plan)
    with publishing(pod, plan) as publisher:
        trainer = Trainer(pod)
        trainer.write("ckpt/latest.weights.h5", hdf5(b"whole"))
        until(lists(pod, "latest.weights.h5"), "the first state")
        trainer.write("ckpt/latest.weights.h5", hdf5(b"torn and more")[:-4])
        assert publisher.stdout is not None
        told = next(line for line in publisher.stdout if b"could not be saved" in line).decode()
        assert "checkpoints: files of ckpt/ could not be saved for " in told
        assert "latest.weights.h5 is not whole whenever it is looked at" in told
        trainer.end(RunReport(exit_code=1, started_at=1.0, finished_at=time.time()))
        ended = pod.end(publisher)
    words = ended.report(contract.PublishReport).checkpoint
    assert words == "1 file, saved by attempt 0 of team/iris; newer files are not part of it, as latest.weights.h5 may not be whole"
    found, _, _ = restored_bytes(pod, plan, tmp_path / "next")
    assert found == {"latest.weights.h5": hdf5(b"whole")}


def restored_bytes(pod: Pod, plan: Plan, root: Path) -> tuple[dict[str, bytes], FetchReport, str]:
    later = next_pod(pod, root)
    ended, report = later.fetch(msgspec.structs.replace(plan, attempt=1))
    assert report.failure is None, ended.output
    top = later.local_bucket / "ckpt"
    return {str(each.relative_to(top)): each.read_bytes() for each in top.rglob("*") if each.is_file()}, report, ended.output


def test_a_torn_file_is_not_restored_nor_what_counts_on_from_it(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    with_script(pod)
    pod.put(FOLDER + "backup/latest.weights.h5", hdf5(b"torn")[:-1])
    pod.put(FOLDER + "backup/training_metadata.json", '{"epoch": 7}')
    pod.put(FOLDER + "vocabulary.txt", "a b c")
    found, report, output = restored_bytes(pod, plan, tmp_path / "next")
    assert found == {"vocabulary.txt": b"a b c"}
    assert "spec.checkpoints.path: latest.weights.h5 is torn" in output
    assert "2 files are not restored, and stay in the bucket" in output
    assert report.restored == "1 file"
    assert FOLDER + "backup/latest.weights.h5" in pod.server.keys(pod.bucket, FOLDER)


@pytest.mark.parametrize("path", ["ckpt/large.bin", "events/large.tfevents.1"])
def test_the_logs_do_not_wait_at_the_end_for_what_is_on_its_way(pod: Pod, plan: Plan, path: str) -> None:
    fetched(pod, plan)
    # A minute for this one, and only while the script runs.
    rule = Rule(faulty_proxy.trickle(1024**2), "PUT", path, at={1})
    with faulty(pod.server, rule) as proxy, publishing(_through(pod, proxy.endpoint), plan, QUICK) as publisher:
        trainer = Trainer(pod)
        trainer.write(path, os.urandom(60 * 1024**2))
        until(lambda: any(each.taken for each in proxy.asked("PUT", path)), "the upload")
        trainer.end()
        until(lambda: any(key.endswith("/logs/stdout.log") for key in pod.server.keys(pod.bucket)), "the logs", 25)
        ended = pod.end(publisher)
    assert ended.code == 0, ended.output
    assert len(pod.server.get(pod.bucket, path)) == 60 * 1024**2
    assert "yet:" not in ended.output
