"""What the check of a job that waits leaves in the bucket for its run: that it could be written, and the code that it has seen."""

from __future__ import annotations

from typing import Final

import msgspec

from tftrainer.messages import manifest
from tftrainer.messages.contract import CodePins, Message, Plan, Reason
from tftrainer.phase_error import PhaseError
from tftrainer.storage.interface import Store

CHECK_NAME: Final = "check.json"
LIMIT: Final = 256 * 1024


class Check(Message, frozen=True):
    """The record of a job's check: `pins` is the code, None where the check has not come to its end."""

    job: str
    uid: str
    pins: CodePins | None = None


def held(plan: Plan, store: Store) -> Plan:
    """Return the plan, held to the code that a check of the job has found in order where that may be and no attempt has run.

    Raises:
        PhaseError: `CodeChanged`, something else lies in its place; or what the store says.
    """
    data = store.read(_key(plan, store), LIMIT) if plan.checked_before and plan.pins is None else None
    if data is None:
        return plan
    try:
        found = msgspec.json.decode(data, type=Check)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = None
    if found is None or found.uid != plan.uid:
        raise PhaseError(
            Reason.CODE_CHANGED,
            f"{store.uri(_key(plan, store))} is not what the check of this job has left",
            "create a new job; nothing but this product may write below .tftraining/",
        )
    return msgspec.structs.replace(plan, pins=found.pins)


def leave(plan: Plan, store: Store, found: CodePins | None) -> None:
    """Write down the code that was found in order, or without any, that the bucket can be written: the run is held to it.

    Raises:
        PhaseError: what the store says.
    """
    check = Check(job=f"{plan.namespace}/{plan.job}", uid=plan.uid, pins=found)
    store.write(_key(plan, store), msgspec.json.encode(check))


def _key(plan: Plan, store: Store) -> str:
    return store.credentials.key(manifest.job_folder(plan) + CHECK_NAME)
