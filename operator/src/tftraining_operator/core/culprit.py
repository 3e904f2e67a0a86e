"""Which replica of several failed first and by itself, when all of them fail: the evidence that tells a culprit from its victims.

When a task of TensorFlow's is lost, its peers fail too, 0.1 to 31 s later, and louder. What tells them apart was measured with TensorFlow
2.15 and 2.21 (docs/design/0028-replicas.md): a victim raises `UnavailableError` or `DeadlineExceededError` with words of the runtime that
name the lost peer, and its container ends after the culprit's. Only where a peer hangs, or its node is lost, does the victim end first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from tftrainer.messages.contract import FETCH, TRAINER, Reason, RunReport

from tftraining_operator.core import causes, claims
from tftraining_operator.core.attempts import Replica
from tftraining_operator.core.case import Case
from tftraining_operator.core.causes import Verdict
from tftraining_operator.core.findings import Finding, Over
from tftraining_operator.core.records import PodRecord
from tftraining_operator.core.reports import report

PATIENCE_SECONDS: Final = 40.0
"""How long after the end of a victim the culprit's is waited for: victims ended up to 31 s apart, and nodes report late."""
_RAISED: Final = re.compile(r"\w*(?<!Connection)(?:Unavailable|DeadlineExceeded|Aborted|Cancelled|Internal)Error\b")
"""What TensorFlow raises; Python has a ConnectionAbortedError of its own, and a CancelledError that is no proof by itself."""
_LOST: Final = re.compile(
    r"Collective ops is aborted by|unhealthy \(stopped sending heartbeats\)|heartbeat timeout|Failed to send RPC to coordination service"
    r"|CoordinationService/|failed to connect to all addresses"
)
_DISCONNECTED: Final = re.compile(r"Socket closed|Connection reset by peer|Connection refused")
_TENSORFLOWS: Final = re.compile(r"/job:\w|(?i:grpc)|CoordinationService")
"""Words beside which a connection that ended is one between replicas: those of a script's own, as to a database, end in the same words."""
_BY_ITSELF: Final = frozenset({Reason.SCRIPT_RAISED, Reason.SCRIPT_EXITED, Reason.SCRIPT_CRASHED})
"""How a script ends that has lost a peer: scripts print what they catch and exit, or raise another exception from it."""
_PEER: Final = r"/job:(\w{1,16})(?:/replica:\d+)?/task:(\d{1,4})"
_NAMED: Final = (re.compile(rf"(?:Error reported from|remote target) {_PEER}"), re.compile(_PEER))
"""How a victim names the peer that it lost: in words that mean just that, else in any; TensorFlow names its own devices too."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One replica that is not what it should be: why, and since when (Unix seconds, None where nobody knows).

    `victim` tells that its script says itself that a peer was lost; `named` is that peer's role and index, None where it names none.
    """

    replica: Replica
    verdict: Verdict
    at: float | None
    victim: bool = False
    named: tuple[str, int] | None = None


def judged(case: Case) -> Finding | Over | None:
    """Return the end of the attempt by the replica that failed first and by itself, or when more is known of that; None without one."""
    losses = [loss for each in case.current.replicas if (loss := _loss(case, each)) is not None]
    if not any(_is_certain(loss) for loss in losses) or _publishes(case):
        return None
    culprits = [loss for loss in losses if not loss.victim]
    first = min(culprits or losses, key=lambda loss: case.now if loss.at is None else loss.at)
    until = min(case.now if loss.at is None else loss.at for loss in losses) + PATIENCE_SECONDS
    # A culprit's pod that publishes its log stays, once it has ended, for kubectl logs.
    awaited = case.current.alive if first.victim else [] if _is_certain(first) else [first]
    if awaited and case.now < until:
        return Finding(look_again_at=until)
    return _over(case, first, losses)


def _publishes(case: Case) -> bool:
    """Whether the chief's script has ended and what it wrote is on its way into the bucket: others are lost by its leaving, too."""
    trainer, pod = case.chief.publishing, case.chief.pod
    return trainer is not None and trainer.reason not in causes.NOT_STARTED and pod is not None and pod.deleted_at is None


