"""What a status says already: whoever may write it, one odd word of it takes no other with it."""

from __future__ import annotations

from typing import Any

import pytest
from tftraining_operator.core import recorded

FAILED = {"attempt": 0, "reason": "ScriptRaised", "exception": "KeyError: 1", "file": "a.py", "line": 3}


@pytest.mark.parametrize("odd", [3, "x", None, {}, {"attempt": -1, "reason": "x"}, {"attempt": 1}, [FAILED]])
def test_an_odd_entry_of_the_attempts_takes_no_other_with_it(odd: Any) -> None:
    found = recorded.attempts({"attempts": [FAILED, odd, {**FAILED, "attempt": 2}]})
    assert [(each.attempt, each.exception) for each in found] == [(0, "KeyError: 1"), (2, "KeyError: 1")]


@pytest.mark.parametrize("odd", [3, "x", [], {"queuedSeconds": "long"}])
def test_an_odd_field_takes_no_other_with_it(odd: Any) -> None:
    found = recorded.part({"usage": odd, "logs": {"uri": "s3://b/logs/"}, "attempts": [FAILED]}, "usage", "logs", "attempts", "code")
    assert found.logs is not None
    assert (found.usage, found.logs.uri, len(found.attempts)) == (None, "s3://b/logs/", 1)


@pytest.mark.parametrize("status", [{}, {"usage": 3}, {"attempts": 3}])
def test_what_is_odd_counts_as_not_said(status: dict[str, Any]) -> None:
    assert recorded.part(status, "usage", "attempts") == recorded.part({}, "usage")
    assert recorded.attempts(status) == ()
