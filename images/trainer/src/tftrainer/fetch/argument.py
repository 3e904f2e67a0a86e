"""What an argument of the script names in a bucket, by its text alone. An argument is text first: what is no key is left as it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import Final

from tftrainer import uri
from tftrainer.uri import Root

_ROOT: Final = rf"\$\{{(?:{'|'.join(uri.ROOT_NAMES)})\}}/"
_VALUE: Final = re.compile(rf"(?:[^$]*=)?({_ROOT}.+)", re.DOTALL)
"""The argument itself, or what is behind `=` in `--flag=value` and `name=value`."""
_ANOTHER_PLACE: Final = re.compile(rf"(?<!\$)\$\{{(?:{'|'.join(uri.ROOT_NAMES)}|inputs\..*?)\}}")
_WILDCARD: Final = re.compile(r"[*?[]")
_ANY_DEPTH: Final = "**"


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
    def before_wildcard(self) -> str:
        """What the keys of all that the pattern matches begin with."""
        return _WILDCARD.split(self.key, maxsplit=1)[0]

    def matches(self, key: str) -> bool:
        """Whether a key is one of the pattern's, or lies in a folder that is. Behind `**` everything is."""
        names = list(takewhile(lambda each: each != _ANY_DEPTH, self.key.removesuffix("/").split("/")))
        found = key.split("/")
        return len(found) >= len(names) + self.is_folder and all(map(fnmatchcase, found, names))


def named_by(text: str, resolve: Callable[[str], str]) -> tuple[Named, ...]:
    """Return what an argument names: one thing, or each of a list between commas, or nothing. `resolve` replaces placeholders in a key."""
    value = _VALUE.fullmatch(text)
    if value is None:
        return ()
    parts = value[1].split(",")
    if not all(re.match(_ROOT + ".", each) for each in parts):
        parts = [value[1]]
    return tuple(_named(each, resolve) for each in parts)


def _named(text: str, resolve: Callable[[str], str]) -> Named:
    head, _, rest = text.partition("/")
    root = uri.ROOT_NAMES[head[2:-1]]
    if _ANOTHER_PLACE.search(rest):
        return Named(text, root, rest, "it names more than one place")
    key = resolve(rest)
    try:
        uri.check_key(key.replace("?", "*"))
    except uri.UriError as error:
        return Named(text, root, key, str(error))
    return Named(text, root, key)
