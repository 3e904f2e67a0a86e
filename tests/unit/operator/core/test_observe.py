from __future__ import annotations

import copy
from hashlib import sha256
from typing import Any

import pytest
from tftraining_operator.core import names
from tftraining_operator.core.observe import job_record, pod_record, timestamp
from tftraining_operator.core.records import InlineScript, Key

from .given import CREATED, JOB, NAMESPACE, UID, Pod, job


def test_a_pod_is_filed_under_the_job_that_owns_it() -> None:
    record = Pod().record()
    assert (record.key, record.owner_uid) == (Key(NAMESPACE, JOB), UID)


def test_a_pod_without_an_owner_is_filed_under_the_job_that_it_claims_and_is_foreign() -> None:
    record = Pod(owner=None).record()
    assert (record.key, record.owner_uid) == (Key(NAMESPACE, JOB), "")


def test_an_owner_that_does_not_control_or_is_of_another_kind_is_none() -> None:
    for change in ({"controller": False}, {"kind": "Job"}, {"controller": "true"}):
        raw = Pod().raw()
        raw["metadata"]["ownerReferences"][0].update(change)
        record = pod_record(raw)
        assert record is not None
        assert record.owner_uid == ""


def test_a_pod_that_has_nothing_but_our_pods_name_is_filed_under_our_job() -> None:
    record = pod_record({"metadata": {"name": "iris-chief-0", "namespace": NAMESPACE, "uid": "x"}})
    assert record is not None
    assert (record.key, record.owner_uid, record.phase) == (Key(NAMESPACE, JOB), "", "Unknown")


def test_the_full_name_of_a_job_outlives_its_label() -> None:
    long = "a" * 200
    raw = Pod(owner=None).raw()
    raw["metadata"]["labels"] = names.labels(long, UID, names.CHIEF, 0, 0)
    raw["metadata"]["annotations"] = {names.JOB: long}
    record = pod_record(raw)
    assert record is not None
    assert record.key.name == long


def test_an_object_without_an_identity_is_none() -> None:
    for missing in ("name", "namespace", "uid"):
        raw = copy.deepcopy(Pod().raw())
        del raw["metadata"][missing]
        assert pod_record(raw) is None
        assert job_record(raw) is None


def test_a_container_of_which_nothing_is_known_is_waiting() -> None:
    record = Pod().container("trainer").record()
    assert [(container.name, container.state) for container in record.containers] == [("trainer", "waiting")]


def test_strings_are_bounded_and_free_of_halves_of_characters() -> None:
    record = Pod(reason="x" * 10_000, message="\ud800").container("trainer", terminated={"message": "m" * 10_000}).record()
    assert (len(record.reason), record.message) == (1024, "?")
    assert len(record.containers[0].message) <= 4096


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2027-01-15T08:00:00Z", CREATED),
        ("2027-01-15T08:00:00.000000Z", CREATED),
        ("2027-01-15T10:00:00+02:00", CREATED),
        ("2027-01-15", CREATED - 8 * 3600),
        ("1960-01-01T00:00:00Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1_800_000_000, None),
        ("2027-13-45T99:00:00Z", None),
    ],
)
def test_a_time_is_a_time_or_nothing(value: Any, expected: float | None) -> None:
    assert timestamp(value) == expected


@pytest.mark.parametrize("text", ["print(1)", "print('🙂')" * 20_000, "x\ud800"])
def test_of_an_inline_script_a_record_has_digest_and_length_and_nothing_more(text: str) -> None:
    record = job(script={"name": "a.py", "inline": text})
    assert record.inline is not None
    assert record.inline == InlineScript(sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), len(text))
    assert record.spec["script"] == {"name": "a.py", "inline": record.inline.sha256}


@pytest.mark.parametrize(
    "script", [{"name": "a.py", "inline": ""}, {"name": "a.py", "inline": 7}, {"uri": "${bucket}/a.py"}, None, "inline"]
)
def test_what_is_no_inline_script_stays_as_it_is(script: Any) -> None:
    record = job(script=script)
    assert (record.inline, record.spec["script"]) == (None, script)


def test_the_jobs_own_fields_are_read() -> None:
    record = job(generation=3)
    assert (record.generation, record.created_at, record.deleted_at) == (3, CREATED, None)
