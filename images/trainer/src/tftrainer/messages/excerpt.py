"""A traceback in few characters: what is cut out of its middle is marked, what it is read for stays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

GAP = "  […]"
_WIDEST = 240
_FRAME = re.compile(r'^[\s|+]*File "')


def excerpt(text: str, limit: int, file: str = "", line: int | None = None) -> str:
    """Return a printed traceback in at most `limit` characters.

    The user's deepest frame, which is that of `line` in a `file` whose path ends so, and the line that names the exception go before all
    else, then its header and what stands next to that line. Long lines are cut at their end.
    """
    if len(text) <= limit:
        return text
    width = min(_WIDEST, max(limit // 4, 1))
    lines = [each if len(each) <= width else f"{each[: width - 1]}…" for each in text.splitlines()]
    shown = ""
    kept: set[int] = set()
    for number in _by_weight(lines, _own_frame(text.splitlines(), file, line)):
        longer = _rendered(lines, kept | {number})
        if len(longer) > limit:
            break
        kept.add(number)
        shown = longer
    return shown


def _own_frame(lines: Sequence[str], file: str, line: int | None) -> int | None:
    if not file or not line:
        return None
    frame = re.compile(rf'^[\s|+]*File "[^"]*{re.escape(file.rpartition("/")[2])}", line {line}\b')
    return next((number for number in reversed(range(len(lines))) if frame.match(lines[number])), None)


def _by_weight(lines: Sequence[str], own: int | None) -> Iterator[int]:
    """Give the numbers of all lines, those first that matter most."""
    last = max((number for number, each in enumerate(lines) if _FRAME.match(each)), default=-1)
    closing = next((number for number in range(max(last, own or 0) + 1, len(lines)) if not lines[number][:1].isspace()), len(lines) - 1)
    of_frame = () if own is None else (own, own + 1)
    order = (*of_frame, closing, 0, *range(closing + 1, closing + 4), *reversed(range(closing)), *range(closing + 4, len(lines)))
    return _each_once(number for number in order if 0 <= number < len(lines))


def _each_once(numbers: Iterable[int]) -> Iterator[int]:
    yield from dict.fromkeys(numbers)


def _rendered(lines: Sequence[str], kept: set[int]) -> str:
    """Return the lines that are kept, each gap between them marked once."""
    text: list[str] = []
    after = 0
    for number in sorted(kept):
        if number > after:
            text.append(GAP)
        text.append(lines[number])
        after = number + 1
    if after < len(lines):
        text.append(GAP)
    return "\n".join(text) + "\n"
