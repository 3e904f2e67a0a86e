"""Why a run failed: from container states, pod conditions, exit codes and reports to one reason, one cause and a hint.

Evidence of the cluster goes before what a container says of itself, and a report is believed only within its own competence: code of
a user runs beside the trainer's report, so that no report of it can claim to have been preempted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from tftrainer.contract import (
    FETCH,
    PUBLISHER,
    TRAINER,
    Cause,
    ContractError,
    Failure,
    FetchReport,
    PublishReport,
    Reason,
    RunReport,
    decode_report,
    run_prefix,
)

from tftraining_operator.core.build import Effective
from tftraining_operator.core.records import ContainerRecord, PodRecord

CAUSES: Final[Mapping[Reason, Cause]] = {
    Reason.SCRIPT_RAISED: Cause.USER_ERROR,
    Reason.SCRIPT_EXITED: Cause.USER_ERROR,
    Reason.SCRIPT_CRASHED: Cause.USER_ERROR,
    Reason.SCRIPT_KILLED: Cause.UNKNOWN,
    Reason.SYNTAX_ERROR: Cause.USER_ERROR,
    Reason.IMPORT_MISSING: Cause.USER_ERROR,
    Reason.INVALID_ARGUMENTS: Cause.USER_ERROR,
    Reason.CODE_CHANGED: Cause.USER_ERROR,
    Reason.INVALID_SPEC: Cause.SPEC,
    Reason.UNKNOWN_RUNTIME: Cause.SPEC,
    Reason.OBJECT_NOT_FOUND: Cause.USER_ERROR,
    Reason.INPUT_TOO_LARGE: Cause.USER_ERROR,
    Reason.INPUT_CONFLICT: Cause.USER_ERROR,
    Reason.INVALID_ARCHIVE: Cause.USER_ERROR,
    Reason.DIGEST_MISMATCH: Cause.USER_ERROR,
    Reason.REQUIREMENTS_UNSATISFIABLE: Cause.USER_ERROR,
    Reason.PACKAGE_INDEX_UNAVAILABLE: Cause.INFRASTRUCTURE,
    Reason.OUT_OF_MEMORY: Cause.OUT_OF_MEMORY,
    Reason.WORKSPACE_FULL: Cause.USER_ERROR,
    Reason.DEADLINE_EXCEEDED: Cause.DEADLINE,
    Reason.PENDING_DEADLINE_EXCEEDED: Cause.DEADLINE,
    Reason.STORAGE_DENIED: Cause.STORAGE,
    Reason.BUCKET_NOT_FOUND: Cause.STORAGE,
    Reason.STORAGE_UNAVAILABLE: Cause.STORAGE,
    Reason.STORAGE_MISCONFIGURED: Cause.STORAGE,
    Reason.PUBLISH_FAILED: Cause.PUBLISH,
    Reason.MODEL_MISSING: Cause.USER_ERROR,
    Reason.MODEL_UNLOADABLE: Cause.USER_ERROR,
    Reason.TERMINATED: Cause.INFRASTRUCTURE,
    Reason.POD_DELETED: Cause.INFRASTRUCTURE,
    Reason.EVICTED: Cause.INFRASTRUCTURE,
    Reason.PREEMPTED: Cause.PREEMPTION,
    Reason.NODE_LOST: Cause.INFRASTRUCTURE,
    Reason.IMAGE_UNAVAILABLE: Cause.IMAGE,
    Reason.CONTAINER_NOT_STARTED: Cause.INFRASTRUCTURE,
    Reason.NAME_CONFLICT: Cause.SPEC,
    Reason.TRAINER_ERROR: Cause.INFRASTRUCTURE,
    Reason.UNKNOWN: Cause.UNKNOWN,
}
"""The budget that a retry of each reason is taken from."""

NOT_STARTED: Final = frozenset({"StartError", "ContainerCannotRun", "CreateContainerError", "RunContainerError"})
"""Reasons with which a kubelet gives up starting a container."""

_OWN_END: Final = frozenset({Reason.SCRIPT_RAISED, Reason.SCRIPT_EXITED, Reason.SCRIPT_CRASHED, Reason.SYNTAX_ERROR, Reason.IMPORT_MISSING})
"""Ends that a script comes to by itself."""
_RUN_MAY_SAY: Final = _OWN_END | {
    Reason.SCRIPT_KILLED,
    Reason.OUT_OF_MEMORY,
    Reason.WORKSPACE_FULL,
    Reason.DEADLINE_EXCEEDED,
    Reason.TERMINATED,
    Reason.TRAINER_ERROR,
}
_CLUSTER_ONLY: Final = frozenset(
    {
        Reason.POD_DELETED,
        Reason.EVICTED,
        Reason.PREEMPTED,
        Reason.NODE_LOST,
        Reason.NAME_CONFLICT,
        Reason.PENDING_DEADLINE_EXCEEDED,
        Reason.UNKNOWN_RUNTIME,
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
}
_RUN_AGAIN: Final = "the job itself is not at fault: create it again"

ReportT = TypeVar("ReportT", FetchReport, RunReport, PublishReport)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a run failed. `exit_code` is that of the container that failed, None where none did."""

    failure: Failure
    exit_code: int | None = None
    pod: str = ""

    @property
    def cause(self) -> Cause:
        """The budget that a retry would be taken from."""
        return CAUSES[self.failure.reason]


