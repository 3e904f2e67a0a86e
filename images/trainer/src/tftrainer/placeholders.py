"""Placeholders: `${bucket}`, `${datasets}`, `${inputs.NAME}`, `${job}` and `${attempt}`.

All of them stand in arguments and environment values, the last two in the keys of URIs as well. `$${` is a literal `${`. Pure: the
operator resolves environment values and URIs with the same functions.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Final, TypeVar

from msgspec.structs import replace

from tftrainer import uri
from tftrainer.messages import contract
from tftrainer.messages.contract import Input, Output, Plan, Reference, WantedCheckpoints, WantedModel

SHARED: Final = (
    "checkpoints are uploaded while the script runs, a model only once it has been loaded, so the model's folder cannot be that of the "
    "checkpoints: take a folder in it or beside it"
)
OF_ONE_ATTEMPT: Final = "must be the same for every attempt, which goes on from where the one before it got: write it without ${attempt}"
PartT = TypeVar("PartT", Reference, Input, Output, WantedModel, WantedCheckpoints)
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
    return _replaced(text, values(plan, workspace))


def in_uris(plan: Plan, *, strict: bool = True) -> Plan:
    """Return the plan with the placeholders in the keys of its URIs replaced, and the script's name where a URI gives it.

    Without `strict`, for a job that was accepted when these rules were not there, what is wrong is taken as it is written.

    Raises:
        PlaceholderError: one is unknown or not closed, or the key that comes of it is none; or the model and the checkpoints would share
            a folder, or no two attempts would the checkpoints'. The text names the field.
    """

    def named(field: str, text: str, *, whole: bool = False) -> str:
        # The first slash after position 5 ends the bucket, also where that is a placeholder.
        start = text.find("/", 5) + 1
        try:
            found = text[:start] + _replaced(text[start:], {"job": plan.job, "attempt": str(plan.attempt)}, strict=strict)
            uri.parse(found, whole=whole)
        except ValueError as error:
            raise PlaceholderError(f"{field}: {error}") from None
        return found

    def of(each: PartT, field: str) -> PartT:
        if isinstance(each, Reference | Input):
            return replace(each, uri=named(field, each.uri, whole=isinstance(each, Input)))
        return replace(each, path=named(field, each.path))

    script = plan.script
    if script.uri is not None:
        found = named("spec.script.uri", script.uri)
        script = replace(script, uri=found, name=found.rpartition("/")[2])
    if strict and plan.checkpoints and with_attempt(plan.checkpoints.path, plan.attempt) != plan.checkpoints.path:
        raise PlaceholderError(f"spec.checkpoints.path is {plan.checkpoints.path!r}, but it {OF_ONE_ATTEMPT}")
    done = replace(
        plan,
        script=script,
        archive=of(plan.archive, "spec.dependencies.archive.uri") if plan.archive else None,
        files=tuple(of(each, f"spec.dependencies.files[{index}].uri") for index, each in enumerate(plan.files)),
        inputs=tuple(of(each, f"spec.inputs[{each.name}].uri") for each in plan.inputs),
        outputs=tuple(of(each, f"spec.outputs[{index}].path") for index, each in enumerate(plan.outputs)),
        model=of(plan.model, "spec.model.path") if plan.model else None,
        checkpoints=of(plan.checkpoints, "spec.checkpoints.path") if plan.checkpoints else None,
    )
    folders = {uri.parse(each.path).key.rstrip("/") for each in (done.model, done.checkpoints) if each is not None}
    if strict and done.model and done.checkpoints and len(folders) == 1:
        raise PlaceholderError(f"spec.checkpoints.path is {done.checkpoints.path!r}, and spec.model.path {done.model.path!r}: {SHARED}")
    return done


def with_attempt(text: str, attempt: int) -> str:
    """Return a text with `${attempt}` replaced and every other placeholder as it was."""
    return _PLACEHOLDER.sub(lambda match: str(attempt) if match.group() == "${attempt}" else match.group(), text)


def _replaced(text: str, known: Mapping[str, str], *, strict: bool = True) -> str:
    def replacement(match: re.Match[str]) -> str:
        found = match.group()
        if found == "$${":
            return "${"
        name = match.group(1)
        if not strict and name not in known:
            return found
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
