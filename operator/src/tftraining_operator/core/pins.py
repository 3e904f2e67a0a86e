"""The code of a job, pinned: what its first attempt found is what every later one has to run."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from tftrainer.messages.contract import CodePins, FetchReport, Pinned

from tftraining_operator.api.status import Code, PinnedObject
from tftraining_operator.core.observe import mapping, sequence, text
from tftraining_operator.core.records import JobRecord, Raw


def pinned(status: Raw) -> Code | None:
    """Return what a status says of the code; None where it says nothing, or what no operator writes."""
    found = mapping(status.get("code"))
    if not found:
        return None
    try:
        code = Code.model_validate(found)
    except (ValidationError, RecursionError):
        return None
    every = (*(each for each in (code.script, code.archive) if each is not None), *code.files)
    return code if all(each.uri and each.sha256 for each in every) else None


def for_plan(status: Raw) -> CodePins | None:
    """Return what the next attempt is held to: the digests alone, because the spec, which names the objects, cannot change."""
    code = pinned(status)
    if code is None:
        return None
    script, archive = (Pinned(uri="", sha256=each.sha256) if each is not None else None for each in (code.script, code.archive))
    return CodePins(script=script, archive=archive, files=tuple(Pinned(uri="", sha256=each.sha256) for each in code.files))


def render(job: JobRecord, fetched: FetchReport | None) -> dict[str, Any] | None:
    """Return `status.code`: what was recorded first stays, and what is new is added."""
    before = pinned(job.status) or Code()
    found = fetched or FetchReport()
    code = {
        "script": _raw(before.script) or _new(found.script),
        "archive": _raw(before.archive) or _new(found.archive),
        "files": [_raw(each) for each in before.files] or _new_files(job.spec, found.files),
    }
    return code if any(code.values()) else None


def _new_files(spec: Raw, found: tuple[Pinned, ...]) -> list[dict[str, Any] | None]:
    """Return the pins of all files or of none: an incomplete list would not tell which is which."""
    uris = [text(mapping(each).get("uri")) for each in sequence(mapping(spec.get("dependencies")).get("files"))]
    files = [_new(each, uri) for each, uri in zip(found, uris, strict=False)]
    return files if len(files) == len(uris) and all(files) else []


def _new(found: Pinned | None, uri: str = "") -> dict[str, Any] | None:
    named = (found.uri or uri) if found is not None else ""
    if found is None or not named or not found.sha256:
        return None
    return {"uri": named, "sha256": found.sha256}


def _raw(found: PinnedObject | None) -> dict[str, Any] | None:
    return None if found is None else {"uri": found.uri, "sha256": found.sha256}