def _loss(case: Case, replica: Replica) -> Loss | None:
    pod, last = replica.pod, replica.last
    if last is None:
        gone = replica.existed and (replica is case.chief or not replica.ended_well)
        return Loss(replica, causes.deleted(replica.name), None) if gone else None
    if replica.ended_well and not (replica is case.chief and claims.success(case.job, last) is None):
        return None
    wanted = case.wanted_of(replica)
    if pod is None:
        return Loss(replica, causes.vanished(last, wanted, case.now), _at(last))
    if replica.silent:
        silence = f"node {pod.node or 'unknown'} of pod {pod.name} does not answer"
        return Loss(replica, causes.verdict(Reason.NODE_LOST, silence, causes.RUN_AGAIN, pod=pod.name), pod.condition("Ready").since)
    trainer = pod.container(TRAINER)
    failed = trainer is not None and trainer.state == "terminated" and trainer.exit_code != 0
    if not (failed or claims.ended(pod) or pod.deleted_at is not None):
        return None
    ran = report(trainer, RunReport)
    told = ran.failure if ran is not None else None
    words = " ".join((told.exception, told.message, told.traceback)) if told is not None else ""
    victim = told is not None and told.reason in _BY_ITSELF and _lost_a_peer(words)
    return Loss(replica, causes.failed(pod, wanted), _at(pod), victim, _named(replica, words) if victim else None)


def _lost_a_peer(words: str) -> bool:
    if not _RAISED.search(words):
        return False
    return bool(_LOST.search(words) or (_DISCONNECTED.search(words) and _TENSORFLOWS.search(words)))


def _named(replica: Replica, words: str) -> tuple[str, int] | None:
    """Return the peer that a victim names, None where it names none but itself."""
    found = ((each[1], int(each[2])) for pattern in _NAMED for each in pattern.finditer(words))
    return next((peer for peer in found if peer != (replica.role, replica.index)), None)


def _is_certain(loss: Loss) -> bool:
    """Whether nothing of it runs any more."""
    return loss.replica.pod is None or claims.ended(loss.replica.pod)


def _at(pod: PodRecord) -> float | None:
    """Return when a replica was lost: when its script ended, or its fetch, or it was told to go."""
    disrupted = pod.condition("DisruptionTarget")
    told_to_go = disrupted.since if disrupted.status == "True" else pod.told_to_go_at
    ends = (each.finished_at for name in (TRAINER, FETCH) if (each := pod.container(name)) is not None and each.exit_code != 0)
    return min((each for each in (told_to_go, *ends) if each is not None), default=None)


def _over(case: Case, first: Loss, losses: Sequence[Loss]) -> Over:
    """Return the end of the attempt by one loss, in whose words the others are named."""
    if case.current.alone:
        return Over(first.verdict, deletions=case.current.lost())
    found = _of_victim(case, first) if first.victim else first.verdict
    others = [loss.replica.task for loss in losses if loss is not first]
    how, followed = ("failed first", f"; {_listed(others)} followed") if others and not first.victim else ("failed", "")
    words = f"{first.replica.task} {how}: {found.failure.message.rstrip('. ')}{followed}"
    failure = msgspec.structs.replace(found.failure, message=words[:1024])
    ended_at = claims.ended_at(first.replica.last) or first.at or case.now
    deletions = (*case.history.deletions(), *case.current.lost())
    reasons = {loss.replica.name: loss.verdict.failure.reason.value for loss in losses}
    return Over(replace(found, failure=failure, pod=first.replica.name), ended_at, deletions, reasons)


def _of_victim(case: Case, first: Loss) -> Verdict:
    """Return the verdict where there are victims only: on the peer that the first of them names, as far as anything is known of that."""
    failure = first.verdict.failure
    peer = next((each for each in case.current.replicas if (each.role, each.index) == first.named), None)
    if peer is not None and peer.ended_well:
        why = f"{peer.task} had ended with exit code 0 before: not all replicas do the same number of steps"
        return replace(first.verdict, failure=msgspec.structs.replace(failure, message=f"{failure.message.rstrip('. ')}; {why}"))
    who = f"it lost {peer.task}" if peer is not None else "it lost a peer that it does not name, mostly the one that coordinates the others"
    said = (failure.exception or failure.message)[:300]
    message = f"{who}, and nothing else shows why: that may have hung, or its node or the network was away ({said})"
    hint = f"look at kubectl logs {peer.name if peer is not None else case.chief.name}"
    return replace(causes.verdict(Reason.PEER_LOST, message, hint), exit_code=first.verdict.exit_code)


def _listed(tasks: Sequence[str]) -> str:
    shown = list(tasks[:4]) + ([f"{len(tasks) - 4} more"] if len(tasks) > 4 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
