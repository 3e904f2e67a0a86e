"""The table and the raw figures of a run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence

from measures import NO_TARGET, Measure

_HEAD = """# Benchmarks

Written by `make bench`; all that was seen is in [benchmarks.json](benchmarks.json).
The operator's real process works against a real etcd and API server of its own on the loopback. Pods are played: no kubelet is measured.
Baselines ran in the same run on the same machine: on another one the ratios hold, not the figures.
"""


def table(measures: Sequence[Measure]) -> str:
    """Return the measures as a Markdown table."""
    lines = ["| | Measure | tftraining | Beside it | Target | |", "|---|---|---:|---|---|---|"]
    lines += [
        f"| {each.number} | {each.title} | {_number(each.ours)} {each.unit} | {_beside(each)} | {each.target} | {_verdict(each)} |"
        for each in measures
    ]
    return "\n".join(lines)


def page(measures: Sequence[Measure], machine: Mapping[str, str]) -> str:
    """Return the whole page."""
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    return f"{_HEAD}\n{facts}\n\n{table(measures)}\n"


def raw(measures: Iterable[Measure], machine: Mapping[str, str]) -> str:
    """Return everything as JSON, numbers with four digits."""
    rows = [dataclasses.asdict(each) for each in measures]
    return json.dumps({"machine": dict(machine), "measures": [_rounded(row) for row in rows]}, indent=None, separators=(",", ":")) + "\n"


def _beside(measure: Measure) -> str:
    return ", ".join(
        f"{title} {_number(value)} (ratio {_number(measure.ours / value)})" if value else f"{title} 0"
        for title, value in measure.baselines.items()
    )


def _verdict(measure: Measure) -> str:
    return "" if measure.target == NO_TARGET else ("met" if measure.met else "**not met**")


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
