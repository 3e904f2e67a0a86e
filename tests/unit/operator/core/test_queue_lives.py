"""A job in a queue, in any order of what its user, its pods, Kueue and time can do: no pod without a place, no place without need."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tftraining_operator.core import names, places, workloads
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.configuration import Configuration, Kueue
from tftraining_operator.core.observe import workload_record
from tftraining_operator.core.records import Observed, Plan, Queueing, WorkloadRecord

from .given import CONFIGURATION, JOB, UID
from .lives import STEPS, Life


@dataclass
class QueueLife(Life):
    """A job that names a queue, with its Workloads as Kueue has them."""

    spec: dict[str, Any] = field(
        default_factory=lambda: {"scheduling": {"queue": "team-a"}, "retry": {"infrastructure": 3, "preemption": 3}}
    )
    configuration: Configuration = field(default_factory=lambda: CONFIGURATION.model_copy(update={"kueue": Kueue(enabled=True)}))
    raw: dict[str, dict[str, Any]] = field(default_factory=dict)
    away: str = ""
    uids: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def records(self) -> tuple[WorkloadRecord, ...]:
        """The Workloads."""
        return tuple(record for raw in self.raw.values() if (record := workload_record(raw)) is not None)

    @property
    def observed(self) -> Observed:
        """What the operator sees."""
        seen = super().observed
        known = () if self.away else self.records
        return Observed(seen.job, seen.pods, seen.gone, seen.refusal, queueing=Queueing(self.away, known, priorities={"": 0}))

    def carry_out(self, plan: Plan) -> bool:
        """Do what is planned, as far as Kueue is there."""
        seen = self.observed
        for body in plan.creates:
            if body["kind"] == "Pod":
                attempt = int(body["metadata"]["labels"][names.ATTEMPT])
                assert places.is_taken(places.of_attempt(seen, attempt)), "no pod is made without a place"
        done = super().carry_out(plan)
        if plan.workload is not None:
            assert not self.away
            name = plan.workload["metadata"]["name"]
            assert name not in self.raw, "one Workload for an attempt"
            made = {"uid": f"w-{next(self.uids)}", "resourceVersion": "1", "creationTimestamp": rfc3339(self.now)}
            self.raw[name] = {**plan.workload, "metadata": {**plan.workload["metadata"], **made}, "status": {}}
        for update in plan.updates:
            if update.delete:
                del self.raw[update.name]
            else:
                self.raw[update.name]["status"] = workloads.updated(self.raw[update.name]["status"], update, 1, self.now)
        return done or plan.workload is not None or bool(plan.updates)

    def says(self, record: WorkloadRecord, **conditions: tuple[str, str]) -> None:
        """Let Kueue write conditions of a Workload: by type, each status and reason."""
        status = self.raw[record.name]["status"]
        kept = [each for each in status.get("conditions", []) if each["type"] not in conditions]
        new = [
            {"type": kind, "status": state, "reason": reason, "message": "", "lastTransitionTime": rfc3339(self.now)}
            for kind, (state, reason) in conditions.items()
        ]
        self.raw[record.name]["status"] = {**status, "conditions": [*kept, *new]}

    def has_room(self) -> None:
        """Let Kueue admit one that waits, if none has the quota."""
        waiting = [each for each in self.records if not each.holds("Finished") and not each.holds("QuotaReserved")]
        if waiting and not self.holding and not self.away:
            self.says(waiting[-1], QuotaReserved=("True", "R"), Admitted=("True", "A"), Evicted=("False", "Previously"))

    def is_full(self) -> None:
        """Let Kueue say that there is no room."""
        for each in self.records:
            if not each.holds("Finished") and not each.holds("QuotaReserved") and not self.away:
                self.says(each, QuotaReserved=("False", "Pending"))

    def takes_back(self) -> None:
        """Let Kueue take the place back."""
        for each in self.holding:
            self.says(each, Evicted=("True", "Preempted"))

    @property
    def holding(self) -> list[WorkloadRecord]:
        """The Workloads that hold quota."""
        return [each for each in self.records if each.holds("QuotaReserved") and not each.holds("Finished")]


OF_QUEUES: Final[Mapping[str, Callable[[QueueLife], None]]] = {
    **STEPS,
    "the queue has room": QueueLife.has_room,
    "the queue has room once more": QueueLife.has_room,
    "the queue has room again": QueueLife.has_room,
    "the queue is full": QueueLife.is_full,
    "the queue takes the place back": QueueLife.takes_back,
    "somebody deletes the Workloads": lambda life: life.raw.clear(),
    "Kueue goes away": lambda life: setattr(life, "away", "Kueue is not installed"),
    "Kueue comes back": lambda life: setattr(life, "away", ""),
}


@pytest.mark.thorough
@given(steps=st.lists(st.sampled_from(sorted(OF_QUEUES)), max_size=16))
@settings(max_examples=400)
def test_whatever_happens_there_is_no_pod_without_a_place_and_no_place_is_kept_without_need(steps: list[str]) -> None:
    life = QueueLife()
    life.settle()
    for step in steps:
        OF_QUEUES[step](life)
        life.settle()
        if life.away:
            continue
        held, live = life.holding, [pod for pod in life.pods.values() if pod.phase not in {"Succeeded", "Failed"}]
        assert len(held) <= 1
        true = {each["type"] for each in life.status.get("conditions", []) if each["status"] == "True"}
        if true & {"Finished", "Suspended"} and not live:
            assert not held, (step, life.status)
        unfinished = {each.name for each in life.records if not each.holds("Finished")}
        attempts = {life.status.get("attempt", 0), *(pod.attempt for pod in live)}
        assert unfinished <= {names.workload_name(JOB, UID, each) for each in attempts}
