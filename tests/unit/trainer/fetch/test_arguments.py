"""What an argument names, and what of it is fetched: keys, patterns, names of checkpoints, lists; everything else is text."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.fetch import arguments
from tftrainer.fetch.buckets import Buckets
from tftrainer.fetch.look_ups import look_ups
from tftrainer.fetch.references import named_by
from tftrainer.fetch.wanted import Found
from tftrainer.layout import Layout
from tftrainer.messages.contract import Input, Output, Plan, Reason, Script, WantedCheckpoints
from tftrainer.phase_error import PhaseError
from tftrainer.storage.folder import FolderStore
from tftrainer.storage.store import ObjectInfo

PLAN = Plan(namespace="n", job="nightly", uid="u", runtime="tf1", script=Script(name="train.py"))


class Counting(FolderStore):
    """A folder that counts what it is asked."""

    requests = 0

    def find(self, key: str) -> ObjectInfo | None:
        self.requests += 1
        return super().find(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self.requests += 1
        for each in super().list(prefix):
            # What a listing gives is no look-up of a bucket.
            self.requests -= 1
            yield each


class Job:
    """A job's two buckets, and what its arguments make of them."""

    def __init__(self, root: Path) -> None:
        (root / "storage").mkdir()
        (root / "library").mkdir()
        self.bucket, self.datasets = Counting(root / "storage", "models"), Counting(root / "library", "library")
        self.layout = Layout(root / "pod")

    def holds(self, *keys: str, data: bytes = b"12345") -> None:
        for key in keys:
            self.bucket.write(key, data)
            self.datasets.write(key, data)
        self.bucket.requests = self.datasets.requests = 0

    def found(self, *args: str, **changes: object) -> Found:
        plan = msgspec.structs.replace(PLAN, args=args, **changes)
        results = [look_up() for look_up in look_ups(plan, self.layout, Buckets(self.bucket, self.datasets))]
        return Found(
            tuple(each for result in results for each in result.wanted),
            tuple(each for result in results for each in result.folders),
            tuple(each for result in results for each in result.facts),
        )

    def fetched(self, *args: str, **changes: object) -> list[str]:
        """Return the paths, below the workspace, of what is fetched for the arguments."""
        return sorted(str(each.target.relative_to(self.layout.workspace)) for each in self.found(*args, **changes).wanted)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


BERT = ("bert/bert_model.ckpt.index", "bert/bert_model.ckpt.meta", "bert/bert_model.ckpt.data-00000-of-00001")


@pytest.mark.parametrize("root", ["bucket", "datasets"])
def test_the_name_of_a_tensorflow_checkpoint_fetches_its_files_and_no_others(job: Job, root: str) -> None:
    job.holds(*BERT, "bert/bert_model.ckpt-2.index", "bert/bert_model.ckpt.data-notes.txt", "bert/bert_model.ckpt.txt", "bert/vocab.txt")
    found = job.found("--init_checkpoint", f"${{{root}}}/bert/bert_model.ckpt")
    assert sorted(str(each.target.relative_to(job.layout.workspace)) for each in found.wanted) == sorted(f"{root}/{key}" for key in BERT)
    assert found.facts == ()


