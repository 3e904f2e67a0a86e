"""What a job waits for that does not run yet, and when it is worth telling anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tftraining_operator.api.status import MESSAGE_LIMIT
from tftraining_operator.core import recorded
from tftraining_operator.core.observe import mapping, text, timestamp
from tftraining_operator.core.recorded import Check
from tftraining_operator.core.records import Raw

RESTLESS_SECONDS: Final = 30.0
"""How long the words about one and the same wait stay, however often a scheduler, a quota or a registry says it otherwise."""

QUOTAS: Final = frozenset({"QuotaUsedUp", "QuotaTooSmall"})
"""Reasons of a wait for which a quota is why."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What a job waits for. `certain` means that waiting will not help: the job can be ended at once.

    `restless` marks words of one who says them again and again, with other numbers. `partial` marks those that say less than what was
    told of the same reason before. `told_at` is the Unix second of the message, None for one that is new.
    """

    reason: str
    message: str
    certain: bool = False
    restless: bool = False
    partial: bool = False
    told_at: float | None = None


def steadied(found: Pending, status: Raw, now: float) -> tuple[Pending, float | None]:
    """Return what is to be told of a wait, given what the status tells already, and when there will be more to tell, None for never.

    Another reason is told at once, but for those of quotas: which of several it is that refuses is chance, and may change at every try.
    """
    before, check = mapping(status.get("pending")), recorded.check(status)
    kept, told_at = text(before.get("message"), MESSAGE_LIMIT), timestamp(before.get("lastUpdateTime"))
    kept = kept.removesuffix(_words(check)) if check is not None else kept
    new = replace(found, message=text(found.message, MESSAGE_LIMIT), told_at=now)
    told = text(before.get("reason"))
    if (told != found.reason and not {told, found.reason} <= QUOTAS) or not kept or told_at is None or told_at > now:
        return new, None
    as_told = replace(found, reason=told, message=kept, told_at=told_at)
    if found.partial or kept == new.message:
        return as_told, None
    if found.restless and now < told_at + RESTLESS_SECONDS:
        return as_told, told_at + RESTLESS_SECONDS
    return new, None


def with_check(found: Pending, check: Check) -> Pending:
    """Return what a job waits for, with what is known of its check meanwhile."""
    return replace(found, message=f"{found.message}{_words(check)}"[:MESSAGE_LIMIT])


def _words(check: Check) -> str:
    return f"; {check.words}" if check.words else ""


def short(text: str) -> str:
    """Return the beginning of what somebody else has said, as one line without a stop at its end."""
    return " ".join(text.split())[:600].rstrip(". ")
