"""One job at one moment, with what rules ask of it beside its attempts: what the job wants, and since when it waits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from pydantic import ValidationError
from tftrainer.withholding import Plain

from tftraining_operator.api.fields import ARGUMENT_LIMIT, INLINE_LIMIT
from tftraining_operator.api.quantities import amount, exact
from tftraining_operator.api.spec import Budget, Spec
from tftraining_operator.api.status import ConditionType
from tftraining_operator.core import attempts, places, recorded
from tftraining_operator.core.attempts import Attempt, History, Replica
from tftraining_operator.core.configuration import Configuration, ResourceClass, Runtime
from tftraining_operator.core.effective import Effective, effective, given, grown
from tftraining_operator.core.observe import integer, mapping, sequence, text
from tftraining_operator.core.records import JobRecord, Observed, WorkloadRecord


@dataclass(frozen=True)
class Case:
    """One job at the Unix second `now`."""

    observed: Observed
    configuration: Configuration
    now: float

    @property
    def job(self) -> JobRecord:
        """The job itself."""
        return self.observed.job

    @cached_property
    def history(self) -> History:
        """What the job has tried."""
        return attempts.history(self.observed)

    @property
    def current(self) -> Attempt:
        """The attempt that the job is at."""
        return self.history.current

    @property
    def chief(self) -> Replica:
        """The replica of the current attempt whose end is the end of the run."""
        return self.current.chief

    @cached_property
    def suspended(self) -> bool:
        """Whether the job is recorded as suspended."""
        return recorded.holds(self.job.status, ConditionType.SUSPENDED)

    @property
    def laggard(self) -> Replica | None:
        """The replica with a pod that is least far: with one that waits, a job waits; None where none has a pod."""
        return min((each for each in self.current.replicas if each.pod is not None), key=lambda each: each.stage, default=None)

    def said_of(self, replica: Replica, words: str) -> str:
        """Return words about one replica, which name it where there are others."""
        return words if self.current.alone else f"{replica.task}: {words}"

    @cached_property
    def taken_up(self) -> bool:
        """Whether an operator has taken up the job before, so that rules that have come since then are not for it."""
        return any(each.last is not None for each in self.current.replicas) or (integer(self.job.status.get("observedGeneration")) or 0) > 0

    @cached_property
    def waiting_since(self) -> float:
        """Since when the job waits to run: its creation, resume or retry, but not since before an operator had taken it up."""
        if self.suspended:
            # It is being resumed in this very moment.
            return self.now
        since = recorded.transitions(self.job.status)
        taken_up = [since[ConditionType.ACCEPTED]] if ConditionType.ACCEPTED in since else []
        taken_up += [pod.created_at for pod in self.current.pods]
        resumed, restart = since.get(ConditionType.SUSPENDED, 0.0), recorded.restart(self.job.status)
        restarted = (restart.at if restart.waiting_since is None else restart.waiting_since) if restart is not None else 0.0
        return min(max(self.job.created_at, resumed, restarted, min(taken_up, default=self.now)), self.now)

    @property
    def pending_until(self) -> float:
        """When the job has waited too long to run. As long as it is queued, that is never now."""
        return self.pending_since + self.wanted.pending_seconds

    @cached_property
    def pending_since(self) -> float:
        """Since when the attempt could run: since it waits, or in a queue since it has its place there."""
        if self.queued:
            return self.now
        placed = 0.0
        if self._names_queue:
            admitted = self.workload.condition("Admitted").since if self.workload is not None else None
            # No pod is made before its place is there, whatever has become of the Workload since, or is not known of it yet.
            made = (each.last.created_at for each in self.history.upcoming.replicas if each.last is not None)
            placed = min(made, default=admitted or 0.0)
        return max(self.waiting_since, min(placed, self.now))

    @cached_property
    def workload(self) -> WorkloadRecord | None:
        """The place in a queue of the attempt that a pod created now belongs to, None where it has none."""
        return places.of_attempt(self.observed, self.history.upcoming.number)

    @cached_property
    def queued(self) -> bool:
        """Whether the attempt has no pod because it has no place in its queue yet."""
        away = self.observed.queueing is not None and bool(self.observed.queueing.away)
        return self._names_queue and not self.history.upcoming.existed and (away or not places.is_taken(self.workload))

    @property
    def _names_queue(self) -> bool:
        return mapping(self.job.spec.get("scheduling")).get("queue") is not None

    @cached_property
    def parsed(self) -> Spec | str:
        """The spec, or what is wrong with it."""
        if self.job.inline is not None and self.job.inline.characters > INLINE_LIMIT:
            return f"spec.script.inline: {self.job.inline.characters} characters, where {INLINE_LIMIT} are allowed"
        try:
            return Spec.model_validate(self.job.spec)
        except ValidationError as error:
            findings = [f"spec.{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)[:3]]
            return text(self.plain.without("; ".join(findings)), 900)
        except RecursionError:
            return "spec is nested too deeply"

    @cached_property
    def spec(self) -> Spec:
        """The spec; asked only by rules after the one that has made sure of it."""
        if isinstance(self.parsed, str):
            raise TypeError(self.parsed)
        return self.parsed

    @cached_property
    def plain(self) -> Plain:
        """The credentials that the spec shows, to keep them out of messages."""
        args = [each for each in sequence(self.job.spec.get("args")) if isinstance(each, str)]
        env = [mapping(each) for each in sequence(self.job.spec.get("env"))]
        return Plain.of(args, {text(each.get("name")): text(each.get("value"), ARGUMENT_LIMIT) for each in env})

    @property
    def runtime_name(self) -> str:
        """The runtime that the job names; without one the default, or what the default was when the job was first judged."""
        kept = text(self.job.status.get("runtime"))
        default = kept if kept in self.configuration.runtimes else self.configuration.default_runtime
        return self.spec.runtime or default

    @property
    def size(self) -> ResourceClass | None:
        """The class that the job names, as the catalogue has it now; None for a job without one, or where it is not there."""
        return self.configuration.resource_classes.get(self.spec.resource_class or "")

    @property
    def wanted(self) -> Effective:
        """The spec with defaults, resources those of the chief."""
        return self.wanted_of(self.chief)

    def wanted_of(self, replica: Replica) -> Effective:
        """Return the spec with defaults, resources those of a replica; a runtime that an admin has removed does not end a running job."""
        return self._wanted[replica.role]

    @cached_property
    def _wanted(self) -> dict[str, Effective]:
        return {role: self._effective(role) for role in dict.fromkeys(each.role for each in self.current.replicas)}

    def _effective(self, role: str) -> Effective:
        runtime = self.configuration.runtimes.get(self.runtime_name) or Runtime(image="(no longer in the catalogue)")
        last = next((each.last for each in self.current.replicas if each.role == role and each.last is not None), None)
        kept = given(last.resources) if last is not None and self.spec.resource_class is not None else None
        found = effective(self.spec, self.configuration, self.runtime_name, runtime, self.size, kept, role)
        times = recorded.retries(self.job.status)[Budget.OUT_OF_MEMORY]
        # What is full may be /dev/shm, which has a size of its own and is part of memory.
        memory, shared_memory = self._grown(found.memory, times), self._grown(found.shared_memory, times)
        if last is not None and last.memory:
            # What an admin allows may have changed since it was made.
            memory = last.memory
        ran = recorded.usage(self.job.status).running_seconds
        return places.with_place(replace(found, memory=memory, shared_memory=shared_memory, ran_seconds=ran), self.observed, self.workload)

    def memory_after(self, retries: int, replica: Replica) -> str:
        """Return a replica's memory in an attempt before which so many had too little."""
        return self._grown(self.wanted_of(replica).asked.memory or self.configuration.defaults.resources.memory, retries)

    def _grown(self, memory: str, times: int) -> str:
        return grown(memory, self.spec.retry.memory_growth, times, self.most_memory[1])

    @property
    def most_memory(self) -> tuple[str, str]:
        """What memory grows to at most, after the value of the chart that says so; both empty where none does.

        What one job may have, its replicas share.
        """
        most, count = self.configuration.maxima.memory, len(self.current.replicas)
        share = f"{amount(most) // count // 1024**2}Mi" if most and count > 1 else most
        bounds = (("retries.maxMemory", self.configuration.retries.max_memory), ("maxima.memory", share))
        return min((each for each in bounds if each[1]), key=lambda each: exact(each[1]), default=("", ""))

    def retries(self, budget: Budget) -> int:
        """Return how many retries a budget has: as the job says, else as is usual, but no more than an admin allows one job."""
        most, named = self.configuration.maxima.retries, self.spec.retry.named(budget)
        usual = self.spec.retry.of(budget)
        return named if named is not None else usual if most is None else min(usual, most)
