"""Placeholders of arguments and environment values: `${bucket}`, `${datasets}`, `${inputs.NAME}`, `${job}`, `${attempt}`.

`$${` stands for a literal `${`. Pure: the operator resolves environment values with the same function.
"""

from __future__ import annotations

import difflib
import re
from typing import Final

from tftrainer import contract
from tftrainer.contract import Plan

_PLACEHOLDER: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")


class PlaceholderError(ValueError):
    """A placeholder that does not exist. Its text names it and lists those that do."""


def values(plan: Plan, workspace: str = contract.WORKSPACE) -> dict[str, str]:
    """Return what each placeholder of the job stands for. Paths lie below `workspace`."""
    bucket, datasets, inputs = (
        workspace + path.removeprefix(contract.WORKSPACE) for path in (contract.BUCKET, contract.DATASETS, contract.INPUTS)
    )
    return {
        "bucket": bucket,
        "cos": bucket,
        "datasets": datasets,
        "ai_dataset_lib": datasets,
        "job": plan.job,
        "attempt": str(plan.attempt),
        **{f"inputs.{each.name}": f"{inputs}/{each.name}" for each in plan.inputs},
    }


def resolve(text: str, plan: Plan, workspace: str = contract.WORKSPACE) -> str:
    """Return the text with its placeholders replaced; everything else stays as it is, `$NAME` and `$(NAME)` too.

    Raises:
        PlaceholderError: a placeholder is unknown or not closed.
    """
    known = values(plan, workspace)

    def replacement(match: re.Match[str]) -> str:
        found = match.group()
        if found == "$${":
            return "${"
        name = match.group(1)
        if name is None:
            raise PlaceholderError(f"{text!r} opens a placeholder that is not closed; write $${{ for a literal ${{")
        if name not in known:
            close = difflib.get_close_matches(name.lower(), known, 1, 0.6)
            meant = f", did you mean ${{{close[0]}}}?" if close else ""
            raise PlaceholderError(
                f"placeholder {found} in {text!r} is unknown{meant or ','} expected one of: {', '.join(f'${{{each}}}' for each in known)}; "
                "write $${ for a literal ${"
            )
        return known[name]

    return _PLACEHOLDER.sub(replacement, text)
