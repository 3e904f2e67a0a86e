"""Which Workload of Kueue is an attempt's place in its queue, whether the attempt has it now, and what it demands of the pods."""

from __future__ import annotations

from dataclasses import replace

from tftraining_operator.core import names
from tftraining_operator.core.effective import Effective
from tftraining_operator.core.records import Condition, Observed, Place, WorkloadRecord


def of_attempt(observed: Observed, number: int) -> WorkloadRecord | None:
    """Return the Workload that the job owns for an attempt; one of that name that is another's counts as none."""
    job, found = observed.job, observed.queueing.workloads if observed.queueing is not None else ()
    if not found:
        return None
    name = names.workload_name(job.key.name, job.uid, number)
    return next((each for each in found if each.name == name and each.owner_uid == job.uid and not each.deleted), None)


def is_taken(workload: WorkloadRecord | None) -> bool:
    """Tell whether a Workload gives an attempt its place now."""
    return workload is not None and workload.holds("Admitted") and not workload.holds("Evicted") and not workload.holds("Finished")


def evicted(observed: Observed, number: int) -> Condition | None:
    """Return the condition by which an attempt's place is taken back, None where it is not, or nobody knows."""
    found = of_attempt(observed, number)
    return found.condition("Evicted") if found is not None and found.holds("Evicted") else None


def unknown_flavors(observed: Observed, workload: WorkloadRecord) -> set[str]:
    """Return the flavors of a Workload of which nobody has read yet what they demand."""
    known = observed.queueing.flavors if observed.queueing is not None else {}
    return {flavor for flavors in workload.flavors.values() for flavor in flavors} - known.keys()


def with_place(wanted: Effective, observed: Observed, workload: WorkloadRecord | None) -> Effective:
    """Return what a replica gets, with what its place in the queue demands of nodes: that goes before what the job says."""
    if workload is None or observed.queueing is None:
        return wanted
    known = observed.queueing.flavors
    demands = [known[flavor] for flavor in workload.flavors.get(wanted.role, ()) if flavor in known]
    demands += [workload.updates[wanted.role]] if wanted.role in workload.updates else []
    place = Place()
    for each in demands:
        place = Place(
            {**place.node_selector, **each.node_selector},
            (*place.tolerations, *each.tolerations),
            {**place.labels, **each.labels},
            {**place.annotations, **each.annotations},
        )
    selector, tolerations = {**wanted.node_selector, **place.node_selector}, (*wanted.tolerations, *place.tolerations)
    return replace(wanted, node_selector=selector, tolerations=tuple(dict.fromkeys(tolerations)), place=place)
