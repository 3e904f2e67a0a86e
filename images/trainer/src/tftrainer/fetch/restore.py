"""The newest whole state of the job's checkpoints, out of the bucket into the folder that the script reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tftrainer import saved, tf_checkpoint, uri
from tftrainer.contract import Plan
from tftrainer.fetch.wanted import Found, Wanted
from tftrainer.layout import Layout
from tftrainer.progress import size
from tftrainer.storage.interface import Store
from tftrainer.storage.store import ObjectInfo

_ABSOLUTE: Final = re.compile(rb'(:\s*")(/[^"]*/)([^"/]+")')


@dataclass(frozen=True, slots=True)
class Restored:
    """What the script will find: `wanted` are its objects, `words` say which checkpoint it is, empty if there is none.

    `states` are state files of TensorFlow to write because the bucket's name a checkpoint that is not whole.
    """

    found: Found = field(default_factory=Found)
    words: str = ""
    states: tuple[tuple[Path, bytes], ...] = ()


def look_up(plan: Plan, layout: Layout, store: Store) -> Restored:
    """Look for the newest whole state of the folder of `spec.checkpoints`.

    Raises:
        PhaseError: the store fails, or `spec.checkpoints` is wrong.
    """
    if plan.checkpoints is None:
        return Restored()
    folder = saved.folder_key(plan.checkpoints)
    target = uri.local_path(layout.bucket, folder)
    key = store.credentials.key(folder)
    # Listed after the index is read: an object that the index names has been there before.
    data = store.read(key + saved.INDEX_NAME, saved.LIMIT)
    objects = {each.key.removeprefix(key): each for each in store.list(key)}
    state = saved.decode(data) if data is not None else None
    if state is not None and saved.stands(state, {name: (each.size, each.etag.strip('"')) for name, each in objects.items()}):
        return _restored(store, target, [(each.path, objects[each.name]) for each in state.files], state.in_words())
    return _without_index(store, target, {path: each for path, each in objects.items() if not saved.is_reserved(path)})


def make_relative(states: Sequence[Path]) -> None:
    """Have TensorFlow's state files name checkpoints of their own folder by their names alone.

    TensorFlow 1 writes absolute paths, which hold only where the folder has the same path again.
    """
    for path in states:
        text = path.read_bytes()
        relative = _ABSOLUTE.sub(rb"\1\3", text)
        if relative != text:
            path.write_bytes(relative)


def _without_index(store: Store, target: Path, objects: dict[str, ObjectInfo]) -> Restored:
    """Take all files that the folder has, but of TensorFlow's checkpoints whole ones only."""
    found = tf_checkpoint.checkpoints(objects)
    broken = {path for each in found.values() if not each.whole for path in each.files}
    broken |= {path for path in objects if tf_checkpoint.is_unfinished(path)}
    states: list[tuple[Path, bytes]] = []
    for path in [each for each in objects if each.rpartition("/")[2] == tf_checkpoint.STATE_NAME]:
        folder = path.rpartition("/")[0]
        data = store.read(objects[path].key, tf_checkpoint.STATE_LIMIT) or b""
        named = tf_checkpoint.named_by(data, folder)
        if named is not None and named in found and found[named].whole:
            continue
        newest = tf_checkpoint.newest(found, folder)
        broken.add(path)
        if newest is not None:
            states.append((uri.local_path(target, path), tf_checkpoint.state_of(newest.name.rpartition("/")[2])))
    whole = [(path, each) for path, each in objects.items() if path not in broken]
    restored = _restored(store, target, whole, saved.described([path for path, _ in whole]))
    left = f"{saved.FIELD}: {len(broken)} files of checkpoints that are not whole are left out"
    facts = (*restored.found.facts, left) if broken else restored.found.facts
    return Restored(Found(restored.found.wanted, restored.found.folders, facts), restored.words, tuple(states))


def _restored(store: Store, target: Path, files: list[tuple[str, ObjectInfo]], words: str) -> Restored:
    if not files:
        fact = f"{saved.FIELD}: no checkpoint yet, the script starts from the beginning"
        return Restored(Found(folders=(target,), facts=(fact,)))
    wanted = tuple(Wanted(store, info, uri.local_path(target, path), "data", saved.FIELD) for path, info in files)
    total = sum(info.size for _, info in files)
    return Restored(Found(wanted, (target,), (f"{saved.FIELD}: restoring {words}, {size(total)}",)), words)
