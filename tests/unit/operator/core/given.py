"""Builders of what can be observed: a job, a pod, its containers. Each test states only what it is about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
from tftrainer.messages import contract
from tftraining_operator.core import names
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.configuration import Configuration, Runtime
from tftraining_operator.core.observe import job_record, pod_record
from tftraining_operator.core.records import JobRecord, Observed, Plan, PodRecord, Raw

CREATED = 1_800_000_000.0
"""When the job was created, Unix seconds."""
JOB, NAMESPACE, UID = "iris", "team-a", "11111111-2222-3333-4444-555555555555"
POD_UID = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

CONFIGURATION = Configuration(
    default_runtime="tf2",
    runtimes={"tf1": Runtime(image="registry.test/trainer:tf1"), "tf2": Runtime(image="registry.test/trainer:tf2")},
)


NO_RETRIES = {"infrastructure": 0, "preemption": 0, "storage": 0}


def job(status: dict[str, Any] | None = None, *, name: str = JOB, generation: int = 1, **spec: Any) -> JobRecord:
    """Return a job with an inline script, without retries, and what else the spec says."""
    record = job_record(
        {
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "uid": UID,
                "generation": generation,
                "creationTimestamp": rfc3339(CREATED),
                "resourceVersion": "7",
            },
            "spec": {"script": {"inline": "print(1)\n", "name": "train.py"}, "retry": NO_RETRIES, **spec},
            "status": {"observedGeneration": -1, "phase": "Pending"} if status is None else status,
        }
    )
    assert record is not None
    return record


@dataclass(frozen=True)
class Pod:
    """A pod as the API server would show it, one step of its life after another."""

    attempt: int = 0
    role: str = names.CHIEF
    index: int = 0
    created: float = CREATED + 1
    phase: str = "Pending"
    node: str = "node-a"
    owner: str | None = UID
    name: str = ""
    reason: str = ""
    message: str = ""
    deleted: float | None = None
    held: bool = False
    memory: str = ""
    checked_with: str | None = CONFIGURATION.runtimes["tf2"].image
    states: tuple[tuple[str, dict[str, Any]], ...] = ()
    conditions: tuple[dict[str, str], ...] = ()

    @property
    def uid(self) -> str:
        """That of the pod."""
        return POD_UID if (self.role, self.index) == (names.CHIEF, 0) else f"{POD_UID[:-12]}{self.role}-{self.index}"

    def container(self, container: str, **state: Any) -> Pod:
        """Return the pod with a container in that state: `waiting=`, `running=` or `terminated=`."""
        return replace(self, states=(*(entry for entry in self.states if entry[0] != container), (container, state)))

    def condition(self, kind: str, status: str, reason: str = "", message: str = "") -> Pod:
        """Return the pod with one more condition."""
        return replace(self, conditions=(*self.conditions, {"type": kind, "status": status, "reason": reason, "message": message}))

    def fetching(self, at: float = CREATED + 2) -> Pod:
        """Let fetch be running."""
        return self.container(contract.FETCH, running={"startedAt": rfc3339(at)})

    def fetched(self, report: contract.FetchReport | None = None, exit_code: int = 0) -> Pod:
        """Let fetch have ended."""
        return self._ended(contract.FETCH, exit_code, report or contract.FetchReport(), CREATED + 2, CREATED + 3)

    def running(self, at: float = CREATED + 4) -> Pod:
        """Let the script run, and the publisher beside it."""
        pod = replace(self if any(name == contract.FETCH for name, _ in self.states) else self.fetched(), phase="Running")
        pod = pod.container(contract.TRAINER, running={"startedAt": rfc3339(at)})
        return pod.container(contract.PUBLISHER, running={"startedAt": rfc3339(at)})

    def ran(self, exit_code: int = 0, report: contract.RunReport | None = None, *, reason: str = "", at: float = CREATED + 60) -> Pod:
        """Let the script have ended."""
        return self.running()._ended(
            contract.TRAINER, exit_code, report, CREATED + 4, at, reason or ("Completed" if exit_code == 0 else "Error")
        )

    def published(self, *, succeeded: bool = True, exit_code: int = 0, at: float = CREATED + 61, **report: Any) -> Pod:
        """Let the publisher have ended with its manifest in place."""
        place = contract.run_prefix(NAMESPACE, JOB, UID, self.attempt)
        final = contract.PublishReport(
            **{
                "succeeded": succeeded,
                "manifest_uri": f"s3://bucket/{place}{contract.MANIFEST_NAME}",
                "logs_uri": f"s3://bucket/{place}logs/",
                "objects": 4,
                "bytes": 4096,
                **report,
            }
        )
        return self._ended(contract.PUBLISHER, exit_code, final, CREATED + 4, at)

    def _ended(self, name: str, code: int, report: Any, started: float, finished: float, reason: str = "") -> Pod:
        state = {"exitCode": code, "reason": reason, "startedAt": rfc3339(started), "finishedAt": rfc3339(finished)}
        if report is not None:
            state["message"] = report if isinstance(report, str) else contract.encode_report(report).decode()
        return self.container(name, terminated=state)

    def raw(self) -> dict[str, Any]:
        """Return the object."""
        owners = [] if self.owner is None else [{"kind": "TFTrainingJob", "name": JOB, "uid": self.owner, "controller": True}]
        metadata: dict[str, Any] = {
            "name": self.name or names.pod_name(JOB, self.role, self.index, self.attempt),
            "namespace": NAMESPACE,
            "uid": self.uid,
            "labels": names.labels(JOB, UID, self.role, self.index, self.attempt),
            "annotations": {names.JOB: JOB, names.CHECKED_WITH: self.checked_with},
            "creationTimestamp": rfc3339(self.created),
            "resourceVersion": "9",
            "ownerReferences": owners,
        }
        if self.held:
            metadata["finalizers"] = ["example.org/keeps"]
        if self.deleted is not None:
            metadata["deletionTimestamp"] = rfc3339(self.deleted)
        states = [{"name": name, "state": state} for name, state in self.states]
        return {
            "metadata": metadata,
            "spec": {
                "nodeName": self.node,
                "containers": [{"name": contract.TRAINER, "resources": {"limits": {"memory": self.memory} if self.memory else {}}}],
            },
            "status": {
                "phase": self.phase,
                "reason": self.reason,
                "message": self.message,
                "conditions": list(self.conditions),
                "initContainerStatuses": [state for state in states if state["name"] == contract.FETCH],
                "containerStatuses": [state for state in states if state["name"] != contract.FETCH],
            },
        }

    def record(self) -> PodRecord:
        """Return the record that is made of it. Of one that goes as it was told to, the server has been asked before it counts as gone."""
        record = pod_record(self.raw())
        assert record is not None
        return replace(record, absent=self.deleted is not None)


def seen(of: JobRecord, *pods: Pod, gone: tuple[Pod, ...] = (), refusal: str = "", live: contract.LiveReport | None = None) -> Observed:
    """Return all that is known of the job; `live` is what its pod has reported."""
    reports = {} if live is None else {POD_UID: live}
    return Observed(of, tuple(pod.record() for pod in pods), tuple(pod.record() for pod in gone), refusal, reports)


def pods(plan: Plan) -> list[Raw]:
    """Return the pods that are to be created."""
    return [body for body in plan.creates if body["kind"] == "Pod"]


def after(observed: Observed, plan: Plan) -> Observed:
    """Return what is observed once the plan's status has been written."""
    if plan.status is None:
        return observed
    stored: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(plan.status))
    return replace(observed, job=replace(observed.job, status=stored))
