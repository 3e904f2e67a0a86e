"""The job's arguments against the script's own parser: the same library reads them, with a parser made of the script's literals.

What the library would refuse is written down instead, and reading goes on, so that all of it is found at once. Where the script
converts values by code of its own, every value is taken.
"""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NoReturn

from tftrainer.messages.contract import Reason
from tftrainer.preflight.finding import Finding, Findings
from tftrainer.preflight.names import words
from tftrainer.preflight.parser import UNKNOWN, Parser, Step

_TYPES: Final[dict[str, Callable[[str], Any]]] = {"int": int, "float": float}
_CORRECT: Final = "correct spec.args"
_LISTED: Final = 12
_COUNTS: Final = {2: "two", 3: "three", 4: "four"}
_SHOWN: Final = 80
_ABSL: Final = words(
    "? h help helpfull helpshort helpxml flagfile fromenv tryfromenv undefok only_check_args pdb run_with_pdb v verbosity log_dir"
    " logtostderr alsologtostderr stderrthreshold showprefixforinfo logger_levels"
)
"""Flags of absl that end the program, bring other flags, or are of a name that the script may want for itself."""


class _EndedError(Exception):
    """The script would show its help and end."""


class _Recorder(argparse.ArgumentParser):
    """Writes down what is wrong instead of ending the process."""

    def __init__(self, **options: Any) -> None:
        super().__init__(prog="script", exit_on_error=False, **options)
        self.complaints: list[str] = []

    def error(self, message: str) -> NoReturn:  # type: ignore[misc]
        self.complaints.append(message)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:  # noqa: ARG002 - the library's signature
        raise _EndedError

    def print_help(self, file: object = None) -> None:  # noqa: ARG002 - the library's signature
        raise _EndedError


class _Choices:
    """Takes every value, and writes down those that the script would not."""

    def __init__(self, allowed: tuple[Any, ...], refuse: Callable[[object], None]) -> None:
        self._allowed = allowed
        self._refuse = refuse

    def __contains__(self, value: object) -> bool:
        if value is not _BROKEN and value not in self._allowed:
            self._refuse(value)
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(self._allowed)


_BROKEN: Final = object()


def check(parser: Parser, arguments: Sequence[str], file: str, findings: Findings) -> bool:
    """Add to `findings` what the script's parser would refuse of the arguments, and a fact if that is nothing.

    Returns whether it surely takes them: no code of the script's converts them, and the script does not end with its help.
    """
    found: list[Finding] = []

    def refuse(message: str, line: int, hint: str = _CORRECT) -> None:
        finding = Finding(Reason.INVALID_ARGUMENTS, message, hint, file, line)
        if finding not in found:
            found.append(finding)

    try:
        recorder = _build(parser, file, refuse, arguments)
        extras = _parse(recorder, arguments)
    except Exception:
        return False
    unknown = _unknown(parser, arguments, extras, file) if parser.strict else []
    for message in recorder.complaints:
        # Of one mistake the remedy comes first, and once.
        remedy = "; ".join(dict.fromkeys(each.hint for each in unknown)) or _CORRECT
        refuse(f"spec.args: {message} ({file}, line {parser.line})", parser.line, remedy)
    if not parser.strict:
        findings.warnings += [f"{_has(extra, arguments)}: {hint}" for extra in extras if (hint := _several(extra, _flags(parser)))]
    certain = not parser.through_absl or _is_no_matter_of_absl(arguments)
    for finding in found:
        findings.add(finding, certain=certain)
    for finding in unknown:
        # A library may have defined more of absl's flags, which are taken away before the parser sees the rest.
        findings.add(finding, certain=not parser.through_absl)
    found += unknown
    if not found:
        findings.facts.append(f"the arguments fit the parser of {file}")
    return not found and not parser.through_absl and all(step.options.get("type") != "?" for step in parser.steps)


def _build(parser: Parser, file: str, refuse: Callable[[str, int], None], arguments: Sequence[str]) -> _Recorder:
    recorder = _Recorder(**parser.options)
    owners: dict[str, Any] = {parser.name: recorder}
    for step in parser.steps:
        owner = owners[step.owner]
        if step.kind == "group":
            owners[step.name] = owner.add_argument_group(step.name)
        elif step.kind == "exclusive":
            owners[step.name] = owner.add_mutually_exclusive_group(**step.options)
        else:
            owner.add_argument(*step.flags, **_options(step, file, refuse, arguments))
    return recorder


