"""What is counted of jobs: once each, under labels that no user can multiply."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.records import JobRecord, Key
from tftraining_operator.runtime.metrics import OTHERS, Metrics
from tftraining_operator.runtime.rivals import Rivals
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.workqueue import WorkQueue

NOW = 1_800_000_000.0


def job(name: str = "iris", namespace: str = "a", *, gpus: int = 0, **status: Any) -> JobRecord:
    return JobRecord(Key(namespace, name), f"{namespace}/{name}", 1, NOW, "1", {"resources": {"gpus": gpus}}, status)


def condition(kind: str, status: str, at: float = NOW) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": "R", "lastTransitionTime": rfc3339(at)}


def ended(phase: str, *, run: tuple[float, float] | None = None, **status: Any) -> dict[str, Any]:
    times = {"runningTime": rfc3339(run[0]), "completionTime": rfc3339(run[1])} if run else {"completionTime": rfc3339(NOW)}
    return {"phase": phase, "attempt": 0, "conditions": [condition(kind, "True") for kind in (phase, "Finished")], **times, **status}


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of that name that are not 0, by the values of their labels in the order of their names."""
    families = text_string_to_metric_families(metrics.render().decode())
    found = [sample for family in families for sample in family.samples if sample.name == name and sample.value]
    return {tuple(value for _, value in sorted(sample.labels.items())): sample.value for sample in found}


async def following(metrics: Metrics, *jobs: JobRecord) -> Metrics:
    store = Store()
    for each in jobs:
        store.put_job(each)
    rivals = Rivals("own", lambda: 0.0)
    metrics.follow(store, WorkQueue(asyncio.get_running_loop().time, lambda: 1.0), rivals, lambda: True, lambda: 0.25)
    return metrics


async def test_jobs_are_counted_by_namespace_phase_and_reason_at_the_scrape() -> None:
    waiting = {"phase": "Pending", "pending": {"reason": "Unschedulable"}}
    metrics = await following(
        Metrics(9),
        job("one", **waiting),
        job("two", **waiting),
        job("three", "b", phase="Failed", failure={"reason": "ScriptRaised"}),
        job("four", "b"),
    )
    assert samples(metrics, "tftraining_jobs") == {
        ("a", "Pending", "Unschedulable"): 2,
        ("b", "Failed", "ScriptRaised"): 1,
        ("b", "Pending", ""): 1,
    }


async def test_gpus_are_told_by_who_holds_them_and_who_wants_them() -> None:
    metrics = await following(
        Metrics(9),
        job("runs", gpus=4, phase="Running"),
        job("fetches", gpus=1, phase="Fetching"),
        job("waits", gpus=8, phase="Pending"),
        job("new", "b", gpus=2),
        job("rests", gpus=16, phase="Suspended"),
        job("ended", gpus=32, phase="Succeeded"),
        job("stopped", gpus=64, phase="Stopped"),
        job("stops", "c", gpus=3, phase="Stopping"),
        job("by-a-class", "d", phase="Running", resources={"gpus": 7}),
    )
    assert samples(metrics, "tftraining_gpus") == {
        ("a", "held"): 5,
        ("a", "wanted"): 8,
        ("b", "wanted"): 2,
        ("c", "held"): 3,
        ("d", "held"): 7,
    }


async def test_what_the_process_knows_anyway_is_read_at_the_scrape() -> None:
    metrics = await following(Metrics())
    assert samples(metrics, "tftraining_leader") == {(): 1}
    assert samples(metrics, "tftraining_loop_lag_seconds") == {(): 0.25}
    assert samples(metrics, "process_resident_memory_bytes")[()] > 1e6


async def test_namespaces_beyond_the_bound_share_one_label_and_those_that_have_one_keep_it() -> None:
    metrics = await following(Metrics(2), *(job("j", namespace, phase="Running") for namespace in "abcd"))
    for _ in range(2):
        assert samples(metrics, "tftraining_jobs") == {("a", "Running", ""): 1, ("b", "Running", ""): 1, (OTHERS, "Running", ""): 2}
    metrics.changed(job("j", "e"), ended("Succeeded"))
    metrics.changed(job("j", "b"), ended("Succeeded"))
    assert samples(metrics, "tftraining_jobs_finished_total") == {(OTHERS, "Succeeded", ""): 1, ("b", "Succeeded", ""): 1}


async def test_who_may_write_a_status_cannot_make_endless_series_of_it() -> None:
    forged = [job(f"j{at}", phase=f"P{at}", failure={"reason": f"R{at}", "cause": f"C{at}"}) for at in range(500)]
    metrics = await following(Metrics(), *forged)
    found = samples(metrics, "tftraining_jobs")
    assert len(found) <= 129
    assert sum(found.values()) == 500