def test_of_a_checkpoint_of_tensorflow_2_there_is_no_graph_to_fetch(job: Job) -> None:
    job.holds("ckpt-1.index", "ckpt-1.data-00000-of-00002", "ckpt-1.data-00001-of-00002")
    assert job.fetched("${datasets}/ckpt-1") == [
        "datasets/ckpt-1.data-00000-of-00002",
        "datasets/ckpt-1.data-00001-of-00002",
        "datasets/ckpt-1.index",
    ]


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("in/train-*", ["in/train-0-of-2", "in/train-1-of-2", "in/train-old/x"]),
        ("in/train-?-of-2", ["in/train-0-of-2", "in/train-1-of-2"]),
        ("in/train-[1-9]-of-2", ["in/train-1-of-2"]),
        ("*/train-0*", ["in/train-0-of-2"]),
        ("in/train-*/", ["in/train-old/x"]),
        ("in/**/x", ["in/deep/er/x", "in/train-old/x"]),
        ("**/train-0*", ["in/train-0-of-2", "train-0"]),
        ("in/deep/**", ["in/deep/er/x"]),
        ("in/*/er", ["in/deep/er/x"]),
        ("in/[1]", []),
    ],
)
def test_a_pattern_fetches_what_the_script_will_match_with_it(job: Job, pattern: str, keys: list[str]) -> None:
    job.holds("in/train-0-of-2", "in/train-1-of-2", "in/train-old/x", "in/eval-0", "in/deep/er/x", "other/train", "train-0")
    assert job.fetched(f"${{bucket}}/{pattern}") == [f"bucket/{key}" for key in keys]


def test_an_archive_beside_the_images_of_a_pattern_is_not_fetched_and_neither_is_what_is_hidden(job: Job) -> None:
    job.holds("flowers/raw.tar", "flowers/rose/1.jpg", "flowers/2.jpg", "flowers/.cache/3.jpg", "flowers/rose/.4.jpg")
    images = ["datasets/flowers/2.jpg", "datasets/flowers/rose/1.jpg"]
    assert job.fetched("${datasets}/flowers/**/*.jpg") == images
    assert job.fetched("${datasets}/flowers/*.jpg") == images[:1]
    assert job.fetched("${datasets}/flowers/.*/*.jpg") == ["datasets/flowers/.cache/3.jpg"]


