"""Credentials that stand where they can be read, in arguments and variables: what looks like one is never copied any further.

Pure. A guess, and no guard: who writes a password into a job has shown it to all who may read the job. It errs towards withholding,
because a record without a harmless value can still be used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from tftrainer.messages.contract import Failure

MARKER: Final = "${withheld}"
"""Stands for what is withheld. Neither the API nor a local run takes it for a value, so that no job runs with it unnoticed."""
SECRET: Final = "withheld"  # noqa: S105  the name of one
"""The Secret that a variable's value is expected in where a record leaves the value out."""
ADVICE: Final = (
    "what looks like a credential is kept out of the bucket, but all who may read the job read it there: put it into a Secret, and name "
    "that in spec.env[].valueFrom.secretKeyRef (name, key)"
)
LEAST: Final = 6
"""Characters of a credential that is looked for in other texts: a shorter one is a word like any other."""

# Texts of any length and kind are searched, so each pattern takes no longer than the text is long, but for a factor that has a bound.
_ENDS: Final = re.compile(
    r"(?:password|passwd|passphrase|passcode|secret|credentials?|authorization|api_?key|signature"
    r"|(?:access|secret|private|auth|account|encryption|signing|license|subscription|master|service|storage|app|shared|session)_?keys?"
    r"|(?<!^)(?<!^old)_?pwd|(?<=_)(?:pat|pass|jwt|sas|dsn|cookie)|(?:^|_)(?:bearer|pgpass|sig)|connection_?string"
    r"|token)$"
    r"|^aws_(?!region$|default_region$|profile$|endpoint)"
)
"""How the name of a credential ends, in small letters; or begins."""
_RANDOM_KEY: Final = re.compile(r"(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])[-A-Za-z0-9_+/=]{20,}")
"""What `…_KEY` has for a value if it is one of a service, and no name of a column."""
_QUALIFIERS: Final = frozenset({"b64", "base64", "value", "text", "raw", "prod", "dev", "test", "staging"})
_NAME_LIMIT: Final = 256
"""Characters of a name, from its end, that tell whether it is that of a credential."""
_KEY_LIMIT: Final = 4096
"""Characters of a service's key at most."""
_SPECIAL: Final = re.compile(r"(?:^|_)(?:eos|bos|pad|unk|sep|cls|oov|mask|start|end|stop|special)_?token$")
"""Tokens of a text."""
_HARMLESS: Final = re.compile(r"|true|false|yes|no|on|off|none|null|[01]|\$\{[a-z_.A-Z0-9-]+\}(?:/.*)?", re.IGNORECASE | re.DOTALL)
"""Values that are no credential whatever their name: none, a switch, or a place that a placeholder names."""
_FLAG: Final = re.compile(r"^(?:use|no|with|without|has|have|is|max|min|num|n|count|show|skip)_")
"""How names begin that speak of a credential and hold none."""
_ALWAYS: Final = (
    # A token in the place of an address's user.
    re.compile(r"(?<=[A-Za-z0-9+.-])://(?P<value>[^\s/?#:@'\"]{16,})@"),
    re.compile(
        r"(?P<value>-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z))", re.DOTALL
    ),
    re.compile(r"\b[Bb](?:earer|asic)\s+(?P<value>[A-Za-z0-9._~+/=-]{16,})"),
    re.compile(
        r"(?<![A-Za-z0-9])(?P<value>(?:gh[pousr]_|github_pat_|glpat-|hf_|sk-|xox[abeoprs]-|npm_|pypi-|AIza|SG\.)[A-Za-z0-9._-]{16,}"
        r"|A(?:KIA|SIA)[A-Z0-9]{16}|eyJ[\w-]{8,500}\.[\w-]{8,}\.[\w-]*)"
    ),
)
"""What is a credential in any text: its group `value` is."""
_WORD: Final = re.compile(r"[^\s'\"]+")
_PASSWORD: Final = re.compile(r"(?<=[A-Za-z0-9+.-])://[^\s/?#:@'\"]*:(?!\d{1,5}(?:[/?#]|$))")
"""What comes before the password of an address."""
_NAMED: Final = re.compile(r"(?<![A-Za-z0-9_.-])[0-9.-]*+(?P<name>[A-Za-z_][A-Za-z0-9_.-]*+)[\"']?\s*+[=:]\s*+[\"']?(?=[^\s\"'&;,}])")
_VALUE: Final = re.compile(r"[^\s\"'&;,}]+")
_WHOLE: Final = re.compile(r"-{0,2}(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)=(?P<value>.+)", re.DOTALL)
_OPTION: Final = re.compile(r"--?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)")


def is_credential(name: str, value: str) -> bool:
    """Tell whether a variable or an option of that name has a credential for its value."""
    if _HARMLESS.fullmatch(value):
        return False
    plain = _plain(name)
    return _is_of_credential(plain) or (_is_of_key(plain) and len(value) <= _KEY_LIMIT and bool(_RANDOM_KEY.fullmatch(value)))


