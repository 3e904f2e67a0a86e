"""What is told of a run: the exit code, the fields of a status, and a few lines for people."""

from __future__ import annotations

import msgspec
import pytest
from tftrainer.local.processes import Ran
from tftrainer.local.result import judge, text
from tftrainer.messages.contract import Failure, FetchReport, Plan, PublishedModel, PublishReport, Reason, RunReport, Script

PLAN = Plan(namespace="default", job="iris", uid="local", runtime="tf2", script=Script(name="train.py"), attempt=2)
MANIFEST = "/home/me/bucket/.tftraining/default/iris/local/attempt-2/manifest.json"
PUBLISHED = PublishReport(succeeded=True, manifest_uri=MANIFEST, objects=2, bytes=2048)
RAISED = Failure(reason=Reason.SCRIPT_RAISED, message="train.py, line 3: KeyError: 'x'", hint="look at line 3", file="train.py", line=3)
CONFLICT = Failure(reason=Reason.OUTPUT_CONFLICT, message="somebody else has written log.csv", hint="compare the two")
FULL = Failure(reason=Reason.WORKSPACE_FULL, message="the disk is full", hint="free some space")


def ran(run: RunReport | None = None, publish: PublishReport | None = None, code: int | None = 0, signal: int = 0) -> Ran:
    return Ran(FetchReport(), run, publish, code, signal)


@pytest.mark.parametrize(
    ("found", "code", "message"),
    [
        (ran(RunReport(exit_code=0), PUBLISHED), 0, "The script succeeded; outputs published: 2."),
        (
            ran(RunReport(exit_code=0), PublishReport(succeeded=True, manifest_uri=MANIFEST)),
            0,
            "The script succeeded, but wrote nothing below ${bucket}, and only what lies there is published.",
        ),
        (
            ran(RunReport(exit_code=0), PublishReport(succeeded=True, manifest_uri=MANIFEST, objects=2, note="One file\nis kept.")),
            0,
            "The script succeeded; outputs published: 2. One file is kept.",
        ),
        (
            ran(RunReport(exit_code=3, failure=RAISED), PublishReport(manifest_uri=MANIFEST, note="One file is kept."), 3),
            3,
            "ScriptRaised: train.py, line 3: KeyError: 'x'; look at line 3. One file is kept.",
        ),
        (
            ran(RunReport(exit_code=0), PublishReport(failure=CONFLICT, manifest_uri=MANIFEST, kept=1)),
            74,
            "OutputConflict: somebody else has written log.csv; compare the two",
        ),
        (ran(RunReport(exit_code=3, failure=RAISED), PUBLISHED, 3), 3, "ScriptRaised: train.py, line 3: KeyError: 'x'; look at line 3"),
        (ran(None, PUBLISHED, 9), 9, "ScriptExited: the script ended with exit code 9"),
        (ran(RunReport(exit_code=0), PublishReport(failure=FULL)), 74, "WorkspaceFull: the disk is full; free some space"),
        (
            ran(RunReport(exit_code=3, failure=RAISED), PublishReport(failure=FULL), 3),
            3,
            "ScriptRaised: train.py, line 3: KeyError: 'x'; look at line 3. Besides, what it wrote is not published: the disk is full",
        ),
        (ran(RunReport(exit_code=0), signal=2), 74, "PublishFailed: publishing was given up"),
        (ran(RunReport(exit_code=0)), 74, "PublishFailed: publishing ended without a report; its output above may say why"),
        (
            ran(RunReport(exit_code=7, failure=RAISED), code=7, signal=15),
            7,
            "ScriptRaised: train.py, line 3: KeyError: 'x'; look at line 3. Besides, publishing was given up",
        ),
        (Ran(None), 66, "TrainerError: fetching ended without a report; its output above says why"),
        (Ran(FetchReport(failure=FULL)), 66, "WorkspaceFull: the disk is full; free some space"),
        (Ran(FetchReport(failure=FULL), signal=15), 143, "Terminated: the run was stopped before the script started"),
        (ran(code=None, signal=2), 130, "Terminated: the run was stopped before the script started"),
        (ran(None, PublishReport(failure=FULL), None, 2), 130, "Terminated: the run was stopped before the script started"),
    ],
)
def test_the_code_and_the_sentence_say_what_counts(found: Ran, code: int, message: str) -> None:
    told, result = judge(PLAN, found, 0.0)
    assert (told, result.message) == (code, message)
    assert result.phase == ("Failed" if code else "Succeeded")
    assert result.attempt == 2


@pytest.mark.parametrize(
    ("publish", "published"),
    [
        (None, False),
        (PublishReport(failure=FULL), False),
        (PUBLISHED, True),
        (PublishReport(failure=FULL, manifest_uri=MANIFEST), True),
        (PublishReport(succeeded=True, manifest_uri=MANIFEST, skipped=2), True),
        (PublishReport(succeeded=True, manifest_uri=MANIFEST, skipped=2, lost=1), False),
    ],
)
def test_only_a_manifest_without_a_loss_says_that_the_outputs_are_in_the_bucket(publish: PublishReport | None, published: bool) -> None:
    assert ran(publish=publish).published is published


