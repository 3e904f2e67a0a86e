"""The places of a job's attempts in a queue: each is a Workload of Kueue, which the job owns, and an attempt has one.

Kueue admits a Workload as a whole or not at all. It takes a place back by the condition Evicted, and then waits until the owner has ended
its pods and says so; it never touches a pod that has none of its labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from tftraining_operator.api.spec import Spec
from tftraining_operator.api.status import Phase
from tftraining_operator.core import build, claims, names
from tftraining_operator.core.case import Case
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.observe import mapping, sequence, text
from tftraining_operator.core.pending import short
from tftraining_operator.core.places import of_attempt
from tftraining_operator.core.records import Raw, WorkloadRecord, WorkloadUpdate

TAKEN_AFTER_SECONDS: Final = 30.0
"""How long a Workload that was made again must have been refused until its pods go: a queue that just comes back refuses for a moment."""
_MESSAGE: Final = 1024
_AT_ONCE: Final = frozenset({"Preempted", "NodeFailures"})
"""Evictions after which a Workload is queued again at once. After all others Kueue itself says when: a queue goes on, a pause is over."""


def body(case: Case) -> Raw:
    """Return the Workload of the attempt that comes next, or runs without one.

    Raises:
        ValueError: no pod can be made of the spec.

    """
    attempt, priorities = case.history.upcoming, known_priorities(case) or {}
    name = case.spec.scheduling.priority_class_name
    before = of_attempt(case.observed, attempt.number - 1)
    return build.workload(
        case.job,
        [(each.role, case.wanted_of(each)) for each in attempt.replicas],
        case.configuration,
        attempt.number,
        priority=priorities.get(name or "", 0),
        # Whom somebody has taken out of the queue must not come back as another attempt; one that runs already is none.
        active=attempt.existed or before is None or before.active,
        new=not case.taken_up,
    )


def known_priorities(case: Case) -> Mapping[str, int] | None:
    """Return the values of PriorityClasses, None where they have not been read, or do not have the one that the job names."""
    name, queueing = case.spec.scheduling.priority_class_name, case.observed.queueing
    found = queueing.priorities if queueing is not None else None
    return found if found is not None and (name is None or name in found) else None


class Taken(NamedTuple):
    """Why the place of the pods that there are is theirs no longer, and the Unix second from which on they have to go."""

    why: str
    at: float


def taken_back(case: Case) -> Taken | None:
    """Return that the current attempt has lost its place, None where it has not."""
    found = of_attempt(case.observed, case.current.number)
    if found is None:
        return None
    evicted, reserved = found.condition("Evicted"), found.condition("QuotaReserved")
    if evicted.status == "True":
        return Taken(f"{evicted.reason}: {short(evicted.message)}", case.now)
    if reserved.status == "False" and not found.holds("Admitted"):
        # It was made again after somebody had deleted it, and by then others had its quota.
        why = f"its Workload was deleted, and its place is another's by now: {short(reserved.message)}"
        return Taken(why, (reserved.since or found.created_at) + TAKEN_AFTER_SECONDS)
    return None


def due_at(case: Case) -> float | None:
    """Return when the pods that there are have to go though nothing changes until then, None for never."""
    taken = taken_back(case)
    return taken.at if taken is not None and case.current.alive and case.now < taken.at else None


def lacking(case: Case) -> Raw | None:
    """Return the Workload of an attempt whose pods run without one, because somebody has deleted that; None where there is nothing to do.

    Nothing is concluded from its absence alone: with the definition of Workloads, all of them go.
    """
    queueing = case.observed.queueing
    if queueing is None or queueing.away or queueing.barred or case.workload is not None or _rests(case):
        return None
    runs = isinstance(case.parsed, Spec) and bool(case.current.alive) and case.history.ending is None
    if not runs or case.spec.scheduling.queue is None or known_priorities(case) is None:
        return None
    try:
        return body(case)
    except ValueError:
        return None


def updates(case: Case) -> tuple[WorkloadUpdate, ...]:
    """Return what is to be done with the Workloads that there are, whatever else is found of the job."""
    queueing = case.observed.queueing
    if queueing is None or queueing.away or case.job.orphaning:
        return ()
    return tuple(_updates(case, queueing.workloads))


def _updates(case: Case, workloads: tuple[WorkloadRecord, ...]) -> Iterator[WorkloadUpdate]:
    upcoming, rests = case.history.upcoming.number, _rests(case)
    for each in workloads:
        number = names.workload_attempt(case.job.key.name, case.job.uid, each.name)
        if number is None or each.owner_uid != case.job.uid or each.deleted or each.holds("Finished"):
            continue
        if any(attempt.alive or attempt.unseen for attempt in (case.current, *case.history.past) if attempt.number == number):
            if number == case.current.number:
                yield from _started(case, each)
        elif number == upcoming and not rests:
            if each.holds("Evicted") and each.holds("QuotaReserved"):
                # Of an attempt that has had its pods, it must not be admitted once more before it is finished.
                over = _finished(case, number) if number == case.current.number and case.current.existed else {}
                yield WorkloadUpdate(each.name, each.uid, _given_back(each) | over)
        elif number < upcoming or (number == case.current.number and case.current.existed):
            yield WorkloadUpdate(each.name, each.uid, _given_back(each) | _finished(case, number))
        else:
            # No attempt was made of it, and the next one may be of its name.
            yield WorkloadUpdate(each.name, each.uid, delete=True)


def _rests(case: Case) -> bool:
    """Whether the job wants no place now: it has ended, or is to end or to pause."""
    will = case.job.spec.get("suspend") is True or case.job.spec.get("stop") is True
    return will or case.job.deleted_at is not None or claims.end(case.job) is not None


def _started(case: Case, workload: WorkloadRecord) -> Iterator[WorkloadUpdate]:
    """Say that all pods run: an admin may have told Kueue to take places back whose pods do not start in time."""
    ready = all(each.started for each in case.current.replicas) and workload.holds("Admitted")
    if ready and not workload.holds("PodsReady") and not workload.holds("Evicted"):
        yield WorkloadUpdate(workload.name, workload.uid, {"PodsReady": (True, "Started", "the scripts of all pods have been started")})


def _given_back(workload: WorkloadRecord) -> dict[str, tuple[bool, str, str]]:
    """Return the conditions by which Kueue has the quota of an evicted Workload again, as it writes them for jobs of its own."""
    evicted = workload.condition("Evicted")
    if evicted.status != "True":
        return {}
    return {
        "QuotaReserved": (False, "Pending", evicted.message),
        "Admitted": (False, "NoReservation", "The workload has no reservation"),
        "Requeued": (evicted.reason in _AT_ONCE, evicted.reason or "Evicted", evicted.message),
    }


def _finished(case: Case, number: int) -> dict[str, tuple[bool, str, str]]:
    succeeded = claims.end(case.job) is Phase.SUCCEEDED and number == case.current.number
    told = text(case.job.status.get("message"), _MESSAGE) if claims.end(case.job) is not None and number == case.current.number else ""
    return {"Finished": (True, "Succeeded" if succeeded else "Failed", told or f"attempt {number} is over")}


def updated(status: Raw, update: WorkloadUpdate, generation: int, now: float) -> dict[str, Any]:
    """Return the status of a Workload with the conditions of an update; one without a reservation has no admission."""
    before = {text(each.get("type")): each for each in map(mapping, sequence(status.get("conditions")))}
    after: dict[str, Mapping[str, Any]] = dict(before)
    for kind, (holds, reason, message) in update.conditions.items():
        state = "True" if holds else "False"
        same = text(before.get(kind, {}).get("status")) == state
        after[kind] = {
            "type": kind,
            "status": state,
            "reason": reason,
            "message": message[:_MESSAGE],
            "observedGeneration": generation,
            "lastTransitionTime": before[kind]["lastTransitionTime"] if same else rfc3339(now),
        }
    found = {**status, "conditions": list(after.values())}
    if update.conditions.get("QuotaReserved", (True,))[0] is False:
        found.pop("admission", None)
    return found
