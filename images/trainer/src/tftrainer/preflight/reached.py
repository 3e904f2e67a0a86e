"""The first use of a name that is surely reached: evaluated before anything that might end the program or change what follows."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tftrainer.preflight.inert import Inert
from tftrainer.preflight.names import Names

_DEPTH: Final = 5


class _FoundError(Exception):
    def __init__(self, node: ast.Attribute) -> None:
        super().__init__()
        self.node = node


class _StopError(Exception):
    """What comes next is not certain."""


class Reached:
    """Looks for attributes in one module. `is_wanted` is asked of their dotted names, from the imported module on."""

    def __init__(self, tree: ast.Module, inert: Inert, names: Names, is_wanted: Callable[[str], bool]) -> None:
        self._inert = inert
        self._names = names
        self._is_wanted = is_wanted
        self._functions = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef) and not each.decorator_list}
        self._entered = False

    def first(self, statement: ast.stmt) -> ast.Attribute | None:
        """Return the first wanted attribute that a statement surely evaluates if it begins; None if that is not certain."""
        try:
            self._statement(statement, 0)
        except _FoundError as found:
            return found.node
        except (_StopError, RecursionError):
            pass
        return None

    def _statements(self, statements: Iterable[ast.stmt], depth: int) -> None:
        for statement in statements:
            if isinstance(statement, ast.Return):
                self._expressions([statement.value], depth)
                return
            before, self._entered = self._entered, False
            self._statement(statement, depth)
            if not self._entered and not self._inert.is_inert(statement):
                raise _StopError
            self._entered = before

    def _statement(self, statement: ast.stmt, depth: int) -> None:
        self._expressions(_evaluated_first(statement), depth)
        if is_main_guard(statement) and isinstance(statement, ast.If):
            self._entered = True
            self._statements(statement.body, depth)
        elif isinstance(statement, ast.ClassDef):
            self._statements(statement.body, depth)
        elif isinstance(statement, ast.With) and all(self._lets_through(each.context_expr) for each in statement.items):
            self._statements(statement.body, depth)
            self._entered = True

    def _lets_through(self, manager: ast.expr) -> bool:
        """Whether an error of the block comes out of it; `contextlib.suppress` lets none through."""
        return isinstance(manager, ast.Call) and self._names.dotted(manager.func).startswith("tensorflow.")

    def _expressions(self, expressions: Iterable[ast.expr | None], depth: int) -> None:
        for expression in expressions:
            if expression is not None:
                self._expression(expression, depth)

    def _expression(self, node: ast.expr, depth: int) -> None:
        self._expressions(_surely_evaluated(node), depth)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and self._is_wanted(self._names.dotted(node)):
            raise _FoundError(node)
        if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom):
            raise _StopError
        if isinstance(node, ast.Call) and not self._inert.is_harmless_call(node.func):
            self._enter(node.func, depth)

    def _enter(self, called: ast.expr, depth: int) -> None:
        function = self._functions.get(called.id) if isinstance(called, ast.Name) and self._names.count(called.id) == 1 else None
        if function is None or depth == _DEPTH or is_generator(function):
            raise _StopError
        self._statements(function.body, depth + 1)
        self._entered = True


def is_main_guard(statement: ast.stmt) -> bool:
    """Whether a statement is `if __name__ == "__main__":`."""
    test = statement.test if isinstance(statement, ast.If) else None
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = {side.id if isinstance(side, ast.Name) else getattr(side, "value", None) for side in (test.left, test.comparators[0])}
    kinds = {type(side) for side in (test.left, test.comparators[0])}
    return sides == {"__name__", "__main__"} and kinds == {ast.Name, ast.Constant}


def is_generator(function: ast.FunctionDef) -> bool:
    """Whether a call of the function does not run it."""
    return any(isinstance(node, ast.Yield | ast.YieldFrom | ast.Await) for node in ast.walk(function))


def _evaluated_first(statement: ast.stmt) -> Iterator[ast.expr | None]:
    """Yield the expressions that a statement surely evaluates, in their order; of blocks nothing."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from (*statement.decorator_list, *statement.args.defaults, *statement.args.kw_defaults)
    elif isinstance(statement, ast.ClassDef):
        yield from (*statement.decorator_list, *statement.bases, *(each.value for each in statement.keywords))
    elif isinstance(statement, ast.If | ast.While):
        yield statement.test
    elif isinstance(statement, ast.For):
        yield statement.iter
    elif isinstance(statement, ast.With):
        # What comes after the first may never be, if that ends the program, or may be held back by it.
        yield statement.items[0].context_expr
    elif isinstance(statement, ast.Expr | ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Return):
        yield statement.value
    elif isinstance(statement, ast.Raise):
        yield statement.exc


def _surely_evaluated(node: ast.expr) -> list[ast.expr]:
    """Return the parts of an expression that are evaluated whatever their values are, in their order."""
    match node:
        case ast.BoolOp():
            return node.values[:1]
        case ast.IfExp():
            return [node.test]
        case ast.Lambda():
            return [*node.args.defaults, *(each for each in node.args.kw_defaults if each is not None)]
        case ast.Compare():
            return [node.left, node.comparators[0]]
        case ast.ListComp() | ast.SetComp() | ast.DictComp():
            return [node.generators[0].iter]
        case ast.GeneratorExp():
            return [node.generators[0].iter]
        case ast.Dict():
            pairs = zip(node.keys, node.values, strict=True)
            return [each for pair in pairs for each in pair if each is not None]
        case ast.Call():
            return [node.func, *node.args, *(each.value for each in node.keywords)]
    return [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr)]
