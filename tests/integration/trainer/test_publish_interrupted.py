"""A publisher that is killed, or not answered, at any of its requests: no manifest tells of what is not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from tftrainer.checkpoints import saved
from tftrainer.messages import contract, manifest
from tftrainer.messages.contract import Plan, RunReport, WantedCheckpoints
from tftrainer.messages.manifest import Manifest
from tftrainer.publish import live

from tests.integration.trainer.interrupting_proxy import Answer, CutError, Proxy, Request, interrupting
from tests.integration.trainer.launched import Trainer, fetched, until
from tests.integration.trainer.pods import SMALL_PARTS, Pod, Process, StoreServer

Found = TypeVar("Found")
AT_ONCE = 6
LIVES = -1
"""The number of no request."""
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
    assert found.lock is not None
    for each in (*found.objects, *found.logs, found.lock):
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


class Places:
    """Pods of one bucket, each below a prefix of its own, as if the bucket were empty; each behind a proxy of its own."""

    def __init__(self, root: Path, server: StoreServer) -> None:
        self.root = root
        self.server = server
        self.bucket = server.new_bucket()

    @contextlib.contextmanager
    def new(self, name: str) -> Iterator[tuple[Pod, Proxy]]:
        pod = Pod(self.root / name, self.server, self.bucket, "")
        pod.prefix = pod.credentials["PREFIX"] = name
        with interrupting(self.server.endpoint) as proxy:
            pod.credentials["ENDPOINT"] = proxy.endpoint
            yield pod, proxy


@pytest.fixture
def places(tmp_path: Path, store_server: StoreServer) -> Places:
    return Places(tmp_path, store_server)


def for_each(run: Callable[[int], Found], numbers: Iterable[int]) -> list[Found]:
    """Run a case for each number, several at once: they spend much of their time in waiting."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(run, numbers))


def dying(pod: Pod, plan: Plan, proxy: Proxy, at: int, first: str) -> Process:
    """Start a publisher that dies after the answer to its request number `at`, or before the first with 0."""
    process: Process

    def kill() -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()
        raise CutError

    def at_request(number: int, _request: Request) -> None:
        if at == 0:
            kill()

    def at_answer(number: int, _request: Request, answer: Answer) -> Answer:
        if number == at:
            kill()
        return answer

    with proxy.lock:
        proxy.requests.clear()
        proxy.before, proxy.after = at_request, at_answer
        process = pod.start("publish", plan, first=first)
    return process


@pytest.mark.every_store(long=True)
def test_a_publisher_killed_at_any_request_never_leaves_a_manifest_that_does_not_verify(places: Places, plan: Plan) -> None:
    with places.new("whole") as (pod, proxy):
        ended_trainer(pod, plan)
        proxy.requests.clear()
        seen: list[tuple[int, bool]] = []

        def look(number: int, _request: Request, answer: Answer) -> Answer:
            seen.append((number, verified_manifest(pod, plan) is not None))
            return answer

        proxy.after = look
        ended, report = pod.publish(plan, first=SMALL_PARTS)
        assert report.failure is None, ended.output
        count = len(proxy.requests)
        # The manifest is the last thing that is written; what follows only reads.
        first = next(number for number, there in seen if there)
        assert {each.method for each in proxy.requests[first:]} <= {"GET", "HEAD"}

    def killed(number: int) -> None:
        case = f"after request {number} of {count}"
        with places.new(f"after-{number}") as (pod, proxy):
            ended_trainer(pod, plan)
            ended = pod.end(dying(pod, plan, proxy, number, SMALL_PARTS))
            assert ended.code == -signal.SIGKILL, ended.output
            with proxy.lock:
                proxy.before, proxy.after = Proxy.before, Proxy.after
            assert (verified_manifest(pod, plan) is not None) is (number >= first), case
            ended, report = pod.publish(plan, first=SMALL_PARTS)
            assert (report.failure, report.succeeded, report.objects) == (None, True, 4), f"{case}: {ended.output}"
            assert verified_manifest(pod, plan) is not None, case

    # A dead publisher leaves only what the server got: death before a request is death after the one before it.
    for_each(killed, range(count + 1))


IMPATIENT = """
import functools
from tftrainer.publish import phase
phase.main = functools.partial(phase.main, pauses=phase.Pauses(logs=0.02, events=0.02))
"""
EVENTS = "tb/events.out.tfevents.1.host"


