"""A pod that is stopped while data is on its way: fetch gives up, publish does not."""

from __future__ import annotations

import os
import signal
import subprocess

import msgspec
import pytest
from tftrainer import contract
from tftrainer.contract import Plan, Reason, RunReport

from tests.integration.trainer.interrupting_proxy import Proxy, Request, interrupting
from tests.integration.trainer.launched import Trainer, fetched, with_script
from tests.integration.trainer.pods import Pod

BIG = os.urandom(1 << 20) * 32
SOON = 5.0
"""Seconds within which a stop has its effect; the whole grace period is 30."""


def stopped_at(proxy: Proxy, pod: Pod, plan: Plan, phase: str, method: str) -> subprocess.Popen[str]:
    """Start a phase that gets SIGTERM when it first asks for `big` by a method."""
    begun: list[subprocess.Popen[str]] = []
    seen: list[Request] = []

    def before(_number: int, request: Request) -> None:
        if request.method == method and "/big" in request.path:
            if not seen:
                begun[0].send_signal(signal.SIGTERM)
            seen.append(request)

    proxy.before = before
    # Held, so that no request passes before the process is known.
    with proxy.lock:
        begun.append(pod.start(phase, plan))
    return begun[0]


def test_fetch_that_is_stopped_in_the_middle_of_a_download_ends_at_once_with_143(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    pod.put("big", BIG)
    with interrupting(pod.server.endpoint) as proxy:
        pod.credentials["ENDPOINT"] = proxy.endpoint
        process = stopped_at(proxy, pod, msgspec.structs.replace(plan, args=("${bucket}/big",)), "fetch", "GET")
        ended = pod.end(process)
        asked = [each for each in proxy.requests if each.method == "GET" and "/big" in each.path]
    assert asked, ended.output
    failure = ended.report(contract.FetchReport).failure
    assert failure is not None
    assert (ended.code, failure.reason) == (143, Reason.TERMINATED)
    assert ended.seconds < SOON
    assert "Traceback" not in ended.output


@pytest.mark.parametrize(
    "run", [RunReport(exit_code=0, started_at=1, finished_at=2), RunReport(exit_code=143, started_at=1, finished_at=2)]
)
def test_publish_that_is_stopped_in_the_middle_of_an_upload_publishes_all_the_same(pod: Pod, plan: Plan, run: RunReport) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("out/small", "1")
    trainer.write("big", BIG)
    trainer.end(run)
    with interrupting(pod.server.endpoint) as proxy:
        pod.credentials["ENDPOINT"] = proxy.endpoint
        # What is this large is uploaded in parts, which begins with a POST.
        ended = pod.end(stopped_at(proxy, pod, plan, "publish", "POST"))
    assert any(each.method == "POST" and "/big" in each.path for each in proxy.requests)
    report = ended.report(contract.PublishReport)
    assert (ended.code, report.failure, report.objects, report.succeeded) == (0, None, 2, run.exit_code == 0), ended.output
    assert pod.server.get(pod.bucket, "big") == BIG
    assert pod.server.get(pod.bucket, "out/small") == b"1"