def verdict(reason: Reason, message: str, hint: str = "", *, exit_code: int | None = None, pod: str = "") -> Verdict:
    """Return a verdict of the operator's own, its texts bounded."""
    return Verdict(Failure(reason=reason, message=message[:1024], hint=hint[:1024]), exit_code, pod)


def report(container: ContainerRecord | None, kind: type[ReportT]) -> ReportT | None:
    """Return what a terminated container left as its last word, None where that is nothing, or not what it should be."""
    if container is None or container.state != "terminated" or not container.message:
        return None
    try:
        return decode_report(container.message, kind)
    except ContractError:
        return None


def published(pod: PodRecord, namespace: str, job: str, uid: str) -> PublishReport | None:
    """Return the publisher's report if it says that this very attempt's manifest lies in the bucket, None otherwise."""
    final = report(pod.container(PUBLISHER), PublishReport)
    place = run_prefix(namespace, job, uid, pod.attempt)
    return final if final is not None and f"/{place}" in f"/{final.manifest_uri}" else None


def failed(pod: PodRecord, wanted: Effective) -> Verdict:
    """Return why the pod, which has ended without success, failed: the first rule that knows an answer. Never raises."""
    for rule in RULES:
        found = rule(pod, wanted)
        if found is not None:
            return Verdict(found.failure, found.exit_code, pod.name)
    return verdict(
        Reason.UNKNOWN,
        f"pod {pod.name} ended in phase {pod.phase} and nothing says why{_said(pod)}",
        f"look at kubectl describe pod {pod.name}",
        pod=pod.name,
    )


def _script_ended_by_itself(pod: PodRecord, _: Effective) -> Verdict | None:
    """Blame a script that raised or exited, also if its pod was disrupted afterwards."""
    trainer = pod.container(TRAINER)
    if trainer is None or _killed_for_memory(trainer):
        return None
    told = _told(trainer)
    return Verdict(told, trainer.exit_code) if told is not None and told.reason in _OWN_END else None


def _space_ran_out(pod: PodRecord, wanted: Effective) -> Verdict | None:
    """Tell a full volume from a full node: a kubelet evicts for both alike, and only its message says which."""
    text = f"{pod.message} {_disruption(pod)[1]}"
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
        f"the run wrote more than spec.resources.{field} ({value}) allows: {text.strip()}",
        f"raise spec.resources.{field}, or let the script write less",
    )


def _disrupted(pod: PodRecord, _: Effective) -> Verdict | None:
    """Read what took the pod away from its condition DisruptionTarget."""
    reason, message = _disruption(pod)
    if not reason:
        return None
    if reason == "TerminationByKubelet":
        return verdict(Reason.EVICTED, f"the node ended pod {pod.name}: {message or pod.message}", _RUN_AGAIN)
    known, words = _DISRUPTIONS.get(reason, (Reason.EVICTED, f"it was disrupted ({reason})"))
    return verdict(known, f"pod {pod.name} was taken away: {words}{_detail(message)}", _RUN_AGAIN)


