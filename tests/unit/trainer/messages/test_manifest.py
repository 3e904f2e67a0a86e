"""The manifest as text: readable, the same when it is read again, and made only once."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
from tftrainer.messages import manifest
from tftrainer.messages.contract import Plan, Script
from tftrainer.messages.manifest import Manifest, PublishedObject


def of(count: int) -> Manifest:
    objects = tuple(PublishedObject(key=f"out/{number:08d}", size=number, sha256="5" * 64, etag="e" * 32) for number in range(count))
    return Manifest(
        version=manifest.VERSION,
        namespace="team",
        job="iris",
        uid="u",
        attempt=1,
        outcome=manifest.SUCCEEDED,
        args=("--a",),
        objects=objects,
    )


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_manifest_is_read_as_it_was_written_with_the_objects_last(count: int) -> None:
    text = manifest.encode(of(count))
    assert manifest.decode(text) == of(count)
    head = b'{\n "version": 1,\n "namespace": "team",'
    assert text.startswith(head)
    end = b'\n  {\n   "key": "out/%08d",\n   "size": %d,' % (count - 1, count - 1) if count else b'"--a"\n ]\n}'
    assert end in text
    assert text.endswith(b"\n ]\n}")


def test_the_text_of_many_objects_is_made_in_one_piece_of_memory() -> None:
    many = of(20_000)
    tracemalloc.start()
    try:
        text = manifest.encode(many)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.4 * len(text)


def test_a_manifest_of_before_is_that_of_a_job_of_one_replica() -> None:
    old = manifest.decode(b'{"version": 1, "namespace": "team", "job": "iris", "uid": "u", "attempt": 1, "outcome": "Succeeded"}')
    assert old is not None
    plan = Plan(namespace="team", job="iris", uid="u", runtime="tf2", script=Script(name="t.py"), attempt=1)
    assert old.is_of(plan)
    assert not old.is_of(msgspec.structs.replace(plan, role="worker", peers={"worker": ("a:1", "b:1")}))


@pytest.mark.parametrize("others", [{"uid": "v"}, {"attempt": 2}, {"role": "ps"}, {"index": 2}])
def test_a_manifest_is_of_one_replica_in_one_attempt(others: dict[str, object]) -> None:
    plan = Plan(namespace="team", job="iris", uid="u", runtime="tf2", script=Script(name="t.py"), attempt=1, role="worker", index=1)
    own = msgspec.structs.replace(of(0), role="worker", index=1)
    assert own.is_of(plan)
    assert not own.is_of(msgspec.structs.replace(plan, **others))
