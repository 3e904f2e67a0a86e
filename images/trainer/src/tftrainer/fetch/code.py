"""The user's code in its place: the script is Python, the archive is safe and importable."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from pathlib import Path
from typing import Final

from tftrainer import archive
from tftrainer.archive import InvalidArchiveError
from tftrainer.contract import Pinned, Plan, Reason
from tftrainer.layout import Layout
from tftrainer.phase_error import PhaseError
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


def check_syntax(script: Path) -> None:
    """Make sure that the script compiles; nothing of it is run.

    Raises:
        PhaseError: `ScriptSyntaxError` with file and line.
    """
    source = script.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, script.name, "exec", dont_inherit=True)
    except SyntaxError as error:
        place = f"line {error.lineno}" if error.lineno else "an unknown line"
        shown = f": {error.text.strip()[:120]}" if error.text and error.text.strip() else ""
        raise PhaseError(
            Reason.SYNTAX_ERROR,
            f"{script.name}, {place}: {error.msg}{shown}",
            "correct the script; it is read by Python 3" if "print" in (error.msg or "") else "correct the script",
            file=script.name,
            line=error.lineno,
        ) from None
    except ValueError as error:
        raise PhaseError(
            Reason.SYNTAX_ERROR, f"{script.name} is not Python source: {error}", "name the .py file itself", file=script.name
        ) from None
    except (RecursionError, MemoryError):
        # Too deep for the check; the interpreter that runs it may still take it.
        return


def prepare_archive(plan: Plan, file: Path, layout: Layout) -> tuple[str, ...]:
    """Make the archive importable and return what goes on `sys.path`.

    Raises:
        PhaseError: `InvalidArchive`, naming the entry.
    """
    if plan.archive is None:
        return ()
    if file.suffix == ".py":
        return (str(layout.dependencies),)
    try:
        prepared = archive.prepare(file, layout.dependencies / (file.name[:200] + _UNPACKED))
    except InvalidArchiveError as error:
        raise PhaseError(
            Reason.INVALID_ARCHIVE,
            f"archive {plan.archive.uri}: {error}",
            "make the archive again, for example with zip -r from its folder",
        ) from None
    return tuple(str(path) for path in prepared.path)
