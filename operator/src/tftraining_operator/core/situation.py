"""What a rule found out about a job: the one thing that status and conditions are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tftrainer.messages.contract import FETCH, TRAINER, Cause, FetchReport, Note, Reason

from tftraining_operator.api.status import CheckResult, Phase
from tftraining_operator.core.attempts import Attempt
from tftraining_operator.core.causes import Verdict
from tftraining_operator.core.pending import Pending
from tftraining_operator.core.recorded import Check, Ending, Restart
from tftraining_operator.core.records import PodRecord
from tftraining_operator.core.retries import Again

NOT_ACCEPTED = frozenset({Reason.INVALID_SPEC, Reason.UNKNOWN_RUNTIME, Reason.UNKNOWN_RESOURCE_CLASS, Reason.NAME_CONFLICT})
"""Faults of the spec, whoever finds them."""
NOT_WRITABLE = frozenset({Reason.STORAGE_DENIED, Reason.BUCKET_NOT_FOUND, Reason.STORAGE_MISCONFIGURED})
"""Faults of storage that no waiting mends."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a job stands. `reason` is a CamelCase word, `message` a sentence for people, `ended_at` Unix seconds.

    `ending` tells that the operator itself ends the attempt; `lost` marks one whose node does not answer. `before` is the attempt that
    has ended, suspended or failed of `verdict`, while `attempt` is the one to come; `again` is how that follows a failed one, `restart`
    that it begins. `note` is what the publisher has to say of the outputs, as it came from the pod. `notes` are what the attempt's
    containers have told meanwhile, and `saved` is the checkpoint that is in the bucket by now, in words. `reasons` are why replicas of
    several have failed, by their pods. `check` is what is known of the
    check that is made while the job waits, `checked` what it has reported. `decided` tells that the job succeeds, though one of its
    replicas may go on for a while.
    """

    phase: Phase
    reason: str
    message: str
    attempt: Attempt
    verdict: Verdict | None = None
    pending: Pending | None = None
    ended_at: float | None = None
    ending: Ending | None = None
    before: Attempt | None = None
    again: Again | None = None
    restart: Restart | None = None
    lost: bool = False
    note: str = ""
    notes: tuple[Note, ...] = ()
    saved: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    check: Check | None = None
    checked: FetchReport | None = None
    decided: bool = False

    @property
    def finished(self) -> bool:
        """Whether the job has come to its end."""
        return self.phase in {Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED}

    @property
    def ended(self) -> Attempt | None:
        """The attempt that has come to its end by this, None where none has."""
        return self.attempt if self.finished else self.before

    @property
    def accepted(self) -> bool:
        """Whether the job was fit to be run at all."""
        if self.verdict is None:
            return True
        refused_by_check = self.check is not None and self.check.result is CheckResult.FAILED
        return not (self.verdict.failure.reason in NOT_ACCEPTED or refused_by_check or self._refused_by_fetch(self.verdict))

    def _refused_by_fetch(self, found: Verdict) -> bool:
        """Whether the checks before the start said no; the same reason found while the script ran is another matter."""
        pod = self.attempt.with_pod(found.pod).last
        fetch = pod.container(FETCH) if pod is not None else None
        refused = fetch is not None and fetch.state == "terminated" and fetch.exit_code not in {0, None}
        return refused and (found.cause in {Cause.USER_ERROR, Cause.SPEC} or found.failure.reason in NOT_WRITABLE)


def shown_phase(pod: PodRecord) -> Phase:
    """Return the phase of a job whose pod this is, by what its containers do."""
    for name, phase in ((TRAINER, Phase.RUNNING), (FETCH, Phase.FETCHING)):
        container = pod.container(name)
        if container is not None and container.state == "running":
            return phase
        if container is not None and container.state == "terminated" and name == TRAINER:
            return Phase.PUBLISHING
    return Phase.PENDING
