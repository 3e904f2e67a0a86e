"""The whole status of a job, made of its situation: never longer than the schema allows, whatever a pod reports."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from tftrainer import contract

from tftraining_operator.api.status import MESSAGE_LIMIT, Phase, Status
from tftraining_operator.core import pins
from tftraining_operator.core.causes import Verdict, published, report
from tftraining_operator.core.conditions import conditions, rfc3339
from tftraining_operator.core.observe import mapping, text, timestamp
from tftraining_operator.core.pending import Pending
from tftraining_operator.core.records import JobRecord, PodRecord, Raw
from tftraining_operator.core.situation import Situation

_LEFT: Final = ("resolvedArgs", "fetched", "logs", "outputs", "model", "checkpoint")
_NUMBERS: Final = re.compile(r"[0-9]+")
_WORD: Final = re.compile(r"[a-z]+(?=[\s,;']|:(?!/)|$)")
_TERMINAL: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def render(situation: Situation, job: JobRecord, now: float, runtime: str) -> dict[str, Any]:
    """Return the status that the job should have; `runtime` is empty where nobody can tell which it would be."""
    steady = _steady(situation, job.status)
    pod = steady.pod
    found: dict[str, Any] = {
        "observedGeneration": job.generation,
        "phase": steady.phase.value,
        "message": steady.message,
        "attempt": steady.attempt,
        "runtime": runtime,
        "startTime": _time(_started(pod, contract.FETCH), job.status, "startTime", steady),
        "runningTime": _time(_started(pod, contract.TRAINER), job.status, "runningTime", steady),
        "completionTime": rfc3339(min(steady.ended_at or now, now)) if steady.finished else None,
        "conditions": conditions(steady, job.status, now),
        "pods": [_pod(pod)] if pod is not None else None,
        "pending": _pending(steady.pending),
        "failure": _failure(steady.verdict, steady.attempt),
        "code": pins.render(job, _fetched(pod)),
        **_left(steady, job),
    }
    cleaned: dict[str, Any] = _clean(found)
    return cleaned


def _steady(situation: Situation, previous: Raw) -> Situation:
    """Keep a pending message that differs in its numbers only: a scheduler counts nodes anew whenever one of them changes."""
    before = mapping(previous.get("pending"))
    found = situation.pending
    if found is None or text(before.get("reason")) != found.reason:
        return situation
    kept = text(before.get("message"), MESSAGE_LIMIT)
    if _NUMBERS.sub("", kept) != _NUMBERS.sub("", found.message):
        return situation
    message = sentence(kept) if situation.message == sentence(found.message) else situation.message
    return replace(situation, pending=replace(found, message=kept), message=message)


def sentence(*parts: str) -> str:
    """Return parts as sentences of one line, each with a capital at its start, unless a name such as `train.py` is there, and a stop."""
    ended = []
    for part in parts:
        stripped = line(part)
        if stripped:
            begin = stripped[0].upper() if _WORD.match(stripped) else stripped[0]
            ended.append(begin + stripped[1:] + ("" if stripped[-1] in ".!?" else "."))
    return " ".join(ended)[:MESSAGE_LIMIT]


def plain(text: str) -> str:
    """Return a text without what a terminal would obey: a library's colours, or somebody's mischief."""
    return _TERMINAL.sub("", text)


def line(text: str) -> str:
    """Return a text as one plain line."""
    return " ".join(plain(text).split())


def _started(pod: PodRecord | None, name: str) -> float | None:
    container = pod.container(name) if pod is not None else None
    return container.started_at if container is not None else None


def _time(seen: float | None, previous: Raw, field: str, situation: Situation) -> str | None:
    if seen is not None:
        return rfc3339(seen)
    # Of a pod that is gone without a trace, our own earlier word is all there is.
    kept = text(previous.get(field)) if situation.pod is None and situation.finished else ""
    return kept if timestamp(kept) is not None and len(kept) <= 32 else None


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


def _pending(pending: Pending | None) -> dict[str, Any] | None:
    return None if pending is None else {"reason": pending.reason, "message": pending.message[:MESSAGE_LIMIT]}


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


def _left(situation: Situation, job: JobRecord) -> dict[str, Any]:
    """Return what the attempt, or the one that was suspended, has left behind."""
    pod = situation.pod or situation.stopped
    if pod is not None:
        return _reported(pod, job)
    return _kept(job.status) if situation.phase is Phase.SUSPENDED else {}


def _kept(previous: Raw) -> dict[str, Any]:
    """Return what the status says already of a pod that nobody remembers, as far as it could be our own word."""
    try:
        left = Status.model_validate({field: previous[field] for field in _LEFT if field in previous})
    except (ValidationError, RecursionError):
        return {}
    found: dict[str, Any] = left.model_dump(by_alias=True, exclude_unset=True, mode="json")
    return found


def _reported(pod: PodRecord, job: JobRecord) -> dict[str, Any]:
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
        "saved": line(final.checkpoint) if final is not None else None,
    }
    if published(pod, job.key.namespace, job.key.name, job.uid) is not None and final is not None:
        found["outputs"] = {
            "manifest": final.manifest_uri,
            "sha256": final.manifest_sha256,
            "objects": final.objects,
            "bytes": final.bytes,
            "skipped": final.skipped or None,
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
