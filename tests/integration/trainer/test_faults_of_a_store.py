"""Whole phases against real servers through a network that fails: the result is whole, or it is told why there is none."""

from __future__ import annotations

import itertools
import os
import random
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from tftrainer.messages import handover
from tftrainer.messages.contract import Failure, FetchReport, Input, Plan, PublishReport, Reason, RunReport
from tftrainer.messages.handover import Baseline
from tftrainer.storage import transfer

from tests.integration.trainer import faulty_proxy, hurried
from tests.integration.trainer.faulty_proxy import Answer, Fault, FaultyProxy, Request, Rule, faulty
from tests.integration.trainer.hurried import PART, Hurry
from tests.integration.trainer.launched import Trainer
from tests.integration.trainer.pods import Ended, Pod, StoreServer
from tests.integration.trainer.test_publish_interrupted import verified_manifest

MIB = 1024**2
SCRIPT = "print(1)\n"
LARGE = os.urandom(40 * MIB + 3)
"""Three ranges."""
SMALL = {f"{number:02}.bin": random.Random(number).randbytes(3000 + number) for number in range(50)}
LARGE_OUTPUT = os.urandom(PART + MIB + 3)
"""Two parts."""
OUTPUTS = {**{f"out/{number}.bin": random.Random(number).randbytes(3000 + number) for number in range(8)}, "large.bin": LARGE_OUTPUT}

PATIENT = Hurry(first=30.0, later=30.0)
"""For faults that pass, on a machine that is busy."""
IMPATIENT = Hurry(first=1.5, later=1.5, read=0.7)
"""For faults that stay."""
GIVEN_UP = 20.0
"""Seconds after which a phase of little patience has ended, on a machine that is busy; one that does not give up takes minutes."""
AT_ONCE = 6


@dataclass(frozen=True)
class Kind:
    """A fault by its name. `make` gets the proxy, and the number of bytes after which it strikes."""

    name: str
    make: Callable[[FaultyProxy, int], Fault]


PAGE = Kind("HTTP 503", lambda _, __: faulty_proxy.page(503))
EMPTY = Kind("HTTP 500", lambda _, __: faulty_proxy.status(500))
LATER = Kind("HTTP 429", lambda _, __: faulty_proxy.page(429, Retry_After="1"))
SLOW_DOWN = Kind("SlowDown", lambda _, __: faulty_proxy.refusal(503, "SlowDown", Retry_After="3600"))
TRUNCATED = Kind("cut", lambda _, after: faulty_proxy.truncate(after))
RESET = Kind("reset", lambda _, after: faulty_proxy.reset(after))
STALLED = Kind("stalled", lambda _, after: faulty_proxy.stall(after))
BLACK_HOLE = Kind("black hole", lambda _, __: faulty_proxy.black_hole())
RANGE_IGNORED = Kind("Range ignored", lambda proxy, _: proxy.ignore_range())
OTHER_RANGE = Kind("wrong Content-Range", lambda _, __: faulty_proxy.wrong_content_range())
PACKED = Kind("compressed on the way", lambda _, __: faulty_proxy.packed())

WITH_STATUS = (PAGE, EMPTY, LATER, SLOW_DOWN)
"""Kinds that are called what has to be told of them."""


@dataclass(frozen=True)
class Case:
    """One pod whose store fails in one way, and how its phase ended."""

    pod: Pod
    plan: Plan
    proxy: FaultyProxy
    kind: Kind
    ended: Ended


Rules = Callable[[FaultyProxy, Kind], tuple[Rule, ...]]


def run_all(pods: Callable[[], Pod], phase: str, plan: Plan, hurry: Hurry, cases: Sequence[tuple[Kind, Rules]]) -> list[Case]:
    """Run the phase once for each kind of fault, several at once: they spend much of their time in waiting."""

    def run(kind: Kind, rules: Rules) -> Case:
        own = msgspec.structs.replace(plan, uid=str(uuid.uuid4()))
        pod = pods()
        with faulty(pod.server) as proxy:
            proxy.rules = rules(proxy, kind)
            return Case(pod, own, proxy, kind, through(pod, proxy, phase, own, hurry))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(run, *zip(*cases, strict=True)))


