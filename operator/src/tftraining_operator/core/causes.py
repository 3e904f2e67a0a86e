"""Why a run failed: from container states, pod conditions, exit codes and reports to one reason, one cause and a hint.

Evidence of the cluster goes before what a container says of itself, and a report is believed only within its own competence: code of
a user runs beside the trainer's report, so that no report of it can claim to have been preempted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from tftrainer.messages.contract import (
    FETCH,
    OF_OUTPUTS,
    PUBLISHER,
    TRAINER,
    USAGE_ERROR,
    Cause,
    Failure,
    FetchReport,
    PublishReport,
    Reason,
    RunReport,
)

from tftraining_operator.api.spec import Budget
from tftraining_operator.core import names
from tftraining_operator.core.effective import SIDE_VOLUMES, Effective, newer_fields
from tftraining_operator.core.observe import FORGOTTEN
from tftraining_operator.core.reasons import REASONS
from tftraining_operator.core.records import ContainerRecord, PodRecord
from tftraining_operator.core.reports import published, report

NOT_STARTED: Final = frozenset({"StartError", "ContainerCannotRun", "CreateContainerError", "RunContainerError"})
"""Reasons with which a kubelet gives up starting a container."""

_OWN_END: Final = frozenset({Reason.SCRIPT_RAISED, Reason.SCRIPT_EXITED, Reason.SCRIPT_CRASHED, Reason.SYNTAX_ERROR, Reason.IMPORT_MISSING})
"""Ends that a script comes to by itself."""
_RUN_MAY_SAY: Final = _OWN_END | {
    Reason.SCRIPT_KILLED,
    Reason.OUT_OF_MEMORY,
    Reason.WORKSPACE_FULL,
    Reason.SCRIPT_HUNG,
    Reason.DEADLINE_EXCEEDED,
    Reason.PEERS_MISSING,
    Reason.TERMINATED,
    Reason.TRAINER_ERROR,
}
_CLUSTER_ONLY: Final = frozenset(
    {
        Reason.POD_DELETED,
        Reason.EVICTED,
        Reason.PREEMPTED,
        Reason.NODE_LOST,
        Reason.PEER_LOST,
        Reason.NAME_CONFLICT,
        Reason.PENDING_DEADLINE_EXCEEDED,
        Reason.UNKNOWN_RUNTIME,
        Reason.UNKNOWN_RESOURCE_CLASS,
    }
)
_SIGNALS: Final = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    15: "SIGTERM",
}
_CRASHES: Final = frozenset({4, 6, 7, 8, 11})
_DISRUPTIONS: Final = {
    "PreemptionByScheduler": (Reason.PREEMPTED, "a pod of higher priority took its place"),
    "EvictionByEvictionAPI": (Reason.EVICTED, "it was evicted, as when a node is drained"),
    "DeletionByTaintManager": (Reason.NODE_LOST, "its node was lost or tainted"),
    "DeletionByPodGC": (Reason.NODE_LOST, "its node no longer exists"),
    "WorkloadEvictedDueToPreempted": (Reason.PREEMPTED, "a workload of higher priority took its place in the queue"),
}
RUN_AGAIN: Final = "the job itself is not at fault: create it again"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a run failed. `exit_code` is that of the script, None where it did not run.

    `own_signal` tells of a script that was killed that it, or what it started, has sent the signal: another attempt would do the same.
    """

    failure: Failure
    exit_code: int | None = None
    pod: str = ""
    own_signal: bool = False

    @property
    def budget(self) -> Budget | None:
        """What another attempt is taken from, None where none follows."""
        return Budget.USER_ERROR if self.own_signal else REASONS[self.failure.reason].budget

    @property
    def cause(self) -> Cause:
        """The kind of failure that it is."""
        return REASONS[self.failure.reason].cause