def test_an_end_is_counted_once_with_its_reason_and_the_time_that_it_ran() -> None:
    metrics, before = Metrics(9), job(phase="Running", runningTime=rfc3339(NOW))
    status = ended("Failed", run=(NOW, NOW + 100), failure={"reason": "OutOfMemory", "cause": "OutOfMemory"})
    metrics.changed(before, status)
    metrics.changed(replace(before, status=status), {**status, "observedGeneration": 2})
    assert samples(metrics, "tftraining_jobs_finished_total") == {("a", "Failed", "OutOfMemory"): 1}
    assert samples(metrics, "tftraining_attempts_failed_total") == {("OutOfMemory",): 1}
    assert samples(metrics, "tftraining_job_run_seconds_sum") == {("Failed",): 100}


def test_a_stopped_job_is_counted_by_how_it_was_stopped_and_no_attempt_of_it_as_failed() -> None:
    metrics, stopped = Metrics(9), ended("Stopped", stop={"reason": "ForceStopped"})
    stopped["conditions"] += [condition("Failed", "True", NOW), condition("Stopped", "True", NOW)]
    metrics.changed(job(phase="Stopping"), stopped)
    assert samples(metrics, "tftraining_jobs_finished_total") == {("a", "Stopped", "ForceStopped"): 1}
    assert samples(metrics, "tftraining_attempts_failed_total") == {}


def test_an_end_without_a_run_has_no_time_that_it_ran() -> None:
    metrics = Metrics(9)
    metrics.changed(job(), ended("Failed", failure={"reason": "InvalidSpec", "cause": "Spec"}))
    assert samples(metrics, "tftraining_jobs_finished_total") == {("a", "Failed", "InvalidSpec"): 1}
    assert samples(metrics, "tftraining_job_run_seconds_count") == {}


@pytest.mark.parametrize(
    ("before", "after", "seconds"),
    [
        ({"phase": "Pending"}, {}, 30),
        ({"phase": "Suspended", "conditions": [condition("Suspended", "False", NOW + 20)]}, {}, 10),
        ({"phase": "Fetching", "runningTime": rfc3339(NOW)}, {}, None),
        ({"phase": "Pending"}, {"attempt": 1}, None),
    ],
    ids=["from its creation", "from its release where it was created suspended", "only once", "not for later attempts"],
)
def test_the_time_until_a_script_first_runs_is_counted(before: dict[str, Any], after: dict[str, Any], seconds: float | None) -> None:
    metrics = Metrics()
    metrics.changed(job(**before), {"phase": "Running", "attempt": 0, "runningTime": rfc3339(NOW + 30), **after})
    expected = {} if seconds is None else {(): seconds}
    assert samples(metrics, "tftraining_job_pending_seconds_sum") == expected


def test_what_is_no_status_of_ours_counts_as_nothing_and_breaks_nothing() -> None:
    metrics = Metrics()
    for status in ({}, {"conditions": 7, "failure": [], "attempt": "x", "runningTime": {}}, {"failure": {"cause": 3}}):
        metrics.changed(job(), status)
    assert samples(metrics, "tftraining_jobs_finished_total") == {}


def test_each_failed_attempt_is_counted_once_by_its_cause_whatever_follows_it() -> None:
    metrics, past = Metrics(), [{"attempt": at, "cause": cause} for at, cause in enumerate(("Infrastructure", "Preemption", "made up"))]
    statuses = [{"attempts": past[: at + 1]} for at in range(3)]
    statuses.append({**ended("Failed", failure={"attempt": 3, "cause": "Infrastructure"}), "attempts": past[1:]})
    before: dict[str, Any] = {}
    for status in statuses:
        for _ in range(2):
            metrics.changed(job(**before), status)
            before = status
    found = samples(metrics, "tftraining_attempts_failed_total")
    assert found == {("Infrastructure",): 2, ("Preemption",): 1, (OTHERS,): 1}


async def test_names_of_namespaces_are_told_to_nobody_unless_an_admin_says_so() -> None:
    metrics = await following(Metrics(), job("j", "secret-project", phase="Running", gpus=1))
    assert b"secret-project" not in metrics.render()


def test_what_attempts_took_is_counted_as_it_is_added_to_the_status_and_nothing_else_is() -> None:
    metrics = Metrics(9)
    first = {"attempts": 1, "queuedSeconds": 5, "runningSeconds": 50, "wastedSeconds": 50, "gpuSeconds": 100, "wastedGpuSeconds": 100}
    second = {**first, "attempts": 2, "queuedSeconds": 7, "runningSeconds": 80, "gpuSeconds": 160, "cpuSeconds": 30}
    metrics.changed(job(), {"usage": first})
    metrics.changed(job(usage=first), {"usage": second})
    metrics.changed(job(usage=second), {"usage": second})
    metrics.changed(job(usage=second), {"usage": {"gpuSeconds": "many", "cpuSeconds": -1}})
    assert samples(metrics, "tftraining_used_seconds_total") == {
        ("a", "pod", "queued"): 7,
        ("a", "pod", "running"): 80,
        ("a", "pod", "wasted"): 50,
        ("a", "gpu", "held"): 160,
        ("a", "gpu", "wasted"): 100,
        ("a", "cpu", "held"): 30,
    }
