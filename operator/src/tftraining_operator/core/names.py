"""Names and labels of what the operator creates: the same for the same job and attempt, so that creating twice is creating once."""

from __future__ import annotations

import hashlib
import re
from typing import Final

LABEL_PREFIX: Final = "tftraining.dev/"
JOB_NAME: Final = f"{LABEL_PREFIX}job-name"
JOB_UID: Final = f"{LABEL_PREFIX}job-uid"
ROLE: Final = f"{LABEL_PREFIX}role"
INDEX: Final = f"{LABEL_PREFIX}index"
ATTEMPT: Final = f"{LABEL_PREFIX}attempt"
JOB: Final = f"{LABEL_PREFIX}job"
"""Annotation with the job's full name: a label holds 63 characters, a name 253."""
CHIEF: Final = "chief"

_LIMIT: Final = 63
"""Characters of a label value, and of a pod's name where it is the hostname too."""
_HASH: Final = 10
_CLAIM: Final = re.compile(rf"(.+)-{CHIEF}-0(?:-r[1-9][0-9]*)?")
_ATTEMPT_SUFFIX: Final = re.compile(r"-r([1-9][0-9]{0,5})$")


def pod_name(job: str, role: str, index: int, attempt: int) -> str:
    """Return the name of a pod: `<job>-<role>-<index>`, with `-r<attempt>` from the second attempt on.

    A job whose name holds dots, or is too long for a hostname, is named by its beginning and a digest of the whole.
    """
    suffix = f"-{role}-{index}" + (f"-r{attempt}" if attempt else "")
    return _fitted(job, _LIMIT - len(suffix), dots=False) + suffix


def attempt_of(job: str, name: str) -> int | None:
    """Return the attempt whose chief has this pod name, None where the job has no pod of that name."""
    match = _ATTEMPT_SUFFIX.search(name)
    attempt = int(match[1]) if match else 0
    return attempt if name == pod_name(job, CHIEF, 0, attempt) else None


def claimed_job(name: str) -> str:
    """Return the job whose pod a pod of this name would be, empty where the name is none of ours. A shortened name keeps its digest."""
    match = _CLAIM.fullmatch(name)
    return match[1] if match else ""


def script_name(job: str, uid: str, attempt: int) -> str:
    """Return the name of the ConfigMap that carries an inline script.

    It holds a digest of the job's uid: a job created again under the same name must never run what its predecessor left behind.
    """
    digest = hashlib.sha256(uid.encode("utf-8", "replace")).hexdigest()[:_HASH]
    return f"{pod_name(job, CHIEF, 0, attempt)}-script-{digest}"


def labels(job: str, uid: str, role: str, index: int, attempt: int) -> dict[str, str]:
    """Return the labels of a pod."""
    return {
        "app.kubernetes.io/name": "tftraining",
        "app.kubernetes.io/component": "trainer",
        "app.kubernetes.io/managed-by": "tftraining-operator",
        JOB_NAME: _fitted(job, _LIMIT, dots=True),
        JOB_UID: uid[:_LIMIT],
        ROLE: role,
        INDEX: str(index),
        ATTEMPT: str(attempt),
    }


def _fitted(name: str, limit: int, *, dots: bool) -> str:
    if len(name) <= limit and (dots or "." not in name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:_HASH]
    start = name[: limit - _HASH - 1].replace(".", "-").rstrip("-")
    return f"{start}-{digest}"
