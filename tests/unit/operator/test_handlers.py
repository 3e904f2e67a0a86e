"""What becomes of what a watch tells; that it tells, the integration tests show."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs
from tftraining_operator.handlers import hand_on


def test_an_object_that_nobody_has_thought_of_is_told_in_the_log_and_does_not_end_the_watch() -> None:
    def take(raw: Any, event: str | None) -> None:
        raise KeyError(raw["metadata"])

    with capture_logs() as logs:
        hand_on({"type": "ADDED", "object": {"metadata": {}}}, take)
    assert [each["event"] for each in logs] == ["event not taken"]


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED", None])
def test_an_object_is_handed_on_with_what_has_happened_to_it(kind: str | None) -> None:
    taken: list[tuple[Any, str | None]] = []
    hand_on({"type": kind, "object": {"metadata": {"name": "iris"}}}, lambda raw, event: taken.append((raw, event)))
    assert taken == [({"metadata": {"name": "iris"}}, kind)]


def test_a_bookmark_is_no_object() -> None:
    hand_on({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}, lambda *_: pytest.fail("taken"))
