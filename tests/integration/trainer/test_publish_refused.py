"""A store that refuses some of the outputs, or stops to answer: what can be uploaded is, and the rest is counted."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Plan, Reason, WantedCheckpoints
from tftrainer.outputs import upload
from tftrainer.outputs.tree import LocalFile, walk
from tftrainer.storage.credentials import Credentials
from tftrainer.storage.patience import Patience
from tftrainer.storage.store import Store

from tests.integration.trainer.interrupting_proxy import DENIED, Answer, CutError, Proxy, Request, interrupting
from tests.integration.trainer.launched import LAUNCH, Trainer, fetched, until_handler_is_set, with_script
from tests.integration.trainer.pods import IN_PARTS, Pod

LARGE = os.urandom(9 * 1024**2)
"""Two parts."""


def outputs(pod: Pod) -> set[str]:
    return {key for key in pod.server.keys(pod.bucket) if not key.startswith((".tftraining/", "code/"))}


def manifests(pod: Pod) -> list[str]:
    return [key for key in pod.server.keys(pod.bucket) if key.endswith(contract.MANIFEST_NAME)]


@pytest.mark.every_store
def test_an_output_that_the_store_refuses_fails_alone_and_is_counted_as_one(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    others = {f"{folder}/{number:03d}" for folder in ("a", "z") for number in range(40)} | {"large.bin"}
    for path in others - {"large.bin"}:
        trainer.write(path, path)
    trainer.write("large.bin", LARGE)
    trainer.write("denied/best.h5", "five hours of training")
    trainer.end()
    with interrupting(pod.server.endpoint) as proxy:
        pod.credentials["ENDPOINT"] = proxy.endpoint
        proxy.instead = lambda request: DENIED if "/denied/" in request.path else None
        ended, report = pod.publish(plan)
        assert outputs(pod) == others, ended.output
        assert report.failure is not None
        assert report.failure.reason is Reason.STORAGE_DENIED
        # The logs count too.
        assert report.failure.message.startswith(f"1 of {len(others) + 3} outputs could not be uploaded; the first: "), ended.output
        assert "denied/best.h5" in report.failure.message
        assert not manifests(pod)
        proxy.instead = Proxy.instead
        ended, report = pod.publish(plan)
    assert (report.failure, report.objects) == (None, len(others) + 1), ended.output
    assert outputs(pod) == others | {"denied/best.h5"}


@pytest.mark.every_store
def test_a_large_output_of_which_a_part_is_refused_leaves_no_parts_behind(pod: Pod, plan: Plan) -> None:
    fetched(pod, plan)
    trainer = Trainer(pod)
    trainer.write("large.bin", LARGE)
    trainer.write("small", "1")
    trainer.end()
    with interrupting(pod.server.endpoint) as proxy:
        pod.credentials["ENDPOINT"] = proxy.endpoint
        proxy.instead = lambda request: DENIED if "large.bin" in request.path and "partNumber=2" in request.path else None
        ended, report = pod.publish(plan, IN_PARTS)
        sent = [(each.method, each.path.partition("?")[0].rpartition("/")[2]) for each in proxy.requests if "uploadId=" in each.path]
    assert report.failure is not None, ended.output
    assert report.failure.message.startswith("1 of 4 outputs could not be uploaded"), ended.output
    assert outputs(pod) == {"small"}
    assert sent.count(("PUT", "large.bin")) == 2
    assert sent[-1] == ("DELETE", "large.bin"), sent
    assert not pod.server.client._list_multipart_uploads(pod.bucket).uploads


PATIENCE = 0.4
"""Seconds that a request is repeated for, in the place of two minutes; half of it without an answer is silence."""


def uploaded(
    pod: Pod, endpoint: str, root: Path, count: int, monkeypatch: pytest.MonkeyPatch, outage: upload.Outage | None = None
) -> tuple[list[str], int, float]:
    """Upload `count` small files; return the names that are there, the number of failures, and the seconds that it took."""
    monkeypatch.setattr(upload, "SILENT_SECONDS", PATIENCE / 2)
    root.mkdir()
    for number in range(count):
        (root / f"{number:03d}").write_text(f"{number}")
    store = Store(
        Credentials(
            label="storage Secret",
            secure=False,
            host=endpoint.removeprefix("http://"),
            bucket=pod.bucket,
            access_key=pod.credentials["ACCESS_KEY"],
            secret_key=pod.credentials["SECRET_KEY"],
        ),
        Patience(first=PATIENCE, later=PATIENCE),
    )
    files = [each for each in walk(root, "") if isinstance(each, LocalFile)]
    began = time.monotonic()
    sent = upload.upload_all(store, root, "", files, lambda _: None, outage=outage)
    done, failures = sent.done, sent.failures
    return [each.key for each in done], len(failures), time.monotonic() - began


BUSY = Answer(503, [], b"")


@pytest.mark.parametrize("answer", [None, BUSY])
def test_a_store_that_stops_to_answer_or_is_busy_for_ever_is_given_up_after_two_rounds_of_requests(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer | None
) -> None:
    asked: set[str] = set()

    def gone(request: Request) -> Answer | None:
        asked.add(request.path)
        if len(asked) <= 20:
            return None
        if answer is None:
            raise CutError
        return answer

    with interrupting(pod.server.endpoint) as proxy:
        proxy.instead = gone
        there, failures, seconds = uploaded(pod, proxy.endpoint, tmp_path / "outputs", 300, monkeypatch)
    assert sorted(there) == sorted(outputs(pod))
    assert len(there) >= 20 - upload.FILES_AT_ONCE
    assert failures
    assert len(asked) <= 20 + 3 * upload.FILES_AT_ONCE
    assert seconds < 60


def test_one_object_that_the_store_never_answers_for_does_not_have_the_store_given_up(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(request: Request) -> Answer | None:
        if request.path.endswith(("/000", "/150")):
            raise CutError
        return None

    with interrupting(pod.server.endpoint) as proxy:
        proxy.instead = gone
        there, failures, _ = uploaded(pod, proxy.endpoint, tmp_path / "outputs", 300, monkeypatch)
    assert (len(there), failures) == (298, 2)


def test_outputs_that_are_refused_however_late_do_not_have_the_store_given_up(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All of them large: one after the other.
    monkeypatch.setattr(upload, "SINGLE", 0)

    def slow(_: int, request: Request) -> None:
        if request.path.endswith(("/000", "/001")):
            # As when the line is slow.
            time.sleep(PATIENCE)

    with interrupting(pod.server.endpoint) as proxy:
        proxy.before = slow
        proxy.instead = lambda request: DENIED if request.path.endswith(("/000", "/001")) else None
        there, failures, _ = uploaded(pod, proxy.endpoint, tmp_path / "outputs", 5, monkeypatch)
    assert (there, failures) == (["002", "003", "004"], 2)


def test_uploads_that_follow_one_another_share_what_they_know_of_an_outage(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()

    def gone(request: Request) -> Answer | None:
        asked.add(request.path.rpartition("/")[2])
        raise CutError

    outage = upload.Outage()
    with interrupting(pod.server.endpoint) as proxy:
        proxy.instead = gone
        uploaded(pod, proxy.endpoint, tmp_path / "logs", 2, monkeypatch, outage)
        assert not outage.given_up
        asked.clear()
        uploaded(pod, proxy.endpoint, tmp_path / "outputs", 300, monkeypatch, outage)
    assert outage.given_up
    assert len(asked) <= upload.FILES_AT_ONCE


AGAINST_A_BLACK_HOLE = """
import functools, os, sys
from tftrainer.messages.contract import PLAN_VARIABLE, decode_plan
from tftrainer.publish.phase import Pauses, main
from tftrainer.storage import store
store.READ_SECONDS = 0.5
store.Patience = functools.partial(store.Patience, first=2.0, later=2.0)
sys.exit(main(decode_plan(os.environ[PLAN_VARIABLE]), pauses=Pauses(logs=0.02, events=0.02)))
"""
WORKS = """
import pathlib, sys, time
place, flag = pathlib.Path(sys.argv[1], "tb"), pathlib.Path(sys.argv[2])
place.mkdir(parents=True, exist_ok=True)
(place / "events.out.tfevents.1.host").write_text("event")
print("started")
while not flag.exists():
    time.sleep(0.01)
