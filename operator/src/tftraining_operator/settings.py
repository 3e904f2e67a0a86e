"""What an admin configures: read once at start from the file that the chart writes, frozen afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from tftraining_operator.core.configuration import Configuration
from tftraining_operator.core.maxima import exceeded_by_configuration

Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
LeaseName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]


class SettingsError(ValueError):
    """The configuration cannot be used. The text names file, field, value and what was expected."""


class Settings(Configuration):
    """The operator's configuration: that of jobs, and what the process itself needs.

    `watch_namespaces` empty means all. `metrics_namespaces` is how many namespaces have a label of their own in metrics.
    """

    watch_namespaces: tuple[Namespace, ...] = ()
    lease_namespace: Namespace = "tftraining-system"
    lease_name: LeaseName = "tftraining-operator"
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    metrics_namespaces: int = Field(default=0, ge=0)
    http_address: str = "0.0.0.0"  # noqa: S104  a container's probes come from outside of it
    http_port: int = Field(default=8080, ge=1, le=65535)


def load_settings(path: Path) -> Settings:
    """Read the configuration file.

    Raises:
        SettingsError: the file cannot be read, is not YAML, or breaks the model; every finding is named.

    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        findings = "; ".join(map(_finding, error.errors(include_url=False)))
        raise SettingsError(f"{path}: {findings}") from error
    if settings.default_runtime not in settings.runtimes:
        known = ", ".join(sorted(settings.runtimes))
        raise SettingsError(f"{path}: defaultRuntime: {settings.default_runtime!r} is not in runtimes ({known})")
    wrong = [*exceeded_by_configuration(settings), *_images_of_no_runtime(settings)]
    if wrong:
        raise SettingsError(f"{path}: {'; '.join(wrong)}")
    return settings


def _images_of_no_runtime(settings: Settings) -> Iterator[str]:
    known = ", ".join(sorted(settings.runtimes))
    for name, size in settings.resource_classes.items():
        yield from (
            f"resourceClasses.{name}.images: {each!r} is not in runtimes ({known})" for each in size.images.keys() - settings.runtimes
        )


def _finding(item: ErrorDetails) -> str:
    value = item["input"]
    given = f", not {value!r:.100}" if isinstance(value, str | int | float | None) else ""
    return f"{'.'.join(map(str, item['loc'])) or '(whole file)'}: {item['msg']}{given}"
