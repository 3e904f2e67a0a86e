"""What a run leaves, and where it goes: a folder is the bucket."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tftrainer.checkpoints.snapshots import Snapshots
from tftrainer.layout import Layout
from tftrainer.messages import contract, handover
from tftrainer.messages.contract import (
    Failure,
    OnConflict,
    OpenFiles,
    Output,
    Plan,
    Reason,
    RunReport,
    Script,
    WantedCheckpoints,
    WantedModel,
)
from tftrainer.messages.handover import Baseline
from tftrainer.messages.manifest import Kept
from tftrainer.model.loader import Answer
from tftrainer.publish import placing
from tftrainer.publish.ended import Ended
from tftrainer.publish.publication import Publication, Publishing
from tftrainer.storage.folder import FolderStore
from tftrainer.storage.upload import Written

PLAN = Plan(namespace="team", job="iris", uid="u", runtime="tf2", script=Script(name="train.py"))
SUCCEEDED = RunReport(exit_code=0)
KILLED = RunReport(exit_code=137, failure=Failure(reason=Reason.OUT_OF_MEMORY, message="out of memory"), killed=True)


class Run:
    """A run whose script has ended: `layout` is its pod, `bucket` the job's. What `old` writes is older than what may be cut."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder / "pod")
        self.bucket = folder / "bucket"
        at = self.layout
        for each in (self.bucket, at.bucket, at.code, at.inputs, at.datasets, at.logs, at.run_folder, at.state):
            each.mkdir(parents=True, exist_ok=True)
        self.baseline = Baseline()
        handover.write_files((), at.baseline_files)
        handover.write(self.baseline, at.baseline)
        self.passes()

    def looked_at(self, *places: str) -> None:
        """Have `fetch` seen all that lies at the places now, which is nothing."""
        self.baseline = Baseline(listed=places)

    def put(self, key: str, text: str) -> None:
        path = self.bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def write(self, path: str, text: str | bytes, below: Path | None = None) -> Path:
        target = (below or self.layout.bucket) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
        return target

    def passes(self) -> None:
        """Let so much time pass that what is written from now on is not of the same moment as what was."""
        self.ended_at = time.time() + placing.CUT_SECONDS
        before = self.layout.state / "before"
        after = self.layout.state / "after"
        before.touch()
        deadline = time.monotonic() + 10
        while after.touch() or after.stat().st_ctime_ns == before.stat().st_ctime_ns:
            assert time.monotonic() < deadline
        self.ended_at = after.stat().st_ctime_ns / 1e9 + placing.CUT_SECONDS

    def had_open(self, *paths: str) -> None:
        (self.layout.run_folder / contract.OPEN_NAME).write_bytes(msgspec.json.encode(OpenFiles(paths=paths)))

    def published(self, plan: Plan = PLAN, result: RunReport = SUCCEEDED, *, hurried: bool = False, broken: str = "") -> Publication:
        ended = Ended(msgspec.structs.replace(result, finished_at=self.ended_at), self.ended_at)
        store = FolderStore(self.bucket, "models")

        def load(folder: Path) -> Answer:
            return Answer(error="no graph") if broken and folder == self.layout.bucket / broken else Answer()

        wanted, say = plan.checkpoints, lambda _: None
        snapshots = Snapshots(plan, wanted, self.layout.bucket, lambda: store, (), {}, say) if wanted and plan.leads else None
        return Publishing(plan, self.layout, store, self.baseline, ended, load, say, snapshots=snapshots, hurried=lambda: hurried).run()

    def holds(self) -> dict[str, str]:
        """Return what the bucket holds but for what is the product's own."""
        files = (each for each in self.bucket.rglob("*") if each.is_file())
        return {str(each.relative_to(self.bucket)): each.read_text() for each in files if ".tftraining" not in each.parts}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


SERVED = msgspec.structs.replace(PLAN, model=WantedModel(path="${bucket}/run/served"))


def because(kept: tuple[Kept, ...]) -> dict[str, str]:
    return {each.path: str(each.because) for each in kept}


EVALUATING = msgspec.structs.replace(
    SERVED,
    role="evaluator",
    peers={"chief": ("a:1",), "evaluator": ("b:1",)},
    outputs=(Output(path="${bucket}/run", on_conflict=OnConflict.FAIL),),
    checkpoints=WantedCheckpoints("${bucket}/run/ckpt"),
)


