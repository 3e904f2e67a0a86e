"""A publisher that comes when all is over, after a script that removed or replaced what the launcher leaves for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Plan, PublishReport, Reason

from tests.integration.trainer.launched import LAUNCH
from tests.integration.trainer.pods import Pod

WAYS = {
    "removed": "shutil.rmtree(marks)",
    "emptied": "[os.unlink(f'{marks}/{name}') for name in os.listdir(marks)]",
    "a file": "shutil.rmtree(marks); open(marks, 'w').write('mine')",
    "a link": "os.rename(marks, '../elsewhere'); os.symlink('elsewhere', marks)",
}


def launched(pod: Pod, plan: Plan, script: str) -> subprocess.Popen[bytes]:
    pod.put("code/train.py", script)
    ended, fetched = pod.fetch(plan)
    assert fetched.failure is None, ended.output
    return subprocess.Popen(
        [sys.executable, "-I", "-c", LAUNCH, str(pod.root), contract.encode_plan(plan)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_success_is_published_as_one_whatever_the_script_has_made_of_the_marks(pod: Pod, plan: Plan, way: str) -> None:
    script = f"import os, shutil\nopen('../bucket/model', 'w').write('x')\nmarks = '../.tftraining'\n{WAYS[way]}\n"
    process = launched(pod, plan, script)
    assert process.wait(timeout=60) == 0
    ended, report = pod.publish(plan)
    assert (report.failure, report.succeeded, report.objects) == (None, True, 1), ended.output


@pytest.mark.parametrize("way", ["removed", "a file", "a link"])
def test_a_kill_of_the_launcher_is_told_at_once_though_the_script_has_removed_the_marks(pod: Pod, plan: Plan, way: str) -> None:
    script = f"import os, shutil, time\nmarks = '../.tftraining'\n{WAYS[way]}\nprint('up', flush=True)\ntime.sleep(60)\n"
    process = launched(pod, plan, script)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=60)
    ended = pod.end(pod.start("publish", plan), seconds=30)
    report = ended.report(PublishReport)
    assert (report.failure, report.succeeded) == (None, False), ended.output
    manifest = pod.server.get(pod.bucket, report.manifest_uri.partition(f"{pod.bucket}/")[2])
    assert Reason.SCRIPT_KILLED.encode() in manifest