def through(pod: Pod, proxy: FaultyProxy, phase: str, plan: Plan, hurry: Hurry) -> Ended:
    pod.credentials["ENDPOINT"] = proxy.endpoint
    ended = pod.end(hurried.start(pod, phase, plan, hurry))
    assert "Traceback" not in ended.output
    return ended


def fetch(pod: Pod, proxy: FaultyProxy, plan: Plan, hurry: Hurry = PATIENT) -> tuple[Ended, FetchReport]:
    ended = through(pod, proxy, "fetch", plan, hurry)
    return ended, ended.report(FetchReport)


def publish(pod: Pod, proxy: FaultyProxy, plan: Plan, hurry: Hurry = PATIENT) -> tuple[Ended, PublishReport]:
    ended = through(pod, proxy, "publish", plan, hurry)
    return ended, ended.report(PublishReport)


def ran(pod: Pod, outputs: dict[str, bytes]) -> None:
    """Leave a pod as it is when its script has ended, with these outputs."""
    for folder in (pod.workspace / "logs", pod.workspace / ".tftraining", pod.local_bucket, pod.state):
        folder.mkdir(parents=True)
    (pod.state / handover.LOCK_NAME).touch()
    handover.write_files((), pod.state / handover.FILES_NAME)
    handover.write(Baseline(), pod.state / handover.BASELINE_NAME)
    trainer = Trainer(pod)
    for path, data in outputs.items():
        trainer.write(path, data)
    trainer.end(RunReport(exit_code=0, started_at=10.0, finished_at=20.0))


def check_fetched(pod: Pod, plan: Plan) -> None:
    """Make sure that all inputs of the plan are there, byte for byte, and nothing else is left."""
    for each in plan.inputs:
        expected = {"large.bin": LARGE} if each.name == "large" else SMALL
        found = {path.name: path.read_bytes() for path in (pod.workspace / "inputs" / each.name).iterdir()}
        assert found.keys() == expected.keys()
        assert [name for name in found if found[name] != expected[name]] == []
    assert not list(pod.workspace.glob(".fetch*"))


def check_nothing_fetched(pod: Pod) -> None:
    """Make sure that there is no input under a name that a script could open, and nothing that lets a script start."""
    assert not [path for path in (pod.workspace / "inputs").rglob("*") if path.is_file()]
    assert not (pod.state / handover.RESOLVED_NAME).exists()


def check_published(pod: Pod, plan: Plan, outputs: dict[str, bytes]) -> None:
    """Make sure that the outputs are in the bucket, byte for byte, and that the manifest tells of them and of what is there."""
    assert [path for path, data in outputs.items() if pod.server.get(pod.bucket, path) != data] == []
    found = verified_manifest(pod, plan)
    assert found is not None
    assert {each.key for each in found.objects} == outputs.keys()


def check_given_up(case: Case, failure: Failure | None) -> Failure:
    """Make sure that the store is told to be unavailable, with its status if it has one, and soon."""
    assert failure is not None, case.ended.output
    assert (case.ended.code, failure.reason) == (1, Reason.STORAGE_UNAVAILABLE), failure
    assert case.pod.credentials["ENDPOINT"] in failure.message
    assert failure.hint
    if case.kind in WITH_STATUS:
        assert case.kind.name in failure.message
    assert case.ended.seconds < GIVEN_UP
    return failure


@pytest.fixture(scope="module")
def library(store_server: StoreServer) -> str:
    """Return a bucket with a script, a large object and many small ones."""
    bucket = store_server.new_bucket()
    store_server.put(bucket, "code/train.py", SCRIPT)
    store_server.put(bucket, "large.bin", LARGE)
    for name, data in SMALL.items():
        store_server.put(bucket, f"small/{name}", data)
    return bucket


@pytest.fixture
def readers(tmp_path: Path, store_server: StoreServer, library: str) -> Callable[[], Pod]:
    """Return a maker of new pods whose bucket is the library."""
    numbers = itertools.count()
    return lambda: Pod(tmp_path / f"reader-{next(numbers)}", store_server, library, "")