def test_what_an_evaluator_writes_among_checkpoints_takes_the_place_of_what_its_last_attempt_has_left(run: Run) -> None:
    run.put("run/ckpt/best/metrics.json", "of the last attempt")
    run.looked_at("run", "run/")
    run.write("run/ckpt/best/metrics.json", "new")
    found = run.published(EVALUATING)
    assert (found.failure, found.kept) == (None, ())
    assert run.holds() == {"run/ckpt/best/metrics.json": "new"}


def test_what_an_evaluator_writes_where_the_model_is_served_is_kept_beside_unloaded(run: Run) -> None:
    run.write("run/served/2/saved_model.pb", "a graph")
    run.write("run/ckpt/export/saved_model.pb", "a graph")
    found = run.published(EVALUATING)
    assert found.failure is None
    assert because(found.kept) == {"bucket/run/served/2/saved_model.pb": "ModelNotVerified"}
    assert "The model there is what chief-0 exports: 1 file below the model's path is kept" in found.note
    assert run.holds() == {"run/ckpt/export/saved_model.pb": "a graph"}


def test_an_evaluators_export_among_checkpoints_is_not_put_in_halves(run: Run) -> None:
    run.put("run/ckpt/export/saved_model.pb", "old")
    run.write("run/ckpt/export/variables/variables.index", "index")
    run.write("run/ckpt/export/saved_model.pb", "a graph")
    run.had_open("run/ckpt/export/saved_model.pb")
    found = run.published(EVALUATING, KILLED)
    assert set(because(found.kept).values()) == {"CutShort"}
    assert run.holds() == {"run/ckpt/export/saved_model.pb": "old"}


OLD_MODEL = {"model/saved_model.pb": "old graph", "model/variables/variables.index": "old", "model/variables/variables.data-0": "old"}


@pytest.mark.parametrize(
    ("before", "last"),
    [
        (("variables/variables.index", "variables/variables.data-0"), ("saved_model.pb",)),
        (("variables/variables.data-0",), ("variables/variables.index",)),
        (("variables/variables.index", "variables/variables.data-0", "saved_model.pb"), ("fingerprint.pb", "assets/words.txt")),
    ],
    ids=["at the graph", "at the variables", "after the graph"],
)
def test_a_model_that_a_killed_script_was_exporting_takes_the_place_of_no_part_of_the_one_before(
    run: Run, before: tuple[str, ...], last: tuple[str, ...]
) -> None:
    for key, text in OLD_MODEL.items():
        run.put(key, text)
    for each in before:
        run.write(f"model/{each}", "new")
    run.write("table.csv", "whole")
    run.passes()
    for each in last:
        run.write(f"model/{each}", "new")
    found = run.published(result=KILLED)
    assert run.holds() == {**OLD_MODEL, "table.csv": "whole"}
    assert because(found.kept) == {f"bucket/model/{each}": "CutShort" for each in (*before, *last)}
    assert "somebody else" not in found.note


def test_a_model_of_which_somebody_else_wrote_one_file_meanwhile_is_kept_whole(run: Run) -> None:
    run.looked_at("model/")
    run.put("model/saved_model.pb", "somebody else's graph")
    paths = ("model/saved_model.pb", "model/variables/variables.index", "model/assets/words.txt")
    for each in (*paths, "model/report.txt"):
        run.write(each, "new")
    found = run.published()
    assert run.holds() == {"model/saved_model.pb": "somebody else's graph", "model/report.txt": "new"}
    assert because(found.kept) == {f"bucket/{each}": "ChangedMeanwhile" for each in paths}


def test_of_what_lies_outside_results_are_kept_and_not_the_data_that_was_unpacked_before(run: Run) -> None:
    for number in range(4):
        run.write(f"photos/{number}.jpg", "pic", run.layout.code)
    run.write("epoch-1.h5", "model of ten", run.layout.code)
    run.passes()
    run.write("epoch-2.h5", "model of ten", run.layout.code)
    found = run.published(msgspec.structs.replace(PLAN, kept_bytes=14))
    assert [each.path for each in found.kept] == ["code/epoch-2.h5"]
    assert "5 files were written outside ${bucket} and not kept" in found.note


def test_a_model_that_was_saved_beside_the_data_is_kept_too(run: Run) -> None:
    run.write("faces/model.h5", "model", run.layout.inputs)
    run.write("notes.txt", "notes", run.layout.datasets)
    run.write("own.log", "log", run.layout.logs)
    run.write("stdout.log", "printed", run.layout.logs)
    found = run.published()
    assert sorted(each.path for each in found.kept) == ["datasets/notes.txt", "inputs/faces/model.h5", "logs/own.log"]


