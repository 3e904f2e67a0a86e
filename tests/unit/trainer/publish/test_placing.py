"""Where each changed file goes, by what is known of it; the rest is proved with real stores."""

from __future__ import annotations

import msgspec
import pytest
from tftrainer.messages.contract import OnConflict, OpenFiles, Output, Plan, Script, WantedCheckpoints, WantedModel
from tftrainer.messages.handover import Baseline, FetchedFile, ListedObject
from tftrainer.outputs.tree import LocalFile
from tftrainer.publish.placing import Conditions, graphs_last, held_back, is_below, may_be_cut, within_model, without_company
from tftrainer.storage.condition import Absent, Condition, Unchanged

ENDED = 1_000.0
PLAN = Plan(
    namespace="team",
    job="iris",
    uid="u",
    runtime="tf2",
    script=Script(name="train.py"),
    outputs=(
        Output(path="${bucket}/out/"),
        Output(path="${cos}/out/shared", on_conflict=OnConflict.REPLACE),
        Output(path="${bucket}/strict.csv", on_conflict=OnConflict.FAIL),
    ),
    model=WantedModel(path="${bucket}/served/"),
    checkpoints=WantedCheckpoints(path="${bucket}/served/ckpt"),
)
FETCHED = (FetchedFile(path="data/a.csv", size=1, mtime_ns=1, ctime_ns=1, inode=1, etag='"a"'),)
BASELINE = Baseline(
    listed=("data/", "single.bin", "out/"),
    others=(ListedObject(path="out/old.bin", etag='"old"'), ListedObject(path="strict.csv", etag='"strict"')),
)


def file(path: str, changed: float = 0.0, target: str = "") -> LocalFile:
    return LocalFile(path, 1, 0, 1, target, int(changed * 1e9))


@pytest.mark.parametrize(
    ("found", "suspect"),
    [
        (file("a", ENDED - 1.9), True),
        (file("a", ENDED - 2.1), False),
        (file("a", ENDED + 5), True),
        (file("open", 0), True),
        (file("link", 0, target="open"), True),
        (file("logs/events.out.tfevents.1.host", ENDED), False),
    ],
    ids=["in the last moments", "before", "after", "open", "a link to what is open", "an event file"],
)
def test_what_may_be_cut_was_open_or_changed_in_the_last_moments(found: LocalFile, suspect: bool) -> None:
    assert may_be_cut([found], OpenFiles(paths=("open",)), ENDED) == ([found] if suspect else [])


def test_what_was_changed_after_the_last_look_may_be_cut_however_long_ago_that_was() -> None:
    look = OpenFiles(looked_at=ENDED - 30)
    assert may_be_cut([file("a", ENDED - 29), file("b", ENDED - 31)], look, ENDED) == [file("a", ENDED - 29)]


@pytest.mark.parametrize(
    ("path", "condition"),
    [
        ("data/a.csv", Unchanged('"a"')),
        ("data/new.csv", Absent()),
        ("single.bin", Absent()),
        ("single.bin.part", None),
        ("database/x", None),
        ("out/old.bin", Unchanged('"old"')),
        ("out/new.bin", Absent()),
        ("out/shared/board.csv", None),
        ("strict.csv", Unchanged('"strict"')),
        ("served/ckpt/model.h5", None),
        ("data/events.out.tfevents.1.host", None),
        ("elsewhere.bin", None),
    ],
)
def test_an_output_takes_only_the_place_of_what_was_seen_there_before_the_start(path: str, condition: Condition | None) -> None:
    assert Conditions.of(PLAN, BASELINE, FETCHED)(file(path)) == condition


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("out/x", OnConflict.KEEP),
        ("out/shared/x", OnConflict.REPLACE),
        ("out/shared-not", OnConflict.KEEP),
        ("strict.csv", OnConflict.FAIL),
        ("strict.csv.old", OnConflict.KEEP),
        ("nowhere", OnConflict.KEEP),
    ],
)
def test_of_outputs_that_a_file_lies_in_the_narrowest_says_what_becomes_of_a_conflict(path: str, what: OnConflict) -> None:
    assert Conditions.of(PLAN, BASELINE, FETCHED).on_conflict(path) is what


def test_what_lies_at_the_models_path_is_held_back_but_for_checkpoints_and_event_files() -> None:
    paths = ["served/1/saved_model.pb", "served/ckpt/model.h5", "served/events.out.tfevents.1.h", "served.txt", "other"]
    assert [each.path for each in held_back(PLAN, map(file, paths))] == ["served/1/saved_model.pb"]


@pytest.mark.parametrize(
    ("model", "checkpoints", "apart"),
    [
        ("${bucket}/served", "${cos}/served/7/", ["served/7/model.h5", "served/7/saved_model.pb"]),
        ("${bucket}/served/", "${bucket}/served", []),
        ("${bucket}/served/7", "${bucket}/served", []),
        ("${bucket}/served", "${bucket}/served-7", []),
    ],
    ids=["within the model", "one folder for both, as jobs of before may have", "around the model", "beside it"],
)
def test_checkpoints_within_the_model_are_no_version_of_it(model: str, checkpoints: str, apart: list[str]) -> None:
    plan = msgspec.structs.replace(PLAN, model=WantedModel(path=model), checkpoints=WantedCheckpoints(path=checkpoints))
    paths = ["served/1/saved_model.pb", "served/7/model.h5", "served/7/saved_model.pb", "served-7/x"]
    assert [each for each in paths if within_model(plan)(each)] == apart


def test_graphs_come_last_and_not_at_all_without_their_company() -> None:
    parts, graphs = graphs_last(map(file, ("m/1/saved_model.pb", "m/1/variables/v", "n/saved_model.pbtxt", "n/v", "notes_saved_model.pb")))
    assert [each.path for each in parts] == ["m/1/variables/v", "n/v", "notes_saved_model.pb"]
    assert [each.path for each in graphs] == ["m/1/saved_model.pb", "n/saved_model.pbtxt"]
    assert [each.path for each in without_company(graphs, {"m/1/variables/v"})] == ["m/1/saved_model.pb"]
    assert without_company(graphs, {"m/10/variables/v"}) == []


@pytest.mark.parametrize(
    ("path", "folder", "below"), [("a/b", "a", True), ("a/b", "a/", True), ("a", "a", True), ("ab", "a", False), ("a", "", True)]
)
def test_a_path_is_below_a_folder_by_whole_names(path: str, folder: str, below: bool) -> None:
    assert is_below(path, folder) is below
