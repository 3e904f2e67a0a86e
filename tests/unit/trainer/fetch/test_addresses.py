"""Addresses of S3 among arguments and variables: each is told with what to write instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.fetch.addresses import hints
from tftrainer.fetch.buckets import Buckets
from tftrainer.messages.contract import NOTE_LIMIT, FetchReport, Plan, Script, Variable, decode_report, encode_report
from tftrainer.storage.folder import FolderStore

PLAN = Plan(namespace="n", job="nightly", uid="u", runtime="tf2", script=Script(name="train.py"))


def bucket(name: str, prefix: str = "") -> FolderStore:
    store = FolderStore(Path("/nowhere"), name)
    store.credentials = replace(store.credentials, prefix=prefix)
    return store


BUCKETS = Buckets(bucket("models"), bucket("library"))
PREFIXED = Buckets(bucket("shared", "team/"), bucket("shared", "team/data/"))
ALONE = Buckets(bucket("models"), None)


def told(*args: str, buckets: Buckets = BUCKETS, **variables: str) -> list[str]:
    addresses = tuple(Variable(name=name, value=value) for name, value in variables.items())
    return [each.message for each in hints(msgspec.structs.replace(PLAN, args=args, addresses=addresses), buckets)]


@pytest.mark.parametrize(
    ("argument", "buckets", "advice"),
    [
        ("s3://models/reports/rows.csv", BUCKETS, "write ${bucket}/reports/rows.csv, which"),
        ("s3a://models/in/", BUCKETS, "write ${bucket}/in/, which"),
        ("s3n://models", BUCKETS, "write ${bucket}, which"),
        ("s3://models/${job}/x", BUCKETS, "write ${bucket}/${job}/x, which"),
        ("s3://library/a.csv", BUCKETS, "write ${datasets}/a.csv, which"),
        ("s3://${bucket}/a.csv", BUCKETS, "write ${bucket}/a.csv, which"),
        ("s3://${ai_dataset_lib}/a.csv", ALONE, "write ${ai_dataset_lib}/a.csv, which"),
        ("s3://shared/team/a.csv", PREFIXED, "write ${bucket}/a.csv, which"),
        ("s3://shared/team/data/a.csv", PREFIXED, "write ${datasets}/a.csv, which"),
        ("s3://shared/other/a.csv", PREFIXED, "it lies outside of the prefix of the Secret; name it in spec.inputs"),
        ("s3://library/a.csv", ALONE, "no Secret of the job is for bucket 'library'; copy it into the job's own"),
    ],
)
def test_an_address_is_told_with_what_to_write_instead(argument: str, buckets: Buckets, advice: str) -> None:
    [message] = told("--train", argument, buckets=buckets)
    assert message.startswith(f"spec.args[1] is {argument}, an address that TensorFlow cannot open: {advice}")


@pytest.mark.parametrize("text", ["--train=s3://models/a", "data.dir=s3://models/a", "${bucket}/x,s3://models/a", "a s3://models/a"])
def test_an_address_within_an_argument_is_told_too(text: str) -> None:
    [message] = told(text)
    assert message.startswith("spec.args[0] holds s3://models/a, an address that TensorFlow cannot open: write ${bucket}/a, which")


def test_a_variable_is_told_by_its_name() -> None:
    assert told(DATA="s3://models/a")[0].startswith("spec.env[DATA].value is s3://models/a, an address")


@pytest.mark.parametrize(
    "text", ["models/a", "https://models/a", "gs://models/a", "s3://", "s3:///a", "s3://KEY:secret@host/a", "xs3://models/a"]
)
def test_what_is_no_address_of_s3_is_left_alone(text: str) -> None:
    assert told(text, f"--x={text}") == []


@given(st.text(), st.sampled_from(["s3://", "--a=s3://models/", "s3://library/"]))
def test_whatever_an_argument_holds_there_is_at_most_one_note_that_a_report_has_room_for(text: str, head: str) -> None:
    messages = told(head + text * 40)
    assert len(messages) <= 1
    assert all(len(each) <= NOTE_LIMIT for each in messages)


@pytest.mark.parametrize("name", ["A" * 253, "MODEL_OF_THE_LAST_NIGHTLY_RUN_OF_THE_TEAM"])
def test_a_report_with_the_longest_address_can_be_read(name: str) -> None:
    value = f"s3://{'b' * 63}/{'k' * 1000}"
    plan = msgspec.structs.replace(PLAN, args=(value, f"--train={value}"), addresses=(Variable(name=name, value=value),))
    notes = hints(plan, ALONE)
    assert len(notes) == 3
    assert decode_report(encode_report(FetchReport(notes=notes[:1])).decode(), FetchReport).notes == notes[:1]
    assert all(len(note.message) <= NOTE_LIMIT for note in notes)
