"""A job file read and checked; every mistake is named by its field, with the value, what was expected, and the near match."""

from __future__ import annotations

import difflib
import enum
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from tftrainer import uri
from tftrainer.local import surrogates
from tftrainer.local.rules import broken
from tftrainer.local.spec import API_VERSION, KIND, JobFile, Part

LIMIT: Final = 4 * 1024**2
"""Bytes of a job file: more than any API server takes."""
SHOWN: Final = 80
_PLACE: Final = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_TYPES: Final = {
    "str": "text",
    "int": "a whole number",
    "bool": "true or false",
    "array": "a list",
    "object": "fields",
    "float": "a number",
}


class JobFileError(ValueError):
    """Not a job file. Its text has one line per mistake."""


def read(path: Path) -> JobFile:
    """Read and check a job file.

    Raises:
        JobFileError: it cannot be read, is not YAML, holds several documents, another kind, or a field that breaks a rule.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise JobFileError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > LIMIT:
        raise JobFileError(f"{path} is longer than {LIMIT} bytes, expected a TFTrainingJob")
    try:
        return parse(data)
    except JobFileError as error:
        raise JobFileError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None


def parse(data: bytes) -> JobFile:
    """Read and check the text of a job file.

    Raises:
        JobFileError: as `read`.
    """
    job = _document(data)
    _check_kind(job)
    mistakes = list(_unknown(job, JobFile, ""))
    if not mistakes:
        mistakes = list(_broken(job, JobFile, ""))
    if mistakes:
        raise JobFileError("\n".join(mistakes))
    try:
        found = msgspec.convert(job, JobFile)
    except msgspec.ValidationError as error:
        raise JobFileError(_explained(error, job)) from None
    for field, text in found.spec.uris():
        try:
            uri.parse(text, whole=True)
        except uri.UriError as error:
            raise JobFileError(f"{field}: {error}") from None
    return found


def _document(data: bytes) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError:
        raise JobFileError("reading YAML needs the package PyYAML: pip install pyyaml") from None
    from tftrainer.local.yaml_loader import Loader

    try:
        documents = [each for each in yaml.load_all(data, Loader) if each is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise JobFileError(f"not YAML: {where}{getattr(error, 'problem', None) or 'it holds what YAML does not allow'}") from None
    except RecursionError:
        raise JobFileError("not YAML: it is nested too deeply") from None
    except Exception:
        # PyYAML's constructors raise anything at all upon a value that does not fit its tag.
        raise JobFileError("not YAML: a value cannot be read as what its tag says it is") from None
    if len(documents) != 1:
        raise JobFileError(f"holds {len(documents)} documents, expected one {KIND}: put each job into a file of its own")
    if not isinstance(documents[0], dict):
        raise JobFileError(f"is {_shown(documents[0])}, expected the fields apiVersion, kind, metadata and spec")
    return documents[0]


def _check_kind(job: Mapping[str, Any]) -> None:
    for field, expected in (("kind", KIND), ("apiVersion", API_VERSION)):
        if job.get(field) != expected:
            found = f"is {_shown(job[field])}" if field in job else "is missing"
            raise JobFileError(f"{field} {found}, expected {expected}")


def _unknown(value: Any, hint: Any, path: str) -> Iterator[str]:
    """Yield a sentence for every field that a job does not have."""
    for item, inner, place in _inside(value, hint, path):
        yield from _unknown(item, inner, place)
    kind = _struct(hint)
    if kind is None or not issubclass(kind, Part) or not isinstance(value, dict):
        return
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    for name in value:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1, 0.6) or [each for each in known if each.lower() == str(name).lower()]
            remedy = f"did you mean {near[0]}?" if near else f"expected one of: {', '.join(known)}"
            yield f"unknown field {_joined(path, str(name))}: {remedy}"


def _broken(value: Any, hint: Any, path: str) -> Iterator[str]:
    """Yield a sentence for every field that is missing, of another type, or breaks a rule."""
    inside = list(_inside(value, hint, path))
    for item, inner, place in inside:
        yield from _broken(item, inner, place)
    kind = _struct(hint)
    if kind is not None and isinstance(value, dict):
        fields = msgspec.structs.fields(kind)
        yield from (f"{_joined(path, each.encode_name)} is missing" for each in fields if each.required and each.encode_name not in value)
    elif not inside:
        yield from _broken_value(value, hint, path)


def _broken_value(value: Any, hint: Any, path: str) -> Iterator[str]:
    """Yield a sentence for every rule that a value breaks which holds no others, or for its type."""
    if isinstance(value, str) and (half := surrogates.lone(value)):
        yield f"{path} holds {half}, half of a surrogate pair, which is no character: expected both halves, or the character itself"
        return
    choices = [str(word) for each in _alternatives(hint) for word in _words(each)]
    if choices and value not in choices:
        near = [each for each in choices if each.lower() == str(value).lower()] or difflib.get_close_matches(str(value), choices, 1)
        yield f"{path} is {_shown(value)}, expected one of: {', '.join(choices)}" + (f"; did you mean {near[0]}?" if near else "")
        return
    told = False
    if isinstance(value, str | int) and not isinstance(value, bool):
        for metadata in _metadata(hint):
            if isinstance(value, str) or int in _alternatives(hint):
                for message in broken(value, metadata):
                    told = True
                    yield f"{path} is {_shown(value)}: it {_verb(message)}"
    if not told:
        try:
            msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            yield _explained(error, value, path)


def _words(kind: Any) -> Iterable[Any]:
    """Return the words that a type allows, none for one that is not made of words."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind
    return get_args(kind) if get_origin(kind) is Literal else ()


