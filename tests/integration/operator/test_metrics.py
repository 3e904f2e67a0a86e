"""What the operator has counted of real jobs, as a scraper reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from control import Operator, Played, until
from faults import FaultProxy
from prometheus_client.parser import text_string_to_metric_families


@pytest.fixture
def counting(proxy: FaultProxy, played: Played, tmp_path: Path) -> Iterator[Operator]:
    """Return a running operator that tells namespaces apart."""
    with Operator(proxy, played.namespace, tmp_path) as operator:
        path = tmp_path / "one.yaml"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"metricsNamespaces": 3}))
        operator.start()
        yield operator


def samples(operator: Operator, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a name by the values of their labels in the order of their names."""
    families = text_string_to_metric_families(operator.page("metrics"))
    found = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(value for _, value in sorted(sample.labels.items())): sample.value for sample in found}


def finish(played: Played, name: str, exit_code: int = 0) -> None:
    """Play a whole run of a job's pod."""
    pod = played.wait_for_pod(f"{name}-chief-0")
    played.run(pod)
    played.wait_for_phase(name, "Running")
    played.end(pod, exit_code)
    played.wait_for_phase(name, "Failed" if exit_code else "Succeeded")


def test_ends_are_counted_by_reason_and_jobs_and_gpus_are_what_there_is(counting: Operator, played: Played) -> None:
    where = played.namespace
    played.submit("good")
    finish(played, "good")
    played.submit("bad")
    finish(played, "bad", 3)
    played.submit("waits", resources={"gpus": 4})
    played.wait_for_pod("waits-chief-0")
    assert samples(counting, "tftraining_jobs_finished_total") == {(where, "Succeeded", ""): 1, (where, "Failed", "ScriptExited"): 1}
    assert samples(counting, "tftraining_attempts_failed_total") == {("UserError",): 1}
    assert samples(counting, "tftraining_gpus") == {(where, "wanted"): 4}
    assert samples(counting, "tftraining_job_run_seconds_count") == {("Succeeded",): 1, ("Failed",): 1}
    jobs = samples(counting, "tftraining_jobs")
    assert (jobs[where, "Succeeded", ""], jobs[where, "Failed", "ScriptExited"]) == (1, 1)
    played.call("DELETE", f"{played.jobs_path}/good")
    until(lambda: (where, "Succeeded", "") not in samples(counting, "tftraining_jobs"), "the deleted job is no longer counted")
    until(lambda: "deleted" in counting.log() and "job=good" in counting.log(), "the log tells of it")