@pytest.fixture
def writers(tmp_path: Path, store_server: StoreServer) -> Callable[[], Pod]:
    """Return a maker of pods whose script has ended, each with a bucket of its own."""
    numbers = itertools.count()

    def new() -> Pod:
        pod = Pod(tmp_path / f"writer-{next(numbers)}", store_server, store_server.new_bucket(), "")
        ran(pod, OUTPUTS)
        return pod

    return new


@pytest.fixture
def large(plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, inputs=(Input(name="large", uri="${bucket}/large.bin"),))


@pytest.fixture
def both(large: Plan) -> Plan:
    return msgspec.structs.replace(large, inputs=(*large.inputs, Input(name="small", uri="${bucket}/small/")))


# Faults that pass.


def test_what_is_fetched_is_whole_after_any_fault_that_passes(readers: Callable[[], Pod], both: Plan, subtests: pytest.Subtests) -> None:
    def rules(proxy: FaultyProxy, kind: Kind) -> tuple[Rule, ...]:
        return (
            Rule(kind.make(proxy, 5 * MIB), "GET", "/large.bin", at={2}),
            Rule(kind.make(proxy, 1000), "GET", "/small/", at={1, 2, 30}),
            Rule(kind.make(proxy, 5), "GET", "/train.py", at={1}),
        )

    kinds = (PAGE, LATER, TRUNCATED, RESET, STALLED, BLACK_HOLE, RANGE_IGNORED, OTHER_RANGE, PACKED)
    for case in run_all(readers, "fetch", both, PATIENT, [(kind, rules) for kind in kinds]):
        with subtests.test(case.kind.name):
            assert (case.ended.code, case.ended.report(FetchReport).failure) == (0, None), case.ended.output
            check_fetched(case.pod, both)
            assert (case.pod.workspace / "code" / "train.py").read_text() == SCRIPT
            ranges, small = case.proxy.asked("GET", "/large.bin"), case.proxy.asked("GET", "/small/")
            assert len(ranges) > 3
            assert len(small) >= len(SMALL) + (3 if case.kind not in (RANGE_IGNORED, OTHER_RANGE) else 0)
            # A request without it may get bytes of another state of the object.
            assert all(each.request.headers.get("if-match", "").strip('"') for each in (*ranges, *small))
            if case.kind is not RANGE_IGNORED:
                assert sum(each.given for each in ranges) - len(LARGE) < 2 * transfer.RANGE


@pytest.mark.every_store
def test_what_is_published_is_whole_after_any_fault_that_passes(writers: Callable[[], Pod], plan: Plan, subtests: pytest.Subtests) -> None:
    def rules(proxy: FaultyProxy, kind: Kind) -> tuple[Rule, ...]:
        return (
            Rule(kind.make(proxy, 1000), "PUT", "/out/", at={1, 6}),
            Rule(kind.make(proxy, MIB), "PUT", "partNumber=", at={1}),
            Rule(kind.make(proxy, 100), "PUT", "/manifest.json", at={1}),
            # The first and the last request of an upload in parts; the last has a body of some hundred bytes.
            *(Rule(kind.make(proxy, 100), "POST", "/large.bin", at={1, 2}) for _ in range(kind in (PAGE, RESET))),
        )

    kinds = (PAGE, EMPTY, TRUNCATED, RESET, STALLED, BLACK_HOLE)
    for case in run_all(writers, "publish", plan, PATIENT, [(kind, rules) for kind in kinds]):
        with subtests.test(case.kind.name):
            assert (case.ended.code, case.ended.report(PublishReport).failure) == (0, None), case.ended.output
            check_published(case.pod, case.plan, OUTPUTS)
            assert len(case.proxy.asked("PUT", "/out/")) >= 8 + 2
            assert len(case.proxy.asked("PUT", "partNumber=")) >= 2 + 1
            assert len(case.proxy.asked("PUT", "/manifest.json")) >= 1 + 1