def verdict(reason: Reason, message: str, hint: str = "", *, exit_code: int | None = None, pod: str = "") -> Verdict:
    """Return a verdict of the operator's own, its texts bounded."""
    return Verdict(Failure(reason=reason, message=message[:1024], hint=hint[:1024]), exit_code, pod)


def failed(pod: PodRecord, wanted: Effective) -> Verdict:
    """Return why the pod, which has ended without success, failed: by the first evidence that says anything. Never raises."""
    for judge in _EVIDENCE:
        found = judge(pod, wanted)
        if found is not None:
            return replace(found, exit_code=_of_script(pod), pod=pod.name)
    return verdict(
        Reason.UNKNOWN,
        f"pod {pod.name} ended in phase {pod.phase} and nothing says why{_said(pod)}",
        f"look at kubectl describe pod {pod.name}",
        pod=pod.name,
    )


def _of_script(pod: PodRecord) -> int | None:
    """Return the exit code of the script, None where it did not run or nobody knows."""
    trainer = pod.container(TRAINER)
    return trainer.exit_code if trainer is not None and trainer.reason not in NOT_STARTED else None


def _script_ended_by_itself(pod: PodRecord, _: Effective) -> Verdict | None:
    """Blame a script that raised or exited, also if its pod was disrupted afterwards.

    The kubelet calls a container OOMKilled in which any process was killed for want of memory, however long before its end: a launcher
    that lives to say how the script ended has counted that.
    """
    trainer = pod.container(TRAINER)
    if trainer is None:
        return None
    told = _told(trainer)
    return Verdict(told) if told is not None and told.reason in _OWN_END else None


def _outputs_were_judged(pod: PodRecord, _: Effective) -> Verdict | None:
    """Let a judgement stand that lies in the bucket with its manifest, also if the pod was disrupted afterwards, as with a success."""
    trainer, publisher = pod.container(TRAINER), pod.container(PUBLISHER)
    if trainer is None or trainer.exit_code != 0 or publisher is None:
        return None
    told = published(pod, pod.key.namespace, pod.key.name, pod.owner_uid)
    if told is None or told.failure is None or told.failure.reason not in OF_OUTPUTS:
        return None
    return Verdict(told.failure)


def _space_ran_out(pod: PodRecord, wanted: Effective) -> Verdict | None:
    """Tell a full volume from a full node: a kubelet evicts for both alike, and only its message says which."""
    text = f"{pod.message} {_disruption(pod)[1]}"
    if (own := next((name for name in SIDE_VOLUMES if f'"{name}"' in text), None)) is not None:
        return verdict(Reason.TRAINER_ERROR, f"the pod's own volume {own} is full: {text.strip()}", "report this with the job's manifest")
    if "emptydir volume" not in text.lower() and "local storage" not in text.lower() and "ephemeral storage" not in text.lower():
        return None
    if '"shm"' in text:
        field, value = "sharedMemory", wanted.shared_memory
        reason = Reason.OUT_OF_MEMORY
    else:
        field, value = "workspace", wanted.workspace
        reason = Reason.WORKSPACE_FULL
    return verdict(
        reason,
        f"the run wrote more than {wanted.field(field)} ({value}) allows: {text.strip()}",
        f"{wanted.more(field)}, or let the script write less",
    )


def _disrupted(pod: PodRecord, _: Effective) -> Verdict | None:
    """Read what took the pod away from its condition DisruptionTarget."""
    reason, message = _disruption(pod)
    if not reason:
        return None
    if reason == "TerminationByKubelet":
        return verdict(Reason.EVICTED, f"the node ended pod {pod.name}: {message or pod.message}", RUN_AGAIN)
    known, words = _DISRUPTIONS.get(reason, (Reason.EVICTED, f"it was disrupted ({reason})"))
    return verdict(known, f"pod {pod.name} was taken away: {words}{_detail(message)}", RUN_AGAIN)


