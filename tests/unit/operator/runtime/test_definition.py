"""What an older definition keeps the operator from: nothing, unless what it writes itself would be lost."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from tftraining_operator.api import crd
from tftraining_operator.core import definition
from tftraining_operator.runtime.definition import wait_until_it_fits
from tftraining_operator.runtime.health import ProcessState
from tftraining_operator.runtime.lease import Lease

from .board import Board


@pytest.mark.parametrize(("part", "field", "waits"), [("status", "attempt", True), ("spec", "retry", False)])
async def test_only_a_definition_that_lacks_fields_of_the_status_is_waited_for(part: str, field: str, waits: bool) -> None:
    schema: Any = copy.deepcopy(crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    del schema["properties"][part]["properties"][field]
    kind = {"group": "tftraining.dev", "version": "v1alpha1", "kind": "TFTrainingJob"}
    board, clock = Board(), asyncio.get_running_loop().time
    board.objects[definition.PATH] = {"components": {"schemas": {"job": {**schema, "x-kubernetes-group-version-kind": [kind]}}}}
    state = ProcessState(Lease(board, "n", "l", "me", clock, clock))
    waiting = asyncio.create_task(wait_until_it_fits(board, state, "-n x deploy/y"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert (waiting.done(), f"lacks {part}.{field}" in state.waits_for) == (not waits, waits)
    waiting.cancel()
