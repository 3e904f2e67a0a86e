"""The check of a job that waits: a small pod without GPUs does what is done before every start, and runs nothing.

What it finds for certain ends the job now, not after hours in a queue. What it finds in order is told, and the run is held to it. What may
come right before the job starts is told, and ends nothing. Where it cannot tell, for whatever reason, it says nothing: the job waits as it
would have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from tftrainer.messages.contract import FETCH, Failure, FetchReport, Reason

from tftraining_operator.api.spec import Spec
from tftraining_operator.api.status import MESSAGE_LIMIT, CheckResult, Phase
from tftraining_operator.core import build, claims, names, pins, recorded, refusals
from tftraining_operator.core.attempts import deletions
from tftraining_operator.core.case import Case
from tftraining_operator.core.causes import Verdict
from tftraining_operator.core.findings import Finding
from tftraining_operator.core.observe import text
from tftraining_operator.core.pending import short, with_check
from tftraining_operator.core.recorded import Check
from tftraining_operator.core.records import ContainerRecord, PodRecord, Raw
from tftraining_operator.core.reports import report
from tftraining_operator.core.situation import Situation
from tftraining_operator.core.waiting import missing_secret
from tftraining_operator.core.words import line, sentence

AFTER_SECONDS: Final = 10.0
"""How long a job may wait for its place before it is checked: what starts sooner is checked by its own pod."""
CERTAIN: Final = frozenset(
    {
        Reason.SYNTAX_ERROR,
        Reason.IMPORT_MISSING,
        Reason.INVALID_ARGUMENTS,
        Reason.CODE_CHANGED,
        Reason.INVALID_SPEC,
        Reason.INPUT_TOO_LARGE,
        Reason.INPUT_CONFLICT,
        Reason.INVALID_ARCHIVE,
    }
)
"""What the start itself would end the job with, on any node and however often it is tried."""
OF_ARCHITECTURE: Final = frozenset({Reason.REQUIREMENTS_UNSATISFIABLE})
"""What it would end it with on nodes of the same architecture, for which alone there may be wheels."""
TOLD: Final = frozenset(
    {
        Reason.OBJECT_NOT_FOUND,
        Reason.DIGEST_MISMATCH,
        Reason.STORAGE_DENIED,
        Reason.BUCKET_NOT_FOUND,
        Reason.STORAGE_MISCONFIGURED,
    }
)
"""What the start would end it with as things are: an input may still arrive, a Secret be put right, a node's clock be set."""
_WAITING: Final = frozenset({Phase.PENDING, Phase.QUEUED})
_OF_CODE: Final = re.compile(r"\(named by spec\.(?:script|dependencies)\.|^spec\.script\.")
"""How `fetch` says that what is not there is code."""
_ALSO: Final = "; also: "
"""What stands between one finding and the next in what `fetch` says."""


@dataclass(frozen=True, slots=True)
class _Word:
    """What a check's pod says: `failure` is what it has found for certain, `report` what it has seen where all is in order."""

    result: CheckResult
    message: str
    failure: Failure | None = None
    report: FetchReport | None = None


def failed(case: Case) -> Verdict | None:
    """Return what the check has found for certain of a job that still waits, None where that is nothing."""
    pod = _believed(case)
    failure = _word(pod, case).failure if pod is not None else None
    return Verdict(failure, pod=pod.name) if failure is not None and pod is not None else None


def with_what_is_known(case: Case, situation: Situation) -> Situation:
    """Add what is known of the check, as long as the job waits in words too."""
    check, report = _known(case)
    if check is None:
        return situation
    if check.words and situation.phase in _WAITING and _waits(case):
        pending = with_check(situation.pending, check) if situation.pending is not None else None
        situation = replace(situation, message=sentence(situation.message, check.words), pending=pending)
    return replace(situation, check=check, checked=report)


def beside(case: Case, found: Finding) -> Finding:
    """Add what there is to do for the check: make its pod when the job has waited for long enough, delete one of no more use.

    That of a job which has ended goes like other pods that have: `end.finished` sees to it.
    """
    pod = case.history.check
    if pod is not None and not _is_of_use(case, found):
        return replace(found, deletions=(*found.deletions, *deletions([pod])))
    if pod is not None:
        if claims.ended(pod) or not _waits(case):
            return found
        # Where it has no place then, that is told; at last it is given up.
        placed_until = None if _placed(pod) else pod.created_at + AFTER_SECONDS
        return _looked_at_again(case, _looked_at_again(case, found, placed_until), pod.created_at + build.CHECK_SECONDS)
    at = _due_at(case)
    if at is None or case.now < at:
        return _looked_at_again(case, found, at)
    over = found.situation is not None and found.situation.phase not in _WAITING
    return found if over else replace(found, check=_pod(case))


