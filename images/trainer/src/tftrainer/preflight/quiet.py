"""Statements that surely come to their end and change nothing that matters to what follows.

What follows is an import, or the reading of arguments. A statement that may end the program, or change the places of modules or
the arguments, makes everything after it uncertain. So does one that calls what is not known: the known are few, and enough for
the beginnings of most programs.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tftrainer.preflight.names import Function, Names, words

_MODULES: Final = words(
    "__future__ abc absl argparse collections contextlib copy csv dataclasses datetime enum functools h5py hashlib itertools json keras"
    " logging math matplotlib numpy operator pandas pickle pprint random re scipy sklearn statistics string struct tensorflow textwrap"
    " time types typing typing_extensions uuid warnings"
)
"""Modules whose functions neither end the program nor touch the places of modules, but for those of `_LOUD`."""
_KNOWN: Final = _MODULES | words(
    "PIL cv2 google joblib keras_preprocessing packaging psutil requests seaborn six tensorboard tensorflow_datasets tensorflow_estimator"
    " tensorflow_hub tensorflow_probability tf_keras tf_slim tqdm yaml"
    " ConfigParser Queue StringIO Tkinter cPickle cStringIO urllib2 urlparse"
)
"""Modules of images, and of Python 2, whose import does nothing of the kind either."""
_PARTS: Final = {
    "os": words("path environ getenv cpu_count getcwd getpid sep linesep name pathsep makedirs mkdir"),
    "sys": words("version_info version platform stdout stderr stdin maxsize executable byteorder flags hexversion"),
}
"""Modules of which only a part is harmless."""
_INNER: Final = words("sys _sys os _os builtins")
"""Modules that others hold as attributes, by which everything can be reached."""
_LOUD: Final = _INNER | words(
    "call run parse_args parse_known_args parse_intermixed_args parse_known_intermixed_args exit error abort kill system print_help"
    " gfile io get_file load_library load_op_library load_file_system_library multi_process_runner test main load loads"
    " meta_path path_hooks path_importer_cache modules argv __path__ __dict__ __globals__ __builtins__ __subclasses__"
)
"""Attributes that are not harmless, whatever they are of."""
_FUNCTIONS: Final = words(
    "abs all any bool bytes complex dict divmod enumerate float format frozenset hash hex id int isinstance issubclass len"
    " list max min object oct ord pow print property range repr reversed round set slice sorted staticmethod classmethod str sum"
    " super tuple type zip"
)
_FORBIDDEN: Final = words(
    "__import__ __builtins__ __loader__ __package__ __path__ __spec__ breakpoint compile delattr eval exec exit getattr globals input"
    " locals open quit setattr vars"
)

_CALLED_BY_CLASSES: Final = words("__init_subclass__ __set_name__ __class_getitem__ __mro_entries__")
"""Methods that the definition of a class, or of one below it, runs."""
_CALLED_BY_ENUMS: Final = words("__init__ __new__ _generate_next_value_")
"""Methods that the definition of an enumeration runs for its members."""
_KEPT: Final[dict[str, frozenset[str | None]]] = {"add_argument": frozenset({"type"}), "set_defaults": frozenset({None})}
"""Methods that keep the functions they are given, and by which keywords; None stands for all."""

IsLocal = Callable[[str], bool]


class Quiet:
    """Tells quiet statements of one module. `is_local` says whether a module name is one of the user's own."""

    def __init__(self, names: Names, is_local: IsLocal) -> None:
        self._names = names
        self._is_local = is_local

    def all(self, statements: Iterable[ast.stmt]) -> bool:
        """Whether all the statements are quiet."""
        return all(self.is_quiet(statement) for statement in statements)

    def is_quiet(self, statement: ast.stmt) -> bool:
        """Whether the statement is quiet."""
        if isinstance(statement, ast.Import):
            return not any(self._is_local(_top(alias.name)) for alias in statement.names) and all(
                is_known(_top(alias.name)) for alias in statement.names
            )
        if isinstance(statement, ast.ImportFrom):
            module = _top(statement.module or "")
            return not statement.level and not self._is_local(module) and is_known(module) and takes_quietly(statement)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            return self._defines_quietly(statement)
        if isinstance(statement, ast.ClassDef):
            return self._is_quiet_class(statement)
        if isinstance(statement, ast.If | ast.For | ast.Try):
            return self._are_quiet_blocks(statement)
        if isinstance(statement, ast.Global | ast.Nonlocal):
            return True
        if isinstance(statement, ast.Expr | ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete | ast.Pass):
            note = getattr(statement, "annotation", None)
            evaluated = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.expr) and child is not note]
            return all(map(self.is_calm, evaluated)) and (note is None or self._is_harmless_name(note))
        return False

    def _is_quiet_class(self, statement: ast.ClassDef) -> bool:
        if any(keyword.arg == "metaclass" and not self._is_harmless_call(keyword.value) for keyword in statement.keywords):
            return False
        outer = [*statement.bases, *(keyword.value for keyword in statement.keywords)]
        return self._decorates(statement.decorator_list) and all(map(self._is_harmless_name, outer)) and self.all(statement.body)

    def _are_quiet_blocks(self, statement: ast.If | ast.For | ast.Try) -> bool:
        blocks = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt)]
        handlers = getattr(statement, "handlers", ())
        blocks += [child for handler in handlers for child in handler.body]
        caught = [handler.type for handler in handlers if handler.type is not None]
        return self.all(blocks) and all(map(self.is_calm, _heads(statement))) and all(map(self._is_harmless_name, caught))

    def is_calm(self, expression: ast.expr) -> bool:
        """Whether evaluating the expression is harmless, and it hands no code of the module to anything that may run it."""
        return self._is_harmless_name(expression) and not self._hands_over_code(expression)

    def _is_harmless_name(self, expression: ast.expr) -> bool:
        """Whether evaluating the expression is harmless where its value is not called: a base class, an annotation."""
        return all(self._is_harmless(node) for node in ast.walk(expression))

    def _hands_over_code(self, expression: ast.expr) -> bool:
        kept = {id(inner) for node in ast.walk(expression) for given in _kept(node) for inner in ast.walk(given)}
        return any(
            isinstance(node, ast.Lambda) or (isinstance(node, ast.Name) and self._names.is_defined(node.id))
            for node in ast.walk(expression)
            if id(node) not in kept
        )

    def _is_harmless(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Name):
            return node.id not in _FORBIDDEN and not self._is_local(self._names.dotted(node).strip(".").partition(".")[0] or "\0")
        if isinstance(node, ast.Attribute):
            return self._is_harmless_attribute(node)
        if isinstance(node, ast.Call):
            return self._is_harmless_call(node.func)
        return not isinstance(node, ast.Await | ast.Yield | ast.YieldFrom)

    def _is_harmless_attribute(self, node: ast.Attribute) -> bool:
        module, _, rest = self._names.dotted(node).partition(".")
        if module and not isinstance(node.ctx, ast.Load):
            # Another meaning for a name of a module reaches everything that uses it.
            return False
        if module in _PARTS:
            return rest.partition(".")[0] in _PARTS[module]
        return node.attr not in _LOUD and not _INNER.intersection(rest.split("."))

    def _is_harmless_call(self, function: ast.expr) -> bool:
        dotted = self._names.dotted(function)
        if dotted:
            module, _, rest = dotted.partition(".")
            if module in _PARTS:
                return rest.partition(".")[0] in _PARTS[module]
            return module in _MODULES and not _LOUD.intersection(rest.split("."))
        if isinstance(function, ast.Name):
            return function.id in _FUNCTIONS and self._names.is_free(function.id)
        root: ast.expr = function
        while isinstance(root, ast.Attribute):
            root = root.value
        # Calls on what a call returned are judged by that call, which is a node of its own.
        return isinstance(function, ast.Attribute) and (
            (isinstance(root, ast.Name) and self._names.is_value(root.id)) or isinstance(root, ast.Constant | ast.Call | ast.JoinedStr)
        )

    def _defines_quietly(self, statement: Function) -> bool:
        given = statement.args
        defaults = [*given.defaults, *(default for default in given.kw_defaults if default is not None)]
        parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
        notes = [note for note in (statement.returns, *(each.annotation for each in parameters)) if note is not None]
        called = _CALLED_BY_CLASSES | _CALLED_BY_ENUMS if self._names.imports("enum") else _CALLED_BY_CLASSES
        return (
            statement.name not in called
            and self._decorates(statement.decorator_list)
            and all(map(self.is_calm, defaults))
            and all(map(self._is_harmless_name, notes))
        )

    def _decorates(self, decorators: list[ast.expr]) -> bool:
        return all(
            self.is_calm(each)
            if isinstance(each, ast.Call)
            else self._is_harmless_name(each) and (self._is_harmless_call(each) or _is_accessor(each))
            for each in decorators
        )


def is_known(module: str) -> bool:
    """Whether the import of a module is known to change nothing that matters here."""
    return module in sys.stdlib_module_names or module in _KNOWN


def takes_quietly(statement: ast.ImportFrom) -> bool:
    """Whether all that is taken from the module is harmless to have; `path` of `sys` is not."""
    parts = _PARTS.get(statement.module or "")
    return all(alias.name not in _INNER if parts is None else alias.name in parts for alias in statement.names)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _is_accessor(node: ast.expr) -> bool:
    """Tell `@size.setter`, which belongs to a property."""
    return isinstance(node, ast.Attribute) and node.attr in {"setter", "deleter", "getter"} and isinstance(node.value, ast.Name)


def _kept(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what a call is given to keep."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        names = _KEPT.get(node.func.attr, frozenset())
        yield from (keyword.value for keyword in node.keywords if keyword.arg in names or None in names)


def _heads(statement: ast.If | ast.For | ast.Try) -> Iterator[ast.expr]:
    if isinstance(statement, ast.If):
        yield statement.test
    elif isinstance(statement, ast.For):
        yield from (statement.target, statement.iter)
