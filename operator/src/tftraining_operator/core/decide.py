"""What to do about a job: a pure function from what was observed to a plan.

The rules are asked in the order of `RULES`, and the first that has an answer decides. Whatever was observed, none of them raises, and
none of them reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import msgspec
from tftrainer.messages.contract import NOTE_LIMIT, Note

from tftraining_operator.api.status import NOTES_LIMIT
from tftraining_operator.core import checking, recorded, reports, workloads
from tftraining_operator.core.case import Case
from tftraining_operator.core.configuration import Configuration
from tftraining_operator.core.effective import sizes
from tftraining_operator.core.findings import PASSING_SECONDS, Finding, Over, earliest
from tftraining_operator.core.news import news
from tftraining_operator.core.post_mortem import post_mortem
from tftraining_operator.core.records import Observed, Plan, PodRecord, Raw
from tftraining_operator.core.rules import admission, course, end, group, queue, will
from tftraining_operator.core.situation import Situation
from tftraining_operator.core.status import render
from tftraining_operator.core.usage import usage

Rule = Callable[[Case], Finding | Over | None]
RULES: Final[tuple[Rule, ...]] = (
    will.being_deleted,
    end.expired,
    end.finished,
    admission.invalid_spec,
    end.succeeded,
    will.stop,
    queue.evicted,
    group.half_placed,
    will.suspend,
    admission.unknown_runtime,
    admission.unknown_resource_class,
    admission.no_package_index,
    admission.over_maximum,
    admission.not_allowed_to_schedule,
    admission.name_taken,
    admission.check_failed,
    end.pod_gone,
    course.out_of_time,
    group.out_of_time,
    course.restarting,
    course.resumed,
    end.failed,
    end.never_starts,
    course.hopeless,
    queue.queued,
    course.no_pod,
    course.pod_going,
    course.publishing,
    course.out_of_sight,
    course.running,
    course.fetching,
    course.waiting,
)
"""The life of a job."""


def decide(observed: Observed, configuration: Configuration, now: float) -> Plan:
    """Return what is to be done about the observed job at the Unix second `now`. Never raises, whatever was observed."""
    case = Case(observed, configuration, now)
    for rule in RULES:
        found = rule(case)
        if isinstance(found, Over):
            found = end.after_attempt(case, found)
        if found is not None:
            return _plan(case, rule.__name__, checking.beside(case, found))
    return Plan(rule="none")


def _plan(case: Case, rule: str, found: Finding) -> Plan:
    """Return the plan that makes the status say what was found, with an event if that is news."""
    situation = found.situation
    if situation is not None:
        situation = checking.with_what_is_known(case, _with_notes(case, situation))
    status = _status(case, situation, found)
    changed = status != case.job.status
    quiet_at = _quiet_at(case, status) if changed else None
    if quiet_at is not None:
        changed, found = False, replace(found, look_again_at=min(quiet_at, found.look_again_at or quiet_at))
    # Of earlier attempts something may go whatever is found of the current one, which must not wait for it.
    outlived = [each for each in end.outlived(case) if each not in found.deletions]
    return Plan(
        rule=rule,
        creates=found.creates,
        deletions=(*found.deletions, *outlived),
        status=status if changed else None,
        events=(*(news(situation, case.job.status) if changed and situation is not None else ()), *found.events),
        requeue_at=earliest(found.look_again_at, workloads.due_at(case), *(at for at in (group.due_at(case),) if at and case.now < at)),
        expires=found.expires,
        need=found.need,
        check=found.check,
        workload=found.workload or workloads.lacking(case),
        updates=workloads.updates(case),
    )


def _quiet_at(case: Case, status: Raw) -> float | None:
    """Return when to write what several pods do, where nothing else has changed: not while each moment brings another change of one."""
    before = case.job.status
    if case.current.alone or any(status.get(field) != before.get(field) for field in {*status, *before} - {"pods", "replicas"}):
        return None
    at = max((moment for pod in case.current.pods for moment in _moments(pod)), default=0.0) + PASSING_SECONDS
    return at if case.now < at <= case.now + PASSING_SECONDS else None


def _moments(pod: PodRecord) -> Iterator[float]:
    """Yield when something of a pod has changed, as far as it says."""
    yield pod.created_at
    for container in pod.containers:
        yield from (at for at in (container.started_at, container.finished_at) if at is not None)
    yield from (condition.since for condition in pod.conditions.values() if condition.since is not None)


def _status(case: Case, situation: Situation | None, found: Finding) -> Raw:
    if situation is None:
        return {**case.job.status, **found.amends}
    runtime = "" if isinstance(case.parsed, str) else case.runtime_name
    ended = {"postMortem": post_mortem(case, situation), "usage": usage(case, situation)}
    return render(situation, case.job, case.now, runtime, ended | {"resources": _given(case)})


def _given(case: Case) -> Raw | None:
    """Return what the job gets of a node, where it has GPUs or a class says so; else its spec and the defaults tell."""
    if isinstance(case.parsed, str):
        return None
    named = case.spec.resource_class is not None and (case.size is not None or case.chief.last is not None)
    return sizes(case.wanted) if named or case.wanted.gpus else None


def _with_notes(case: Case, situation: Situation) -> Situation:
    """Add what the current attempt's containers have told; what a process before this one has heard, stays told."""
    before, live = recorded.notes(case.job.status, case.current.number), case.observed.live
    notes: dict[Note, None] = {}
    for each in case.current.replicas:
        told = live.get(each.last.uid) if each.last is not None else None
        of_pod = (*reports.notes_of_fetch(each.last), *(told.notes if told is not None else ()))
        # Of one pod the newest report has all that it has ever told.
        known = before if told is None or not case.current.alone else ()
        said = (msgspec.structs.replace(note, message=case.said_of(each, note.message)[:NOTE_LIMIT]) for note in of_pod)
        notes |= dict.fromkeys((*said, *known))
    chief = live.get(case.chief.last.uid) if case.chief.last is not None else None
    saved = (chief.checkpoint if chief is not None else "") or recorded.checkpoint(case.job.status, case.current.number)
    # What is written then is about the attempt to come, which has told nothing yet.
    return replace(situation, notes=tuple(notes)[:NOTES_LIMIT] if situation.before is None else (), saved=saved)