def _ended_by_node(pod: PodRecord, _: Effective) -> Verdict | None:
    """Read the pod's own reason, where a kubelet says that it evicts, shuts down or refuses a pod."""
    if not pod.reason or pod.reason in {"Completed", "Error", "OOMKilled"}:
        return None
    if pod.reason == "NodeLost":
        return verdict(Reason.NODE_LOST, f"the node {pod.node} of pod {pod.name} was lost", _RUN_AGAIN)
    if pod.reason in {"Evicted", "Preempting", "NodeShutdown", "Terminated", "Shutdown"}:
        return verdict(Reason.EVICTED, f"the node ended pod {pod.name} ({pod.reason}){_detail(pod.message)}", _RUN_AGAIN)
    if not any(container.state == "terminated" for container in pod.containers):
        return verdict(
            Reason.CONTAINER_NOT_STARTED,
            f"node {pod.node or 'unknown'} refused pod {pod.name} ({pod.reason}){_detail(pod.message)}",
            "create the job again; if it stays so, an admin has to look at the node",
        )
    return None


def _fetch_failed(pod: PodRecord, _: Effective) -> Verdict | None:
    """Take what fetch says for the whole story: without code and data the script never starts."""
    fetch = pod.container(FETCH)
    if fetch is None or fetch.state != "terminated" or fetch.exit_code == 0:
        return None
    if _killed_for_memory(fetch):
        return verdict(
            Reason.TRAINER_ERROR,
            "fetching took more memory than its container has",
            "report this with the job's manifest",
            exit_code=fetch.exit_code,
        )
    told = report(fetch, FetchReport)
    failure = told.failure if told is not None else None
    if pod.deleted_at is not None and (_deliberate(fetch) or (failure is not None and failure.reason is Reason.TERMINATED)):
        return deleted(pod.name)
    if failure is not None and failure.reason not in _CLUSTER_ONLY:
        return Verdict(failure, fetch.exit_code)
    return _not_started(fetch) or _broke(fetch, pod, "fetching code and data")


def _deleted_from_outside(pod: PodRecord, _: Effective) -> Verdict | None:
    """Excuse a script whose pod somebody deleted: it was stopped as by SIGTERM."""
    if pod.deleted_at is None:
        return None
    trainer, publisher = pod.container(TRAINER), pod.container(PUBLISHER)
    told = _told(trainer) if trainer is not None else None
    if trainer is not None and trainer.exit_code == 0 and (publisher is None or publisher.state != "terminated"):
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
    if _killed_for_memory(trainer):
        return _out_of_memory(trainer, wanted)
    told = _told(trainer)
    if told is None:
        return _not_started(trainer) or by_exit_code(trainer.exit_code)
    if told.reason is Reason.OUT_OF_MEMORY:
        return _out_of_memory(trainer, wanted)
    if told.reason is Reason.WORKSPACE_FULL and not told.hint:
        return verdict(
            told.reason,
            told.message,
            f"raise spec.resources.workspace ({wanted.workspace}), or let the script write less",
            exit_code=trainer.exit_code,
        )
    return Verdict(told, trainer.exit_code)


def _publisher_failed(pod: PodRecord, wanted: Effective) -> Verdict | None:
    """Fail a run whose outputs are not in the bucket, however well the script ended."""
    publisher = pod.container(PUBLISHER)
    if publisher is None or publisher.state != "terminated":
        return None
    told = report(publisher, PublishReport)
    if told is not None and told.failure is not None and told.failure.reason not in _CLUSTER_ONLY:
        return Verdict(told.failure, publisher.exit_code)
    if _killed_for_memory(publisher) and wanted.spec.model is not None:
        return verdict(
            Reason.PUBLISH_FAILED,
            f"the script ended, but loading its model, which spec.model asks for, took more memory than spec.resources.memory "
            f"({wanted.memory}) gives it",
            "raise spec.resources.memory; the outputs are in the bucket, without a manifest",
            exit_code=publisher.exit_code,
        )
    if _killed_for_memory(publisher):
        why = "publishing took more memory than its container has"
    else:
        why = f"publishing ended with exit code {publisher.exit_code} and without a manifest"
    return verdict(
        Reason.PUBLISH_FAILED,
        f"the script ended, but {why}",
        f"look at kubectl logs {pod.name} -c {PUBLISHER}",
        exit_code=publisher.exit_code,
    )


