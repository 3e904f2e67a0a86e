"""The end of an attempt's right to write: another one has begun.

A pod whose node was away, or that was deleted by force, may live on where nobody sees it. What it wrote then would come over the
checkpoints, event files and outputs of the attempt that took its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tftrainer.messages import contract, manifest
from tftrainer.messages.contract import Plan, Reason
from tftrainer.phase_error import PhaseError

if TYPE_CHECKING:
    from tftrainer.storage.interface import Store

_LOOKS_AHEAD: Final = 3
"""Attempts after this one that are looked for: one that came to its end before it could leave its note does not hide the next."""
_NOTE_LIMIT: Final = 64 * 1024


def ensure_last(plan: Plan, store: Store) -> None:
    """Make sure, before something is written over, that no later attempt has left its note that it has begun.

    Runs without a cluster are nobody's successors: of two at a time none was given up.

    Raises:
        PhaseError: `PublishFailed`, one has; or what the store says.
    """
    if plan.is_local:
        return
    for attempt in range(plan.attempt + 1, plan.attempt + 1 + _LOOKS_AHEAD):
        folder = contract.run_prefix(plan.namespace, plan.job, plan.uid, attempt)
        # Read, as a look at what is missing has the bucket looked at too, which a key may have no right to.
        if store.read(store.credentials.key(folder + manifest.ATTEMPT_NAME), _NOTE_LIMIT) is not None:
            raise PhaseError(
                Reason.PUBLISH_FAILED,
                f"attempt {attempt} of the job has begun: nothing of attempt {plan.attempt} is written any more",
                "the operator has given this pod up; what counts is what the later attempt publishes",
            )
