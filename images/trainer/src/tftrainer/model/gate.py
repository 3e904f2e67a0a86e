"""The model that a job promises (`spec.model`): the newest version that the run wrote is there, and loads.

It is looked at before anything of it is published: what a server watches never holds a model that does not load.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from tftrainer import uri
from tftrainer.messages.contract import SAVED_MODEL, Failure, PublishedModel, Reason, WantedModel
from tftrainer.messages.manifest import PublishedObject, Skipped
from tftrainer.model.loader import ANSWER_LIMIT, Answer
from tftrainer.phase_error import PhaseError, clip
from tftrainer.progress import size

LOAD_SECONDS: Final = 300.0
STOPPED_SECONDS: Final = 10.0
"""How much longer loading may take when the pod is being ended: the manifest has to be written in that time too."""
PARTS: Final = frozenset({SAVED_MODEL, "saved_model.pbtxt", "fingerprint.pb", "keras_metadata.pb", "variables", "assets", "assets.extra"})
"""What a SavedModel consists of: files, and folders with all that is in them. Whatever else lies beside them, no server reads."""
SIGNATURES: Final = 16
_VERSION_DIGITS: Final = 18
"""Digits of a version that a server reads as a number of 64 bits."""
MEMORY_SHARE: Final = 0.8
"""What a model may take of the container's memory: where the kernel ends one process for want of it, it ends all."""
_MEMORY_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""The limit's file in control groups version 2 and version 1."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_POLL_SECONDS: Final = 0.05
_PR_SET_DUMPABLE: Final = 4
_INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")

