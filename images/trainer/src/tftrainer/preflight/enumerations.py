"""Classes whose mere definition runs code of their own: enumerations make their members, by methods that may be the script's."""

from __future__ import annotations

import ast
from typing import Final

from tftrainer.preflight.names import Names, words

CALLED_BY_ENUMERATIONS: Final = words("__init__ __new__ _generate_next_value_ __setattr__ __getattribute__ __getattr__")
"""Methods that the definition of an enumeration runs for its members."""

_FAMILY_LIMIT: Final = 64
"""Classes that a class derives from, beyond which nothing is known of it."""


class Enumerations:
    """Tells the enumerations of one module, as far as its text shows them."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def runs_code(self, statement: ast.ClassDef) -> bool:
        """Whether the definition may run methods of the class, or of a class of the module that it derives from."""
        family = self._family(statement)
        if len(family) > _FAMILY_LIMIT:
            return True
        is_mixed = self._is_surely(family) and any(map(self._is_unclear, _bases(family)))
        return is_mixed or (self._may_be(family) and not CALLED_BY_ENUMERATIONS.isdisjoint(_methods(family)))

    def has_methods(self, name: str) -> bool:
        """Whether the name may be an enumeration that has methods: its members run them where others only look at them."""
        families = map(self._family, self._names.classes(name))
        return any(len(family) > _FAMILY_LIMIT or (self._may_be(family) and _methods(family)) for family in families)

    def _family(self, statement: ast.ClassDef) -> list[ast.ClassDef]:
        family = [statement]
        for each in family:
            if len(family) > _FAMILY_LIMIT:
                break
            named = [base.id for base in _bases([each]) if isinstance(base, ast.Name)]
            family += [found for name in dict.fromkeys(named) for found in self._names.classes(name) if found not in family]
        return family

    def _is_surely(self, family: list[ast.ClassDef]) -> bool:
        return any("enum" in self._names.dotted(base).lower() for base in _bases(family))

    def _may_be(self, family: list[ast.ClassDef]) -> bool:
        return self._is_surely(family) or (self._names.imports("enum") and any(map(self._is_unclear, _bases(family))))

    def _is_unclear(self, base: ast.expr) -> bool:
        if not isinstance(base, ast.Name):
            return not self._names.dotted(base)
        is_own = bool(self._names.classes(base.id)) and len(self._names.classes(base.id)) == self._names.count(base.id)
        return not (is_own or self._names.dotted(base) or self._names.is_free(base.id))


def _bases(family: list[ast.ClassDef]) -> list[ast.expr]:
    found = [base for each in family for base in (*each.bases, *(word.value for word in each.keywords if word.arg in {"metaclass", None}))]
    return [base.value if isinstance(base, ast.Subscript) else base for base in found]


def _methods(family: list[ast.ClassDef]) -> set[str]:
    return {node.name for each in family for node in ast.walk(each) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
