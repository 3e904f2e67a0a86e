"""What running pods tell of themselves, through a real API server that says whose a token is."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest
from control import Operator, Played, until
from faults import Fault, FaultProxy
from played_kubelet import Object
from tftrainer.messages.contract import REPORTS_AUDIENCE, LiveReport, Note, NoteReason

KILLED = Note(
    reason=NoteReason.PROCESS_OUT_OF_MEMORY,
    message="the kernel killed a process of the script for want of memory: raise spec.resources.memory",
)


def token_of(played: Played, pod: Object | None, audience: str = REPORTS_AUDIENCE) -> str:
    """Return a token as the kubelet would put it into a pod, or one that is of no pod."""
    metadata = pod["metadata"] if pod is not None else {}
    bound = {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}} if pod else {}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [audience], **bound}}
    answer = played.call("POST", f"/api/v1/namespaces/{played.namespace}/serviceaccounts/default/token", body)
    return str(answer["status"]["token"])


def send(operator: Operator, token: str, body: bytes) -> tuple[int, str, Any]:
    """Return status, text and headers of the operator's answer."""
    url, headers = f"http://127.0.0.1:{operator.port}/v1/reports", {"Authorization": f"Bearer {token}"} if token else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, body, headers, method="POST"), timeout=10) as answer:
            return answer.status, "", answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def encoded(*notes: Note, checkpoint: str = "") -> bytes:
    return msgspec.json.encode(LiveReport(notes=notes, checkpoint=checkpoint))


def saved(played: Played) -> str:
    """Return the checkpoint that the job's status tells of, empty if none."""
    return str(played.status("tells").get("checkpoint", {}).get("saved", ""))


@pytest.fixture
def pod(operator: Operator, played: Played) -> Object:
    """Return the pod of a job that runs."""
    return played.start("tells")


def events_of(played: Played) -> list[tuple[str, str]]:
    """Return reason and type of the job's events."""
    found = played.call("GET", f"/apis/events.k8s.io/v1/namespaces/{played.namespace}/events")["items"]
    return [(item["reason"], item["type"]) for item in found if item["regarding"]["name"] == "tells"]


def test_what_a_running_pod_tells_is_in_the_jobs_status_and_one_event_and_stays_over_a_restart(
    operator: Operator, played: Played, pod: Object
) -> None:
    token = token_of(played, pod)
    assert send(operator, token, encoded(KILLED, checkpoint="model.ckpt-100 (3 files)"))[0] == 204
    until(lambda: played.status("tells")["message"].endswith("raise spec.resources.memory."), "the note is in the message")
    status = played.status("tells")
    assert status["message"].startswith("The script runs in pod tells-chief-0.")
    assert status["phase"] == "Running"
    assert status["checkpoint"]["saved"] == "model.ckpt-100 (3 files)"
    until(lambda: ("ProcessOutOfMemory", "Warning") in events_of(played), "an event tells it")
    operator.kill()
    operator.start()
    until(lambda: 'tftraining_reconciles_total{rule="running"}' in operator.page("metrics"), "it has looked at the job")
    assert played.status("tells") == status
    assert send(operator, token, encoded(KILLED, checkpoint="model.ckpt-200 (3 files)"))[0] == 204
    until(lambda: saved(played) == "model.ckpt-200 (3 files)", "the newer one is told")
    assert [reason for reason, _ in events_of(played)].count("ProcessOutOfMemory") == 1


def test_a_second_report_within_eight_seconds_is_told_to_come_later(operator: Operator, played: Played, pod: Object) -> None:
    token = token_of(played, pod)
    assert send(operator, token, encoded(checkpoint="one"))[0] == 204
    status, text, headers = send(operator, token, encoded(checkpoint="two"))
    assert status == 429
    assert "too fresh" in text
    assert 1 <= int(headers["Retry-After"]) <= 8


