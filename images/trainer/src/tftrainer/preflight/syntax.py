"""Whether a file is Python for this interpreter."""

from __future__ import annotations

import ast
import warnings

from tftrainer.contract import Reason
from tftrainer.preflight.finding import Finding


def read(source: bytes, name: str) -> ast.Module | Finding | None:
    """Return the syntax tree of a file, or what is wrong with it; None where this check cannot tell.

    `name` is how the user knows the file. Only compiling finds faults such as a `return` outside a function, so that is done too.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, name, "exec", dont_inherit=True)
            tree = ast.parse(source, name)
    except SyntaxError as error:
        place = f"line {error.lineno}" if error.lineno else "an unknown line"
        shown = f": `{error.text.strip()[:120]}`" if error.text and error.text.strip() else ""
        hint = "correct the script; it is read by Python 3" if "print" in (error.msg or "") else "correct the script"
        return Finding(Reason.SYNTAX_ERROR, f"{name}, {place}: {error.msg}{shown}", hint, name, error.lineno)
    except ValueError as error:
        return Finding(Reason.SYNTAX_ERROR, f"{name} is not Python source: {error}", "name the .py file itself", name)
    except (RecursionError, MemoryError):
        # Too deep for the check; the interpreter that runs it may still take it.
        return None
    if _is_notebook(tree):
        hint = "convert it by `jupyter nbconvert --to script`, and name the .py file that this makes"
        return Finding(Reason.SYNTAX_ERROR, f"{name} is a Jupyter notebook, and no Python script", hint, name)
    return tree


def _is_notebook(tree: ast.Module) -> bool:
    """Tell the JSON of a notebook, which is one expression to Python."""
    only = tree.body[0] if len(tree.body) == 1 else None
    return (
        isinstance(only, ast.Expr)
        and isinstance(only.value, ast.Dict)
        and any(isinstance(key, ast.Constant) and key.value == "nbformat" for key in only.value.keys)
    )