for number in range(1000):
    print("x" * 1000)
    with (place / f"{number % 10}.tfevents.").open("a") as file:
        file.write("event")
    sum(range(20_000))
"""


def test_a_store_that_never_answers_does_not_slow_the_script_and_the_publisher_ends(pod: Pod, plan: Plan, tmp_path: Path) -> None:
    flag = tmp_path / "go on"
    with_script(pod, WORKS)
    plan = msgspec.structs.replace(
        plan, args=("${bucket}", str(flag)), checkpoints=WantedCheckpoints(path="${bucket}/tb", interval_seconds=0)
    )

    def launch(place: Pod) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-c", LAUNCH, str(place.root), contract.encode_plan(plan)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    alone = Pod(tmp_path / "alone", pod.server, pod.bucket, "")
    for place in (pod, alone):
        ended, report = place.fetch(plan)
        assert report.failure is None, ended.output
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(100)
        hole.settimeout(60)
        pod.credentials["ENDPOINT"] = f"http://127.0.0.1:{hole.getsockname()[1]}"
        publisher = pod.start("publish", plan, AGAINST_A_BLACK_HOLE)
        until_handler_is_set(publisher.pid)
        began = time.monotonic()
        launcher = launch(pod)
        connection, _ = hole.accept()
        flag.touch()
        assert launcher.wait(60) == 0
        beside = time.monotonic() - began
        assert publisher.poll() is None
        ended = pod.end(publisher)
        connection.close()
    began = time.monotonic()
    assert launch(alone).wait(60) == 0
    # With a publisher, the time until it has first asked is part of it.
    assert beside < 3 * (time.monotonic() - began) + 10
    report = ended.report(contract.PublishReport)
    assert report.failure is not None
    assert report.failure.reason is Reason.STORAGE_UNAVAILABLE, ended.output
    assert ended.seconds < 40
