"""The user's code in its place: the script is Python, the archive is safe and importable."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tftrainer import archive
from tftrainer.archive import InvalidArchiveError, NoRoomError
from tftrainer.fetch import project
from tftrainer.fetch.buckets import parse
from tftrainer.fetch.entry import Entry, find, folder_of
from tftrainer.fetch.guarded import guarded
from tftrainer.fetch.selection import inline_conflict
from tftrainer.fetch.wanted import ARCHIVE_FIELD, SCRIPT_FIELD, Wanted, file_field
from tftrainer.layout import Layout
from tftrainer.messages.contract import CodePins, Pinned, Plan, Reason, Reference
from tftrainer.messages.handover import Package
from tftrainer.phase_error import PhaseError, clip
from tftrainer.preflight import check as preflight
from tftrainer.preflight.check import this_image
from tftrainer.preflight.finding import Findings
from tftrainer.preflight.strategies import Group
from tftrainer.progress import size
from tftrainer.uri import UriError, segments

_UNPACKED: Final = ".unpacked"
REQUIREMENTS: Final = "requirements.txt"
SCRIPT_LIMIT: Final = 64 * 1024**2
"""Bytes beyond which an object is no program."""


@dataclass(frozen=True, slots=True)
class Code:
    """The code of the job: its pins, what follows the script's folder on `sys.path`, each object of `dependencies.files`, and packages.

    `entry` is what is run; None where it could not be found. `findings` is all that is wrong. `is_elsewhere` says that an earlier attempt,
    of one of the first versions, had a folder that holds the script beside it: then nothing else is known.
    """

    pins: CodePins = field(default_factory=CodePins)
    path: tuple[str, ...] = ()
    files: tuple[Pinned, ...] = ()
    packages: tuple[Package, ...] = ()
    entry: Entry | None = None
    findings: tuple[PhaseError, ...] = ()
    is_elsewhere: bool = False


def check_code(
    plan: Plan,
    layout: Layout,
    wanted: list[Wanted],
    *,
    download: Callable[[list[Wanted]], list[Pinned]],
    install: Callable[[Path], tuple[Package, ...]],
    examine: Callable[[Entry, tuple[str, ...] | None, tuple[str, ...]], list[PhaseError]],
    left_out: Callable[[int], list[tuple[str, Pinned]]],
    fetched: int,
    complete: bool,
) -> Code:
    """Fetch the wanted code and check it; `fetched` are the bytes of all objects of the job.

    What is not `complete`, because some of it could not be found, is checked as far as it goes. `install` puts the packages into a
    folder; `examine` reads a script that is one of the files, given what follows its folder on `sys.path`, None where that is not
    complete, and the folders of packages. `left_out` fetches what of an entry of `dependencies.files` is left out, to tell what it is.
    """
    too_large = check_script_size(wanted)
    if too_large is not None:
        return Code(findings=(too_large,))
    try:
        found = download(wanted)
        inline = place_inline_script(plan, layout, wanted) if plan.script.is_inline else None
        pins = pin(plan, layout, wanted, found, inline)
        findings, before = check_unchanged(plan, pins, lambda index: pin_as_before(plan, layout, wanted, found, index, left_out(index)))
    except PhaseError as failed:
        return Code(findings=(failed,))
    if any(plan.files[index].into for index in before):
        return Code(is_elsewhere=True)
    archived = next((each.target for each in wanted if each.role == "archive"), None)
    path: tuple[str, ...] = ()
    if archived is not None:
        try:
            path = prepare_archive(plan, archived, layout, fetched, wanted)
        except PhaseError as failed:
            findings.append(failed)
            complete = False
    packages: tuple[Package, ...] = ()
    places: tuple[str, ...] = ()
    if plan.requirements:
        places = (str(layout.packages),)
        try:
            packages = install(layout.packages)
        except PhaseError as failed:
            findings.append(failed)
            complete = False
    entry, wrong = _found(plan, layout, places)
    findings += wrong if complete else []
    if entry is not None and entry.file is not None and entry.file.is_file():
        if entry.file.parent != layout.code and not entry.module:
            path = (str(layout.code), *path)
        findings += examine(entry, path if complete else None, places)
    files = tuple(pinned for each, pinned in zip(wanted, found, strict=True) if any(named.role == "files" for named in each.names))
    return Code(pins, (*path, *places), files, packages, entry, tuple(findings))


def _found(plan: Plan, layout: Layout, places: Sequence[str]) -> tuple[Entry | None, list[PhaseError]]:
    try:
        return find(plan, layout.code, places), []
    except PhaseError as failed:
        return None, [failed]


def check_script_size(wanted: Sequence[Wanted]) -> PhaseError | None:
    """Return what is wrong with a script that is too large to be one; nothing of it is fetched."""
    for each in wanted:
        if any(named.role == "script" for named in each.names) and each.info.size > SCRIPT_LIMIT:
            return PhaseError(
                Reason.INVALID_SPEC,
                f"{SCRIPT_FIELD} names an object of {size(each.info.size)}, expected a Python program, of at most {size(SCRIPT_LIMIT)}",
                "name the program itself; data belongs into spec.inputs",
            )
    return None


def check_script_name(plan: Plan) -> None:
    """Make sure that the name of a script with a name of its own is a file name.

    Raises:
        PhaseError: `InvalidSpec`.
    """
    if plan.script.is_brought:
        return
    try:
        parts = segments(plan.script.name)
    except UriError:
        parts = ()
    if len(parts) != 1 or plan.script.name.endswith("/"):
        raise PhaseError(
            Reason.INVALID_SPEC, f"spec.script.name is {plan.script.name!r}, expected a file name such as train.py", "correct it"
        )


def place_inline_script(plan: Plan, layout: Layout, fetched: Sequence[Wanted] = ()) -> Pinned:
    """Copy the inline script beside the other code, which is `fetched`, and return its digest.

    Raises:
        PhaseError: `TrainerError`, it is not where the operator puts it; `DigestMismatch`; `InputConflict`, something else is in its place.
    """
    target = layout.code / plan.script.name
    taken = next((each for each in fetched if each.target == target), None)
    try:
        if taken is not None and target.read_bytes() != (layout.inline / plan.script.name).read_bytes():
            raise inline_conflict(plan, taken)
        shutil.copyfile(layout.inline / plan.script.name, target)
    except OSError as error:
        raise PhaseError(
            Reason.TRAINER_ERROR,
            f"the inline script {plan.script.name!r} is not in its ConfigMap ({error.strerror})",
            "the ConfigMap of the pod was changed by hand; run the job again",
        ) from None
    data = target.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if plan.script.sha256 and plan.script.sha256.lower() != sha256:
        raise PhaseError(
            Reason.DIGEST_MISMATCH,
            f"the ConfigMap of the pod does not hold spec.script.inline: its {plan.script.name} has the SHA-256 {sha256} instead of "
            f"{plan.script.sha256}",
            "somebody has made that ConfigMap or changed it: find out who, delete it, and create the job again",
        )
    return Pinned(uri=f"inline:{plan.script.name}", sha256=sha256, bytes=len(data))


def examine(
    plan: Plan,
    layout: Layout,
    entry: Entry,
    path: tuple[str, ...] | None,
    packages: tuple[str, ...],
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
) -> Findings:
    """Return what pre-flight says of the script, which is a file; nothing of it is run.

    `packages` are folders of installed packages, which count like those of the image; `path` is what follows the script's folder on
    `sys.path`, None where the code is not complete, so that nothing can be said to be missing. Nor can it by a check, whose node may be
    of another kind than the run's, where the job brings compiled modules.
    """
    if entry.file is None:
        return Findings()
    image = this_image(plan.runtime, environment, packages)
    if path is None or (plan.check_only and _has_compiled(layout)):
        image = replace(image, has=lambda _name: True)
    file, first = entry.file, layout.code if entry.module else entry.file.parent
    places = tuple(dict.fromkeys((str(first), str(layout.code), *(path or ()))))
    group = Group.of(plan, image, environment)
    found = guarded(
        entry.name,
        lambda: preflight.examine(entry.name, file.read_bytes(), places, image, arguments, package=entry.package, group=group),
    )
    if not plan.requirements and any(has_file(place, REQUIREMENTS) for place in places):
        found.warnings.append(
            f"{REQUIREMENTS} is not installed: what the script needs of it beside the image's packages belongs into "
            "spec.dependencies.requirements, one item for each package"
        )
    return found


def _has_compiled(layout: Layout) -> bool:
    """Whether the job brings modules for one kind of processor; those of packages are for this one."""
    return any(not each.is_relative_to(layout.packages) for root in (layout.code, layout.dependencies) for each in root.rglob("*.so"))


def has_file(place: str, name: str) -> bool:
    """Whether a folder, or a zip, has a file of that name at its top."""
    if not os.path.isfile(place):  # noqa: PTH113 - as on `sys.path`
        return os.path.isfile(os.path.join(place, name))  # noqa: PTH113, PTH118
    try:
        with zipfile.ZipFile(place) as zipped:
            return name in zipped.NameToInfo
    except (OSError, zipfile.BadZipFile):
        return False


def pin(plan: Plan, layout: Layout, wanted: Sequence[Wanted], found: Sequence[Pinned], inline: Pinned | None) -> CodePins:
    """Return what the code is, given what was fetched of it, in the order of `wanted`."""
    by_field = _by_field(wanted, found)
    script, archive = (by_field.get(field, [(layout.code, None)])[0][1] for field in (SCRIPT_FIELD, ARCHIVE_FIELD))
    files = tuple(
        _together(reference.uri, [(os.path.relpath(target, layout.code), each) for target, each in by_field.get(file_field(index), [])])
        for index, reference in enumerate(plan.files)
    )
    return CodePins(script=inline or script, archive=archive, files=files)


def pin_as_before(
    plan: Plan, layout: Layout, wanted: Sequence[Wanted], found: Sequence[Pinned], index: int, more: Sequence[tuple[str, Pinned]]
) -> Pinned:
    """Return what a folder of `dependencies.files` is as the first versions told it, which jobs of theirs go by.

    They put it under its own name beside the script, also where it held the script, and left nothing out: `more` is what is now.
    """
    uri = plan.files[index].uri
    root = folder_of(layout.code, index, plan.files[index])
    held = [(os.path.relpath(target, root), each) for target, each in _by_field(wanted, found).get(file_field(index), [])]
    own_name = parse(file_field(index), uri).name
    return _together(uri, [(f"{own_name}/{path}", each) for path, each in (*held, *more)])


def _by_field(wanted: Sequence[Wanted], found: Sequence[Pinned]) -> Mapping[str, list[tuple[Path, Pinned]]]:
    by_field: dict[str, list[tuple[Path, Pinned]]] = defaultdict(list)
    for each, pinned in zip(wanted, found, strict=True):
        for named in each.names:
            by_field[named.field].append((each.target, pinned))
    return by_field


def _together(uri: str, found: list[tuple[str, Pinned]]) -> Pinned:
    """Return what one entry of `dependencies.files` is: an object as itself, a folder by the digest of its list."""
    if len(found) == 1 and not uri.endswith("/"):
        return found[0][1]
    together = hashlib.sha256()
    for target, pinned in sorted(found, key=lambda each: each[0]):
        together.update(f"{len(target)}:{target} {pinned.sha256}\n".encode("utf-8", "surrogateescape"))
    return Pinned(uri=clip(uri, 1200), sha256=together.hexdigest(), bytes=sum(pinned.bytes for _, pinned in found))


def check_unchanged(plan: Plan, found: CodePins, as_before: Callable[[int], Pinned]) -> tuple[list[PhaseError], list[int]]:
    """Return one failure for each piece of code that is not what an earlier attempt of this job ran.

    Folders of `dependencies.files` that are what it ran in the way of the first versions alone, which `as_before` tells, are no
    failures; the second list has their numbers.

    Raises:
        PhaseError: as of `as_before`.
    """
    if plan.pins is None:
        return [], []
    pairs: list[tuple[Pinned | None, Pinned | None, str]] = [
        (plan.pins.script, found.script, "script"),
        (plan.pins.archive, found.archive, "dependencies.archive"),
    ]
    before = []
    for index, (old, new) in enumerate(zip(plan.pins.files, found.files, strict=False)):
        if not _is(old, new) and plan.files[index].uri.endswith("/") and _is(old, as_before(index)):
            before.append(index)
        else:
            pairs.append((old, new, f"dependencies.files[{index}]"))
    ran = "an earlier attempt of this job ran" if plan.attempt else "what was checked while this job waited had"
    changed = [
        PhaseError(
            Reason.CODE_CHANGED,
            f"{new.uri} (spec.{field}) has the SHA-256 {new.sha256}, but {ran} {old.sha256}",
            "put the old content back, or create a new job to run the new one",
        )
        for old, new, field in pairs
        if old is not None and new is not None and not _is(old, new)
    ]
    return changed, before


def _is(old: Pinned, new: Pinned) -> bool:
    """Whether a piece of code is what was pinned, of which only the beginning of the digest may be known."""
    return new.sha256.startswith(old.sha256)


def prepare_archive(plan: Plan, file: Path, layout: Layout, fetched: int, beside: Sequence[Wanted] = ()) -> tuple[str, ...]:
    """Make the archive importable and return what goes on `sys.path`; one that brings the script goes into the working directory.

    `fetched` are the bytes of all objects of the job, the archive's too: what the workspace has beside them is what it may unpack to.
    `beside` are objects that lie in the working directory.

    Raises:
        PhaseError: `InvalidArchive`, naming the entry; `InputTooLarge`, it unpacks to more than the workspace has left; `InputConflict`.
    """
    if plan.archive is None:
        return ()
    places = (layout.dependencies,) if file.suffix == ".py" else _unpacked(plan, plan.archive, file, layout, fetched)
    if plan.script.is_brought:
        return project.take_over(plan.script, places, layout, beside)
    return tuple(map(str, places))


def _unpacked(plan: Plan, reference: Reference, file: Path, layout: Layout, fetched: int) -> tuple[Path, ...]:
    room = max(plan.workspace_bytes - fetched, 0)
    try:
        prepared = archive.prepare(file, layout.dependencies / (file.name + _UNPACKED), room=room, packed=not plan.script.is_brought)
    except InvalidArchiveError as error:
        raise PhaseError(
            Reason.INVALID_ARCHIVE,
            f"archive {reference.uri}: {error}",
            error.hint or "make the archive again, for example with zip -r from its folder",
        ) from None
    except NoRoomError as error:
        raise PhaseError(
            Reason.INPUT_TOO_LARGE,
            f"archive {reference.uri} unpacks to {size(error.needed)} (largest entry: {clip(error.largest, 120)!r}), "
            f"but spec.resources.workspace is {size(plan.workspace_bytes)} and has {size(room)} left beside what is fetched",
            "raise spec.resources.workspace, or leave out of the archive what is not code: data can be named in spec.inputs",
        ) from None
    return prepared.path
