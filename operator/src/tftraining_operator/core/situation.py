"""What a rule found out about a job: the one thing that status and conditions are made of."""

from __future__ import annotations

from dataclasses import dataclass

from tftrainer.contract import FETCH, Cause, Reason

from tftraining_operator.api.status import Phase
from tftraining_operator.core.causes import Verdict
from tftraining_operator.core.pending import Pending
from tftraining_operator.core.records import PodRecord

NOT_ACCEPTED = frozenset({Reason.INVALID_SPEC, Reason.UNKNOWN_RUNTIME, Reason.NAME_CONFLICT})
"""Faults of the spec, whoever finds them."""
NOT_WRITABLE = frozenset({Reason.STORAGE_DENIED, Reason.BUCKET_NOT_FOUND, Reason.STORAGE_MISCONFIGURED})
"""Faults of storage that no waiting mends."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a job stands. `reason` is a CamelCase word, `message` a sentence for people, `ended_at` Unix seconds.

    `suspending` marks a pod that the operator itself stops; `lost` one whose node does not answer. `stopped` is the pod of the attempt
    that a suspension has ended, as it was last seen.
    """

    phase: Phase
    reason: str
    message: str
    attempt: int
    pod: PodRecord | None = None
    verdict: Verdict | None = None
    pending: Pending | None = None
    ended_at: float | None = None
    suspending: bool = False
    stopped: PodRecord | None = None
    lost: bool = False

    @property
    def finished(self) -> bool:
        """Whether the job has come to its end."""
        return self.phase in {Phase.SUCCEEDED, Phase.FAILED}

    @property
    def accepted(self) -> bool:
        """Whether the job was fit to be run at all."""
        return self.verdict is None or not (self.verdict.failure.reason in NOT_ACCEPTED or self._refused_by_fetch(self.verdict))

    def _refused_by_fetch(self, found: Verdict) -> bool:
        """Whether the checks before the start said no; the same reason found while the script ran is another matter."""
        fetch = self.pod.container(FETCH) if self.pod is not None else None
        refused = fetch is not None and fetch.state == "terminated" and fetch.exit_code not in {0, None}
        return refused and (found.cause in {Cause.USER_ERROR, Cause.SPEC} or found.failure.reason in NOT_WRITABLE)
