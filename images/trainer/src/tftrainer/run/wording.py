"""From the text of an exception to the line of it that says what is wrong, and from a log's end to what is worth reading."""

from __future__ import annotations

import re

# All that a script may raise is matched here while its pod still holds a GPU. So no pattern looks at a character more than a few times:
# what may be repeated does not overlap with what may follow it, and a search starts at no place within a run that it has gone through.
_ESCAPE = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_WRAPPED = 8
"""Wrappers around one another that are looked into."""

_IN_USER_CODE = "in user code:"
_GRAPH = "Graph execution error:"
_CALLING = re.compile(r"Exception encountered when calling (?P<what>[^\n]*)\n?")
_ARGUMENTS = re.compile(r"\n[ \t]*(?:Call arguments|Arguments) received by ")
_NAMED = re.compile(r"^[ \t]+(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Iteration|Warning): ", re.MULTILINE)
_PLACE = re.compile(r'\s|Detected at |Node: |<stack trace|File "|\d+ root error|Original stack trace|\[\[|$')
_TRACEBACK = re.compile(r"\n[ \t]*Traceback \(most recent call last\):")
_MACHINERY = re.compile(r"\{\{function_node [^{}]*\}\} ?|(?: \[Op:\w+\])? name:$")
_CODE = re.compile(r"\(\d+\)\s*(?:[A-Z_]+: *)?")

_STAMP = r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?: (?P<old>[IWE]) |(?P<new>[IWE])\d{4} \d\d:\d\d:\d+\.\d+\s+\d+ )"
_LOGGED = re.compile(rf"{_STAMP}(?P<source>\S+\.(?:cc|cu|cpp|h)):\d+\]")
_UNSTAMPED = ("WARNING: All log messages before absl::InitializeLog", "To enable the following instructions:", "Skipping registering GPU")
_AT_START = re.compile(r"cuda|computation_placer|gpu|tensorrt|tf-trt|py_utils|plugin", re.IGNORECASE)
"""Sources whose errors say no more than that the machine has no GPU, or that a library was registered twice."""
_TELLING = re.compile(r"alloc|memory|bfc|op_kernel|rendezvous", re.IGNORECASE)
"""Sources that say how memory runs out, or why an operation fails."""


def plain(text: str) -> str:
    """Return a text without what a terminal would obey."""
    return _CONTROL.sub("", _ESCAPE.sub("", text))


def cause(text: str) -> str:
    """Return what an exception's text says on one line.

    Keras and TensorFlow wrap the text of what went wrong into that of where: then only the former is returned, with the name of the
    layer that was called.
    """
    text, layers = plain(text), []
    for _ in range(_WRAPPED):
        stripped = text.strip()
        calling = _CALLING.match(stripped)
        if calling and stripped[calling.end() :].strip():
            layers.append(calling["what"].rstrip().removesuffix("."))
            text = _ARGUMENTS.split(stripped[calling.end() - 1 :])[0]
        elif stripped.startswith(_IN_USER_CODE) and (named := list(_NAMED.finditer(stripped))):
            text = _ARGUMENTS.split(stripped[named[-1].end() :])[0]
        elif stripped.startswith(_GRAPH) and (of_node := _of_the_graph(stripped)):
            text = of_node
            break
        else:
            break
    found = _on_one_line(_TRACEBACK.split(text, maxsplit=1)[0]) or _on_one_line(text)
    return f"{found} (when calling {layers[-1]})" if found and layers else found


def _on_one_line(text: str) -> str:
    return _MACHINERY.sub("", " ".join(text.split())).strip()


def _of_the_graph(text: str) -> str:
    """Return the words of the operation that failed: they stand before its node, after all the places where it was made."""
    before, _, after = text[len(_GRAPH) :].partition("[[")
    for part in (before, after):
        told = [_CODE.sub("", line.strip(), count=1) for line in part.splitlines() if not _PLACE.match(_CODE.sub("", line.lstrip(" ")))]
        if told:
            return told[-1]
    return ""


def without_noise(text: str) -> str:
    """Return the end of a log without what TensorFlow says while it starts, unless there is nothing else in it."""
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not _is_noise(line)]
    return "".join(kept) if any(line.strip() for line in kept) else text


def _is_noise(line: str) -> bool:
    logged = _LOGGED.match(line)
    if logged is None:
        return line.startswith(_UNSTAMPED)
    if _TELLING.search(logged["source"]):
        return False
    return "E" not in (logged["old"], logged["new"]) or bool(_AT_START.search(logged["source"]))
