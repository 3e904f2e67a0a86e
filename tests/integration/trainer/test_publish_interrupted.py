"""A publisher that is killed, or not answered, at any of its requests: no manifest tells of what is not there."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess

import pytest
from tftrainer import manifest
from tftrainer.contract import Plan, RunReport
from tftrainer.manifest import Manifest

from tests.integration.trainer.interrupting_proxy import Answer, CutError, Proxy, Request, interrupting
from tests.integration.trainer.launched import Trainer, fetched
from tests.integration.trainer.pods import Pod

pytestmark = pytest.mark.every_store

LARGE = os.urandom(9 * 1024**2)
"""Two parts."""


def verified_manifest(pod: Pod, plan: Plan) -> Manifest | None:
    """Return what a reader of the bucket finds; every object that it tells of is checked, byte for byte."""
    prefix = f"{pod.prefix}/" if pod.prefix else ""
    key = f"{prefix}{manifest.folder(plan)}manifest.json"
    if key not in pod.server.keys(pod.bucket, key):
        return None
    found = manifest.decode(pod.server.get(pod.bucket, key))
    assert found is not None
    for each in (*found.objects, *found.logs):
        data = pod.server.get(pod.bucket, each.key)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (each.size, each.sha256), each.key
        assert (pod.server.client.stat_object(pod.bucket, each.key).etag or "").strip('"') == each.etag.strip('"'), each.key
    return found


def ended_trainer(pod: Pod, plan: Plan) -> None:
    """Leave what a run leaves: small outputs, a large one, a model."""
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("out/first", "1")
    trainer.write("out/second", "2")
    trainer.write("large.bin", LARGE)
    trainer.write("model/1/saved_model.pb", "model")
    trainer.end(RunReport(exit_code=0, started_at=10.0, finished_at=20.0))


def under(pod: Pod, prefix: str) -> None:
    """Publish below a prefix of its own from now on: as if the bucket were empty."""
    pod.prefix = prefix
    pod.credentials["PREFIX"] = prefix


def killed(pod: Pod, plan: Plan, proxy: Proxy, at: int, *, before: bool) -> None:
    """Run a publisher that dies at request number `at`."""
    process: subprocess.Popen[str]

    def kill() -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()
        raise CutError

    def at_request(number: int, _request: Request) -> None:
        if before and number == at:
            kill()

    def at_answer(number: int, _request: Request, answer: Answer) -> Answer:
        if not before and number == at:
            kill()
        return answer

    proxy.requests.clear()
    with proxy.lock:
        proxy.before, proxy.after = at_request, at_answer
        process = pod.start("publish", plan)
    ended = pod.end(process)
    assert ended.code == -signal.SIGKILL, ended.output
    with proxy.lock:
        proxy.before, proxy.after = Proxy.before, Proxy.after


def test_a_publisher_killed_at_any_request_never_leaves_a_manifest_that_does_not_verify(pod: Pod, plan: Plan) -> None:
    ended_trainer(pod, plan)
    with interrupting(pod.server.endpoint) as proxy:
        pod.credentials["ENDPOINT"] = proxy.endpoint
        under(pod, "whole")
        seen: list[tuple[int, bool]] = []

        def look(number: int, _request: Request, answer: Answer) -> Answer:
            seen.append((number, verified_manifest(pod, plan) is not None))
            return answer

        proxy.after = look
        ended, report = pod.publish(plan)
        assert report.failure is None, ended.output
        count = len(proxy.requests)
        # The manifest is the last thing that is written; what follows only reads.
        first = next(number for number, there in seen if there)
        assert {each.method for each in proxy.requests[first:]} <= {"GET", "HEAD"}
        # A dead publisher leaves only what the server got: death before a request is death after the one before it.
        for number in range(count + 1):
            case = f"after request {number} of {count}"
            under(pod, f"after-{number}")
            killed(pod, plan, proxy, number or 1, before=number == 0)
            assert (verified_manifest(pod, plan) is not None) is (number >= first), case
            ended, report = pod.publish(plan)
            assert (report.failure, report.succeeded, report.objects) == (None, True, 4), f"{case}: {ended.output}"
            assert verified_manifest(pod, plan) is not None, case


ERROR = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>try again</Message></Error>'


@pytest.mark.parametrize("fault", ["error in a 200", "lost answer", "no answer to any first upload"])
def test_a_large_output_is_whole_or_published_again_whatever_becomes_of_its_last_request(pod: Pod, plan: Plan, fault: str) -> None:
    ended_trainer(pod, plan)
    completed: list[int] = []

    def after(number: int, request: Request, answer: Answer) -> Answer:
        if request.method != "POST" or "uploadId=" not in request.path or "large.bin" not in request.path:
            return answer
        completed.append(number)
        if len(completed) > 1:
            return answer
        if fault == "error in a 200":
            return Answer(200, [("Content-Type", "application/xml")], ERROR)
        raise CutError

    def before(_number: int, request: Request) -> None:
        if fault == "no answer to any first upload" and request.method == "PUT" and request not in proxy.requests[:-1]:
            raise CutError

    with interrupting(pod.server.endpoint) as proxy:
        pod.credentials["ENDPOINT"] = proxy.endpoint
        proxy.before, proxy.after = before, after
        ended, report = pod.publish(plan)
    assert (report.failure, report.succeeded, report.objects) == (None, True, 4), ended.output
    assert completed
    assert verified_manifest(pod, plan) is not None
