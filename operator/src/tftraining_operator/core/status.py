"""The whole status of a job, made of its situation: never longer than the schema allows, whatever a pod reports."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec
from tftrainer.messages import contract

from tftraining_operator.api.status import ATTEMPTS_LIMIT, MESSAGE_LIMIT, Phase
from tftraining_operator.core import claims, names, pins, recorded
from tftraining_operator.core.attempts import Attempt, Replica
from tftraining_operator.core.causes import Verdict
from tftraining_operator.core.conditions import conditions, rfc3339
from tftraining_operator.core.observe import mapping, text, timestamp
from tftraining_operator.core.pending import Pending
from tftraining_operator.core.recorded import Check, Ending
from tftraining_operator.core.records import JobRecord, PodRecord, Raw
from tftraining_operator.core.reports import published, report
from tftraining_operator.core.situation import Situation
from tftraining_operator.core.words import line, plain, sentence

_SHOWN_NOTES: Final = 4
"""How many of the notes of a run its message has room for: the newest."""
_LEFT: Final = ("resolvedArgs", "fetched", "logs", "outputs", "model", "checkpoint")


def render(situation: Situation, job: JobRecord, now: float, runtime: str, ended: Raw) -> dict[str, Any]:
    """Return the status that the job should have; `runtime` is empty where nobody can tell which it would be.

    `ended` are the fields about attempts that have ended.
    """
    number, pod, left = situation.attempt.number, situation.attempt.chief.last, _last(situation)
    found: dict[str, Any] = {
        "observedGeneration": job.generation,
        "phase": situation.phase.value,
        "message": _message(situation),
        "attempt": number,
        "runtime": runtime,
        "startTime": _time(_started(pod, contract.FETCH), job.status, "startTime", situation),
        "runningTime": _time(_started(pod, contract.TRAINER), job.status, "runningTime", situation),
        "completionTime": rfc3339(min(situation.ended_at or now, now)) if situation.finished else None,
        "conditions": conditions(situation, job.status, now),
        **_replicas(situation),
        **_tried(situation, job.status),
        "ending": _ending(situation.ending),
        "pending": _pending(situation.pending),
        "preflight": _check(situation.check),
        "failure": _failure(situation.verdict, number) if situation.finished else None,
        "stop": {"reason": situation.reason} if situation.phase is Phase.STOPPED else None,
        "notes": [{"reason": note.reason.value, "message": line(note.message)} for note in situation.notes],
        "code": pins.render(job, _fetched(left) or situation.checked),
        **_left(left, situation, job),
        **ended,
    }
    cleaned: dict[str, Any] = _clean(found)
    return cleaned


def _message(situation: Situation) -> str:
    """Return the message, at an end with what there is to say of the outputs, for which there is always room: `failure` has the rest."""
    if situation.phase is Phase.RUNNING:
        return sentence(situation.message, *(note.message for note in situation.notes[-_SHOWN_NOTES:]))
    note = sentence(situation.note) if situation.finished else ""
    if not note:
        return situation.message
    room = MESSAGE_LIMIT - len(note) - 1
    before = situation.message if len(situation.message) <= room else f"{situation.message[: room - 1]}…"
    return f"{before} {note}"


def _started(pod: PodRecord | None, name: str) -> float | None:
    container = pod.container(name) if pod is not None else None
    return container.started_at if container is not None else None


def _time(seen: float | None, previous: Raw, field: str, situation: Situation) -> str | None:
    if seen is not None:
        return rfc3339(seen)
    # Of a pod that is gone without a trace, our own earlier word is all there is.
    kept = text(previous.get(field)) if situation.attempt.chief.last is None and situation.finished else ""
    return kept if timestamp(kept) is not None and len(kept) <= 32 else None


def _replicas(situation: Situation) -> dict[str, Any]:
    """Return the pods of the attempt, and of several how many of each role do what."""
    attempt = situation.attempt
    pods = [(replica, replica.last) for replica in attempt.replicas if replica.last is not None]
    if attempt.alone:
        return {"pods": [_pod(pod) for _, pod in pods]}
    over = situation.finished or situation.ending is not None
    succeeds = situation.decided or situation.phase is Phase.SUCCEEDED
    states = {each.name: _state(each, over=over, succeeds=succeeds) for each in attempt.replicas}
    told = [
        {
            **_pod(pod),
            **({"phase": claims.ENDED_WITH_JOB} if states[each.name] == "ended" else {}),
            "role": each.role,
            "index": each.index,
            "reason": situation.reasons.get(each.name),
        }
        for each, pod in pods
    ]
    # After its end in good order nobody may remember a pod but the status.
    told += [
        {"name": each.name, "phase": each.recorded, "role": each.role, "index": each.index}
        for each in attempt.replicas
        if succeeds and each.last is None and each.recorded in {claims.ENDED_WELL, claims.ENDED_WITH_JOB}
    ]
    groups: dict[str, Counter[str]] = {}
    for each in attempt.replicas:
        groups.setdefault(each.role, Counter())[states[each.name]] += 1
    return {"pods": told, "replicas": {role: dict(counts) for role, counts in groups.items()}}


def _state(replica: Replica, *, over: bool, succeeds: bool) -> str:
    """Return what a replica does, as the counts of the status name it.

    `over` tells that all are being ended; `succeeds`, that those which nobody needs any more are, or have been.
    """
    if replica.ended_well:
        return "succeeded"
    if replica.pod is not None and not claims.ended(replica.pod):
        return "ended" if over or (succeeds and replica.role != names.EVALUATOR) else "active" if any(replica.stage) else "pending"
    if succeeds and replica.recorded == claims.ENDED_WITH_JOB:
        return "ended"
    return "failed" if replica.existed else "pending"


def _pod(pod: PodRecord) -> dict[str, Any]:
    return {"name": pod.name, "phase": _pod_phase(pod), "node": pod.node[:253]}


def _pod_phase(pod: PodRecord) -> str:
    """Return the phase that follows from the containers: the kubelet writes the pod's own up to two seconds after they have ended."""
    codes = {container.name: container.exit_code for container in pod.containers if container.state == "terminated"}
    if codes.get(contract.FETCH, 0) != 0:
        return "Failed"
    if contract.TRAINER in codes and contract.PUBLISHER in codes:
        return "Succeeded" if codes[contract.TRAINER] == codes[contract.PUBLISHER] == 0 else "Failed"
    return pod.phase


