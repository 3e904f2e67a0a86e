"""How the attempt of a stopped job ended, by the last word of its pod, and where what it wrote is."""

from __future__ import annotations

from typing import Final

from tftrainer.messages.contract import FETCH, PUBLISHER, TRAINER, FetchReport, PublishReport, Reason, RunReport

from tftraining_operator.api.status import Stop
from tftraining_operator.core import recorded
from tftraining_operator.core.case import Case
from tftraining_operator.core.observe import timestamp
from tftraining_operator.core.records import PodRecord, Raw
from tftraining_operator.core.reports import published, report
from tftraining_operator.core.words import line, sentence

_KILLED: Final = 137
"""Exit code of a script that had to be killed, by its launcher or with its container."""
_NOTHING: Final = "nothing was published"


def stopped(case: Case) -> tuple[Stop, str]:
    """Return how the job was stopped and the sentences that say so. Its pods, as far as there are any, have ended."""
    attempt, last = case.history.begun, case.current.chief.last
    if attempt is not case.current:
        why = f"the job was stopped before attempt {case.current.number} had started"
        return Stop.STOPPED, sentence(why, _left_by(f"attempt {attempt.number}", attempt.chief.last, case.job.status))
    if not case.current.existed:
        what = f"attempt {attempt.number}" if attempt.number else "it"
        return Stop.STOPPED, sentence(f"the job was stopped before {what} had started", _left_before(case))
    if last is None:
        why = f"the job was stopped, and nobody has seen how pod {case.current.chief.name} ended"
        return Stop.FORCED, sentence(why, _left_by("it", None, case.job.status))
    return _by_pod(case, last)


def _by_pod(case: Case, pod: PodRecord) -> tuple[Stop, str]:
    trainer, final = pod.container(TRAINER), report(pod.container(PUBLISHER), PublishReport)
    # A node that starts anew, or evicts a pod, may have forgotten when a container began; the status has it.
    kept = case.job.status.get("runningTime") if recorded.attempt(case.job.status) == case.current.number else None
    ran = (trainer is not None and trainer.started_at is not None) or timestamp(kept) is not None
    code = trainer.exit_code if trainer is not None else None
    if not ran:
        what = f"the script of attempt {case.current.number}" if case.current.number else "its script"
        return Stop.STOPPED, sentence(f"the job was stopped before {what} had started", _left_before(case))
    if final is not None and final.failure is not None and not final.manifest_uri:
        why = "the job was stopped, but what it wrote could not be published"
        return Stop.FAILED, sentence(why, final.failure.message, final.failure.hint)
    if final is None or not final.manifest_uri:
        why = f"the job was stopped by force: nobody has seen pod {pod.name} publish what the script wrote"
        return Stop.FORCED, sentence(why, _left_by("it", pod, case.job.status))
    if code == _KILLED:
        told = report(trainer, RunReport)
        asked = told is not None and told.failure is not None and told.failure.reason is Reason.TERMINATED
        how = f"did not end within {case.wanted.grace_seconds} s, and was killed" if asked else f"was killed (exit code {code})"
        return Stop.FORCED, sentence(f"the job was stopped by force: its script {how}", _left_by("it", pod, case.job.status))
    how = f" with exit code {code}" if code is not None else ""
    return Stop.STOPPED, sentence(f"the job was stopped: its script ended{how}", _left_by("it", pod, case.job.status))


def _left_before(case: Case) -> str:
    """Return where what earlier attempts left is, as far as anything says."""
    earlier = recorded.attempts(case.job.status)
    if earlier and earlier[-1].logs:
        return f"what attempt {earlier[-1].attempt} left, if anything, is beside {line(earlier[-1].logs)}"
    return "what earlier attempts have published stays" if case.current.number else _NOTHING


def _left_by(who: str, pod: PodRecord | None, status: Raw) -> str:
    """Return where what an attempt left is: by its pod, or by what the status has of it already."""
    before = recorded.part(status, "outputs", "logs")
    manifest, logs = (before.outputs.manifest if before.outputs else ""), (before.logs.uri if before.logs else "")
    if pod is not None:
        final = published(pod, pod.key.namespace, pod.key.name, pod.owner_uid)
        fetched = report(pod.container(FETCH), FetchReport)
        manifest, logs = (final.manifest_uri if final is not None else ""), (fetched.logs_uri if fetched is not None else "")
    if manifest:
        return f"what {who} published is listed in {line(manifest)}"
    return f"what {who} left, if anything, is beside {line(logs)}" if logs else _NOTHING
