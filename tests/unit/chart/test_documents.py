"""The documents say what there is: every field, every reason, and no link into nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tftrainer.contract import CREDENTIAL_KEYS, Reason
from tftraining_operator.core.causes import CAUSES

REPOSITORY = Path(__file__).resolve().parents[3]
REFERENCE = REPOSITORY / "docs" / "reference"
PAGES = sorted(path.relative_to(REPOSITORY) for folder in ("docs", "examples") for path in (REPOSITORY / folder).rglob("*.md"))

NUMBERS = {17: "Seventeen", 18: "Eighteen", 19: "Nineteen", 20: "Twenty"}


def schema(part: str) -> dict[str, Any]:
    definition = yaml.safe_load((REPOSITORY / "crds" / "tftraining.dev_tftrainingjobs.yaml").read_text())
    return dict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part])


def fields(node: dict[str, Any], path: str = "") -> Iterator[str]:
    if "properties" in node:
        for name, child in node["properties"].items():
            yield from fields(child, f"{path}.{name}".lstrip("."))
    elif "items" in node:
        yield from fields(node["items"], f"{path}[]")
    else:
        yield path


def test_every_field_of_a_spec_is_in_the_reference() -> None:
    documented = re.findall(r"^\| `([^`]+)` \|", (REFERENCE / "job.md").read_text().partition("## URIs")[0], re.MULTILINE)
    assert sorted(documented) == sorted(fields(schema("spec")))


def test_every_field_of_a_status_is_in_the_reference() -> None:
    rows = (REFERENCE / "job.md").read_text().partition("## status")[2]
    documented = {name for row in re.findall(r"^\| (`[^|]+) \|", rows, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    assert documented == set(schema("status")["properties"])


def test_every_reason_is_in_the_reference_with_its_cause() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", (REFERENCE / "failures.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted((str(reason), str(CAUSES[reason])) for reason in Reason)


def test_every_key_of_a_storage_secret_is_in_the_reference() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:required|optional) \|", (REFERENCE / "storage-secret.md").read_text(), re.MULTILINE)
    assert rows == list(CREDENTIAL_KEYS)


def test_every_program_that_runs_unmodified_is_in_the_reference_and_no_other() -> None:
    scripts = REPOSITORY / "tests" / "cluster" / "scripts"
    programs = sorted(path.relative_to(scripts).as_posix() for path in scripts.glob("tf*/*") if path.name != "__pycache__")
    text = (REFERENCE / "scripts.md").read_text()
    rows = re.findall(r"^\| \[`([^`]+)`\]\(\.\./\.\./tests/cluster/scripts/([^)]+)\) \| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(path for _, path, _ in rows) == programs
    assert [row for row in rows if f"{row[2]}/{row[0]}" != row[1]] == []
    assert NUMBERS[len(programs)] in text.partition("programs")[0]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = (REPOSITORY / page).read_text()
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [target for target in targets if target and not (REPOSITORY / page).parent.joinpath(target).exists()] == []
