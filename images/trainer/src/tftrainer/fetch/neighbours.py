"""What lies beside a key that is missing and was most likely meant: capitals, a letter, an extension, a / at the end."""

from __future__ import annotations

import difflib
import re
from itertools import islice
from typing import Final

from tftrainer.checkpoints import saved
from tftrainer.phase_error import PhaseError
from tftrainer.storage.interface import Store

NEIGHBOURS_LIMIT: Final = 1000
"""Objects that are compared with a key that is missing: what one request lists."""
LEVELS_LIMIT: Final = 3
"""Folders above a missing key in which something is looked for, the nearest first."""
_ALIKE: Final = 0.7
_DIGITS: Final = re.compile(r"[0-9]+")


def neighbour(store: Store, key: str, *, only_objects: bool = False) -> str | None:
    """Return the key of what is there and most like a missing one; a folder's ends with /. Without the right to list, nothing is."""
    names = key.removesuffix("/").split("/")
    prefix = store.credentials.prefix
    top = prefix.count("/") if key.startswith(prefix) else 0
    try:
        # Where the folder is missing too, it is its name that is wrong.
        for level in range(len(names) - 1, max(len(names) - 1 - LEVELS_LIMIT, top - 1), -1):
            parent, rest = "".join(f"{each}/" for each in names[:level]), names[level + 1 :]
            beside = _beside(store, parent, names[level])
            if not beside:
                continue
            close = _closest(names[level], beside, folder=key.endswith("/") or bool(rest), only_objects=only_objects or bool(rest))
            if close is None or not rest:
                return parent + close if close else None
            whole = parent + close + "/".join(rest)
            return whole if close.endswith("/") and store.find(whole) is not None else (None if only_objects else parent + close)
    except PhaseError:
        # Whoever may read an object need not have the right to list; what is missing is told all the same.
        return None
    return None


def is_slip(key: str, other: str) -> bool:
    """Whether a key that need not exist was more likely meant to be another: not where only numbers differ, as of versions."""
    for one, two in zip(key.split("/"), other.split("/"), strict=False):
        if one != two:
            return one.lower() == two.lower() or _DIGITS.sub("0", one) != _DIGITS.sub("0", two)
    return True


def _beside(store: Store, parent: str, name: str) -> set[str]:
    """Return what lies in a folder: names of objects, and of folders with / at the end; of very many those that begin alike."""
    found: set[str] = set()
    for prefix in (parent, parent + name[: (len(name) + 2) // 3]):
        count = 0
        for info in islice(store.list(prefix), NEIGHBOURS_LIMIT):
            count += 1
            first, slash, _ = info.key.removeprefix(parent).partition("/")
            if first and not saved.is_reserved(info.key.removeprefix(store.credentials.prefix)):
                found.add(first + slash)
        if count < NEIGHBOURS_LIMIT:
            break
    return found


def _closest(name: str, beside: set[str], *, folder: bool, only_objects: bool) -> str | None:
    same = {each.rstrip("/").lower(): each for each in sorted(beside) if each.endswith("/") == folder}
    other = {} if only_objects else {each.rstrip("/").lower(): each for each in sorted(beside) if each.endswith("/") != folder}
    wanted = name.lower()
    if wanted in same or wanted in other:
        return same.get(wanted) or other[wanted]
    without_extension = [each for low, each in same.items() if low.startswith(f"{wanted}.") or wanted.startswith(f"{low}.")]
    close = without_extension or [same[each] for each in difflib.get_close_matches(wanted, same, 1, _ALIKE)]
    return close[0] if close else None
