"""Whether the script's strategy can train on the replicas of its job, where its text is certain to tell.

What MultiWorkerMirroredStrategy cannot do was seen with TensorFlow 2.21 and Keras 3.15 (docs/design/0031-strategies.md). It is certain
where a way without branches leads from the script's first line to it. Elsewhere it is a warning.
"""

from __future__ import annotations

import ast
import enum
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tftrainer.messages.contract import CHIEF, OTHER_KERAS, PS, WORKER, Plan, Reason
from tftrainer.preflight.finding import Finding, Findings
from tftrainer.preflight.image import Image
from tftrainer.preflight.inert import Inert
from tftrainer.preflight.names import Names, bindings, words
from tftrainer.preflight.reached import is_generator, is_main_guard

MEASURED: Final = "3.15."
"""The Keras of which it is known that `fit` does not train on several replicas. Of another one it has to be tried again."""
_CLUSTER: Final = "TF_CONFIG"
_MIRRORED: Final = frozenset(
    f"tensorflow.distribute.{each}" for each in ("MultiWorkerMirroredStrategy", "experimental.MultiWorkerMirroredStrategy")
)
_MODELS: Final = frozenset(
    f"{root}.{each}" for root in ("keras", "tensorflow.keras") for each in ("Sequential", "Model", "models.Sequential", "models.Model")
)
_OPTIONS: Final = words("communication_options communication")
"""What the strategy may be given without another cluster than that of TF_CONFIG."""
_COUNTED: Final = "num_replicas_in_sync"
_READS: Final = words("parse_args parse_known_args")
_DEPTH: Final = 5
_ENVIRONMENT: Final = words("environ environb putenv unsetenv")
_BY_NAME: Final = words("get setdefault pop")
"""What a mapping is asked by the name of a variable."""
_FIT: Final = words("fit train_step train_function make_train_function")
"""What makes another training of a model, once it is replaced."""


@dataclass(frozen=True, slots=True)
class Group:
    """What of a job's replicas a strategy has to do with.

    `trainers` are those that MultiWorkerMirroredStrategy counts, `servers` tells whether there are parameter servers beside them, and
    `keras` whether `keras` and `tf.keras` are surely one that is `MEASURED`. With `devices` they may train on GPUs, where it was not.
    """

    trainers: int
    servers: bool
    keras: bool
    devices: bool = False

    @classmethod
    def of(cls, plan: Plan, image: Image, environment: Mapping[str, str]) -> Group | None:
        """Return what there is to know of a job of several replicas; None of one that is alone, and on version 1, where nothing is known.

        `environment` is that of the image.
        """
        if not plan.peers or image.is_version_1:
            return None
        trainers = sum(len(plan.peers.get(role, ())) for role in (CHIEF, WORKER))
        keras = plan.plain_keras and image.keras.startswith(MEASURED) and not OTHER_KERAS.intersection(environment)
        return cls(trainers, PS in plan.peers, keras, image.uses_gpus)


def check(
    tree: ast.Module,
    file: str,
    passed: int,
    inert: Inert,
    names: Names,
    parser: str,
    sources: Sequence[bytes],
    trees: Sequence[ast.Module],
    group: Group,
    to: Findings,
) -> None:
    """Tell of a strategy that cannot train on the replicas there are.

    `passed` is how many statements of the script are surely executed and harmless; see `Walk.script`. `parser` is the name of its parser
    where that is known to take the arguments there are. `sources` are those of the script and all modules of the user's that were read,
    `trees` their syntax. What runs before the script is known to change nothing.
    """
    if names.has_star or _changes_cluster(tree, sources) or any(map(_handles_environment, trees)):
        return
    group = replace(group, keras=group.keras and not _names_other_keras(sources) and not any(map(_replaces_fit, trees)))
    try:
        _Way(tree, inert, names, parser, group).follow(passed)
    except _FoundError as found:
        to.add(found.finding(file), certain=found.certain)
    except (_StopError, RecursionError):
        _warn(tree, file, names, group, to)


class _Kind(enum.Enum):
    """What a name stands for: a strategy, or a model that was made within its scope, or outside."""

    STRATEGY = enum.auto()
    WITHIN = enum.auto()
    OUTSIDE = enum.auto()


class _StopError(Exception):
    """What comes next is not certain."""


