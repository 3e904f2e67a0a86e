"""State files of TensorFlow among the data: `checkpoint`, which often names checkpoints by paths of the machine that wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from tftrainer.checkpoints import tf_checkpoint
from tftrainer.fetch.wanted import Wanted
from tftrainer.phase_error import clip

_SHOWN: Final = 200


def is_state(path: Path) -> bool:
    """Whether a file of the workspace is a state file."""
    return (
        path.name == tf_checkpoint.STATE_NAME
        and path.is_file()
        and path.stat().st_size <= tf_checkpoint.STATE_LIMIT
        and tf_checkpoint.is_state(path.read_bytes())
    )


def make_relative(path: Path) -> None:
    """Have a state file name checkpoints of its own folder by their names alone."""
    text = path.read_bytes()
    relative = tf_checkpoint.relative(text)
    if relative != text:
        path.write_bytes(relative)


def with_relative_states(data: Iterable[Wanted], say: Callable[[str], None]) -> Iterator[Wanted]:
    """Yield what was fetched, its state files made relative where the checkpoint that they name lies beside them.

    That is before anybody takes note of the files: what is changed here counts as fetched, and is not uploaded.
    """
    for each in data:
        if is_state(each.target):
            _settle(each, say)
        yield each


def _settle(state: Wanted, say: Callable[[str], None]) -> None:
    text, folder = state.target.read_bytes(), state.target.parent
    named = tf_checkpoint.named(text)
    if not tf_checkpoint.is_absolute(named) or named.rpartition("/")[0] == str(folder):
        return
    name = folder / named.rpartition("/")[2]
    # The oldest form of a checkpoint is one file without an ending.
    if name.is_file() or name.with_name(tf_checkpoint.index_of(name.name)).is_file():
        make_relative(state.target)
        say(clip(f"{state.uri} names the checkpoint {clip(named, _SHOWN)}: it is taken from beside it, and the object stays as it is"))
    else:
        say(clip(f"warning: {state.uri} names the checkpoint {clip(named, _SHOWN)}, of which no file lies beside it"))
