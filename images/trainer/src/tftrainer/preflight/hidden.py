"""Modules of the user's that stand in the place of Python's own, or of TensorFlow's: `code.py`, `inspect.py`, `numpy.py`.

The script's folder comes first where Python looks for modules. The two lists are measured, with TensorFlow 2.15 and 2.21.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Final

from tftrainer.messages.contract import Reason
from tftrainer.preflight.finding import Finding
from tftrainer.preflight.names import Names, words

NEEDED: Final = words(
    "ast asyncio base64 bisect calendar cmd codeop concurrent contextvars copy ctypes dataclasses datetime decimal dis email fnmatch"
    " gettext hashlib heapq http inspect ipaddress json logging multiprocessing numbers opcode pathlib pickle platform queue quopri random"
    " select selectors socket ssl string struct subprocess sysconfig tempfile textwrap typing unicodedata unittest urllib xml zlib numpy"
    " absl"
)
"""Modules without whose contents `import tensorflow` fails."""
EARLY: Final = NEEDED | words(
    "argparse array bdb bz2 code csv difflib fcntl getpass glob grp gzip hmac linecache locale lzma mimetypes pdb pkgutil pprint pydoc"
    " secrets shlex shutil signal stringprep tarfile timeit token tokenize traceback uuid zipfile"
)
"""Modules that `import tensorflow` imports before `tensorflow` has a single name."""
DISPENSABLE: Final = words("bz2 fcntl grp lzma pydoc secrets ssl sysconfig")
"""Those whose import may fail, and is done without: so may that of the script in their place."""
_LOADED: Final = frozenset(sys.builtin_module_names) | words(
    "abc codecs collections contextlib copyreg encodings enum functools genericpath importlib io keyword ntpath operator os posixpath re"
    " reprlib site stat threading types warnings weakref zipimport sitecustomize usercustomize"
)
"""Modules that Python may have loaded before the script, so that nothing can take their place."""

_OPEN: Final = (b"globals", b"sys.modules", b"exec", b"setattr")
"""What a module may give itself further names by."""


def finding(file: str, name: str, importer: str, line: int | None) -> Finding:
    """Return what is said of a file that hides a module from what imports it."""
    who = "TensorFlow imports" if line is None else f"{importer}, line {line}, imports"
    message = f"{file} hides the module {name!r} of the runtime: what {who} by that name is the file of yours"
    return Finding(Reason.IMPORT_MISSING, message, f"rename {file}, such as to my_{Path(file).name}", file)


def is_late(name: str) -> bool:
    """Whether a module is surely not loaded before the script."""
    return name not in _LOADED


def names_in(source: bytes, name: str) -> Names | None:
    """Return what a module of that name may have, but for what it takes from itself; None where the text does not tell."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    body = [each for each in tree.body if not (isinstance(each, ast.ImportFrom) and not each.level and each.module == name)]
    names = Names(ast.Module(body, []))
    is_open = names.has_star or names.count("__getattr__") or any(word in source for word in _OPEN)
    return None if is_open else names


def shares_nothing(names: Names, name: str) -> bool:
    """Whether a module of these names has nothing of what the image's module of its name defines."""
    spec = importlib.util.find_spec(name)
    if spec is None or not (spec.origin or "").endswith(".py"):
        return False
    theirs: set[str] = set()
    for each in ast.parse(Path(spec.origin or "").read_bytes()).body:
        if isinstance(each, ast.FunctionDef | ast.ClassDef):
            theirs.add(each.name)
        elif isinstance(each, ast.ImportFrom):
            theirs.update(alias.asname or alias.name for alias in each.names)
    return not any(map(names.count, theirs))