@pytest.mark.parametrize("kind", [TRUNCATED, RESET], ids=["cut", "reset"])
def test_a_manifest_that_arrives_in_part_is_read_again(pod: Pod, plan: Plan, kind: Kind, tmp_path: Path) -> None:
    pod.put("code/train.py", SCRIPT)
    ran(pod, {"out": b"1"})
    with faulty(pod.server) as proxy:
        # The first look finds none; the second is for what was written.
        proxy.rules = (Rule(kind.make(proxy, 700), "GET", "/manifest.json", at={2}),)
        ended, report = publish(pod, proxy, plan)
        assert (report.failure, report.succeeded) == (None, True), ended.output
        assert len(proxy.asked("GET", "/manifest.json")) == 3
    with faulty(pod.server) as proxy:
        proxy.rules = (Rule(kind.make(proxy, 700), "GET", "/manifest.json", at={1}),)
        ended, fetched = fetch(Pod(tmp_path / "again", pod.server, pod.bucket, ""), proxy, plan)
        assert fetched.failure is None, ended.output
        assert "an earlier pod of this attempt has published its success" in ended.output


@pytest.mark.every_store
def test_connections_that_are_reset_again_and_again_cost_no_byte_twice_but_the_last_of_each(
    readers: Callable[[], Pod], large: Plan
) -> None:
    pod = readers()
    with faulty(pod.server, Rule(faulty_proxy.reset(6 * MIB + 12_345), "GET", "/large.bin")) as proxy:
        ended, report = fetch(pod, proxy, large)
        assert report.failure is None, ended.output
        check_fetched(pod, large)
        answers = proxy.asked("GET", "/large.bin")
        assert len(answers) >= 3 + 3 + 2
        assert sum(each.given for each in answers) - len(LARGE) < 2 * transfer.RANGE


def test_a_downlink_on_which_a_range_takes_longer_than_a_silent_store_is_waited_for(readers: Callable[[], Pod], large: Plan) -> None:
    hurry = Hurry(first=0.5, later=0.5, read=0.5)
    pod = readers()
    with faulty(pod.server, Rule(faulty_proxy.trickle(8 * MIB), "GET", "/large.bin")) as proxy:
        ended, report = fetch(pod, proxy, large, hurry)
        assert report.failure is None, ended.output
        assert ended.seconds > hurry.first + hurry.read
        check_fetched(pod, large)
        assert len(proxy.asked("GET", "/large.bin")) == 3


def test_an_uplink_of_256_kib_per_second_publishes(pod: Pod, plan: Plan) -> None:
    # All times are a fifth of a pod's, so the line is five times as fast.
    hurry = Hurry(first=60 / 5, later=120 / 5, connect=5 / 5, read=30 / 5, longest_delay=15 / 5)
    outputs = {"large.bin": LARGE_OUTPUT}
    ran(pod, outputs)
    with faulty(pod.server, Rule(faulty_proxy.trickle(5 * 256 * 1024), "PUT", "/large.bin")) as proxy:
        ended, report = publish(pod, proxy, plan, hurry)
        assert (ended.code, report.failure) == (0, None), ended.output
        check_published(pod, plan, outputs)
        assert len(proxy.asked("PUT", "partNumber=")) == 2


def test_a_job_starts_though_the_store_answers_503_for_most_of_the_patience(readers: Callable[[], Pod], both: Plan) -> None:
    # Many short pauses in the place of some long ones: it is time that bounds the repetitions, not their number.
    hurry = Hurry(first=5.0, later=5.0, longest_delay=0.2)
    pod = readers()
    with faulty(pod.server, Rule(faulty_proxy.page(503), seconds=3.5)) as proxy:
        ended, report = fetch(pod, proxy, both, hurry)
        assert report.failure is None, ended.output
        assert ended.seconds > 3.5
        check_fetched(pod, both)


@pytest.mark.every_store
def test_an_object_that_is_replaced_while_it_is_fetched_is_told_and_no_file_is_left(pod: Pod, large: Plan) -> None:
    pod.put("code/train.py", SCRIPT)
    pod.put("large.bin", LARGE)

    def change(_request: Request, answer: Answer) -> Answer:
        pod.put("large.bin", LARGE[::-1])
        return answer

    # What the first range still lacks is asked for after the object has changed.
    with faulty(pod.server, Rule(Fault(change=change) | faulty_proxy.truncate(MIB), "GET", "/large.bin", at={1})) as proxy:
        ended, report = fetch(pod, proxy, large, Hurry(read=30.0))
        assert report.failure is not None, ended.output
        assert report.failure.reason is Reason.DIGEST_MISMATCH
        assert "large.bin was replaced while it was fetched" in report.failure.message
        check_nothing_fetched(pod)


