"""Code stays what the first attempt found: from its report into the status, and from there into the next attempt's plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.messages import contract
from tftrainer.messages.contract import Failure, FetchReport, Pinned, Reason, RunReport
from tftraining_operator.api.spec import Spec
from tftraining_operator.api.status import Status
from tftraining_operator.core import pins
from tftraining_operator.core.build import pod
from tftraining_operator.core.decide import decide
from tftraining_operator.core.effective import effective
from tftraining_operator.core.records import Observed

from .given import CONFIGURATION, CREATED, Pod, after, job, pods, seen

NOW = CREATED + 100
SPEC: dict[str, Any] = {
    "script": {"uri": "s3://bucket/train.py"},
    "dependencies": {"archive": {"uri": "s3://bucket/lib.zip"}, "files": [{"uri": "s3://bucket/a.json"}, {"uri": "${bucket}/conf/"}]},
}
REPORT = FetchReport(
    script=Pinned(uri="s3://bucket/train.py", sha256="1" * 64, bytes=10, etag="e1"),
    archive=Pinned(uri="s3://bucket/lib.zip", sha256="2" * 64, bytes=20),
    files=(Pinned(uri="s3://bucket/a.json", sha256="3" * 64, bytes=2), Pinned(uri="${bucket}/conf/", sha256="4" * 64, bytes=4)),
)


def step(observed: Observed, *, pods: tuple[Pod, ...] | None = None, suspend: bool | None = None, now: float = NOW) -> Observed:
    """Return what is observed next: other pods, another wish, and then the operator's answer written down."""
    if pods is not None:
        observed = replace(observed, pods=tuple(each.record() for each in pods))
    if suspend is not None:
        observed = replace(observed, job=replace(observed.job, spec={**observed.job.spec, "suspend": suspend}))
    return after(observed, decide(observed, CONFIGURATION, now))


def plan_of(raw: Any) -> contract.Plan:
    variables = {each["name"]: each["value"] for each in raw["spec"]["initContainers"][0]["env"] if "value" in each}
    return contract.decode_plan(variables[contract.PLAN_VARIABLE].replace("$$", "$"))


def digests(status: Any) -> list[str]:
    code = status["code"]
    return [each["sha256"] for each in (code["script"], code["archive"], *code["files"])]


def test_the_code_is_pinned_also_where_the_end_of_the_attempt_is_the_first_that_is_written() -> None:
    raised = Pod().fetched(REPORT).ran(1).published(succeeded=False)
    observed = step(seen(job(retry={"userError": 1}, **SPEC), raised))
    assert (observed.job.status["phase"], digests(observed.job.status)) == ("Restarting", ["1" * 64, "2" * 64, "3" * 64, "4" * 64])
    [created] = pods(decide(step(observed, now=NOW + 60), CONFIGURATION, NOW + 61))
    assert plan_of(created).pins is not None


def second(observed: Observed) -> Observed:
    """Return the job when its second attempt has begun."""
    return replace(observed, job=replace(observed.job, status={**observed.job.status, "attempt": 1, "pods": []}))


def test_the_code_of_the_first_attempt_outlives_its_pod_and_binds_the_next_attempt() -> None:
    running = Pod().fetched(REPORT).running()
    observed = step(seen(job(**SPEC), running))
    assert digests(observed.job.status) == ["1" * 64, "2" * 64, "3" * 64, "4" * 64]
    observed = step(step(step(observed, suspend=True)), pods=())
    assert observed.job.status["phase"] == "Suspended"
    assert digests(observed.job.status) == ["1" * 64, "2" * 64, "3" * 64, "4" * 64]
    resumed = replace(observed, job=replace(observed.job, spec={**observed.job.spec, "suspend": False}))
    [created] = pods(decide(after(resumed, decide(resumed, CONFIGURATION, NOW)), CONFIGURATION, NOW + 1))
    plan = plan_of(created)
    assert (plan.attempt, plan.pins is not None) == (1, True)
    assert plan.pins is not None
    assert plan.pins.script is not None
    assert plan.pins.archive is not None
    assert [each.sha256 for each in (plan.pins.script, plan.pins.archive, *plan.pins.files)] == digests(observed.job.status)


def test_the_first_attempt_is_bound_to_nothing() -> None:
    wanted = effective(Spec.model_validate(SPEC), CONFIGURATION, "tf2", CONFIGURATION.runtimes["tf2"])
    assert plan_of(pod(job(**SPEC), wanted, CONFIGURATION, 0)).pins is None


