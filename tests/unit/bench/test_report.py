"""The table says what was measured, beside what, and whether that was wanted."""

from __future__ import annotations

import json

import pytest
from measures import NO_TARGET, Measure
from report import page, raw, table


@pytest.mark.parametrize(
    ("measure", "row"),
    [
        (
            Measure("B1", "create to pod", "ms", 16.24, "≤ 20", met=True, baselines={"bare": 8.12}),
            "| B1 | create to pod | 16.2 ms | bare 8.12 (ratio 2) | ≤ 20 | met |",
        ),
        (Measure("B3", "lives", "jobs/s", 12.0, "≥ 40", met=False), "| B3 | lives | 12 jobs/s |  | ≥ 40 | **not met** |"),
        (Measure("B5", "time", "ms", 9.8, NO_TARGET, met=True), "| B5 | time | 9.8 ms |  | none |  |"),
        (
            Measure("B8", "writes", "requests", 0, "0", met=True, baselines={"other": 0.0}),
            "| B8 | writes | 0 requests | other 0 | 0 | met |",
        ),
    ],
)
def test_a_measure_is_a_row(measure: Measure, row: str) -> None:
    assert table([measure]).splitlines()[2] == row


def test_page_and_raw_figures_tell_the_machine_and_all_that_was_seen() -> None:
    measure = Measure("B1", "create to pod", "ms", 16.24, "≤ 20", met=True, raw={"tftraining": [1.23456, 2.0]})
    assert "- load: 0.10" in page([measure], {"load": "0.10"})
    stored = json.loads(raw([measure], {"load": "0.10"}))
    assert stored["machine"] == {"load": "0.10"}
    assert stored["measures"][0]["raw"] == {"tftraining": [1.235, 2.0]}