def _verb(message: str) -> str:
    return message if message.startswith(("must", "is ")) else f"has an {message}"


def _inside(value: Any, hint: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield what a value holds: each item or field with its type and its path."""
    kind = _struct(hint)
    if kind is not None and isinstance(value, dict):
        hints = get_type_hints(kind, include_extras=True)
        for field in msgspec.structs.fields(kind):
            if field.encode_name in value:
                yield value[field.encode_name], hints[field.name], _joined(path, field.encode_name)
    item = next((get_args(each)[0] for each in _alternatives(hint) if get_origin(each) is tuple), None)
    if item is not None and isinstance(value, list):
        for index, each in enumerate(value):
            yield each, item, f"{path}[{index}]"
    named = next((get_args(each) for each in _alternatives(hint) if get_origin(each) is dict), None)
    if named is not None and isinstance(value, dict):
        for name, each in value.items():
            yield name, named[0], path
            yield each, named[1], f"{path}[{name}]"


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the types that a hint allows, without what is annotated."""
    if get_origin(hint) is Annotated:
        return _alternatives(get_args(hint)[0])
    if isinstance(hint, types.UnionType) or str(get_origin(hint)) == "typing.Union":
        return tuple(inner for each in get_args(hint) for inner in _alternatives(each))
    return (hint,)


def _struct(hint: Any) -> type[msgspec.Struct] | None:
    return next((each for each in _alternatives(hint) if isinstance(each, type) and issubclass(each, msgspec.Struct)), None)


def _metadata(hint: Any) -> Iterator[msgspec.Meta]:
    if get_origin(hint) is Annotated:
        yield from (each for each in get_args(hint)[1:] if isinstance(each, msgspec.Meta))
    for each in get_args(hint):
        if get_origin(each) is Annotated:
            yield from _metadata(each)


def _explained(error: msgspec.ValidationError, within: Any, at: str = "") -> str:
    """Return msgspec's sentence about what lies `at` a path, in the words of the file."""
    match = _PLACE.fullmatch(str(error))
    what, inner = (match["what"], (match["path"] or "").removeprefix(".")) if match else (str(error), "")
    inner = inner.removesuffix("[...]")
    path = _joined(at, inner) if inner else at
    wrong = re.fullmatch(r"Expected `(.+)`, got `(.+)`", what)
    if wrong:
        expected = " or ".join(_TYPES.get(each, each) for each in wrong[1].split(" | ") if each != "null")
        value = _at(within, inner)
        quote = ': write it in quotes, "…"' if "str" in wrong[1].split(" | ") and wrong[2] in ("int", "float", "bool") else ""
        return f"{path or 'the file'} is {_shown(value)}, expected {expected}{quote}"
    return f"{path or 'spec'}: {what[:1].lower()}{what[1:]}".replace("`", "")


def _at(value: Any, path: str) -> Any:
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        try:
            value = value[int(index)] if index else value[name]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