def test_what_lies_outside_and_can_have_no_key_is_told(run: Run) -> None:
    run.write("models\\best.h5", "model", run.layout.code)
    run.write(".cache\\x", "cache", run.layout.code)
    found = run.published()
    assert found.kept == ()
    assert "1 file was written outside ${bucket} and cannot be kept: models\\best.h5 (the name holds a backslash" in found.note


def test_what_a_process_was_still_writing_that_the_end_of_a_good_script_killed_does_not_replace_what_is_whole(run: Run) -> None:
    run.put("served/table.csv", "old")
    run.put("best.bin", "old")
    run.write("served/table.csv", "half")
    run.write("best.bin", "new")
    run.had_open("bucket/served/table.csv")
    found = run.published(result=msgspec.structs.replace(SUCCEEDED, finished_at=time.time(), left_running=1))
    assert run.holds() == {"served/table.csv": "old", "best.bin": "new"}
    assert because(found.kept) == {"bucket/served/table.csv": "CutShort"}
    assert found.failure is None


def test_a_pod_that_is_about_to_end_publishes_and_begins_nothing_that_can_be_left_out(run: Run) -> None:
    run.write("table.csv", "table")
    run.write("photo.jpg", "photo", run.layout.code)
    found = run.published(hurried=True)
    assert run.holds() == {"table.csv": "table"}
    assert found.kept == ()
    assert "1 file was written outside ${bucket} and not kept, for want of room or time: photo.jpg (5 B)" in found.note


