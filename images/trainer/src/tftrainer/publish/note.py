"""What the user has to know of the outputs, in sentences: for the log, the job's message, and its event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tftrainer.messages.contract import Elsewhere
from tftrainer.messages.manifest import Kept, KeptBecause
from tftrainer.outputs.tree import LocalFile
from tftrainer.phase_error import TEXT_LIMIT, clip
from tftrainer.progress import size
from tftrainer.publish.outside import shown

NAMED: Final = 3
"""Files of one kind that are named; the manifest lists them all."""
MORE: Final = " There is more: the manifest lists all that is kept."


@dataclass(frozen=True, slots=True)
class Facts:
    """What became of outputs, beside that they are published.

    `kept` files lie below `folder`, a URI; `too_much` is what there was no room or no time for, `impossible` names what cannot be kept and
    says why, and `elsewhere` is what nothing reaches. `unpublished` is what a replica has written that does not lead its group, which
    `leader` does. `model` says why the promised model is not at its path. `empty` are sentences about
    outputs at which nothing was written.
    """

    folder: str = ""
    kept: Sequence[Kept] = ()
    too_much: Sequence[LocalFile] = ()
    impossible: Sequence[str] = ()
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    model: str = ""
    empty: Sequence[str] = ()
    left_running: int = 0
    logs_lost: bool = False
    memory_kills: int = 0
    unpublished: Sequence[LocalFile] = ()
    leader: str = ""


def sentences(facts: Facts, uri: Callable[[str], str]) -> Iterator[str]:
    """Yield what there is to say, the gravest first. `uri` turns a key into a URI."""

    def kept(reason: KeptBecause) -> list[Kept]:
        return [each for each in facts.kept if each.because is reason]

    if found := kept(KeptBecause.CHANGED_MEANWHILE):
        names = _list(uri(each.instead_of) for each in found)
        yield f"somebody else wrote {names} while the job ran: theirs stays, and this run's is kept in {facts.folder}"
    if found := kept(KeptBecause.CUT_SHORT):
        names = _list(uri(each.instead_of) for each in found)
        yield f"the end of the script may have cut short {names}: what was there before stays, and this run's is kept in {facts.folder}"
    if found := kept(KeptBecause.MODEL_NOT_VERIFIED):
        what = "1 file below the model's path is" if len(found) == 1 else f"{len(found)} files below the model's path are"
        yield f"{facts.model}: {what} kept in {facts.folder} instead"
    if found := kept(KeptBecause.OUTSIDE_THE_BUCKET):
        names = _list(f"{shown(each.path)} ({size(each.size)})" for each in found)
        yield (
            f"{_were(len(found))} written outside ${{bucket}}, and kept in {facts.folder}: {names}; "
            "a path such as ${bucket}/model, given as an argument, has a key of its own"
        )
    yield from _not_kept(facts)
    if facts.unpublished:
        what = f"{_were(len(facts.unpublished))} written by this replica and not published"
        yield f"{what} ({size(sum(each.size for each in facts.unpublished))}): {facts.leader} publishes the outputs of the job"
    yield from facts.empty
    if facts.memory_kills:
        what, whose = ("process of the script", "its") if facts.memory_kills == 1 else ("processes of the script", "their")
        yield (f"the kernel killed {facts.memory_kills} {what} for want of memory (spec.resources.memory); {whose} work may be missing")
    if facts.left_running:
        what = "process that the script left running was" if facts.left_running == 1 else "processes that the script left running were"
        yield f"{facts.left_running} {what} killed at its end"
    if facts.logs_lost:
        yield "the log files of the run are not whole: the end of the script's log says why"


def _not_kept(facts: Facts) -> Iterator[str]:
    if facts.too_much:
        names = _list(f"{shown(each.path)} ({size(each.size)})" for each in facts.too_much)
        yield f"{_were(len(facts.too_much))} written outside ${{bucket}} and not kept, for want of room or time: {names}"
    if facts.impossible:
        yield f"{_were(len(facts.impossible))} written outside ${{bucket}} and cannot be kept: {_list(facts.impossible)}"
    if facts.elsewhere.count:
        names = _list((f"{each.path} ({size(each.size)})" for each in facts.elsewhere.files), facts.elsewhere.count)
        yield f"{_were(facts.elsewhere.count)} written among temporary files or outside of the workspace, and not kept: {names}"


def note(facts: Facts, uri: Callable[[str], str]) -> str:
    """Return the sentences as one text that a status takes, as many of the first as have room; empty if there is nothing to say."""
    room = TEXT_LIMIT - len(MORE)
    text = ""
    for each in sentences(facts, uri):
        longer = f"{text} {each[0].upper()}{each[1:]}.".lstrip()
        if len(longer) > room:
            return clip(text or longer, room) + MORE
        text = longer
    return clip(text)


def _were(count: int) -> str:
    return "1 file was" if count == 1 else f"{count} files were"


def _list(names: Iterable[str], count: int | None = None) -> str:
    """Return the first names with commas between, and how many more of `count` there are."""
    every = list(names)
    count = len(every) if count is None else count
    named = ", ".join(clip(each, 200) for each in every[:NAMED])
    return named if count <= NAMED else f"{named} and {count - NAMED} more"
