"""An archive that holds the script: it is the project, and what it holds becomes the working directory."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Sequence
from pathlib import Path

from tftrainer.fetch.wanted import ARCHIVE_FIELD, Wanted
from tftrainer.layout import Layout
from tftrainer.messages.contract import Reason, Script
from tftrainer.phase_error import PhaseError, clip


def take_over(script: Script, roots: Sequence[Path], layout: Layout, fetched: Sequence[Wanted]) -> tuple[str, ...]:
    """Move what an unpacked archive holds into the working directory, in which `fetched` lies already; return what else is importable.

    Of two `roots`, the second is the archive's top and the first the one folder in it. That folder counts as a wrapping, unless the
    script's path or module begins with its name. Of an archive that does not hold the script it counts as a package if it can be one,
    and what it holds can be imported by itself too, as where the script is not part of the code.

    Raises:
        PhaseError: `InputConflict`, something else lies in the place of a file or folder.
    """
    inner, top = roots[0], roots[-1]
    held = next((each for each in reversed(roots) if _holds(each, script)), None)
    root = held or (top if inner.name.isidentifier() else inner)
    for at, folders, files in os.walk(root):
        folders.sort()
        folder = layout.code / Path(at).relative_to(root)
        if folder.exists() and not folder.is_dir():
            raise _conflict(folder, layout, fetched)
        folder.mkdir(exist_ok=True)
        for name in sorted(files):
            source, target = Path(at, name), folder / name
            if not target.exists():
                source.rename(target)
            elif target.is_dir() or not filecmp.cmp(source, target, shallow=False):
                raise _conflict(target, layout, fetched)
    return (str(layout.code / inner.name),) if held is None and root == top != inner else ()


def _holds(root: Path, script: Script) -> bool:
    if script.module is not None:
        top = script.module.partition(".")[0]
        return (root / top).is_dir() or (root / f"{top}.py").is_file()
    return (root / script.name).is_file()


def _conflict(target: Path, layout: Layout, fetched: Sequence[Wanted]) -> PhaseError:
    name = clip(str(target.relative_to(layout.code)), 200)
    other = next((each for each in fetched if each.target == target or target in each.target.parents), None)
    what = f"{other.field} ({other.uri})" if other is not None else "another part of the job"
    return PhaseError(
        Reason.INPUT_CONFLICT,
        f"{ARCHIVE_FIELD} holds {name!r}, which {what} would become too, with another content",
        "leave one of them out, or put the file elsewhere with into in spec.dependencies.files",
    )
