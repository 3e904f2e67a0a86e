"""What the API server says when it refuses a pod, and what the user reads of it: what is demanded, and whether waiting helps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftraining_operator.core.refusals import refused

PODS = 'pods "iris-chief-0" is forbidden: '


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        (
            "failed quota: team: must specify limits.cpu for: fetch,publisher,trainer",
            "LimitRequired",
            [
                "the quota team of the namespace takes no pod without limits.cpu: ",
                "spec.resources.cpuLimit, such as 500m and no less than",
                "other container adds 1; or",
                "chart",
            ],
        ),
        (
            "failed quota: team: must specify limits.cpu for: fetch,publisher,trainer; limits.ephemeral-storage for: trainer",
            "LimitRequired",
            ["no pod without limits.cpu, limits.ephemeral-storage: ", "a LimitRange with defaults"],
        ),
        ("failed quota: team: must specify limits.cpu,requests.example.com/x", "LimitRequired", ["limits.cpu, requests.example.com/x"]),
        (
            "exceeded quota: team, requested: limits.cpu=5,requests.cpu=1050m, used: limits.cpu=0,requests.cpu=0, "
            "limited: limits.cpu=4,requests.cpu=4",
            "QuotaTooSmall",
            [
                "as long as the quota team of the namespace is what it is, it does not take this job's pod, ",
                "which asks for 5 of limits.cpu, where 4 is all that it allows: ",
                "(spec.resources.cpuLimit of at most 3000m, to which the pod's other container adds 1)",
                "let an admin raise the quota",
            ],
        ),
        (
            "exceeded quota: team, requested: limits.cpu=3, used: limits.cpu=0, limited: limits.cpu=1500m",
            "QuotaTooSmall",
            ["(spec.resources.cpuLimit of at most 500m, to which the pod's other container adds 1), or let an admin raise the quota"],
        ),
        (
            "exceeded quota: team, requested: limits.cpu=1500m, used: limits.cpu=0, limited: limits.cpu=1",
            "QuotaTooSmall",
            ["allows: the pod's other container alone needs 1 of limits.cpu, so that no job fits; let an admin raise the quota"],
        ),
        (
            "exceeded quota: team, requested: limits.cpu=3, used: limits.cpu=2, limited: limits.cpu=4",
            "QuotaUsedUp",
            [
                "is used up: the job's pod asks for 3 of limits.cpu, of which 2 of 4 are in use",
                "starts by itself when other pods have ended",
            ],
        ),
        (
            "exceeded quota: q, requested: requests.memory=2688Mi, used: requests.memory=7Gi, limited: requests.memory=8Gi",
            "QuotaUsedUp",
            ["2688Mi of requests.memory, of which 7Gi of 8Gi are in use"],
        ),
        (
            "exceeded quota: q, requested: requests.memory=10000Mi, used: requests.memory=7Gi, limited: requests.memory=8Gi",
            "QuotaTooSmall",
            ["10000Mi of requests.memory, where 8Gi is all", "(spec.resources.memory)"],
        ),
        (
            "exceeded quota: q, requested: pods=1, used: pods=10, limited: pods=10",
            "QuotaUsedUp",
            ["1 of pods, of which 10 of 10 are in use"],
        ),
        ("exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0", "QuotaTooSmall", ["1 of pods, where 0 is all"]),
        (
            "exceeded quota: q, requested: requests.nvidia.com/gpu=4, used: requests.nvidia.com/gpu=0, limited: requests.nvidia.com/gpu=2",
            "QuotaTooSmall",
            ["4 of requests.nvidia.com/gpu, where 2 is all", "(spec.resources.gpus)"],
        ),
        (
            "maximum cpu usage per Container is 1, but limit is 2",
            "OutsideLimitRange",
            ["maximum cpu usage per Container is 1, but limit is 2: ", "with other values (spec.resources.cpuLimit)"],
        ),
        (
            "maximum memory usage per Container is 512Mi, but limit is 600Mi",
            "OutsideLimitRange",
            ["maximum memory usage per Container is 512Mi, but limit is 600Mi: ", "(spec.resources.memory), or let an admin change"],
        ),
        (
            "[minimum cpu usage per Container is 10m, but request is 1m, maximum cpu usage per Pod is 2, but limit is 3001m]",
            "OutsideLimitRange",
            [
                "is 10m, but request is 1m, maximum cpu usage per Pod is 2, but limit is 3001m: ",
                "(spec.resources.cpu, spec.resources.cpuLimit)",
            ],
        ),
        (
            "maximum cpu usage per Pod is 2.  No limit is specified",
            "OutsideLimitRange",
            ["maximum cpu usage per Pod is 2, but no limit is specified: ", "(spec.resources.cpuLimit)"],
        ),
        (
            "minimum cpu usage per Container is 100m, but request is 50m",
            "OutsideLimitRange",
            ["that is of the pod's other containers, so that no job fits: let an admin change the LimitRange"],
        ),
        (
            "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
            "OutsideLimitRange",
            ["ratio per Container is 2, but provided ratio is 4.000000: ", "(spec.resources.cpuLimit)"],
        ),
        (
            "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
            "OutsideLimitRange",
            ["but no limit is specified or limit is 0: ", "(spec.resources.cpuLimit)"],
        ),
        (
            "unable to create new content in namespace team-a because it is being terminated",
            "PodRefused",
            ["the namespace is being deleted, and the job with it"],
        ),
        (
            'error looking up service account team-a/default: serviceaccount "default" not found',
            "PodRefused",
            ["seconds after its namespace"],
        ),
        (
            'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
            "PodRefused",
            ['violates PodSecurity "restricted:latest"', "only an admin can change what is allowed here"],
        ),
        ("status unknown for quota: team, resources: limits.cpu", "PodRefused", ["status unknown for quota: team"]),
        ("exceeded quota: q, requested: x, used: y, limited: z", "PodRefused", ["exceeded quota: q"]),
    ],
)
def test_a_refusal_is_told_with_what_is_demanded_and_whether_waiting_helps(message: str, reason: str, words: list[str]) -> None:
    found = refused(PODS + message)
    assert found.reason == reason
    assert not found.certain, "an admin can change a quota at any time"
    assert [each for each in words if each not in found.message] == [], found.message


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        (
            'Pod "iris-chief-0" is invalid: spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu '
            "limit of 1",
            "OutsideLimitRange",
            [
                "gives each container a cpu limit of 1, and the job asks for 2: ",
                "with less (spec.resources.cpu), or with spec.resources.cpuLimit",
            ],
        ),
        (
            'Pod "iris-chief-0" is invalid: spec.nodeSelector: Invalid value: "a b": must be a label',
            "PodRefused",
            ["waiting alone does not help, an admin has to correct the runtime catalogue"],
        ),
        (
            'pods is forbidden: User "system:serviceaccount:a:b" cannot create resource "pods" in API group "" in the namespace "team-a"',
            "PodRefused",
            ["the operator lacks the right to: an admin has to look at the roles of its chart"],
        ),
    ],
)
def test_what_no_waiting_mends_is_told_from_what_may_come_right(message: str, reason: str, words: list[str]) -> None:
    found = refused(message)
    assert found.reason == reason
    assert [each for each in words if each not in found.message] == [], found.message


@given(
    st.lists(
        st.sampled_from(
            [
                "exceeded quota: a",
                ", requested: ",
                "cpu=1",
                ", used: ",
                "cpu=9E",
                "cpu=x",
                ", limited: ",
                "failed quota: b: must specify ",
                ";",
                ",",
                "9",
                "minimum cpu usage per Container is ",
                "1, but request is ",
                ".  No limit is specified",
            ]
        ),
        max_size=12,
    )
)
def test_whatever_the_server_says_it_is_told(parts: list[str]) -> None:
    assert refused("".join(parts)).message
