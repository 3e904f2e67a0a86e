"""The folder that stands for the file system of a pod: removed at the end, unless it holds what is nowhere else."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tftrainer.layout import Layout
from tftrainer.local import surrogates

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HANDLE: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOVED: Final = ".removed-"
"""What the name of a folder that was moved begins with; what is at the top of a workspace is of our making, and named otherwise."""


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
            with contextlib.suppress(OSError):
                remove(root)


def remove(root: Path) -> None:
    """Remove a folder and all that is in it, whatever its mode and however deep; no link is followed.

    A folder in it is moved to the top before it is emptied, so that none is ever further away than one step.

    Raises:
        OSError: something cannot be removed.
    """
    top = os.open(root, _FOLDER)
    try:
        waiting, moved = _emptied(top), 0
        while waiting:
            name = waiting.pop()
            inner = os.open(name, _FOLDER, dir_fd=top)
            try:
                for below in _emptied(inner):
                    moved += 1
                    os.rename(below, f"{_MOVED}{moved}", src_dir_fd=inner, dst_dir_fd=top)
                    waiting.append(f"{_MOVED}{moved}")
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    root.rmdir()


def _emptied(folder: int) -> list[str]:
    """Remove all but folders from a folder; return the names of these, which are their owner's now."""
    found = []
    with os.scandir(folder) as entries:
        every = list(entries)
    for each in every:
        if not each.is_dir(follow_symlinks=False):
            os.unlink(each.name, dir_fd=folder)
            continue
        handle = os.open(each.name, _HANDLE, dir_fd=folder)
        try:
            Path(f"/proc/self/fd/{handle}").chmod(stat.S_IRWXU)
        finally:
            os.close(handle)
        found.append(each.name)
    return found


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