def test_what_has_a_place_of_its_own_is_there_before_anything_is_kept_beside(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.put("cut.csv", "whole")
    run.write("served/saved_model.pb", "graph")
    run.write("table.csv", "table")
    run.write("photo.jpg", "photo", run.layout.code)
    run.passes()
    run.write("cut.csv", "half")
    written: list[str] = []
    upload = FolderStore.upload

    def noting(store: FolderStore, key: str, *args: Any, **options: Any) -> Written:
        done = upload(store, key, *args, **options)
        written.append(key.partition("/kept/")[2] or key)
        return done

    monkeypatch.setattr(FolderStore, "upload", noting)
    run.published(msgspec.structs.replace(PLAN, model=WantedModel(path="${bucket}/served")), KILLED)
    assert written[0] == "table.csv"
    assert set(written[1:3]) == {"bucket/cut.csv", "bucket/served/saved_model.pb"}
    assert written[3:] == ["code/photo.jpg"]


def test_of_several_versions_one_that_does_not_load_does_not_replace_the_one_before(run: Run) -> None:
    run.put("run/served/1/saved_model.pb", "old")
    for version in ("1", "2", "3"):
        run.write(f"run/served/{version}/saved_model.pb", "new")
    run.write("run/served/metrics.csv", "metrics")
    found = run.published(SERVED, broken="run/served/1")
    assert run.holds() == {
        "run/served/1/saved_model.pb": "old",
        "run/served/2/saved_model.pb": "new",
        "run/served/3/saved_model.pb": "new",
        "run/served/metrics.csv": "metrics",
    }
    assert because(found.kept) == {"bucket/run/served/1/saved_model.pb": "ModelNotVerified"}
    assert found.failure is None
    assert found.model is not None
    assert found.model.verified
    assert found.note.startswith(
        "Beside the model that was loaded lie others that do not load, or that there was no time for: 1 file below"
    )


def test_versions_that_there_is_no_time_to_load_are_kept_beside(run: Run) -> None:
    run.write("run/served/1/saved_model.pb", "new")
    run.write("run/served/2/saved_model.pb", "new")
    found = run.published(SERVED, hurried=True)
    assert run.holds() == {"run/served/2/saved_model.pb": "new"}
    assert because(found.kept) == {"bucket/run/served/1/saved_model.pb": "ModelNotVerified"}


@pytest.mark.parametrize("broken", ["run/served", ""], ids=["does not load", "loads"])
def test_a_model_within_the_folder_of_checkpoints_is_put_there_only_if_it_loads(run: Run, broken: str) -> None:
    plan = msgspec.structs.replace(SERVED, checkpoints=WantedCheckpoints(path="${bucket}/run"))
    run.put("run/served/saved_model.pb", "old")
    run.write("run/served/saved_model.pb", "new")
    run.write("run/weights.h5", "weights")
    found = run.published(plan, broken=broken)
    assert run.holds() == {"run/served/saved_model.pb": "old" if broken else "new", "run/weights.h5": "weights"}
    assert len(found.kept) == bool(broken)


def test_a_model_within_the_folder_of_checkpoints_is_no_part_of_a_state(run: Run) -> None:
    wanted = WantedCheckpoints(path="${bucket}/run")
    run.write("run/served/saved_model.pb", "new")
    run.write("run/weights.h5", "weights")
    snapshots = Snapshots(SERVED, wanted, run.layout.bucket, lambda: FolderStore(run.bucket, "models"), (), {}, lambda _: None)
    assert [each.path for each in snapshots.whole_files(math.inf)] == ["run/weights.h5"]


def test_a_checkpoint_for_which_there_was_no_room_does_not_replace_the_one_before(run: Run) -> None:
    plan = msgspec.structs.replace(PLAN, checkpoints=WantedCheckpoints(path="${bucket}/run"))
    run.put("run/weights.h5", "whole")
    run.write("run/weights.h5", "half")
    failure = Failure(reason=Reason.WORKSPACE_FULL, message="no room")
    found = run.published(plan, RunReport(exit_code=1, failure=failure))
    assert run.holds() == {"run/weights.h5": "whole"}
    assert because(found.kept) == {"bucket/run/weights.h5": "CutShort"}


@pytest.mark.parametrize("folder", ["served/ckpt", "served/9"], ids=["by a name", "by a number, as of a version"])
def test_checkpoints_within_the_model_are_published_whatever_becomes_of_it_and_are_no_version_of_it(run: Run, folder: str) -> None:
    plan = msgspec.structs.replace(
        PLAN, model=WantedModel(path="${bucket}/served"), checkpoints=WantedCheckpoints(path="${bucket}/" + folder)
    )
    run.write("served/1/saved_model.pb", "graph")
    run.write(f"{folder}/weights.bin", "weights")
    broken = run.published(plan, broken="served/1")
    assert (broken.failure and broken.failure.reason, run.holds()) == (Reason.MODEL_UNLOADABLE, {f"{folder}/weights.bin": "weights"})
    whole = run.published(plan)
    assert (whole.failure, set(run.holds())) == (None, {f"{folder}/weights.bin", "served/1/saved_model.pb"})
    assert whole.model is not None
    assert whole.model.uri.endswith("served/1/")


GROUP = {"worker": ("w0:2222", "w1:2222")}
FIRST, SECOND = (msgspec.structs.replace(SERVED, role="worker", index=index, peers=GROUP) for index in (0, 1))


def test_only_the_leader_publishes_what_its_script_has_written_and_another_says_that_it_does_not(run: Run) -> None:
    run.write("run/served/1/saved_model.pb", "a graph")
    run.write("out/weights.h5", "12345")
    run.write("beside.csv", "123", run.layout.code)
    run.write("stdout.log", "trained", run.layout.logs)
    found = run.published(SECOND)
    assert run.holds() == {}
    assert (found.objects, found.kept, found.skipped, found.model, found.failure) == ((), (), (), None, None)
    assert [each.key for each in found.logs] == [".tftraining/team/iris/u/attempt-0/worker-1/logs/stdout.log"]
    assert found.note == "3 files were written by this replica and not published (15 B): worker-0 publishes the outputs of the job."
    assert because(run.published(FIRST).kept) == {"code/beside.csv": "OutsideTheBucket"}
    assert run.holds() == {"run/served/1/saved_model.pb": "a graph", "out/weights.h5": "12345"}


def test_a_required_model_and_declared_outputs_are_the_leaders_matter_alone(run: Run) -> None:
    plan = msgspec.structs.replace(SECOND, outputs=(Output(path="${bucket}/out/"),))
    found = run.published(plan)
    assert (found.failure, found.note) == (None, "")
    leading = run.published(msgspec.structs.replace(plan, index=0)).failure
    assert leading is not None
    assert leading.reason is Reason.MODEL_MISSING


def test_how_the_script_of_another_replica_failed_is_in_what_it_publishes(run: Run) -> None:
    failure = run.published(SECOND, KILLED).failure
    assert failure is not None
    assert failure.reason is Reason.OUT_OF_MEMORY
