"""What pre-flight has to say about the user's code."""

from __future__ import annotations

from dataclasses import dataclass, field

from tftrainer.messages.contract import Reason


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. `message` names what and where, `hint` what to do; `file` and `line` are of the user's code."""

    reason: Reason
    message: str
    hint: str
    file: str = ""
    line: int | None = None


@dataclass(slots=True)
class Findings:
    """All that was found: `errors` are certain and end the job, `warnings` are words for the log, `facts` what was checked, or not."""

    errors: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    def add(self, finding: Finding, *, certain: bool) -> None:
        """Keep a finding as an error if it is certain, else as a warning."""
        if certain:
            self.errors.append(finding)
        else:
            self.warnings.append(
                f"{finding.message}; nothing is refused, because it may be otherwise when the script runs; if not: {finding.hint}"
            )
