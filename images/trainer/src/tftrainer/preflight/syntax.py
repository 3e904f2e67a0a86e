"""Whether a file is Python for this interpreter."""

from __future__ import annotations

import ast
import contextlib
import re
import sys
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Final

from tftrainer.messages.contract import Reason
from tftrainer.preflight import kinds
from tftrainer.preflight.finding import Finding

SOURCE_LIMIT: Final = 4 * 1024**2
"""Bytes of a file beyond which it is not read: no one wrote it by hand."""
PIECES_LIMIT: Final = 60_000
"""Words and signs of a file, some 15,000 lines, beyond which it is not read. Python needs up to 1 KiB to read each of them."""
TOO_DEEP: Final = "split the longest chain of `elif`, operators or brackets in it"
"""What to do about a depth that Python does not read, unless something has raised its limit before."""
_SURELY_FIT: Final = 20_000
"""Words and signs that can be read in 64 MiB, whatever they are."""
_PIECE: Final = re.compile(
    rb"(?:\s|\#[^\n]*+)*+(?:"
    rb'"""(?:[^"\\]|\\.|"(?!""))*+(?:"""|\Z)|' + rb"'''(?:[^'\\]|\\.|'(?!''))*+(?:'''|\Z)|"
    rb'"(?:[^"\\\n]|\\.)*+"?|' + rb"'(?:[^'\\\n]|\\.)*+'?|" + rb"\w+|[^\w\s])",
    re.DOTALL,
)


class UnreadError(Exception):
    """A file is too much for this check; says why."""


def weigh(source: bytes) -> int:
    """Return the number of words and signs in a source, a text counting as one.

    Raises:
        UnreadError: There are more than is read.
    """
    if len(source) > SOURCE_LIMIT:
        raise UnreadError(f"it has {len(source) / 1024**2:.1f} MiB, more than the {SOURCE_LIMIT // 1024**2} MiB that are read")
    count = sum(1 for _ in islice(_PIECE.finditer(source), PIECES_LIMIT + 1))
    if count > PIECES_LIMIT:
        raise UnreadError(f"it has more words and signs than the {PIECES_LIMIT:,} that are read")
    return count


def read(source: bytes, name: str) -> ast.Module | Finding:
    """Return the syntax tree of a file, or what is wrong with it.

    `name` is how the user knows the file. Only compiling finds faults such as a `return` outside a function, so that is done too.

    Raises:
        UnreadError: This check cannot tell.
    """
    pieces = weigh(source)
    try:
        with warnings.catch_warnings(), _depth_of_a_program():
            warnings.simplefilter("ignore")
            compile(source, name, "exec", dont_inherit=True)
            tree = ast.parse(source, name)
    except (SyntaxError, ValueError) as error:
        return _refused(error, source, name)
    except (RecursionError, MemoryError) as error:
        # Python's parser says so where its own stack is full, and fails as it does here.
        if isinstance(error, MemoryError) and pieces > _SURELY_FIT:
            raise UnreadError("there is not enough memory to read it") from None
        message = f"{name} is nested too deeply for Python, which ends with a {type(error).__name__} when it reads it"
        return Finding(Reason.SYNTAX_ERROR, message, TOO_DEEP, name)
    if _is_notebook(tree):
        return _instead(name, *kinds.NOTEBOOK)
    return tree


@contextlib.contextmanager
def _depth_of_a_program() -> Iterator[None]:
    """Have as much depth as a program has that Python starts: the frames of this one count against its limit."""
    limit, depth, frame = sys.getrecursionlimit(), 0, sys._getframe()  # noqa: SLF001 - documented, and the only way
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    sys.setrecursionlimit(limit + depth)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _refused(error: SyntaxError | ValueError, source: bytes, name: str) -> Finding:
    told = kinds.told(source)
    if told is not None:
        return _instead(name, *told)
    fault = kinds.undecodable(source)
    if fault is not None:
        return Finding(Reason.SYNTAX_ERROR, f"{name}, line {fault.line}: {fault.what}", fault.remedy, name, fault.line)
    if not isinstance(error, SyntaxError):
        return Finding(Reason.SYNTAX_ERROR, f"{name} is not Python source: {error}", "name the .py file itself", name)
    place = f"line {error.lineno}" if error.lineno else "an unknown line"
    shown = f": `{error.text.strip()[:120]}`" if error.text and error.text.strip() else ""
    message, hint = f"{name}, {place}: {error.msg}{shown}", "correct the script"
    if kinds.is_python_2(error):
        message += ", as in Python 2"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        hint = f"the runtimes have Python {version}: convert the script, for example by `2to3 -w {name}`"
    elif kinds.is_of_a_notebook(error):
        hint = "lines that begin with ! or % are commands of a notebook: remove them; packages belong into spec.dependencies.requirements"
    return Finding(Reason.SYNTAX_ERROR, message, hint, name, error.lineno)


def _instead(name: str, what: str, hint: str) -> Finding:
    return Finding(Reason.SYNTAX_ERROR, f"{name} is {what}, expected a Python program", hint, name)


def _is_notebook(tree: ast.Module) -> bool:
    """Tell the JSON of a notebook, which is one expression to Python."""
    only = tree.body[0] if len(tree.body) == 1 else None
    return (
        isinstance(only, ast.Expr)
        and isinstance(only.value, ast.Dict)
        and kinds.is_notebook({key.value for key in only.value.keys if isinstance(key, ast.Constant)})
    )
