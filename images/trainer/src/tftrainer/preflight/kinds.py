"""What a file is that Python cannot read: most often something else was named by mistake, or Python 2."""

from __future__ import annotations

import io
import json
import re
import tokenize
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_HEAD: Final = 64 * 1024
"""Bytes of a file that tell what it is."""
_SAMPLE: Final = 20
"""Lines of a table that are compared."""
_NAME_THE_SCRIPT: Final = "name the Python program itself in spec.script.uri"
_MAGIC: Final = {
    b"PK\x03\x04": ("a zip archive", "name the .py file in spec.script.uri, and an archive of modules in spec.dependencies.archive"),
    b"\x1f\x8b": (
        "a gzip archive",
        "unpack it, and name the .py file in spec.script.uri; modules can be a zip in spec.dependencies.archive",
    ),
    b"\x7fELF": ("a compiled program", _NAME_THE_SCRIPT),
    b"\x89HDF": ("an HDF5 file, as of weights", _NAME_THE_SCRIPT),
    b"\x89PNG": ("an image", _NAME_THE_SCRIPT),
    b"\xff\xd8\xff": ("an image", _NAME_THE_SCRIPT),
    b"%PDF": ("a PDF", _NAME_THE_SCRIPT),
    b"\x93NUMPY": ("an array of NumPy", _NAME_THE_SCRIPT),
    b"PAR1": ("a Parquet file", _NAME_THE_SCRIPT),
}
NOTEBOOK: Final = ("a Jupyter notebook", "convert it by `jupyter nbconvert --to script`, and name the .py file that this makes")
_SHELL: Final = (
    "a shell script",
    "name the Python program that it starts, put its arguments into spec.args, and what it installs into spec.dependencies.requirements",
)
_SHELL_LINE: Final = re.compile(
    r"(set -[a-z]|export \w+=|pip3? install |python3? \S+\.py|apt(-get)? |sudo |echo |cd \S+$|source \S+$|if \[|for \w+ in .*; do|\w+=\$)"
)
_YAML_LINE: Final = re.compile(r"(---|\.\.\.|#.*|- .*|-|[\w./\"'-]+:( .*)?)$")
_YAML_SURE: Final = re.compile(r"(---|apiVersion:|kind:|[\w./-]+:)( |$)")
_DOCKER: Final = re.compile(r"(ARG|FROM) \S+", re.IGNORECASE)

Told = tuple[str, str]
"""What a file is, with its article, and what to do."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the bytes of a file are no text: what is wrong in which line, and what to do."""

    what: str
    remedy: str
    line: int


def told(source: bytes) -> Told | None:
    """Return what a file is instead of Python; None where it does not tell. Ask only of what is no valid Python."""
    for magic, what in _MAGIC.items():
        if source.startswith(magic):
            return what
    if source[2:4] == b"\r\n" and source[4:8] == bytes(4):
        return "compiled Python (.pyc)", "name the source, the .py file, in spec.script.uri"
    text = source[:_HEAD].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    return _of_json(source) if text[:1] in {"{", "["} else _of_text(text)


def is_notebook(keys: set[object]) -> bool:
    """Whether a JSON object of these keys is a Jupyter notebook."""
    return "nbformat" in keys


def _of_json(source: bytes) -> Told | None:
    try:
        found = json.loads(source)
    except (ValueError, RecursionError):
        return None
    return NOTEBOOK if isinstance(found, dict) and is_notebook(set(found)) else ("JSON", _NAME_THE_SCRIPT)


def _of_text(text: str) -> Told | None:
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    first = lines[0]
    if first.startswith("#!"):
        program = re.sub(r"^#!\s*(\S*/env\s+(-\S+\s+)*)?", "", first).split(" ")[0].rpartition("/")[2]
        if re.fullmatch(r"(ba|da|z|k|a)?sh", program):
            return _SHELL
        return None if program.startswith(("python", "pypy")) or not program else (f"a program for {program}", _NAME_THE_SCRIPT)
    return next((what for is_it, what in _TEXTS if is_it(lines)), None)


def _is_yaml(lines: list[str]) -> bool:
    outer = [line for line in lines if not line.startswith((" ", "\t"))]
    return bool(_YAML_SURE.match(lines[0])) and all(_YAML_LINE.match(line) for line in outer)


