"""What a replica is told of the others, and its wait for their names."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import msgspec
import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Plan, Script
from tftrainer.run import peers

ALONE = Plan(namespace="team", job="iris", uid="u", runtime="tf2", script=Script(name="train.py"))
PEERS = {"chief": ("iris-chief-0.iris:2222",), "worker": ("iris-worker-0.iris:2222", "iris-worker-1.iris:2222")}
WORKER = msgspec.structs.replace(ALONE, role="worker", index=1, peers=PEERS, peers_seconds=60)


class Clock:
    """Time passes only while somebody pauses, a second each time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self) -> None:
        self.now += 1


class Names:
    """Hosts that are known from a time on."""

    def __init__(self, clock: Clock, known_from: dict[str, float]) -> None:
        self._clock = clock
        self._known_from = known_from

    def __call__(self, host: str) -> bool:
        return self._clock.now >= self._known_from.get(host, 0)


def waited(plan: Plan, known_from: dict[str, float]) -> tuple[list[str], list[str]]:
    """Return who is missing, and what was said."""
    clock, said = Clock(), list[str]()
    looked = threading.Event()

    def pause() -> None:
        clock.pause()
        # Whoever asks has a moment to see that time has passed.
        looked.wait(0.02)

    return peers.missing(plan, pause, said.append, Names(clock, known_from), clock), said


def test_tensorflow_is_told_the_cluster_and_the_own_task_in_its_own_form() -> None:
    [(name, text)] = peers.variables(contract.decode_plan(contract.encode_plan(WORKER)), version_1=False).items()
    assert name == "TF_CONFIG"
    assert json.loads(text) == {
        "cluster": {"chief": ["iris-chief-0.iris:2222"], "worker": ["iris-worker-0.iris:2222", "iris-worker-1.iris:2222"]},
        "task": {"type": "worker", "index": 1},
    }


def test_a_replica_that_is_alone_is_told_nothing() -> None:
    assert peers.variables(ALONE, version_1=False) == {}


@pytest.mark.parametrize("version_1", [False, True])
def test_an_evaluator_is_part_of_the_cluster_of_tensorflow_2_and_not_of_estimators(version_1: bool) -> None:
    peers_of_all = {**PEERS, "evaluator": ("iris-evaluator-0.iris:2222",)}
    for role in ("chief", "evaluator"):
        plan = msgspec.structs.replace(WORKER, role=role, index=0, peers=peers_of_all)
        told = json.loads(peers.variables(plan, version_1=version_1)["TF_CONFIG"])
        assert told["task"] == {"type": role, "index": 0}
        assert list(told["cluster"]) == ["chief", "worker", *([] if version_1 else ["evaluator"])]


def test_names_that_are_known_at_once_are_no_word_worth() -> None:
    assert waited(WORKER, {}) == ([], [])


def test_who_is_waited_for_is_said_once_and_that_all_are_there() -> None:
    missing, said = waited(WORKER, {"iris-worker-1.iris": 12, "iris-chief-0.iris": 8})
    assert missing == []
    assert said == [
        "waiting, at most 60 s, for the names of 2 of 3 replicas: chief-0 (iris-chief-0.iris), worker-1 (iris-worker-1.iris)",
        "the names of all 3 replicas are known",
    ]


def test_after_its_time_those_are_named_who_are_missing() -> None:
    missing, said = waited(WORKER, {"iris-worker-0.iris": 1e9})
    assert missing == ["worker-0 (iris-worker-0.iris)"]
    assert len(said) == 1


def test_one_answer_that_does_not_come_keeps_no_other_name_from_being_known_and_a_stop_ends_the_wait() -> None:
    class StoppedError(Exception):
        pass

    ever, asked = threading.Event(), threading.Event()

    def resolve(host: str) -> bool:
        return ever.wait(60) if host == "iris-chief-0.iris" else True

    def say(text: str) -> None:
        assert text.endswith(": chief-0 (iris-chief-0.iris)")
        asked.set()

    def pause() -> None:
        clock.pause()
        if asked.is_set():
            raise StoppedError
        ever.wait(0.02)

    clock = Clock()
    with pytest.raises(StoppedError):
        peers.missing(WORKER, pause, say, resolve, clock)
    ever.set()


@pytest.mark.parametrize(
    ("address", "host"),
    [("a.b.svc:2222", "a.b.svc"), ("10.0.0.1:1", "10.0.0.1"), ("[fd00::1]:2222", "fd00::1"), ("x" * 253 + ":1", "x" * 253)],
)
def test_the_port_is_no_part_of_the_name(address: str, host: str) -> None:
    asked: list[str] = []

    def resolve(name: str) -> bool:
        asked.append(name)
        return True

    pause: Callable[[], object] = lambda: None  # noqa: E731
    peers.missing(msgspec.structs.replace(WORKER, peers={"worker": (address,)}), pause, lambda _: None, resolve)
    assert asked == [host]


def test_of_a_hundred_missing_replicas_the_first_are_named() -> None:
    words = peers.in_words([f"worker-{index} ({'h' * 253})" for index in range(100)])
    assert "worker-2" in words
    assert words.endswith(" and 97 more")
    assert len(words) < 900


def test_a_name_that_cannot_be_one_is_not_known() -> None:
    assert peers.missing(
        msgspec.structs.replace(WORKER, peers={"worker": ("x" * 300 + ":1", "no-such-host.invalid:1")}, peers_seconds=0),
        lambda: None,
        lambda _: None,
    ) == [f"worker-0 ({'x' * 300})", "worker-1 (no-such-host.invalid)"]