def _tried(situation: Situation, previous: Raw) -> dict[str, Any]:
    """Return what is known of earlier attempts and of the retry that the current one is."""
    again, restart = situation.again, situation.restart or recorded.restart(previous)
    attempts = [each.model_dump(by_alias=True, exclude_defaults=True, mode="json") for each in recorded.attempts(previous)]
    if again is not None and situation.before is not None and situation.verdict is not None:
        attempts.append(_failed_attempt(situation.before, situation.verdict, situation.ended_at))
        restart = again.restart
    if restart is not None and restart.attempt != situation.attempt.number:
        restart = None
    used = again.used if again is not None else recorded.retries(previous)
    # A node that is silent meanwhile is not why the attempt failed, nor is a suspension.
    kept = situation.lost or situation.ending is not None
    why = text(mapping(previous.get("restart")).get("reason")) if kept else situation.reason
    why = why if situation.phase is Phase.RESTARTING else ""
    since = rfc3339(restart.waiting_since) if restart is not None and restart.waiting_since is not None else None
    told = (
        {
            "attempt": restart.attempt,
            "at": rfc3339(restart.at),
            "begun": restart.begun or None,
            "reason": why or None,
            "waitingSince": since,
        }
        if restart
        else None
    )
    return {
        "attempts": attempts[-ATTEMPTS_LIMIT:],
        "retries": {budget.value: count for budget, count in used.items() if count},
        "restart": told,
    }


def _failed_attempt(attempt: Attempt, verdict: Verdict, ended_at: float | None) -> dict[str, Any]:
    failed = _failure(verdict, attempt.number) or {}
    last = attempt.with_pod(verdict.pod).last
    final = report(last.container(contract.PUBLISHER), contract.PublishReport) if last is not None else None
    return {
        **{field: failed[field] for field in ("attempt", "cause", "reason", "message", "exception", "file", "line", "exitCode", "pod")},
        "logs": final.logs_uri if final is not None else "",
        "endedAt": rfc3339(ended_at) if ended_at is not None else None,
    }


