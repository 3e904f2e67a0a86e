"""YAML as kubectl reads it: a key twice is a mistake, dates are text, 1e-3 and y are none, and an emoji may be escaped as in JSON."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from tftrainer.local import surrogates

_TAG: Final = "tag:yaml.org,2002:"
_PLAIN: Final = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (
        r"[yY]|yes|Yes|YES|true|True|TRUE|on|On|ON|[nN]|no|No|NO|false|False|FALSE|off|Off|OFF",
        list("yYtToOnNfF"),
    ),
    "int": (r"[-+]?(0b[01_]*[01]_*|0x[0-9a-fA-F_]*[0-9a-fA-F]_*|0o?[0-7_]*|[1-9][0-9_]*)", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    "merge": (r"<<", ["<"]),
}
"""Which plain scalars are no text, with the characters that they begin with. PyYAML's own rules are others, older ones."""
_TYPES: Final = ("map", "seq", "str", *_PLAIN)


class Loader(yaml.SafeLoader):
    """A safe loader of JSON's types alone, that refuses a mapping with the same key twice, and keys that are no scalars."""

    bool_values = yaml.SafeLoader.bool_values | {"y": True, "n": False}

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read one mapping."""
        # Not when it is constructed: by then other mappings may have been merged into it, whose keys it may have too.
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _mistake("the name of a field is a list or has fields itself, expected text", key)
            if key.value in seen:
                raise _mistake(f"the field {key.value!r} stands here twice", key)
            seen.add(key.value)
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        """Read one scalar."""
        return surrogates.joined(super().construct_scalar(node))


def _mistake(what: str, key: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, what, key.start_mark)


Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _PLAIN.items():
    Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})\\Z"), _first)
# Dates, bytes and sets, which a tag can ask for, are nothing that a job has.
Loader.yaml_constructors = {tag: read for tag, read in Loader.yaml_constructors.items() if tag is None or tag.removeprefix(_TAG) in _TYPES}
