"""The folder that stands for the file system of a pod: removed at the end, unless it holds what is nowhere else."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tftrainer.layout import Layout
from tftrainer.local import surrogates


class WorkspaceError(Exception):
    """There can be no such folder. Its text says why, and what to do."""


class Workspace:
    """One such folder. `kept` is whether it stays."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.kept = False

    def keep(self) -> None:
        """Have it stay: a script writes into it from now on."""
        self.kept = True

    def release(self) -> None:
        """Have it removed: all that it holds is in the bucket."""
        self.kept = False


@contextlib.contextmanager
def workspace(job: str, script_name: str, inline: str | None, parent: str | None) -> Iterator[Workspace]:
    """Make the folder, with an inline script in it, and remove it at the end of the block if it is not to be kept.

    It lies in the folder `parent`, without one where the system keeps temporary files.

    Raises:
        WorkspaceError: that folder cannot be written.
    """
    try:
        root = Path(tempfile.mkdtemp(prefix=f"tftraining-{job[:60]}-", dir=parent)).resolve()
    except OSError as error:
        raise _unusable(error) from None
    found = Workspace(Layout(root))
    try:
        if surrogates.lone(str(root)):
            raise WorkspaceError(f"the variable TMPDIR names the folder for workspaces, {str(root.parent)!r}: its path is not UTF-8")
        _fill(found.layout, script_name, inline)
        yield found
    finally:
        if not found.kept:
            shutil.rmtree(root, ignore_errors=True)


def _fill(layout: Layout, script_name: str, inline: str | None) -> None:
    try:
        layout.termination_log.parent.mkdir(parents=True)
        if inline is not None:
            layout.inline.mkdir(parents=True)
            (layout.inline / script_name).write_text(inline, "utf-8")
    except OSError as error:
        raise _unusable(error) from None


def _unusable(error: OSError) -> WorkspaceError:
    place = error.filename or "a folder for temporary files"
    return WorkspaceError(f"{place} cannot be used: {error.strerror}; the variable TMPDIR names the folder for workspaces")
