"""What an argument of the script names in a bucket, by its text alone. An argument is text first: what is no key is left as it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from tftrainer import uri
from tftrainer.uri import Root

_ROOT: Final = rf"\$\{{(?:{'|'.join(uri.ROOT_NAMES)})\}}/"
_VALUE: Final = re.compile(rf"(?:[^$]*=)?({_ROOT}.+)", re.DOTALL)
"""The argument itself, or what is behind `=` in `--flag=value` and `name=value`."""
_ANOTHER_PLACE: Final = re.compile(rf"(?<!\$)\$\{{(?:{'|'.join(uri.ROOT_NAMES)}|inputs\..*?)\}}")
_WILDCARD: Final = re.compile(r"[*?[]")
_ANY_DEPTH: Final = "**"
_FORMAT: Final = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[diouxXeEfFgGsr]|(?<!\$)\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Named:
    """A key below a root. `text` is how the user wrote it; `not_a_key` says why it is none, empty if it is one or a pattern."""

    text: str
    root: Root
    key: str
    not_a_key: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether all objects below the key are meant."""
        return self.key.endswith("/")

    @property
    def is_pattern(self) -> bool:
        """Whether the key holds a wildcard, as `glob` knows them. There can be an object of that very name all the same."""
        return _WILDCARD.search(self.key) is not None

    @property
    def may_exist(self) -> bool:
        """Whether there can be an object or a folder of that very name."""
        return "?" not in self.key

    @property
    def is_format(self) -> bool:
        """Whether the script may complete the key, as with `%d` or `{}`. There can be an object of that very name all the same."""
        return _FORMAT.search(self.key) is not None

    @property
    def before_wildcard(self) -> str:
        """What the keys of all that the pattern matches begin with."""
        return _WILDCARD.split(self.key, maxsplit=1)[0]

    def matches(self, key: str) -> bool:
        """Whether a key is one that `glob` finds with the pattern, recursively, or lies in a folder that is."""
        names = self.key.removesuffix("/").split("/")
        # At the end it finds the folder before it too, with all in it.
        inside = self.is_folder or names[-1] == _ANY_DEPTH
        while names and names[-1] == _ANY_DEPTH:
            names.pop()
        found = key.split("/")
        passed = _passed_over({0}, names)
        for each in found[:-1] if inside else found:
            if len(names) in passed:
                break
            passed = _passed_over({after for at in passed for after in _after(names, at, each)}, names)
        return len(names) in passed


def _after(names: list[str], at: int, found: str) -> tuple[int, ...]:
    """Return how many of the pattern's names are passed after one more name of the key, where `at` were before it."""
    hidden = found.startswith(".")
    if names[at] == _ANY_DEPTH:
        return () if hidden else (at,)
    fits = fnmatchcase(found, names[at]) and (not hidden or names[at].startswith("."))
    return (at + 1,) if fits else ()


def _passed_over(passed: set[int], names: list[str]) -> set[int]:
    """Add what follows each `**`, which need not stand for any name."""
    for at in sorted(passed):
        while at < len(names) and names[at] == _ANY_DEPTH:
            at += 1
            passed.add(at)
    return passed


def named_by(text: str, resolve: Callable[[str], str]) -> tuple[Named, ...]:
    """Return what an argument names: one thing, or each of a list between commas, or nothing. `resolve` replaces placeholders in a key."""
    value = _VALUE.fullmatch(text)
    if value is None:
        return ()
    parts = [each.strip() for each in value[1].split(",")]
    if len(parts) > 1 and not parts[-1]:
        parts.pop()
    if len(parts) == 1 or not all(re.match(_ROOT + ".", each) for each in parts):
        parts = [value[1]]
    return tuple(_named(each, resolve) for each in parts)


def _named(text: str, resolve: Callable[[str], str]) -> Named:
    head, _, rest = text.partition("/")
    root = uri.ROOT_NAMES[head[2:-1]]
    if _ANOTHER_PLACE.search(rest):
        return Named(text, root, rest, "it names more than one place")
    key = resolve(rest)
    if root is Root.DATASETS:
        # A path says the same with `//` and `/./`. In the bucket it would be no key to upload to.
        key = re.sub(r"(?:(?<=/)|^)(?:\.?/)+", "", key)
    try:
        uri.check_key(key.replace("?", "*"))
    except uri.UriError as error:
        return Named(text, root, key, str(error))
    return Named(text, root, key)
