"""What is to be fetched for which field of the job: one file for one object, or the job is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tftrainer.contract import Plan, Reason
from tftrainer.layout import Layout
from tftrainer.phase_error import PhaseError
from tftrainer.progress import counted, size
from tftrainer.storage.interface import Store
from tftrainer.storage.store import ObjectInfo

SCRIPT_FIELD: Final = "spec.script.uri"
ARCHIVE_FIELD: Final = "spec.dependencies.archive.uri"
ROLES: Final = ("script", "archive", "files", "data")
"""What an object is to the job, the strongest first: all but data is code, which is pinned."""
FACTS_LIMIT: Final = 32


def file_field(index: int) -> str:
    """Return the field that names an entry of `dependencies.files`."""
    return f"spec.dependencies.files[{index}].uri"


def input_field(name: str) -> str:
    """Return the field that names a declared input."""
    return f"spec.inputs[{name}].uri"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object to fetch, named by `field` of the spec.

    `role` is one of `ROLES`; `sha256` what the job demands. `also` is the same object for the same place as other fields name it, each
    with its own role and demand.
    """

    store: Store
    info: ObjectInfo
    target: Path
    role: str
    field: str
    sha256: str | None = None
    also: tuple[Wanted, ...] = ()

    @property
    def names(self) -> tuple[Wanted, ...]:
        """The object as each field names it."""
        return (self, *self.also)

    @property
    def uri(self) -> str:
        """The object's URI."""
        return self.store.uri(self.info.key)


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one look-up: objects to fetch, folders to make, sentences for the log."""

    wanted: tuple[Wanted, ...] = ()
    folders: tuple[Path, ...] = ()
    facts: tuple[str, ...] = ()


def check_targets(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Return every object once, with all the fields that name it; its role is the strongest of theirs.

    Raises:
        PhaseError: `InputConflict`, two objects would be one file, or one would be the other's folder.
    """
    by_target: dict[Path, Wanted] = {}
    for each in wanted:
        other = by_target.get(each.target, each)
        if (other.store.credentials.host, other.uri) != (each.store.credentials.host, each.uri):
            raise PhaseError(
                Reason.INPUT_CONFLICT,
                f"{other.field} ({other.uri}) and {each.field} ({each.uri}) would both become the file {each.target.name!r}",
                "rename one of the objects, or put one into a folder",
            )
        by_target[each.target] = each if other is each else _together(other, each)
    _check_folders(by_target)
    return list(by_target.values())


def _together(one: Wanted, other: Wanted) -> Wanted:
    if any((each.field, each.sha256) == (other.field, other.sha256) for each in one.names):
        return one
    first, *rest = sorted((*one.names, other), key=lambda each: ROLES.index(each.role))
    return replace(first, also=tuple(replace(each, also=()) for each in rest))


def _check_folders(by_target: Mapping[Path, Wanted]) -> None:
    passed: set[Path] = set()
    for each in by_target.values():
        for parent in each.target.parents:
            if parent in passed:
                break
            passed.add(parent)
            if parent in by_target:
                raise PhaseError(
                    Reason.INPUT_CONFLICT,
                    f"object {by_target[parent].uri} and the folder of {each.uri} would have the same path",
                    "rename one of them",
                )


def check_inline_script(plan: Plan, layout: Layout, wanted: Iterable[Wanted]) -> None:
    """Make sure that no object would take the place of an inline script.

    Raises:
        PhaseError: `InputConflict`.
    """
    script = layout.code / plan.script.name
    for each in wanted if plan.script.uri is None else ():
        if each.target == script or script in each.target.parents:
            raise PhaseError(
                Reason.INPUT_CONFLICT,
                f"spec.script.inline and {each.field} ({each.uri}) would both become {plan.script.name!r}",
                "give the script another name in spec.script.name, or rename the object",
            )


def facts(wanted: Iterable[Wanted]) -> list[str]:
    """Return in words what was found for each field of the spec: which object or how many, and how many bytes."""
    by_field: dict[str, list[Wanted]] = {}
    for each in wanted:
        for named in each.names:
            by_field.setdefault(named.field, []).append(each)
    texts = [
        f"{field}: {found[0].uri if len(found) == 1 else counted(len(found), 'object')}, {size(sum(each.info.size for each in found))}"
        for field, found in by_field.items()
    ]
    return texts if len(texts) <= FACTS_LIMIT else [*texts[:FACTS_LIMIT], f"and {len(texts) - FACTS_LIMIT} fields more"]
