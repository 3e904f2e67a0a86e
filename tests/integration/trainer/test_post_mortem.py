"""What a failed attempt leaves to read: `post-mortem.json` beside its manifest, written by the real publisher after the real launcher."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from tftrainer.messages import contract, post_mortem
from tftrainer.messages.contract import Plan, PublishReport, Reason, RunReport

from tests.integration.trainer.launched import LAUNCH, Trainer, fetched, with_script
from tests.integration.trainer.pods import Ended, Pod

pytestmark = pytest.mark.every_store

RAISES = """
import os, sys
with open(sys.argv[1], "w") as file:
    file.write("half")
for number in range(200):
    print("line", number)
print("token", os.environ.get("TOKEN", "none"))
raise KeyError("x")
"""
HANGS = """
import threading
print("step 1", flush=True)
threading.Event().wait()
"""
SECRET = "canary-91b0f4c7d2"


def _left(pod: Pod, report: PublishReport) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pod.server.get(pod.bucket, report.post_mortem_uri.removeprefix(f"s3://{pod.bucket}/")))
    return found


def _run(pod: Pod, plan: Plan, script: str, environment: dict[str, str] | None = None) -> tuple[Ended, PublishReport]:
    with_script(pod, script)
    ended, report = pod.fetch(plan)
    assert report.failure is None, ended.output
    publisher = pod.start("publish", plan)
    subprocess.run(
        [sys.executable, "-I", "-c", LAUNCH, str(pod.root), contract.encode_plan(plan)],
        check=False,
        timeout=60,
        env=os.environ | (environment or {}),
    )
    ended = pod.end(publisher)
    return ended, ended.report(PublishReport)


def test_a_failed_run_leaves_why_it_failed_its_last_lines_and_what_it_used(pod: Pod, plan: Plan) -> None:
    plan = msgspec.structs.replace(plan, args=("${bucket}/half.txt",), secret_variables=("TOKEN",), image="example/tf1:1")
    ended, report = _run(pod, plan, RAISES, {"TOKEN": SECRET})
    found = _left(pod, report)
    assert report.post_mortem_uri == report.manifest_uri.replace("manifest.json", "post-mortem.json"), ended.output
    manifest = json.loads(pod.server.get(pod.bucket, report.manifest_uri.removeprefix(f"s3://{pod.bucket}/")))
    assert report.post_mortem_uri.endswith(manifest["postMortem"]["key"])
    assert (found["failure"]["reason"], found["failure"]["line"], found["exitCode"]) == ("ScriptRaised", 8, 1)
    assert found["evidence"] == [
        "the script's process ended itself with exit code 1",
        "its interpreter recorded an exception that nobody caught: KeyError at train.py, line 8",
    ]
    assert len(found["stdout"]) == 50
    assert found["stdout"][-2:] == ["line 199", "token ${withheld}"]
    assert found["stderr"][-1] == "KeyError: 'x'"
    assert SECRET not in json.dumps(found)
    assert found["usage"]["cpuSeconds"] > 0
    assert found["usage"]["memory"] > 0
    assert found["workspaceLimit"] == plan.workspace_bytes
    assert found["image"] == "example/tf1:1"
    assert {"python", "kernel", "tftrainer"} <= set(found["versions"])
    assert pod.server.get(pod.bucket, found["logsUri"].removeprefix(f"s3://{pod.bucket}/") + "stderr.log").endswith(b"KeyError: 'x'\n")


def test_a_script_that_hung_leaves_the_stacks_of_its_threads_there_and_beside_its_log(pod: Pod, plan: Plan) -> None:
    _, report = _run(pod, msgspec.structs.replace(plan, inactivity_seconds=2), HANGS)
    found = _left(pod, report)
    assert (found["failure"]["reason"], found["failure"]["line"]) == ("ScriptHung", 4)
    assert 'train.py", line 4 in <module>' in found["stacks"]
    assert "it gave no sign of life for" in found["evidence"][-1]
    logs = report.logs_uri.removeprefix(f"s3://{pod.bucket}/")
    assert found["stacks"].strip() in pod.server.get(pod.bucket, logs + contract.STACKS_NAME).decode()


def test_a_run_that_succeeds_leaves_none(pod: Pod, plan: Plan) -> None:
    _, report = _run(pod, plan, "print('well')\n")
    assert (report.succeeded, report.post_mortem_uri) == (True, "")
    assert not [key for key in pod.server.keys(pod.bucket) if key.endswith(post_mortem.NAME)]


@pytest.mark.parametrize("secret", [(), ("TOKEN",)])
def test_of_a_launcher_that_was_killed_the_logs_are_read_unless_they_may_hold_what_only_it_knew(
    pod: Pod, plan: Plan, secret: tuple[str, ...]
) -> None:
    plan = msgspec.structs.replace(plan, secret_variables=secret)
    fetched(pod, plan)
    trainer = Trainer(pod)
    logs = pod.root / contract.LOGS.lstrip("/")
    logs.mkdir(exist_ok=True)
    (logs / "stdout.log").write_bytes(b"epoch 1\r10 %\r20 %\nAuthorization: Bearer abcdefghijklmnop1234\n\xff\n")
    publisher = pod.start("publish", plan)
    os.close(trainer.lock)
    found = _left(pod, pod.end(publisher).report(PublishReport))
    assert (found["failure"]["reason"], found["exitCode"], found["killed"]) == ("ScriptKilled", 137, True)
    if secret:
        assert "the launcher was killed" in found["stdout"][0]
        assert "epoch" not in json.dumps(found)
    else:
        assert found["stdout"] == ["20 %", "Authorization: Bearer ${withheld}", "\ufffd"]


def test_outputs_that_cannot_be_published_are_a_failure_with_a_post_mortem_too(pod: Pod, plan: Plan) -> None:
    plan = msgspec.structs.replace(plan, workspace_bytes=1000)
    fetched(pod, plan)
    trainer = Trainer(pod)
    with (pod.local_bucket / "holes").open("wb") as file:
        file.truncate(1 << 40)
    trainer.end(RunReport(exit_code=0))
    ended, report = pod.publish(plan)
    assert report.failure is not None, ended.output
    assert report.failure.reason is Reason.PUBLISH_FAILED
    [key] = [key for key in pod.server.keys(pod.bucket) if key.endswith(post_mortem.NAME)]
    assert json.loads(pod.server.get(pod.bucket, key))["failure"]["reason"] == "PublishFailed"


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"stdout": 7}', b'{"stacks": "' + b"x" * 2_000_000 + b'"}'])
def test_findings_that_are_none_are_as_if_there_were_none(pod: Pod, plan: Plan, data: bytes) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    (pod.root / contract.RUN_FOLDER.lstrip("/") / contract.FINDINGS_NAME).write_bytes(data)
    trainer.end(RunReport(exit_code=3, failure=contract.Failure(reason=Reason.SCRIPT_EXITED, message="it ended with 3")))
    _, report = pod.publish(plan)
    assert _left(pod, report)["failure"]["message"] == "it ended with 3"
