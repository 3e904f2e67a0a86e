"""Imported by the script's interpreter before the script, because this folder leads its `PYTHONPATH`.

The script itself is then run by Python alone, as by hand: this module removes its own traces and leaves two things behind, a
record of the exception that ends the process and a stack dump at SIGUSR1. Then it gives way to the module of its name that
Python would have imported without it. It imports nothing that Python has not loaded
anyway until there is an exception to record: hence no `pathlib` and no `typing`.
"""

# ruff: noqa: PTH120, PTH123
from __future__ import annotations

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

HOOK_VARIABLE = "TFTRAINING_HOOK"
"""`RECORD:CODE:DEPENDENCIES:PACKAGES`: where to write the record, the two folders of the user's own files, that of installed packages."""
TAIL = 1024
_SIGUSR1 = 10


def _install() -> str:
    """Leave behind what is left behind, and return the folder of packages."""
    own = os.path.dirname(__file__)
    sys.path[:] = [entry for entry in sys.path if entry != own]
    remaining = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != own]
    if remaining:
        os.environ["PYTHONPATH"] = os.pathsep.join(remaining)
    else:
        os.environ.pop("PYTHONPATH", None)
    settings = os.environ.pop(HOOK_VARIABLE, "")
    if settings.count(os.pathsep) != 3:
        return ""
    record, code, dependencies, packages = settings.split(os.pathsep)
    process, thread = os.getpid(), _thread.get_ident()

    def excepthook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        # Whatever goes wrong here, the user's own traceback must come out as if this were not there. Of a KeyboardInterrupt Python
        # dies by the signal, unless code is compiled before that, which the imports of a record do.
        try:
            ends = (os.getpid(), _thread.get_ident()) == (process, thread) and not _goes_on()
            if ends and kind is not KeyboardInterrupt:
                _write(record, _describe(kind, value, trace, code, dependencies))
        except BaseException:  # noqa: S110
            pass
        sys.__excepthook__(kind, value, trace)

    sys.excepthook = excepthook
    import faulthandler

    faulthandler.register(_SIGUSR1, file=2, all_threads=True)
    return packages


def _give_way(packages: str) -> None:
    # Of an installed package nothing runs that the script does not import.
    at = sys.path.index(packages) if packages in sys.path else None
    if at is not None:
        del sys.path[at]
    own = sys.modules.pop(__name__)
    try:
        __import__(__name__)
    except ImportError as error:
        if error.name != __name__:
            raise
        sys.modules[__name__] = own
    finally:
        if at is not None:
            sys.path.insert(at, packages)


def _goes_on() -> bool:
    """Whether the script has not ended by the exception but handed it over itself: its own frame is then still on the stack."""
    frame = sys._getframe()  # noqa: SLF001 - documented, and there is no other way without an import
    while frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_name == "<module>"


def _describe(
    kind: type[BaseException], value: BaseException, trace: TracebackType | None, code: str, dependencies: str
) -> dict[str, object]:
    import traceback

    places = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(trace)]
    syntax = isinstance(value, SyntaxError) and bool(_shown(value.filename or "", code, dependencies))
    if isinstance(value, SyntaxError) and syntax:
        places.append((value.filename or "", value.lineno or 0))
    own = [(shown, line) for path, line in places if (shown := _shown(path, code, dependencies))]
    file, line = own[-1] if own else (places[-1] if places else ("", 0))
    module = kind.__module__
    return {
        "type": kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}",
        "message": _text(value),
        "missing": (value.name or "") if isinstance(value, ModuleNotFoundError) else "",
        "errno": value.errno if isinstance(value, OSError) else None,
        "file": file,
        "line": line,
        "syntax": syntax,
        "traceback": "".join(traceback.format_exception(kind, value, trace))[-TAIL:],
    }


def _text(value: BaseException) -> str:
    try:
        return str(value)[:TAIL]
    except Exception:
        return "(the exception has no printable text)"


def _shown(path: str, code: str, dependencies: str) -> str:
    if path.startswith(code + os.sep):
        return path[len(code) + 1 :]
    if path.startswith(dependencies + os.sep):
        return path[len(os.path.dirname(dependencies)) + 1 :]
    return ""


def _write(record: str, description: dict[str, object]) -> None:
    import json

    with open(record, "w", encoding="utf-8", errors="replace") as file:
        json.dump(description, file, default=str)


_give_way(_install())
