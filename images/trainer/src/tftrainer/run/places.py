"""The paths that the launcher reads and writes, below roots that a test can choose."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tftrainer import contract


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """The workspace shared with the user's script, the state folder that only the product writes, the kubelet's message file."""

    workspace: Path = Path(contract.WORKSPACE)
    state: Path = Path(contract.STATE)
    termination_log: Path = Path("/dev/termination-log")

    @property
    def lock(self) -> Path:
        """Held for as long as the launcher lives."""
        return self.state / Path(contract.LOCK_FILE).name

    @property
    def resolved(self) -> Path:
        """The run as `fetch` has prepared it."""
        return self.state / Path(contract.RESOLVED_FILE).name

    @property
    def code(self) -> Path:
        """The user's script and the files beside it."""
        return self.workspace / Path(contract.CODE).name

    @property
    def dependencies(self) -> Path:
        """The user's archive."""
        return self.workspace / Path(contract.DEPENDENCIES).name

    @property
    def packages(self) -> Path:
        """Installed packages."""
        return self.dependencies / Path(contract.PACKAGES).name

    @property
    def logs(self) -> Path:
        """Both streams of the script."""
        return self.workspace / Path(contract.LOGS).name

    @property
    def run_folder(self) -> Path:
        """Marks for the publisher."""
        return self.workspace / Path(contract.RUN_FOLDER).name

    @property
    def record(self) -> Path:
        """Where the script's interpreter describes the exception that ended it."""
        return self.run_folder / "exception.json"
