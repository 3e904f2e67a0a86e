"""The one exception that ends a phase: it carries what the user is told."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

from tftrainer.contract import Failure, Reason

TEXT_LIMIT: Final = 1000
"""Characters of a sentence that reach the status; the contract refuses more than 1,024."""


class PhaseError(Exception):
    """A phase cannot go on. Its text is the failure's message."""

    def __init__(self, reason: Reason, message: str, hint: str = "", *, file: str = "", line: int | None = None) -> None:
        self.failure = Failure(reason=reason, message=clip(message), hint=clip(hint), file=clip(file), line=line)
        super().__init__(self.failure.message)


def unexpected(error: BaseException) -> PhaseError:
    """Return the failure for a fault of our own: where it happened, but not its text, which may hold what nobody should read."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
    return PhaseError(
        Reason.TRAINER_ERROR,
        f"unexpected {type(error).__name__} at {place}",
        "this is a fault of the product, not of the job: report it with this line",
    )


def clip(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return the text, its middle left out where it is longer than `limit` characters, nothing unprintable in it."""
    if len(text) > limit:
        head = limit * 2 // 3
        text = f"{text[:head]}…{text[len(text) - (limit - head - 1) :]}"
    return text if text.isprintable() else "".join(character if character.isprintable() else "�" for character in text)


def sentence(failure: Failure) -> str:
    """Return the failure as one line for a log."""
    return f"{failure.reason}: {failure.message}" + (f" ({failure.hint})" if failure.hint else "")
