"""What a job waits for whose pod the API server does not take: what is demanded, and whether waiting helps.

The server answers 403 to a quota, to a LimitRange and to any other admission alike, and 422 to a pod that is none: only the text tells
what may come right by itself from what an admin or another job has to set right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tftraining_operator.api.quantities import exact, is_quantity
from tftraining_operator.core.effective import SIDE_CPU, SIDE_REQUESTS
from tftraining_operator.core.pending import Pending, short

_DEMANDED: Final = re.compile(r"failed quota: (?P<quota>[^\s:]{1,253}): must specify (?P<demands>.{1,900})", re.DOTALL)
_DEMAND: Final = re.compile(r"(?:^|[;,]\s*)((?:limits|requests)\.[-./A-Za-z0-9]+|cpu|memory)")
_EXCEEDED: Final = re.compile(
    r"exceeded quota: (?P<quota>[^\s,]{1,253}), requested: (?P<requested>\S{1,600}), used: (?P<used>\S{1,600}), "
    r"limited: (?P<limited>\S{1,600})"
)
_QUOTA_EXCEEDED: Final = "exceeded quota"
_AMOUNT: Final = re.compile(r"([-./A-Za-z0-9]{1,253})=([0-9.]+[A-Za-z]{0,2})")
_OUTSIDE_RANGE: Final = re.compile(
    r"(?:(?P<kind>minimum|maximum) (?P<resource>\S{1,253}) usage|(?P<ratio>\S{1,253}) max limit to request ratio) per "
    r"(?P<scope>Container|Pod) is (?P<bound>[^\s,]{1,64}?)"
    r"(?:, but |\.  )(?:(?P<what>request|limit|provided ratio) is (?P<given>[^\s,\]]{1,64})"
    r"|[Nn]o (?:request|limit) is specified(?: or (?:request|limit) is 0)?)"
)
_DEFAULT_LIMIT: Final = re.compile(
    r"resources\.requests: Invalid value: \"?(?P<asked>[^\"\s:]{1,64})\"?: must be less than or equal to (?P<resource>\S{1,253}) limit"
    r"(?: of (?P<limit>\S{1,64}))?"
)
_FIELDS: Final = {
    "cpu": "spec.resources.cpu",
    "requests.cpu": "spec.resources.cpu",
    "limits.cpu": "spec.resources.cpuLimit",
    "memory": "spec.resources.memory",
    "requests.memory": "spec.resources.memory",
    "limits.memory": "spec.resources.memory, to which the publisher adds its own",
}
_ADDED: Final = f"to which the pod's other container adds {SIDE_CPU}"
_GPUS: Final = ("requests.nvidia.com/", "requests.amd.com/", "requests.gpu.intel.com/")
_TRIED_AGAIN: Final = "it is tried again every few seconds until spec.pendingDeadlineSeconds are over"

_OTHERS: Final = (
    (r"because it is being terminated", "the namespace is being deleted, and the job with it"),
    (
        r"cannot create resource \"pods\"",
        f"the operator lacks the right to: an admin has to look at the roles of its chart; {_TRIED_AGAIN}",
    ),
    (r"serviceaccount \"[^\"]*\" not found", f"as a rule it is made seconds after its namespace; {_TRIED_AGAIN}"),
    (
        r"no PriorityClass with name",
        f"an admin has to create it, or take it out of scheduling.allowedPriorityClasses of the chart; {_TRIED_AGAIN}",
    ),
    (r"violates PodSecurity|admission webhook|ValidatingAdmissionPolicy", f"only an admin can change what is allowed here; {_TRIED_AGAIN}"),
    (r"is invalid: ", f"waiting alone does not help, an admin has to correct the runtime catalogue; {_TRIED_AGAIN}"),
)
"""What other refusals mean, by the first pattern that they match."""


def refused(message: str, resource_class: str | None = None) -> Pending:
    """Return what a job, of that class if it has one, waits for whose pod the API server does not accept, as under a quota."""
    found = _refused(message)
    by_class = resource_class is not None and "spec.resources" in found.message
    more = f"; the job has its size by spec.resourceClass ({resource_class}), so that it is another class that it needs" if by_class else ""
    return replace(found, message=found.message + more, restless=True)


def counts_checks(message: str, gpu_resource: str) -> bool:
    """Tell whether a quota has refused a pod that counts checks too, which ask for no GPU: they may take what the pod waits for."""
    if _QUOTA_EXCEEDED not in message:
        return False
    exceeded = _EXCEEDED.search(message)
    of_gpus = (*_GPUS, f"requests.{gpu_resource}")
    return exceeded is None or not all(name.startswith(of_gpus) for name in _amounts(exceeded["requested"]))


def _refused(message: str) -> Pending:
    if (demand := _DEMANDED.search(message)) is not None:
        return _limit_required(demand["quota"], list(dict.fromkeys(_DEMAND.findall(demand["demands"]))))
    if (exceeded := _EXCEEDED.search(message)) is not None:
        requested, used, limited = (_amounts(exceeded[part]) for part in ("requested", "used", "limited"))
        too_small = [name for name, asked in requested.items() if name in limited and exact(asked) > exact(limited[name])]
        if too_small:
            return _quota_too_small(exceeded["quota"], requested, limited, too_small)
        if requested and used:
            return _quota_used_up(exceeded["quota"], requested, used, limited)
    if _OUTSIDE_RANGE.search(message) is not None:
        return _outside_limit_range(message)
    if (default := _DEFAULT_LIMIT.search(message)) is not None:
        return Pending(
            "OutsideLimitRange",
            f"a LimitRange of the namespace gives each container a {default['resource']} limit of {default['limit']}, and the job asks for "
            f"{default['asked']}: create the job again with less ({_FIELDS.get(default['resource'], 'spec.resources')})"
            f"{', or with spec.resources.cpuLimit' if default['resource'] == 'cpu' else ''}, or let an admin change it; {_TRIED_AGAIN}",
        )
    remedy = next((meaning for pattern, meaning in _OTHERS if re.search(pattern, message)), _TRIED_AGAIN)
    return Pending("PodRefused", f"the cluster does not accept the job's pod: {short(message)}; {remedy}")


def _outside_limit_range(message: str) -> Pending:
    """Tell what a LimitRange demands of a container or of the pod; it is told at once with all that it finds."""
    found = [match.groupdict() for match in _OUTSIDE_RANGE.finditer(message)]
    said = ", ".join(match.group().replace(".  No ", ", but no ") for match in _OUTSIDE_RANGE.finditer(message))
    fields = list(dict.fromkeys(filter(None, map(_field_of, found))))
    # Of the other containers nothing is the user's to choose.
    if any(each["kind"] == "minimum" and each["scope"] == "Container" and each["given"] in SIDE_REQUESTS.values() for each in found):
        remedy = "that is of the pod's other containers, so that no job fits: let an admin change the LimitRange"
    else:
        remedy = f"create the job again with other values ({', '.join(fields) or 'spec.resources'}), or let an admin change the LimitRange"
    return Pending("OutsideLimitRange", f"a LimitRange of the namespace does not allow the job's pod: {said}: {remedy}; {_TRIED_AGAIN}")


def _field_of(found: Mapping[str, str | None]) -> str:
    """Return the field that a LimitRange's finding is about, empty for none that a job has."""
    if "cpu" in {found["resource"], found["ratio"]}:
        return "spec.resources.cpu" if found["what"] == "request" else "spec.resources.cpuLimit"
    return "spec.resources.memory" if "memory" in {found["resource"], found["ratio"]} else ""


