"""What stands around a phase that has credentials: whatever ends it becomes its report, and the report the container's last word."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from tftrainer.layout import Layout
from tftrainer.messages import contract
from tftrainer.messages.contract import ContractError, Failure, FetchReport, PublishReport, Reason
from tftrainer.phase_error import PhaseError, sentence, unexpected

ReportT = TypeVar("ReportT", FetchReport, PublishReport)


def reported(
    phase: Callable[[], ReportT], failed: Callable[[Failure], ReportT], disk: Callable[[OSError], PhaseError], say: Callable[[str], None]
) -> ReportT:
    """Go through the phase and return its report: one that has `failed`, and says so, where the phase was ended by an exception.

    `disk` tells in the user's words what is wrong with the workspace.
    """
    try:
        return phase()
    except PhaseError as error:
        found = error
    except ContractError as error:
        found = PhaseError(Reason.TRAINER_ERROR, str(error))
    except OSError as error:
        found = disk(error)
    except Exception as error:
        found = unexpected(error)
    say(sentence(found.failure))
    return failed(found.failure)


def leave_word(layout: Layout, report: FetchReport | PublishReport) -> None:
    """Write the container's last word where the kubelet reads it; outside a pod there may be no such place."""
    with contextlib.suppress(OSError):
        layout.termination_log.write_bytes(contract.encode_report(report))
