"""A pod that is stopped while data is on its way: fetch gives up, publish does not."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import zipfile

import msgspec
import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Plan, Reason, Reference, RunReport

from tests.integration.trainer.interrupting_proxy import Proxy, Request, interrupting
from tests.integration.trainer.launched import Trainer, fetched, with_script
from tests.integration.trainer.pods import IN_PARTS, Pod

BIG = os.urandom(1 << 20) * 32
SOON = 20.0
"""Seconds within which a stop has its effect; the whole grace period is 30."""


def stopped_at(
    proxy: Proxy, pod: Pod, plan: Plan, phase: str, method: str, number: signal.Signals = signal.SIGTERM
) -> subprocess.Popen[str]:
    """Start a phase that gets a signal when it first asks for `big` by a method."""
    begun: list[subprocess.Popen[str]] = []
    seen: list[Request] = []

    def before(_number: int, request: Request) -> None:
        if request.method == method and "/big" in request.path:
            if not seen:
                begun[0].send_signal(number)
            seen.append(request)

    proxy.before = before
    # Held, so that no request passes before the process is known.
    with proxy.lock:
        begun.append(pod.start(phase, plan, IN_PARTS if phase == "publish" else ""))
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


def test_fetch_begins_anew_where_one_was_killed_in_the_middle_of_a_download(pod: Pod, plan: Plan) -> None:
    with_script(pod)
    pod.put("big", BIG)
    for name in ("kept.py", "gone.py"):
        pod.put(f"lib/{name}", "")
    pod.put("code/lib.zip", zipped_module())
    plan = msgspec.structs.replace(
        plan, args=("${bucket}/big",), files=(Reference(uri="${bucket}/lib/"),), archive=Reference(uri="${bucket}/code/lib.zip")
    )
    with interrupting(pod.server.endpoint) as proxy:
        endpoint = pod.credentials["ENDPOINT"]
        pod.credentials["ENDPOINT"] = proxy.endpoint
        assert pod.end(stopped_at(proxy, pod, plan, "fetch", "GET", signal.SIGKILL)).code == -signal.SIGKILL
        pod.credentials["ENDPOINT"] = endpoint
    assert (pod.workspace / "code/lib/gone.py").exists()
    pod.server.client.remove_object(pod.bucket, "lib/gone.py")

    ended, report = pod.fetch(plan)
    assert (ended.code, report.failure) == (0, None), ended.output
    assert (pod.local_bucket / "big").read_bytes() == BIG
    assert [each.name for each in (pod.workspace / "code/lib").iterdir()] == ["kept.py"]


def zipped_module() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("module.py", "")
    return buffer.getvalue()


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
