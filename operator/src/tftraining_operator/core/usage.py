"""What a job has taken of the cluster, what of that was in vain, and what it should ask for next time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Final

from tftrainer.messages.contract import FETCH, PUBLISHER, TRAINER, Reason, RunReport

from tftraining_operator.api.quantities import amount, exact
from tftraining_operator.api.spec import Spec
from tftraining_operator.api.status import ConditionType, UsageStatus
from tftraining_operator.core import recorded
from tftraining_operator.core.attempts import Attempt
from tftraining_operator.core.case import Case
from tftraining_operator.core.observe import timestamp
from tftraining_operator.core.records import PodRecord
from tftraining_operator.core.reports import report
from tftraining_operator.core.situation import Situation

_MOST: Final = 2**53
"""What any reader of JSON takes for a whole number."""
_STEP: Final = 128 * 1024**2
_ROOM: Final = 1.25
_LOW: Final = 0.5
_HIGH: Final = 0.9


def usage(case: Case, situation: Situation) -> dict[str, Any]:
    """Return the figures of all attempts that have ended, as the status has them: each is counted once, however often it is looked at."""
    before = recorded.usage(case.job.status)
    attempt = situation.ended
    spans = _spans(case, attempt, situation.ended_at or case.now) if attempt is not None else None
    if attempt is None or spans is None or attempt.number < before.attempts or not isinstance(case.parsed, Spec):
        return _shown(before)
    queued, fetching, running, publishing = spans
    held = fetching + running + publishing
    gpus, cpus = _of_all(case, attempt, situation.ended_at or case.now, held)
    wasted = int(situation.verdict is not None)
    peak = max([before.peak_memory, *(_peak(each.last) for each in attempt.replicas if each.role == attempt.chief.role)])
    return _shown(
        UsageStatus(
            attempts=attempt.number + 1,
            queued_seconds=_sum(before.queued_seconds, queued),
            fetching_seconds=_sum(before.fetching_seconds, fetching),
            running_seconds=_sum(before.running_seconds, running),
            publishing_seconds=_sum(before.publishing_seconds, publishing),
            wasted_seconds=_sum(before.wasted_seconds, held * wasted),
            gpu_seconds=_sum(before.gpu_seconds, gpus),
            wasted_gpu_seconds=_sum(before.wasted_gpu_seconds, gpus * wasted),
            cpu_seconds=_sum(before.cpu_seconds, cpus),
            wasted_cpu_seconds=_sum(before.wasted_cpu_seconds, cpus * wasted),
            peak_memory=min(peak, _MOST),
            advice=_advice(case, situation, peak) if situation.finished else "",
        )
    )


def _of_all(case: Case, attempt: Attempt, ended_at: float, chief: int) -> tuple[int, int]:
    """Return for how many seconds the replicas held GPUs and CPUs; `chief` is for how long the chief did, of which nobody may know more."""
    seen = [(case.wanted_of(each), sum(_seconds(case, each.last, ended_at)[1:])) for each in attempt.replicas if each.last is not None]
    held = seen or [(case.wanted, chief)]
    return sum(seconds * each.gpus for each, seconds in held), round(sum(seconds * exact(each.cpu) for each, seconds in held))


def running_seconds(case: Case, ended_at: float) -> int:
    """Return for how long the scripts of all attempts have run, that of the current one, which ended at that Unix second, included."""
    before, spans = recorded.usage(case.job.status), _spans(case, case.current, ended_at)
    if spans is None or case.current.number < before.attempts:
        return before.running_seconds
    return _sum(before.running_seconds, spans[2])


def _shown(figures: UsageStatus) -> dict[str, Any]:
    found: dict[str, Any] = figures.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    return found


def _sum(before: int, more: int) -> int:
    return min(before + more, _MOST)


def _spans(case: Case, attempt: Attempt, ended_at: float) -> tuple[int, int, int, int] | None:
    """Return for how long an attempt was queued, fetching, running and publishing; None where nobody knows anything of it."""
    if attempt.chief.last is not None:
        # The script of one that waits for its peers has not begun.
        starts = [_started(each.last) for each in attempt.replicas]
        return _seconds(case, attempt.chief.last, ended_at, 0.0 if attempt.alone else max(starts))
    status = case.job.status
    running, ending = timestamp(status.get("runningTime")), recorded.ending(status)
    if running is None or ending is None or not recorded.attempt(status) == ending.attempt == attempt.number:
        return None
    # Its pod went while nobody looked: that its script ran, and from when to when, is all that is known. Of one that nobody told to
    # go nobody knows the latter, and the time for which the operator was away must not end a job.
    return 0, 0, max(round(ending.since - running), 0), 0


def _started(pod: PodRecord | None) -> float:
    """Return when a replica's script could begin, never for one that has not come to that."""
    trainer = pod.container(TRAINER) if pod is not None else None
    if trainer is None or trainer.state == "waiting":
        return math.inf
    # A node that starts anew may have forgotten when a container began.
    return trainer.started_at or 0.0


