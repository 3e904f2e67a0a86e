"""What a job that waits tells, when, and how often: a registry's own words, numbers that wobble, reasons that alternate."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.decide import decide
from tftraining_operator.core.nodes import Node, Nodes
from tftraining_operator.core.records import Observed, Plan

from .given import CONFIGURATION, CREATED, NAMESPACE, Pod, after, job, seen

NOW = CREATED + 100
GPU = "nvidia.com/gpu"
IMAGE = "registry.test/trainer:tf2"
PULL = f'failed to pull and unpack image "{IMAGE}": '
RESOLVE = f'{PULL}failed to resolve reference "{IMAGE}": '


def plan(observed: Observed, now: float = NOW) -> Plan:
    return decide(observed, CONFIGURATION, now)


def told(observed: Observed, now: float = NOW) -> dict[str, Any]:
    """Return what the status says of the wait after a look."""
    return dict(after(observed, plan(observed, now)).job.status["pending"])


def unplaced(message: str, **fields: Any) -> Pod:
    return replace(Pod(node=""), **fields).condition("PodScheduled", "False", "Unschedulable", message)


def waiting(reason: str, message: str, container: str = "fetch") -> Pod:
    return Pod().container(container, waiting={"reason": reason, "message": message})


@pytest.mark.parametrize(
    ("said", "words", "remedy"),
    [
        (
            f'{PULL}failed to resolve image: failed to do request: Head "https://registry.test/v2/trainer": dial tcp: lookup '
            f"registry.test: no "
            "such host",
            'failed to do request: Head "https://registry.test/v2/trainer": dial tcp: lookup registry.test: no such host',
            "the node does not reach the registry",
        ),
        (
            f'{PULL}failed to resolve image: failed to do request: Head "https://registry.test/v2/x": dial tcp 127.0.0.1:443: connect: '
            "connection refused",
            "connect: connection refused",
            "the node does not reach the registry",
        ),
        (
            f"rpc error: code = NotFound desc = {RESOLVE}{IMAGE}: not found",
            f": {IMAGE}: not found; ",
            "the registry does not have it: an admin has to provide it or correct the runtime catalogue",
        ),
        (
            f"{RESOLVE}failed to authorize: failed to fetch anonymous token: unexpected status from GET request to "
            f"https://registry.test/token: "
            "401 Unauthorized",
            ": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://registry.test/token: "
            "401 "
            "Unauthorized; ",
            "set imagePullSecrets of the runtime",
        ),
        (
            f"{RESOLVE}pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: "
            "authorization failed",
            ": pull access denied, repository does not exist",
            "set imagePullSecrets of the runtime",
        ),
        (
            f"{PULL}no match for platform in manifest: not found",
            ": no match for platform in manifest",
            "not built for the node's architecture",
        ),
        (
            f"{RESOLVE}unexpected status from HEAD request to https://r/v2/x: 429 Too Many Requests",
            ": unexpected status",
            "no more requests",
        ),
        (f"{RESOLVE}tls: failed to verify certificate: x509: unknown authority", ": tls: failed", "does not trust the registry"),
        (f"{PULL}write /var/lib/x: no space left on device", ": write /var/lib/x: no space left on device", "the node's disk is full"),
        ("something new", ": something new; ", "an admin has to provide it or correct the runtime catalogue"),
    ],
)
def test_a_pull_that_fails_is_told_in_the_registry_s_own_words_with_the_remedy(said: str, words: str, remedy: str) -> None:
    found = told(seen(job(), waiting("ErrImagePull", said)))
    assert found["reason"] == "ImageUnavailable"
    assert f"the image {IMAGE} of runtime tf2 cannot be pulled on node node-a: " in found["message"]
    assert words in found["message"]
    assert remedy in found["message"]
    backed_off = waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}": ErrImagePull: {said}')
    assert told(seen(job(), backed_off))["message"] == found["message"]


def test_an_image_that_is_never_pulled_is_told_as_what_it_is() -> None:
    found = told(seen(job(), waiting("ErrImageNeverPull", f'Container image "{IMAGE}" is not present with pull policy of Never')))
    assert found["reason"] == "ImageUnavailable"
    assert "the runtime's imagePullPolicy is Never" in found["message"]


def test_a_back_off_that_says_less_than_the_pull_before_it_takes_nothing_back() -> None:
    pulled = seen(job(), waiting("ErrImagePull", f"{RESOLVE}{IMAGE}: not found"))
    observed = after(pulled, plan(pulled))
    bare = replace(observed, pods=(waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"').record(),))
    found = plan(bare, NOW + 300)
    assert (found.status, found.events) == (None, ())
    assert "pulling failed" in told(seen(job(), waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"')))["message"]


def test_numbers_that_wobble_are_written_anew_after_half_a_minute_and_make_no_event() -> None:
    first = seen(job(), unplaced("0/3 nodes are available: 3 Insufficient cpu."))
    observed = after(first, plan(first))
    wobbled = replace(observed, pods=(unplaced("0/4 nodes are available: 4 Insufficient cpu.").record(),))
    soon = plan(wobbled, NOW + 10)
    assert (soon.status, soon.events, soon.requeue_at) == (None, (), NOW + 30)
    later = plan(wobbled, NOW + 30)
    assert later.events == ()
    assert later.status is not None
    assert "0/4 nodes" in later.status["pending"]["message"]
    assert later.status["pending"]["lastUpdateTime"] == rfc3339(NOW + 30)
    assert "0/4 nodes" in later.status["message"]


def test_words_that_alternate_are_written_at_most_every_half_minute() -> None:
    sentences = ("0/2 nodes are available: 2 Insufficient cpu.", "0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.")
    observed = seen(job(), unplaced(sentences[0]))
    writes = events = 0
    for second in range(120):
        observed = replace(observed, pods=(unplaced(sentences[second % 2]).record(),))
        found = plan(observed, NOW + second)
        writes += found.status is not None
        events += len(found.events)
        observed = after(observed, found)
    assert writes <= 1 + 120 / 30
    assert events == 1


def test_another_reason_is_told_at_once_with_an_event() -> None:
    first = seen(job(), unplaced("0/1 nodes are available: 1 Insufficient cpu."))
    observed = replace(after(first, plan(first)), nodes=Nodes((Node("node-a", {"cpu": Decimal("0.5"), "memory": Decimal(2**40)}),)))
    found = plan(observed, NOW + 1)
    assert [event.reason for event in found.events] == ["TooLargeForAnyNode"]
    assert found.status is not None
    assert found.status["pending"]["reason"] == "TooLargeForAnyNode"


def test_a_key_that_is_missing_after_another_is_told_at_once() -> None:
    def lacking(key: str) -> Pod:
        return waiting("CreateContainerConfigError", f"couldn't find key {key} in Secret {NAMESPACE}/tftraining-storage")

    first = seen(job(), lacking("endpoint"))
    observed = after(first, plan(first))
    found = told(replace(observed, pods=(lacking("bucket").record(),)), NOW + 1)
    assert "has no key bucket" in found["message"]


def test_a_pod_that_no_node_takes_asks_for_the_nodes_to_be_seen() -> None:
    asking = plan(seen(job(resources={"gpus": 2}), unplaced("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")))
    assert asking.need is not None
    assert asking.need.asked[GPU] == 2
    assert plan(seen(job(), unplaced("", conditions=()).condition("PodScheduled", "False", "SchedulingGated"))).need is None
    assert plan(seen(job(), Pod())).need is None


def test_words_without_numbers_are_not_written_where_the_numbers_come_in_a_moment() -> None:
    without = seen(job(), unplaced("0/1 nodes are available: 1 Insufficient cpu."))
    found = plan(replace(without, nodes_awaited=True))
    assert (found.status, found.events) == (None, ())
    assert found.need is not None
    assert told(without)["reason"] == "Unschedulable"


def test_a_quota_whose_use_wobbles_is_told_anew_now_and_then() -> None:
    def refusal(used: int) -> str:
        return f"exceeded quota: q, requested: pods=1, used: pods={used}, limited: pods=9"

    observed = seen(job(), refusal=refusal(8))
    observed = after(observed, plan(observed))
    wobbled = replace(observed, refusal=refusal(9))
    assert plan(wobbled, NOW + 9).status is None
    assert "9 of 9 are in use" in told(wobbled, NOW + 31)["message"]


def test_a_status_of_before_this_version_is_written_anew_once() -> None:
    first = seen(job(), unplaced("0/1 nodes are available: 1 Insufficient cpu."))
    observed = after(first, plan(first))
    old = dict(observed.job.status)
    old["pending"] = {key: value for key, value in old["pending"].items() if key != "lastUpdateTime"}
    found = plan(replace(observed, job=replace(observed.job, status=old)), NOW + 5)
    assert found.status is not None
    assert found.events == ()


def test_of_two_quotas_that_refuse_by_turns_the_status_tells_of_one_at_a_time() -> None:
    small = (
        'pods "iris-chief-0" is forbidden: exceeded quota: small, requested: requests.cpu=4, used: requests.cpu=0, limited: requests.cpu=2'
    )
    full = 'pods "iris-chief-0" is forbidden: exceeded quota: full, requested: pods=1, used: pods=4, limited: pods=4'
    observed = seen(job(), refusal=full)
    observed = after(observed, plan(observed, NOW))
    assert observed.job.status["pending"]["reason"] == "QuotaUsedUp"
    written = [plan(replace(observed, refusal=(small, full)[second % 2]), NOW + second).status for second in range(1, 30)]
    assert written == [None] * 29
    later = plan(replace(observed, refusal=small), NOW + 31).status
    assert later is not None
    assert later["pending"]["reason"] == "QuotaTooSmall"
