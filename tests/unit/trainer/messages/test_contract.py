"""Messages between operator and pod: always small enough, always readable, never trusted."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tftrainer.messages import contract, manifest
from tftrainer.messages.contract import (
    ContractError,
    Failure,
    FetchReport,
    Note,
    NoteReason,
    Pinned,
    Plan,
    PublishReport,
    Reason,
    RunReport,
    Script,
)

LONG = Failure(
    reason=Reason.SCRIPT_RAISED, message="m" * 1000, hint="h" * 1000, exception="e" * 1000, file="f" * 1000, line=3, traceback="t" * 2000
)


def test_a_report_of_any_size_fits_the_kubelets_limit_and_keeps_its_reason() -> None:
    encoded = contract.encode_report(RunReport(exit_code=1, failure=LONG))
    assert len(encoded) <= contract.MESSAGE_LIMIT
    decoded = contract.decode_report(encoded.decode(), RunReport)
    assert decoded.failure is not None
    assert decoded.failure.reason is Reason.SCRIPT_RAISED


def test_arguments_are_shed_from_the_end_and_the_report_says_so() -> None:
    report = FetchReport(resolved_args=tuple(f"{number}" + "x" * 200 for number in range(64)), objects=3)
    decoded = contract.decode_report(contract.encode_report(report).decode(), FetchReport)
    assert decoded.resolved_args_cut
    assert decoded.resolved_args
    assert decoded.resolved_args == report.resolved_args[: len(decoded.resolved_args)]
    assert decoded.objects == 3


@given(note=st.text(max_size=1024), uri=st.text(st.characters(max_codepoint=255), max_size=380), named=st.integers(0, 16))
@example(note="文" * 1024, uri="u" * 1024, named=16)
@example(note="\0" * 1024, uri="u" * 900, named=16)
def test_what_the_publisher_says_of_the_outputs_is_cut_before_its_word_is_lost(note: str, uri: str, named: int) -> None:
    model = contract.PublishedModel(uri=uri, sha256="0" * 64, signatures=("s" * 64,) * named)
    report = PublishReport(
        succeeded=True, manifest_uri=uri, manifest_sha256="0" * 64, objects=2, logs_uri="", kept=3, note=note, model=model
    )
    encoded = contract.encode_report(report)
    decoded = contract.decode_report(encoded.decode(), PublishReport)
    assert len(encoded) <= contract.MESSAGE_LIMIT
    assert (decoded.manifest_uri, decoded.manifest_sha256, decoded.objects, decoded.kept) == (uri, "0" * 64, 2, 3)
    assert decoded.note == note or note.startswith(decoded.note[:-1])


def test_the_traceback_goes_before_the_message() -> None:
    failure = Failure(reason=Reason.SCRIPT_RAISED, message="m" * 900, exception="ü" * 900, traceback="\n" * 1500)
    decoded = contract.decode_report(contract.encode_report(RunReport(exit_code=1, failure=failure)).decode(), RunReport)
    assert decoded.failure is not None
    assert decoded.failure.message == "m" * 900
    assert len(decoded.failure.traceback) <= 512


@given(
    texts=st.lists(st.text(max_size=1000), min_size=5, max_size=5),
    traceback=st.text(max_size=2000),
    arguments=st.lists(st.text(max_size=1200), max_size=40),
)
def test_whatever_a_report_holds_it_is_encoded_within_the_limit_and_read_back(
    texts: list[str], traceback: str, arguments: list[str]
) -> None:
    failure = Failure(reason=Reason.UNKNOWN, message=texts[0], hint=texts[1], exception=texts[2], file=texts[3], traceback=traceback)
    encoded = contract.encode_report(FetchReport(failure=failure, resolved_args=tuple(arguments)))
    assert len(encoded) <= contract.MESSAGE_LIMIT
    assert contract.decode_report(encoded.decode(), FetchReport).failure is not None


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_nothing_but_a_contract_error_comes_of_garbage(text: str) -> None:
    with contextlib.suppress(ContractError):
        contract.decode_report(text, FetchReport)
    with contextlib.suppress(ContractError):
        contract.decode_report(text, PublishReport)


@pytest.mark.parametrize(
    "text",
    [
        '{"kind":"run","exitCode":0}',
        '{"kind":"publish","objects":-1}',
        '{"kind":"publish","objects":99999999999999999999}',
        '{"kind":"publish","manifestUri":"' + "x" * 1300 + '"}',
        '{"kind":"publish","failure":{"reason":"Nonsense","message":""}}',
        '{"kind":"publish"}' + " " * 5000,
        "[" * 2000,
    ],
)
def test_a_message_of_another_kind_or_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        contract.decode_report(text, PublishReport)


def test_a_plan_comes_back_as_it_was_and_one_that_is_too_long_is_refused() -> None:
    plan = Plan(namespace="n", job="j", uid="u", runtime="tf1", script=Script(name="s.py", uri="s3://b/s.py"), args=("${cos}/ü", "--x"))
    assert contract.decode_plan(contract.encode_plan(plan)) == plan
    with pytest.raises(ContractError, match="at most"):
        contract.encode_plan(Plan(namespace="n", job="j", uid="u", runtime="tf1", script=Script(name="s.py"), args=("x" * 130_000,)))


def test_notes_are_shed_before_what_the_next_attempt_is_compared_with() -> None:
    notes = tuple(Note(reason=NoteReason.ARGUMENT_HINT, message=f"{number}{'x' * 399}") for number in range(8))
    files = tuple(Pinned(uri=f"s3://bucket/{number}/{'k' * 100}", sha256=f"{number}" * 64) for number in range(8))
    report = FetchReport(notes=notes, files=files, resolved_args=("a",) * 4, script=Pinned(uri="s3://bucket/train.py", sha256="0" * 64))
    found = contract.decode_report(contract.encode_report(report).decode(), FetchReport)
    assert found.files == files
    assert found.notes == notes[:1]


@pytest.mark.parametrize("job", ["iris", "attempt-2", "my-attempt-2"])
def test_what_is_kept_of_a_job_lies_above_its_attempts_whatever_it_is_called(job: str) -> None:
    plan = Plan(namespace="team", job=job, uid="u", runtime="tf2", script=Script(name="a.py"), attempt=3)
    assert manifest.job_folder(plan) == f".tftraining/team/{job}/u/"
    assert manifest.folder(plan) == f"{manifest.job_folder(plan)}attempt-3/"


@pytest.mark.parametrize(
    ("role", "index", "peers", "leads", "folder"),
    [
        ("chief", 0, {}, True, ""),
        ("worker", 1, {}, True, ""),
        ("chief", 0, {"chief": ("c:1",), "worker": ("w:1",)}, True, ""),
        ("worker", 0, {"chief": ("c:1",), "worker": ("w:1",)}, False, "worker-0/"),
        ("worker", 0, {"worker": ("w:1", "x:1")}, True, ""),
        ("worker", 1, {"worker": ("w:1", "x:1")}, False, "worker-1/"),
        ("ps", 0, {"ps": ("p:1",), "worker": ("w:1",)}, False, "ps-0/"),
        ("ps", 12, {"chief": ("c:1",), "ps": ("p:1",) * 13}, False, "ps-12/"),
    ],
)
def test_one_replica_leads_its_group_and_every_other_has_a_folder_of_its_own(
    role: str, index: int, peers: dict[str, tuple[str, ...]], leads: bool, folder: str
) -> None:
    plan = Plan(
        namespace="team", job="iris", uid="u", runtime="tf2", script=Script(name="t.py"), attempt=3, role=role, index=index, peers=peers
    )
    read = contract.decode_plan(contract.encode_plan(plan))
    assert read == plan
    assert read.leads is leads
    assert manifest.folder(read) == f".tftraining/team/iris/u/attempt-3/{folder}"
