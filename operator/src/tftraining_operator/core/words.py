"""Texts for people, made of texts that anybody may have written."""

from __future__ import annotations

import re
from typing import Final

from tftraining_operator.api.status import MESSAGE_LIMIT

_WORD: Final = re.compile(r"[a-z]+(?=[\s,;']|:(?!/)|$)")
_TERMINAL: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def sentence(*parts: str) -> str:
    """Return parts as sentences of one line, each with a capital at its start, unless a name such as `train.py` is there, and a stop."""
    ended = []
    for part in parts:
        stripped = line(part)
        if stripped:
            begin = stripped[0].upper() if _WORD.match(stripped) else stripped[0]
            ended.append(begin + stripped[1:] + ("" if stripped[-1] in ".!?" else "."))
    return " ".join(ended)[:MESSAGE_LIMIT]


def plain(text: str) -> str:
    """Return a text without what a terminal would obey: a library's colours, or somebody's mischief."""
    return _TERMINAL.sub("", text)


def line(text: str) -> str:
    """Return a text as one plain line."""
    return " ".join(plain(text).split())
