"""The store's promise: events in any order, doubled, late or lost, and the newest of each object stays."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tftraining_operator.core.records import JobRecord, Key, Observed, PodRecord
from tftraining_operator.runtime.store import Store

KEY = Key("n", "iris")


def job(version: int, uid: str = "job-1") -> JobRecord:
    return JobRecord(KEY, uid, 1, 0.0, str(version), {}, {})


def pod(version: int, uid: str = "pod-1", owner: str = "job-1") -> PodRecord:
    return PodRecord(KEY, "iris-chief-0", uid, owner, "chief", 0, 0, "Running", 0.0, str(version))


def test_a_late_event_does_not_undo_a_newer_one() -> None:
    store = Store()
    store.put_job(job(7))
    store.put_job(job(5))
    store.put_pod(pod(9))
    store.put_pod(pod(8))
    observed = store.observe(KEY)
    assert observed is not None
    assert (observed.job.resource_version, observed.pods[0].resource_version) == ("7", "9")


def test_a_deleted_pod_is_remembered_and_no_late_event_brings_it_back() -> None:
    store = Store()
    store.put_job(job(1))
    store.put_pod(pod(2))
    store.drop_pod(pod(5))
    store.put_pod(pod(4))
    observed = store.observe(KEY)
    assert observed is not None
    assert observed.pods == ()
    assert [item.resource_version for item in observed.gone] == ["5"]


def test_a_job_recreated_under_its_name_inherits_nothing() -> None:
    store = Store()
    store.put_job(job(1))
    store.drop_pod(pod(2))
    store.refuse(KEY, "quota")
    store.put_job(job(9, uid="job-2"))
    observed = store.observe(KEY)
    assert observed is not None
    assert (observed.gone, observed.refusal) == ((), "")
    store.drop_job(KEY, "job-1")
    assert store.observe(KEY) is not None, "the late deletion of the first does not delete the second"


def test_a_pod_that_is_gone_takes_no_successor_of_its_name_along() -> None:
    store = Store()
    store.put_job(job(1))
    store.put_pod(pod(7, uid="successor"))
    store.forget_pod(KEY, "iris-chief-0", "pod-1")
    observed = store.observe(KEY)
    assert observed is not None
    assert [item.uid for item in observed.pods] == ["successor"]
    assert store.pod_count == 1


def test_what_a_list_does_not_have_is_gone_unless_it_is_newer_than_the_list() -> None:
    store = Store()
    store.put_job(job(5))
    store.put_pod(pod(30))
    assert store.prune_pods([], "20", None) == []
    assert store.prune_jobs([], "20", "elsewhere") == []
    assert store.prune_jobs([], "20", None) == [KEY]
    assert store.observe(KEY) is None


@given(st.permutations([("put", 1), ("put", 2), ("put", 3), ("drop", 4), ("put", 3), ("put", 2)]), st.integers())
def test_any_order_of_a_pods_events_ends_in_the_same_state(events: list[tuple[str, int]], seed: int) -> None:
    store = Store()
    store.put_job(job(1))
    random.Random(seed).shuffle(events)
    for kind, version in events:
        (store.put_pod if kind == "put" else store.drop_pod)(pod(version))
    observed = store.observe(KEY)
    assert observed is not None
    assert observed.pods == ()
    assert [item.uid for item in observed.gone] == ["pod-1"]


def test_a_list_from_before_its_deletion_does_not_bring_a_job_back() -> None:
    store = Store()
    store.put_job(job(3))
    store.drop_job(KEY, "job-1")
    store.put_job(job(3))
    assert store.observe(KEY) is None


def test_a_list_from_before_it_does_not_put_a_predecessor_in_the_place_of_a_job_or_of_a_pod() -> None:
    store = Store()
    store.put_job(job(9, uid="job-2"))
    store.put_pod(pod(8, uid="pod-2", owner="job-2"))
    store.put_job(job(3))
    store.put_pod(pod(4))
    observed = store.observe(KEY)
    assert observed is not None
    assert (observed.job.uid, [item.uid for item in observed.pods]) == ("job-2", ["pod-2"])


def test_a_pod_that_only_lost_its_label_is_alive_once_the_server_has_shown_it() -> None:
    store = Store()
    store.put_job(job(1))
    store.put_pod(pod(2))
    store.drop_pod(pod(5))
    store.adopt(KEY, pod(4))
    assert store.pod_count == 0, "an answer from before its deletion proves nothing"
    store.adopt(KEY, pod(5))
    observed = store.observe(KEY)
    assert observed is not None
    assert ([item.uid for item in observed.pods], observed.gone) == (["pod-1"], ())


def test_the_script_of_an_ended_job_is_dropped_unless_the_job_has_changed_meanwhile() -> None:
    store, spec = Store(), {"runtime": "tf2", "script": {"name": "a.py", "inline": "print()"}}
    first, second = replace(job(1), spec=spec), replace(job(2), spec=spec)
    store.put_job(second)
    store.lighten(first)
    assert store.observe(KEY) == Observed(second)
    store.lighten(second)
    observed = store.observe(KEY)
    assert observed is not None
    assert observed.job.spec == {"runtime": "tf2", "script": {"name": "a.py", "inline": ""}}