def _limit_required(quota: str, demands: list[str]) -> Pending:
    what = ", ".join(demands) or "limits"
    if demands == ["limits.cpu"]:
        remedy = (
            f"create the job again with spec.resources.cpuLimit, such as 500m and no less than spec.resources.cpu, {_ADDED}; or let an "
            "admin set defaults.resources.cpuLimit of the chart, or a LimitRange with a default limit in the namespace"
        )
    else:
        remedy = "an admin can give the namespace a LimitRange with defaults for it"
    return Pending("LimitRequired", f"the quota {quota} of the namespace takes no pod without {what}: {remedy}; {_TRIED_AGAIN}")


def _quota_too_small(quota: str, requested: dict[str, str], limited: dict[str, str], names: list[str]) -> Pending:
    asked = ", ".join(f"{requested[name]} of {name}, where {limited[name]} is all that it allows" for name in names)
    fields = list(dict.fromkeys(_cpu_limit(limited[name]) if name == "limits.cpu" else _FIELDS[name] for name in names if name in _FIELDS))
    if any(name.startswith(_GPUS) for name in names):
        fields.append("spec.resources.gpus")
    if "" in fields:
        less = f"the pod's other container alone needs {SIDE_CPU} of limits.cpu, so that no job fits; "
    else:
        less = f"create the job again with less ({', '.join(fields)}), or " if fields else ""
    return Pending(
        "QuotaTooSmall",
        f"as long as the quota {quota} of the namespace is what it is, it does not take this job's pod, which asks for {asked}: {less}let "
        f"an admin raise the quota; {_TRIED_AGAIN}",
    )


def _cpu_limit(allowed: str) -> str:
    """Return the field with what a quota of so many CPUs leaves to it; empty where that is nothing."""
    left = int((exact(allowed) - exact(SIDE_CPU)) * 1000)
    return f"spec.resources.cpuLimit of at most {left}m, {_ADDED}" if left > 0 else ""


def _quota_used_up(quota: str, requested: dict[str, str], used: dict[str, str], limited: dict[str, str]) -> Pending:
    asked = ", ".join(
        f"{each} of {name}, of which {used.get(name, '0')} of {limited.get(name, '0')} are in use" for name, each in requested.items()
    )
    return Pending(
        "QuotaUsedUp",
        f"the quota {quota} of the namespace is used up: the job's pod asks for {asked}; it starts by itself when other pods have ended",
    )


def _amounts(text: str) -> dict[str, str]:
    """Return the quantities of `limits.cpu=4,pods=10` by the names of what they count, without those that are none."""
    return {name: quantity for name, quantity in _AMOUNT.findall(text) if is_quantity(quantity)}
