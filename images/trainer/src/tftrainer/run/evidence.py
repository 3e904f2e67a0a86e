"""What is known of the exception that ended the script: from inside its process, or else from what it printed."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from tftrainer.run import leaving

_HEADER = "Traceback (most recent call last):"
_FRAME = re.compile(r'^[ \t]+File "(?P<file>[^"]+)", line (?P<line>\d+)', re.MULTILINE)
_CLOSING = re.compile(r"^\S", re.MULTILINE)
_LAST = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$")
_MISSING = re.compile(r"No module named '?(?P<name>[\w.]+)")
_SYNTAX = frozenset({"SyntaxError", "IndentationError", "TabError"})
_NEAR = 4096
"""Characters: what a script printed more than that after a traceback, it printed because it went on."""
_RECORD_LIMIT = 512 * 1024


class Evidence(msgspec.Struct, frozen=True):
    """An uncaught exception: its type, its text, and the deepest line that is the user's own.

    `syntax`: a file of the user's is not valid Python. `missing` is the module that an import did not find.
    """

    type: str
    message: str = ""
    missing: str = ""
    errno: int | None = None
    file: str = ""
    line: int = 0
    syntax: bool = False
    traceback: str = ""


def recorded(path: Path) -> Evidence | None:
    """Read what the script's interpreter recorded; None if it recorded nothing that can be read."""
    data = leaving.left(path, _RECORD_LIMIT)
    try:
        return msgspec.json.decode(data, type=Evidence) if data is not None else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def printed(text: str, code: Path, dependencies: Path) -> Evidence | None:
    """Find the traceback that the script's standard error ends with; None if something else was printed after it.

    For scripts that put their own function in the place of `sys.excepthook`, or print the traceback and end themselves. One that
    the script printed and went on from is not why it ended.
    """
    block, closing = _last_block(text)
    lines = block[closing:].splitlines()
    # "Graph execution error:" and its like are followed by the rest of the message.
    if lines and not lines[0].endswith(":") and any(map(_is_flush, lines[1:])):
        return None
    return _read(block, closing, code, dependencies)


def last_printed(text: str, code: Path, dependencies: Path) -> Evidence | None:
    """Find the last traceback in the script's standard error, if it is near the end; it need not be why the script ended.

    After it may come the rest of its message, or what the script had to say before it gave up.
    """
    block, closing = _last_block(text)
    return _read(block, closing, code, dependencies) if len(block) - closing <= _NEAR else None


def _last_block(text: str) -> tuple[str, int]:
    """Return the text from the last traceback on, and where in it the line is that names the exception; both empty without one."""
    start = text.rfind(_HEADER)
    closing = _CLOSING.search(text, start + len(_HEADER)) if start >= 0 else None
    return (text[start:], closing.start() - start) if closing else ("", 0)


def _read(block: str, closing: int, code: Path, dependencies: Path) -> Evidence | None:
    matched = _LAST.match(next(iter(block[closing:].splitlines()), ""))
    if matched is None:
        return None
    file, line = deepest_frame(block[:closing], code, dependencies)
    frames = _frames(block[:closing])
    missing = _MISSING.search(matched["message"] or "") if matched["type"] == "ModuleNotFoundError" else None
    return Evidence(
        type=matched["type"],
        message=matched["message"] or "",
        missing=missing["name"] if missing else "",
        file=file,
        line=line,
        syntax=matched["type"] in _SYNTAX and bool(own_name(frames[-1][0] if frames else "", code, dependencies)),
        traceback=block,
    )


def _is_flush(line: str) -> bool:
    return bool(line) and not line[0].isspace()


def deepest_frame(text: str, code: Path, dependencies: Path) -> tuple[str, int]:
    """Return file and line of the last frame of the user's in a printed stack, or of the last one if none is theirs."""
    frames = _frames(text)
    return deepest_own_frame(text, code, dependencies) or (frames[-1] if frames else ("", 0))


def deepest_own_frame(text: str, code: Path, dependencies: Path) -> tuple[str, int] | None:
    """Return file and line of the last frame of the user's in a printed stack, None if none is theirs."""
    for file, line in reversed(_frames(text)):
        shown = own_name(file, code, dependencies)
        if shown:
            return shown, line
    return None


def _frames(text: str) -> list[tuple[str, int]]:
    return [(match["file"], int(match["line"])) for match in _FRAME.finditer(text)]


def own_name(file: str, code: Path, dependencies: Path) -> str:
    """Return the name by which the user knows a file of theirs; empty for a file that is not theirs."""
    if file.startswith(f"{code}/"):
        return file[len(str(code)) + 1 :]
    if file.startswith(f"{dependencies}/"):
        return file[len(str(dependencies.parent)) + 1 :]
    return ""
