"""What the names of a module stand for, as far as its text tells."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

DEFINITION = "a definition"
PARAMETER = "a parameter"
VALUE = "a value"


def words(text: str) -> frozenset[str]:
    """Return the words of a text: a set of names that is read like one."""
    return frozenset(text.split())


Function = ast.FunctionDef | ast.AsyncFunctionDef


class Names:
    """All that a module's names are bound to, in any scope of it: a name that is bound twice is known for neither."""

    def __init__(self, tree: ast.Module) -> None:
        self._bound: dict[str, list[str]] = defaultdict(list)
        self.has_star = False
        for node in ast.walk(tree):
            for name, what in _bindings(node):
                self._bound[name].append(what)
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                self.has_star = True

    def count(self, name: str) -> int:
        """Return how often the name is bound."""
        return len(self._bound.get(name, ()))

    def is_free(self, name: str) -> bool:
        """Whether the module never binds the name, so that it is Python's own."""
        return name not in self._bound and not self.has_star

    def is_defined(self, name: str) -> bool:
        """Whether the name may be a function or a class of the module's own."""
        return DEFINITION in self._bound.get(name, ())

    def imports(self, module: str) -> bool:
        """Whether the module imports another one, or a part of it, in any place."""
        origin = f"import {module}"
        return any(what == origin or what.startswith(f"{origin}.") for found in self._bound.values() for what in found)

    def is_value(self, name: str) -> bool:
        """Whether the name only ever holds results of expressions."""
        return set(self._bound.get(name, ["?"])) == {VALUE}

    def dotted(self, node: ast.expr) -> str:
        """Return what an expression such as `tf.app.run` names, from the imported module on; empty where that is not certain."""
        path: list[str] = []
        while isinstance(node, ast.Attribute):
            path.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        found = set(self._bound.get(node.id, ()))
        origin = next(iter(found)) if len(found) == 1 else ""
        return ".".join([origin.removeprefix("import "), *reversed(path)]) if origin.startswith("import ") else ""


def _bindings(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            module = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or module, f"import {module}"
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, f"import {'.' * node.level}{node.module or ''}.{alias.name}"
    elif isinstance(node, Function | ast.ClassDef):
        yield node.name, DEFINITION
    elif isinstance(node, ast.arg):
        yield node.arg, PARAMETER
    elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id, VALUE
    elif (isinstance(node, ast.ExceptHandler) and node.name) or (isinstance(node, ast.MatchAs | ast.MatchStar) and node.name):
        yield node.name, VALUE
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest, VALUE
