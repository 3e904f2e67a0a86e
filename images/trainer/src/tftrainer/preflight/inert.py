"""Statements that surely come to their end and change nothing that matters to what follows.

What follows is an import, or the reading of arguments. A statement that may end the program, or change the places of modules or
the arguments, makes everything after it uncertain. So does one that calls what is not known: the known are few, and enough for
the beginnings of most programs.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tftrainer.preflight.enumerations import CALLED_BY_ENUMERATIONS, Enumerations
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
_CALLED_TWICE: Final = ("keras.", "tensorflow.keras.")
"""Of what these make, such as layers, the call does no harm either."""
_QUIET: Final = words("json.loads")
"""Functions whose name is that of a loud one."""
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
_HARMFUL: Final = _FORBIDDEN | _CALLED_BY_CLASSES | CALLED_BY_ENUMERATIONS
_KEPT: Final[dict[str, frozenset[str | None]]] = {"add_argument": frozenset({"type"}), "set_defaults": frozenset({None})}
"""Methods that keep the functions they are given, and by which keywords; None stands for all."""
_KEEPERS: Final = words("functools.partial dataclasses.field")
_KEEPING_FUNCTIONS: Final = words("classmethod property staticmethod")
"""Functions that keep all they are given, and run none of it."""

IsLocal = Callable[[str], bool]


class Inert:
    """Tells inert statements of one module. `is_local` says whether a module name is one of the user's own."""

    def __init__(self, names: Names, is_local: IsLocal) -> None:
        self._names = names
        self._is_local = is_local
        self._enumerations = Enumerations(names)
        self._code = names.defined()
        """Names that may hold code of the module's own: its definitions, and what is bound to an expression that mentions such."""
        self._spread_code()

    def _spread_code(self) -> None:
        """Add the names that are bound to what mentions code, and those bound to what mentions these."""
        holders: dict[str, set[str]] = defaultdict(set)
        spread = list(self._code)
        for name, value in self._names.given:
            for node in _mentioned(value):
                if isinstance(node, ast.Lambda) and self._is_code(node):
                    spread.append(name)
                for inner in ast.walk(node.body) if isinstance(node, ast.Lambda) else (node,):
                    if isinstance(inner, ast.Name):
                        holders[inner.id].add(name)
        self._code.update(spread)
        while spread:
            new = holders.pop(spread.pop(), set()) - self._code
            self._code |= new
            spread += new

    def all(self, statements: Iterable[ast.stmt]) -> bool:
        """Whether all the statements are inert."""
        return all(self.is_inert(statement) for statement in statements)

    def is_inert(self, statement: ast.stmt) -> bool:
        """Whether the statement is inert. One that is nested too deeply to be followed is not."""
        try:
            return self._is_inert(statement)
        except RecursionError:
            return False

    def _is_inert(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.Import):
            return not any(self._is_local(_top(alias.name)) for alias in statement.names) and all(
                is_known(_top(alias.name)) for alias in statement.names
            )
        if isinstance(statement, ast.ImportFrom):
            module = _top(statement.module or "")
            return not statement.level and not self._is_local(module) and is_known(module) and takes_harmless_parts(statement)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            return self._is_inert_definition(statement)
        if isinstance(statement, ast.ClassDef):
            return self._is_inert_class(statement)
        if isinstance(statement, ast.If | ast.For | ast.Try):
            return self._are_inert_blocks(statement)
        if isinstance(statement, ast.Global | ast.Nonlocal):
            return True
        if isinstance(statement, ast.Expr | ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete | ast.Pass):
            note = getattr(statement, "annotation", None)
            evaluated = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.expr) and child is not note]
            return all(map(self.is_calm, evaluated)) and (note is None or self._is_harmless_name(note)) and not self._gives_away(statement)
        return False

    def _gives_away(self, statement: ast.stmt) -> bool:
        """Whether the statement puts code of the module where something else may look for it: `log.handle = f`, `events += f`."""
        value = getattr(statement, "value", None)
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        inner = [node for target in targets if target is not None for node in ast.walk(target)]
        is_put = isinstance(statement, ast.AugAssign) or any(isinstance(node, ast.Attribute | ast.Subscript) for node in inner)
        return value is not None and is_put and (self._mentions_code(value) or _has_lambda(value))

    def _is_inert_class(self, statement: ast.ClassDef) -> bool:
        if any(keyword.arg == "metaclass" and not self.is_harmless_call(keyword.value) for keyword in statement.keywords):
            return False
        outer = [*statement.bases, *(keyword.value for keyword in statement.keywords)]
        return (
            not self._enumerations.runs_code(statement)
            and self._decorates(statement.decorator_list)
            and all(map(self._is_harmless_name, outer))
            and self.all(statement.body)
        )

    def _are_inert_blocks(self, statement: ast.If | ast.For | ast.Try) -> bool:
        blocks = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt)]
        handlers = getattr(statement, "handlers", ())
        blocks += [child for handler in handlers for child in handler.body]
        caught = [handler.type for handler in handlers if handler.type is not None]
        if isinstance(statement, ast.For) and self._mentions_code(statement.iter):
            return False
        return self.all(blocks) and all(map(self.is_calm, _heads(statement))) and all(map(self._is_harmless_name, caught))

    def is_calm(self, expression: ast.expr) -> bool:
        """Whether evaluating the expression is harmless, and it hands no code of the module to anything that may run it."""
        return self._is_harmless_name(expression) and self._keeps(expression)

    def _is_harmless_name(self, expression: ast.expr) -> bool:
        """Whether evaluating the expression is harmless where its value is not called: a base class, an annotation."""
        return all(self._is_harmless(node) for node in _evaluated(expression))

    def _keeps(self, node: ast.expr) -> bool:
        """Whether code of the module is at most stored. Operators and indices of other objects may call what they are given."""
        if not self._mentions_code(node):
            return True
        if isinstance(node, ast.Name):
            return not self._enumerations.has_methods(node.id)
        if isinstance(node, ast.Subscript):
            return self._keeps(node.value) and not self._mentions_code(node.slice)
        if isinstance(node, ast.Call):
            return self._call_keeps(node)
        if isinstance(node, ast.Lambda):
            return all(map(self._keeps, _defaults(node.args)))
        stores = isinstance(
            node, ast.Attribute | ast.Tuple | ast.List | ast.Set | ast.Dict | ast.IfExp | ast.BoolOp | ast.Starred | ast.NamedExpr
        )
        return stores and all(self._keeps(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))

    def _call_keeps(self, call: ast.Call) -> bool:
        given = [*((None, each) for each in call.args), *((keyword.arg or "", keyword.value) for keyword in call.keywords)]
        if self._names.dotted(call.func) in _KEEPERS or (
            isinstance(call.func, ast.Name) and call.func.id in _KEEPING_FUNCTIONS and self._names.is_free(call.func.id)
        ):
            return all(self._keeps(each) for _, each in given)
        kept = _KEPT.get(call.func.attr, frozenset()) if isinstance(call.func, ast.Attribute) else frozenset()
        return not self._mentions_code(call.func) and all(
            self._keeps(each) if name is not None and (name in kept or None in kept) else not self._mentions_code(each)
            for name, each in given
        )

    def _mentions_code(self, expression: ast.expr) -> bool:
        return any(map(self._is_code, _evaluated(expression)))

    def _is_code(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Lambda):
            # One that could be run here and now is no danger, whoever runs it.
            return not all(
                self._is_harmless(inner) and not isinstance(inner, ast.Lambda | ast.NamedExpr) and not self._is_code(inner)
                for inner in ast.walk(node.body)
            )
        return isinstance(node, ast.Name) and node.id in self._code

    def _is_harmless(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Name):
            return node.id not in _HARMFUL and not self._is_local(self._names.dotted(node).strip(".").partition(".")[0] or "\0")
        if isinstance(node, ast.Attribute):
            return self._is_harmless_attribute(node)
        if isinstance(node, ast.Call):
            return self.is_harmless_call(node.func)
        return not isinstance(node, ast.Await | ast.Yield | ast.YieldFrom)

    def _is_harmless_attribute(self, node: ast.Attribute) -> bool:
        module, _, rest = self._names.dotted(node).partition(".")
        if module and not isinstance(node.ctx, ast.Load):
            # Another meaning for a name of a module reaches everything that uses it.
            return False
        if module in _PARTS:
            return rest.partition(".")[0] in _PARTS[module]
        return (node.attr not in _LOUD or f"{module}.{rest}" in _QUIET) and not _INNER.intersection(rest.split("."))

    def is_harmless_call(self, function: ast.expr) -> bool:
        """Whether calling what the expression names is known to do no harm."""
        dotted = self._names.dotted(function)
        if dotted:
            module, _, rest = dotted.partition(".")
            if module in _PARTS:
                return rest.partition(".")[0] in _PARTS[module]
            return dotted in _QUIET or (module in _MODULES and not _LOUD.intersection(rest.split(".")))
        if isinstance(function, ast.Call):
            return self._names.dotted(function.func).startswith(_CALLED_TWICE)
        if isinstance(function, ast.Name):
            return function.id in _FUNCTIONS and self._names.is_free(function.id)
        root = _root(function)
        # Calls on what a call returned are judged by that call, which is a node of its own.
        return isinstance(function, ast.Attribute) and (
            (isinstance(root, ast.Name) and self._names.is_value(root.id) and root.id not in self._code)
            or isinstance(root, ast.Constant | ast.Call | ast.JoinedStr)
        )

    def _is_inert_definition(self, statement: Function) -> bool:
        given = statement.args
        parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
        notes = [note for note in (statement.returns, *(each.annotation for each in parameters)) if note is not None]
        return (
            statement.name not in _CALLED_BY_CLASSES
            and self._decorates(statement.decorator_list)
            and all(map(self.is_calm, _defaults(given)))
            and all(map(self._is_harmless_name, notes))
        )

    def _decorates(self, decorators: list[ast.expr]) -> bool:
        return all(
            self._is_harmless_name(each)
            and (not self._mentions_code(each) if isinstance(each, ast.Call) else self.is_harmless_call(each) or _is_accessor(each))
            for each in decorators
        )