def _options(step: Step, file: str, refuse: Callable[[str, int], None], arguments: Sequence[str]) -> dict[str, Any]:
    options = {key: None if value is UNKNOWN else value for key, value in step.options.items()}
    name = step.flags[0] if step.flags else str(options.get("dest", "?"))
    name = next((flag for flag in step.flags if flag.startswith("--")), name)
    action = options.get("action")
    if action == "boolean":
        options["action"] = argparse.BooleanOptionalAction
    elif action == "version":
        # Both end the script in good order.
        options["action"] = "help"
    where = f"({file}, line {step.line})"
    kind = options.pop("type", None)
    if kind in _TYPES:
        convert = _TYPES[kind]

        def converted(text: str) -> Any:
            try:
                return convert(text)
            except ValueError:
                refuse(f"{_place(text, step, arguments)}: {name} is {text[:_SHOWN]!r}, expected {kind} {where}", step.line)
                return _BROKEN

        options["type"] = converted
    elif kind is not None:
        options["type"] = str
    allowed = options.pop("choices", None)
    if allowed is not None and kind != "?":

        def outside(value: object) -> None:
            listed = ", ".join(map(repr, allowed[:_LISTED])) + (", …" if len(allowed) > _LISTED else "")
            at = _place(str(value), step, arguments)
            refuse(f"{at}: {name} is {str(value)[:_SHOWN]!r}, expected one of {listed} {where}", step.line)

        options["choices"] = _Choices(allowed, outside)
    return options


def _place(text: str, step: Step, arguments: Sequence[str]) -> str:
    """Return the field that holds a value, with its index where only one argument can be meant."""
    may_be = [index for index, each in enumerate(arguments) if each == text or (each.startswith("-") and each.endswith(text))]
    if len(may_be) > 1:
        may_be = [index for index in may_be if index and arguments[index] == text and arguments[index - 1] in step.flags]
    return f"spec.args[{may_be[0]}]" if len(may_be) == 1 else "spec.args"


def _parse(recorder: _Recorder, arguments: Sequence[str]) -> list[str]:
    """Return what the parser does not know. The help ends the reading in good order, an error of another kind than its own does not."""
    try:
        return recorder.parse_known_args(list(arguments))[1]
    except argparse.ArgumentError as error:
        recorder.complaints.append(str(error))
    except _EndedError:
        pass
    return []


def _unknown(parser: Parser, arguments: Sequence[str], extras: list[str], file: str) -> list[Finding]:
    flags = _flags(parser)
    found = []
    for extra in [extra for extra in extras if extra.startswith("-") and len(extra) > 1] or extras:
        number = next((str(index) for index, argument in enumerate(arguments) if argument == extra), "?")
        name, hint = extra.partition("=")[0][:_SHOWN], _CORRECT
        several = _several(extra, flags)
        if several:
            message, hint = f"{_has(extra, arguments)}, which {file} (line {parser.line}) takes for one word", several
        elif extra.startswith("-"):
            message = f"spec.args[{number}]: {name} is not an argument of {file} (line {parser.line})"
            close = difflib.get_close_matches(name, flags, 1, 0.6)
            hint = f"did you mean {close[0]} instead of {name}?" if close else _known(flags)
        else:
            message = f"spec.args[{number}] is {extra[:_SHOWN]!r}, for which the parser of {file} (line {parser.line}) has no place"
        found.append(Finding(Reason.INVALID_ARGUMENTS, message, hint, file, parser.line))
    return found


def _has(extra: str, arguments: Sequence[str]) -> str:
    number = next((str(index) for index, argument in enumerate(arguments) if argument == extra), "?")
    return f"spec.args[{number}] is {extra[:_SHOWN]!r}"


def _several(extra: str, flags: Sequence[str]) -> str:
    """Return what to do where one item holds a flag and its value, as in `--epochs 3`, or several of them; else nothing."""
    items = extra.split()
    if len(items) < 2 or not any(flag == items[0].partition("=")[0] for flag in flags):
        return ""
    listed = ", ".join(f"`- {json.dumps(item) if item[0] != '-' else item}`" for item in items[:_LISTED])
    one = f", or one: `- {items[0]}={items[1]}`" if len(items) == 2 and items[0].startswith("--") and "=" not in items[0] else ""
    return f"write {_COUNTS.get(len(items), str(len(items)))} items: {listed}{one}"


def _is_no_matter_of_absl(arguments: Sequence[str]) -> bool:
    """Whether absl can neither supply an argument, nor end the program, nor take for itself what the parser knows."""
    names = {argument.partition("=")[0].lstrip("-") for argument in arguments if argument.startswith("-")}
    return not names & _ABSL


def _flags(parser: Parser) -> list[str]:
    return [flag for step in parser.steps for flag in step.flags if flag.startswith("-")]


def _known(flags: list[str]) -> str:
    listed = sorted(flag for flag in flags if flag.startswith("--")) or flags
    return f"it knows {', '.join(listed[:_LISTED])}{', …' if len(listed) > _LISTED else ''}" if listed else "it takes no flags"
