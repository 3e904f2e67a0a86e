"""What a scheduler's sentence says: on how many nodes what stands in a pod's way, and whether the end of other pods could change that.

kube-scheduler tells it in words alone, in the message of the pod's condition PodScheduled. Read are the sentences of 1.30 to 1.36
(`FitError.Error` in pkg/scheduler/framework/types.go, and the plugins' reasons); of any other nothing is concluded.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

_NODES: Final = re.compile(r"0/(\d{1,9}) nodes are available")
_NO_NODES: Final = "no nodes available to schedule pods"
_REFUSAL: Final = re.compile(r"(?:^|, )(\d{1,9}) (.+?)(?=, \d{1,9} |$)")
_PREEMPTION: Final = re.compile(r"(?<![a-z])preemption: ")
_UNHELPFUL: Final = re.compile(r"(\d{1,9}) Preemption is not helpful for scheduling")
_VICTIMS_END: Final = "not eligible due to a terminating pod on the nominated node"
_TAINT: Final = re.compile(r"node\(s\) had untolerated taint(?:\(s\)| (\{.*\}))")
_INSUFFICIENT: Final = re.compile(r"Insufficient (\S+)")


class Obstacle(enum.StrEnum):
    """What a node lacks or has that keeps a pod away from it."""

    RESOURCE = "resource"
    PODS = "pods"
    TAINT = "taint"
    SELECTOR = "selector"
    CORDON = "cordon"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why `nodes` of the nodes refuse the pod; `detail` is a resource's name, a taint as `{key: value}`, or the scheduler's own words."""

    nodes: int
    obstacle: Obstacle
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A scheduler's sentence.

    `nodes` is the number of all nodes, None where the sentence is none that is known. Of a node, the first obstacle is told, and of
    resources all that lack, so that numbers can add up to more. `unhelpful` counts the nodes that would not take the pod if all others
    were gone from them. `preempting` tells that others are on their way out for it. `why` is the sentence without what follows about
    preemption, which is about other pods.
    """

    nodes: int | None
    refusals: tuple[Refusal, ...]
    unhelpful: int
    preempting: bool
    why: str

    @property
    def never(self) -> bool:
        """Whether no node would take the pod even if it were empty. A scheduler of before 1.36 need not say so where it is so."""
        return self.nodes is not None and (self.nodes == 0 or self.unhelpful >= self.nodes)

    def only(self, obstacle: Obstacle) -> tuple[Refusal, ...]:
        """Return the refusals if all nodes have that obstacle, nothing otherwise."""
        found = tuple(refusal for refusal in self.refusals if refusal.obstacle is obstacle)
        return found if found and len(found) == len(self.refusals) else ()


def read(message: str) -> Sentence:
    """Return what a message of PodScheduled=False says. Never raises, whatever is in it."""
    if message.startswith(_NO_NODES):
        return Sentence(0, (), 0, preempting=False, why=_NO_NODES)
    nodes = _NODES.match(message)
    if nodes is None:
        return Sentence(None, (), 0, preempting=False, why=message.strip().rstrip("."))
    # The plugins that are asked afterwards (dynamic resources since 1.36, preemption) each add a clause of their own, after a stop.
    first, _, rest = message[nodes.end() :].lstrip(": ").partition(". ")
    preemption = _PREEMPTION.split(rest, maxsplit=1)[-1]
    refusals = tuple(_refusal(int(count), words) for count, words in _REFUSAL.findall(first.rstrip(". ")))
    return Sentence(
        nodes=int(nodes[1]),
        refusals=refusals,
        unhelpful=sum(int(count) for count in _UNHELPFUL.findall(preemption)),
        preempting=_VICTIMS_END in preemption,
        why=f"{nodes[0]}: {first.rstrip('. ')}" if first.strip(". ") else nodes[0],
    )


def _refusal(nodes: int, words: str) -> Refusal:
    if (lacking := _INSUFFICIENT.fullmatch(words)) is not None:
        return Refusal(nodes, Obstacle.RESOURCE, lacking[1])
    if (taint := _TAINT.fullmatch(words)) is not None:
        return Refusal(nodes, Obstacle.TAINT, taint[1] or "")
    known = {
        "Too many pods": Obstacle.PODS,
        "node(s) didn't match Pod's node affinity/selector": Obstacle.SELECTOR,
        "node(s) were unschedulable": Obstacle.CORDON,
    }
    return Refusal(nodes, known[words]) if words in known else Refusal(nodes, Obstacle.OTHER, words)
