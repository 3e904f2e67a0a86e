"""Stores that cannot write on a condition: they are found out before the script starts, and the manifest says what counts."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest
from tftrainer.messages.contract import Plan, PublishReport, Reason, RunReport

from tests.integration.trainer.interrupting_proxy import Proxy, interrupting
from tests.integration.trainer.launched import Trainer, fetched
from tests.integration.trainer.pods import Pod

CONDITION = frozenset({"if-none-match"})


def ignores(proxy: Proxy) -> None:
    proxy.drops = CONDITION


def refuses(proxy: Proxy) -> None:
    proxy.refuses = CONDITION


def published(pod: Pod, plan: Plan, text: str = "model") -> tuple[str, PublishReport]:
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("model.txt", text)
    trainer.end(RunReport(exit_code=0, started_at=10.0, finished_at=20.0))
    ended, report = pod.publish(plan)
    return ended.output, report


def commit(pod: Pod, plan: Plan) -> str:
    manifest = json.loads(pod.server.get(pod.bucket, f".tftraining/team/iris/{plan.uid}/attempt-{plan.attempt}/manifest.json"))
    return str(manifest["commit"])


@pytest.mark.every_store
def test_a_store_that_writes_on_condition_makes_the_manifest_the_commit_point(pod: Pod, plan: Plan) -> None:
    output, report = published(pod, plan)
    assert report.succeeded, output
    assert commit(pod, plan) == "manifest"
    assert "conditional" not in output


@pytest.mark.parametrize("behaviour", [ignores, refuses], ids=["takes no notice of the condition", "answers 501 to it"])
def test_a_store_that_cannot_is_used_all_the_same_and_the_manifest_says_what_counts(
    pod: Pod, plan: Plan, behaviour: Callable[[Proxy], None]
) -> None:
    with interrupting(pod.server.endpoint) as proxy:
        behaviour(proxy)
        pod.credentials["ENDPOINT"] = proxy.endpoint
        output, report = published(pod, plan)
    assert report.succeeded, output
    assert commit(pod, plan) == "status"
    assert "the store has no conditional writes" in output


@pytest.mark.parametrize("behaviour", [ignores, refuses], ids=["takes no notice of the condition", "answers 501 to it"])
def test_a_later_writer_is_fenced_without_conditions_too(
    pod: Pod, plan: Plan, behaviour: Callable[[Proxy], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    late = Pod(tmp_path_factory.mktemp("late") / "pod", pod.server, pod.bucket, pod.datasets)
    with interrupting(pod.server.endpoint) as proxy:
        behaviour(proxy)
        pod.credentials["ENDPOINT"] = late.credentials["ENDPOINT"] = proxy.endpoint
        fetched(late, plan)
        output, report = published(pod, plan)
        assert report.succeeded, output
        trainer = Trainer(late)
        trainer.write("model.txt", "another")
        trainer.end()
        ended, second = late.publish(plan)
    assert second.failure is not None
    assert second.failure.reason is Reason.PUBLISH_FAILED
    assert "already published by another pod" in second.failure.message, ended.output
    assert pod.server.get(pod.bucket, "model.txt") == b"model"


def test_a_resumed_attempt_asks_the_store_again(pod: Pod, plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> None:
    with interrupting(pod.server.endpoint) as proxy:
        ignores(proxy)
        pod.credentials["ENDPOINT"] = proxy.endpoint
        assert published(pod, plan)[1].succeeded
    later = Pod(tmp_path_factory.mktemp("later") / "pod", pod.server, pod.bucket, pod.datasets)
    second = msgspec.structs.replace(plan, attempt=1)
    assert published(later, second)[1].succeeded
    assert (commit(pod, plan), commit(later, second)) == ("status", "manifest")


@pytest.mark.parametrize("behaviour", [ignores, refuses], ids=["takes no notice of the condition", "answers 501 to it"])
def test_what_somebody_else_wrote_meanwhile_stays_without_conditions_too_and_the_rest_is_published(
    pod: Pod, plan: Plan, behaviour: Callable[[Proxy], None]
) -> None:
    pod.put("shared/board.csv", "before")
    pod.put("shared/mine.csv", "before")
    plan = msgspec.structs.replace(plan, args=("${bucket}/shared/",))
    with interrupting(pod.server.endpoint) as proxy:
        behaviour(proxy)
        pod.credentials["ENDPOINT"] = proxy.endpoint
        fetched(pod, plan)
        trainer = Trainer(pod)
        for name in ("board.csv", "mine.csv", "new.csv"):
            trainer.write(f"shared/{name}", "of this run")
        pod.put("shared/board.csv", "of somebody else")
        trainer.end()
        ended, report = pod.publish(plan)
    assert report.succeeded, ended.output
    found = {key: pod.server.get(pod.bucket, key) for key in pod.server.keys(pod.bucket, "shared/")}
    assert found == {"shared/board.csv": b"of somebody else", "shared/mine.csv": b"of this run", "shared/new.csv": b"of this run"}
    assert report.kept == 1