def _ended_by_node(pod: PodRecord, _: Effective) -> Verdict | None:
    """Read the pod's own reason, where a kubelet says that it evicts, shuts down or refuses a pod."""
    if not pod.reason or pod.reason in {"Completed", "Error", "OOMKilled"}:
        return None
    if pod.reason == "DeadlineExceeded":
        return verdict(
            Reason.DEADLINE_EXCEEDED,
            f"pod {pod.name} was active for longer than its own deadline, which somebody has put on it{_detail(pod.message)}",
            "ask an admin which admission policy limits the time of pods; spec.activeDeadlineSeconds is not kept by that",
        )
    if pod.reason == "NodeLost":
        return verdict(Reason.NODE_LOST, f"the node {pod.node} of pod {pod.name} was lost", RUN_AGAIN)
    if pod.reason in {"Evicted", "Preempting", "NodeShutdown", "Terminated", "Shutdown"}:
        return verdict(Reason.EVICTED, f"the node ended pod {pod.name} ({pod.reason}){_detail(pod.message)}", RUN_AGAIN)
    if not any(container.state == "terminated" for container in pod.containers):
        return verdict(
            Reason.CONTAINER_NOT_STARTED,
            f"node {pod.node or 'unknown'} refused pod {pod.name} ({pod.reason}){_detail(pod.message)}",
            "create the job again; if it stays so, an admin has to look at the node",
        )
    return None


def _forgotten_by_node(pod: PodRecord, _: Effective) -> Verdict | None:
    """Say that nobody knows how a container has ended which the kubelet did not find any more, instead of believing what it made up."""
    lost = [container.name for container in pod.containers if container.state == "terminated" and container.reason == FORGOTTEN]
    if not lost or pod.deleted_at is not None:
        return None
    return verdict(
        Reason.NODE_LOST,
        f"node {pod.node or 'unknown'} has lost container {lost[0]} of pod {pod.name}, so that nobody knows how it ended, as when a node "
        "starts anew",
        RUN_AGAIN,
    )


def _fetch_failed(pod: PodRecord, wanted: Effective) -> Verdict | None:
    """Take what fetch says for the whole story: without code and data the script never starts."""
    fetch = pod.container(FETCH)
    if fetch is None or fetch.state != "terminated" or fetch.exit_code == 0:
        return None
    if _killed_for_memory(fetch):
        return verdict(
            Reason.TRAINER_ERROR,
            "fetching took more memory than its container has",
            "report this with the job's manifest",
        )
    told = report(fetch, FetchReport)
    failure = told.failure if told is not None else None
    if pod.deleted_at is not None and (_deliberate(fetch) or (failure is not None and failure.reason is Reason.TERMINATED)):
        return deleted(pod.name)
    if failure is not None and failure.reason not in _CLUSTER_ONLY:
        return Verdict(failure)
    return _not_started(fetch) or _older_image(fetch, wanted) or _broke(fetch, pod, "fetching code and data")


def _deleted_from_outside(pod: PodRecord, _: Effective) -> Verdict | None:
    """Excuse a script whose pod somebody deleted: it was stopped as by SIGTERM."""
    if pod.deleted_at is None:
        return None
    trainer, publisher = pod.container(TRAINER), pod.container(PUBLISHER)
    told = _told(trainer) if trainer is not None else None
    if trainer is not None and trainer.exit_code == 0 and report(publisher, PublishReport) is None:
        return deleted(pod.name)
    if told is not None:
        stopped = told.reason in {Reason.TERMINATED, Reason.SCRIPT_KILLED}
    else:
        stopped = trainer is None or trainer.state != "terminated" or _deliberate(trainer)
    return deleted(pod.name) if stopped else None