Rule = Callable[[PodRecord, Effective], Verdict | None]
RULES: Final[tuple[Rule, ...]] = (
    _script_ended_by_itself,
    _space_ran_out,
    _disrupted,
    _ended_by_node,
    _fetch_failed,
    _deleted_from_outside,
    _trainer_failed,
    _publisher_failed,
)


def by_exit_code(code: int | None) -> Verdict:
    """Return the verdict on a script of which nothing but the exit code is known."""
    if code is None or not 0 < code <= 255:
        return verdict(Reason.UNKNOWN, f"the script ended and its exit code is unknown ({code})", "look at the log", exit_code=code)
    number = code - 128
    if number == 15:
        return verdict(Reason.TERMINATED, "the script was told to stop from outside (exit code 143, SIGTERM)", _RUN_AGAIN, exit_code=code)
    if 0 < number <= 64:
        signal = _SIGNALS.get(number, f"signal {number}")
        if number in _CRASHES:
            return verdict(
                Reason.SCRIPT_CRASHED,
                f"the script crashed in native code ({signal}, exit code {code})",
                "look at the end of the log",
                exit_code=code,
            )
        return verdict(
            Reason.SCRIPT_KILLED,
            f"the script was killed by {signal} (exit code {code}); nothing says by whom",
            "look at the end of the log",
            exit_code=code,
        )
    return verdict(Reason.SCRIPT_EXITED, f"the script ended with exit code {code}", "look at the end of the log", exit_code=code)


def deleted(pod_name: str, otherwise: str = "") -> Verdict:
    """Return the verdict on a pod that somebody deleted before it had ended; `otherwise` is what else may have happened to it."""
    return verdict(
        Reason.POD_DELETED,
        f"pod {pod_name} was deleted by somebody else{otherwise} before the job had ended",
        "create the job again; to stop a job, set spec.suspend or delete the job itself",
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


def _out_of_memory(trainer: ContainerRecord, wanted: Effective) -> Verdict:
    return verdict(
        Reason.OUT_OF_MEMORY,
        f"the script needed more memory than spec.resources.memory ({wanted.memory}) gives it",
        "raise spec.resources.memory, or let the script use less: a smaller batch, data read in pieces",
        exit_code=trainer.exit_code,
    )


def _not_started(container: ContainerRecord) -> Verdict | None:
    if container.reason not in NOT_STARTED:
        return None
    return verdict(
        Reason.CONTAINER_NOT_STARTED,
        f"container {container.name} could not be started ({container.reason}){_detail(container.message)}",
        "the runtime's image does not fit: an admin has to look at the runtime catalogue",
        exit_code=container.exit_code,
    )


def _broke(container: ContainerRecord, pod: PodRecord, doing: str) -> Verdict:
    return verdict(
        Reason.TRAINER_ERROR,
        f"{doing} ended with exit code {container.exit_code} and without a report",
        f"look at kubectl logs {pod.name} -c {container.name}",
        exit_code=container.exit_code,
    )


def _disruption(pod: PodRecord) -> tuple[str, str]:
    status, reason, message = (pod.conditions or {}).get("DisruptionTarget", ("", "", ""))
    return (reason or "unknown", message) if status == "True" else ("", "")


def _detail(text: str) -> str:
    cleaned = " ".join(text.split())
    return f": {cleaned[:600]}" if cleaned else ""


def _said(pod: PodRecord) -> str:
    return _detail(f"{pod.reason} {pod.message}")