Load = Callable[[Path], Answer]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The model that was found, in which folder below the bucket's, and why the run does not count, if it does not.

    `why` says what is wrong with the model, also where the run counts without one.
    """

    model: PublishedModel | None = None
    failure: Failure | None = None
    folder: str = ""
    why: str = ""

    @property
    def verified(self) -> bool:
        """Whether the model is there, and loads."""
        return self.model is not None and self.model.verified


@dataclass(frozen=True, slots=True)
class Written:
    """What the run wrote below the bucket's folder `root`: files that become objects of keys that begin with `prefix`.

    `uri` turns a key into a URI. `skipped` is what lies there too, but cannot become an object.
    """

    root: Path
    prefix: str
    objects: Sequence[PublishedObject]
    uri: Callable[[str], str]
    skipped: Sequence[Skipped] = ()


def examine(wanted: WantedModel, written: Written, load: Load, say: Callable[[str], None]) -> Verdict:
    """Find the newest version of the model and load it; a failure is part of the verdict only where the model is required."""
    try:
        folder, model = _found(wanted, written)
    except PhaseError as failed:
        return _failed(wanted, Verdict(), failed.failure, say)
    # It is loaded from the disk: what is there alone must not make it load.
    lost = _not_published(written, folder, PARTS)
    if lost:
        torn = PhaseError(
            Reason.MODEL_UNLOADABLE, f"the model {model.uri} is not whole in the bucket{lost}", "export it as files, all in one folder"
        )
        return _failed(wanted, Verdict(model, folder=folder), torn.failure, say)
    say(f"loading the model {model.uri}, as a server would")
    answer = load(written.root / folder)
    if answer.error:
        unloadable = PhaseError(
            Reason.MODEL_UNLOADABLE,
            f"the model {model.uri} cannot be loaded: {answer.error}",
            "export it as a SavedModel with the tag serve, and whole",
        )
        return _failed(wanted, Verdict(model, folder=folder), unloadable.failure, say)
    names = tuple(clip(name, 64) for name in answer.signatures[:SIGNATURES])
    say(f"the model loads; its signatures: {', '.join(names) or 'none'}")
    return Verdict(msgspec.structs.replace(model, signatures=names, verified=True), folder=folder)


def _failed(wanted: WantedModel, found: Verdict, failure: Failure, say: Callable[[str], None]) -> Verdict:
    if wanted.required:
        return replace(found, failure=failure, why=failure.message)
    say(f"{failure.reason}: {failure.message}; the job does not require it")
    return replace(found, why=failure.message)


def _found(wanted: WantedModel, written: Written) -> tuple[str, PublishedModel]:
    """Return the folder of the newest version, relative to the bucket's, and what is known of the model.

    Raises:
        PhaseError: `ModelMissing`, saying what lies there instead.
    """
    below = f"{uri.parse(wanted.path).key.rstrip('/')}/"
    start = written.prefix + below
    paths = [each.key.removeprefix(start) for each in written.objects if each.key.startswith(start)]
    if not paths:
        raise _missing(wanted, f"the script wrote nothing there{_not_published(written, below)}")
    names = {path.partition("/")[0] for path in paths}
    # A folder that is only a link is none in the bucket, where a server looks for the newest.
    versions = [name for name in names - set(paths) if name.isascii() and name.isdigit() and len(name) <= _VERSION_DIGITS]
    version = f"{max(versions, key=int)}/" if versions else ""
    graph = next((each for each in written.objects if each.key == start + version + SAVED_MODEL), None)
    if graph is None and version:
        gone = _not_published(written, below + version, PARTS)
        raise _missing(wanted, f"the newest version that the script wrote, {version[:-1]}, has no {SAVED_MODEL}{gone}")
    if graph is None:
        shown = ", ".join(sorted(names)[:5]) + (", …" if len(names) > 5 else "")
        what = f"no {SAVED_MODEL} lies in it, and no folder with a number for name; the script wrote {shown}"
        raise _missing(wanted, what + _not_published(written, below))
    parts = [each for each in written.objects if each.key.startswith(start + version)]
    place = clip(written.uri(start + version), 1200)
    return below + version, PublishedModel(uri=place, sha256=graph.sha256, bytes=sum(each.size for each in parts), objects=len(parts))


def _not_published(written: Written, folder: str, names: Container[str] | None = None) -> str:
    """Return, as the rest of a sentence, what of a folder could not be uploaded; empty if all was.

    With `names`, only what has one of them in the folder, or lies below that.
    """
    found = [
        each
        for each in written.skipped
        if f"{each.path}/".startswith(folder)
        and (names is None or f"{each.path}/" == folder or each.path.removeprefix(folder).partition("/")[0] in names)
    ]
    if not found:
        return ""
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"; not uploaded: {clip(found[0].path, 256)}, {clip(found[0].reason, 256)}{more}"


def _missing(wanted: WantedModel, what: str) -> PhaseError:
    return PhaseError(
        Reason.MODEL_MISSING,
        f"there is no model at {wanted.path} (spec.model.path): {what}",
        "export a SavedModel to that folder, or to a folder in it with a number for its name; or correct spec.model",
    )


def load(folder: Path, stopped: Callable[[], bool], environment: Mapping[str, str] = os.environ) -> Answer:
    """Load a model in a new process on the CPU, without any variable that is not listed here.

    `stopped` tells whether the pod is being ended, so that not much time is left.
    """
    _hide_environment()
    reader, writer = os.pipe()
    isolation = "-I" if sys.flags.isolated else "-P"
    process = subprocess.Popen(
        [sys.executable, isolation, "-m", "tftrainer.model.loader", str(folder), str(writer), str(os.getpid())],
        env={
            **{name: environment[name] for name in _INHERITED if name in environment},
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(writer,),
        start_new_session=True,
    )
    os.close(writer)
    try:
        return _wait(process, stopped, memory_limit()) or _answer(reader, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(reader)


def memory_limit(files: Iterable[Path] = _MEMORY_LIMITS) -> float:
    """Return the bytes of memory that this container may take, infinity where nothing limits it."""
    for file in files:
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        return float(text) if text.isdecimal() else math.inf
    return math.inf


def _wait(process: subprocess.Popen[bytes], stopped: Callable[[], bool], memory: float) -> Answer | None:
    """Wait for the process; the answer in its stead if it takes too long, or more than its share of `memory`, in bytes."""
    until = time.monotonic() + LOAD_SECONDS
    hurried = False
    while time.monotonic() < until:
        try:
            process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if _resident(process.pid) > memory * MEMORY_SHARE:
                return Answer(
                    error=f"loading it takes more than {size(memory * MEMORY_SHARE)} of memory, of the publisher's {size(memory)}"
                )
            if stopped() and not hurried:
                hurried = True
                until = min(until, time.monotonic() + STOPPED_SECONDS)
        else:
            return None
    return Answer(error="loading it did not end in time")


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _answer(reader: int, process: subprocess.Popen[bytes]) -> Answer:
    os.set_blocking(reader, False)
    try:
        return msgspec.json.decode(os.read(reader, ANSWER_LIMIT), type=Answer)
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
        code = process.returncode
        why = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return Answer(error=f"the process that loads it {why}" + (", as when memory runs out" if code == -signal.SIGKILL else ""))


def _hide_environment() -> None:
    """Keep a process of the same user from reading this one's environment: a model is a program, and may read files."""
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
