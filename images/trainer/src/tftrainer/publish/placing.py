"""Where each changed file goes: under its key, or, where that might replace something good by something worse, beside it.

Nothing here asks a store or a disk. What is put beside lies in the run's own folder of the bucket, and the manifest lists it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tftrainer import uri
from tftrainer.checkpoints import saved
from tftrainer.messages.contract import GRAPHS, OnConflict, OpenFiles, Plan
from tftrainer.messages.handover import Baseline, FetchedFile
from tftrainer.model import gate
from tftrainer.outputs.events import is_event_file
from tftrainer.outputs.tree import LocalFile
from tftrainer.storage.condition import Absent, Condition, Unchanged

CUT_SECONDS: Final = 2.0
"""A file that was changed so shortly before the end may have been cut by it."""
UPLOADED_LIMIT: Final = 4
"""How many times what the workspace holds a run may upload: holes of sparse files, and files with several names, take no space there."""
VARIABLES: Final = "variables"
"""The folder of a SavedModel's variables, and how its files' names begin."""


def may_be_cut(files: Iterable[LocalFile], look: OpenFiles, ended_at: float) -> list[LocalFile]:
    """Return the files that were cut, if the end of the run has cut any: what it killed was writing them.

    The evidence: a process of the script had the file open for writing at the last `look`, or it was changed after that look, or in the
    last moments before `ended_at`, in Unix seconds; infinity where the script has closed all that it wrote itself. Event files are only
    ever appended to, and any beginning of one is a whole one.
    """
    since = min(ended_at - CUT_SECONDS, math.inf if look.looked_at is None else look.looked_at)
    opened = frozenset(look.paths)
    return [file for file in files if not is_event_file(file.path) and (file.source in opened or file.ctime_ns / 1e9 >= since)]


def is_below(path: str, folder: str) -> bool:
    """Whether a path is that of the folder, or lies in it; neither begins with a slash."""
    folder = folder.rstrip("/")
    return not folder or path == folder or path.startswith(f"{folder}/")


def key_of(place: str) -> str:
    """Return the key, below the bucket's prefix, of a path such as `${bucket}/key`."""
    return uri.parse(place).key.rstrip("/")


@dataclass(frozen=True, slots=True)
class Conditions:
    """On which condition an output takes the place of what lies at its key: that this is what the run saw there before it started.

    Where nobody looked, as at keys that only the running script knew of, there is none; nor in the folder of checkpoints and for event
    files, which are uploaded again and again while the script runs. `seen` are ETags by path, `listed` keys and folders of which all was
    seen, `outputs` are from the narrowest to the widest.
    """

    seen: Mapping[str, str]
    listed: frozenset[str]
    outputs: tuple[tuple[str, OnConflict], ...]
    checkpoints: str | None

    @classmethod
    def of(cls, plan: Plan, baseline: Baseline, fetched: Iterable[FetchedFile]) -> Conditions:
        """Return the conditions that follow from what `fetch` saw, and, of what it fetched, the files that matter."""
        outputs = [(key_of(each.path), each.on_conflict) for each in plan.outputs]
        return cls(
            {each.path: each.etag for each in baseline.others} | {each.path: each.etag for each in fetched},
            frozenset(baseline.listed),
            tuple(sorted(outputs, key=lambda each: -len(each[0]))),
            key_of(plan.checkpoints.path) if plan.checkpoints is not None else None,
        )

    def __call__(self, file: LocalFile) -> Condition | None:
        """Return the condition for one file, None if there is none."""
        path = file.path
        if is_event_file(path) or (self.checkpoints is not None and is_below(path, self.checkpoints)):
            return None
        if self.on_conflict(path) is OnConflict.REPLACE:
            return None
        etag = self.seen.get(path)
        if etag is not None:
            return Unchanged(etag) if etag else None
        return Absent() if path in self.listed or any(folder in self.listed for folder in _folders(path)) else None

    def on_conflict(self, path: str) -> OnConflict:
        """Return what the job wants where the condition does not hold: what the narrowest of its outputs says."""
        return next((what for key, what in self.outputs if is_below(path, key)), OnConflict.KEEP)


def _folders(path: str) -> Iterator[str]:
    """Yield the folders that a path lies in, each with a slash at its end; that of all has no name."""
    yield ""
    at = 0
    while (at := path.find("/", at) + 1) > 0:
        yield path[:at]