def _ending(ending: Ending | None) -> dict[str, Any] | None:
    return None if ending is None else {"attempt": ending.attempt, "because": ending.because.value, "since": rfc3339(ending.since)}


def _check(check: Check | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return {"result": check.result.value, "message": check.message, "lastUpdateTime": rfc3339(check.at)}


def _pending(pending: Pending | None) -> dict[str, Any] | None:
    if pending is None:
        return None
    told_at = rfc3339(pending.told_at) if pending.told_at is not None else None
    return {"reason": pending.reason, "message": pending.message[:MESSAGE_LIMIT], "lastUpdateTime": told_at}


def _failure(verdict: Verdict | None, attempt: int) -> dict[str, Any] | None:
    if verdict is None:
        return None
    failure = verdict.failure
    return {
        "cause": verdict.cause.value,
        "reason": failure.reason.value,
        "message": line(failure.message),
        "hint": line(failure.hint),
        "exitCode": verdict.exit_code,
        "exception": line(failure.exception),
        "file": line(failure.file),
        "line": failure.line,
        "traceback": plain(failure.traceback),
        "attempt": attempt,
        "pod": verdict.pod,
    }


def _last(situation: Situation) -> PodRecord | None:
    """Return the pod of the attempt, or of the one before one that is still to come."""
    return situation.attempt.chief.last or (situation.before.chief.last if situation.before is not None else None)


def _left(pod: PodRecord | None, situation: Situation, job: JobRecord) -> dict[str, Any]:
    """Return what the pod has left behind."""
    if pod is not None:
        return _reported(pod, job, situation.saved)
    waited = situation.phase is Phase.FAILED and recorded.awaited(job.status)
    return _kept(job.status) if waited or situation.phase in {Phase.SUSPENDED, Phase.RESTARTING, Phase.STOPPED} else {}


def _kept(previous: Raw) -> dict[str, Any]:
    """Return what the status says already of a pod that nobody remembers, as far as it could be our own word."""
    found: dict[str, Any] = recorded.part(previous, *_LEFT).model_dump(by_alias=True, exclude_unset=True, mode="json")
    return found


def _reported(pod: PodRecord, job: JobRecord, saved: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    fetched = _fetched(pod)
    if fetched is not None:
        found["resolvedArgs"] = list(fetched.resolved_args[:256])
        if fetched.failure is None:
            found["fetched"] = {
                "objects": fetched.objects,
                "bytes": fetched.bytes,
                "durationSeconds": round(fetched.seconds),
            }
    final = report(pod.container(contract.PUBLISHER), contract.PublishReport)
    place = (final.logs_uri if final is not None else "") or (fetched.logs_uri if fetched is not None else "")
    found["logs"] = {"uri": place} if place else None
    found["checkpoint"] = {
        "restored": line(fetched.restored) if fetched is not None else None,
        # Of a publisher that could not do its work, what was told before is all there is.
        "saved": line(final.checkpoint if final is not None and final.manifest_uri else saved),
    }
    if published(pod, job.key.namespace, job.key.name, job.uid) is not None and final is not None:
        found["outputs"] = {
            "manifest": final.manifest_uri,
            "sha256": final.manifest_sha256,
            "objects": final.objects,
            "bytes": final.bytes,
            "skipped": final.skipped or None,
            "kept": final.kept or None,
        }
        found["model"] = None if final.model is None else msgspec.to_builtins(final.model)
    return found


def _fetched(pod: PodRecord | None) -> contract.FetchReport | None:
    return report(pod.container(contract.FETCH), contract.FetchReport) if pod is not None else None


def _clean(value: Any) -> Any:
    """Drop what is empty, and what no API server takes: the result is exactly what the server will send back."""
    if isinstance(value, dict):
        cleaned = {key: _clean(item) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if item not in (None, "", [], {})}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
