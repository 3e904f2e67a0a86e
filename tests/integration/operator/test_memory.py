"""What users of one namespace create does not fill the process that works for all."""

from __future__ import annotations

import re
from pathlib import Path

from control import Operator, Played, until

_EMOJI = "🙂"
"""One of them makes Python take four bytes for each character of a text."""


def resident(operator: Operator) -> float:
    """Return the resident MB of the operator's process."""
    assert operator.process is not None
    found = re.search(r"^Rss:\s+(\d+) kB", Path(f"/proc/{operator.process.pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024 / 1e6


def suspended(operator: Operator) -> float:
    """Return how many suspended jobs the operator knows."""
    return sum(map(float, re.findall(r'^tftraining_jobs{.*phase="Suspended".*} ([0-9.]+)$', operator.page("metrics"), re.MULTILINE)))


def test_the_longest_inline_scripts_of_many_jobs_are_not_held_neither_at_their_creation_nor_after_a_restart(
    operator: Operator, played: Played
) -> None:
    before = resident(operator)
    script = {"name": "a.py", "inline": _EMOJI + "#" * (256 * 1024 - 1)}
    for number in range(150):
        played.submit(f"long-{number}", script=script, suspend=True)
    until(lambda: suspended(operator) == 150, "all are seen", 60)
    created = resident(operator)
    operator.start()
    until(lambda: suspended(operator) == 150, "all are seen again", 60)
    # Held, they take 157 MB; a page of a list takes 33 for a moment.
    assert (created - before < 50, resident(operator) - before < 90) == (True, True), (before, created, resident(operator))
