"""Pods of one group: what the script of each is told, the wait for the others, and what each leaves in a real bucket."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages import contract, manifest, post_mortem
from tftrainer.messages.contract import Failure, Plan, Reason, RunReport, WantedCheckpoints, WantedModel
from tftrainer.messages.post_mortem import PostMortem

from tests.integration.trainer import launcher
from tests.integration.trainer.launched import QUICK, Trainer, fetched, until, with_script
from tests.integration.trainer.launcher import launched
from tests.integration.trainer.pods import Pod

alone = pytest.fixture(launched)
KNOWN = {"chief": ("localhost:2222",), "worker": ("127.0.0.2:2223", "[::1]:2224")}
UNKNOWN = {"worker": ("localhost:2222", "no-such-replica.invalid:2222")}
GROUP = {"chief": ("iris-chief-0:2222",), "worker": ("iris-worker-0:2222",)}
TELLS = "import os; print(os.environ.get('TF_CONFIG'))"


def test_the_script_of_a_group_finds_its_cluster_whatever_the_image_says_and_nothing_is_warned_of(alone: launcher.Pod) -> None:
    ran = alone.finish(
        alone.start(TELLS, role="worker", index=1, peers=KNOWN, environment={"TF_CONFIG": '{"cluster": {"ps": ["a", "b"]}}'})
    )
    assert (ran.code, ran.err) == (0, b"")
    assert json.loads(ran.out) == {"cluster": {role: list(each) for role, each in KNOWN.items()}, "task": {"type": "worker", "index": 1}}


def test_a_script_that_is_alone_has_no_tf_config(alone: launcher.Pod) -> None:
    ran = alone.run(TELLS)
    assert (ran.code, ran.out, ran.err) == (0, b"None\n", b"")


def test_without_a_peer_the_script_does_not_start_and_who_is_missing_is_told(alone: launcher.Pod) -> None:
    ran = alone.finish(alone.start("open('../bucket/ran', 'w')\n", role="worker", peers=UNKNOWN, peers_seconds=1))
    assert (ran.code, ran.reason) == (70, Reason.PEERS_MISSING)
    assert ran.report.failure is not None
    assert ran.report.failure.message == (
        "The names of 1 of the job's replicas were not known within 1 s: worker-1 (no-such-replica.invalid)."
    )
    assert ran.report.failure.hint
    assert not (alone.workspace / "bucket/ran").exists()


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_while_peers_are_waited_for_is_a_stop_and_at_once(alone: launcher.Pod, number: signal.Signals, code: int) -> None:
    process = alone.start("open('../bucket/ran', 'w')\n", role="worker", peers=UNKNOWN, peers_seconds=3600)
    assert process.stderr is not None
    # The first word comes when they have been waited for a while.
    assert process.stderr.readline() == (
        b"tftrainer: waiting, at most 3600 s, for the names of 1 of 2 replicas: worker-1 (no-such-replica.invalid)\n"
    )
    process.send_signal(number)
    ran = alone.finish(process)
    assert (ran.code, ran.reason) == (code, Reason.TERMINATED)
    assert not (alone.workspace / "bucket/ran").exists()


class Group:
    """The pods of one attempt, each with folders and a plan of its own, on one bucket."""

    def __init__(self, folder: Path, first: Pod, plan: Plan) -> None:
        self.first = first
        plan = msgspec.structs.replace(
            plan, peers=GROUP, model=WantedModel("${bucket}/run/served"), checkpoints=WantedCheckpoints("${bucket}/run/ckpt", 1)
        )
        self.plans = {each.replica: each for each in (plan, msgspec.structs.replace(plan, role="worker"))}
        self.pods = {name: Pod(folder / name, first.server, first.bucket, first.datasets) for name in self.plans}
        with_script(first)

    def fetch(self) -> None:
        for name, plan in self.plans.items():
            fetched(self.pods[name], plan)

    def objects(self) -> list[str]:
        return self.first.server.keys(self.first.bucket)

    def manifest(self, name: str) -> manifest.Manifest:
        found = manifest.decode(self.first.server.get(self.first.bucket, manifest.folder(self.plans[name]) + contract.MANIFEST_NAME))
        assert found is not None
        return found


@pytest.fixture
def group(tmp_path: Path, pod: Pod, plan: Plan) -> Group:
    return Group(tmp_path / "group", pod, plan)


def test_a_strategy_that_cannot_train_on_the_replicas_is_refused_before_the_start(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "image/tensorflow").mkdir(parents=True)
    (tmp_path / "image/tensorflow/__init__.py").touch()
    pod.variables["PYTHONPATH"] = str(tmp_path / "image")
    pod.put("code/train.py", "import tensorflow as tf\nstrategy = tf.distribute.MultiWorkerMirroredStrategy()\n")
    peers = {"chief": ("a:2222",), "worker": ("b:2222",), "ps": ("c:2222",)}
    ended, report = pod.fetch(msgspec.structs.replace(plan, peers=peers))
    assert report.failure is not None, ended.output
    assert (report.failure.reason, report.failure.file, report.failure.line) == (Reason.INVALID_SPEC, "train.py", 2)
    assert "train.py, line 2: MultiWorkerMirroredStrategy beside spec.replicas.ps would wait for ever" in report.failure.message


@pytest.mark.every_store
def test_of_a_group_one_publishes_outputs_and_each_a_manifest_that_is_no_other_ones(group: Group) -> None:
    group.first.put("run/ckpt/checkpoint", 'model_checkpoint_path: "model-3"\n')
    group.first.put("run/ckpt/model-3.index", "index 3")
    group.first.put("run/ckpt/model-3.data-00000-of-00001", "weights 3")
    group.fetch()
    pod, plan = group.pods["worker-0"], group.plans["worker-0"]
    assert (pod.local_bucket / "run/ckpt/model-3.index").read_text() == "index 3"
    before = group.objects()

    trainer = Trainer(pod)
    publisher = pod.start("publish", plan, QUICK)
    trainer.save(4, "run/ckpt")
    trainer.write("run/served/saved_model.pb", "a graph of the wrong replica")
    trainer.write("run/tb/events.out.tfevents.1.host", bytes(2048))
    live = manifest.folder(plan) + "logs/live/index.json"
    (pod.workspace / "logs" / "stdout.log").write_text("step 1\n")
    until(lambda: live in group.objects(), "the log is shown while the script runs")
    trainer.end()
    ended = pod.end(publisher)
    report = ended.report(contract.PublishReport)
    assert (ended.code, report.succeeded, report.objects, report.kept, report.checkpoint) == (0, True, 0, 0, "")
    assert report.manifest_uri.endswith("/attempt-0/worker-0/manifest.json")
    assert re.fullmatch(
        r"5 files were written by this replica and not published \(2\.\d KiB\): chief-0 publishes the outputs of the job\.", report.note
    )
    assert f"publish: {report.note}\n" in ended.output
    new = {each.rpartition("/attempt-0/worker-0/")[2] for each in group.objects() if each not in before}
    assert {each for each in new if not each.startswith("logs/live/")} == {
        "manifest.json",
        "run.lock.json",
        "logs/stdout.log",
        "logs/stderr.log",
    }
    written = group.manifest("worker-0")
    assert (written.role, written.index, written.outcome, written.objects, written.model) == ("worker", 0, manifest.SUCCEEDED, (), None)

    pod, plan = group.pods["chief-0"], group.plans["chief-0"]
    trainer = Trainer(pod)
    trainer.write("run/metrics.json", "{}")
    trainer.end()
    _, report = pod.publish(plan)
    assert report.failure is not None
    assert report.failure.reason is Reason.MODEL_MISSING
    assert report.manifest_uri.endswith("/attempt-0/manifest.json")
    assert group.manifest("chief-0").is_of(plan)
    assert "run/metrics.json" in group.objects()
    assert group.manifest("worker-0") == written


@pytest.mark.every_store
def test_what_the_leader_saves_comes_to_the_evaluator_while_both_run_and_stays_the_leaders(tmp_path: Path, pod: Pod, plan: Plan) -> None:
    peers = {**GROUP, "evaluator": ("iris-evaluator-0:2222",)}
    plan = msgspec.structs.replace(plan, peers=peers, checkpoints=WantedCheckpoints("${bucket}/run", 1))
    evaluating = msgspec.structs.replace(plan, role="evaluator")
    leader, evaluator = (Pod(tmp_path / name, pod.server, pod.bucket, pod.datasets) for name in ("chief", "evaluator"))
    pod.put("run/checkpoint", 'model_checkpoint_path: "model-1"\n')
    pod.put("run/model-1.index", "index 1")
    pod.put("run/model-1.data-00000-of-00001", "weights 1")
    with_script(pod)
    fetched(leader, plan)
    fetched(evaluator, evaluating)
    folder = evaluator.local_bucket / "run"
    assert list(folder.iterdir()) == [], "its leader may be saving by now"
    trainer, evaluation = Trainer(leader), Trainer(evaluator)
    publishers = leader.start("publish", plan, QUICK), evaluator.start("publish", evaluating, QUICK)

    def names() -> set[str]:
        return {each.name for each in folder.iterdir()}

    def saved(*steps: int) -> set[str]:
        return {"checkpoint", *(f"model-{step}{end}" for step in steps for end in (".index", ".data-00000-of-00001"))}

    trainer.save(2, "run")
    until(lambda: saved(1, 2) <= names(), "a checkpoint has come")
    assert (folder / "checkpoint").read_text() == 'model_checkpoint_path: "model-2"\n', "by its name, not by a path of another pod"
    assert (folder / "model-2.data-00000-of-00001").read_text() == "weights 2"
    for step in (3, 4):
        trainer.save(step, "run")
        for end in (".index", ".data-00000-of-00001"):
            (leader.local_bucket / f"run/model-{step - 2}{end}").unlink()
        until(lambda step=step: f"model-{step}" in (folder / "checkpoint").read_text(), "the next one has come")
    until(lambda: names() == saved(2, 3, 4), "what was removed a moment ago may still be read; what was before that is gone")

    evaluation.write("run/eval/events.out.tfevents.1.host", "accuracy")
    evaluation.write("run/export/best/saved_model.pb", "a graph")
    trainer.end()
    assert leader.end(publishers[0]).report(contract.PublishReport).succeeded
    evaluation.end()
    ended = evaluator.end(publishers[1])
    report = ended.report(contract.PublishReport)
    assert (ended.code, report.succeeded, report.note, report.objects) == (0, True, "", 2), ended.output
    assert "publish: checkpoint followed: run/model-4 " not in ended.output
    assert "publish: checkpoint followed: model-4 (" in ended.output
    written = manifest.decode(pod.server.get(pod.bucket, manifest.folder(evaluating) + contract.MANIFEST_NAME))
    assert written is not None
    assert [each.key for each in written.objects] == ["run/eval/events.out.tfevents.1.host", "run/export/best/saved_model.pb"]
    assert f"{manifest.folder(plan)}evaluator-0/logs/stdout.log" in pod.server.keys(pod.bucket)
    assert pod.server.get(pod.bucket, "run/checkpoint").decode().count("model-4") == 1


def test_what_an_evaluator_measures_is_published_by_each_attempt_and_its_model_by_none(tmp_path: Path, pod: Pod, plan: Plan) -> None:
    plan = msgspec.structs.replace(
        plan,
        peers={**GROUP, "evaluator": ("iris-evaluator-0:2222",)},
        role="evaluator",
        checkpoints=WantedCheckpoints("${bucket}/run/ckpt", 1),
        outputs=(contract.Output(path="${bucket}/run", on_conflict=contract.OnConflict.FAIL),),
        model=contract.WantedModel(path="${bucket}/served"),
    )
    with_script(pod)
    for attempt in range(2):
        again = msgspec.structs.replace(plan, attempt=attempt)
        evaluator = Pod(tmp_path / str(attempt), pod.server, pod.bucket, pod.datasets)
        fetched(evaluator, again)
        evaluation = Trainer(evaluator)
        publisher = evaluator.start("publish", again, QUICK)
        evaluation.write("run/ckpt/best/metrics.json", f"of attempt {attempt}")
        evaluation.write("served/1/saved_model.pb", "nobody has loaded it")
        evaluation.end()
        report = evaluator.end(publisher).report(contract.PublishReport)
        assert (report.succeeded, report.failure) == (True, None)
        assert "The model there is what chief-0 exports" in report.note
        assert pod.server.get(pod.bucket, "run/ckpt/best/metrics.json").decode() == f"of attempt {attempt}"
    assert pod.server.keys(pod.bucket, "served/") == []


@pytest.mark.every_store
def test_a_second_publisher_of_the_same_replica_is_refused_or_confirms_it(group: Group) -> None:
    group.fetch()
    pod, plan = group.pods["worker-0"], group.plans["worker-0"]
    trainer = Trainer(pod)
    trainer.write("run/scratch", "1")
    trainer.end()
    _, first = pod.publish(plan)
    ended, again = pod.publish(plan)
    assert first.manifest_sha256 == again.manifest_sha256 != ""
    assert "nothing was written again" in ended.output
    (pod.workspace / ".tftraining" / "result.json").write_bytes(contract.encode_report(RunReport(exit_code=1)))
    _, other = pod.publish(plan)
    assert other.failure is not None
    assert other.failure.reason is Reason.PUBLISH_FAILED
    assert group.manifest("worker-0").outcome == manifest.SUCCEEDED


def test_a_pod_that_is_made_anew_goes_by_the_manifest_of_its_own_replica(group: Group) -> None:
    group.fetch()
    pod, plan = group.pods["worker-0"], group.plans["worker-0"]
    Trainer(pod).end()
    pod.publish(plan)
    ended, _ = pod.fetch(plan)
    assert "an earlier pod of this attempt has published its success" in ended.output
    ended, _ = group.pods["chief-0"].fetch(group.plans["chief-0"])
    assert "an earlier pod" not in ended.output


def test_of_every_replica_that_failed_there_is_a_post_mortem_that_says_which_it_was(group: Group) -> None:
    group.fetch()
    pod, plan = group.pods["worker-0"], group.plans["worker-0"]
    failure = Failure(reason=Reason.SCRIPT_RAISED, message="train.py, line 3: ValueError: no", file="train.py", line=3)
    Trainer(pod).end(RunReport(exit_code=1, failure=failure))
    _, report = pod.publish(plan)
    assert (report.failure, report.succeeded) == (None, False)
    assert report.post_mortem_uri.endswith("/attempt-0/worker-0/post-mortem.json")
    data = pod.server.get(pod.bucket, manifest.folder(plan) + post_mortem.NAME)
    found = msgspec.json.decode(data, type=PostMortem)
    assert (found.role, found.index, found.failure) == ("worker", 0, failure)
    lock = json.loads(pod.server.get(pod.bucket, manifest.folder(plan) + "run.lock.json"))
    assert lock["role"] == "worker"
