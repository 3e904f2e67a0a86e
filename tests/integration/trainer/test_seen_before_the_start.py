"""What `fetch` leaves for the publisher about the bucket as it was before the start, with real servers."""

from __future__ import annotations

import msgspec
import pytest
from tftrainer.messages import handover
from tftrainer.messages.contract import Output, Plan
from tftrainer.messages.handover import Baseline, ListedObject

from tests.integration.trainer.pods import Pod

pytestmark = pytest.mark.every_store


def etag(pod: Pod, key: str) -> str:
    return str(pod.server.client.stat_object(pod.bucket, key).etag)


@pytest.mark.parametrize("prefix", ["", "team/"])
def test_the_baseline_says_what_was_fetched_what_else_was_there_and_where_nothing_was(pod: Pod, plan: Plan, prefix: str) -> None:
    pod.credentials["PREFIX"] = prefix
    for key in ("code/train.py", "in/1", "in/deep/2", "last.bin", "train-1", "out/old.bin"):
        pod.put(prefix + key, f"# {key}\n")
    args = ("${bucket}/in/", "${bucket}/last.bin", "${bucket}/new.bin", "${bucket}/train-*", "${bucket}/out/best.bin")
    plan = msgspec.structs.replace(plan, args=args, outputs=(Output(path="${bucket}/out/"),))
    ended, report = pod.fetch(plan)
    assert report.failure is None, ended.output

    baseline = handover.read(Baseline, pod.state / handover.BASELINE_NAME)
    fetched = ("in/1", "in/deep/2", "last.bin", "train-1")
    files = handover.read_files(pod.state / handover.FILES_NAME)
    assert {each.path: each.etag for each in files} == {key: etag(pod, prefix + key) for key in fetched}
    assert set(baseline.listed) == {"in/", "last.bin", "last.bin/", "new.bin", "new.bin/", "out/"}
    assert baseline.others == (ListedObject(path="out/old.bin", etag=etag(pod, prefix + "out/old.bin")),)
