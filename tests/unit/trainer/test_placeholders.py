"""Placeholders: replaced where known, refused where not, and nothing else is touched."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.contract import Input, Plan, Script
from tftrainer.placeholders import PlaceholderError, resolve

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
