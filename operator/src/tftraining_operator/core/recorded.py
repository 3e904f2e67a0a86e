"""What a status says already. Anyone with the right to may have written it: nothing here raises, and what is odd counts as not said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
from pydantic import ValidationError
from tftrainer.messages import contract

from tftraining_operator.api.spec import Budget
from tftraining_operator.api.status import AttemptStatus, Because, CheckResult, ConditionType, Status, UsageStatus
from tftraining_operator.core.observe import integer, mapping, sequence, text, timestamp
from tftraining_operator.core.records import Raw
from tftraining_operator.core.words import line

SUSPENDING: Final = "Suspending"
"""Reason of Suspended while the pods are still on their way out."""
CHECKED: Final = "checked while it waits"
"""How all begins that a check of a job has to say to its user."""
_WORDS_LIMIT: Final = 256
_ATTEMPTS: Final = 10**6
"""More than a pod's name can say."""


@dataclass(frozen=True, slots=True)
class Ending:
    """That the operator itself ends an attempt by deleting its pods, and why. `since` is the Unix second at which it began."""

    attempt: int
    because: Because
    since: float


@dataclass(frozen=True, slots=True)
class Restart:
    """The retry that an attempt is: `at` is the Unix second at which it may start, `begun` tells whether it has.

    `waiting_since` is since when the job waits, of one whose last attempt has not run.
    """

    attempt: int
    at: float
    begun: bool = False
    waiting_since: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """What the check of a job that waits has come to, in words, and since when (Unix seconds)."""

    result: CheckResult
    message: str
    at: float

    @property
    def words(self) -> str:
        """What there is to say of it while the job waits: of a check that could not be made, nothing."""
        told = self.result in {CheckResult.STARTED, CheckResult.PASSED} or self.message.startswith(CHECKED)
        return self.message if told and self.result is not CheckResult.FAILED else ""


def conditions(status: Raw) -> Iterator[dict[str, str]]:
    """Yield the well-formed conditions of a status."""
    for entry in map(mapping, sequence(status.get("conditions"))):
        kind, state = text(entry.get("type")), text(entry.get("status"))
        at = text(entry.get("lastTransitionTime"))
        if kind and state in {"True", "False", "Unknown"} and timestamp(at) is not None:
            yield {"type": kind, "status": state, "reason": text(entry.get("reason")), "lastTransitionTime": at}


def holds(status: Raw, kind: ConditionType, state: str = "True") -> bool:
    """Tell whether a condition is recorded in that state."""
    return any(entry["type"] == kind and entry["status"] == state for entry in conditions(status))


def transitions(status: Raw) -> dict[str, float]:
    """Return the Unix second of each condition's last transition."""
    return {entry["type"]: timestamp(entry["lastTransitionTime"]) or 0.0 for entry in conditions(status)}


def attempt(status: Raw) -> int:
    """Return the number of the attempt that a status is about, 0 where it names none."""
    found = integer(status.get("attempt")) or 0
    return found if 0 <= found < _ATTEMPTS else 0


def begun(status: Raw, *, suspend: bool) -> int:
    """Return the last attempt that may have pods, -1 for none: the status has its number, and that it begins, before its first pod is made.

    The first versions made the pod first where a job was resumed, or a suspension was taken back midway. `suspend` is what the spec says.
    """
    number, ended, retry = attempt(status), ending(status), restart(status)
    if retry is not None and not retry.begun:
        return number - 1
    if holds(status, ConditionType.SUSPENDED) and suspend:
        return number - 1
    return number + 1 if ended is not None and ended.attempt == number else number


def awaited(status: Raw) -> bool:
    """Tell whether the recorded attempt is still to come: the job is suspended, or waits for a retry."""
    retry = restart(status)
    return holds(status, ConditionType.SUSPENDED) or (retry is not None and not retry.begun)


def restart(status: Raw) -> Restart | None:
    """Return the retry that the recorded attempt is, None where it is none."""
    found = mapping(status.get("restart"))
    number, at = integer(found.get("attempt")), timestamp(found.get("at"))
    if number is None or at is None or number != attempt(status):
        return None
    return Restart(number, at, begun=found.get("begun") is True, waiting_since=timestamp(found.get("waitingSince")))


def retries(status: Raw) -> dict[Budget, int]:
    """Return how many retries have been used of each budget."""
    found = mapping(status.get("retries"))
    return {budget: min(max(integer(found.get(budget.value)) or 0, 0), _ATTEMPTS) for budget in Budget}


def part(status: Raw, *fields: str) -> Status:
    """Return what a status has in these fields, without those that are not as the definition has them."""
    found = {field: status[field] for field in fields if field in status}
    try:
        return Status.model_validate(found)
    except ValidationError as error:
        odd = {each["loc"][0] for each in error.errors(include_url=False, include_input=False) if each["loc"]}
        return part(status, *(field for field in found if field not in odd)) if odd & found.keys() else Status()
    except RecursionError:
        return Status()


def usage(status: Raw) -> UsageStatus:
    """Return what the attempts that have ended took of the cluster."""
    return part(status, "usage").usage or UsageStatus()


def attempts(status: Raw) -> tuple[AttemptStatus, ...]:
    """Return how earlier attempts have failed."""
    return tuple(each for entry in sequence(status.get("attempts")) for each in part({"attempts": [entry]}, "attempts").attempts)


def check(status: Raw) -> Check | None:
    """Return what a status says of the job's check, None where it has none."""
    found = part(status, "preflight").preflight
    at = timestamp(found.last_update_time) if found is not None else None
    return Check(found.result, found.message, at) if found is not None and at is not None else None


def told(words: str) -> str:
    """Return a text of a failure as a status has it."""
    return line(words).encode("utf-8", "replace").decode()


def ending(status: Raw) -> Ending | None:
    """Return which attempt the operator has begun to end; the first versions remembered it by the reason of a condition alone."""
    found = mapping(status.get("ending"))
    number, since = integer(found.get("attempt")), timestamp(found.get("since"))
    if number is not None and since is not None and text(found.get("because")) in set(Because):
        return Ending(number, Because(text(found.get("because"))), since)
    suspending = [entry for entry in conditions(status) if (entry["type"], entry["reason"]) == (ConditionType.SUSPENDED, SUSPENDING)]
    return Ending(attempt(status), Because.SUSPEND, timestamp(suspending[0]["lastTransitionTime"]) or 0.0) if suspending else None


def notes(status: Raw, number: int) -> tuple[contract.Note, ...]:
    """Return the notes that a status has of an attempt already."""
    if integer(status.get("attempt")) != number:
        return ()
    try:
        return msgspec.convert(list(sequence(status.get("notes"))), tuple[contract.Note, ...])
    except (msgspec.MsgspecError, RecursionError):
        return ()


def checkpoint(status: Raw, number: int) -> str:
    """Return the checkpoint that a status says an attempt has saved, in words."""
    return text(mapping(status.get("checkpoint")).get("saved"), _WORDS_LIMIT) if integer(status.get("attempt")) == number else ""


def reason(status: Raw) -> str:
    """Return why a job failed, what it waits for, or how it was stopped; empty for all others."""
    return text(mapping(status.get("pending") or status.get("failure") or status.get("stop")).get("reason"), 64)
