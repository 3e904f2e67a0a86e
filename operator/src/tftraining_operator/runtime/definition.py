"""The first thing that is asked of the API server: whether the definition is there, with every field that the operator writes."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import structlog

from tftraining_operator.core import definition
from tftraining_operator.kube.client import KubeApi
from tftraining_operator.kube.errors import ApiError, NotFoundError
from tftraining_operator.runtime.health import ProcessState

_log = structlog.get_logger()
_PAUSE_SECONDS = 2.0


async def wait_until_it_fits(api: KubeApi, state: ProcessState, deployment: str) -> None:
    """Return once the served definition can be worked with; until then say in the log, and to who asks for readiness, what to do.

    `deployment` is the operator's own, as kubectl takes it: `-n NAMESPACE deploy/NAME`.
    """
    while complaint := await _complaint(api, deployment):
        if complaint != state.waits_for:
            _log.error("the definition does not fit", error=complaint)
        state.waits_for = complaint
        await asyncio.sleep(_PAUSE_SECONDS)
    state.waits_for = ""


async def _complaint(api: KubeApi, deployment: str) -> str:
    try:
        differences = definition.compare(await api.get(definition.PATH))
    except NotFoundError:
        return definition.absent(deployment)
    except ApiError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            # A cluster that hides its OpenAPI from service accounts: then nobody can tell.
            _log.warning("the definition cannot be checked", error=str(error))
            return ""
        return f"the definition cannot be read yet: {error}"
    if differences is None:
        return definition.absent(deployment)
    if any(field.startswith("status") for field in differences.missing):
        return definition.outdated(differences.missing, deployment)
    if differences.missing:
        _log.warning("the definition is older", error=definition.narrower(differences.missing, deployment))
    if differences.unknown:
        _log.warning("the definition is newer", error=definition.newer(differences.unknown))
    return ""
