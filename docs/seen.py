"""Which tests bring each reason of a failure about, read from the tests themselves: a test that names a reason asserts it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tftrainer.messages.contract import Reason

TESTS: Final = Path(__file__).resolve().parents[1] / "tests"
CLUSTER: Final = TESTS / "cluster"
PODS: Final = TESTS / "integration" / "trainer"
_WORDS: Final = frozenset(str(reason) for reason in Reason)
_SHOWN: Final = 2
"""So many tests of each kind are named: the first by their files' names."""


@dataclass(frozen=True, slots=True)
class Test:
    """A test, and the reasons that it names: itself, or by a table of its module."""

    file: Path
    name: str
    reasons: frozenset[Reason]

    @property
    def link(self) -> str:
        """The test as a link from `docs/reference`."""
        return f"[`{self.name}`](../../{self.file.relative_to(TESTS.parent).as_posix()})"


def seen() -> str:
    """Return the table: each reason with tests on the cluster, and with those in which a pod's own processes found it."""
    places = [list(tests(folder)) for folder in (CLUSTER, PODS)]
    rows = [f"| `{reason}` | {' | '.join(_links(reason, found) for found in places)} |" for reason in Reason]
    return "\n".join(["| reason | on the cluster | by the pod's own processes |", "| --- | --- | --- |", *rows])


def tests(folder: Path) -> Iterator[Test]:
    """Return the tests of a folder, in the order of their files."""
    for file in sorted(folder.glob("test_*.py")):
        module = ast.parse(file.read_text())
        tables = dict(_tables(module))
        for item in module.body:
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name.startswith("test_"):
                yield Test(file, item.name, frozenset(_named(item, tables)))


def _links(reason: Reason, found: Iterable[Test]) -> str:
    return ", ".join([test.link for test in found if reason in test.reasons][:_SHOWN])


def _tables(module: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Return what a module's names in capitals stand for, and its functions, by name."""
    for item in module.body:
        if isinstance(item, ast.Assign):
            yield from ((target.id, item.value) for target in item.targets if isinstance(target, ast.Name))
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value is not None:
            yield item.target.id, item.value
        elif isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield item.name, item


def _named(node: ast.AST, tables: Mapping[str, ast.AST], within: frozenset[str] = frozenset()) -> Iterator[Reason]:
    """Return the reasons that a piece of a test names, with those of what it refers to in its module."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and each.value in _WORDS:
            yield Reason(each.value)
        elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "Reason":
            yield Reason[each.attr]
        elif (name := _reference(each)) in tables and name not in within:
            yield from _named(tables[name], tables, within | {name})


def _reference(node: ast.AST) -> str:
    """Return the name that a piece of code refers to, a fixture by an argument; empty if none."""
    return node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else ""
