"""All that is fetched for a job: every object once, whichever fields name it, and one file for one object, or the job is refused."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tftrainer.fetch.wanted import ROLES, Batch, Wanted
from tftrainer.layout import Layout
from tftrainer.messages.contract import Plan, Reason
from tftrainer.phase_error import PhaseError
from tftrainer.progress import counted, size

FACTS_LIMIT: Final = 32


@dataclass(slots=True)
class _Field:
    """What a field names: how many objects and bytes, and the first of the objects."""

    first: Wanted
    objects: int = 0
    bytes: int = 0


class Selection:
    """The objects that were found, in the order of their places.

    They are put together anew each time that they are gone through, so that any number of them takes no memory of its own.
    """

    def __init__(self, found: Iterable[tuple[Wanted, ...] | Batch] = ()) -> None:
        """Check and count them.

        Raises:
            PhaseError: `InputConflict`, two objects would be one file, or one would be the other's folder.
        """
        self._found = tuple(found)
        self._fields: dict[str, _Field] = {}
        self.bytes = 0
        self.largest: Wanted | None = None
        self._count = 0
        for each in self:
            self._count += 1
            self.bytes += each.info.size
            if self.largest is None or each.info.size > self.largest.info.size:
                self.largest = each
            for named in each.names:
                field = self._fields.setdefault(named.field, _Field(named))
                field.objects += 1
                field.bytes += named.info.size

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Wanted]:
        """Yield every object once, with all the fields that name it; its role is the strongest of theirs."""
        before: Wanted | None = None
        for each in heapq.merge(*map(_in_order, self._found), key=lambda wanted: wanted.place):
            if before is None:
                before = each
            elif before.target == each.target:
                before = together(before, each)
            else:
                if str(each.target).startswith(f"{before.target}/"):
                    raise PhaseError(
                        Reason.INPUT_CONFLICT,
                        f"object {before.uri} and the folder of {each.uri} would have the same path",
                        _apart(each),
                    )
                yield before
                before = each
        if before is not None:
            yield before

    def facts(self) -> list[str]:
        """Return in words what was found for each field of the spec: which object or how many, and how many bytes."""
        return [
            f"{name}: {each.first.uri if each.objects == 1 else counted(each.objects, 'object')}, {size(each.bytes)}"
            for name, each in self._fields.items()
        ]


def _in_order(found: tuple[Wanted, ...] | Batch) -> Iterator[Wanted]:
    return iter(found) if isinstance(found, Batch) else iter(sorted(found, key=lambda wanted: wanted.place))


def together(one: Wanted, other: Wanted) -> Wanted:
    """Return what is fetched to a place that two fields name: one object, or of code two that may turn out to have the same content.

    Raises:
        PhaseError: `InputConflict`, they are two objects, and not of one content.
    """
    if not one.is_same_object(other) and ("data" in (one.role, other.role) or one.info.size != other.info.size):
        raise conflict(one, other)
    if any((each.field, each.sha256) == (other.field, other.sha256) for each in one.names):
        return one
    first, *rest = sorted((*one.names, other), key=lambda each: ROLES.index(each.role))
    return replace(first, also=tuple(replace(each, also=()) for each in rest))


def conflict(one: Wanted, other: Wanted) -> PhaseError:
    """Return the failure of two objects that would be one file."""
    return PhaseError(
        Reason.INPUT_CONFLICT,
        f"{one.field} ({one.uri}) and {other.field} ({other.uri}) would both become the file {one.target.name!r}",
        "rename one of the objects, or put one into a folder: for a file with into in spec.dependencies.files",
    )


def _apart(in_folder: Wanted) -> str:
    field = next((each.field for each in in_folder.names if each.role == "files"), "")
    return f"name another folder in {field.removesuffix('.uri')}.into, or rename the file" if field else "rename one of them"


def facts(selections: Iterable[Selection]) -> list[str]:
    """Return what was found for the fields of the spec, in words, up to a limit."""
    texts = [fact for each in selections for fact in each.facts()]
    return texts if len(texts) <= FACTS_LIMIT else [*texts[:FACTS_LIMIT], f"and {len(texts) - FACTS_LIMIT} fields more"]


def check_inline_script(plan: Plan, layout: Layout, code: Iterable[Wanted]) -> None:
    """Make sure that no object would take the place of an inline script; one of its size may turn out to have its content.

    Raises:
        PhaseError: `InputConflict`.
    """
    if not plan.script.is_inline:
        return
    script, text = layout.code / plan.script.name, layout.inline / plan.script.name
    for each in code:
        same = each.target == script and text.is_file() and text.stat().st_size == each.info.size
        if not same and (each.target == script or script in each.target.parents):
            raise inline_conflict(plan, each)


def inline_conflict(plan: Plan, each: Wanted) -> PhaseError:
    """Return the failure of an object that would take the place of an inline script."""
    return PhaseError(
        Reason.INPUT_CONFLICT,
        f"spec.script.inline and {each.field} ({each.uri}) would both become {plan.script.name!r}",
        "give the script another name in spec.script.name, or rename the object"
        if each.target.name == plan.script.name
        else f"give the script another name in spec.script.name, or {_apart(each)}",
    )


def check_space(selections: Sequence[Selection], plan: Plan, free: int) -> list[PhaseError]:
    """Return why there is no room for the objects; empty if there is. `free` are the bytes that the disk of the workspace has left."""
    total = sum(each.bytes for each in selections)
    what = f"what is to be fetched takes {size(total)} ({counted(sum(map(len, selections)), 'object')})"
    if total > plan.workspace_bytes:
        largest = max((each.largest for each in selections if each.largest is not None), key=lambda each: each.info.size)
        return [
            PhaseError(
                Reason.INPUT_TOO_LARGE,
                f"{what}, and the workspace holds {size(plan.workspace_bytes)}; the largest is {largest.uri}",
                "raise spec.resources.workspace, or fetch less",
            )
        ]
    if total > free:
        return [
            PhaseError(
                Reason.WORKSPACE_FULL,
                f"{what}, but the node's disk has only {size(free)} left",
                "fetch less, or ask an admin for a node with more disk",
            )
        ]
    return []
