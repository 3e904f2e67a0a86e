"""What `fetch` leaves in the state folder for the two containers that start after it.

`Resolved` is for the trainer, which sees the folder read-only; `Baseline` for the publisher. Neither carries a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tftrainer.messages import contract
from tftrainer.messages.contract import Message, Pinned
from tftrainer.messages.manifest import MoreInputs

RESOLVED_NAME: Final = "resolved.json"
BASELINE_NAME: Final = "baseline.json"
FILES_NAME: Final = "baseline-files.jsonl"
"""A `FetchedFile` on each line: there may be a million of them, which nobody has to hold all at once."""
LOCK_NAME: Final = "trainer.lock"


class Place(Message, frozen=True):
    """What a placeholder for a bucket stands for: the bucket's name, and what all keys below it begin with."""

    bucket: str
    prefix: str = ""


class Resolved(Message, frozen=True):
    """The run, ready to start.

    `script` is the path of the entry script; a `module` is run as with `python -m` instead. `argv` are the arguments after it,
    placeholders resolved. `cwd` is the working folder. `path` follows the script's folder on `sys.path`. `environment` holds the aliases
    of hosted platforms (`SM_MODEL_DIR`, …), never what the job's own `env` sets. With `already_done`, an earlier pod of this attempt has
    published its success: the script must not run again. `near` pairs the local path of what an argument names and is not there with
    what lies beside it in the bucket and may have been meant. `storage` and
    `datasets` are what `${bucket}` and `${datasets}` stand for.
    """

    script: str
    cwd: str
    module: str = ""
    argv: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    near: dict[str, str] = msgspec.field(default_factory=dict)
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    storage: Place | None = None
    datasets: Place | None = None
    already_done: bool = False


class FetchedFile(Message, frozen=True):
    """One object as it lay under the workspace's bucket folder when the script started.

    `path` is relative to that folder. The times and `inode` tell a rewritten file from an untouched one. `etag` is the object's.
    `sha256` is given where they do not tell it: on a file system that takes no note of what is written to a mapped file.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int = 0
    etag: str = ""
    sha256: str = ""


class ListedObject(Message, frozen=True):
    """One object that was there, and was not fetched, when the script started; `path` is its key below the bucket's prefix."""

    path: str
    etag: str


class Package(Message, frozen=True):
    """One installed package: `file` is the name of its wheel, `sha256` that file's digest."""

    name: str
    version: str
    file: str
    sha256: str


class Baseline(Message, frozen=True):
    """What was there before the script: unchanged files are not uploaded again.

    `script` and `archive` are code, `code` every object of `dependencies.files`, and `files_of_code` one pin for each of its entries;
    `inputs` and `more_inputs` are all other fetched objects. `packages` were installed from the index. `inline` is the text of a script
    that no object holds. With `conditional_writes` the store refuses to overwrite when it is asked to. `listed` are keys, and folders
    that end with `/`, of which all was seen before the start: there was nothing there but what `read_files` gives and `others`.
    """

    listed: tuple[str, ...] = ()
    others: tuple[ListedObject, ...] = ()
    script: Pinned | None = None
    archive: Pinned | None = None
    code: tuple[Pinned, ...] = ()
    files_of_code: tuple[Pinned, ...] = ()
    inline: str = ""
    inputs: tuple[Pinned, ...] = ()
    more_inputs: MoreInputs | None = None
    packages: tuple[Package, ...] = ()
    resolved_args: tuple[str, ...] = ()
    conditional_writes: bool = True
    already_done: bool = False


HandoverT = TypeVar("HandoverT", Resolved, Baseline)


def write(message: Resolved | Baseline, path: Path) -> None:
    """Write the message so that a reader sees all of it or nothing."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(msgspec.json.encode(message))
    temporary.replace(path)


def write_files(files: Iterable[FetchedFile], path: Path) -> None:
    """Write one file after the other, before the `Baseline` that they belong to."""
    encoder = msgspec.json.Encoder()
    with path.open("wb") as out:
        for each in files:
            out.write(encoder.encode(each) + b"\n")


def read_files(path: Path) -> Iterator[FetchedFile]:
    """Yield what `write_files` wrote.

    Raises:
        contract.ContractError: the file is missing or holds something else.
    """
    decoder = msgspec.json.Decoder(FetchedFile)
    try:
        with path.open("rb") as lines:
            yield from map(decoder.decode, lines)
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        raise contract.ContractError(f"{path} is not what fetch writes: {error}") from error


def read(kind: type[HandoverT], path: Path) -> HandoverT:
    """Read what `write` wrote.

    Raises:
        contract.ContractError: the file is missing or is not such a message.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        raise contract.ContractError(f"{path} is not what fetch writes: {error}") from error
