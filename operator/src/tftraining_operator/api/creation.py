"""What a spec has to keep only when its job is created: rules that came later than jobs which run, or wait suspended.

An API server asks every rule of the spec anew at each write of a status, and before Kubernetes 1.33 it makes no exception there for what
did not change: a job that breaks such a rule could never end. So these are for jobs that no operator has taken up yet. The operator
makes the same checks when it builds a job's first pod (`tftrainer.placeholders`).
"""

from __future__ import annotations

from typing import Any, Final

from tftraining_operator.api.rules import VALIDATIONS, quoted

# Read as: the place; no dollar; two or more and a brace, which is literal; a known placeholder; dollars before something else.
_KEY: Final = r"([$][{][a-z_]*[}])?([^$]|[$]{2,}[{]|[$][{](job|attempt)[}]|[$]+[^${]|[$]+$)*"
_OF_ONE_ATTEMPT: Final = r"(.*[^$])?[$][{]attempt[}].*"
UNKNOWN: Final = "unknown placeholder; known after the bucket are ${job} and ${attempt}; $${ is a literal ${"
SAME_FOR_ALL: Final = "must be the same for every attempt, which goes on from where the one before it got: without ${attempt}"
SHARED_FOLDER: Final = (
    "checkpoints.path must not be model.path: checkpoints are uploaded while the script runs, a model only once it has been loaded. Take "
    "a folder in it or beside it"
)
_TAKEN_UP: Final = "has(self.status) && has(self.status.observedGeneration) && self.status.observedGeneration > 0"
"""What a status is created with says -1, and who creates a job cannot say otherwise."""


def validations() -> dict[str, Any]:
    """Return the rules, to be checked at the job's root."""
    rules = [
        *(_known(field) for field in ("script.uri", "dependencies.archive.uri", "model.path", "checkpoints.path")),
        *(_all_known(field, key) for field, key in (("dependencies.files", "uri"), ("inputs", "uri"), ("outputs", "path"))),
        _rule(
            f"!has(self.spec.checkpoints) || !self.spec.checkpoints.path.matches({quoted(f'^(?s:{_OF_ONE_ATTEMPT})$')})",
            SAME_FOR_ALL,
            "checkpoints.path",
        ),
        _rule(
            "!has(self.spec.checkpoints) || !has(self.spec.model) || "
            f"{_folder('self.spec.checkpoints.path')} != {_folder('self.spec.model.path')}",
            SHARED_FOLDER,
            "checkpoints.path",
        ),
    ]
    return {VALIDATIONS: rules}


def _matches(text: str) -> str:
    return f"{text}.matches({quoted(f'^(?s:{_KEY})$')})"


def _present(field: str) -> str:
    """Return the condition under which a field of the spec can be asked."""
    parts = field.split(".")
    return " && ".join(f"has(self.spec.{'.'.join(parts[:end])})" for end in range(1, len(parts) + 1))


def _known(field: str) -> dict[str, str]:
    return _rule(f"!({_present(field)}) || {_matches(f'self.spec.{field}')}", UNKNOWN, field)


def _all_known(field: str, key: str) -> dict[str, str]:
    return _rule(f"!({_present(field)}) || self.spec.{field}.all(each, {_matches(f'each.{key}')})", UNKNOWN, field)


def _rule(condition: str, message: str, field: str) -> dict[str, str]:
    return {"rule": f"{_TAKEN_UP} || ({condition})", "message": message, "fieldPath": f".spec.{field}"}


def _folder(path: str) -> str:
    return f"({path}.replace('${{cos}}/', '${{bucket}}/', 1) + ({path}.endsWith('/') ? '' : '/'))"
