"""Finished jobs: a few kilobytes each, and everything about them there when it is asked for."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from tftrainer.messages import contract
from tftraining_operator.core.decide import decide
from tftraining_operator.core.records import JobRecord, Key, Observed, PodRecord
from tftraining_operator.runtime.compact import Compact, compact_job, compact_pod, compact_workload, whole_job, whole_pod
from tftraining_operator.runtime.store import Store

from ..core.given import CONFIGURATION, CREATED, Pod, job
from ..core.test_queues import ADMITTED, EVICTED, QUEUES, observed, workload

LONG = contract.FetchReport(resolved_args=tuple(f"--argument-{number}=/workspace/datasets/{number}" for number in range(60)))


def finished(pod: Pod | None = None) -> tuple[JobRecord, PodRecord]:
    """Return a job that has succeeded, with the status that it then has, and its pod."""
    record, ended = job(), (pod or Pod().ran().published()).record()
    status = decide(Observed(record, (ended,)), CONFIGURATION, CREATED + 70).status
    assert status is not None
    return replace(record, status=json.loads(json.dumps(status))), ended


def test_what_has_ended_is_kept_as_bytes_and_is_the_same_when_it_is_asked_for() -> None:
    for record, pod in (finished(), finished(Pod().fetched(LONG).ran().published())):
        kept, kept_pod = compact_job(record), compact_pod(pod)
        assert isinstance(kept, Compact)
        assert isinstance(kept_pod, Compact)
        assert (kept.key, kept.uid, kept.resource_version, kept.phase) == (record.key, record.uid, "7", "Succeeded")
        assert (whole_job(kept), whole_pod(kept_pod)) == (record, pod)


@pytest.mark.parametrize("pod", [Pod(), Pod().fetching(), Pod().running(), Pod().ran()], ids=["new", "fetching", "running", "publishing"])
def test_what_still_goes_on_stays_as_it_is(pod: Pod) -> None:
    assert isinstance(compact_job(job()), JobRecord)
    assert isinstance(compact_pod(pod.record()), PodRecord)


@pytest.mark.parametrize("odd", ["x\ud800", 2**70])
def test_what_cannot_be_encoded_stays_as_it_is(odd: Any) -> None:
    record, _ = finished()
    record = replace(record, spec={**record.spec, "odd": odd})
    assert compact_job(record) is record


def test_a_finished_job_and_its_pod_take_less_than_four_kilobytes_and_are_observed_whole() -> None:
    store, count = Store(), 400
    record, pod = finished()
    made = [json.dumps([f"job-{number}", f"uid-{number:032}", f"pod-{number:032}"]) for number in range(count)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for text in made:
        name, uid, pod_uid = json.loads(text)
        key = Key("".join(["team", "-a"]), name)
        store.put_job(replace(record, key=key, uid=uid))
        store.put_pod(replace(pod, key=Key(key.namespace, name), uid=pod_uid, owner_uid=uid))
    each = (tracemalloc.get_traced_memory()[0] - before) / count
    tracemalloc.stop()
    assert each < 4096, each
    observed = store.observe(Key("team-a", "job-7"))
    assert observed is not None
    assert (observed.job.status, len(observed.pods)) == (record.status, 1)
    assert [each.phase for each in store.jobs() if isinstance(each, Compact)] == ["Succeeded"] * count


ADMISSION = {"podSetAssignments": [{"name": "chief", "flavors": {"cpu": "spot"}}]}


@pytest.mark.parametrize("pods", [(), (Pod().running(),), (Pod().ran().published(),)], ids=["waits", "runs", "has ended"])
@pytest.mark.parametrize("conditions", [ADMITTED, EVICTED], ids=["admitted", "evicted"])
def test_of_a_finished_workload_only_that_is_kept_which_is_still_asked_for(conditions: dict[str, Any], pods: tuple[Pod, ...]) -> None:
    whole = workload({**conditions, "Finished": ("True", "Failed", "attempt 0 is over")}, admission=ADMISSION)
    kept = compact_workload(whole)
    assert set(kept.conditions) == {"Finished", "Evicted"} & set(whole.conditions)
    assert kept.flavors == {}
    assert decide(observed(kept, pods=pods), QUEUES, CREATED + 70) == decide(observed(whole, pods=pods), QUEUES, CREATED + 70)


def test_a_workload_that_is_not_finished_is_kept_whole() -> None:
    whole = workload(EVICTED, admission=ADMISSION)
    assert compact_workload(whole) is whole
