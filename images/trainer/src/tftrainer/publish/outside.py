"""What the script has written where nothing is published from: beside itself, below the workspace, elsewhere in its container."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tftrainer.layout import Layout
from tftrainer.messages import contract
from tftrainer.messages.contract import Elsewhere, OpenFiles
from tftrainer.messages.manifest import Skipped
from tftrainer.outputs import tree
from tftrainer.outputs.tree import LocalFile
from tftrainer.publish.live import PUBLISHED_LOGS
from tftrainer.publish.placing import within

ELSEWHERE_LIMIT: Final = 64 * 1024
OPEN_LIMIT: Final = 4 * 1024**2
_PUBLISHED: Final = frozenset(f"{Path(contract.LOGS).name}/{name}" for name in PUBLISHED_LOGS)
_CACHE: Final = "__pycache__"
MessageT = TypeVar("MessageT", Elsewhere, OpenFiles)


@dataclass(frozen=True, slots=True)
class Outside:
    """Files below the workspace, the newest first: what is kept, what there is no room for, and in words what can have no key."""

    kept: tuple[LocalFile, ...] = ()
    too_much: tuple[LocalFile, ...] = ()
    impossible: tuple[str, ...] = ()


def outside(layout: Layout, limit: int) -> Outside:
    """Return the files below the workspace, but outside of the bucket's folder, that the script has written; of at most `limit` bytes.

    What `fetch` put there is older than its last word. Hidden names are caches and settings of libraries, and no work of the script.
    Results are newer than the data that a script fetches or unpacks for itself, and the last of its checkpoints is the newest.
    """
    since = layout.baseline.stat().st_ctime_ns
    found: list[LocalFile] = []
    impossible: list[str] = []
    for each in _below(layout.workspace):
        if not _is_work(each.path):
            continue
        if isinstance(each, LocalFile):
            if each.ctime_ns > since and not each.target:
                found.append(each)
        elif isinstance(each, tree.Unreadable) or each.data:
            impossible.append(f"{shown(each.path)} ({each.reason})")
    found.sort(key=lambda each: (-each.ctime_ns, each.path))
    kept, too_much = within(found, limit) if limit else ((), found)
    return Outside(tuple(kept), tuple(too_much), tuple(impossible))


def elsewhere(layout: Layout) -> Elsewhere:
    """Return what the launcher found of the script's files in other places of its container."""
    data = tree.read_small(layout.run_folder, contract.ELSEWHERE_NAME, ELSEWHERE_LIMIT)
    return _decoded(data, Elsewhere) or Elsewhere()


def last_look(layout: Layout) -> OpenFiles:
    """Return what the script had open for writing when it was last looked at: files of the bucket's folder, by their paths below it."""
    data = tree.read_small(layout.run_folder, contract.OPEN_NAME, OPEN_LIMIT)
    found = _decoded(data, OpenFiles) or OpenFiles()
    bucket = f"{Path(contract.BUCKET).name}/"
    return msgspec.structs.replace(found, paths=tuple(each.removeprefix(bucket) for each in found.paths if each.startswith(bucket)))


def shown(path: str) -> str:
    """Return the path of a file of the workspace as the script itself would name it."""
    return path.removeprefix(f"{Path(contract.CODE).name}/")


def _is_work(path: str) -> bool:
    return path not in _PUBLISHED and not any(name.startswith(".") or name == _CACHE for name in path.split("/"))


def _below(workspace: Path) -> Iterator[LocalFile | Skipped | tree.Unreadable]:
    for top in sorted(workspace.iterdir()):
        if top.name == Path(contract.BUCKET).name or top.name.startswith("."):
            continue
        status = top.lstat()
        if stat.S_ISREG(status.st_mode):
            yield LocalFile(top.name, status.st_size, status.st_mtime_ns, status.st_ino, ctime_ns=status.st_ctime_ns)
        elif stat.S_ISDIR(status.st_mode):
            yield from tree.walk(workspace, "", top.name)


def _decoded(data: bytes | None, kind: type[MessageT]) -> MessageT | None:
    try:
        return msgspec.json.decode(data, type=kind) if data is not None else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