def test_what_was_pinned_first_stays_whatever_a_later_attempt_reports() -> None:
    observed = step(seen(job(**SPEC), Pod().fetched(REPORT).running()))
    other = msgspec.structs.replace(REPORT, script=Pinned(uri="s3://bucket/train.py", sha256="9" * 64), files=())
    again = step(second(observed), pods=(Pod(attempt=1).fetched(other).running(),))
    assert digests(again.job.status) == ["1" * 64, "2" * 64, "3" * 64, "4" * 64]


def test_changed_code_fails_the_job_by_its_reason_and_keeps_the_pins() -> None:
    observed = step(seen(job(**SPEC), Pod().fetched(REPORT).running()))
    failure = Failure(reason=Reason.CODE_CHANGED, message="s3://bucket/train.py has the SHA-256 9, but an earlier attempt ran 1", hint="x")
    ended = replace(Pod(attempt=1).fetched(FetchReport(failure=failure), exit_code=1), phase="Failed")
    observed = step(second(observed), pods=(ended,))
    assert observed.job.status["failure"]["reason"] == "CodeChanged"
    assert observed.job.status["failure"]["cause"] == "UserError"
    assert digests(observed.job.status)[0] == "1" * 64


ROOM = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(files=st.lists(ROOM, max_size=64), long=st.booleans())
def test_pins_of_any_number_of_files_fit_into_a_report_and_still_bind(files: list[str], long: bool) -> None:
    name = "s3://bucket/" + ("x" * 1000 if long else "x")
    found = tuple(Pinned(uri=f"{name}{number}", sha256=sha256, bytes=number) for number, sha256 in enumerate(files))
    report = contract.decode_report(contract.encode_report(FetchReport(script=REPORT.script, files=found)).decode(), FetchReport)
    assert len(report.files) == len(files)
    spec = {**SPEC, "dependencies": {"files": [{"uri": each.uri} for each in found]}}
    code = pins.render(job(**spec), report)
    assert code is not None
    Status.model_validate({"code": code})
    assert [each["uri"] for each in code["files"]] == [each.uri for each in found]
    assert all(sha256.startswith(each["sha256"]) and len(each["sha256"]) >= 16 for each, sha256 in zip(code["files"], files, strict=True))


@pytest.mark.parametrize(
    "code",
    [None, "x", 7, [], {"script": 3}, {"files": [{"uri": "x"}]}, {"script": {"uri": "", "sha256": ""}}, {"archive": {"sha256": "a" * 65}}],
)
def test_a_status_that_no_operator_wrote_binds_nothing_and_breaks_nothing(code: Any) -> None:
    assert pins.for_plan({"code": code}) is None


IMPORT = Failure(reason=Reason.IMPORT_MISSING, message="train.py, line 3: no module named 'x'", hint="provide it", file="train.py", line=3)


@pytest.mark.parametrize(
    ("ended", "accepted"),
    [
        (Pod().fetched(FetchReport(failure=IMPORT), exit_code=1), "False"),
        (Pod().fetched(FetchReport(failure=Failure(reason=Reason.INVALID_ARGUMENTS, message="m")), exit_code=1), "False"),
        (Pod().fetched(FetchReport(failure=Failure(reason=Reason.OBJECT_NOT_FOUND, message="m")), exit_code=1), "False"),
        (Pod().fetched(FetchReport(failure=Failure(reason=Reason.STORAGE_DENIED, message="m")), exit_code=1), "False"),
        (Pod().fetched(FetchReport(failure=Failure(reason=Reason.STORAGE_UNAVAILABLE, message="m")), exit_code=1), "True"),
        (Pod().ran(1, RunReport(exit_code=1, failure=IMPORT)).published(succeeded=False), "True"),
    ],
)
def test_a_job_that_preflight_refuses_was_not_accepted_and_one_that_fails_later_was(ended: Pod, accepted: str) -> None:
    status = step(seen(job(), replace(ended, phase="Failed"))).job.status
    found = {each["type"]: each for each in status["conditions"]}
    assert (found["Accepted"]["status"], found["Failed"]["status"]) == (accepted, "True")
    if accepted == "False":
        assert status["failure"]["message"].lower().rstrip(".") in found["Accepted"]["message"].lower()