def _trainer_failed(pod: PodRecord, wanted: Effective) -> Verdict | None:
    """Put what the kubelet saw before the launcher's own report, and that before the bare exit code."""
    trainer = pod.container(TRAINER)
    if trainer is None or trainer.state != "terminated" or trainer.exit_code == 0:
        return None
    told = _told(trainer)
    if _killed_for_memory(trainer):
        return _out_of_memory(wanted, told)
    if told is None:
        return _not_started(trainer) or by_exit_code(trainer.exit_code)
    if told.reason is Reason.OUT_OF_MEMORY:
        return _out_of_memory(wanted, told)
    if told.reason is Reason.WORKSPACE_FULL and not told.hint:
        return verdict(
            told.reason,
            told.message,
            f"{wanted.more('workspace')} ({wanted.workspace}), or let the script write less",
        )
    if told.reason is Reason.DEADLINE_EXCEEDED and (wanted.ran_seconds or wanted.bounded):
        # The launcher knows what was left for its attempt, and nothing of those before, nor who has set the bound.
        message = f"{told.message} That was all of {wanted.active_words}."[:1024]
        return Verdict(msgspec.structs.replace(told, message=message, hint=wanted.more_time if wanted.bounded else told.hint))
    # A launcher that lives to say so has seen no signal from outside its container.
    return Verdict(told, own_signal=told.reason is Reason.SCRIPT_KILLED)


def _publisher_failed(pod: PodRecord, wanted: Effective) -> Verdict | None:
    """Fail a run whose outputs are not in the bucket, however well the script ended."""
    publisher = pod.container(PUBLISHER)
    if publisher is None or publisher.state != "terminated":
        return None
    told = report(publisher, PublishReport)
    if told is not None and told.failure is not None and told.failure.reason not in _CLUSTER_ONLY:
        return Verdict(told.failure)
    if _killed_for_memory(publisher) and wanted.spec.model is not None:
        return verdict(
            Reason.PUBLISH_FAILED,
            f"the script ended, but loading its model, which spec.model asks for, took more memory than {wanted.field('memory')} "
            f"({wanted.memory}) gives it",
            f"{wanted.more('memory')}; the outputs are in the bucket, without a manifest",
        )
    if _killed_for_memory(publisher):
        why = "publishing took more memory than its container has"
    else:
        why = f"publishing ended with exit code {publisher.exit_code} and without a manifest"
    return verdict(
        Reason.PUBLISH_FAILED,
        f"the script ended, but {why}",
        f"look at kubectl logs {pod.name} -c {PUBLISHER}",
    )


_EVIDENCE: Final[tuple[Callable[[PodRecord, Effective], Verdict | None], ...]] = (
    _script_ended_by_itself,
    _outputs_were_judged,
    _space_ran_out,
    _disrupted,
    _ended_by_node,
    _forgotten_by_node,
    _fetch_failed,
    _deleted_from_outside,
    _trainer_failed,
    _publisher_failed,
)


def by_exit_code(code: int | None) -> Verdict:
    """Return the verdict on a script of which nothing but the exit code is known."""
    if code is None or not 0 < code <= 255:
        return verdict(Reason.UNKNOWN, f"the script ended and its exit code is unknown ({code})", "look at the log")
    number = code - 128
    if number == 15:
        return verdict(Reason.TERMINATED, "the script was told to stop from outside (exit code 143, SIGTERM)", RUN_AGAIN)
    if 0 < number <= 64:
        signal = _SIGNALS.get(number, f"signal {number}")
        if number in _CRASHES:
            return verdict(
                Reason.SCRIPT_CRASHED,
                f"the script crashed in native code ({signal}, exit code {code})",
                "look at the end of the log",
            )
        return verdict(
            Reason.SCRIPT_KILLED,
            f"the script was killed by {signal} (exit code {code}); nothing says by whom",
            "look at the end of the log",
        )
    return verdict(Reason.SCRIPT_EXITED, f"the script ended with exit code {code}", "look at the end of the log")


