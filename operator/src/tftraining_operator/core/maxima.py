"""What of a job is more than an admin lets one job have."""

from __future__ import annotations

from collections.abc import Iterator

from tftraining_operator.api.quantities import exact
from tftraining_operator.api.spec import Budget
from tftraining_operator.core.configuration import Configuration, Maxima
from tftraining_operator.core.effective import Effective


def exceeded(wanted: Effective, maxima: Maxima) -> Iterator[str]:
    """Yield each field that is over its bound: the field, what the job asks for, the value of the chart and what that allows."""
    for name in ("cpu", "memory", "workspace"):
        asked, most = getattr(wanted, name), getattr(maxima, name)
        if most and exact(asked) > exact(most):
            yield _over(f"resources.{name}", asked, name, most)
    spec = wanted.spec
    said = (
        ("resources.gpus", wanted.gpus, "gpus", maxima.gpus),
        ("activeDeadlineSeconds", spec.active_deadline_seconds, "activeDeadlineSeconds", maxima.active_deadline_seconds),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished, "ttlSecondsAfterFinished", maxima.ttl_seconds_after_finished),
        # A budget that the job does not name is ours to cut.
        *((f"retry.{each}", spec.retry.named(each), "retries", maxima.retries) for each in Budget),
    )
    for field, number, name, limit in said:
        if number is not None and limit is not None and number > limit:
            yield _over(field, number, name, limit)


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
