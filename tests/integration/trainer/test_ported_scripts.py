"""Scripts that come from another platform or machine: what they name is there, and what they write is published as anything else."""

from __future__ import annotations

import msgspec
import pytest
from tftrainer.messages import handover
from tftrainer.messages.contract import Input, Output, Plan, WantedCheckpoints
from tftrainer.messages.handover import Place, Resolved

from tests.integration.trainer.launched import Trainer, with_script
from tests.integration.trainer.pods import Pod

STATE = 'model_checkpoint_path: "{0}model.ckpt-7"\nall_model_checkpoint_paths: "{0}model.ckpt-7"\n'


def test_what_is_written_through_opt_ml_has_the_keys_of_the_folders_behind_it_and_what_is_beside_them_is_kept(pod: Pod, plan: Plan) -> None:
    pod.put("in/x.csv", "1")
    with_script(pod, "'/opt/ml/model/m.h5 /opt/ml/output/data /opt/ml/checkpoints /opt/ml/input/data/train /opt/ml/code'\n")
    plan = msgspec.structs.replace(
        plan, inputs=(Input(name="train", uri="${bucket}/in/"),), checkpoints=WantedCheckpoints(path="${bucket}/progress")
    )
    ended, fetched = pod.fetch(plan)
    assert fetched.failure is None, ended.output
    trainer = Trainer(pod)
    hosted = pod.workspace / "opt/ml"
    assert (hosted / "input/data/train/x.csv").read_text() == "1"
    for name in ("model/m.h5", "output/data/o.csv", "checkpoints/w.bin", "output/failure", "code/beside.txt"):
        (hosted / name).write_text(name)
    (hosted / "model/away").symlink_to("/etc")
    (hosted / "output/secret").symlink_to(pod.root / "dev/termination-log")
    trainer.end()
    ended, report = pod.publish(plan)
    assert report.failure is None, ended.output
    keys = pod.server.keys(pod.bucket)
    assert {key for key in keys if ".tftraining" not in key} == {
        "code/train.py",
        "in/x.csv",
        "model/m.h5",
        "output/o.csv",
        "progress/w.bin",
    }
    assert {key.partition("/kept/")[2] for key in keys if "/kept/" in key} == {"code/beside.txt", "opt/ml/output/failure"}


def test_a_pod_without_a_word_of_opt_ml_publishes_nothing_of_it(pod: Pod, plan: Plan) -> None:
    with_script(pod, "print(1)\n")
    pod.fetch(plan)
    assert not (pod.workspace / "opt").exists()
    Trainer(pod).end()
    _, report = pod.publish(plan)
    assert (report.objects, report.kept) == (0, 0)


@pytest.mark.parametrize("elsewhere", ["/home/u/run/", "gs://theirs/run/", "/workspace/bucket/other/"])
def test_a_state_file_with_paths_of_another_machine_names_what_lies_beside_it_and_is_not_uploaded(
    pod: Pod, plan: Plan, elsewhere: str
) -> None:
    with_script(pod)
    state = STATE.format(elsewhere)
    for folder in ("warm", "init"):
        pod.put(f"{folder}/checkpoint", state)
        for end in ("index", "data-00000-of-00001", "meta"):
            pod.put(f"{folder}/model.ckpt-7.{end}", end)
    plan = msgspec.structs.replace(plan, args=("--warm=${bucket}/warm/",), inputs=(Input(name="init", uri="${bucket}/init/"),))
    ended, fetched = pod.fetch(plan)
    assert fetched.failure is None, ended.output
    for place in (pod.local_bucket / "warm", pod.workspace / "inputs/init"):
        assert (place / "checkpoint").read_text() == STATE.format("")
    assert ended.output.count(f"names the checkpoint {elsewhere}model.ckpt-7: it is taken from beside it") == 2
    trainer = Trainer(pod)
    trainer.write("warm/model.ckpt-8.index", "new")
    trainer.end()
    _, report = pod.publish(plan)
    assert (report.failure, report.objects, report.kept, report.note) == (None, 1, 0, "")
    assert pod.server.get(pod.bucket, "warm/checkpoint").decode() == state


def test_a_script_that_goes_on_from_such_a_state_has_its_own_uploaded_without_a_conflict(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    pod.put("warm/checkpoint", STATE.format("/home/u/"))
    pod.put("warm/model.ckpt-7.index", "old")
    plan = msgspec.structs.replace(plan, args=("${bucket}/warm/",), outputs=(Output(path="${bucket}/else"),))
    pod.fetch(plan)
    trainer = Trainer(pod)
    trainer.write("warm/checkpoint", 'model_checkpoint_path: "model.ckpt-8"\n')
    trainer.end()
    _, report = pod.publish(plan)
    assert (report.failure, report.objects, report.kept) == (None, 1, 0)
    assert pod.server.get(pod.bucket, "warm/checkpoint").decode() == 'model_checkpoint_path: "model.ckpt-8"\n'


def test_a_state_file_whose_checkpoint_was_not_fetched_is_left_as_it_is_and_told_before_the_start(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    pod.put("warm/checkpoint", STATE.format("/home/u/"))
    pod.put("warm/notes/checkpoint", "no state file\n")
    plan = msgspec.structs.replace(plan, args=("${bucket}/warm/",))
    ended, _ = pod.fetch(plan)
    assert (pod.local_bucket / "warm/checkpoint").read_text() == STATE.format("/home/u/")
    assert "/warm/checkpoint names the checkpoint /home/u/model.ckpt-7, of which no file lies beside it" in ended.output
    assert ended.output.count("names the checkpoint") == 1


def test_the_trainer_learns_what_its_placeholders_stand_for_and_nothing_more_of_the_stores(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    pod.fetch(plan)
    resolved = handover.read(Resolved, pod.state / "resolved.json")
    assert resolved.storage == Place(bucket=pod.bucket)
    assert resolved.datasets == Place(bucket=pod.datasets)
    text = (pod.state / "resolved.json").read_text()
    assert not [secret for secret in pod.credentials.values() if secret != pod.bucket and secret in text]
