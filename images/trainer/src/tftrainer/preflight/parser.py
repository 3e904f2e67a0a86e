"""The script's `argparse` parser, read from its text, where that is certain: what it takes, and that it is surely asked.

Certain is: the script makes one parser, in straight lines, of literals; all that is done with it is seen; and a way without
branches leads from the script's first line to the one call that reads the arguments. Everything else is none of our business.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tftrainer.preflight.inert import Inert
from tftrainer.preflight.names import Names, bindings
from tftrainer.preflight.reached import is_generator, is_main_guard

_CLASS: Final = "argparse.ArgumentParser"
_READS: Final = {"parse_args": True, "parse_known_args": False}
_HARMLESS: Final = frozenset({"print_help", "print_usage", "format_help", "format_usage", "error", "exit"})
_COSMETIC: Final = frozenset({"prog", "usage", "description", "epilog", "formatter_class", "argument_default"})
_LITERAL: Final = frozenset({"add_help", "allow_abbrev", "prefix_chars", "conflict_handler"})
_ACTIONS: Final = frozenset(
    {"store", "store_const", "store_true", "store_false", "append", "append_const", "count", "extend", "help", "version"}
)
_CONSTANTS: Final = {
    "argparse.OPTIONAL": "?",
    "argparse.ZERO_OR_MORE": "*",
    "argparse.ONE_OR_MORE": "+",
    "argparse.REMAINDER": "...",
}
_BOOLEAN: Final = "argparse.BooleanOptionalAction"
_VALUELESS: Final = frozenset({"store_const", "store_true", "store_false", "append_const", "count", "help", "version", "boolean"})
UNKNOWN: Final = object()
"""Stands for a default, or a constant, that is anything but None: where it matters which, nothing is certain."""
_APP_RUN: Final = frozenset({"tensorflow.app.run", "tensorflow.compat.v1.app.run", "tensorflow.python.platform.app.run"})
_DEPTH: Final = 5
PASSED: Final = "passed"
"""Says that what the module does before is the reason; the walk knows where."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call that builds the parser: `kind` is argument, group or exclusive; `owner` and `name` tell groups apart."""

    kind: str
    owner: str
    name: str
    flags: tuple[str, ...]
    options: dict[str, Any]
    line: int


@dataclass(frozen=True, slots=True)
class Parser:
    """A parser as it is written. `strict` refuses what it does not know; `through_absl`: absl's flags are read before it."""

    line: int
    name: str
    options: dict[str, Any]
    steps: tuple[Step, ...]
    strict: bool
    through_absl: bool


class _UncertainError(Exception):
    """The text does not tell; says why where that is not the way the parser is written."""


def read(tree: ast.Module, passed: int, inert: Inert, names: Names) -> Parser | str | None:
    """Return the script's parser; None if it has none, and where anything about it is not certain, why.

    `passed` is how many statements of the script are surely executed and harmless; see `Walk.script`.
    """
    if not names.imports("argparse"):
        return None
    if names.has_star:
        return "a `from … import *` may give its names another meaning"
    try:
        return _Reader(tree, passed, inert, names).read()
    except _UncertainError as uncertain:
        return str(uncertain) or "its parser is not made and read in straight lines of literals"
    except RecursionError:
        return "it is nested too deeply to be followed"