def _plain(name: str) -> str:
    """Return a name in small letters, its words divided by `_`, without what numbers or qualifies it."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[-_NAME_LIMIT:]).replace("-", "_").rpartition(".")[2].lower()
    while plain:
        before, mark, last = plain.rpartition("_")
        shorter = before if mark and last in _QUALIFIERS else plain.rstrip("0123456789")
        if shorter == plain:
            break
        plain = shorter.removesuffix("_") if last.isdigit() else shorter
    return plain


def _is_of_credential(plain: str) -> bool:
    return not _is_of_text(plain) and bool(_ENDS.search(plain))


def _is_of_key(plain: str) -> bool:
    return not _is_of_text(plain) and plain.endswith("_key")


def _is_of_text(plain: str) -> bool:
    return bool(_FLAG.match(plain) or _SPECIAL.search(plain))


@dataclass(frozen=True, slots=True)
class Plain:
    """The credentials of one job that stand in its arguments and variables. `known` are their values, longest first."""

    known: tuple[str, ...] = ()

    @classmethod
    def of(cls, arguments: Sequence[str] = (), variables: Mapping[str, str] | None = None, secret: Iterable[str] = ()) -> Plain:
        """Return those of a job; `secret` are the values of variables that come from a Secret."""
        found = {value for text, spans in zip(arguments, _in_arguments(arguments), strict=True) for value in _values(text, spans)}
        for name, value in (variables or {}).items():
            found.update(_values(value, _in_variable(name, value)))
        return cls(tuple(sorted({each for each in (*found, *secret) if len(each) >= LEAST}, key=lambda each: (-len(each), each))))

    def without(self, text: str) -> str:
        """Return a text of ours, or of the script's, without these credentials, nor what is one in any text."""
        for each in self.known:
            text = text.replace(each, MARKER)
        return _masked(text, _anywhere(text))

    def without_in(self, failure: Failure) -> Failure:
        """Return a failure without them."""
        parts = {name: self.without(getattr(failure, name)) for name in ("message", "hint", "exception", "file", "traceback")}
        # The marker may be longer than what it stands for.
        return msgspec.structs.replace(failure, **{name: text[: 2048 if name == "traceback" else 1024] for name, text in parts.items()})


def arguments_without(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return arguments without the credentials in them."""
    return tuple(_masked(text, spans) for text, spans in zip(arguments, _in_arguments(arguments), strict=True))


def variable_without(name: str, value: str) -> str:
    """Return the value of a variable without the credentials in it."""
    return _masked(value, _in_variable(name, value))


_Span = tuple[int, int]


def _in_variable(name: str, value: str) -> list[_Span]:
    return [(0, len(value))] if is_credential(name, value) else _merged([*_anywhere(value), *_by_name(value)])


def _in_arguments(arguments: Sequence[str]) -> list[list[_Span]]:
    found: list[list[_Span]] = []
    option = ""
    for text in arguments:
        whole = _WHOLE.fullmatch(text)
        if option and not text.startswith("--") and is_credential(option, text):
            spans = [(0, len(text))]
        elif whole is not None and is_credential(whole["name"], whole["value"]):
            spans = [whole.span("value")]
        else:
            spans = _merged([*_anywhere(text), *_by_name(text)])
        found.append(spans)
        named = _OPTION.fullmatch(text)
        option = named["name"] if named is not None else ""
    return found


def _anywhere(text: str) -> list[_Span]:
    return _merged([*(match.span("value") for pattern in _ALWAYS for match in pattern.finditer(text)), *_in_addresses(text)])


def _in_addresses(text: str) -> Iterator[_Span]:
    """Give the passwords of addresses, each up to the last @: it may hold any character that should have been escaped."""
    for word in _WORD.finditer(text):
        end = word[0].rfind("@")
        before = _PASSWORD.search(word[0]) if end > 0 else None
        if before is not None and before.end() < end:
            yield word.start() + before.end(), word.start() + end


def _by_name(text: str) -> Iterator[_Span]:
    position = 0
    while match := _NAMED.search(text, position):
        # Where it is none, its value may be the name of the next, as in `user:password=…`.
        position = match.end()
        plain = _plain(match["name"])
        end = len(text) if _is_of_credential(plain) else position + _KEY_LIMIT + 1 if _is_of_key(plain) else position
        if end > position:
            value = _VALUE.match(text, position, end)
            if value is not None and is_credential(match["name"], value[0]):
                yield value.span()
                position = value.end()


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _values(text: str, spans: Iterable[_Span]) -> Iterator[str]:
    return (text[start:end] for start, end in spans)


def _masked(text: str, spans: Sequence[_Span]) -> str:
    for start, end in reversed(spans):
        text = text[:start] + MARKER + text[end:]
    return text
