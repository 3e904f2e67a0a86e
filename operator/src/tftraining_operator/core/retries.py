"""Whether a failed attempt is followed by another one, and when: budgets by cause, and a pause that doubles."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tftraining_operator.api.quantities import amount
from tftraining_operator.api.spec import Budget
from tftraining_operator.core import places, recorded
from tftraining_operator.core.case import Case
from tftraining_operator.core.causes import Verdict
from tftraining_operator.core.recorded import Restart

SHORTEST_PAUSE_SECONDS: Final = 10.0
LONGEST_PAUSE_SECONDS: Final = 300.0
_JITTER: Final = 0.2
"""What jobs that failed together, as with their node, are spread by, either way."""


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt: when it starts, what has been used of all budgets with it, and in words, which retry of how many it is."""

    restart: Restart
    used: Mapping[Budget, int]
    words: str


def after(case: Case, found: Verdict) -> Again | str:
    """Return the attempt that follows the current one, which failed of `found`; else why none does, empty where that needs no word."""
    budget = found.budget
    if budget is None:
        return ""
    used, limit = recorded.retries(case.job.status), case.retries(budget)
    same = _same(case, found)
    if same is not None:
        return f"attempt {same} ended by the same exception at the same line: it is not tried again"
    if used[budget] >= limit:
        every = "the one retry" if limit == 1 else f"all {limit} retries"
        return f"{every} of spec.retry.{budget} {'is' if limit == 1 else 'are'} used" if limit else ""
    used = {**used, budget: used[budget] + 1}
    words = f"retry {used[budget]} of {limit} of spec.retry.{budget}"
    if budget is Budget.OUT_OF_MEMORY and case.spec.retry.memory_growth > 1:
        replica = case.current.with_pod(found.pod)
        memory = case.memory_after(used[budget], replica)
        if amount(memory) <= amount(case.wanted_of(replica).memory):
            name, most = case.most_memory
            return f"it is not tried again: more memory than {memory} is not to be had ({name} of the chart is {most})"
        words += f", with {memory} of memory"
    number = case.current.number + 1
    evicted = places.evicted(case.observed, case.current.number)
    # Who had to give way, its queue serves again in its turn: out of the queue, others would be served before it.
    gave_way = budget is Budget.PREEMPTION and evicted is not None and evicted.reason == "Preempted"
    pause = 0.0 if gave_way else _pause(case.job.uid, number, used[budget])
    return Again(Restart(number, case.now + pause), used, words)


def _same(case: Case, found: Verdict) -> int | None:
    """Return an earlier attempt that ended by the same exception at the same line: a script that does so twice does so always."""
    failure = found.failure
    if not failure.exception or failure.line is None:
        return None
    what = (failure.reason.value, recorded.told(failure.exception), recorded.told(failure.file), failure.line)
    earlier = recorded.attempts(case.job.status)
    return next((each.attempt for each in earlier if (each.reason, each.exception, each.file, each.line) == what), None)


def _pause(uid: str, attempt: int, retry: int) -> float:
    """Return how many whole seconds an attempt is put off: the same for everyone who asks, without anybody remembering it."""
    pause = min(SHORTEST_PAUSE_SECONDS * 2 ** min(retry - 1, 16), LONGEST_PAUSE_SECONDS)
    return float(math.ceil(pause * spread(uid, attempt)))


def spread(uid: str, attempt: int) -> float:
    """Return a factor around 1 by which what many jobs would do at once is done at different times."""
    chance = int.from_bytes(hashlib.sha256(f"{uid} {attempt}".encode("utf-8", "replace")).digest()[:4]) / 2**32
    return 1 - _JITTER + 2 * _JITTER * chance
