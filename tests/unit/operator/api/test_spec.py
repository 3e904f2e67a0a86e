"""The operator's own reading of a spec: the same tables that the API server is shown in `tests/integration/api`."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tftrainer.local.job_file import JobFileError
from tftrainer.local.job_file import parse as parse_job
from tftrainer.local.plan import plan
from tftrainer.messages import contract
from tftrainer.placeholders import PlaceholderError, in_uris
from tftrainer.uri import UriError, parse
from tftraining_operator.api import API_VERSION, KIND
from tftraining_operator.api.fields import ARGUMENT_LIMIT, TOTAL_LIMIT, URI_LIMIT
from tftraining_operator.api.spec import MUTABLE, File, Spec

from tests.integration.api import tables
from tests.integration.api.tables import ACCEPTED
from tests.integration.api.variants import operator_takes, specs

REFUSED = {name: case for name, case in tables.REFUSED.items() if case.get("operator", True)}


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_api_server_accepts_the_operator_can_read(spec: dict[str, Any]) -> None:
    Spec.model_validate(spec)


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_the_api_server_refuses_the_operator_refuses(case: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Spec.model_validate(case["spec"])


def test_a_field_of_a_newer_definition_is_ignored() -> None:
    assert Spec.model_validate({"script": {"uri": "s3://bucket/a.py", "later": 1}, "later": {"a": 1}}).script.uri == "s3://bucket/a.py"


def test_only_suspending_stopping_and_deadlines_can_be_changed() -> None:
    assert {
        "suspend",
        "stop",
        "active_deadline_seconds",
        "pending_deadline_seconds",
        "pod_retention_seconds",
        "ttl_seconds_after_finished",
    } == MUTABLE


keys = st.lists(st.sampled_from([*"ab.-/ %\\#?\n\x85\u2028训{}$", "${job}", "${attempt}"]), min_size=1, max_size=12).map("".join)
heads = st.sampled_from(
    ["s3://bucket/", "s3://a.b-c/", "s3://a..b/", "s3://ab/", "s3://1.2.3.4/", "s3://A/", "${bucket}/", "${cos}/", "${x}/", "/", "s3:/"]
)


@given(head=heads, key=keys)
@settings(max_examples=1500)
def test_every_uri_that_a_spec_may_hold_is_one_for_the_trainer(head: str, key: str) -> None:
    try:
        accepted = File.model_validate({"uri": head + key}).uri
    except ValidationError:
        return
    plan = contract.Plan(namespace="n", job="iris", uid="u", runtime="tf2", attempt=3, script=contract.Script(name="a.py"))
    plan = msgspec.structs.replace(plan, files=(contract.Reference(uri=accepted),))
    named = in_uris(plan, strict=False).files[0].uri
    literal = key.replace("$${", "\0").replace("${job}", "iris").replace("${attempt}", "3").replace("\0", "${")
    assert (named, parse(named).key) == (head + literal, literal)
    with contextlib.suppress(PlaceholderError):
        assert in_uris(plan).files[0].uri == named


@given(head=heads, key=keys)
@settings(max_examples=1500)
def test_every_uri_that_the_trainer_takes_a_spec_may_hold_but_for_percent_signs(head: str, key: str) -> None:
    try:
        parse(head + key)
    except UriError:
        return
    if "%" not in key:
        File.model_validate({"uri": head + key.replace("${", "$${")})


worst = st.sampled_from(['"', "\\", "\n", "a", "训", "\U0001f600", "\u2028"])


@given(text=st.lists(worst, min_size=1, max_size=40).map("".join), times=st.integers(1, 60))
@settings(max_examples=200)
def test_every_spec_within_the_bounds_fits_into_a_plan(text: str, times: int) -> None:
    argument = (text * ARGUMENT_LIMIT)[:ARGUMENT_LIMIT]
    per = len(argument.encode())
    args = [argument] * min(times, TOTAL_LIMIT // per)
    files = [{"uri": "s3://bucket/" + "/".join(["k" * 240] * 4)}] * min(64, (TOTAL_LIMIT - per * len(args)) // URI_LIMIT)
    spec = Spec.model_validate({"script": {"uri": "s3://bucket/a.py"}, "args": args, "dependencies": {"files": files}})
    plan = contract.Plan(
        namespace="n" * 63,
        job="j" * 253,
        uid="u" * 36,
        runtime="r" * 63,
        script=contract.Script(name="a.py", uri="s3://bucket/" + "k" * 1024),
        args=spec.args,
        files=tuple(contract.Reference(uri=file.uri, sha256="0" * 64) for file in spec.dependencies.files),
        inputs=tuple(contract.Input(name="i" * 63, uri="${bucket}/x") for _ in range(16)),
        image="i" * 512,
    )
    assert len(contract.encode_plan(plan)) <= contract.PLAN_LIMIT


def test_the_operator_and_the_program_for_local_runs_are_of_one_mind_about_fields_in_many_forms() -> None:
    differing = [name for name, spec in specs() if operator_takes(spec) is not local_takes(spec)]
    assert differing == []
    taken = [operator_takes(spec) for _, spec in specs()]
    assert (taken.count(True) > 100, taken.count(False) > 100) == (True, True)


def local_takes(spec: dict[str, Any]) -> bool:
    job = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "iris"}, "spec": spec}
    try:
        plan(parse_job(yaml.safe_dump(job)), 0)
    except JobFileError:
        return False
    return True