def _looked_at_again(case: Case, found: Finding, at: float | None) -> Finding:
    return found if at is None or at <= case.now else replace(found, look_again_at=min(at, found.look_again_at or at))


def _is_of_use(case: Case, found: Finding) -> bool:
    """Whether the check's pod is to stay: it checks a job that still waits, what it says is not written yet, or its log says more.

    It is no run of the job's, which would stay behind where that is deleted without what it owns.
    """
    if claims.end(case.job) is not None and not case.job.orphaning:
        return True
    check = recorded.check(case.job.status) if found.situation is None else _known(case)[0]
    return _believed(case) is not None and (check is None or check.result in {CheckResult.STARTED, CheckResult.FAILED})


def _believed(case: Case) -> PodRecord | None:
    """Return the check's pod if it may say something: of a job that waits, is to be checked, and of which no check is known to be over.

    Who may create pods can make one of that name for any job; that of an earlier wait is of an attempt that has been given up.
    """
    pod, before = case.history.check, recorded.check(case.job.status)
    if pod is None or not _waits(case) or not _is_to_be_checked(case):
        return None
    over = before is not None and before.result is not CheckResult.STARTED
    # The check is made ten seconds after the wait began: that much may clocks differ.
    if over or pod.created_at < case.waiting_since:
        return None
    return pod if _is_of_image(pod, case) and _is_of_image(case.chief.pod, case) else None


def _is_to_be_checked(case: Case) -> bool:
    """Whether a job that waits is checked at all: not where it has been told not to be, nor after a first start."""
    covered = case.wanted.preflight.covers(gpus=case.wanted.gpus) and pins.pinned(case.job.status) is None
    return covered and case.runtime_name in case.configuration.runtimes and (case.spec.resource_class is None or case.size is not None)


def _is_of_image(pod: PodRecord | None, case: Case) -> bool:
    """Whether a pod, if there is one, has the image that a check would have now: what another one finds counts for this one only."""
    return pod is None or pod.checked_with == text(case.wanted.runtime.image)


def _is_in_the_way(case: Case) -> bool:
    """Whether a quota that a check takes from, too, keeps the job's own pod out."""
    return refusals.counts_checks(case.observed.refusal, case.wanted.gpu_resource)


def _due_at(case: Case) -> float | None:
    """Return the Unix second from which on the job is to be checked, None for never. It is checked once, and not after a first start."""
    job, waiting = case.job, case.chief.pod
    if not _waits(case) or (waiting is None and not case.observed.refusal and not case.queued):
        return None
    if not _is_to_be_checked(case) or _is_in_the_way(case) or not _is_of_image(waiting, case):
        return None
    name = names.check_name(job.key.name, job.uid)
    taken = case.observed.unchecked or any(pod.name == name for pod in case.observed.pods)
    if taken or recorded.check(job.status) is not None:
        return None
    return (waiting.created_at if waiting is not None else case.waiting_since) + AFTER_SECONDS


def _pod(case: Case) -> Raw | None:
    try:
        return build.check(case.job, case.wanted, case.configuration, case.history.upcoming.number, new=not case.taken_up)
    except ValueError:
        # The job's own pod could not be made of it either, and says why.
        return None


def _waits(case: Case) -> bool:
    """Whether nothing of the job runs, and all that it needs is a place on a node."""
    pod = case.chief.pod
    if pod is not None and (_placed(pod) or pod.deleted_at is not None or claims.ended(pod)):
        return False
    if case.job.deleted_at is not None or claims.end(case.job) is not None or case.history.ending is not None:
        return False
    return isinstance(case.parsed, Spec) and not (case.spec.suspend or case.spec.stop)


def _placed(pod: PodRecord) -> bool:
    return bool(pod.node) or pod.condition("PodScheduled").status == "True"


def _known(case: Case) -> tuple[Check | None, FetchReport | None]:
    """Return what is known of the check by now, and what it has reported if that is new; of one that was given up, nothing."""
    before, pod = recorded.check(case.job.status), _believed(case)
    if before is not None and before.result is not CheckResult.STARTED:
        return before, None
    if not _waits(case) or (before is None and pod is None):
        return None, None
    if pod is None:
        word = _Word(CheckResult.INCONCLUSIVE, "the pod of the check was deleted before it had checked anything")
    elif pod.deleted_at is None or claims.ended(pod) or _is_late(pod, case):
        word = _word(pod, case)
    else:
        return before, None
    message = text(line(word.message), MESSAGE_LIMIT)
    same = before is not None and (before.result, before.message) == (word.result, message)
    at = before.at if before is not None and same else case.now
    return Check(word.result, message, at), word.report


