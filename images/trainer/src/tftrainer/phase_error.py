"""The exceptions that end a phase: they carry what the user is told."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

import msgspec

from tftrainer.messages import contract
from tftrainer.messages.contract import Failure, Reason

TEXT_LIMIT: Final = 1000
"""Characters of a sentence that reach the status; the contract refuses more than 1,024."""
TOLD_LIMIT: Final = 512
"""Characters up to which one message tells all that was found."""


class PhaseError(Exception):
    """A phase cannot go on. Its text is the failure's message."""

    def __init__(self, reason: Reason, message: str, hint: str = "", *, file: str = "", line: int | None = None) -> None:
        self.failure = Failure(reason=reason, message=clip(message), hint=clip(hint), file=clip(file), line=line)
        super().__init__(self.failure.message)


class FindingsError(Exception):
    """Several failures at once, the first of them the one that is reported."""

    def __init__(self, found: list[PhaseError]) -> None:
        super().__init__(str(found[0]))
        self.all = found

    @property
    def failure(self) -> Failure:
        """The first failure; its message has the others too if they are short, else it says how many more the log has."""
        first = self.all[0].failure
        if len(self.all) == 1:
            return first
        together = f"{first.message}; also: {'; '.join(each.failure.message for each in self.all[1:])}"
        if len(together) <= TOLD_LIMIT:
            return msgspec.structs.replace(first, message=together)
        more = f" (and {len(self.all) - 1} more, see the log of container {contract.FETCH})"
        return msgspec.structs.replace(first, message=clip(first.message, TEXT_LIMIT - len(more)) + more)


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
