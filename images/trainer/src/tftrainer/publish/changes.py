"""What the script has created or changed in the bucket's folder, and what of it cannot become an object."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tftrainer.messages.contract import Failure, Reason
from tftrainer.messages.handover import FetchedFile
from tftrainer.messages.manifest import Skipped
from tftrainer.outputs import tree
from tftrainer.outputs.tree import LocalFile, Unreadable

SKIPPED_TOLD: Final = 20
"""Skipped things that a log names."""

_Identity = tuple[str, int, int, int, int]


def changes(root: Path, prefix: str, before: Iterable[FetchedFile]) -> tuple[list[LocalFile], list[Skipped], list[Failure]]:
    """Return the files below `root` that are not as they were `before`, what is skipped, and one failure for all that cannot be read.

    Keys will start with `prefix`.
    """
    known = {(each.path, each.size, each.mtime_ns, each.ctime_ns, each.inode): each.sha256 for each in before}
    files: list[LocalFile] = []
    skipped: list[Skipped] = []
    unreadable: list[Unreadable] = []
    for found in tree.walk(root, prefix):
        if isinstance(found, Unreadable):
            unreadable.append(found)
        elif isinstance(found, Skipped):
            # Some keys that a store has are none that are written.
            untouched = found.data and _identity(root, found.path) in known
            skipped.append(msgspec.structs.replace(found, data=False) if untouched else found)
        else:
            sha256 = known.get((found.path, found.size, found.mtime_ns, found.ctime_ns, found.inode))
            if sha256 is None or (sha256 and sha256 != _digest(root, found)):
                files.append(found)
    return files, skipped, [_failure(unreadable)] if unreadable else []


def skipped_in_words(skipped: Sequence[Skipped]) -> list[str]:
    """Return one line for each of the first skipped things, and one for the rest."""
    lines = [f"skipped {each.path}: {each.reason}" for each in skipped[:SKIPPED_TOLD]]
    if len(skipped) > SKIPPED_TOLD:
        lines.append(f"skipped {len(skipped) - SKIPPED_TOLD} more; the manifest lists the first {tree.SKIPPED_LIMIT}")
    return lines


def _failure(unreadable: Sequence[Unreadable]) -> Failure:
    first, rest = unreadable[0], len(unreadable) - 1
    more = f", and {rest} more of its kind" * bool(rest)
    return Failure(
        reason=Reason.PUBLISH_FAILED,
        message=f"output {first.path!r} cannot be read: {first.reason}{more}; whether it holds results is not known",
        hint="leave outputs to the user whom the script runs as: what another user owns, nobody else can make readable",
    )


def _digest(root: Path, file: LocalFile) -> str:
    """Return the file's SHA-256; empty if it cannot be read, which whoever uploads it is going to tell."""
    try:
        descriptor = tree.open_file(root, file.source)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _identity(root: Path, path: str) -> _Identity | None:
    try:
        status = (root / path).lstat()
    except OSError:
        return None
    return path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
