"""How a run ended, by what its launcher left."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tftrainer.messages import contract
from tftrainer.messages.contract import ContractError, Failure, Reason, RunReport
from tftrainer.outputs import tree

LAUNCHER_SECONDS: Final = 120.0
"""For how long a launcher may live after its script."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the run ended: what the launcher says, and when the publisher noticed, in Unix seconds."""

    result: RunReport
    noticed_at: float

    @property
    def succeeded(self) -> bool:
        """Whether the script came to its end by itself, and said that all was well."""
        return self.result.exit_code == 0 and self.result.failure is None

    @property
    def at(self) -> float:
        """When the script ended, in Unix seconds: as the launcher says, if that can be."""
        return self.result.finished_at if 0 <= self.noticed_at - self.result.finished_at <= LAUNCHER_SECONDS else self.noticed_at


def read_result(run_folder: Path, *, started: bool) -> RunReport:
    """Return how the run ended, by what the launcher left; it is believed about the script alone."""
    data = tree.read_small(run_folder, contract.RESULT_NAME, contract.MESSAGE_LIMIT)
    if data is not None:
        with contextlib.suppress(ContractError):
            return contract.decode_report(data.decode("utf-8", "replace"), RunReport)
    if not started:
        failure = Failure(reason=Reason.TERMINATED, message="the pod was ended before the script started")
        return RunReport(exit_code=143, failure=failure)
    failure = Failure(
        reason=Reason.SCRIPT_KILLED,
        message="the script and its launcher were killed, and left no word of why",
        hint="most often the container ran out of memory: see spec.resources.memory",
    )
    return RunReport(exit_code=137, failure=failure, killed=True)