Block = Sequence[ast.stmt]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a statement stands: its block, its index there, and the function that the block is the body of."""

    block: Block
    index: int
    function: ast.FunctionDef | None


class _Reader:
    def __init__(self, tree: ast.Module, passed: int, inert: Inert, names: Names) -> None:
        self._tree = tree
        self._passed = passed
        self._inert = inert
        self._names = names
        self._places = dict(self._all_places())
        self._accounted: set[int] = set()
        """Name nodes whose meaning is understood, by identity."""
        self._sets_defaults = False

    def read(self) -> Parser:
        made, name, place = self._construction()
        steps = self._steps(name, place)
        self._demand_free_of_defaults(made, [step for _, step in steps])
        reading, method = self._reading(name)
        at = self._place_of(reading)
        if at.block is place.block:
            _demand(at.index > max([place.index, *(index for index, _ in steps)]))
        through_absl = self._reach(at, place, max([place.index, *(index for index, _ in steps)]), reading)
        self._all_mentions_understood({name, *(step.name for _, step in steps if step.kind != "argument")})
        return Parser(
            line=made.lineno,
            name=name,
            options=self._parser_options(made),
            steps=tuple(step for _, step in steps),
            strict=_READS[method],
            through_absl=through_absl,
        )

    def _all_places(self) -> Iterator[tuple[int, _Place]]:
        """Yield straight-line statements: of the module, of its `if __name__ == "__main__"`, and of its plain functions."""
        for index, statement in enumerate(self._tree.body):
            yield id(statement), _Place(self._tree.body, index, None)
            if is_main_guard(statement) and isinstance(statement, ast.If):
                yield from ((id(inner), _Place(statement.body, number, None)) for number, inner in enumerate(statement.body))
            if isinstance(statement, ast.FunctionDef) and not statement.decorator_list and not is_generator(statement):
                yield from ((id(inner), _Place(statement.body, number, statement)) for number, inner in enumerate(statement.body))

    def _construction(self) -> tuple[ast.Call, str, _Place]:
        notes = {id(inner) for note in _annotations(self._tree) for inner in ast.walk(note)}
        mentions = [
            node
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Name | ast.Attribute) and id(node) not in notes and self._names.dotted(node) == _CLASS
        ]
        _demand(len(mentions) == 1)
        for statement, place in self._straight():
            value = getattr(statement, "value", None)
            if isinstance(value, ast.Call) and value.func is mentions[0]:
                return value, self._assigned(statement), place
        raise _UncertainError

    def _straight(self) -> Iterator[tuple[ast.stmt, _Place]]:
        for place in self._places.values():
            yield place.block[place.index], place

    def _assigned(self, statement: ast.stmt) -> str:
        target: ast.expr | None = None
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign):
            target = statement.target
        if not isinstance(target, ast.Name) or self._names.count(target.id) != 1:
            raise _UncertainError
        return target.id

    def _steps(self, parser: str, place: _Place) -> list[tuple[int, Step]]:
        owners = {parser}
        found: list[tuple[int, Step]] = []
        for index, statement in enumerate(place.block[place.index + 1 :], place.index + 1):
            value = getattr(statement, "value", None)
            if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute) or not isinstance(value.func.value, ast.Name):
                continue
            owner, method = value.func.value.id, value.func.attr
            if owner not in owners:
                continue
            if method == "add_argument" and isinstance(statement, ast.Expr):
                found.append((index, self._argument(owner, value)))
            elif method in {"add_argument_group", "add_mutually_exclusive_group"}:
                group = self._assigned(statement)
                owners.add(group)
                found.append((index, self._group(owner, group, method, value)))
            elif method == "set_defaults" and isinstance(statement, ast.Expr):
                self._sets_defaults = True
            else:
                continue
            self._accounted.add(id(value.func.value))
        return found

    def _argument(self, owner: str, call: ast.Call) -> Step:
        flags = tuple(_text(each) for each in call.args)
        options: dict[str, Any] = {}
        for keyword in call.keywords:
            self._option(keyword, options)
        return Step("argument", owner, "", flags, options, call.lineno)

    def _option(self, keyword: ast.keyword, options: dict[str, Any]) -> None:
        value = keyword.value
        if keyword.arg == "action":
            options["action"] = "boolean" if self._names.dotted(value) == _BOOLEAN else _text(value)
            _demand(options["action"] in _ACTIONS | {"boolean"})
        elif keyword.arg == "nargs":
            options["nargs"] = _CONSTANTS.get(self._names.dotted(value)) or _literal(value)
        elif keyword.arg == "dest":
            options["dest"] = _text(value)
        elif keyword.arg == "required":
            options["required"] = _literal(value) is True
        elif keyword.arg == "type":
            free = isinstance(value, ast.Name) and self._names.is_free(value.id)
            options["type"] = value.id if isinstance(value, ast.Name) and free and value.id in {"int", "float", "str"} else "?"
        elif keyword.arg == "choices":
            options["choices"] = _choices(value)
        elif keyword.arg in {"const", "default"}:
            options[keyword.arg] = None if _is_none(value) else UNKNOWN
        else:
            _demand(keyword.arg in {"help", "metavar", "version"})

    def _demand_free_of_defaults(self, made: ast.Call, steps: Sequence[Step]) -> None:
        """Demand that no default decides what is refused.

        argparse compares the default with the choices where a place for many values gets none, and takes an argument of an exclusive
        group for absent where its value is the very object that is its default.
        """
        exclusive = {step.name for step in steps if step.kind == "exclusive"}
        from_elsewhere = self._sets_defaults or any(keyword.arg == "argument_default" for keyword in made.keywords)
        for step in steps:
            rival = step.owner in exclusive and step.options.get("action", "store") not in _VALUELESS
            place = not any(flag.startswith("-") for flag in step.flags)
            bare = place and step.options.get("nargs") == "*" and step.options.get("choices") is not None
            if rival or bare:
                _demand(not from_elsewhere and UNKNOWN not in (step.options.get("default"), step.options.get("const")))
            _demand(not rival or step.options.get("type") != "?")

    def _group(self, owner: str, name: str, method: str, call: ast.Call) -> Step:
        if method == "add_argument_group":
            _demand(all(keyword.arg in {"title", "description"} for keyword in call.keywords))
            return Step("group", owner, name, (), {}, call.lineno)
        _demand(not call.args and all(keyword.arg == "required" for keyword in call.keywords))
        required = any(_literal(keyword.value) is True for keyword in call.keywords)
        return Step("exclusive", owner, name, (), {"required": required}, call.lineno)

    def _parser_options(self, call: ast.Call) -> dict[str, Any]:
        _demand(len(call.args) <= 4 and not any(isinstance(each, ast.Starred) for each in call.args))
        options: dict[str, Any] = {}
        for keyword in call.keywords:
            if keyword.arg in _LITERAL:
                options[keyword.arg] = _literal(keyword.value)
            else:
                _demand(keyword.arg in _COSMETIC)
        return options

    def _reading(self, parser: str) -> tuple[ast.Call, str]:
        found = [
            node
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == parser
            and node.func.attr in _READS
        ]
        _demand(len(found) == 1)
        method = found[0].func
        if not isinstance(method, ast.Attribute):
            raise _UncertainError
        self._accounted.add(id(method.value))
        return found[0], method.attr

    def _place_of(self, call: ast.Call) -> _Place:
        """Return the straight-line statement that surely evaluates the call: its value, or what is taken of its value."""
        for statement, place in self._straight():
            value = getattr(statement, "value", None) if isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr | ast.Return) else None
            while value is not None and value is not call:
                value = self._inner(value)
            if value is call:
                return place
        raise _UncertainError

    def _inner(self, value: ast.expr) -> ast.expr | None:
        if isinstance(value, ast.Attribute | ast.Subscript):
            return value.value
        if isinstance(value, ast.Call) and len(value.args) == 1 and not value.keywords:
            wraps = self._names.dotted(value.func) == "sys.exit" or (
                isinstance(value.func, ast.Name) and value.func.id in {"vars", "exit"} and self._names.is_free(value.func.id)
            )
            return value.args[0] if wraps else None
        return None

    def _reach(self, at: _Place, made: _Place, last: int, reading: ast.Call) -> bool:
        """Demand that the reading surely takes place, after the parser is complete; return whether absl's flags come before it."""
        given: ast.expr | None = reading.args[0] if reading.args else None
        _demand(len(reading.args) <= 1 and not reading.keywords)
        ready = made.function is None
        for _ in range(_DEPTH):
            if at.block is made.block:
                _demand(at.index > last)
                ready = True
            function = at.function
            self._demand_inert(at)
            if function is None:
                _demand(ready)
                self._demand_after(at, made, last)
                _demand(given is None or self._is_arguments(given))
                return False
            call, at, is_app = self._call_of(function)
            given = _passed_on(given, function, call, is_app=is_app)
            if is_app:
                self._demand_inert(at)
                _demand(at.function is None and ready)
                self._demand_after(at, made, last)
                return True
        raise _UncertainError

    def _demand_after(self, at: _Place, made: _Place, last: int) -> None:
        """Demand that a parser of the module is complete when the module's own code, at this place, comes to use it."""
        if made.function is not None:
            return
        if at.block is not made.block:
            _demand(made.block is self._tree.body)
            _demand(self._guard(at) > last)
        else:
            _demand(at.index > last)

    def _guard(self, at: _Place) -> int:
        return next(index for index, statement in enumerate(self._tree.body) if getattr(statement, "body", None) is at.block)

    def _is_arguments(self, given: ast.expr) -> bool:
        return _is_none(given) or (
            isinstance(given, ast.Subscript) and self._names.dotted(given.value) == "sys.argv" and ast.unparse(given.slice) == "1:"
        )

    def _demand_inert(self, at: _Place) -> None:
        before = at.block[: at.index]
        if at.block is self._tree.body:
            self._demand_passed(at.index)
            return
        noisy = next((each for each in before if not self._inert.is_inert(each)), None)
        if noisy is not None:
            raise _UncertainError(_may_change(f"line {noisy.lineno}"))
        if at.function is None:
            self._demand_passed(self._guard(at))

    def _demand_passed(self, index: int) -> None:
        if index > self._passed:
            raise _UncertainError(PASSED)

    def _call_of(self, function: ast.FunctionDef) -> tuple[ast.Call, _Place, bool]:
        _demand(self._names.count(function.name) == 1)
        mentions = [node for node in ast.walk(self._tree) if isinstance(node, ast.Name) and node.id == function.name]
        _demand(len(mentions) <= 1)
        calls = [node for node in ast.walk(self._tree) if isinstance(node, ast.Call)]
        direct = next((call for call in calls if mentions and call.func is mentions[0]), None)
        if direct is not None:
            return direct, self._place_of(direct), False
        runs = [call for call in calls if self._names.dotted(call.func) in _APP_RUN]
        _demand(len(runs) == 1)
        given = [*runs[0].args, *(keyword.value for keyword in runs[0].keywords if keyword.arg == "main")]
        for keyword in runs[0].keywords:
            _demand(keyword.arg == "main" or (keyword.arg == "argv" and self._names.dotted(keyword.value) == "sys.argv"))
        _demand(given == mentions if mentions else not given and function.name == "main")
        return runs[0], self._place_of(runs[0]), True

    def _all_mentions_understood(self, owners: set[str]) -> None:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _HARMLESS:
                self._accounted.add(id(node.func.value))
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Name) and node.id in owners and isinstance(node.ctx, ast.Load):
                _demand(id(node) in self._accounted)


