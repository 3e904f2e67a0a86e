"""What is fetched for a job, put together of what its fields name: many objects, in little memory."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.fetch import pins, wanted
from tftrainer.fetch.pins import Inputs
from tftrainer.fetch.selection import Selection, facts
from tftrainer.fetch.wanted import Batch, Wanted
from tftrainer.messages.contract import Pinned, Reason
from tftrainer.phase_error import PhaseError
from tftrainer.storage.folder import FolderStore
from tftrainer.storage.store import ObjectInfo

STORE = FolderStore(Path("/nowhere"), "models")
ROOT = Path("/workspace/bucket")
KEYS = st.lists(st.lists(st.sampled_from(("a", "b", "a-", "a.b", "ä", "!")), min_size=1, max_size=3).map("/".join), unique=True)


def infos(*keys: str, size: int = 1) -> list[ObjectInfo]:
    return [ObjectInfo(key, size, f"etag of {key}") for key in keys]


def batch(*keys: str, field: str = "spec.args[0]", prefix: str = "", root: Path = ROOT) -> Batch:
    return Batch(STORE, prefix, root, field, infos(*keys))


def test_a_batch_gives_back_what_it_was_given() -> None:
    objects = [ObjectInfo("in/ä/1", 2**40, "0-7"), ObjectInfo("in/b", 0, "")]
    [one, two] = Batch(STORE, "in/", ROOT, "spec.args[3]", objects)
    assert one == Wanted(STORE, objects[1], ROOT / "b", "data", "spec.args[3]")
    assert two == Wanted(STORE, objects[0], ROOT / "ä/1", "data", "spec.args[3]")


@given(keys=KEYS, run=st.integers(1, 5))
def test_a_batch_comes_in_the_order_of_paths_in_whatever_order_a_store_has_listed_it(keys: list[str], run: int) -> None:
    expected = sorted(keys, key=lambda key: [name.encode() for name in key.split("/")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wanted, "_RUN", run)
        assert [each.info.key for each in batch(*keys)] == expected


@given(one=KEYS, two=KEYS)
def test_two_objects_conflict_when_one_would_be_a_folder_of_the_other_and_in_no_other_case(one: list[str], two: list[str]) -> None:
    keys = {*one, *two}
    conflict = any(key.startswith(f"{other}/") for key in keys for other in keys)
    both = [batch(*one), batch(*two, field="spec.args[1]")]
    if conflict:
        with pytest.raises(PhaseError) as caught:
            Selection(both)
        assert caught.value.failure.reason is Reason.INPUT_CONFLICT
    else:
        found = [each.info.key for each in Selection(both)]
        assert (len(found), set(found)) == (len(keys), keys)


def test_an_object_that_several_fields_name_is_fetched_once_and_told_for_each() -> None:
    selection = Selection([batch("a/1", "a/2", "b"), batch("a/2", "a/1", field="spec.args[1]"), batch("b", field="spec.args[2]")])
    assert (len(selection), selection.bytes) == (3, 3)
    assert [[named.field for named in each.names] for each in selection] == [
        ["spec.args[0]", "spec.args[1]"],
        ["spec.args[0]", "spec.args[1]"],
        ["spec.args[0]", "spec.args[2]"],
    ]
    assert sorted(facts([selection])) == ["spec.args[0]: 3 objects, 3 B", "spec.args[1]: 2 objects, 2 B", "spec.args[2]: /nowhere/b, 1 B"]


def test_two_objects_that_would_be_one_file_are_refused_with_both_their_names() -> None:
    with pytest.raises(PhaseError) as caught:
        Selection([batch("a/x", prefix="a/"), batch("b/x", prefix="b/", field="spec.args[1]")])
    message = caught.value.failure.message
    assert "spec.args[0] (/nowhere/a/x) and spec.args[1] (/nowhere/b/x) would both become the file 'x'" in message


def bytes_of_an_object(count: int) -> float:
    """Return the bytes that each of so many objects takes at the most, from the listing to the fetching."""
    setattr(wanted, "_RUN", 1000)  # noqa: B010 - of this process alone
    numbers = list(range(count))
    # A store that lists in another order than that of paths costs a sort.
    random.Random(7).shuffle(numbers)

    def listed() -> Iterator[ObjectInfo]:
        for number in numbers:
            name = f"n{number // 1000:08d}"
            yield ObjectInfo(f"imagenet/train/{name}/{name}_{number:08d}.JPEG", number, hashlib.md5(str(number).encode()).hexdigest())

    tracemalloc.start()
    selection = Selection([Batch(STORE, "imagenet/", ROOT, "spec.inputs[d].uri", listed())])
    assert sum(1 for _ in selection) == len(selection) == count
    return tracemalloc.get_traced_memory()[1] / count


def test_an_object_takes_little_memory_from_the_listing_to_the_fetching() -> None:
    # In a process of its own: how much an object takes depends on what a process has done with others of its class.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(bytes_of_an_object, (10_000,)) < 350


def test_inputs_are_listed_one_by_one_up_to_a_limit_and_the_rest_as_one_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "INPUTS_LIMIT", 2)
    inputs = Inputs()
    assert [each.info.key for each in inputs.counted(batch("a", "b", "c", "d"))] == ["a", "b", "c", "d"]
    assert inputs.listed == [Pinned(uri=f"/nowhere/{key}", sha256="", bytes=1, etag=f"etag of {key}") for key in "ab"]
    assert inputs.more is not None
    lines = "etag of c 1 /nowhere/c\netag of d 1 /nowhere/d\n"
    assert (inputs.more.objects, inputs.more.bytes, inputs.more.sha256) == (2, 2, hashlib.sha256(lines.encode()).hexdigest())


def test_of_few_inputs_there_is_no_rest() -> None:
    inputs = Inputs()
    assert len(list(inputs.counted(batch("a", "b")))) == len(inputs.listed) == 2
    assert inputs.more is None
