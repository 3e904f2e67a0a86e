"""Whether a job can be run at all: what is wrong with it before it has a pod."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

from tftrainer.messages.contract import Reason

from tftraining_operator.api.spec import Spec
from tftraining_operator.core import checking
from tftraining_operator.core.allowed import not_allowed
from tftraining_operator.core.case import Case
from tftraining_operator.core.causes import verdict
from tftraining_operator.core.findings import PASSING_SECONDS, Finding, Over, invalid, overdue, waits
from tftraining_operator.core.maxima import exceeded
from tftraining_operator.core.pending import Pending

PREDECESSOR_SECONDS: Final = 60.0
"""How long the garbage collector gets to remove the pod of a deleted job of the same name."""


def invalid_spec(case: Case) -> Over | None:
    """Fail a spec that the API server refuses: an older definition, or one edited by hand, may have let it through."""
    if isinstance(case.parsed, Spec):
        return None
    return Over(invalid(case.parsed), deletions=case.history.deletions())


def unknown_runtime(case: Case) -> Over | None:
    """Fail a job whose runtime the catalogue does not have: no pod can be made of it; one that exists already runs on."""
    if not case.history.missing or case.runtime_name in case.configuration.runtimes:
        return None
    what = f"the runtime {case.runtime_name!r} of spec.runtime"
    return _unknown(Reason.UNKNOWN_RUNTIME, what, case.runtime_name, case.configuration.runtimes)


def unknown_resource_class(case: Case) -> Over | None:
    """Fail a job whose resource class the catalogue does not have: nobody knows its size; a pod that exists already runs on."""
    name = case.spec.resource_class
    if not case.history.missing or name is None or case.size is not None:
        return None
    what = f"the class {name!r} of spec.resourceClass"
    return _unknown(Reason.UNKNOWN_RESOURCE_CLASS, what, name, case.configuration.resource_classes)


def _unknown(reason: Reason, what: str, name: str, catalogue: Collection[str]) -> Over:
    """Fail a job that names what a catalogue does not have, with what it has."""
    message = f"{what} is not in the operator's catalogue; known are {', '.join(sorted(catalogue)) or 'none'}"
    close = get_close_matches(name, catalogue, 1)
    start = f"did you mean {close[0]}? Create" if close else "create"
    return Over(verdict(reason, message, f"{start} the job again with one of these, or ask an admin to add it"))


def no_package_index(case: Case) -> Over | None:
    """Fail a job that names packages where the admin allows no index to take them from."""
    if not case.history.missing or case.configuration.package_index.url or not case.spec.dependencies.requirements:
        return None
    message = f"spec.dependencies.requirements names {case.spec.dependencies.requirements[0]!r}, but this installation has no package index"
    hint = "put the package into spec.dependencies.archive, or ask an admin to set packageIndex.url of the chart"
    return Over(verdict(Reason.INVALID_SPEC, message, hint))


def over_maximum(case: Case) -> Over | None:
    """Fail a job that asks for more than an admin lets one job have, before it has begun; one that has, goes on as it was admitted."""
    every = [case.wanted_of(each) for each in case.current.replicas]
    found = [] if _has_begun(case) else list(exceeded(every, case.configuration.maxima))
    if not found:
        return None
    hint = "ask for less, or ask an admin to raise it; then create the job again"
    return Over(verdict(Reason.INVALID_SPEC, "; ".join(found), hint))


def not_allowed_to_schedule(case: Case) -> Over | None:
    """Fail a job that asks for nodes, or for a priority, that no admin allows jobs, before it has begun; one that has, goes on."""
    found = [] if _has_begun(case) else list(not_allowed(case.wanted, case.size, case.configuration))
    if not found:
        return None
    hint = "leave it out, or ask an admin to allow it; then create the job again"
    return Over(verdict(Reason.INVALID_SPEC, "; ".join(found), hint))


def _has_begun(case: Case) -> bool:
    return case.history.upcoming.number > 0 or case.current.existed


def name_taken(case: Case) -> Finding | Over | None:
    """Never adopt a pod that is not ours, whatever it claims: only the owner's uid counts."""
    wanted = {each.name for each in case.history.missing}
    other = next((pod for pod in case.observed.pods if pod.name in wanted and pod.owner_uid != case.job.uid), None)
    if other is None:
        return None
    name = other.name
    patience = case.job.created_at + PREDECESSOR_SECONDS
    if other.deleted_at is not None:
        return _predecessor_ends(case, name, case.now + PREDECESSOR_SECONDS)
    if other.owner_uid and case.now < patience:
        return _predecessor_ends(case, name, patience)
    message = f"pod {name} exists already in namespace {case.job.key.namespace} and does not belong to this job"
    found = verdict(Reason.NAME_CONFLICT, message, "delete that pod, then create the job again", pod=name)
    return Over(found, deletions=case.history.deletions())


def check_failed(case: Case) -> Over | None:
    """End a job now whose check has found, while it waits for a place, what its start would end it with."""
    found = checking.failed(case)
    return Over(found, ended_at=case.now, deletions=case.history.deletions()) if found is not None else None


def _predecessor_ends(case: Case, name: str, look_again_at: float) -> Finding | Over:
    wait = Pending("PredecessorEnding", f"pod {name} of an earlier job of this name is still ending; this job starts when it is gone")
    if case.now >= case.pending_until:
        return Over(overdue(case, wait.message), deletions=case.history.deletions())
    soon = min(look_again_at, case.pending_until)
    return waits(case, wait, case.history.upcoming, case.job.created_at + PASSING_SECONDS, soon)