def _seconds(case: Case, pod: PodRecord, ended_at: float, begun: float = 0.0) -> tuple[int, int, int, int]:
    """Return for how long a pod was queued, fetching, running and publishing: what it did not come to has taken no time.

    It is running from the Unix second `begun` on, and until then fetching.
    """
    ended_at = min([ended_at, *_silences(pod)])
    fetch, trainer, publisher = (pod.container(name) for name in (FETCH, TRAINER, PUBLISHER))
    over = (publisher.finished_at if publisher is not None else None) or ended_at
    finished = (trainer.finished_at if trainer is not None else None) or over
    started = min(max((trainer.started_at if trainer is not None else None) or finished, begun), finished)
    fetching = (fetch.started_at if fetch is not None else None) or started
    marks = (_waits_since(case, pod), fetching, started, finished, over)
    queued, fetched, ran, published = (max(round(end - begin), 0) for begin, end in itertools.pairwise(marks))
    return queued, fetched, ran, published


def _silences(pod: PodRecord) -> Iterator[float]:
    """Yield since when nobody knows that anything of a pod runs: its node has fallen silent, or it should have gone by then."""
    ready = pod.condition("Ready")
    # Who marks the pods of a silent node gives no reason.
    if ready[:2] == ("False", "") and ready.since is not None:
        yield ready.since
    if pod.deleted_at is not None:
        yield pod.deleted_at


def _waits_since(case: Case, pod: PodRecord) -> float:
    """Return since when an attempt has waited: since its job's creation or resume, and a later one since its pod's creation."""
    if case.current.number > 0:
        return pod.created_at
    changes = (
        timestamp(each["lastTransitionTime"]) or 0.0
        for each in recorded.conditions(case.job.status)
        if (each["type"], each["status"]) == (ConditionType.SUSPENDED, "False")
    )
    return max([case.job.created_at, *(at for at in changes if at <= pod.created_at)])


def _peak(pod: PodRecord | None) -> int:
    told = report(pod.container(TRAINER), RunReport) if pod is not None else None
    return (told.usage.memory or 0) if told is not None and told.usage is not None else 0


def _advice(case: Case, situation: Situation, peak: int) -> str:
    """Return what to ask for next time, in a sentence; empty where what was asked for fits, or nobody knows."""
    given = case.wanted.memory
    # A class is chosen by its memory among other things.
    field = "memory" if case.spec.resource_class is not None else case.wanted.field("memory")
    if situation.verdict is not None and situation.verdict.failure.reason is Reason.OUT_OF_MEMORY:
        return f"Ask for more than {given} of {field}: that was not enough."
    better = -(-round(peak * _ROOM) // _STEP) * _STEP
    used = f"the script held {_mebibytes(peak)} of {given} at the most"
    if 0 < peak < amount(given) * _LOW and better < amount(given):
        return f"{_mebibytes(better)} of {field} would do: {used}."
    if peak > amount(given) * _HIGH:
        return f"Ask for {_mebibytes(better)} of {field}: {used}, which leaves no room."
    return ""


def _mebibytes(size: int) -> str:
    return f"{-(-size // 1024**2)}Mi"