class _FoundError(Exception):
    def __init__(self, line: int, message: str, hint: str, *, certain: bool = True) -> None:
        super().__init__(message)
        self.certain = certain
        self._line = line
        self._message = message
        self._hint = hint

    def finding(self, file: str, *, reached: bool = True) -> Finding:
        place = f"{file}, line {self._line}{'' if reached else ', if this is reached'}"
        return Finding(Reason.INVALID_SPEC, f"{place}: {self._message}", self._hint, file, self._line)


@dataclass(slots=True)
class _Frame:
    """The names of a function, or of the module: how often each is bound there, and what those stand for that are bound once."""

    bound: Counter[str]
    kinds: dict[str, _Kind] = field(default_factory=dict)

    @classmethod
    def of(cls, scope: ast.Module | ast.FunctionDef) -> _Frame:
        return cls(Counter(name for node in _own_nodes(scope) for name, _ in bindings(node)))


class _Way:
    """Follows the script from its first line, for as long as it is certain what comes next."""

    def __init__(self, tree: ast.Module, inert: Inert, names: Names, parser: str, group: Group) -> None:
        self._tree = tree
        self._inert = inert
        self._names = names
        self._parser = parser
        self._group = group
        self._functions = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef) and not each.decorator_list}
        self._frames = [_Frame.of(tree)]
        self._scopes = 0

    def follow(self, passed: int) -> None:
        """Go as far as is certain.

        Raises:
            _FoundError: What is reached cannot work.
            _StopError: It is not certain what comes next.
        """
        for index, statement in enumerate(self._tree.body):
            self._statement(statement, passed=index < passed)

    def _block(self, statements: Iterable[ast.stmt]) -> _Kind | None:
        for each in statements:
            if isinstance(each, ast.Return):
                return self._value(each.value) if each.value is not None else None
            self._statement(each)
        return None

    def _statement(self, statement: ast.stmt, *, passed: bool = False) -> None:
        if is_main_guard(statement) and isinstance(statement, ast.If):
            self._straight(statement.body)
        elif isinstance(statement, ast.With) and len(statement.items) == 1 and self._is_scope(statement.items[0].context_expr):
            self._scopes += 1
            self._straight(statement.body)
            self._scopes -= 1
        elif isinstance(statement, ast.Expr):
            self._value(statement.value, passed=passed)
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
            kind, name = self._value(statement.value, passed=passed), statement.targets[0].id
            if kind is not None and self._frames[-1].bound[name] == 1:
                self._frames[-1].kinds[name] = kind
        elif not passed and not self._inert.is_inert(statement):
            raise _StopError

    def _straight(self, statements: Sequence[ast.stmt]) -> None:
        if any(isinstance(each, ast.Return) for each in statements):
            raise _StopError
        self._block(statements)

    def _value(self, value: ast.expr, *, passed: bool = False) -> _Kind | None:
        """Evaluate an expression and return what it gives."""
        if isinstance(value, ast.Name):
            return self._kind(value)
        if not isinstance(value, ast.Call):
            self._calm([value], passed=passed)
            return None
        given = [*value.args, *(each.value for each in value.keywords)]
        if self._names.dotted(value.func) in _MIRRORED:
            return self._mirrored(value, given)
        if self._names.dotted(value.func) in _MODELS:
            self._calm(given, passed=passed)
            return _Kind.WITHIN if self._scopes else _Kind.OUTSIDE
        if isinstance(value.func, ast.Attribute) and isinstance(value.func.value, ast.Name):
            self._method(value, value.func.value, value.func.attr, given)
            if value.func.value.id == self._parser and value.func.attr in _READS:
                return None
        function = self._functions.get(value.func.id) if isinstance(value.func, ast.Name) else None
        if function is not None and self._names.count(function.name) == 1:
            return self._enter(function, value)
        self._calm([value], passed=passed)
        return None

    def _calm(self, expressions: Iterable[ast.expr], *, passed: bool = False) -> None:
        if not passed and not all(map(self._inert.is_calm, expressions)):
            raise _StopError

    def _kind(self, name: ast.Name) -> _Kind | None:
        frame = self._frames[-1] if self._frames[-1].bound[name.id] else self._frames[0]
        return frame.kinds.get(name.id)

    def _mirrored(self, call: ast.Call, given: Iterable[ast.expr]) -> _Kind:
        self._calm(given)
        if not _is_of_the_job(call):
            raise _StopError
        if self._group.servers:
            raise _beside_servers(call)
        return _Kind.STRATEGY

    def _method(self, call: ast.Call, owner: ast.Name, method: str, given: Iterable[ast.expr]) -> None:
        kind = self._kind(owner)
        if method != "fit" or kind not in (_Kind.WITHIN, _Kind.OUTSIDE) or not self._group.keras or self._group.trainers < 2:
            return
        self._calm(given)
        if kind is _Kind.WITHIN:
            raise _keras_within(call, self._group)
        if self._scopes or not self._is_idle():
            raise _StopError
        raise _keras_outside(call, self._group)

    def _is_idle(self) -> bool:
        """Whether a strategy was made, and nothing is done with it, nor with any other, but to count its replicas."""
        owners = {name for frame in self._frames for name, kind in frame.kinds.items() if kind is _Kind.STRATEGY}
        counted = {id(node.value) for node in ast.walk(self._tree) if isinstance(node, ast.Attribute) and node.attr == _COUNTED}
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Name) and node.id in owners and isinstance(node.ctx, ast.Load) and id(node) not in counted:
                return False
            dotted = self._names.dotted(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            if dotted.startswith("tensorflow.distribute.") and not any(each.startswith(dotted) for each in _MIRRORED):
                return False
        return bool(owners)

    def _is_scope(self, manager: ast.expr) -> bool:
        return (
            isinstance(manager, ast.Call)
            and isinstance(manager.func, ast.Attribute)
            and manager.func.attr == "scope"
            and isinstance(manager.func.value, ast.Name)
            and self._kind(manager.func.value) is _Kind.STRATEGY
        )

    def _enter(self, function: ast.FunctionDef, call: ast.Call) -> _Kind | None:
        if len(self._frames) > _DEPTH or is_generator(function) or any(isinstance(each, ast.Starred) for each in call.args):
            raise _StopError
        self._calm([*call.args, *(each.value for each in call.keywords)])
        frame = _Frame.of(function)
        parameters = [*function.args.posonlyargs, *function.args.args]
        for parameter, given in zip(parameters, call.args, strict=False):
            kind = self._kind(given) if isinstance(given, ast.Name) else None
            if kind is not None and frame.bound[parameter.arg] == 1:
                frame.kinds[parameter.arg] = kind
        self._frames.append(frame)
        found = self._block(function.body)
        self._frames.pop()
        return found


def _beside_servers(call: ast.Call) -> _FoundError:
    return _FoundError(
        call.lineno,
        "MultiWorkerMirroredStrategy beside spec.replicas.ps would wait for ever: TensorFlow looks for its coordinator on ps 0 then, "
        "which runs none",
        "leave spec.replicas.ps out, or train by ParameterServerStrategy",
    )


_OTHERS: Final = (
    "take Keras from tf.keras and set TF_USE_LEGACY_KERAS=1 in spec.env, which gives tf_keras; or write a loop of your own; or train on "
    "one replica"
)


def _keras_within(call: ast.Call, group: Group) -> _FoundError:
    return _FoundError(
        call.lineno,
        f"fit of Keras 3 does not train on {group.trainers} replicas of MultiWorkerMirroredStrategy: it raises before the first step",
        _OTHERS,
        certain=not group.devices,
    )


def _keras_outside(call: ast.Call, group: Group) -> _FoundError:
    return _FoundError(
        call.lineno,
        f"each of the {group.trainers} replicas would train a model of its own: it is made outside of the strategy's scope",
        "if that is not meant, as for an ensemble, make and compile it in `with strategy.scope():`; "
        f"and as fit of Keras 3 does not train on several replicas, {_OTHERS}",
        certain=False,
    )


def _warn(tree: ast.Module, file: str, names: Names, group: Group, to: Findings) -> None:
    """Tell what may be wrong, where it is not certain that it is reached."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = next((each for each in calls if names.dotted(each.func) in _MIRRORED and _is_of_the_job(each)), None)
    if made is None:
        return
    if group.servers:
        to.add(_beside_servers(made).finding(file, reached=False), certain=False)
    elif group.keras and group.trainers > 1:
        models = _Models(tree, names)
        fits = next((e for e in calls if isinstance(e.func, ast.Attribute) and e.func.attr == "fit" and models.has(e.func.value)), None)
        if fits is not None:
            to.add(_keras_within(fits, group).finding(file, reached=False), certain=False)


def _is_of_the_job(call: ast.Call) -> bool:
    """Whether a strategy is made for the cluster of TF_CONFIG: it is given no other."""
    return not call.args and all(each.arg in _OPTIONS for each in call.keywords)


class _Models:
    """Tells which expressions are surely models of Keras, whatever way leads to them."""

    def __init__(self, tree: ast.Module, names: Names) -> None:
        self._names = names
        self._given: dict[str, list[ast.expr]] = defaultdict(list)
        for name, value in names.given:
            self._given[name].append(value)
        self._returned = {
            each.name: [node.value for node in _own_nodes(each) if isinstance(node, ast.Return)]
            for each in tree.body
            if isinstance(each, ast.FunctionDef) and not each.decorator_list and not is_generator(each)
        }
        self._known: dict[str, bool] = {}
        self._deep = 0

    def has(self, value: ast.expr | None) -> bool:
        if isinstance(value, ast.Name):
            given = self._given.get(value.id, ())
            return self._names.is_value(value.id) and self._names.count(value.id) == len(given) and self._are_all(value.id, given)
        if not isinstance(value, ast.Call):
            return False
        if isinstance(value.func, ast.Name) and value.func.id in self._returned:
            return self._names.count(value.func.id) == 1 and self._are_all(value.func.id, self._returned[value.func.id])
        return self._names.dotted(value.func) in _MODELS

    def _are_all(self, name: str, values: Sequence[ast.expr | None]) -> bool:
        if name not in self._known:
            # What is asked for while it is being found out stands for itself, and for no model.
            self._known[name] = False
            self._deep += 1
            self._known[name] = bool(values) and self._deep <= _DEPTH and all(map(self.has, values))
            self._deep -= 1
        return self._known[name]


def _changes_cluster(tree: ast.Module, sources: Sequence[bytes]) -> bool:
    """Whether any code may give TensorFlow another cluster: the script reads the variable at most, and no module of the user's names it."""
    mentions = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and _CLUSTER in str(node.value)]
    read = {id(node) for node in _read(tree)}
    others = sum(source.count(_CLUSTER.encode()) for source in sources[1:])
    return (
        bool(others)
        or any(id(each) not in read for each in mentions)
        or any(isinstance(n, ast.Global | ast.Nonlocal) for n in ast.walk(tree))
    )