class Reader:
    """What somebody finds in the bucket while the script runs."""

    def __init__(self, pod: Pod, plan: Plan) -> None:
        self.pod = pod
        self.live = f"{pod.prefix}/{manifest.folder(plan)}{contract.LOGS_FOLDER}{live.FOLDER}"
        self.checkpoints = f"{pod.prefix}/ckpt/"

    def get(self, key: str) -> bytes | None:
        return self.pod.server.get(self.pod.bucket, key) if key in self.pod.server.keys(self.pod.bucket, key) else None

    def log(self) -> bytes:
        """Return the log so far; every segment that is listed is there."""
        data = self.get(self.live + live.INDEX_NAME)
        listed = msgspec.json.decode(data, type=live.Index).streams["stdout"] if data else ()
        segments = [(each.size, self.get(self.live + each.name)) for each in listed]
        assert all(size == len(found or b"") for size, found in segments)
        return b"".join(found or b"" for _, found in segments)

    def checkpoint(self) -> dict[str, bytes]:
        """Return the files of the state that is listed; all of them are as they were saved."""
        data = self.get(self.checkpoints + saved.INDEX_NAME)
        state = saved.decode(data) if data else None
        found = {each.path: (each.sha256, self.get(self.checkpoints + each.name) or b"") for each in (state.files if state else ())}
        assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in found.values()), found
        return {path: data for path, (_, data) in found.items()}


def run_beside(pod: Pod, plan: Plan, proxy: Proxy, publisher: Process, trainer: Trainer) -> bytes:
    """Do what a script does, each step when the one before is in the bucket, or its publisher dead; return what it has printed."""
    reader = Reader(pod, plan)
    printed = b""
    for step in (1, 2):
        printed += f"step {step}\n".encode()
        (pod.workspace / "logs/stdout.log").write_bytes(printed)
        trainer.write(EVENTS, "event " * step)
        trainer.save(step)
        wanted = {"checkpoint", f"model-{step}.index"}

        def seen(printed: bytes = printed, step: int = step, wanted: set[str] = wanted) -> bool:
            # Between two requests nothing changes in the bucket.
            with proxy.lock:
                there = wanted <= reader.checkpoint().keys() and reader.get(f"{pod.prefix}/{EVENTS}") == b"event " * step
                return publisher.poll() is not None or (there and reader.log() == printed)

        until(seen, f"step {step}")
    return printed


def test_a_publisher_killed_at_any_request_while_the_script_runs_leaves_whole_states_alone(
    seaweedfs: StoreServer, tmp_path: Path, plan: Plan
) -> None:
    plan = msgspec.structs.replace(plan, checkpoints=WantedCheckpoints(path="${bucket}/ckpt", interval_seconds=0))
    places = Places(tmp_path, seaweedfs)

    def killed(number: int) -> tuple[int, bool]:
        """Return how many requests there were, and whether the publisher died."""
        case = f"after request {number}"
        with places.new(f"after-{number}") as (pod, proxy):
            fetched(pod, plan)
            trainer = Trainer(pod)
            publisher = dying(pod, plan, proxy, number, IMPATIENT)
            printed = run_beside(pod, plan, proxy, publisher, trainer)
            count = len(proxy.requests)
            died = publisher.poll() == -signal.SIGKILL
            with proxy.lock:
                assert verified_manifest(pod, plan) is None, case
                assert printed.startswith(Reader(pod, plan).log()), case
                state = Reader(pod, plan).checkpoint()
                assert not state or state["checkpoint"].endswith((b'/model-1"\n', b'/model-2"\n')), case
            trainer.end()
            pod.end(publisher)
            ended, report = pod.publish(plan)
            assert (report.failure, report.succeeded, report.objects) == (None, True, 6), f"{case}: {ended.output}"
            assert report.checkpoint.startswith("model-2 (5 files)"), case
            assert verified_manifest(pod, plan) is not None, case
            assert set(Reader(pod, plan).checkpoint()) == {"checkpoint"} | {
                f"model-{step}.{end}" for step in (1, 2) for end in ("index", "data-00000-of-00001")
            }, case
        return count, died

    count, died = killed(LIVES)
    assert not died
    deaths = sum(died for _, died in for_each(killed, range(1, count + 1)))
    # What is asked in which order depends on the time, but that it dies does not.
    assert deaths > count * 0.8


ERROR = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>try again</Message></Error>'


@pytest.mark.every_store
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
        ended, report = pod.publish(plan, first=SMALL_PARTS)
    assert (report.failure, report.succeeded, report.objects) == (None, True, 4), ended.output
    assert completed
    assert verified_manifest(pod, plan) is not None
