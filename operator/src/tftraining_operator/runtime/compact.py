"""Records of what has ended, in few bytes: thousands of finished jobs stay known, and hardly anybody asks for one of them."""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import msgspec

from tftraining_operator.core import claims, recorded
from tftraining_operator.core.observe import text
from tftraining_operator.core.records import JobRecord, Key, PodRecord, WorkloadRecord

_WORTH_DEFLATING: Final = 512
"""Bytes from which on deflating, some 25 µs for two kilobytes, is worth the half that it saves for as long as the job is there."""
_JOBS: Final = msgspec.msgpack.Decoder(JobRecord)
_PODS: Final = msgspec.msgpack.Decoder(PodRecord)
Record = TypeVar("Record", JobRecord, PodRecord)


@dataclass(frozen=True, slots=True)
class Compact:
    """A record of a job or of a pod as bytes, beside what it is found, compared and counted by.

    `phase` is what its status says, in one word, and `reason` why it failed, or how it was stopped.
    """

    key: Key
    uid: str
    resource_version: str
    phase: str
    reason: str
    data: bytes
    deflated: bool


def compact_job(job: JobRecord) -> JobRecord | Compact:
    """Return a job in as few bytes as it takes, if it has ended."""
    return _compact(job, text(job.status.get("phase")), recorded.reason(job.status)) if claims.end(job) is not None else job


def compact_pod(pod: PodRecord) -> PodRecord | Compact:
    """Return a pod in as few bytes as it takes, if it has ended."""
    return _compact(pod, pod.phase, "") if claims.ended(pod) else pod


def compact_workload(workload: WorkloadRecord) -> WorkloadRecord:
    """Return a Workload with what is still asked of it, if it is finished: that it is, whose it was, and why it was taken back."""
    if not workload.holds("Finished"):
        return workload
    return replace(
        workload,
        key=Key(sys.intern(workload.key.namespace), workload.key.name),
        conditions={kind: each for kind, each in workload.conditions.items() if kind in {"Evicted", "Finished"}},
        flavors={},
        updates={},
        checks=(),
    )


def whole_job(job: JobRecord | Compact) -> JobRecord:
    """Return the record of a job as it was."""
    return _JOBS.decode(_bytes(job)) if isinstance(job, Compact) else job


def whole_pod(pod: PodRecord | Compact) -> PodRecord:
    """Return the record of a pod as it was."""
    return _PODS.decode(_bytes(pod)) if isinstance(pod, Compact) else pod


def _compact(record: Record, phase: str, reason: str) -> Record | Compact:
    try:
        data = msgspec.msgpack.encode(record)
    except (ValueError, OverflowError, TypeError, RecursionError):
        # No API server sends what cannot be encoded; if one does, it stays as it is.
        return record
    deflated = len(data) >= _WORTH_DEFLATING
    data = zlib.compress(data, 1) if deflated else data
    return Compact(record.key, record.uid, record.resource_version, sys.intern(phase), sys.intern(reason), data, deflated)


def _bytes(compact: Compact) -> bytes:
    return zlib.decompress(compact.data) if compact.deflated else compact.data
