"""An inline script is the one of the job, whoever has made the ConfigMap that it comes in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tftrainer.fetch.code import place_inline_script
from tftrainer.layout import Layout
from tftrainer.messages.contract import Plan, Reason, Script
from tftrainer.phase_error import PhaseError

SCRIPT = b"print('mine')\n"
PLAN = Plan(namespace="n", job="j", uid="u", runtime="tf2", script=Script(name="a.py", sha256=hashlib.sha256(SCRIPT).hexdigest()))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    for folder in (made.inline, made.code):
        folder.mkdir(parents=True)
    return made


def test_another_script_in_the_configmap_is_not_run(layout: Layout) -> None:
    (layout.inline / "a.py").write_bytes(b"print('planted')\n")
    with pytest.raises(PhaseError, match="does not hold spec") as refused:
        place_inline_script(PLAN, layout)
    assert refused.value.failure.reason is Reason.DIGEST_MISMATCH


def test_the_jobs_own_is_placed_beside_the_other_code(layout: Layout) -> None:
    (layout.inline / "a.py").write_bytes(SCRIPT)
    assert place_inline_script(PLAN, layout).sha256 == PLAN.script.sha256
    assert (layout.code / "a.py").read_bytes() == SCRIPT
