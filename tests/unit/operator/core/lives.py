"""Lives of a job that never were: any order of what its user, its pods and time can do, with every plan carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from tftraining_operator.core import names
from tftraining_operator.core.configuration import Configuration
from tftraining_operator.core.decide import decide
from tftraining_operator.core.findings import PASSING_SECONDS
from tftraining_operator.core.records import Observed, Plan

from .given import CONFIGURATION, CREATED, Pod, job

_LOOKS = 12
QUOTA = 'pods "iris-chief-0" is forbidden: exceeded quota: team, requested: pods=1, used: pods=1, limited: pods=1'


@dataclass
class Life:
    """A job, its pods by name, and the time."""

    spec: dict[str, Any] = field(default_factory=dict)
    generation: int = 1
    status: dict[str, Any] = field(default_factory=lambda: {"observedGeneration": -1, "phase": "Pending"})
    pods: dict[str, Pod] = field(default_factory=dict)
    gone: list[Pod] = field(default_factory=list)
    refusal: str = ""
    now: float = CREATED + 1
    configuration: Configuration = CONFIGURATION

    @property
    def observed(self) -> Observed:
        """What the operator sees."""
        record = job(self.status, generation=self.generation, **{"retry": {"infrastructure": 3}, **self.spec})
        return Observed(record, tuple(pod.record() for pod in self.pods.values()), tuple(pod.record() for pod in self.gone), self.refusal)

    @property
    def pod(self) -> Pod | None:
        """The pod of the latest attempt, None where it has none."""
        return max(self.pods.values(), key=lambda pod: pod.attempt, default=None)

    def does(self, container: str) -> str:
        """Return the state of a container of the latest pod: waiting, running, terminated, or empty."""
        states = dict(self.pod.states) if self.pod is not None else {}
        return next(iter(states.get(container, {})), "")

    def settle(self) -> None:
        """Let the operator look until it has nothing more to do, or nothing soon; one that never comes to that fails the test."""
        for _ in range(_LOOKS):
            plan = decide(self.observed, self.configuration, self.now)
            if not self.carry_out(plan):
                return
        raise AssertionError(f"never settled: {plan}")

    def carry_out(self, plan: Plan) -> bool:
        """Do what is planned, and tell whether anything was done."""
        made = [body for body in plan.creates if body["kind"] == "Pod" and body["metadata"]["name"] not in self.pods]
        if made and not self.refusal:
            for body in made:
                attempt = int(body["metadata"]["labels"][names.ATTEMPT])
                self.pods[body["metadata"]["name"]] = Pod(attempt=attempt, created=self.now, name=body["metadata"]["name"], node="")
        if plan.status is not None:
            self.status = msgspec.json.decode(msgspec.json.encode(plan.status))
        going = [self.pods[deletion.name] for deletion in plan.deletions if deletion.name in self.pods]
        self.pods |= {pod.name: replace(pod, deleted=self.now + 30) for pod in going if pod.deleted is None}
        soon = plan.requeue_at is not None and self.now < plan.requeue_at <= self.now + PASSING_SECONDS
        if plan.requeue_at is not None and soon:
            self.now = plan.requeue_at
        return bool((made and not self.refusal) or plan.status is not None or going or soon)

    def with_pod(self, change: Callable[[Pod], Pod]) -> None:
        """Change the latest pod, unless it has ended."""
        pod = self.pod
        if pod is not None and pod.phase not in {"Succeeded", "Failed"}:
            self.pods[pod.name] = change(pod)

    def wants(self, **spec: Any) -> None:
        """Have the user change the spec; what changes nothing is no new generation."""
        if {**self.spec, **spec} != self.spec:
            self.spec, self.generation = {**self.spec, **spec}, self.generation + 1

    def ends(self, code: int) -> None:
        """Let the pod's containers end, the script with that exit code."""
        self.with_pod(
            lambda pod: replace(
                pod.running(self.now).ran(code, at=self.now).published(succeeded=code == 0, at=self.now),
                phase="Failed" if code else "Succeeded",
            )
        )

    def evicted(self) -> None:
        """Let the node end the pod."""
        self.with_pod(lambda pod: replace(pod.condition("DisruptionTarget", "True", "EvictionByEvictionAPI"), phase="Failed"))

    def pod_goes(self) -> None:
        """Let the latest pod be there no more."""
        pod = self.pod
        if pod is not None:
            self.gone.append(self.pods.pop(pod.name))


STEPS: Final[Mapping[str, Callable[[Life], None]]] = {
    "the pod fetches": lambda life: life.with_pod(lambda pod: replace(pod, node="node-a").fetching(life.now)),
    "the pod runs": lambda life: life.with_pod(lambda pod: replace(pod, node="node-a").running(life.now)),
    "the script has ended": lambda life: life.with_pod(lambda pod: replace(pod, node="node-a").ran(0, at=life.now)),
    "all has ended well": lambda life: life.ends(0),
    "all has ended badly": lambda life: life.ends(3),
    "the pod is evicted": Life.evicted,
    "somebody deletes the pod": lambda life: life.with_pod(lambda pod: replace(pod, deleted=life.now + 30)),
    "the pod is gone": Life.pod_goes,
    "no node takes the pod": lambda life: life.with_pod(
        lambda pod: (
            pod.condition("PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient memory.")
            if not pod.states
            else pod
        )
    ),
    "the node is silent": lambda life: life.with_pod(
        lambda pod: replace(pod, conditions=({"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}))
    ),
    "the user suspends": lambda life: life.wants(suspend=True),
    "the user stops": lambda life: life.wants(stop=True),
    "the user resumes": lambda life: life.wants(suspend=False),
    "the user changes a deadline": lambda life: life.wants(pendingDeadlineSeconds=3600 + life.generation),
    "a quota is full": lambda life: setattr(life, "refusal", QUOTA),
    "a quota has room": lambda life: setattr(life, "refusal", ""),
    "two seconds pass": lambda life: setattr(life, "now", life.now + 2),
    "a minute passes": lambda life: setattr(life, "now", life.now + 60),
    "two hours pass": lambda life: setattr(life, "now", life.now + 7200),
}
"""What can happen, each in any state."""