def is_known(module: str) -> bool:
    """Whether the import of a module is known to change nothing that matters here."""
    return module in sys.stdlib_module_names or module in _KNOWN


def takes_harmless_parts(statement: ast.ImportFrom) -> bool:
    """Whether all that is taken from the module is harmless to have; `path` of `sys` is not."""
    parts = _PARTS.get(statement.module or "")
    return all(alias.name not in _INNER if parts is None else alias.name in parts for alias in statement.names)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _is_accessor(node: ast.expr) -> bool:
    """Tell `@size.setter`, which belongs to a property."""
    return isinstance(node, ast.Attribute) and node.attr in {"setter", "deleter", "getter"} and isinstance(node.value, ast.Name)


def _evaluated(expression: ast.expr) -> Iterator[ast.AST]:
    """Yield what is evaluated with the expression: all of it but the bodies of lambdas."""
    left: list[ast.AST] = [expression]
    while left:
        node = left.pop()
        yield node
        left.extend(_defaults(node.args) if isinstance(node, ast.Lambda) else ast.iter_child_nodes(node))


def _has_lambda(expression: ast.expr) -> bool:
    return any(isinstance(node, ast.Lambda) for node in _evaluated(expression))


def _mentioned(expression: ast.expr) -> Iterator[ast.AST]:
    """Yield the names and lambdas that the value may hold; what is called to make it is judged where it is called."""
    called = {id(_root(node.func)) for node in _evaluated(expression) if isinstance(node, ast.Call)}
    return (node for node in _evaluated(expression) if isinstance(node, ast.Name | ast.Lambda) and id(node) not in called)


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


def _defaults(given: ast.arguments) -> list[ast.expr]:
    return [*given.defaults, *(default for default in given.kw_defaults if default is not None)]


def _heads(statement: ast.If | ast.For | ast.Try) -> Iterator[ast.expr]:
    if isinstance(statement, ast.If):
        yield statement.test
    elif isinstance(statement, ast.For):
        yield from (statement.target, statement.iter)