def held_back(plan: Plan, files: Iterable[LocalFile]) -> list[LocalFile]:
    """Return what lies at the path of the promised model: nothing of it is put there before the model is known to load.

    Event files and what lies in the folder of checkpoints is in the bucket already, and is no model, unless the model's path lies in it.
    """
    if plan.model is None:
        return []
    model, in_checkpoints = key_of(plan.model.path), checkpoints_of(plan)
    return [file for file in files if is_below(file.path, model) and not is_event_file(file.path) and not in_checkpoints(file.path)]


def models(files: Iterable[LocalFile]) -> dict[str, frozenset[LocalFile]]:
    """Return the files of each SavedModel among `files`, by its folder, which ends with `/`.

    New ones beside old ones are no model, so they change places together.
    A model is known by its graph or by its variables, also where the other is missing or was not changed.
    """
    every = list(files)
    folders = {folder for file in every if (folder := _model_folder(file.path)) is not None}
    found: dict[str, set[LocalFile]] = {}
    for file in every if folders else ():
        for folder in folders.intersection(_folders(file.path)):
            if file.path[len(folder) :].partition("/")[0] in gate.PARTS:
                found.setdefault(folder, set()).add(file)
    return {folder: frozenset(each) for folder, each in found.items()}


def _model_folder(path: str) -> str | None:
    folder, name = path[: path.rfind("/") + 1], path[path.rfind("/") + 1 :]
    if name in GRAPHS:
        return folder
    if name.startswith(VARIABLES) and f"/{folder}".endswith(f"/{VARIABLES}/"):
        return folder.removesuffix(f"{VARIABLES}/")
    return None


def with_company(files: Iterable[LocalFile], models: Iterable[frozenset[LocalFile]]) -> frozenset[LocalFile]:
    """Return the files, and all of the models that one of them belongs to."""
    found = frozenset(files)
    return found.union(*(model for model in models if not found.isdisjoint(model)))


def checkpoints_of(plan: Plan) -> Callable[[str], bool]:
    """Tell paths that lie in the folder of `spec.checkpoints`, which has rules of its own, but not at a model's path within it."""
    if plan.checkpoints is None:
        return lambda _: False
    folder = key_of(plan.checkpoints.path)
    below = saved.model_below(plan, plan.checkpoints)
    model = f"{folder}/{below}" if below else None
    return lambda path: is_below(path, folder) and (model is None or not is_below(path, model))


def within_model(plan: Plan) -> Callable[[str], bool]:
    """Tell paths of checkpoints whose folder lies within the model's: they are no part of it, and no version of it."""
    if plan.model is None or plan.checkpoints is None:
        return lambda _: False
    model, folder = key_of(plan.model.path), key_of(plan.checkpoints.path)
    return lambda path: folder != model and is_below(folder, model) and is_below(path, folder)


def graphs_last(files: Iterable[LocalFile]) -> tuple[list[LocalFile], list[LocalFile]]:
    """Return the files in two parts: what may be uploaded in any order, and the graphs, which make all the others count."""
    parts: tuple[list[LocalFile], list[LocalFile]] = ([], [])
    for file in files:
        parts[file.path.rpartition("/")[2] in GRAPHS].append(file)
    return parts


def without_company(graphs: Iterable[LocalFile], missing: Collection[str]) -> list[LocalFile]:
    """Return the graphs of which a file of the same folder is `missing` under its key: without it, the model would be a broken one."""
    return [each for each in graphs if any(is_below(path, each.path.rpartition("/")[0]) for path in missing)]


def within(files: Iterable[LocalFile], limit: int) -> tuple[list[LocalFile], list[LocalFile]]:
    """Return the files, taken in their order, that make no more than `limit` bytes together, and those that are too much."""
    kept: list[LocalFile] = []
    too_much: list[LocalFile] = []
    room = limit
    for file in files:
        fits = file.size <= room
        room -= file.size if fits else 0
        (kept if fits else too_much).append(file)
    return kept, too_much


def empty_outputs(plan: Plan, written: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each output of the job at which the script has written nothing."""
    for number, each in enumerate(plan.outputs):
        key = key_of(each.path)
        if not any(is_below(path, key) for path in written):
            yield f"the script wrote nothing at {each.path} (spec.outputs[{number}].path)"
