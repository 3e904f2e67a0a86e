"""The baselines of the bench are comparable: the same pod, on another way."""

from __future__ import annotations

from typing import Any

from bodies import CONFIGURATION, bare_pod, batch_job, training_job
from tftraining_operator.core.configuration import Configuration
from tftraining_operator.core.decide import decide
from tftraining_operator.core.observe import job_record
from tftraining_operator.core.records import Observed


def made_by_the_operator(name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "bench-1", "uid": "u", "generation": 1, "resourceVersion": "1"}
    job = job_record(training_job(name) | {"metadata": metadata})
    assert job is not None
    return dict(decide(Observed(job), Configuration.model_validate(CONFIGURATION), 0.0).creates[0])


def test_the_pod_of_a_baseline_has_the_spec_that_the_operator_gives_its_own() -> None:
    own = made_by_the_operator("job-7")["spec"]
    bare = bare_pod("job-7")["spec"]
    assert [container["name"] for container in bare["containers"]] == ["trainer", "publisher"]
    assert own.keys() == bare.keys()
    assert {field: bare[field] for field in ("securityContext", "volumes")} == {
        field: own[field] for field in ("securityContext", "volumes")
    }
    assert batch_job("job-7")["spec"]["template"]["spec"] == bare


def test_the_operator_is_not_told_of_a_baselines_pod() -> None:
    assert "tftraining.dev/job-uid" in made_by_the_operator("job-7")["metadata"]["labels"]
    assert "tftraining.dev/job-uid" not in bare_pod("job-7")["metadata"]["labels"]
    assert "tftraining.dev/job-uid" not in batch_job("job-7")["spec"]["template"]["metadata"]["labels"]


def test_pods_of_different_names_share_nothing_that_could_be_changed() -> None:
    first, second = bare_pod("job-1"), bare_pod("job-2")
    first["spec"]["containers"].clear()
    assert second["spec"]["containers"]
    assert [pod["metadata"]["ownerReferences"][0]["name"] for pod in (first, second)] == ["job-1", "job-2"]
