"""What a job waits for in its queue, in the words of its user: by what Kueue says of the job's Workload, with its own numbers."""

from __future__ import annotations

import re
from typing import Final

from tftraining_operator.core import names, places, workloads
from tftraining_operator.core.case import Case
from tftraining_operator.core.pending import Pending, short
from tftraining_operator.core.records import WorkloadRecord

SILENT_SECONDS: Final = 10.0
"""How long Kueue may take to say something of a new Workload: it takes milliseconds where it runs."""
_LARGER: Final = re.compile(
    r"insufficient quota for (?P<resource>\S{1,253}) in flavor (?P<flavor>[^\s,]{1,253}), .{0,200}?"
    r"current podset request \((?P<asked>[^)]{1,64})\) > maximum capacity \((?P<most>[^)]{1,64})\)"
)
_MISSING: Final = re.compile(r"insufficient unused quota for (\S{1,253}) in flavor ([^\s,]{1,253}), (\S{1,64}) more needed")
_PREEMPTS: Final = re.compile(r"Pending the preemption of (\d{1,9}) workload")
_STARTS: Final = "it starts by itself"
_INADMISSIBLE: Final = (
    (
        r"LocalQueue \S+ doesn't exist",
        "QueueNotFound",
        "the queue {queue}, which spec.scheduling.queue names, does not exist in namespace {namespace}: ask an admin which there are, or "
        "to create it; " + _STARTS + " when it is there",
    ),
    (
        r"ClusterQueue (\S+) (?:doesn't exist|not found)",
        "QueueNotFound",
        "the ClusterQueue behind the queue {queue} does not exist ({said}): an admin has to create it; " + _STARTS + " when it is there",
    ),
    (
        r"is inactive",
        "QueueInactive",
        "the queue {queue} takes nobody now ({said}): an admin has stopped it, or something that it needs is missing; "
        + _STARTS
        + " when it goes on",
    ),
    (
        r"namespace doesn't match",
        "QueueNotForNamespace",
        "the ClusterQueue behind the queue {queue} is not for namespace {namespace} ({said}): ask an admin for a queue that is",
    ),
)
"""What Kueue says of Workloads that it cannot admit at all, by the first pattern that its words match."""


def away(case: Case) -> Pending | None:
    """Return what a job waits for that names a queue where there are none to be had, None where there are."""
    queue, queueing = case.spec.scheduling.queue, case.observed.queueing
    what = f"the job names the queue {queue} (spec.scheduling.queue), but"
    if not case.configuration.kueue.enabled:
        hint = "an admin has to set kueue.enabled of the chart; without a queue the job can be created again"
        return Pending("QueuesDisabled", f"{what} this installation has no queues switched on: {hint}")
    if queueing is not None and queueing.away:
        return Pending("QueuesUnavailable", f"{what} {queueing.away}; {_STARTS} when that is there")
    return None


def refused(case: Case) -> Pending | None:
    """Return why a job has no Workload though there are queues, None where nothing is known to stand in the way."""
    queueing = case.observed.queueing
    name = case.spec.scheduling.priority_class_name
    if queueing is None:
        return None
    wanted = names.workload_name(case.job.key.name, case.job.uid, case.history.upcoming.number)
    if any(each.name == wanted and each.owner_uid != case.job.uid for each in queueing.workloads):
        return Pending("WorkloadNameTaken", f"the Workload {wanted} exists already and does not belong to this job: delete it")
    if queueing.refusal:
        return Pending(
            "QueueNotReachable",
            f"Kueue cannot be asked for a place in the queue {case.spec.scheduling.queue}: {short(queueing.refusal)}; it is tried again "
            "every few seconds, and if it stays so, an admin has to see whether Kueue's controller runs",
            restless=True,
        )
    if workloads.known_priorities(case) is None and queueing.priorities is not None:
        return Pending(
            "PriorityClassNotFound",
            f"the PriorityClass {name}, which spec.scheduling.priorityClassName names, does not exist: an admin has to create it, or take "
            "it out of scheduling.allowedPriorityClasses of the chart",
        )
    return None


