"""The documents say what there is: every field, every reason, and no link into nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import seen
import tables
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tftrainer.messages.contract import CREDENTIAL_KEYS, Reason
from tftraining_operator.api.fields import KEY_LIMIT, TOTAL_LIMIT, URI_LIMIT
from tftraining_operator.core.reasons import REASONS
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.rivals import Rivals
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.workqueue import WorkQueue

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
    # Every role has the same fields, and the same resources as a job of one replica.
    known = {re.sub(r"^(replicas\.)\w+(\.\w+).*", r"\1*\2", field) for field in fields(schema("spec"))}
    assert sorted(documented) == sorted(known)


def test_every_field_of_a_status_is_in_the_reference() -> None:
    rows = (REFERENCE / "job.md").read_text().partition("## status")[2]
    documented = {name for row in re.findall(r"^\| (`[^|]+) \|", rows, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    assert documented == set(schema("status")["properties"])


def test_every_reason_is_in_the_reference_with_its_cause() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", (REFERENCE / "failures.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted((str(reason), str(REASONS[reason].cause)) for reason in Reason)


def test_what_is_generated_in_a_page_is_what_the_code_says() -> None:
    assert [path for path, text in tables.pages().items() if path.read_text() != text] == []


def test_a_test_counts_for_the_reasons_that_it_its_fixtures_and_the_tables_of_its_module_name(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        """
CASES = {"a": ("pass", {"reason": "ScriptExited"})}
OTHERS: list = [Reason.EVICTED]

@pytest.fixture
def job():
    return run("InvalidSpec")

@pytest.mark.parametrize("case", CASES)
def test_by_a_table(case): ...

def test_by_a_fixture(job): ...

def test_by_itself():
    assert reason == "Preempted", None

def test_of_something_else():
    assert phase == "Failed"
"""
    )
    assert {test.name: set(test.reasons) for test in seen.tests(tmp_path)} == {
        "test_by_a_table": {Reason.SCRIPT_EXITED},
        "test_by_a_fixture": {Reason.INVALID_SPEC},
        "test_by_itself": {Reason.PREEMPTED},
        "test_of_something_else": set(),
    }


def test_a_page_without_a_place_for_what_is_generated_is_told() -> None:
    assert tables.renewed("<!-- a -->\nold\n<!-- /a -->\n", {"a": "new"}) == "<!-- a -->\nnew\n<!-- /a -->\n"
    with pytest.raises(ValueError, match="no <!-- b -->"):
        tables.renewed("<!-- a -->\nold\n<!-- /a -->\n", {"b": "new"})


async def test_every_family_of_metrics_is_in_the_reference_with_its_type_and_labels_and_no_other() -> None:
    metrics = Metrics()
    metrics.follow(Store(), WorkQueue(lambda: 0.0, lambda: 1.0), Rivals("own", lambda: 0.0), lambda: True, lambda: 0.0)
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in text_string_to_metric_families(metrics.render().decode())
    }
    text = (REFERENCE / "metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+), [^|]+ \|([^|]*)\|", text, re.MULTILINE)
    assert {name: kind for name, kind, _ in rows} == families
    labelled = [each for each in vars(metrics).values() if hasattr(each, "_labelnames")]
    labels = {each._name: set(each._labelnames) for each in labelled}
    told = {name.removesuffix("_total"): set(re.findall(r"`(\w+)`", row)) for name, _, row in rows}
    assert {name: told[name] for name in labels} == labels


def test_every_alert_of_the_reference_asks_for_families_that_there_are() -> None:
    text = (REFERENCE / "metrics.md").read_text()
    families = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    asked = re.findall(r"\b((?:tftraining|process)_\w+)", text.partition("| family")[2])
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked} - families == set()


def test_the_bounds_of_a_whole_spec_are_in_the_reference() -> None:
    text = (REFERENCE / "limits.md").read_text()
    assert [bound for bound in (TOTAL_LIMIT, URI_LIMIT, KEY_LIMIT) if f" {bound} " not in text] == []


def test_every_line_of_the_log_is_in_the_reference_and_no_other() -> None:
    said = set()
    for path in (REPOSITORY / "operator" / "src").rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if method in {"debug", "info", "warning", "error", "exception"} and call.args and isinstance(call.args[0], ast.Constant):
                said.add(str(call.args[0].value))
    rows = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \| (?:info|warning|error) \|", (REFERENCE / "log.md").read_text(), re.MULTILINE)
    assert {event for row in rows for event in re.findall(r"`([^`]+)`", row)} == said


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
