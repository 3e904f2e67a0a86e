"""Checks that are stated once and made twice: by the API server as CEL at admission, by the operator when it reads a spec.

The operator repeats them because an older custom resource definition, or one edited by hand, may have let something through.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS: Final = "x-kubernetes-validations"


def quoted(text: str) -> str:
    """Return `text` as a CEL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
    return f"'{escaped}'"


@dataclass(frozen=True, slots=True)
class Matches:
    """A string that must match `pattern` as a whole (or must not, with `refuse`). The pattern means the same in RE2 and in `re`."""

    pattern: str
    message: str
    refuse: bool = False
    shows: bool = False
    """Whether the message shows the value: an item of a list is hard to find by its number."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        negation = "!" if self.refuse else ""
        # An integer-or-string is dynamic in CEL, so that only a conversion makes it a string for certain.
        resolved = handler(schema)
        text = "self" if resolved.get("type") == "string" else "string(self)"
        rule = {"rule": f"{negation}{text}.matches({quoted(f'^(?s:{self.pattern})$')})", "message": self.message}
        if self.shows:
            rule["messageExpression"] = f"self.substring(0, size(self) > 200 ? 200 : size(self)) + {quoted(f': {self.message}')}"
        return {**resolved, VALIDATIONS: [*resolved.get(VALIDATIONS, []), rule]}

    def _check(self, value: str) -> str:
        if (re.fullmatch(self.pattern, value, re.DOTALL) is None) is not self.refuse:
            raise PydanticCustomError("rule", "{value}: {message}", {"value": value[:80], "message": self.message})
        return value


@dataclass(frozen=True, slots=True)
class Keys:
    """A map whose keys must each match `pattern` as a whole."""

    pattern: str
    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        resolved = handler(schema)
        rule = {"rule": f"self.all(key, key.matches({quoted(f'^(?s:{self.pattern})$')}))", "message": self.message}
        return {**resolved, VALIDATIONS: [*resolved.get(VALIDATIONS, []), rule]}

    def _check(self, value: dict[str, Any]) -> dict[str, Any]:
        wrong = next((key for key in value if re.fullmatch(self.pattern, key, re.DOTALL) is None), None)
        if wrong is not None:
            raise PydanticCustomError("rule", "{value}: {message}", {"value": wrong[:80], "message": self.message})
        return value


@dataclass(frozen=True, slots=True)
class KeyBytes:
    """A URI whose key takes at most `limit` bytes: object stores count bytes, not characters."""

    limit: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        resolved = handler(schema)
        # The first slash after position 5 ends the bucket, also where that is a placeholder.
        rule = {
            "rule": f"self.indexOf('/', 5) < 0 || size(bytes(self.substring(self.indexOf('/', 5) + 1))) <= {self.limit}",
            "message": self._message(),
        }
        return {**resolved, VALIDATIONS: [*resolved.get(VALIDATIONS, []), rule]}

    def _check(self, value: str) -> str:
        if len(value[5:].partition("/")[2].encode("utf-8", "replace")) > self.limit:
            raise PydanticCustomError("rule", "{message}", {"message": self._message()})
        return value

    def _message(self) -> str:
        return f"the key, which is what follows the bucket, may take at most {self.limit} bytes"