def _passed_on(given: ast.expr | None, function: ast.FunctionDef, call: ast.Call, *, is_app: bool) -> ast.expr | None:
    """Return what the reading is given, in the words of the caller of the function that it takes place in."""
    parameters = [each.arg for each in function.args.args]
    plain = not (function.args.vararg or function.args.kwarg or function.args.kwonlyargs or function.args.posonlyargs)
    if is_app:
        _demand(plain and len(parameters) == 1)
        if given is not None:
            taken = given.value if isinstance(given, ast.Subscript) else given
            _demand(ast.unparse(given) == f"{parameters[0]}[1:]" and _is_untouched(taken, function))
        return given
    if given is None:
        return None
    _demand(plain and isinstance(given, ast.Name) and parameters == [given.id] and _is_untouched(given, function))
    if call.args:
        _demand(len(call.args) == 1 and not call.keywords)
        return call.args[0]
    _demand(not call.keywords and len(function.args.defaults) == 1 and _is_none(function.args.defaults[0]))
    return None


def _is_untouched(parameter: ast.expr, function: ast.FunctionDef) -> bool:
    """Whether nothing of a function names a parameter but the given node: what is done to it elsewhere may change what it holds."""
    if not isinstance(parameter, ast.Name):
        return False
    mentions = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == parameter.id]
    bound = [name for node in ast.walk(function) for name, _ in bindings(node) if name == parameter.id]
    return mentions == [parameter] and len(bound) == 1


def _may_change(place: str) -> str:
    return f"{place} may end the program or change the arguments before they are read"


def _demand(condition: bool) -> None:
    if not condition:
        raise _UncertainError


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise _UncertainError from None


def _choices(node: ast.expr) -> tuple[Any, ...] | None:
    """Return the allowed values; None where they are no literals, or a text, of which every part is allowed."""
    try:
        found = _literal(node)
    except _UncertainError:
        return None
    return tuple(found) if isinstance(found, list | tuple | set | dict) else None


def _text(node: ast.expr) -> str:
    value = _literal(node)
    if not isinstance(value, str):
        raise _UncertainError
    return value


def _annotations(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            note = getattr(node, field, None)
            if isinstance(note, ast.expr):
                yield note
