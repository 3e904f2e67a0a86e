"""Addresses of S3 among arguments and variables: the script has no keys for them, and TensorFlow no client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tftrainer import uri
from tftrainer.fetch.buckets import Buckets
from tftrainer.messages.contract import NOTE_LIMIT, S3_SCHEMES, Note, NoteReason, Plan
from tftrainer.phase_error import clip

SHOWN_LIMIT: Final = 120
_ADDRESS: Final = re.compile(rf"(?:^|[=,\s])(({'|'.join(S3_SCHEMES)})([^\s,]+))")
"""The text itself, or what is behind `=`, as in `--flag=value`, or between commas."""
_PLACE: Final = re.compile(rf"\$\{{(?:{'|'.join(uri.ROOT_NAMES)})\}}(?:/.*)?")


def hints(plan: Plan, buckets: Buckets) -> tuple[Note, ...]:
    """Return a note for each argument and variable with such an address: what to write instead. Nothing is refused.

    A script may have a client and keys of its own; the address stays as it is.
    """
    texts = [(f"spec.args[{index}]", each) for index, each in enumerate(plan.args)]
    texts += [(f"spec.env[{each.name}].value", each.value) for each in plan.addresses]
    return tuple(_notes(texts, buckets))


def _notes(texts: list[tuple[str, str]], buckets: Buckets) -> Iterator[Note]:
    for field, text in texts:
        found = _ADDRESS.search(text)
        advice = _advice(found[3], buckets) if found else ""
        if found and advice:
            is_it = "is" if found[1] == text else "holds"
            what = f"{field} {is_it} {clip(found[1], SHOWN_LIMIT)}, an address that TensorFlow cannot open"
            yield Note(reason=NoteReason.ARGUMENT_HINT, message=clip(f"{what}: {advice}", NOTE_LIMIT))


def _advice(rest: str, buckets: Buckets) -> str:
    """Return what to do about an address, given what follows its scheme; empty where it cannot be an address."""
    if _PLACE.fullmatch(rest):
        return f"write {clip(rest, SHOWN_LIMIT)}, which becomes a local path"
    bucket, _, key = rest.partition("/")
    try:
        uri.check_bucket(bucket)
    except uri.UriError:
        return ""
    mine = [
        (store.credentials.prefix, place)
        for store, place in ((buckets.storage, "bucket"), (buckets.datasets, "datasets"))
        if store is not None and store.credentials.bucket == bucket
    ]
    within = [(prefix, place) for prefix, place in mine if key.startswith(prefix)]
    if within:
        prefix, place = max(within, key=lambda each: len(each[0]))
        below = key.removeprefix(prefix)
        return f"write {clip(f'${{{place}}}/{below}' if below else f'${{{place}}}', SHOWN_LIMIT)}, which becomes a local path"
    if mine:
        return "it lies outside of the prefix of the Secret; name it in spec.inputs, and write ${inputs.NAME}"
    return (
        f"no Secret of the job is for bucket {bucket!r}; copy it into the job's own and write ${{bucket}}/…, or name a Secret for that "
        "bucket in spec.datasets.secretName and write ${datasets}/…"
    )
