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
_UNSEEN = "tftraining.dev/seen-by"
"""In the place of the label by which the operator watches pods: those of the baselines are none of its business."""


def training_job(name: str) -> Object:
    """Return a TFTrainingJob."""
    spec = {"runtime": "tf1", "script": {"uri": "${bucket}/train.py"}}
    return {"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "metadata": {"name": name}, "spec": spec}


def bare_pod(name: str) -> Object:
    """Return the pod that the operator makes of such a job, as nobody's."""
    pod = copy.deepcopy(_pod())
    pod["metadata"]["name"] = pod["metadata"]["ownerReferences"][0]["name"] = name
    return pod


def batch_job(name: str) -> Object:
    """Return a batch/v1 Job that makes such a pod."""
    pod = bare_pod(name)
    metadata = {field: pod["metadata"][field] for field in ("labels", "annotations")}
    spec = {"template": {"metadata": metadata, "spec": pod["spec"]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


@cache
def _pod() -> Object:
    stored = training_job("job-0")
    stored["metadata"] |= {"namespace": "bench-1", "uid": "01234567-89ab-cdef-0123-456789abcdef", "generation": 1, "resourceVersion": "1"}
    job = job_record(stored)
    assert job is not None
    pod = copy.deepcopy(dict(decide(Observed(job), Configuration.model_validate(CONFIGURATION), 0.0).creates[0]))
    del pod["metadata"]["namespace"]
    labels = pod["metadata"]["labels"]
    labels[_UNSEEN] = labels.pop(POD_SELECTOR)
    return pod
