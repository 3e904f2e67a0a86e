from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftraining_operator.core.names import (
    CHIEF,
    JOB_NAME,
    PodName,
    check_labels,
    check_name,
    claimed_job,
    labels,
    parse,
    pod_name,
    script_name,
)

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
part = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
job_names = st.lists(part, min_size=1, max_size=5).map(lambda parts: ".".join(parts)[:253].rstrip("-."))
attempts = st.integers(0, 99_999)


@pytest.mark.parametrize(
    ("name", "job"),
    [("iris-chief-0", "iris"), ("iris-chief-0-r12", "iris"), ("a-chief-0-chief-0", "a-chief-0"), ("web-7d9f", ""), ("", "")],
)
def test_a_pods_name_claims_a_job(name: str, job: str) -> None:
    assert claimed_job(name) == job


def test_names_are_what_a_user_expects() -> None:
    assert pod_name("iris", CHIEF, 0, 0) == "iris-chief-0"
    assert pod_name("iris", CHIEF, 0, 1) == "iris-chief-0-r1"
    assert script_name("iris", "one", 0) != script_name("iris", "another", 0)
    assert script_name("iris", "one", 0).startswith("iris-chief-0-script-")


@given(job=job_names, attempt=attempts)
def test_every_job_name_makes_a_valid_hostname_and_valid_labels(job: str, attempt: int) -> None:
    assert DNS_LABEL.fullmatch(pod_name(job, CHIEF, 0, attempt))
    made = labels(job, "u" * 36, CHIEF, 0, attempt)
    assert all(LABEL_VALUE.fullmatch(value) for value in made.values())
    assert parse(job, pod_name(job, CHIEF, 0, attempt)) == PodName(CHIEF, 0, attempt)


@given(job=job_names, other=job_names)
def test_the_pod_of_a_check_is_no_pod_of_any_job(job: str, other: str) -> None:
    name = check_name(job, "one")
    assert DNS_LABEL.fullmatch(name)
    assert all(LABEL_VALUE.fullmatch(value) for value in check_labels("u" * 36).values())
    assert parse(other, name) is None
    assert claimed_job(name) == ""
    assert name != check_name(job, "another"), "a job created again under its name has another"


@given(one=job_names, other=job_names, attempt=attempts)
def test_two_jobs_never_share_a_pod_name(one: str, other: str, attempt: int) -> None:
    assert (pod_name(one, CHIEF, 0, attempt) == pod_name(other, CHIEF, 0, attempt)) == (one == other)


@pytest.mark.parametrize("length", [1, 53, 54, 63, 64, 253])
def test_names_that_only_differ_after_the_cut_stay_apart(length: int) -> None:
    first, second = "a" * (length - 1) + "x", "a" * (length - 1) + "y"
    assert pod_name(first, CHIEF, 0, 0) != pod_name(second, CHIEF, 0, 0)
    assert labels(first, "u", CHIEF, 0, 0)[JOB_NAME] != labels(second, "u", CHIEF, 0, 0)[JOB_NAME]


@pytest.mark.parametrize("name", ["iris-chief-0-r0", "iris-chief-0-r01", "iris-boss-0", "other-chief-0", "iris-chief-0-rx", "", "iris"])
def test_a_name_that_is_not_ours_says_nothing(name: str) -> None:
    assert parse("iris", name) is None
