"""YAML as an API server reads it: a key twice is a mistake, and a date is text."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """A safe loader that refuses a mapping with the same key twice, and keys that are not text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Read one mapping."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the field {key.value!r} stands here twice", key.start_mark)
            if isinstance(key.value, str):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


# Implicit dates would be objects of Python where the job means text.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
