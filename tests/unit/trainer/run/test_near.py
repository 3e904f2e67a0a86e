"""A file that is missing and whose name is almost that of an object: the hint names the object."""

from __future__ import annotations

from pathlib import Path

import pytest
from tftrainer.messages.contract import Plan, Script
from tftrainer.run.evidence import Evidence
from tftrainer.run.hints import Setting, hint

BUCKET = Path("/workspace/bucket")
PLAN = Plan(namespace="ns", job="j", uid="u", runtime="tf2", script=Script(name="train.py"))
NEAR = {f"{BUCKET}/in/row.csv": "${bucket}/in/rows.csv", f"{BUCKET}/in/row": "${bucket}/in/rows/", f"{BUCKET}/train": "${bucket}/training/"}


def told(message: str, kind: str = "FileNotFoundError") -> str:
    return hint(Evidence(type=kind, message=message), Setting(BUCKET.parent, PLAN, near=NEAR))


@pytest.mark.parametrize(
    ("message", "kind", "meant", "key"),
    [
        (
            f"[Errno 2] No such file or directory: '{BUCKET}/in/row.csv'",
            "FileNotFoundError",
            "${bucket}/in/rows.csv",
            "${bucket}/in/row.csv",
        ),
        (
            f"NewRandomAccessFile failed to Create/Open: {BUCKET}/in/row : No such",
            "NotFoundError",
            "${bucket}/in/rows/",
            "${bucket}/in/row",
        ),
        (f"[Errno 2] No such file or directory: '{BUCKET}/train/a.csv'", "FileNotFoundError", "${bucket}/training/", "${bucket}/train"),
    ],
)
def test_what_lay_beside_it_comes_first_in_the_hint(message: str, kind: str, meant: str, key: str) -> None:
    assert told(message, kind) == f"Write {meant} into the argument: nothing was at {key} before the start, and that lies beside it."


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (f"No such file: '{BUCKET}/in/rowing.csv'", "FileNotFoundError"),
        (f"No such file: '{BUCKET}/in/row.csv.bak'", "FileNotFoundError"),
        (f"no good: '{BUCKET}/in/row.csv'", "ValueError"),
    ],
)
def test_of_another_file_or_another_exception_it_is_not_told(message: str, kind: str) -> None:
    assert "lies beside" not in told(message, kind)