def test_a_script_that_was_not_started_has_left_nothing_that_could_be_lost() -> None:
    assert ran(code=None, signal=2).published


def lines(found: Ran, kept: str = "") -> list[str]:
    return text(judge(PLAN, found, 0.0, kept)[1]).splitlines()


def test_a_success_is_told_with_what_came_out_and_where() -> None:
    published = PublishReport(
        succeeded=True, manifest_uri=MANIFEST, objects=1, bytes=2048, skipped=1, model=PublishedModel(uri="/home/me/bucket/m/1/")
    )
    assert lines(ran(RunReport(exit_code=0), published)) == [
        "Succeeded",
        "  model    /home/me/bucket/m/1/",
        "  outputs  1 object, 2.0 KiB, in /home/me/bucket; 1 skipped, as told above",
        f"  manifest {MANIFEST}",
    ]


def test_a_success_without_outputs_says_where_they_would_have_been_kept() -> None:
    told = lines(ran(RunReport(exit_code=0), PublishReport(succeeded=True, manifest_uri=MANIFEST)))
    assert "  outputs  none: the script wrote nothing below ${bucket}, and only what lies there is published" in told


NOTED = PublishReport(succeeded=True, manifest_uri=MANIFEST, objects=2, bytes=2048, kept=1, note="model.h5 was \x1b[31mwritten\noutside.")


def test_what_has_to_be_known_of_the_outputs_is_told_on_a_line_of_its_own_and_in_the_fields() -> None:
    assert lines(ran(RunReport(exit_code=0), NOTED)) == [
        "Succeeded",
        "  outputs  2 objects, 2.0 KiB, in /home/me/bucket; 1 file kept beside",
        "  note     model.h5 was �[31mwritten outside.",
        f"  manifest {MANIFEST}",
    ]
    fields = msgspec.to_builtins(judge(PLAN, ran(RunReport(exit_code=0), NOTED), 0.0)[1])
    assert (fields["outputs"]["kept"], fields["note"]) == (1, "model.h5 was �[31mwritten outside.")


def test_a_failure_is_told_with_its_note_once() -> None:
    told = lines(ran(RunReport(exit_code=3, failure=RAISED), NOTED, 3))
    assert told[:2] == ["Failed: ScriptRaised: train.py, line 3: KeyError: 'x'.", "  hint     look at line 3"]
    assert [line for line in told if "model.h5" in line] == ["  note     model.h5 was �[31mwritten outside."]


def test_outputs_that_were_all_skipped_are_not_said_never_to_have_been_written() -> None:
    published = PublishReport(succeeded=True, manifest_uri=MANIFEST, skipped=2, lost=2)
    assert "  outputs  none; 2 skipped, as told above" in lines(ran(RunReport(exit_code=0), published))


def test_a_failure_is_told_once_and_what_to_do_below_it() -> None:
    told = lines(ran(RunReport(exit_code=3, failure=RAISED), PublishReport(failure=FULL), 3), "/tmp/w/workspace")
    assert told == [
        "Failed: ScriptRaised: train.py, line 3: KeyError: 'x'. Besides, what it wrote is not published: the disk is full",
        "  hint     look at line 3",
        "  kept     /tmp/w/workspace: what the script wrote is in bucket/, its output in logs/; remove it yourself",
    ]


def test_a_failure_without_a_hint_is_told_as_it_is() -> None:
    assert lines(ran(RunReport(exit_code=0)))[0] == (
        "Failed: PublishFailed: publishing ended without a report; its output above may say why"
    )


def test_a_missing_module_is_told_with_the_environment_that_stands_for_the_runtime() -> None:
    missing = Failure(reason=Reason.IMPORT_MISSING, message="no module named 'x'", file="train.py", line=1)
    told = lines(Ran(FetchReport(failure=missing)))
    assert told[:2] == ["Failed: ImportMissing: no module named 'x'", "  at       train.py, line 1"]
    assert told[2].startswith("  here     the runtime is the Python environment that tftrainer is installed in")


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (ran(RunReport(exit_code=0), PublishReport(failure=CONFLICT, manifest_uri=MANIFEST)), 0),
        (ran(RunReport(exit_code=3, failure=RAISED), PUBLISHED, 3), 3),
        (Ran(FetchReport(failure=FULL)), None),
    ],
)
def test_the_exit_code_of_a_failure_is_the_scripts_as_in_a_status(found: Ran, code: int | None) -> None:
    result = judge(PLAN, found, 0.0)[1]
    assert result.failure is not None
    assert result.failure.exit_code == code
