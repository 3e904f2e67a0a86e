"""The user's code in its place: the script is Python, the archive is safe and importable."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tftrainer import archive
from tftrainer.archive import InvalidArchiveError, NoRoomError
from tftrainer.contract import CodePins, Pinned, Plan, Reason
from tftrainer.fetch.wanted import ARCHIVE_FIELD, SCRIPT_FIELD, Wanted, file_field
from tftrainer.layout import Layout
from tftrainer.phase_error import PhaseError, clip
from tftrainer.preflight import check as preflight
from tftrainer.preflight.check import this_image
from tftrainer.preflight.finding import Findings
from tftrainer.progress import size
from tftrainer.uri import UriError, segments

_UNPACKED: Final = ".unpacked"


def check_script_name(plan: Plan) -> None:
    """Make sure that the script's name is a file name.

    Raises:
        PhaseError: `InvalidSpec`.
    """
    try:
        parts = segments(plan.script.name)
    except UriError:
        parts = ()
    if len(parts) != 1 or plan.script.name.endswith("/"):
        raise PhaseError(
            Reason.INVALID_SPEC, f"spec.script.name is {plan.script.name!r}, expected a file name such as train.py", "correct it"
        )


def place_inline_script(plan: Plan, layout: Layout) -> Pinned:
    """Copy the inline script beside the other code and return its digest.

    Raises:
        PhaseError: `TrainerError`, it is not where the operator puts it; `DigestMismatch`.
    """
    target = layout.code / plan.script.name
    try:
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
            f"spec.script.inline has the SHA-256 {sha256}, but spec.script.sha256 is {plan.script.sha256}",
            "correct it",
        )
    return Pinned(uri=f"inline:{plan.script.name}", sha256=sha256, bytes=len(data))


def examine(
    plan: Plan,
    layout: Layout,
    path: tuple[str, ...] | None,
    packages: tuple[str, ...],
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
) -> Findings:
    """Return what pre-flight says of the script; nothing of it is run.

    `packages` are folders of installed packages, which count like those of the image; `path` is what follows the script's folder on
    `sys.path`, None where the code is not complete, so that nothing can be said to be missing.
    """
    source = (layout.code / plan.script.name).read_bytes()
    image = this_image(plan.runtime, environment, packages)
    if path is None:
        image = replace(image, has=lambda _name: True)
    return preflight.examine(plan.script.name, source, (str(layout.code), *(path or ())), image, arguments)


def pin(plan: Plan, layout: Layout, wanted: Sequence[Wanted], found: Sequence[Pinned], inline: Pinned | None) -> CodePins:
    """Return what the code is, given what was fetched of it, in the order of `wanted`."""
    by_field: dict[str, list[tuple[str, Pinned]]] = defaultdict(list)
    for each, pinned in zip(wanted, found, strict=True):
        for named in each.names:
            by_field[named.field].append((os.path.relpath(each.target, layout.code), pinned))
    script, archive = (by_field.get(field, [("", None)])[0][1] for field in (SCRIPT_FIELD, ARCHIVE_FIELD))
    files = tuple(_together(reference.uri, by_field.get(file_field(index), [])) for index, reference in enumerate(plan.files))
    return CodePins(script=inline or script, archive=archive, files=files)


def _together(uri: str, found: list[tuple[str, Pinned]]) -> Pinned:
    """Return what one entry of `dependencies.files` is: an object as itself, a folder by the digest of its list."""
    if len(found) == 1 and not uri.endswith("/"):
        return found[0][1]
    together = hashlib.sha256()
    for target, pinned in sorted(found, key=lambda each: each[0]):
        together.update(f"{len(target)}:{target} {pinned.sha256}\n".encode("utf-8", "surrogateescape"))
    return Pinned(uri=clip(uri, 1200), sha256=together.hexdigest(), bytes=sum(pinned.bytes for _, pinned in found))


def check_unchanged(plan: Plan, found: CodePins) -> list[PhaseError]:
    """Return one failure for each piece of code that is not what an earlier attempt of this job ran."""
    if plan.pins is None:
        return []
    pairs: list[tuple[Pinned | None, Pinned | None, str]] = [
        (plan.pins.script, found.script, "script"),
        (plan.pins.archive, found.archive, "dependencies.archive"),
    ]
    pairs += [
        (old, new, f"dependencies.files[{index}]") for index, (old, new) in enumerate(zip(plan.pins.files, found.files, strict=False))
    ]
    return [
        PhaseError(
            Reason.CODE_CHANGED,
            f"{new.uri} (spec.{field}) has the SHA-256 {new.sha256}, but an earlier attempt of this job ran {old.sha256}",
            "put the old content back, or create a new job to run the new one",
        )
        for old, new, field in pairs
        if old is not None and new is not None and old.sha256 and not new.sha256.startswith(old.sha256)
    ]


def prepare_archive(plan: Plan, file: Path, layout: Layout, fetched: int) -> tuple[str, ...]:
    """Make the archive importable and return what goes on `sys.path`.

    `fetched` are the bytes of all objects of the job, the archive's too: what the workspace has beside them is what it may unpack to.

    Raises:
        PhaseError: `InvalidArchive`, naming the entry; `InputTooLarge`, it unpacks to more than the workspace has left.
    """
    if plan.archive is None:
        return ()
    if file.suffix == ".py":
        return (str(layout.dependencies),)
    room = max(plan.workspace_bytes - fetched, 0)
    try:
        prepared = archive.prepare(file, layout.dependencies / (file.name + _UNPACKED), room=room)
    except InvalidArchiveError as error:
        raise PhaseError(
            Reason.INVALID_ARCHIVE,
            f"archive {plan.archive.uri}: {error}",
            error.hint or "make the archive again, for example with zip -r from its folder",
        ) from None
    except NoRoomError as error:
        raise PhaseError(
            Reason.INPUT_TOO_LARGE,
            f"archive {plan.archive.uri} unpacks to {size(error.needed)} (largest entry: {clip(error.largest, 120)!r}), "
            f"but spec.resources.workspace is {size(plan.workspace_bytes)} and has {size(room)} left beside what is fetched",
            "raise spec.resources.workspace, or leave out of the archive what is not code: data can be named in spec.inputs",
        ) from None
    return tuple(str(path) for path in prepared.path)