def _is_table(lines: list[str]) -> bool:
    sample = lines[:_SAMPLE]
    return len(sample) > 1 and any(
        sample[0].count(mark) > 0 and len({line.count(mark) for line in sample}) == 1 and not any("(" in line for line in sample)
        for mark in (",", ";", "\t")
    )


def _is_shell(lines: list[str]) -> bool:
    told = [line.lstrip() for line in lines if not line.lstrip().startswith("#")][:_SAMPLE]
    return bool(told) and any(map(_SHELL_LINE.match, told[:3]))


_TEXTS: Final[tuple[tuple[Callable[[list[str]], bool], Told], ...]] = (
    (
        lambda lines: lines[0].lower().startswith(("<!doctype html", "<html")),
        ("an HTML page", "name the raw file, not the page that shows it"),
    ),
    (lambda lines: lines[0].startswith("<?xml"), ("XML", _NAME_THE_SCRIPT)),
    (lambda lines: bool(_DOCKER.match(lines[0])), ("a Dockerfile", _NAME_THE_SCRIPT)),
    (_is_shell, _SHELL),
    (_is_yaml, ("YAML", _NAME_THE_SCRIPT)),
    (_is_table, ("a table of values (CSV)", f"{_NAME_THE_SCRIPT}, and data in spec.inputs")),
)


def undecodable(source: bytes) -> Fault | None:
    """Return where the bytes of a file are no text, None where they are."""
    if source.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Fault("the file is UTF-16, which Python does not read", "save it as UTF-8", 1)
    if b"\0" in source:
        return Fault(
            _where(source, source.index(b"\0"), "is no text"), f"{_NAME_THE_SCRIPT}, saved as UTF-8", _line(source, source.index(b"\0"))
        )
    try:
        encoding = _encoding(source)
        source.decode(encoding)
    except UnicodeDecodeError as error:
        # The text that was decoded may begin behind a mark of its encoding.
        at = error.start + len(source) - len(error.object)
        hint = "save the file as UTF-8, or name its encoding in the first line, such as # -*- coding: latin-1 -*-"
        return Fault(_where(source, at, f"is not {error.encoding}"), hint, _line(source, at))
    except (SyntaxError, LookupError) as error:
        return Fault(f"the coding line is wrong: {error}", "save the file as UTF-8, and remove the line", 1)
    return None


def _encoding(source: bytes) -> str:
    try:
        return tokenize.detect_encoding(io.BytesIO(source).readline)[0]
    except SyntaxError as error:
        if "missing encoding declaration" not in str(error):
            raise
        return "utf-8"


def _where(source: bytes, at: int, what: str) -> str:
    return f"byte {at - source.rfind(bytes([10]), 0, at)} of the line, 0x{source[at]:02x}, {what}"


def _line(source: bytes, at: int) -> int:
    return source.count(b"\n", 0, at) + 1


_PYTHON_2: Final = (  # what Python 3 says, and what it says it of
    (r"Missing parentheses in call to '(print|exec)'", ""),
    (r"multiple exception types must be parenthesized", ""),
    (r"leading zeros in decimal integer", ""),
    (r"inconsistent use of tabs and spaces", ""),
    (r"invalid decimal literal|invalid hexadecimal literal", r"\b(0[xX][0-9a-fA-F]+|\d+)[lL]\b"),
    ("", r"<>"),
    ("", r"`[^`]*`"),
    ("", r"^\s*raise\s+[\w.]+\s*,"),
    ("", r"\b[uU][rR]['\"]"),
    ("", r"^\s*print(\s+['\"\w%(-]|\s*>>)"),
    ("", r"^\s*exec\s+['\"\w]"),
    ("", r"^\s*except\s+[\w.]+\s*,\s*\w+\s*:"),
    ("", r"^\s*def\s+\w+\(.*\(\s*\w+\s*,"),
)


def is_python_2(error: SyntaxError) -> bool:
    """Whether the place of an error is valid in Python 2."""
    return any(re.search(message, error.msg or "") and re.search(line, error.text or "") for message, line in _PYTHON_2)


def is_of_a_notebook(error: SyntaxError) -> bool:
    """Whether the line of an error is a command of a notebook: `!pip install x`, `%matplotlib inline`."""
    return bool(re.match(r"\s*(![\w./]|%%?[a-z])", error.text or ""))
