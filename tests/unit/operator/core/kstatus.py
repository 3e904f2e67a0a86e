"""kstatus' rules for a custom resource, as Helm 4 and Flux ask them: cli-utils, pkg/kstatus/status, `generic.go` and `status.go`.

What is there for built-in kinds has no meaning for ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CURRENT, IN_PROGRESS, FAILED, TERMINATING = "Current", "InProgress", "Failed", "Terminating"


def kstatus(generation: int, status: Mapping[str, Any], *, deleted: bool = False) -> str:
    """Return what these tools take an object for."""
    if deleted:
        return TERMINATING
    if "observedGeneration" in status and status["observedGeneration"] != generation:
        return IN_PROGRESS
    conditions = [(each["type"], each["status"]) for each in status.get("conditions", [])]
    for kind, state in conditions:
        if (kind, state) == ("Reconciling", "True"):
            return IN_PROGRESS
        if (kind, state) == ("Stalled", "True"):
            return FAILED
    for kind, state in conditions:
        if kind == "Ready":
            return CURRENT if state == "True" else IN_PROGRESS
    return CURRENT
