"""The store's promise: events in any order, doubled, late or lost, and the newest of each object stays."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.messages.contract import LiveReport
from tftraining_operator.core.records import JobRecord, Key, PodRecord
from tftraining_operator.runtime.store import Store

KEY = Key("n", "iris")


def job(version: int, uid: str = "job-1") -> JobRecord:
    return JobRecord(KEY, uid, 1, 0.0, str(version), {}, {})


def pod(version: int, uid: str = "pod-1", owner: str = "job-1") -> PodRecord:
    return PodRecord(KEY, "iris-chief-0", uid, owner, "Running", 0.0, str(version))


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


def managed_by(name: str, version: int, uid: str = "job-1") -> JobRecord:
    return replace(job(version, uid), spec={"managedBy": name})


def test_a_job_that_another_controller_runs_is_never_known() -> None:
    store = Store()
    store.put_pod(pod(3))
    assert store.put_job(managed_by("kueue.x-k8s.io/multikueue", 1)) is False
    assert store.put_job(managed_by("kueue.x-k8s.io/multikueue", 2)) is False
    assert (store.observe(KEY), len(store), list(store.jobs())) == (None, 0, [])
    assert store.put_job(managed_by("tftraining.dev/operator", 4, uid="job-2")) is True


def test_a_job_of_another_controller_takes_the_place_of_one_that_was_known() -> None:
    deleted: list[JobRecord] = []
    store = Store(deleted.append)
    store.put_job(job(1))
    store.refuse(KEY, "quota")
    assert store.put_job(managed_by("kueue.x-k8s.io/multikueue", 9, uid="job-2")) is True, "whoever waits for the first has to look"
    assert (store.observe(KEY), [each.uid for each in deleted], store.refused_count) == (None, ["job-1"], 0)
    store.put_job(job(3))
    assert store.observe(KEY) is None, "a late event does not bring the first one back"


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


def test_a_pod_whose_owner_is_changed_is_news_for_both_jobs_and_known_under_one() -> None:
    store, other = Store(), Key("n", "other")
    store.put_job(job(1))
    assert store.put_pod(pod(2)) == (KEY,)
    assert store.put_pod(replace(pod(3), key=other)) == (other, KEY)
    observed = store.observe(KEY)
    assert observed is not None
    assert (observed.pods, store.pod_count) == ((), 1)
    assert store.put_report("pod-1", LiveReport()) is None, "it is not of this job any more"
    assert store.drop_pod(pod(4)) == (other,)
    assert (store.pod_count, store.has_pod("pod-1")) == (0, False)


def test_a_pod_that_took_the_name_of_another_takes_its_place() -> None:
    store = Store()
    store.put_job(job(1))
    store.put_pod(pod(2))
    store.put_pod(pod(5, uid="pod-2"))
    assert (store.pod_count, store.has_pod("pod-1"), store.has_pod("pod-2")) == (1, False, True)


def test_what_is_known_already_is_no_news() -> None:
    store = Store()
    assert (store.put_job(job(5)), store.put_job(job(5)), store.put_job(job(4)), store.put_job(job(6))) == (True, False, False, True)
    assert (store.put_pod(pod(5)), store.put_pod(pod(5)), store.put_pod(pod(4)), store.put_pod(pod(6))) == ((KEY,), (), (), (KEY,))
    assert (store.drop_pod(pod(7)), store.drop_pod(pod(7)), store.put_pod(pod(6))) == ((KEY,), (), ())


def test_jobs_that_are_refused_are_woken_in_the_order_of_their_refusals_and_in_one_namespace() -> None:
    store = Store()
    for name in ("c", "a", "b"):
        store.refuse(Key("n", name), "quota")
    store.refuse(Key("elsewhere", "d"), "quota")
    store.refuse(Key("n", "c"), "quota, again")
    assert store.refused("n", 2) == [Key("n", "c"), Key("n", "a")]
    store.refuse(Key("n", "c"), "")
    assert store.refused("n", 9) == [Key("n", "a"), Key("n", "b")]


def test_to_wake_the_jobs_of_a_namespace_those_of_others_are_not_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    for number in range(500):
        store.refuse(Key("crowded", f"job-{number}"), "quota")
    store.refuse(Key("n", "a"), "quota")
    compared = list[str]()

    def namespace(key: Key) -> str:
        compared.append(key[0])
        return key[0]

    monkeypatch.setattr(Key, "namespace", property(namespace))
    assert store.refused("n", 1) == [Key("n", "a")]
    assert len(compared) < 3


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


@pytest.mark.parametrize("forgotten", ["with the pod", "at the job's end", "with the job"])
def test_what_a_pod_has_told_is_kept_as_long_as_it_runs(forgotten: str) -> None:
    store = Store()
    store.put_job(job(1))
    store.put_pod(pod(2))
    assert store.put_report("pod-1", LiveReport(checkpoint="step 3")) == KEY
    observed = store.observe(KEY)
    assert observed is not None
    assert observed.live["pod-1"].checkpoint == "step 3"
    if forgotten == "with the pod":
        store.drop_pod(pod(3))
    elif forgotten == "with the job":
        store.drop_job(KEY, "job-1")
        store.put_job(job(5, uid="job-2"))
    else:
        store.drop_report(KEY)
    observed = store.observe(KEY)
    assert observed is not None
    assert not observed.live


def test_a_report_of_an_unknown_pod_is_nobodys() -> None:
    store = Store()
    store.put_job(job(1))
    assert not store.has_pod("pod-1")
    assert store.put_report("pod-1", LiveReport()) is None


def test_of_each_job_that_is_there_no_more_the_process_is_told_once() -> None:
    told: list[str] = []
    store = Store(lambda job: told.append(job.uid))
    store.put_job(job(1))
    store.put_job(job(2))
    store.drop_job(KEY, "job-1")
    store.drop_job(KEY, "job-1")
    store.put_job(job(3, uid="job-2"))
    store.put_job(job(9, uid="job-3"))
    store.prune_jobs([], "99", None)
    assert told == ["job-1", "job-2", "job-3"]