def wait(case: Case, workload: WorkloadRecord) -> Pending:
    """Return what a job waits for whose Workload has no place yet."""
    queue, name = case.spec.scheduling.queue, workload.name
    reserved = workload.condition("QuotaReserved")
    if places.is_taken(workload):
        missing = ", ".join(sorted(places.unknown_flavors(case.observed, workload)))
        return Pending(
            "FlavorUnknown", f"the queue {queue} has given the job a place, but what its ResourceFlavor demands cannot be read: {missing}"
        )
    if workload.holds("Finished"):
        return Pending("WorkloadFinished", f"the Workload {name} of this attempt was marked as finished by somebody else: delete it")
    if not workload.active:
        return Pending(
            "WorkloadInactive",
            f"somebody has taken the job out of the queue {queue} (spec.active of Workload {name} is false): {_STARTS} when an admin sets "
            "it to true",
        )
    if workload.holds("Evicted") and reserved.status == "True":
        return Pending("Queued", f"the job waits in the queue {queue}, which has taken its place back before it had a pod")
    if reserved.status == "True":
        told = f": {', '.join(workload.checks)}" if workload.checks else ""
        return Pending(
            "AdmissionChecks", f"the queue {queue} has room for the job, which waits for its admission checks{told}", restless=True
        )
    if reserved.status != "False":
        if case.now < workload.created_at + SILENT_SECONDS:
            return Pending("Queued", f"the job waits in the queue {queue}")
        return Pending(
            "QueueSilent",
            f"Kueue has not said anything of the job's Workload {name} yet: an admin has to see whether its controller runs; {_STARTS} "
            "when it does",
        )
    return _by_words(case, reserved.message)


def _by_words(case: Case, message: str) -> Pending:
    queue, said = case.spec.scheduling.queue, short(message)
    values = {"queue": queue, "namespace": case.job.key.namespace, "said": said}
    for pattern, reason, words in _INADMISSIBLE:
        if re.search(pattern, message):
            return Pending(reason, words.format(**values))
    if (preempts := _PREEMPTS.search(message)) is not None:
        return Pending(
            "QueuePreempting",
            f"the queue {queue} takes back the places of {preempts[1]} others for the job: {_STARTS} when they have ended",
        )
    missing = [f"{more} more of {resource} in flavor {flavor}" for resource, flavor, more in _MISSING.findall(message)]
    if missing:
        return Pending(
            "QueueFull",
            f"the queue {queue} has no room now: the job needs {_either(missing)} ({_demand(case)}); {_STARTS} when others have ended",
            restless=True,
        )
    larger = [
        f"it asks for {found['asked']} of {found['resource']}, and flavor {found['flavor']} has {found['most']}"
        for found in _LARGER.finditer(message)
    ]
    if larger:
        return Pending(
            "LargerThanQueue",
            f"the job is larger than the queue {queue} ever has: {_either(larger)} ({_demand(case)}); create the job again with less, or "
            "ask an admin for more quota",
        )
    return Pending("QueueRefuses", f"the queue {queue} does not take the job now: {said or 'Kueue gives no reason'}", restless=True)


def _either(words: list[str]) -> str:
    return " or ".join(dict.fromkeys(words))


def _demand(case: Case) -> str:
    """Return what is asked for by the job itself: the sum has the pods' other containers in it."""
    replicas = case.history.upcoming.replicas
    roles = {each.role: [other for other in replicas if other.role == each.role] for each in replicas}
    told = []
    for role, of_role in roles.items():
        wanted = case.wanted_of(of_role[0])
        devices = "".join(f", {count} of {name}" for name, count in wanted.devices.items())
        count = f"{len(of_role)} times " if len(of_role) > 1 else ""
        told.append(f"{f'{role} ' if len(roles) > 1 else ''}{count}cpu {wanted.cpu}, memory {wanted.memory}{devices}")
    return f"{'; '.join(told)}, and what the publisher beside each script takes"
