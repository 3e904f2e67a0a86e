"""What the names of a module stand for, as far as its text tells."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator

DEFINITION = "a definition"
PARAMETER = "a parameter"
VALUE = "a value"
_PATH_LIMIT = 64
"""Attributes in a row, beyond which nothing is known of them: each of a chain is asked for alone."""


def words(text: str) -> frozenset[str]:
    """Return the words of a text: a set of names that is read like one."""
    return frozenset(text.split())


Function = ast.FunctionDef | ast.AsyncFunctionDef


class Names:
    """All that a module's names are bound to, in any scope of it: a name that is bound twice is known for neither."""

    def __init__(self, tree: ast.Module) -> None:
        self._bound: dict[str, Counter[str]] = defaultdict(Counter)
        self._classes: dict[str, list[ast.ClassDef]] = defaultdict(list)
        self.given: list[tuple[str, ast.expr]] = []
        """The names that expressions are bound to, parameters to their defaults too; loops and `with` are not among them."""
        self.has_star = False
        for node in ast.walk(tree):
            self.given.extend(_given(node))
            if isinstance(node, ast.ClassDef):
                self._classes[node.name].append(node)
            for name, what in bindings(node):
                self._bound[name][what] += 1
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                self.has_star = True

    def count(self, name: str) -> int:
        """Return how often the name is bound."""
        return self._bound[name].total() if name in self._bound else 0

    def is_free(self, name: str) -> bool:
        """Whether the module never binds the name, so that it is Python's own."""
        return name not in self._bound and not self.has_star

    def defined(self) -> set[str]:
        """Return the names that may be functions or classes of the module's own."""
        return {name for name, found in self._bound.items() if DEFINITION in found}

    def classes(self, name: str) -> list[ast.ClassDef]:
        """Return the module's own classes of that name."""
        return self._classes.get(name, [])

    def imports(self, module: str) -> bool:
        """Whether the module imports another one, or a part of it, in any place."""
        origin = f"import {module}"
        return any(what == origin or what.startswith(f"{origin}.") for found in self._bound.values() for what in found)

    def is_value(self, name: str) -> bool:
        """Whether the name only ever holds results of expressions."""
        return name in self._bound and set(self._bound[name]) == {VALUE}

    def dotted(self, node: ast.expr) -> str:
        """Return what an expression such as `tf.app.run` names, from the imported module on; empty where that is not certain."""
        path: list[str] = []
        while isinstance(node, ast.Attribute) and len(path) < _PATH_LIMIT:
            path.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        found = self._bound.get(node.id, Counter())
        origin = next(iter(found)) if len(found) == 1 else ""
        return ".".join([origin.removeprefix("import "), *reversed(path)]) if origin.startswith("import ") else ""


def _given(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            yield from (
                (inner.id, node.value) for inner in ast.walk(target) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
            )
    elif isinstance(node, ast.arguments):
        placed = [*node.posonlyargs, *node.args]
        yield from zip((each.arg for each in placed[len(placed) - len(node.defaults) :]), node.defaults, strict=True)
        for argument, default in zip(node.kwonlyargs, node.kw_defaults, strict=True):
            if default is not None:
                yield argument.arg, default


def bindings(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that a node binds, and to what."""
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
