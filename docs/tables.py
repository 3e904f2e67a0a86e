"""The tables of the documents that are made of the code's own: `python docs/tables.py` writes them, `--check` tells of one that is stale.

A page keeps its prose; between `<!-- NAME -->` and `<!-- /NAME -->` in it lies what is generated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from inspect import getdoc
from pathlib import Path
from typing import Any, Final

from seen import seen
from tftraining_operator.api import crd
from tftraining_operator.core.decide import RULES
from tftraining_operator.core.reasons import REASONS, Section

REPOSITORY: Final = Path(__file__).resolve().parents[1]
FAILURES: Final = REPOSITORY / "docs" / "reference" / "failures.md"
SEEN: Final = REPOSITORY / "docs" / "reference" / "failures-seen.md"
LIMITS: Final = REPOSITORY / "docs" / "reference" / "limits.md"
ARCHITECTURE: Final = REPOSITORY / "ARCHITECTURE.md"
_LONG: Final = 1100
"""Characters of a URI: what may be longer holds a text of its own."""


def reasons(section: Section) -> str:
    """Return the reasons of a section as a table."""
    rows = [
        f"| `{reason}` | {each.cause} | {each.meaning} | {each.remedy} | {f'`{each.budget}`' if each.budget else ''} |"
        for reason, each in REASONS.items()
        if each.section is section
    ]
    return "\n".join(["| reason | cause | meaning | what to do | retries |", "| --- | --- | --- | --- | --- |", *rows])


def rules() -> str:
    """Return the rules of `decide` in their order, each with the first sentence of what it says of itself."""
    return "\n".join(
        f"{number}. `{rule.__module__.rpartition('.')[2]}.{rule.__name__}`: {(getdoc(rule) or '').splitlines()[0]}"
        for number, rule in enumerate(RULES, start=1)
    )


def limits() -> str:
    """Return what each field of a spec may hold at most, names and addresses aside."""
    [version] = crd.definition()["spec"]["versions"]
    rows = [f"| `{field}` | {most} |" for field, most in _limits(version["schema"]["openAPIV3Schema"]["properties"]["spec"], "")]
    return "\n".join(["| field | at most |", "| --- | --- |", *rows])


def _limits(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if "maximum" in schema:
        least = f", at least {schema['minimum']}" if schema.get("minimum") else ""
        yield path, f"{schema['maximum']}{least}"
    if "maxItems" in schema or "maxProperties" in schema:
        yield path, f"{schema.get('maxItems', schema.get('maxProperties'))} entries"
    if schema.get("maxLength", 0) > _LONG:
        yield path, f"{schema['maxLength']} characters"
    for name, child in schema.get("properties", {}).items():
        yield from _limits(child, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from _limits(schema["items"], f"{path}[]")


def renewed(page: str, parts: Mapping[str, str]) -> str:
    """Return the page with its generated parts as they should be.

    Raises:
        ValueError: the page has no place for one of the parts.

    """
    for name, text in parts.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"no {begin.strip()} … {end.strip()}")
        page = before + begin + text + end + after
    return page


def pages() -> dict[Path, str]:
    """Return every page that has generated parts, as it should be."""
    sections = {f"reasons: {section.name.lower()}": reasons(section) for section in Section}
    return {
        FAILURES: renewed(FAILURES.read_text(), sections),
        SEEN: renewed(SEEN.read_text(), {"seen": seen()}),
        LIMITS: renewed(LIMITS.read_text(), {"limits": limits()}),
        ARCHITECTURE: renewed(ARCHITECTURE.read_text(), {"rules": rules()}),
    }


def main(arguments: list[str]) -> int:
    """Write the pages, or only tell which are stale."""
    stale = {path: text for path, text in pages().items() if path.read_text() != text}
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(REPOSITORY)} is stale, run: make generate")
        return int(bool(stale))
    for path, text in stale.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
