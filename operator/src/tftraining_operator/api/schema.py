"""From a pydantic model's JSON schema to the structural schema that a custom resource definition may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

PERSISTED_DEFAULT: Final = "x-persisted-default"
"""Marks a default that belongs to the API: the server stores it. Every other default is the operator's own affair."""

_NOISE: Final = frozenset({"title", "examples", "deprecated", "$defs", "uniqueItems"})
_REFERENCE: Final = "#/$defs/"


class SchemaError(TypeError):
    """A model uses something that a structural schema cannot express. The text names the place."""


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model: references inlined, optional without null, nothing that the API server would drop.

    Raises:
        SchemaError: the model holds a union, a fixed-length tuple, or an untyped value.

    """
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}), model.__name__)


def _convert(schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    node = dict(_resolved(schema, definitions))
    if "anyOf" in node:
        branches = [branch for branch in node.pop("anyOf") if branch.get("type") != "null"]
        if len(branches) != 1:
            raise SchemaError(f"{path}: a union cannot be expressed")
        node = {**_resolved(branches[0], definitions), **node}
    if "const" in node:
        node["enum"] = [node.pop("const")]
    node.pop("default", None)
    if PERSISTED_DEFAULT in node:
        node["default"] = node.pop(PERSISTED_DEFAULT)
    if "prefixItems" in node or not (node.get("type") or "x-kubernetes-int-or-string" in node):
        raise SchemaError(f"{path}: {node} cannot be expressed")
    if node.get("type") == "integer":
        node.setdefault("format", "int64")
    if "properties" in node:
        node["properties"] = {name: _convert(value, definitions, f"{path}.{name}") for name, value in node["properties"].items()}
    if isinstance(node.get("additionalProperties"), dict):
        node["additionalProperties"] = _convert(node["additionalProperties"], definitions, f"{path}{{}}")
    if "items" in node:
        node["items"] = _convert(node["items"], definitions, f"{path}[]")
    return {key: value for key, value in node.items() if key not in _NOISE}


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return dict(schema)
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    # What stands beside a reference (the field's own description) goes before what stands in the model.
    return {**definitions[reference.removeprefix(_REFERENCE)], **beside}
