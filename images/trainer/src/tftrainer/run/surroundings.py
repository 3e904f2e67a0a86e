"""What the script had around it when it failed: its files, its TensorFlow, and the cluster that its environment speaks of."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from tftrainer.layout import Layout

_ENTRIES = 20_000
_SECONDS = 1.0
_OWN = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - only compared


def files(layout: Layout, entries: int = _ENTRIES, seconds: float = _SECONDS) -> tuple[str, ...]:
    """Return files that the script was given or has written, by their paths below the workspace; of very many the first that are found."""
    found: list[str] = []
    until = time.monotonic() + seconds
    for number, path in enumerate(_below(layout)):
        if number >= entries or time.monotonic() > until:
            break
        found.append(path)
    return tuple(found)


def _below(layout: Layout) -> Iterator[str]:
    top = f"{layout.workspace}/"
    for folder in (layout.code, layout.inputs, layout.bucket, layout.datasets):
        for at, _, names in os.walk(folder):
            yield from (os.path.join(at, name).removeprefix(top) for name in names)  # noqa: PTH118 - as many as there are files


def on_version_1(runtime: str, environment: Mapping[str, str], packages: Path) -> Callable[[str], str]:
    """Return what tells what to do about a name such as `tensorflow.Session`, empty if the image has it or version 1 had not.

    `packages` are those that were installed for the job.
    """

    def advice(name: str) -> str:
        # Of a script that runs well nobody asks: what is imported takes its time.
        from tftrainer.preflight.image import this_image

        image = this_image(runtime, environment, (str(packages),))
        return image.remedy(name) if not image.is_version_1 and image.removed(name, "") else ""

    return advice


def foreign(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the addresses that the variable TF_CONFIG names, if they are of more than one process and not all of this machine."""
    try:
        cluster = msgspec.json.decode(environment.get("TF_CONFIG") or "{}")["cluster"]
        tasks = [task for job in cluster.values() for task in (job.values() if isinstance(job, dict) else job)]
        found = tuple(dict.fromkeys(task for task in tasks if isinstance(task, str)))
    except (msgspec.MsgspecError, UnicodeError, KeyError, TypeError, AttributeError, RecursionError):
        return ()
    return found if len(found) > 1 and any(each.rpartition(":")[0].strip("[]") not in _OWN for each in found) else ()
