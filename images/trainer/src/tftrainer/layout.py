"""Where things lie in a pod, below a root that a run outside a pod can move."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tftrainer.messages import contract, handover

ROOT_VARIABLE: Final = "TFTRAINING_ROOT"
"""Folder that stands for `/` when a phase runs outside a pod; not set in one."""
MESSAGE_VARIABLE: Final = "TFTRAINING_MESSAGE"
"""File below that root for a phase's last word, when it is not where a kubelet reads it."""
_MESSAGE: Final = "/dev/termination-log"


@dataclass(frozen=True, slots=True)
class Layout:
    """The contract's paths below `root`."""

    root: Path = Path("/")
    message: str = _MESSAGE

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the layout of this process."""
        return cls(Path(environment.get(ROOT_VARIABLE) or "/"), environment.get(MESSAGE_VARIABLE) or _MESSAGE)

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    @property
    def workspace(self) -> Path:
        """Shared by the containers."""
        return self._at(contract.WORKSPACE)

    @property
    def code(self) -> Path:
        """The script and the files beside it."""
        return self._at(contract.CODE)

    @property
    def dependencies(self) -> Path:
        """The archive."""
        return self._at(contract.DEPENDENCIES)

    @property
    def packages(self) -> Path:
        """Installed packages."""
        return self._at(contract.PACKAGES)

    @property
    def bucket(self) -> Path:
        """The job's bucket as the script sees it."""
        return self._at(contract.BUCKET)

    @property
    def datasets(self) -> Path:
        """The dataset library as the script sees it."""
        return self._at(contract.DATASETS)

    @property
    def inputs(self) -> Path:
        """One folder per declared input."""
        return self._at(contract.INPUTS)

    @property
    def logs(self) -> Path:
        """Both streams of the script."""
        return self._at(contract.LOGS)

    @property
    def hosted(self) -> Path:
        """What `/opt/ml` leads to."""
        return self._at(contract.HOSTED)

    @property
    def temporary(self) -> Path:
        """The script's temporary files."""
        return self._at(contract.TEMPORARY)

    @property
    def run_folder(self) -> Path:
        """What the launcher says of the run."""
        return self._at(contract.RUN_FOLDER)

    @property
    def record(self) -> Path:
        """Where the script's interpreter describes the exception that ended it."""
        return self.run_folder / "exception.json"

    @property
    def last_line(self) -> Path:
        """Where the script's interpreter says what keeps it alive when the main program has ended."""
        return self.run_folder / "last-line"

    @property
    def state(self) -> Path:
        """Read-only in the trainer container."""
        return self._at(contract.STATE)

    @property
    def resolved(self) -> Path:
        """The resolved run, for the launcher."""
        return self.state / handover.RESOLVED_NAME

    @property
    def baseline(self) -> Path:
        """What was fetched, for the publisher."""
        return self.state / handover.BASELINE_NAME

    @property
    def baseline_files(self) -> Path:
        """The fetched files of the bucket, for the publisher."""
        return self.state / handover.FILES_NAME

    @property
    def lock(self) -> Path:
        """Held by the launcher for as long as it lives."""
        return self.state / handover.LOCK_NAME

    @property
    def inline(self) -> Path:
        """Folder of an inline script."""
        return self._at(contract.INLINE_FOLDER)

    @property
    def reports_token(self) -> Path:
        """By which the operator knows whose report it gets."""
        return self._at(f"{contract.REPORTS_TOKEN_FOLDER}/{contract.REPORTS_TOKEN_NAME}")

    @property
    def termination_log(self) -> Path:
        """Where a kubelet reads a container's last word."""
        return self._at(self.message)
