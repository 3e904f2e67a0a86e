"""What is created: a job, and for the baselines the very pod that the operator makes of it, so that only the way to it differs."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from api import Object
from tftraining_operator.core.configuration import Configuration
from tftraining_operator.core.decide import decide
from tftraining_operator.core.observe import job_record
from tftraining_operator.core.records import Observed
from tftraining_operator.runtime.sweep import POD_SELECTOR

CONFIGURATION: dict[str, Any] = {
    "defaultRuntime": "tf2",
    "runtimes": {name: {"image": f"localhost/{name}:bench"} for name in ("tf1", "tf2")},
}
GROUP = 8
"""Workers of a job of several."""
_UNSEEN = "tftraining.dev/seen-by"
"""In the place of the label by which the operator watches pods: those of the baselines are none of its business."""


def training_job(name: str) -> Object:
    """Return a TFTrainingJob."""
    spec = {"runtime": "tf1", "script": {"uri": "${bucket}/train.py"}}
    return {"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "metadata": {"name": name}, "spec": spec}


def training_group(name: str) -> Object:
    """Return a TFTrainingJob of several workers."""
    job = training_job(name)
    job["spec"] |= {"replicas": {"worker": {"count": GROUP}}, "successPolicy": "AllWorkers"}
    return job


def bare_pod(name: str) -> Object:
    """Return the pod that the operator makes of such a job, as nobody's."""
    return _named(_pod(grouped=False), name, name)


def bare_group(name: str) -> list[Object]:
    """Return as many pods as the operator makes of a job of several workers, each like one of those."""
    return [_named(_pod(grouped=True), f"{name}-{index}", name) for index in range(GROUP)]


def batch_job(name: str) -> Object:
    """Return a batch/v1 Job that makes such a pod."""
    return _batch_job(name, bare_pod(name), {})


def indexed_job(name: str) -> Object:
    """Return a batch/v1 Job that makes such pods, each with an index."""
    return _batch_job(name, bare_group(name)[0], {"completionMode": "Indexed", "completions": GROUP, "parallelism": GROUP})


def _batch_job(name: str, pod: Object, spec: Object) -> Object:
    metadata = {field: pod["metadata"][field] for field in ("labels", "annotations")}
    own = {key: value for key, value in pod["spec"].items() if key not in ("hostname", "subdomain")}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": spec | {"template": {"metadata": metadata, "spec": own}},
    }


def _named(model: Object, name: str, job: str) -> Object:
    pod = copy.deepcopy(model)
    pod["metadata"]["name"] = name
    pod["metadata"]["ownerReferences"][0]["name"] = job
    return pod


@cache
def _pod(*, grouped: bool) -> Object:
    stored = (training_group if grouped else training_job)("job-0")
    stored["metadata"] |= {"namespace": "bench-1", "uid": "01234567-89ab-cdef-0123-456789abcdef", "generation": 1, "resourceVersion": "1"}
    job = job_record(stored)
    assert job is not None
    creates = decide(Observed(job), Configuration.model_validate(CONFIGURATION), 0.0).creates
    pod = copy.deepcopy(next(dict(each) for each in creates if each["kind"] == "Pod"))
    del pod["metadata"]["namespace"]
    labels = pod["metadata"]["labels"]
    labels[_UNSEEN] = labels.pop(POD_SELECTOR)
    return pod