@pytest.mark.parametrize("sender", ["nobody", "no token at all", "the pod, for the API server", "an account that is no pod", "another pod"])
def test_a_report_is_believed_from_the_jobs_own_pod_alone(operator: Operator, played: Played, pod: Object, sender: str) -> None:
    stranger = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    tokens = {
        "nobody": lambda: "",
        "no token at all": lambda: "e30.e30.e30",
        "the pod, for the API server": lambda: token_of(played, pod, "https://kubernetes.default.svc.cluster.local"),
        "an account that is no pod": lambda: token_of(played, None),
        "another pod": lambda: token_of(played, played.call("POST", played.pods_path, stranger)),
    }
    before = played.status("tells")
    status, text, _ = send(operator, tokens[sender](), encoded(KILLED))
    assert status == 401, text
    assert send(operator, token_of(played, pod), encoded(checkpoint="mine"))[0] == 204
    until(lambda: saved(played) == "mine", "the pod's own report is told")
    assert played.status("tells")["message"] == before["message"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"[" * 10_000, 400),
        (b'{"notes":[{"reason":"not a word","message":"x"}]}', 400),
        (b'{"notes":[{"reason":"Failed","message":"a reason of the operator\'s own"}]}', 400),
        (b'{"notes":[{"reason":"LastLinePassed","message":"%s"}]}' % (b"x" * 401), 400),
        (b'{"checkpoint":"%s"}' % (b"x" * 257), 400),
        (b" " * 20_000, 413),
    ],
)
def test_what_is_no_report_is_refused_in_words(operator: Operator, played: Played, pod: Object, body: bytes, expected: int) -> None:
    status, text, _ = send(operator, token_of(played, pod), body)
    assert status == expected
    assert text


def forged(pod: str, number: int) -> str:
    """Return what looks like a token of a pod."""
    claims = json.dumps({"kubernetes.io": {"pod": {"uid": pod}}, "n": number}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.e30"


def reviews(proxy: FaultProxy) -> int:
    """Return how many tokens the API server was asked about."""
    return sum("tokenreviews" in path for _, path in proxy.written())


def test_the_api_server_is_asked_once_about_a_token_and_never_about_one_that_names_no_pod_of_a_job(
    operator: Operator, played: Played, proxy: FaultProxy, pod: Object
) -> None:
    before = reviews(proxy)
    for number in range(5):
        assert send(operator, forged("of-nobody", number), encoded())[0] == 401
        assert send(operator, f"e30.{number}.e30", encoded())[0] == 401
    assert reviews(proxy) == before
    for _ in range(5):
        assert send(operator, forged(pod["metadata"]["uid"], 0), encoded())[0] == 401
    assert reviews(proxy) == before + 1
    token = token_of(played, pod)
    assert send(operator, token, encoded(checkpoint="one"))[0] == 204
    assert send(operator, token, encoded(checkpoint="two"))[0] == 429
    assert reviews(proxy) == before + 2


def test_of_many_forged_tokens_the_api_server_is_asked_about_twenty_a_second(operator: Operator, proxy: FaultProxy, pod: Object) -> None:
    before, begin = reviews(proxy), time.monotonic()
    answers = {send(operator, forged(pod["metadata"]["uid"], number), encoded())[0] for number in range(80)}
    assert answers <= {401, 429}
    assert reviews(proxy) - before <= 20 + 20 * (time.monotonic() - begin) + 1


def test_where_the_api_server_does_not_answer_the_report_is_to_come_again(
    operator: Operator, played: Played, proxy: FaultProxy, pod: Object
) -> None:
    proxy.judge = lambda _, path: Fault(500) if "tokenreviews" in path else None
    status, _, headers = send(operator, token_of(played, pod), encoded(checkpoint="x"))
    assert status == 503
    assert headers["Retry-After"]


def test_only_the_publisher_of_a_pod_can_read_its_token(operator: Operator, played: Played, pod: Object) -> None:
    spec = pod["spec"]
    holders = [
        container["name"]
        for container in (*spec["initContainers"], *spec["containers"])
        if any(mount["name"] == "reports-token" for mount in container["volumeMounts"])
    ]
    assert holders == ["publisher"]
    assert spec["automountServiceAccountToken"] is False


def test_a_process_that_does_not_lead_takes_no_report(
    operator: Operator, played: Played, proxy: FaultProxy, pod: Object, tmp_path: Path
) -> None:
    with Operator(proxy, played.namespace, tmp_path, identity="two") as second:
        second.start(wait=False)
        until(lambda: second.page("readyz") == "ok", "it stands by")
        status, text, headers = send(second, token_of(played, pod), encoded(checkpoint="x"))
    assert (status, text) == (503, "this process stands by")
    assert headers["Retry-After"]
