"""Variables by which scripts written for hosted platforms find their folders."""

from __future__ import annotations

import contextlib
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Final

from tftrainer import hosted
from tftrainer.checkpoints import saved
from tftrainer.layout import Layout
from tftrainer.messages import contract
from tftrainer.messages.contract import Plan

HOST: Final = "chief-0"
"""What the only replica is called."""
SOURCE_LIMIT: Final = 4 * 1024**2
"""Bytes of a module beyond which it is not read: no one wrote it by hand."""
MODULES_LIMIT: Final = 5000
SOURCES_LIMIT: Final = 16 * 1024**2
"""Modules, and bytes of them, that are read at most: a start takes no longer however much code a job has."""


def aliases(plan: Plan, layout: Layout) -> dict[str, str]:
    """Return the variables; the job's own `env` goes before them."""
    model = str(layout.bucket / "model")
    output = str(layout.bucket / "output")
    found = {}
    for prefix in ("SM", "TM"):
        found[f"{prefix}_MODEL_DIR"] = model
        found[f"{prefix}_OUTPUT_DATA_DIR"] = output
        found[f"{prefix}_NUM_GPUS"] = str(plan.gpus)
        found[f"{prefix}_CURRENT_HOST"] = HOST
        found[f"{prefix}_HOSTS"] = f'["{HOST}"]'
        for each in plan.inputs:
            channel = re.sub(r"[^A-Z0-9]", "_", each.name.upper())
            found[f"{prefix}_CHANNEL_{channel}"] = str(layout.inputs / each.name)
    found["AIP_MODEL_DIR"] = model
    checkpoints = saved.folder_key(plan.checkpoints).removesuffix("/") if plan.checkpoints else "checkpoints"
    found["AIP_CHECKPOINT_DIR"] = str(layout.bucket / checkpoints)
    found["AIP_TENSORBOARD_LOG_DIR"] = str(layout.bucket / "tensorboard")
    return found


def make_folders(variables: Mapping[str, str], layout: Layout, code: Iterable[Path], arguments: Iterable[str] = ()) -> None:
    """Create the folders in the bucket that the code finds by their variables, and takes for granted; empty ones leave no trace.

    Other code may make a folder of the same name itself, and would stumble over it. `code` are modules, folders and zips of them, the
    script first: of much code, what comes late is not looked at. Of `/opt/ml` those folders are made too that code or
    arguments name.
    """
    wanted = {name: Path(value) for name, value in variables.items() if value.startswith(f"{layout.bucket}/")}
    links = hosted.FOLDERS
    left = SOURCES_LIMIT
    text = "\n".join(arguments).encode("utf-8", "surrogateescape")
    for source in chain((text,), islice(_sources(code), MODULES_LIMIT)):
        for name in [name for name in wanted if name.encode() in source]:
            # Where an object of the job lies, no folder can be.
            with contextlib.suppress(OSError):
                wanted.pop(name).mkdir(parents=True, exist_ok=True)
        named = links & hosted.named(source)
        hosted.make(layout, variables, named)
        links -= named
        left -= len(source)
        if not (wanted or links) or left <= 0:
            return


def _sources(code: Iterable[Path]) -> Iterator[bytes]:
    seen: set[Path] = set()
    for place in code:
        if place.is_file() and place.suffix != ".py":
            yield from _packed(place)
            continue
        for path in _modules(place) if place.is_dir() else (place,):
            if path not in seen and path.is_file() and path.stat().st_size <= SOURCE_LIMIT:
                seen.add(path)
                yield path.read_bytes()


def _modules(folder: Path) -> Iterator[Path]:
    for at, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if each != Path(contract.PACKAGES).name]
        yield from (Path(at, each) for each in files if each.endswith(".py"))


def _packed(place: Path) -> Iterator[bytes]:
    # The archive was found safe; what this reader alone cannot read of it is no reason to refuse the job.
    with (
        contextlib.suppress(zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, EOFError),
        zipfile.ZipFile(place) as archive,
    ):
        for entry in archive.infolist():
            if entry.filename.endswith(".py") and entry.file_size <= SOURCE_LIMIT:
                yield archive.read(entry)
