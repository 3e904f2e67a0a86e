"""Placeholders: replaced where known, refused where not, and nothing else is touched."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.messages.contract import Input, Output, Plan, Reference, Script, WantedCheckpoints, WantedModel
from tftrainer.placeholders import PlaceholderError, in_uris, resolve, with_attempt

PLAN = Plan(
    namespace="team",
    job="iris",
    uid="u",
    runtime="tf2",
    attempt=2,
    script=Script(name="train.py"),
    inputs=(Input(name="mnist", uri="${bucket}/mnist/"),),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${cos}/tf_model", "/workspace/bucket/tf_model"),
        ("--out=${bucket}", "--out=/workspace/bucket"),
        ("${ai_dataset_lib}/a.csv", "/workspace/datasets/a.csv"),
        ("${datasets}/a,${datasets}/b", "/workspace/datasets/a,/workspace/datasets/b"),
        ("${inputs.mnist}/x", "/workspace/inputs/mnist/x"),
        ("${job}-${attempt}", "iris-2"),
        ("$${bucket}", "${bucket}"),
        ("$$${job}", "${job}".replace("$", "$$", 1)[0:1] + "${job}"),
        ("$HOME $(date) `id` $1 $$ ; {x}", "$HOME $(date) `id` $1 $$ ; {x}"),
        ("", ""),
    ],
)
def test_known_placeholders_are_replaced_and_everything_else_stays(text: str, expected: str) -> None:
    assert resolve(text, PLAN) == expected


@pytest.mark.parametrize("text", ["${}", "${BUCKET}", "${inputs.other}", "${ bucket }", "${bucket", "a ${", "${${job}}"])
def test_an_unknown_or_open_placeholder_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(PlaceholderError) as caught:
        resolve(text, PLAN)
    assert "$${" in str(caught.value)


def test_what_a_placeholder_stands_for_is_not_resolved_again() -> None:
    plan = Plan(namespace="n", job="${bucket}", uid="u", runtime="r", script=Script(name="s.py"))
    assert resolve("${job}", plan) == "${bucket}"


@given(st.text())
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    if "$${" not in text and not text.endswith("$"):
        assert resolve(text.replace("${", "$${"), PLAN) == text


def test_a_placeholder_that_is_almost_one_is_answered_with_the_one_that_is_meant() -> None:
    for text, meant in (("${Bucket}/x", "${bucket}"), ("${inputs.minst}", "${inputs.mnist}")):
        with pytest.raises(PlaceholderError, match=re.escape(f"did you mean {meant}?")):
            resolve(text, PLAN)
    with pytest.raises(PlaceholderError) as caught:
        resolve("${zzz}", PLAN)
    assert "did you mean" not in str(caught.value)


def everywhere(text: str) -> Plan:
    """Return a plan in which every URI is that text."""
    return Plan(
        namespace="team",
        job="iris",
        uid="u",
        runtime="tf2",
        attempt=2,
        script=Script(uri=text),
        archive=Reference(uri=text),
        files=(Reference(uri=text), Reference(uri=text, into="conf")),
        inputs=(Input(name="mnist", uri=text),),
        outputs=(Output(path=text),),
        model=WantedModel(path=f"{text}/model"),
        checkpoints=WantedCheckpoints(path=text.replace("${attempt}", "2")),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${bucket}/runs/${job}/${attempt}/x.py", "${bucket}/runs/iris/2/x.py"),
        ("${cos}/${job}${job}", "${cos}/irisiris"),
        ("s3://my.bucket/$${job}/$x$", "s3://my.bucket/${job}/$x$"),
        ("${datasets}/a", "${datasets}/a"),
    ],
)
def test_name_and_attempt_are_put_into_every_uri_and_the_place_at_its_beginning_stays(text: str, expected: str) -> None:
    assert in_uris(everywhere(text)) == msgspec.structs.replace(
        everywhere(expected), script=Script(uri=expected, name=expected.rpartition("/")[2])
    )


FIELDS = {
    "spec.script.uri": {"script": Script(uri="${bucket}/${x}")},
    "spec.dependencies.archive.uri": {"archive": Reference(uri="${bucket}/${x}")},
    "spec.dependencies.files[1].uri": {"files": (Reference(uri="${bucket}/a"), Reference(uri="${bucket}/${x}"))},
    "spec.inputs[b].uri": {"inputs": (Input(name="b", uri="${bucket}/${x}"),)},
    "spec.outputs[0].path": {"outputs": (Output(path="${bucket}/${x}"),)},
    "spec.model.path": {"model": WantedModel(path="${bucket}/${x}")},
    "spec.checkpoints.path": {"checkpoints": WantedCheckpoints(path="${bucket}/${x}")},
}


@pytest.mark.parametrize("field", FIELDS)
def test_an_unknown_placeholder_in_a_uri_is_told_with_its_field(field: str) -> None:
    with pytest.raises(PlaceholderError, match=re.escape(f"{field}: placeholder ${{x}}")):
        in_uris(msgspec.structs.replace(PLAN, **FIELDS[field]))


def test_a_key_that_is_none_once_its_placeholders_are_replaced_is_told_with_its_field() -> None:
    plan = msgspec.structs.replace(PLAN, job="j" * 253, outputs=(Output(path="${bucket}/${job}-${job}"),))
    with pytest.raises(PlaceholderError, match=re.escape("spec.outputs[0].path: key")):
        in_uris(plan)


def test_all_of_a_bucket_can_be_an_input_and_nothing_else() -> None:
    plan = msgspec.structs.replace(PLAN, inputs=(Input(name="all", uri="s3://bucket/"), Input(name="mine", uri="${cos}/")))
    assert in_uris(plan) == plan
    with pytest.raises(PlaceholderError, match="names no object"):
        in_uris(msgspec.structs.replace(PLAN, files=(Reference(uri="${bucket}/"),)))


@pytest.mark.parametrize(
    ("checkpoints", "says"),
    [
        ("${bucket}/runs/${job}", "cannot be that of the checkpoints"),
        ("${cos}/runs/iris/", "cannot be that of the checkpoints"),
        ("${bucket}/runs/${attempt}", "must be the same for every attempt"),
    ],
)
def test_checkpoints_in_the_models_place_or_in_one_of_each_attempt_are_refused_for_a_new_job_alone(checkpoints: str, says: str) -> None:
    folders = {"model": WantedModel(path="${bucket}/runs/${job}/"), "checkpoints": WantedCheckpoints(path=checkpoints)}
    plan = msgspec.structs.replace(PLAN, **folders)
    with pytest.raises(PlaceholderError, match=f"{re.escape('spec.checkpoints.path is')}.*{says}"):
        in_uris(plan)
    in_uris(plan, strict=False)


def test_checkpoints_may_lie_within_the_model() -> None:
    folders = {"model": WantedModel(path="${bucket}/runs"), "checkpoints": WantedCheckpoints(path="${cos}/runs/ckpt")}
    plan = msgspec.structs.replace(PLAN, **folders)
    assert in_uris(plan) == plan


@pytest.mark.parametrize("key", ["${x}", "a/${x", "${inputs.mnist}/b", "$${x}/${JOB}"])
def test_what_an_older_job_has_in_a_key_and_is_no_known_placeholder_is_taken_as_it_is_written(key: str) -> None:
    plan = msgspec.structs.replace(PLAN, outputs=(Output(path="${bucket}/" + key),))
    assert in_uris(plan, strict=False).outputs[0].path == "${bucket}/" + key.replace("$${", "${")


def test_the_number_of_an_attempt_can_be_fixed_alone() -> None:
    assert with_attempt("${bucket}/${job}/${attempt}/$${attempt}", 3) == "${bucket}/${job}/3/$${attempt}"
