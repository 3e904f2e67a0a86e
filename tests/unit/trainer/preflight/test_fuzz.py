"""Half a minute of the fuzzing that `make fuzz` does for long, with another seed each time; FUZZ_SEED draws the same programs again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[3] / "fuzz" / "preflight.py"


@pytest.mark.thorough
def test_programs_of_a_grammar_are_refused_only_where_they_fail_and_cost_no_more_than_they_may() -> None:
    seed = ["--seed", os.environ["FUZZ_SEED"]] if "FUZZ_SEED" in os.environ else []
    ended = subprocess.run([sys.executable, FUZZ, "--seconds", "30", *seed], capture_output=True, text=True, check=False, timeout=200)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    counted = ended.stdout.split()
    programs, refused = int(counted[2]), int(counted[4])
    assert programs > 100
    assert refused > programs / 20