_TREE = ("a/b/c", "a/b/.c", "a/.b/c", "a/bb/c/b", "b/a.b", "b/c/a/c", ".a/b", ".a/.b/c", "c", "ab/.c/a/b")
_NAMES = st.sampled_from(("**", "*", "a", "b", "c", "?", "a*", "*b", ".*", ".a", "[ab]", "[!a]", "[.]a", "*.b", "**b"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("tree")
    for each in _TREE:
        (top / each).parent.mkdir(parents=True, exist_ok=True)
        (top / each).touch()
    return top


@given(names=st.lists(_NAMES, min_size=1, max_size=5), end=st.sampled_from(("", "/")))
def test_a_pattern_matches_what_glob_finds(tree: Path, names: list[str], end: str) -> None:
    pattern = "/".join(names) + end
    [named] = named_by(f"${{bucket}}/{pattern}", str)
    found = glob.glob(f"{tree}/{pattern}", recursive=True)  # noqa: PTH207  what scripts call is the measure
    # Of `c/**` glob answers `c/` also where `c` is a file: a name that nobody can open.
    found = [Path(each) for each in found if os.path.exists(each)]  # noqa: PTH110  a Path has no slash at its end
    expected = [key for key in _TREE if any((tree / key).is_relative_to(each) for each in found)]
    assert [key for key in _TREE if named.matches(key)] == expected


def test_a_wildcard_that_is_part_of_an_objects_name_is_its_name(job: Job) -> None:
    job.holds("in/a[1].csv", "in/a1.csv", "in/b*", "in/bc")
    assert job.fetched("${bucket}/in/a[1].csv", "${bucket}/in/b*") == ["bucket/in/a[1].csv", "bucket/in/b*"]


def test_a_pattern_that_matches_nothing_is_an_error_in_the_library_and_an_output_in_the_bucket(job: Job) -> None:
    job.holds("in/train-0")
    found = job.found("${bucket}/out/eval-*")
    assert (found.wanted, found.folders) == ((), (job.layout.bucket / "out",))
    assert "will write" in found.facts[0]
    assert job.found("${bucket}/out-*/x").folders == ()
    assert "is made" not in job.found("${bucket}/out-*/").facts[0]
    with pytest.raises(PhaseError) as caught:
        job.found("${datasets}/in/trian-*")
    assert caught.value.failure.reason is Reason.OBJECT_NOT_FOUND
    assert "no object matches" in caught.value.failure.message
    assert "spec.args[0]" in caught.value.failure.message
    assert "did you mean" in caught.value.failure.hint
    assert "in/train-0" in caught.value.failure.hint


def test_a_pattern_and_a_checkpoint_keep_to_the_size_that_is_fetched_undeclared(job: Job) -> None:
    job.holds(*BERT, "in/a", "in/b")
    for argument in ("${bucket}/bert/bert_model.ckpt", "${bucket}/in/?"):
        with pytest.raises(PhaseError) as caught:
            job.found(argument, implicit_fetch_bytes=9)
        assert caught.value.failure.reason is Reason.INPUT_TOO_LARGE
        assert argument.removeprefix("${bucket}/") in caught.value.failure.message


def test_a_pattern_is_not_compared_with_all_objects_of_a_vast_library(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.holds("in/a", "in/b", "in/c")
    monkeypatch.setattr(arguments, "PATTERN_LIMIT", 2)
    hints = {}
    for pattern in ("*/a", "in/*"):
        with pytest.raises(PhaseError) as caught:
            job.found(f"${{datasets}}/{pattern}")
        assert caught.value.failure.reason is Reason.INPUT_TOO_LARGE
        assert f"spec.args[0] names {job.datasets.uri(pattern)}" in caught.value.failure.message
        hints[pattern] = caught.value.failure.hint
    assert all("before the first wildcard" in hint for hint in hints.values())
    assert ["${datasets}/in/ in spec.inputs" in hint for hint in hints.values()] == [False, True]
    assert job.fetched("${datasets}/in/a*") == ["datasets/in/a"]


def test_a_pattern_in_a_vast_bucket_is_text_for_it_may_be_an_output(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.holds("in/a", "in/b", "in/c")
    monkeypatch.setattr(arguments, "PATTERN_LIMIT", 2)
    found = job.found("${bucket}/*.h5", "${bucket}/in/*.h5")
    assert (found.wanted, found.folders) == ((), (job.layout.bucket / "in",))
    assert ["taken as text and nothing is fetched" in fact for fact in found.facts] == [True, True]


@pytest.mark.parametrize(
    "text",
    [
        "${bucket}/ckpt/weights-%04d.h5",
        "${bucket}//tf_model",
        "${bucket}/out/../x",
        "${bucket}/../x",
        "${datasets}/../x",
        "${bucket}/a#b",
        "--x=${bucket}/a\\b",
        "${bucket}/" + "é" * 600,
        "${bucket}/in/a,/etc/hosts,${bucket}/in/b",
        "${bucket}/in:${datasets}/in",
        "${bucket}/in/a,${inputs.x}/a",
    ],
)
def test_an_argument_that_is_no_key_is_text_and_the_log_says_so(job: Job, text: str) -> None:
    job.holds("in/a", "in/b", "x")
    found = job.found("first", text, inputs=(Input(name="x", uri="${bucket}/x"),))
    assert [each.field for each in found.wanted] == ["spec.inputs[x].uri"]
    [fact] = found.facts
    assert fact.startswith("warning: spec.args[1]: " if text.startswith("${datasets}") else "spec.args[1]: ")
    assert "is not a key, so it is taken as text and nothing is fetched" in fact
    made = [folder for folder in found.folders if not folder.is_relative_to(job.layout.inputs)]
    assert [folder for folder in made if ".." in folder.parts or not folder.is_relative_to(job.layout.bucket)] == []
    assert job.bucket.requests + job.datasets.requests == 1, "the input's"


@pytest.mark.parametrize(
    "name", ["img_%d.png", "img_%04d.png", "img_%s", "%.2f.csv", "part-{}.csv", "w.{epoch:02d}-{loss:.2f}.h5", "*-{}.csv"]
)
def test_a_format_that_the_script_completes_is_text_under_both_roots_unless_an_object_has_that_name(job: Job, name: str) -> None:
    job.holds("in/a")
    in_bucket, in_library = job.found(f"${{bucket}}/in/{name}"), job.found(f"${{datasets}}/in/{name}")
    assert in_bucket.wanted == in_library.wanted == ()
    assert (in_bucket.folders, in_library.folders) == ((job.layout.bucket / "in",), ())
    for found, start in ((in_bucket, "spec.args[0]: "), (in_library, "warning: spec.args[0]: ")):
        assert found.facts[0].startswith(start)
        assert "taken as text and nothing is fetched" in found.facts[0]
    if "%04" not in name:
        job.holds(f"in/{name}")
        assert job.fetched(f"${{datasets}}/in/{name}") == [f"datasets/in/{name}"]


@pytest.mark.parametrize(
    "text", ["${datasets}//in/a", "${datasets}/./in//a", "${datasets}/in/././/a", "${datasets}/in//.//*", "${datasets}//./in/"]
)
def test_a_path_in_the_library_may_say_its_folder_in_a_roundabout_way(job: Job, text: str) -> None:
    job.holds("in/a")
    found = job.found(text)
    assert ([each.target for each in found.wanted], found.facts) == ([job.layout.datasets / "in/a"], ())


def test_a_dot_at_the_end_of_a_name_is_part_of_it(job: Job) -> None:
    job.holds("in./a", "in/.b")
    assert job.fetched("${datasets}/in./a", "${datasets}/in/.b") == ["datasets/in./a", "datasets/in/.b"]


def test_the_folder_above_an_output_is_made_and_with_a_slash_at_the_end_the_folder_itself_which_the_log_tells(job: Job) -> None:
    above, itself = job.found("${bucket}/runs/export"), job.found("${bucket}/runs/export/")
    assert (above.folders, itself.folders) == ((job.layout.bucket / "runs",), (job.layout.bucket / "runs/export",))
    assert ["folder is made" in found.facts[0] for found in (above, itself)] == [False, True]


def test_the_folder_of_a_name_that_the_script_completes_is_there(job: Job) -> None:
    assert job.found("${bucket}/ckpt/weights-%04d.h5").folders == (job.layout.bucket / "ckpt",)


@pytest.mark.parametrize(
    ("text", "fetched"),
    [
        ("data.dir=${datasets}/in", ["datasets/in/a", "datasets/in/b"]),
        ("+trainer.data.file=${bucket}/in/a", ["bucket/in/a"]),
        ("--set=data.file=${cos}/in/a", ["bucket/in/a"]),
        ("--data=${ai_dataset_lib}/in/b", ["datasets/in/b"]),
        ("${bucket}/day=1/a", ["bucket/day=1/a"]),
        ("${bucket}/in/a,${bucket}/in/b", ["bucket/in/a", "bucket/in/b"]),
        ("--files=${bucket}/in/a,${datasets}/in/b", ["bucket/in/a", "datasets/in/b"]),
        ("${bucket}/in/a,${bucket}/none", ["bucket/in/a"]),
        ("${datasets}/in/a, ${datasets}/in/b", ["datasets/in/a", "datasets/in/b"]),
        ("${bucket}/in/a,${bucket}/in/b,", ["bucket/in/a", "bucket/in/b"]),
        ("${bucket}/in/a ,\n${datasets}/in/b, ", ["bucket/in/a", "datasets/in/b"]),
        ("${datasets}/in/a,${datasets}/in/b,,", []),
        ("${bucket}/c,d", ["bucket/c,d"]),
        ("${bucket}/${job}/a", ["bucket/nightly/a"]),
        ("x${bucket}/in/a", []),
        ("a b ${bucket}/in/a", []),
        ("$${bucket}/in/a", []),
        ("--data=$${bucket}/in/a", []),
        ("${bucket}", []),
        ("${bucket}/", []),
    ],
)
def test_a_value_and_each_of_a_list_of_values_is_fetched(job: Job, text: str, fetched: list[str]) -> None:
    job.holds("in/a", "in/b", "day=1/a", "c,d", "nightly/a")
    assert job.fetched(text) == fetched


def test_a_list_of_a_hundred_objects_is_no_key_that_is_too_long(job: Job) -> None:
    keys = [f"part-{number:05}" for number in range(90)]
    job.holds(*keys)
    assert job.fetched(",".join(f"${{bucket}}/{key}" for key in keys)) == [f"bucket/{key}" for key in keys]


def test_one_missing_element_of_a_list_of_data_sets_is_named_alone(job: Job) -> None:
    job.holds("in/a")
    with pytest.raises(PhaseError, match=r"library/in/none does not exist \(named by spec\.args\[0\]\)"):
        job.found("${datasets}/in/a,${datasets}/in/none")


def test_what_exists_costs_two_requests_as_before_and_what_does_not_one_more_and_a_look_beside_it(job: Job) -> None:
    job.holds("in/a")
    for argument, requests in (
        ("${bucket}/in/a", 2),
        ("${bucket}/in", 2),
        ("${bucket}/in/", 1),
        ("${bucket}/none", 4),
        ("${bucket}/no/", 2),
    ):
        job.bucket.requests = 0
        job.found(argument)
        assert job.bucket.requests == requests, argument


def test_of_checkpoints_that_are_restored_no_pattern_fetches_others(job: Job) -> None:
    job.holds("out/ckpt/model-1.index", "out/log/x")
    checkpoints = WantedCheckpoints(path="${bucket}/out/ckpt")
    assert job.fetched("${bucket}/out/ckpt/model-*", "${bucket}/out/ckpt/model-1", "${bucket}/out/*", checkpoints=checkpoints) == [
        "bucket/out/log/x"
    ]


def test_reading_an_argument_asks_for_the_placeholders_of_its_key_only() -> None:
    asked: list[str] = []
    assert named_by("--x", asked.append) == () == named_by("$", asked.append)  # type: ignore[arg-type]
    assert [each.key for each in named_by("--x=${bucket}/${job}", lambda text: text.replace("${job}", "j"))] == ["j"]
    assert asked == []


@pytest.mark.parametrize("declared", ["${bucket}/in/", "s3://models/in/deep/"])
def test_what_an_input_declares_too_is_fetched_for_an_argument_however_large(job: Job, declared: str) -> None:
    job.holds("in/deep/a", "in/deep/b")
    inputs = (Input(name="old", uri=declared),)
    found = job.found("${bucket}/in/deep", inputs=inputs, implicit_fetch_bytes=4)
    assert len([each for each in found.wanted if each.target.is_relative_to(job.layout.bucket)]) == 2
    for argument in ("${datasets}/in/deep", "${bucket}/in"):
        with pytest.raises(PhaseError, match="the most that is fetched undeclared"):
            job.found(argument, inputs=(Input(name="old", uri="${bucket}/in/deep/a"),), implicit_fetch_bytes=4)


@pytest.mark.parametrize(
    ("argument", "fetched", "folder"),
    [
        ("${bucket}/tf_model", [], ""),
        ("${bucket}/tf_model/", [], "tf_model"),
        ("--export_dir=${cos}/tf_model/1700000000", [], "tf_model"),
        ("${bucket}/tf_model/*/saved_model.pb", [], None),
        ("${bucket}/out.csv", [], ""),
        ("${bucket}/tf_model_2", ["bucket/tf_model_2/x"], None),
        ("${bucket}/t*", ["bucket/tf_model_2/x"], None),
        ("${datasets}/tf_model", ["datasets/tf_model/1700000000/saved_model.pb"], None),
    ],
)
def test_what_spec_outputs_names_is_not_fetched_whatever_argument_names_it(
    job: Job, argument: str, fetched: list[str], folder: str | None
) -> None:
    job.holds("tf_model/1700000000/saved_model.pb", "out.csv", "tf_model_2/x")
    outputs = (Output(path="${bucket}/tf_model"), Output(path="${cos}/out.csv"))
    found = job.found(argument, outputs=outputs)
    assert sorted(str(each.target.relative_to(job.layout.workspace)) for each in found.wanted) == fetched
    assert found.folders == ((job.layout.bucket / folder,) if folder else ())
    assert [("spec.outputs" in fact) for fact in found.facts] == ([] if fetched else [True])


def test_what_lies_beside_an_output_is_fetched_with_its_folder(job: Job) -> None:
    job.holds("exp/out/old", "exp/in/a")
    assert job.fetched("${bucket}/exp", outputs=(Output(path="${bucket}/exp/out/"),), implicit_fetch_bytes=5) == ["bucket/exp/in/a"]


@pytest.mark.parametrize("argument", ["${bucket}/exp", "${bucket}/exp/", "${bucket}/e*", "${bucket}/exp/*"])
def test_of_a_folder_that_holds_only_outputs_and_checkpoints_the_log_does_not_say_that_nothing_is_there(job: Job, argument: str) -> None:
    job.holds("exp/out/old", "exp/ckpt/model-1.index")
    found = job.found(argument, outputs=(Output(path="${bucket}/exp/out/"),), checkpoints=WantedCheckpoints(path="${bucket}/exp/ckpt"))
    assert found.wanted == ()
    [fact] = found.facts
    assert "no more is there than spec.outputs and spec.checkpoints name" in fact
    assert "nothing is at" not in fact
    assert "nothing is at" in job.found("${bucket}/other", outputs=(Output(path="${bucket}/exp/out/"),)).facts[0]


@pytest.mark.parametrize("path", ["${datasets}/x", "${bucket}/../x", "s3://models/x"])
def test_an_output_that_is_no_path_in_the_bucket_is_refused_with_its_field(job: Job, path: str) -> None:
    with pytest.raises(PhaseError) as caught:
        job.found(outputs=(Output(path="${bucket}/a"), Output(path=path)))
    assert caught.value.failure.reason is Reason.INVALID_SPEC
    assert "spec.outputs[1].path" in caught.value.failure.message


def test_the_remedies_for_what_is_too_large_are_those_that_help(job: Job) -> None:
    job.holds("old/a", "old/b")
    hints = {}
    for root in ("bucket", "datasets"):
        with pytest.raises(PhaseError) as caught:
            job.found(f"${{{root}}}/old", implicit_fetch_bytes=9)
        hints[root] = caught.value.failure.hint
    assert ["spec.outputs" in hints[root] for root in ("bucket", "datasets")] == [True, False]
    assert all("spec.inputs" in hint for hint in hints.values())
    job.found("${bucket}/old", implicit_fetch_bytes=9, outputs=(Output(path="${bucket}/old"),))
    job.found("${bucket}/old", implicit_fetch_bytes=9, inputs=(Input(name="old", uri="${bucket}/old/"),))


@pytest.mark.parametrize(
    ("argument", "there", "meant"),
    [
        ("${bucket}/in/row.csv", "in/rows.csv", "in/rows.csv"),
        ("--train=${bucket}/in/Rows.CSV", "in/rows.csv", "in/rows.csv"),
        ("${bucket}/in/rows", "in/rows.csv", "in/rows.csv"),
        ("${bucket}/in/rows.csv/", "in/rows.csv", "in/rows.csv"),
        ("${bucket}/train/", "training/a", "training/"),
        ("${bucket}/inn/rows.csv", "in/rows.csv", "in/rows.csv"),
        ("${bucket}/out/model-2.h5", "out/model-1.h5", ""),
        ("${bucket}/out/model.h5", "in/rows.csv", ""),
    ],
)
def test_of_what_may_be_an_output_the_log_says_what_lies_beside_it_and_is_almost_the_same(
    job: Job, argument: str, there: str, meant: str
) -> None:
    job.holds(there)
    [fact] = job.found(argument).facts
    assert "is taken for something that the script will write" in fact
    assert fact.endswith(f"; beside it there is ${{bucket}}/{meant}") if meant else "beside" not in fact
