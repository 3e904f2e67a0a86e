"""Names and labels of what the operator creates: the same for the same job and attempt, so that creating twice is creating once."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from tftrainer.messages import contract

LABEL_PREFIX: Final = "tftraining.dev/"
JOB_NAME: Final = f"{LABEL_PREFIX}job-name"
JOB_UID: Final = f"{LABEL_PREFIX}job-uid"
ROLE: Final = f"{LABEL_PREFIX}role"
INDEX: Final = f"{LABEL_PREFIX}index"
ATTEMPT: Final = f"{LABEL_PREFIX}attempt"
JOB: Final = f"{LABEL_PREFIX}job"
"""Annotation with the job's full name: a label holds 63 characters, a name 253."""
DEADLINE: Final = f"{LABEL_PREFIX}active-deadline-seconds"
"""Annotation of a pod with the deadline that its launcher keeps, `none` without one: that of the job may be changed afterwards."""
EARLIER: Final = f"{LABEL_PREFIX}earlier-running-seconds"
"""Annotation of a pod: for how long earlier attempts had run, which its deadline is less than the job's by; without one, for no time."""
CHECKED_WITH: Final = f"{LABEL_PREFIX}checked-with"
"""Annotation of a pod that a check may be made for, and of the check's, with their image: that of a runtime may be changed meanwhile."""
RESOURCES: Final = f"{LABEL_PREFIX}resources"
"""Annotation of a pod: what the resource class of its job gave it, for the class may be changed or removed afterwards."""
CHIEF: Final = contract.CHIEF
WORKER: Final = contract.WORKER
PS: Final = contract.PS
EVALUATOR: Final = contract.EVALUATOR
CHECK: Final = "check"
"""What the pod does that checks a job while it waits: it is none of an attempt's."""
ROLES: Final = (CHIEF, WORKER, PS, EVALUATOR)
"""The roles that pods of a job have, as TensorFlow names its tasks: that of the replica that coordinates the others comes first."""

_LIMIT: Final = 63
"""Characters of a label value, and of a pod's name where it is the hostname too."""
_HASH: Final = 10
_POD: Final = re.compile(rf"(?P<job>.+)-(?P<role>{'|'.join(ROLES)})-(?P<index>0|[1-9][0-9]{{0,3}})(?:-r(?P<attempt>[1-9][0-9]{{0,5}}))?")

_OF_ATTEMPT: Final = re.compile(r"-r([1-9][0-9]{0,5})$")
_CHECK_POD: Final = re.compile(rf".+-{CHECK}-[0-9a-f]{{{_HASH}}}")


@dataclass(frozen=True, slots=True)
class PodName:
    """What the name of a pod says of it. Labels can be edited, names cannot."""

    role: str
    index: int
    attempt: int


def pod_name(job: str, role: str, index: int, attempt: int) -> str:
    """Return the name of a pod: `<job>-<role>-<index>`, with `-r<attempt>` from the second attempt on.

    A job whose name holds dots, or is too long for a hostname, is named by its beginning and a digest of the whole.
    """
    suffix = f"-{role}-{index}" + (f"-r{attempt}" if attempt else "")
    return _fitted(job, _LIMIT - len(suffix), dots=False) + suffix


def parse(job: str, name: str) -> PodName | None:
    """Return which pod of the job has this name, None where the job has no pod of that name."""
    match = _POD.fullmatch(name)
    if match is None:
        return None
    found = PodName(match["role"], int(match["index"]), int(match["attempt"] or 0))
    return found if name == pod_name(job, found.role, found.index, found.attempt) else None


def claimed_job(name: str) -> str:
    """Return the job whose pod a pod of this name would be, empty where the name is none of ours. A shortened name keeps its digest."""
    match = _POD.fullmatch(name)
    return match["job"] if match else ""


def script_name(job: str, uid: str, attempt: int) -> str:
    """Return the name of the ConfigMap that carries an inline script.

    It holds a digest of the job's uid: a job created again under the same name must never run what its predecessor left behind.
    """
    return f"{pod_name(job, CHIEF, 0, attempt)}-script-{_digest(uid)}"


def service_name(job: str, uid: str) -> str:
    """Return the name of the Service by which replicas find each other, a label of RFC 1035: it begins with a letter, a job need not.

    It holds a digest of the job's uid, as above.
    """
    suffix = f"-{_digest(uid)}"
    return f"tf-{_fitted(job, _LIMIT - len(suffix) - 3, dots=False)}{suffix}"


def workload_name(job: str, uid: str, attempt: int) -> str:
    """Return the name of the Workload by which an attempt waits in a queue; with a digest of the uid, as above."""
    suffix = f"-{_digest(uid)}" + (f"-r{attempt}" if attempt else "")
    return _fitted(job, _LIMIT - len(suffix), dots=False) + suffix


def workload_attempt(job: str, uid: str, name: str) -> int | None:
    """Return the attempt whose Workload has that name, None where none of the job's has."""
    match = _OF_ATTEMPT.search(name)
    attempt = int(match[1]) if match is not None else 0
    return attempt if name == workload_name(job, uid, attempt) else None


def check_name(job: str, uid: str) -> str:
    """Return the name of the pod that checks a job while it waits, of which there is one; with a digest of the uid, as above."""
    suffix = f"-{CHECK}-{_digest(uid)}"
    return _fitted(job, _LIMIT - len(suffix), dots=False) + suffix


def is_check(name: str) -> bool:
    """Tell whether a pod of that name checks some job."""
    return _CHECK_POD.fullmatch(name) is not None


def labels(job: str, uid: str, role: str, index: int, attempt: int) -> dict[str, str]:
    """Return the labels of a pod of an attempt."""
    every = _labels("trainer", uid) | {ROLE: role, JOB_NAME: _fitted(job, _LIMIT, dots=True)}
    return every | {INDEX: str(index), ATTEMPT: str(attempt)}


def service_labels(job: str, uid: str) -> dict[str, str]:
    """Return the labels of the Service of a job."""
    return {**_labels("peers", uid), JOB_NAME: _fitted(job, _LIMIT, dots=True)}


def selector(uid: str) -> dict[str, str]:
    """Return the labels by which the pods of all of a job's attempts are found."""
    return {"app.kubernetes.io/component": "trainer", JOB_UID: uid[:_LIMIT]}


def workload_labels(job: str, uid: str, attempt: int) -> dict[str, str]:
    """Return the labels of the Workload of an attempt."""
    return {**_labels("queue", uid), JOB_NAME: _fitted(job, _LIMIT, dots=True), ATTEMPT: str(attempt)}


def check_labels(uid: str) -> dict[str, str]:
    """Return the labels of the pod of a check: who selects a job's pods by its name wants those that run it."""
    return _labels(CHECK, uid) | {ROLE: CHECK}


def _labels(component: str, uid: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "tftraining",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "tftraining-operator",
        JOB_UID: uid[:_LIMIT],
    }


def _fitted(name: str, limit: int, *, dots: bool) -> str:
    if len(name) <= limit and (dots or "." not in name):
        return name
    start = name[: limit - _HASH - 1].replace(".", "-").rstrip("-")
    return f"{start}-{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_HASH]