def vanished(last: PodRecord, wanted: Effective, now: float) -> Verdict:
    """Return the verdict on a pod that is gone, by what it was when it was last seen."""
    found = failed(replace(last, deleted_at=last.deleted_at or now), wanted)
    if found.failure.reason in {Reason.UNKNOWN, Reason.POD_DELETED}:
        # Where nobody saw it being told to go: to a watch, a pod that loses its label looks like one that is deleted at once.
        return deleted(last.name, f" or lost its label {names.JOB_UID}" if last.deleted_at is None else "")
    return found


def deleted(pod_name: str, otherwise: str = "") -> Verdict:
    """Return the verdict on a pod that somebody deleted before it had ended; `otherwise` is what else may have happened to it."""
    return verdict(
        Reason.POD_DELETED,
        f"pod {pod_name} was deleted by somebody else{otherwise} before the job had ended",
        "create the job again; to stop a job, set spec.stop or spec.suspend, or delete the job itself",
        pod=pod_name,
    )


def _told(trainer: ContainerRecord) -> Failure | None:
    told = report(trainer, RunReport)
    if told is None or told.failure is None or trainer.exit_code in {0, None} or told.exit_code != trainer.exit_code:
        return None
    return told.failure if told.failure.reason in _RUN_MAY_SAY else None


def _killed_for_memory(container: ContainerRecord) -> bool:
    return container.state == "terminated" and container.reason == "OOMKilled"


def _deliberate(container: ContainerRecord) -> bool:
    """Tell whether the container ended as one does that is stopped: by SIGTERM, SIGKILL, or without a trace."""
    return container.exit_code in {None, 130, 137, 143}


def _out_of_memory(wanted: Effective, told: Failure | None) -> Verdict:
    message = f"the script needed more memory than {wanted.field('memory')} ({wanted.memory}) gives it"
    hint = f"{wanted.more('memory')}, or let the script use less: a smaller batch, fewer worker processes, data read in pieces"
    if told is None or told.reason is not Reason.OUT_OF_MEMORY:
        return verdict(Reason.OUT_OF_MEMORY, message, hint)
    return Verdict(msgspec.structs.replace(told, message=f"{message}. {told.message}"[:1024], hint=hint))


def _not_started(container: ContainerRecord) -> Verdict | None:
    if container.reason not in NOT_STARTED:
        return None
    return verdict(
        Reason.CONTAINER_NOT_STARTED,
        f"container {container.name} could not be started ({container.reason}){_detail(container.message)}",
        "the runtime's image does not fit: an admin has to look at the runtime catalogue",
    )


def _older_image(fetch: ContainerRecord, wanted: Effective) -> Verdict | None:
    """Tell that the image refuses what it was asked, because the operator is newer: they are installed apart."""
    fields = newer_fields(wanted.spec)
    if fetch.exit_code != USAGE_ERROR or fetch.message or not fields:
        return None
    return verdict(
        Reason.IMAGE_UNAVAILABLE,
        f"the image {wanted.runtime.image} of the runtime {wanted.runtime_name} is older than the operator, "
        f"and does not know {fields[0].field}",
        f"an admin has to update runtimes.{wanted.runtime_name}.image of the chart; then create the job again",
    )


def _broke(container: ContainerRecord, pod: PodRecord, doing: str) -> Verdict:
    return verdict(
        Reason.TRAINER_ERROR,
        f"{doing} ended with exit code {container.exit_code} and without a report",
        f"look at kubectl logs {pod.name} -c {container.name}",
    )


def _disruption(pod: PodRecord) -> tuple[str, str]:
    # The second is a queue's (Kueue), which ends a pod without the first.
    found = next((each for kind in ("DisruptionTarget", "TerminationTarget") if (each := pod.condition(kind)).status == "True"), None)
    return (found.reason or "unknown", found.message) if found is not None else ("", "")


def _detail(text: str) -> str:
    cleaned = " ".join(text.split())
    return f": {cleaned[:600]}" if cleaned else ""


def _said(pod: PodRecord) -> str:
    return _detail(f"{pod.reason} {pod.message}")