# Faults that stay. They strike before the first byte of a body: what goes on, however slowly, is waited for.


def always(method: str, path: str) -> Rules:
    return lambda proxy, kind: (Rule(kind.make(proxy, 0), method, path),)


def test_inputs_that_cannot_be_fetched_are_told_with_what_the_store_answers_and_leave_no_file(
    readers: Callable[[], Pod], both: Plan, subtests: pytest.Subtests
) -> None:
    large, small = always("GET", "/large.bin"), always("GET", "/small/")
    kinds = (PAGE, EMPTY, SLOW_DOWN, TRUNCATED, RESET, STALLED, BLACK_HOLE, OTHER_RANGE, PACKED)
    cases = [*((kind, large) for kind in kinds), *((kind, small) for kind in (LATER, TRUNCATED, PACKED))]
    # Each of the two alone: a failure of the one ends the other's transfer.
    plans = {rules: msgspec.structs.replace(both, inputs=(both.inputs[rules is small],)) for rules in (large, small)}
    for rules, plan in plans.items():
        for case in run_all(readers, "fetch", plan, IMPATIENT, [each for each in cases if each[1] is rules]):
            with subtests.test(f"{plan.inputs[0].name}: {case.kind.name}"):
                check_given_up(case, case.ended.report(FetchReport).failure)
                check_nothing_fetched(case.pod)


def test_outputs_that_cannot_be_published_are_told_with_what_the_store_answers_and_there_is_no_manifest(
    writers: Callable[[], Pod], plan: Plan, subtests: pytest.Subtests
) -> None:
    small, part, last = always("PUT", "/out/"), always("PUT", "partNumber="), always("PUT", "/manifest.json")
    cases = [
        *((kind, small) for kind in (PAGE, EMPTY, RESET, STALLED)),
        *((kind, part) for kind in (LATER, STALLED)),
        *((kind, last) for kind in (SLOW_DOWN, BLACK_HOLE)),
    ]
    for (_, rules), case in zip(cases, run_all(writers, "publish", plan, IMPATIENT, cases), strict=True):
        with subtests.test(f"{case.proxy.rules[0].path}: {case.kind.name}"):
            check_given_up(case, case.ended.report(PublishReport).failure)
            assert verified_manifest(case.pod, case.plan) is None
            if rules is part:
                # What was begun is taken back: parts that nobody completes cost money for ever.
                assert case.proxy.asked("DELETE", "uploadId=")


# Causes outside of the store and its bytes.


@pytest.mark.every_store
@pytest.mark.parametrize(("phase", "skew"), [("fetch", -3600.0), ("publish", 3600.0)])
def test_a_clock_that_is_an_hour_off_is_told_as_that(pod: Pod, plan: Plan, phase: str, skew: float) -> None:
    found = refused(pod, plan, phase, Hurry(skew=skew))
    assert found.reason is Reason.STORAGE_DENIED
    assert "its clock and the node's differ" in found.message
    assert "clock" in found.hint


@pytest.mark.parametrize("phase", ["fetch", "publish"])
def test_a_host_name_that_cannot_be_resolved_is_told_as_that(pod: Pod, plan: Plan, phase: str) -> None:
    pod.credentials["ENDPOINT"] = "http://no-such-host.invalid:9000"
    found = refused(pod, plan, phase, IMPATIENT)
    assert found.reason is Reason.STORAGE_UNAVAILABLE
    assert "the host name of http://no-such-host.invalid:9000 is not known" in found.message


def refused(pod: Pod, plan: Plan, phase: str, hurry: Hurry) -> Failure:
    """Return why a phase could do nothing."""
    pod.put("code/train.py", SCRIPT)
    if phase == "publish":
        ran(pod, {"out": b"1"})
    ended = pod.end(hurried.start(pod, phase, plan, hurry))
    assert ended.code == 1, ended.output
    assert "Traceback" not in ended.output
    assert ended.seconds < GIVEN_UP
    assert pod.server.keys(pod.bucket) == ["code/train.py"]
    found = ended.report(FetchReport if phase == "fetch" else PublishReport).failure
    assert found is not None, ended.output
    return found