def _read(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            yield node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"get", "getenv"}:
            yield from node.args[:1]
        elif isinstance(node, ast.Compare):
            yield node.left


def _handles_environment(tree: ast.Module) -> bool:
    """Whether a module uses `os.environ` other than by the constant name of a variable, so that nobody can tell what is in it."""
    used = {id(node) for node in ast.walk(tree) if _is_environment(node)}
    return not used <= {id(each) for node in ast.walk(tree) for each in _asked_by_name(node)}


def _is_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.alias):
        return node.asname is not None and node.name in _ENVIRONMENT
    return (isinstance(node, ast.Attribute) and node.attr in _ENVIRONMENT) or (isinstance(node, ast.Name) and node.id in _ENVIRONMENT)


def _asked_by_name(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the mapping of which a node asks one item by a constant, or sets it."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        yield node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _BY_NAME:
        yield from [node.func.value] if node.args and isinstance(node.args[0], ast.Constant) else []
    elif isinstance(node, ast.Compare) and isinstance(node.left, ast.Constant) and isinstance(node.ops[0], ast.In | ast.NotIn):
        yield node.comparators[0]


def _replaces_fit(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr in _FIT and not isinstance(node.ctx, ast.Load) for node in ast.walk(tree))


def _names_other_keras(sources: Iterable[bytes]) -> bool:
    words = (b"tf_keras", b"set_backend", b"setattr", *(each.encode() for each in OTHER_KERAS))
    return any(word in source for source in sources for word in words)


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a scope without those of the functions and classes in it; these themselves are among them."""
    left = list(ast.iter_child_nodes(scope))
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            left.extend(ast.iter_child_nodes(node))
