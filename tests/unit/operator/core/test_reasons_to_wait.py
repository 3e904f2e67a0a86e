"""Every reason to wait stands on the page about waiting."""

from __future__ import annotations

import ast
from pathlib import Path

import tftraining_operator.core as core

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "a-job-that-waits.md"


def reasons() -> set[str]:
    """Return the reasons that the code gives a wait, as far as they are its own words."""
    calls = [
        node
        for module in Path(core.__path__[0]).rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Pending"
    ]
    return {str(call.args[0].value) for call in calls if isinstance(call.args[0], ast.Constant)}


def test_the_page_about_waiting_has_every_reason() -> None:
    text = PAGE.read_text()
    found = reasons()
    assert {"Unschedulable", "QuotaUsedUp", "SecretNotFound", "PredecessorEnding"} <= found
    # A name that is none ends the job instead of letting it wait.
    assert {reason for reason in found - {"InvalidImageName"} if f"`{reason}`" not in text} == set()
