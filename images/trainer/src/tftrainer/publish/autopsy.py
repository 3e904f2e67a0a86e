"""The post-mortem of an attempt that failed: put together from what its launcher and its logs say."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from tftrainer.layout import Layout
from tftrainer.messages import contract, post_mortem
from tftrainer.messages.contract import Failure, Plan, RunReport
from tftrainer.messages.handover import Baseline
from tftrainer.messages.post_mortem import Findings, PostMortem, last_lines
from tftrainer.outputs import tree
from tftrainer.publish.live_report import notes
from tftrainer.withholding import Plain

_TAIL_BYTES: Final = 64 * 1024
_TELLING: Final = frozenset(
    {"tftrainer", "tensorflow", "tensorflow-cpu", "keras", "tf-keras", "tf_keras", "numpy", "protobuf", "h5py", "tensorflow-estimator"}
)
"""Packages of an image that a failure may have to do with; `run.lock.json` has all of them."""
_ELSEWHERE: Final = "(not copied: the launcher was killed, and nobody else knows which words come from the job's Secrets; the log has them)"


def written(
    plan: Plan,
    layout: Layout,
    baseline: Baseline,
    result: RunReport,
    failure: Failure,
    logs_uri: str,
    variables: Mapping[str, str],
    distributions: Iterable[tuple[str, str]],
    now: float,
) -> bytes:
    """Return it as JSON. `variables` are the plain ones of the job, `distributions` names and versions of what the image has."""
    found = _findings(layout) or _of_the_logs(plan, layout, Plain.of(baseline.resolved_args, variables))
    return msgspec.json.format(
        msgspec.json.encode(
            PostMortem(
                version=post_mortem.VERSION,
                namespace=plan.namespace,
                job=plan.job,
                uid=plan.uid,
                attempt=plan.attempt,
                role=plan.role,
                index=plan.index,
                failure=failure,
                runtime=plan.runtime,
                image=plan.image,
                exit_code=result.exit_code,
                killed=result.killed,
                memory_kills=result.memory_kills,
                left_running=result.left_running,
                started_at=result.started_at,
                finished_at=result.finished_at,
                written_at=now,
                evidence=found.evidence,
                usage=result.usage,
                workspace_limit=plan.workspace_bytes,
                shared_memory_limit=plan.shared_memory_bytes,
                gpus=plan.gpus,
                notes=notes(layout.run_folder),
                stdout=found.stdout,
                stderr=found.stderr,
                stacks=found.stacks,
                logs_uri=logs_uri,
                versions=_versions(baseline, distributions),
            )
        ),
        indent=1,
    )


def _findings(layout: Layout) -> Findings | None:
    data = tree.read_small(layout.run_folder, contract.FINDINGS_NAME, post_mortem.FINDINGS_LIMIT)
    try:
        return msgspec.json.decode(data, type=Findings) if data is not None else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _of_the_logs(plan: Plan, layout: Layout, plain: Plain) -> Findings:
    if plan.secret_variables:
        return Findings(stdout=(_ELSEWHERE,), stderr=(_ELSEWHERE,))
    stdout, stderr = (last_lines(plain.without(_tail(layout, name))) for name in ("stdout.log", "stderr.log"))
    return Findings(stdout=stdout, stderr=stderr)


def _tail(layout: Layout, name: str) -> str:
    try:
        descriptor = tree.open_file(layout.logs, name)
    except OSError:
        return ""
    with open(descriptor, "rb") as file:  # noqa: PTH123
        file.seek(max(file.seek(0, 2) - _TAIL_BYTES, 0))
        return file.read(_TAIL_BYTES).decode("utf-8", "replace")


def _versions(baseline: Baseline, distributions: Iterable[tuple[str, str]]) -> dict[str, str]:
    image = {name.lower(): version for name, version in distributions if name.lower() in _TELLING}
    installed = {each.name: each.version for each in baseline.packages}
    return {"python": platform.python_version(), "kernel": platform.release(), **dict(sorted(image.items())), **installed}
