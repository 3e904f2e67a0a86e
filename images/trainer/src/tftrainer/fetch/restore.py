"""The newest whole state of the job's checkpoints, out of the bucket into the folder that the script reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tftrainer import uri
from tftrainer.checkpoints import saved, tf_checkpoint
from tftrainer.checkpoints.form import Form, form_of
from tftrainer.fetch.states import is_state, make_relative
from tftrainer.fetch.wanted import Found, Wanted
from tftrainer.layout import Layout
from tftrainer.messages.contract import Plan
from tftrainer.progress import size
from tftrainer.storage.interface import Store
from tftrainer.storage.store import ObjectInfo


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
    if plan.evaluates:
        # Its leader may have fetched before, and be saving by now. All of it comes while the script runs.
        return Restored(Found(folders=(target,)))
    key = store.credentials.key(folder)
    # Listed after the index is read: an object that the index names has been there before.
    data = store.read(key + saved.INDEX_NAME, saved.LIMIT)
    objects = {each.key.removeprefix(key): each for each in store.list(key)}
    state = saved.decode(data) if data is not None else None
    if state is not None and saved.stands(state, {name: (each.size, each.etag.strip('"')) for name, each in objects.items()}):
        return _restored(store, target, [(each.path, objects[each.name]) for each in state.files], state.in_words())
    return _without_index(store, target, {path: each for path, each in objects.items() if not saved.is_reserved(path)})


def settle(restored: Restored, say: Callable[[str], None]) -> str:
    """Make of what was fetched what a script can go on from; return in words which checkpoint it is, empty if there is none.

    A file that was torn when it was saved would end every attempt: it is left out, and so are the files beside it, which count on from
    what it does not hold. TensorFlow's own checkpoints, which are whole by their names, stay.
    """
    ours = list(restored.found.wanted)
    torn = sorted({each.target for each in ours if form_of(each.target) is Form.TORN})
    groups = tf_checkpoint.checkpoints(str(each.target) for each in ours)
    theirs = {file for each in groups.values() for file in each.files} | {str(each.target) for each in ours if is_state(each.target)}
    folders = {each.parent for each in torn}
    left = {each.target for each in ours if each.target.parent in folders and str(each.target) not in theirs}
    for path in left:
        path.unlink()
    for each in ours:
        if is_state(each.target):
            make_relative(each.target)
    for path, text in restored.states:
        path.write_bytes(text)
    words = restored.words
    if left:
        more = f" and {len(torn) - 1} more" * (len(torn) > 1)
        say(
            f"{saved.FIELD}: {torn[0].name}{more} is torn: the script was writing it when it was saved; "
            f"{len(left)} files are not restored, and stay in the bucket"
        )
        remaining = [str(each.target) for each in ours if each.target not in left]
        words = saved.described(remaining) if remaining else ""
    return words


def _without_index(store: Store, target: Path, objects: dict[str, ObjectInfo]) -> Restored:
    """Take all files that the folder has, but of TensorFlow's checkpoints whole ones only."""
    found = tf_checkpoint.checkpoints(objects)
    broken = {path for path in objects if tf_checkpoint.is_unfinished(path)}
    states: list[tuple[Path, bytes]] = []
    for path in [each for each in objects if each.rpartition("/")[2] == tf_checkpoint.STATE_NAME]:
        folder = path.rpartition("/")[0]
        small = objects[path].size <= tf_checkpoint.STATE_LIMIT
        text = (store.read(objects[path].key, tf_checkpoint.STATE_LIMIT) or b"") if small else b""
        named = tf_checkpoint.named_by(text, folder)
        if not tf_checkpoint.is_state(text) or named is None:
            continue
        if named in found and found[named].whole:
            continue
        newest = tf_checkpoint.newest(found, folder)
        broken |= {path, *(each for each in objects if tf_checkpoint.name_of(each) == named)}
        if newest is not None:
            states.append((uri.local_path(target, path), tf_checkpoint.state_of(newest.name.rpartition("/")[2])))
    broken |= {path for each in found.values() if not each.whole for path in each.files}
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
