"""TensorFlow's own checkpoints by the names of their files: which are whole, and which one a folder's state file names.

A checkpoint `model.ckpt-400` is `model.ckpt-400.index`, all of `model.ckpt-400.data-00000-of-00002` and so on, and perhaps
`model.ckpt-400.meta`. The state file, `checkpoint`, is written last and names the newest; it is a text-format `CheckpointState`
(tensorflow/python/training/checkpoint_state.proto).

Names alone decide nothing: other libraries write a `checkpoint`, a `faiss.index`, a `vocab.meta`. Such a file is TensorFlow's only if
it names a checkpoint, or lies beside the rest of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

STATE_NAME: Final = "checkpoint"
STATE_LIMIT: Final = 1024**2
"""Bytes of a state file that are read; one names a few dozen checkpoints."""
_PART: Final = re.compile(r"(?P<name>.+)\.(?:index|meta|data-(?P<shard>[0-9]{5})-of-(?P<shards>[0-9]{5}))")
_SHARD: Final = r"data-[0-9]{5}-of-[0-9]{5}"
_UNFINISHED: Final = re.compile(
    rf"_temp(_[0-9a-f]+)?/part-[0-9]{{5}}-of-[0-9]{{5}}\.(index|{_SHARD})(\.tempstate[0-9]*)?$"
    rf"|\.(index|{_SHARD})\.tempstate[0-9]*$"
    r"|((^|/)checkpoint|\.meta|\.pbtxt)\.tmp[0-9a-f]{32}$"
)
_FIELD: Final = re.compile(r'^\s*(?P<field>\w+)\s*:\s*"(?P<value>(?:[^"\\]|\\.)*)"', re.MULTILINE)
_ABSOLUTE: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*:/)?/")
_FOLDER: Final = re.compile(rb'(:\s*")((?:[a-z][a-z0-9+.-]*:/)?/[^"]*/)([^"/]+")')
_ESCAPE: Final = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)")
_OCTAL: Final = tuple(b"%d" % digit for digit in range(8))
_LETTERS: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}
_STEP: Final = re.compile(r"([0-9]+)$")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint, whole or not. `name` is the path of its files without their endings."""

    name: str
    files: tuple[str, ...]
    whole: bool

    @property
    def step(self) -> int:
        """The number that its name ends with, by custom the training step; -1 without one."""
        found = _STEP.search(self.name)
        return int(found[1]) if found else -1


def checkpoints(paths: Iterable[str]) -> dict[str, Checkpoint]:
    """Return the checkpoints among the files, by their names: what has an index and a shard at least, whole or not."""
    parts: dict[str, list[str]] = {}
    for path in paths:
        found = _PART.fullmatch(path)
        if found:
            parts.setdefault(found["name"], []).append(path)
    return {
        name: Checkpoint(name, tuple(sorted(files)), _whole(files))
        for name, files in parts.items()
        if index_of(name) in files and any(file.startswith(data_of(name)) for file in files)
    }


def _whole(files: list[str]) -> bool:
    shards = [(found["shard"], found["shards"]) for file in files if (found := _PART.fullmatch(file)) and found["shard"]]
    wanted = {int(count) for _, count in shards}
    return len(wanted) == 1 and len(shards) == wanted.pop()


def index_of(name: str) -> str:
    """Return the path of a checkpoint's index, which every checkpoint has."""
    return f"{name}.index"


def graph_of(name: str) -> str:
    """Return the path of a checkpoint's graph, which TensorFlow 1 writes."""
    return f"{name}.meta"


def data_of(name: str) -> str:
    """Return what the paths of a checkpoint's values begin with."""
    return f"{name}.data-"


def name_of(path: str) -> str | None:
    """Return the name of the checkpoint that a file of that path is of, if there is the rest of it; None if it can be of none."""
    found = _PART.fullmatch(path)
    return found["name"] if found else None


def is_state(text: bytes) -> bool:
    """Whether this is a state file, wherever it lies: other files named `checkpoint` name none."""
    return len(text) <= STATE_LIMIT and bool(named(text))


def is_unfinished(path: str) -> bool:
    """Whether a file of that path is one that TensorFlow renames when it is written."""
    return _UNFINISHED.search(path) is not None


def named_by(state: bytes, folder: str) -> str | None:
    """Return the path of the newest checkpoint that a state file in `folder` names; None if it names none, or one elsewhere.

    Both are relative to the same root; a state file may also give an absolute path, of which the name alone counts.
    """
    value = named(state)
    name = value.rpartition("/")[2] if is_absolute(value) else value
    if not name or "/" in name:
        return None
    return f"{folder}/{name}" if folder else name


def state_of(name: str) -> bytes:
    """Return a state file that names one checkpoint of its own folder, relative to it."""
    escaped = name.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'model_checkpoint_path: "%b"\nall_model_checkpoint_paths: "%b"\n' % (escaped, escaped)


def newest(found: Mapping[str, Checkpoint], folder: str) -> Checkpoint | None:
    """Return the whole checkpoint of that folder with the highest step, None if there is none."""
    whole = [each for each in found.values() if each.whole and each.name.rpartition("/")[0] == folder]
    return max(whole, key=lambda each: (each.step, each.name), default=None)


def named(state: bytes) -> str:
    """Return the path of the newest checkpoint as a state file has it, empty if it names none."""
    return _fields(state).get("model_checkpoint_path", "")


def is_absolute(path: str) -> bool:
    """Whether a path of a state file says where the checkpoint was on one machine, or in one store (`gs://…`)."""
    return _ABSOLUTE.match(path) is not None


def relative(state: bytes) -> bytes:
    """Return a state file that names all checkpoints by their names alone, where it had absolute paths, as TensorFlow 1 writes them."""
    return _FOLDER.sub(rb"\1\3", state)


def _fields(state: bytes) -> dict[str, str]:
    return {found["field"]: _unescaped(found["value"]) for found in _FIELD.finditer(state.decode("utf-8", "replace"))}


def _unescaped(text: str) -> str:
    def one(found: re.Match[bytes]) -> bytes:
        mark = found[1]
        if mark[:1] in _OCTAL:
            return bytes([int(mark, 8) & 0xFF])
        if mark[:1] == b"x" and len(mark) > 1:
            return bytes([int(mark[1:], 16)])
        return _LETTERS.get(mark, mark)

    return _ESCAPE.sub(one, text.encode()).decode("utf-8", "replace")
