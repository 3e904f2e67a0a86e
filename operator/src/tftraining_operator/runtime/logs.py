"""The process's log: one line per decision that changed something, as JSON or for a person's eyes, on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from tftraining_operator.core.observe import text
from tftraining_operator.core.records import JobRecord

_log = structlog.get_logger()


def set_up(log_format: str, level: str) -> None:
    """Send our own log and that of the libraries through one formatter."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer = structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # kopf tells of each event that it hands on; what became of it is told by us.
    logging.getLogger("kopf").setLevel(max(logging.WARNING, root.level))
    logging.getLogger("aiohttp").setLevel(max(logging.WARNING, root.level))


def deleted(job: JobRecord) -> None:
    """Say that a job is there no more, and where it stood: whatever deleted it, its pods go too, and nobody asks the operator."""
    _log.info("deleted", namespace=job.key.namespace, job=job.key.name, uid=job.uid, phase=text(job.status.get("phase")))