def _word(pod: PodRecord, case: Case) -> _Word:
    fetch = pod.container(FETCH)
    if fetch is None or fetch.state != "terminated":
        return _unfinished(pod, fetch, case)
    told = report(fetch, FetchReport)
    failure = told.failure if told is not None else None
    if told is not None and failure is None and fetch.exit_code == 0:
        return _Word(CheckResult.PASSED, f"{recorded.CHECKED}: {_checked(case.spec)} are fine", report=told)
    if failure is not None and fetch.exit_code not in {0, None}:
        if _is_certain(failure, case):
            return _Word(CheckResult.FAILED, failure.message, failure=failure)
        if failure.reason in TOLD:
            return _doubtful("; ".join(filter(None, (failure.message, failure.hint))))
    why = failure.message if failure is not None else f"{fetch.reason or 'no reason'}, exit code {fetch.exit_code}"
    return _Word(CheckResult.INCONCLUSIVE, f"pod {pod.name} could not check the job: {short(why)}")


def _unfinished(pod: PodRecord, fetch: ContainerRecord | None, case: Case) -> _Word:
    """Return what a check says that has not checked anything, or not yet."""
    lacking = missing_secret(fetch, pod, case.wanted) if fetch is not None else None
    late = _is_late(pod, case)
    if lacking is not None and (late or claims.ended(pod)):
        return _doubtful(lacking.message)
    if claims.ended(pod):
        return _Word(CheckResult.INCONCLUSIVE, f"pod {pod.name} ended before it had checked anything: {_why(pod)}")
    if late:
        return _Word(CheckResult.INCONCLUSIVE, f"pod {pod.name} has not checked anything within {build.CHECK_SECONDS // 60} minutes")
    if (fetch is None or fetch.state != "running") and _is_in_the_way(case):
        return _Word(CheckResult.INCONCLUSIVE, f"pod {pod.name} made room for the job's own pod, which a quota refuses")
    if not _placed(pod) and case.now >= pod.created_at + AFTER_SECONDS:
        return _Word(CheckResult.STARTED, f"pod {pod.name}, which is to check it meanwhile, waits for a place itself")
    # The job's own pod would hold a node's GPUs while it waits for that.
    return _Word(CheckResult.STARTED, lacking.message if lacking is not None else f"pod {pod.name} checks it meanwhile")


def _is_late(pod: PodRecord, case: Case) -> bool:
    """Whether a check has had its time; that in its spec begins only when it is on a node, and ends nothing on one that is lost."""
    return case.now >= pod.created_at + build.CHECK_SECONDS


def _is_certain(failure: Failure, case: Case) -> bool:
    """Whether the start would end with it too, on whatever node and however much later it is."""
    first = failure.message.partition(_ALSO)[0]
    if failure.reason is Reason.OBJECT_NOT_FOUND:
        return _OF_CODE.search(first) is not None
    if failure.reason is Reason.DIGEST_MISMATCH:
        # Of what has none somebody has only written it while it was fetched.
        return any(each in first for each in _demanded(case.spec))
    # What packages bring, and which others they need, depends on the processor.
    imports = failure.reason is Reason.IMPORT_MISSING and case.spec.dependencies.requirements
    if imports or failure.reason in OF_ARCHITECTURE:
        return build.ARCHITECTURE in case.wanted.node_selector
    return failure.reason in CERTAIN


def _demanded(spec: Spec) -> Iterator[str]:
    """Yield the digests that the spec names."""
    archive = spec.dependencies.archive
    yield from filter(None, (spec.script.sha256, archive.sha256 if archive else None, *(each.sha256 for each in spec.dependencies.files)))


def _doubtful(words: str) -> _Word:
    """Return what may come right before the job starts, and what nobody will look for again until then."""
    return _Word(CheckResult.INCONCLUSIVE, f"{recorded.CHECKED}, and not again before it starts: {short(words)}")


def _checked(spec: Spec) -> str:
    count = len(spec.inputs)
    inputs = [f"{count} input{'s' if count > 1 else ''}"] if count else []
    packages = ["packages"] if spec.dependencies.requirements else []
    return f"{', '.join(['code', *packages, 'arguments', *inputs])} and the bucket"


def _why(pod: PodRecord) -> str:
    return short(f"{pod.reason} {pod.message}") or f"phase {pod.phase}"
