"""What of a job is more than an admin lets one job have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal

from tftraining_operator.api.quantities import exact
from tftraining_operator.api.spec import Budget
from tftraining_operator.core.configuration import Configuration, Maxima
from tftraining_operator.core.effective import Effective


def exceeded(replicas: Sequence[Effective], maxima: Maxima) -> Iterator[str]:
    """Yield each field that is over its bound: the field, what the job asks for, the value of the chart and what that allows.

    A job has what all its replicas have together.
    """
    spec, all_of = replicas[0].spec, "" if len(replicas) == 1 else f" of all {len(replicas)} replicas together"
    for name in ("cpu", "memory", "workspace"):
        asked, most = [getattr(each, name) for each in replicas], getattr(maxima, name)
        if most and sum(map(exact, asked)) > exact(most):
            yield _over(f"resources.{name}{all_of}", _sum(name, asked), name, most)
    said = (
        (f"resources.gpus{all_of}", sum(each.gpus for each in replicas), "gpus", maxima.gpus),
        ("activeDeadlineSeconds", spec.active_deadline_seconds, "activeDeadlineSeconds", maxima.active_deadline_seconds),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished, "ttlSecondsAfterFinished", maxima.ttl_seconds_after_finished),
        # A budget that the job does not name is ours to cut.
        *((f"retry.{each}", spec.retry.named(each), "retries", maxima.retries) for each in Budget),
    )
    for field, number, name, limit in said:
        if number is not None and limit is not None and number > limit:
            yield _over(field, number, name, limit)


def _sum(name: str, asked: Sequence[str]) -> str:
    """Return what several replicas ask for together, as people write it."""
    if len(asked) == 1:
        return asked[0]
    total = sum(map(exact, asked), Decimal(0))
    return f"{total.normalize():f}" if name == "cpu" else f"{math.ceil(total / 1024**2)}Mi"


def exceeded_by_configuration(configuration: Configuration) -> Iterator[str]:
    """Yield what of defaults and classes is over its bound: no job that leaves the field out, or that names the class, could run."""
    for name in ("cpu", "memory", "workspace"):
        given, most = getattr(configuration.defaults.resources, name), getattr(configuration.maxima, name)
        if most and exact(given) > exact(most):
            yield f"defaults.resources.{name}: {given} is more than maxima.{name}, which allows {most}"
    for class_name, size in configuration.resource_classes.items():
        for name in ("cpu", "memory", "workspace", "gpus"):
            given, most = getattr(size, name), getattr(configuration.maxima, name)
            if given and most not in ("", None) and exact(str(given)) > exact(str(most)):
                yield f"resourceClasses.{class_name}.{name}: {given} is more than maxima.{name}, which allows {most}"


def _over(field: str, asked: str | int, name: str, most: str | int) -> str:
    return f"spec.{field} is {asked}, where maxima.{name} of the chart allows {most}"
