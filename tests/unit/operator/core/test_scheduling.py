"""Sentences of kube-scheduler, as clusters of different versions have shown them, and what is read of each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftraining_operator.core.scheduling import Obstacle, Refusal, read

RESOURCE, PODS, TAINT, SELECTOR, CORDON, OTHER = Obstacle
GPU = "nvidia.com/gpu"


@pytest.mark.parametrize(
    ("message", "nodes", "refusals", "never", "preempting"),
    [
        pytest.param(
            "0/1 nodes are available: 1 Insufficient example.com/tpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 "
            "Preemption is not helpful for scheduling.",
            1,
            [Refusal(1, RESOURCE, "example.com/tpu")],
            True,
            False,
            id="1.36, a device that no node offers, or more than any has",
        ),
        pytest.param(
            "0/1 nodes are available: 1 Insufficient kq.test/dev. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No "
            "preemption victims found for incoming pod.",
            1,
            [Refusal(1, RESOURCE, "kq.test/dev")],
            False,
            False,
            id="1.36, a device that another pod has",
        ),
        pytest.param(
            f"0/2 nodes are available: 1 Insufficient {GPU}, 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: "
            "0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
            2,
            [Refusal(1, RESOURCE, GPU), Refusal(1, TAINT)],
            True,
            False,
            id="with a taint that is not named any more",
        ),
        pytest.param(
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to a terminating pod "
            "on the nominated node.",
            1,
            [Refusal(1, RESOURCE, "cpu")],
            False,
            True,
            id="1.36, others are being ended for it",
        ),
        pytest.param(
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to workload aware "
            "preemption enabled",
            1,
            [Refusal(1, RESOURCE, "cpu")],
            False,
            False,
            id="1.36, a group",
        ),
        pytest.param(
            f"0/2 nodes are available: 1 Insufficient {GPU}, 1 node(s) had untolerated taint {{node-role.kubernetes.io/control-plane: }}. "
            "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for "
            "scheduling..",
            2,
            [Refusal(1, RESOURCE, GPU), Refusal(1, TAINT, "{node-role.kubernetes.io/control-plane: }")],
            False,
            False,
            id="older, two stops at the end",
        ),
        pytest.param(
            "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {gpu: true}, 1 "
            "node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }. preemption: 0/3 nodes are available: 3 Preemption is "
            "not helpful for scheduling.",
            3,
            [
                Refusal(1, SELECTOR),
                Refusal(1, TAINT, "{gpu: true}"),
                Refusal(1, TAINT, "{node-role.kubernetes.io/control-plane: }"),
            ],
            True,
            False,
            id="older, a selector and two taints",
        ),
        pytest.param(
            "0/4 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector, 2 node(s) were "
            "unschedulable."
            " preemption: 0/4 nodes are available: 1 No preemption victims found for incoming pod, 3 Preemption is not helpful for "
            "scheduling.",
            4,
            [Refusal(1, RESOURCE, "cpu"), Refusal(1, SELECTOR), Refusal(2, CORDON)],
            False,
            False,
            id="a cordon",
        ),
        pytest.param(
            "0/2 nodes are available: 1 Insufficient memory, 2 Insufficient cpu. preemption: 0/2 nodes are available: 2 No preemption "
            "victims found for incoming pod.",
            2,
            [Refusal(1, RESOURCE, "memory"), Refusal(2, RESOURCE, "cpu")],
            False,
            False,
            id="numbers that add up to more than the nodes",
        ),
        pytest.param(
            "0/2 nodes are available: 2 Too many pods. preemption: 0/2 nodes are available: 2 No preemption victims found for "
            "incoming pod.",
            2,
            [Refusal(2, PODS)],
            False,
            False,
            id="too many pods",
        ),
        pytest.param(
            '0/3 nodes are available: persistentvolumeclaim "x" not found. preemption: 0/3 nodes are available: 3 No preemption victims '
            "found for incoming pod..",
            3,
            [],
            False,
            False,
            id="a reason that is of no node",
        ),
        pytest.param(
            "0/1 nodes are available: 1 Insufficient cpu.", 1, [Refusal(1, RESOURCE, "cpu")], False, False, id="victims are found"
        ),
        pytest.param("0/10 nodes are available.", 10, [], False, False, id="no reason"),
        pytest.param("no nodes available to schedule pods", 0, [], True, False, id="no node"),
        pytest.param("the pod is cursed", None, [], False, False, id="another scheduler"),
        pytest.param("", None, [], False, False, id="nothing"),
    ],
)
def test_a_scheduler_s_sentence_is_read_in_all_versions(
    message: str, nodes: int | None, refusals: list[Refusal], never: bool, preempting: bool
) -> None:
    found = read(message)
    assert (found.nodes, list(found.refusals), found.never, found.preempting) == (nodes, refusals, never, preempting)
    assert "preemption" not in found.why
    assert "claims" not in found.why
    assert found.why in message


_PIECES = [
    "0/3 nodes are available",
    ": ",
    ". ",
    ", ",
    "1 Insufficient cpu",
    "9 node(s) had untolerated taint {a: b}",
    "preemption: ",
    "2 ",
    ".",
]


@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=20), max_size=12).map("".join))
def test_whatever_a_scheduler_says_it_is_read_without_a_complaint(message: str) -> None:
    found = read(message)
    assert found.never in {True, False}
    assert all(refusal.nodes >= 0 for refusal in found.refusals)
