"""Every rule of `decide`, as a table: what is observed, and what is done about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import msgspec
import pytest
from tftrainer.messages import contract
from tftrainer.messages.contract import Failure, PublishReport, Reason, RunReport
from tftraining_operator.core.conditions import rfc3339
from tftraining_operator.core.configuration import PackageIndex
from tftraining_operator.core.decide import RULES, decide
from tftraining_operator.core.observe import pod_record
from tftraining_operator.core.records import Observed, Plan

from .given import CONFIGURATION, CREATED, JOB, POD_UID, Pod, after, job, pods, seen

NOW = CREATED + 100
RAISED = RunReport(
    exit_code=1, failure=Failure(reason=Reason.SCRIPT_RAISED, message="KeyError: 'a'", exception="KeyError: 'a'", file="train.py", line=41)
)


def plan(observed: Observed, now: float = NOW) -> Plan:
    return decide(observed, CONFIGURATION, now)


def status(of: Plan) -> dict[str, Any]:
    assert of.status is not None, of
    return dict(of.status)


def conditions(of: Plan) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status(of)["conditions"]}


def reason(of: Plan) -> str:
    return str(status(of)["failure"]["reason"])


def done(observed: Observed, now: float = NOW) -> Observed:
    """Return the job with the status that it was given."""
    return after(observed, plan(observed, now))


def without_pods(observed: Observed) -> Observed:
    return replace(observed, pods=())


def test_every_rule_says_why_it_exists() -> None:
    assert all(rule.__doc__ for rule in RULES)


def test_a_new_job_gets_its_pod_and_nothing_is_written_yet() -> None:
    found = plan(seen(job()), CREATED + 0.1)
    assert [body["metadata"]["name"] for body in found.creates] == ["iris-chief-0-script-666ff6ccaa", "iris-chief-0"]
    assert (found.status, found.events, found.deletions) == (None, (), ())


def test_a_job_whose_script_lies_in_a_bucket_needs_no_configmap() -> None:
    assert [body["kind"] for body in plan(seen(job(script={"uri": "s3://bucket/train.py"}))).creates] == ["Pod"]


def test_a_job_whose_deletion_somebody_delays_does_not_go_on_holding_a_node() -> None:
    going = replace(job(), deleted_at=NOW)
    assert [item.uid for item in plan(seen(going, Pod().running())).deletions] == [POD_UID]
    assert plan(seen(going, Pod(deleted=NOW).running())) == Plan(rule="being_deleted")
    assert plan(seen(going)) == Plan(rule="being_deleted"), "it gets no new pod"


def test_a_job_that_is_deleted_without_its_pods_leaves_them_alone() -> None:
    assert plan(seen(replace(job(), deleted_at=NOW, orphaning=True), Pod().running())) == Plan(rule="being_deleted")


def test_an_ordinary_job_is_written_twice_and_told_of_twice() -> None:
    observed = seen(job())
    written, notes = 0, 0
    for pod, now in [
        (Pod(), CREATED + 1.2),
        (Pod().fetching(), CREATED + 2.5),
        (Pod().fetched(), CREATED + 3.5),
        (Pod().running(), CREATED + 4.5),
        (Pod().ran(), CREATED + 60.2),
        (Pod().ran().published(), CREATED + 61.3),
        (replace(Pod().ran().published(), phase="Succeeded"), CREATED + 62),
    ]:
        observed = replace(observed, pods=(pod.record(),))
        found = plan(observed, now)
        written += found.status is not None
        notes += len(found.events)
        observed = after(observed, found)
    assert (written, notes) == (2, 2)
    assert observed.job.status["phase"] == "Succeeded"


def test_a_running_job_says_where_it_runs_and_since_when() -> None:
    found = plan(seen(job(), Pod().running()))
    assert status(found)["phase"] == "Running"
    assert status(found)["runningTime"] == rfc3339(CREATED + 4)
    assert status(found)["pods"] == [{"name": "iris-chief-0", "phase": "Running", "node": "node-a"}]
    assert conditions(found) == {"Accepted": "True", "Scheduled": "True", "Running": "True"}


class TestARunningJobTells:
    """What its containers have to tell is in the status, and an event when it is of a new kind."""

    HINTS = tuple(
        contract.Note(reason=contract.NoteReason.ARGUMENT_HINT, message=f"spec.args[{at}] is s3://b/x: write ${{bucket}}/x")
        for at in range(2)
    )
    KILLED = contract.Note(reason=contract.NoteReason.PROCESS_OUT_OF_MEMORY, message="a process was killed: raise spec.resources.memory")
    RUNS = "The script runs in pod iris-chief-0 on node node-a."

    def pod(self, *notes: contract.Note) -> Pod:
        return Pod().fetched(contract.FetchReport(notes=notes)).running()

    def test_what_fetch_and_the_running_pod_have_noticed_each_kind_in_one_event(self) -> None:
        observed = seen(job(), self.pod(*self.HINTS))
        first = plan(observed)
        hints = "spec.args[0] is s3://b/x: write ${bucket}/x. spec.args[1] is s3://b/x: write ${bucket}/x."
        assert status(first)["message"] == f"{self.RUNS} {hints}"
        assert [(note.type, note.reason) for note in first.events] == [("Normal", "Running"), ("Warning", "ArgumentHint")]
        assert [note.message for note in first.events] == [self.RUNS, hints], "each event says its own"
        told = replace(after(observed, first), live={POD_UID: contract.LiveReport(notes=(self.KILLED,), checkpoint="step 3")})
        second = plan(told)
        assert status(second)["message"].endswith("write ${bucket}/x. A process was killed: raise spec.resources.memory.")
        assert [note["reason"] for note in status(second)["notes"]] == ["ArgumentHint", "ArgumentHint", "ProcessOutOfMemory"]
        assert status(second)["checkpoint"] == {"saved": "step 3"}
        assert [(note.type, note.reason) for note in second.events] == [("Warning", "ProcessOutOfMemory")]
        assert plan(after(told, second)).status is None

    def test_and_it_stays_told_by_a_process_that_has_not_heard_it(self) -> None:
        live = contract.LiveReport(notes=tuple(in_other_words(self.KILLED, f"{number} killed") for number in range(6)), checkpoint="step 3")
        told = seen(job(), self.pod(*self.HINTS), live=live)
        written = after(told, plan(told))
        assert plan(replace(written, live={})) == Plan(rule="running")

    def test_a_kind_that_is_told_in_ever_new_words_is_one_event(self) -> None:
        observed, events = seen(job(), self.pod()), 0
        for number in range(5):
            report = contract.LiveReport(notes=(in_other_words(self.KILLED, f"{number} processes were killed"),))
            observed = replace(observed, live={POD_UID: report})
            found = plan(observed)
            events += sum(note.reason == "ProcessOutOfMemory" for note in found.events)
            observed = after(observed, found)
        assert events == 1
        assert observed.job.status["message"] == f"{self.RUNS} 4 processes were killed."

    def test_a_job_that_was_never_seen_running_tells_it_at_its_end_and_one_that_was_does_not_again(self) -> None:
        pod = Pod().fetched(contract.FetchReport(notes=self.HINTS)).ran(exit_code=1).published(succeeded=False)
        assert [note.reason for note in plan(seen(job(), pod)).events][-1] == "ArgumentHint"
        ran = seen(job(), self.pod(*self.HINTS))
        ended = replace(after(ran, plan(ran)), pods=(pod.record(),))
        assert "ArgumentHint" not in [note.reason for note in plan(ended).events]

    def test_what_is_over_is_told_no_more(self) -> None:
        told = seen(job(), self.pod(), live=contract.LiveReport(notes=(self.KILLED,)))
        written = after(told, plan(told))
        later = plan(replace(written, live={POD_UID: contract.LiveReport()}))
        assert status(later)["message"] == self.RUNS
        assert later.events == ()

    def test_nothing_of_an_earlier_attempts_pod_or_status(self) -> None:
        observed = replace(seen(job(), self.pod()), live={"another": contract.LiveReport(notes=(self.KILLED,), checkpoint="old")})
        assert "killed" not in status(plan(observed))["message"]
        before = {"attempt": 3, "notes": [{"reason": "ProcessOutOfMemory", "message": "killed"}], "checkpoint": {"saved": "old"}}
        found = status(plan(seen(job(before), self.pod())))
        assert "notes" not in found
        assert "checkpoint" not in found

    @pytest.mark.parametrize("stage", ["publishing", "failed", "gone"])
    def test_the_checkpoint_that_was_told_of_stays_told_after_the_script_has_ended(self, stage: str) -> None:
        told = seen(job(), self.pod(), live=contract.LiveReport(checkpoint="step 3"))
        written = after(told, plan(told))
        later = {
            "publishing": replace(written, pods=(self.pod().ran().record(),), live={}),
            "failed": replace(written, pods=(self.pod().ran().published(exit_code=1, manifest_uri="").record(),), live={}),
            "gone": replace(written, pods=(), gone=(self.pod().record(),), live={}),
        }[stage]
        assert status(plan(later, CREATED + 90))["checkpoint"] == {"saved": "step 3"}

    def test_its_message_has_room_for_the_newest_notes_only(self) -> None:
        notes = tuple(in_other_words(self.KILLED, f"{number} {'x' * 397}") for number in range(8))
        found = plan(seen(job(), Pod().running(), live=contract.LiveReport(notes=notes)))
        assert all(f". {number} x" in status(found)["message"] for number in (4, 5, 6, 7))
        assert len(status(found)["message"]) <= 2048
        assert len(status(found)["notes"]) == 8

    @pytest.mark.parametrize("notes", ["x", [1], [{}], [{"reason": "Failed", "message": "forged"}], {"a": 1}, [[[]]]])
    def test_a_status_that_somebody_else_has_written_raises_nothing(self, notes: Any) -> None:
        assert status(plan(seen(job({"attempt": 0, "notes": notes}), self.pod())))["message"] == self.RUNS


def after_a_look(observed: Observed) -> Observed:
    """Return the job as it is once an operator has looked at it."""
    return after(observed, plan(observed, CREATED + 4))


def in_other_words(note: contract.Note, message: str) -> contract.Note:
    """Return a note of the same kind in other words."""
    return msgspec.structs.replace(note, message=message)


@pytest.mark.parametrize(
    ("pod", "phase"),
    [
        (Pod().ran().published(), "Succeeded"),
        (Pod().ran(exit_code=3).published(succeeded=False), "Failed"),
        (Pod().ran().published(exit_code=1), "Failed"),
        (Pod().fetched(exit_code=1), "Failed"),
        (Pod().ran(exit_code=3), "Running"),
    ],
)
def test_a_pods_phase_is_that_of_its_containers_before_the_kubelet_says_so(pod: Pod, phase: str) -> None:
    assert [entry["phase"] for entry in status(plan(seen(job(), pod), CREATED + 90))["pods"]] == [phase]


def test_a_job_succeeds_when_its_script_ended_well_and_its_manifest_is_there() -> None:
    found = plan(seen(job(), Pod().ran().published(model=contract.PublishedModel(uri="s3://bucket/tf_model/1/"))))
    assert conditions(found) == {"Accepted": "True", "Succeeded": "True", "Finished": "True"}
    assert status(found)["completionTime"] == rfc3339(CREATED + 61)
    assert status(found)["model"] == {"uri": "s3://bucket/tf_model/1/"}
    assert status(found)["outputs"]["objects"] == 4
    assert "pending" not in status(found)
    assert "failure" not in status(found)


def test_the_status_tells_what_was_fetched_once_it_is_there_and_where_to_look_before() -> None:
    begun = plan(seen(job(), Pod().container("fetch", running={"startedAt": rfc3339(CREATED + 1)})), CREATED + 30)
    assert status(begun)["message"].endswith("(kubectl logs -n team-a iris-chief-0 -c fetch says how far it is).")
    assert "fetched" not in status(begun)
    there = contract.FetchReport(objects=3, bytes=5 * 10**9, seconds=41.6)
    found = plan(seen(job(), Pod().fetched(there).running()))
    assert status(found)["fetched"] == {"objects": 3, "bytes": 5 * 10**9, "durationSeconds": 42}
    failed = contract.FetchReport(failure=contract.Failure(reason=contract.Reason.OBJECT_NOT_FOUND, message="gone"), seconds=1.0)
    assert "fetched" not in status(plan(seen(job(), Pod().fetched(failed, exit_code=1))))


def test_a_manifest_of_another_attempt_proves_nothing() -> None:
    other = f"s3://bucket/{contract.run_prefix('team-a', 'iris', 'other-uid', 0)}manifest.json"
    assert reason(plan(seen(job(), Pod().ran().published(manifest_uri=other)))) == "PublishFailed"


def test_a_script_that_ended_well_without_a_manifest_has_failed() -> None:
    denied = Failure(reason=Reason.STORAGE_DENIED, message="writing to bucket was denied")
    found = plan(seen(job(), Pod().ran().published(exit_code=1, succeeded=False, manifest_uri="", failure=denied)))
    assert (reason(found), status(found)["failure"]["cause"]) == ("StorageAccessDenied", "Storage")


def test_a_script_that_ended_well_without_the_model_that_it_promised_has_failed_and_its_outputs_are_told() -> None:
    missing = Failure(reason=Reason.MODEL_MISSING, message="there is no model at ${bucket}/tf_model")
    found = plan(seen(job(), Pod().ran().published(exit_code=1, succeeded=False, failure=missing)))
    assert (reason(found), status(found)["failure"]["cause"]) == ("ModelMissing", "UserError")
    assert conditions(found)["Failed"] == "True"
    assert status(found)["outputs"]["objects"] == 4


OUTSIDE = "2 files were written outside of ${bucket}, the largest model.h5 (90.1 MiB)"


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({}, "The script succeeded and 4 objects are published."),
        ({"objects": 1}, "The script succeeded and 1 object is published."),
        ({"note": OUTSIDE, "kept": 2}, f"The script succeeded and 4 objects are published. {OUTSIDE}."),
        ({"objects": 0}, "The script succeeded, but wrote nothing below ${bucket}, and only what lies there is published."),
        (
            {"objects": 0, "note": OUTSIDE},
            f"The script succeeded, but wrote nothing below ${{bucket}}, and only what lies there is published. {OUTSIDE}.",
        ),
        ({"objects": 0, "kept": 2, "note": OUTSIDE}, f"The script succeeded, but nothing is published under its own key. {OUTSIDE}."),
        ({"objects": 0, "skipped": 3}, "The script succeeded, but nothing is published under its own key."),
        ({"note": " \x1b[31ma file\x1b[0m\r\nis\x00 odd! "}, "The script succeeded and 4 objects are published. A file is odd!"),
        ({"note": "\x1b[0m\n"}, "The script succeeded and 4 objects are published."),
    ],
)
def test_a_success_says_in_its_message_what_has_to_be_known_of_the_outputs(report: dict[str, Any], message: str) -> None:
    found = status(plan(seen(job(), Pod().ran().published(**report))))
    assert (found["phase"], found["message"]) == ("Succeeded", message)
    assert found["outputs"].get("kept") == report.get("kept")


@pytest.mark.parametrize(
    "pod",
    [
        Pod().ran(),
        Pod().ran(1, RAISED),
        Pod().ran(137, reason="OOMKilled"),
        replace(Pod().ran(143), phase="Failed").condition("DisruptionTarget", "True", "PreemptionByScheduler"),
    ],
    ids=["succeeded", "raised", "out of memory", "preempted"],
)
def test_what_has_to_be_known_of_the_outputs_is_one_warning_of_an_ended_job_and_told_once(pod: Pod) -> None:
    for ended in (pod.published(note=OUTSIDE, kept=2), pod.published(note=OUTSIDE, kept=2, succeeded=False)):
        observed = seen(job(), ended)
        found = plan(observed)
        plain = plan(seen(job(), replace(ended, states=pod.published(succeeded=False).states)))
        assert [(note.type, note.message) for note in found.events if note.reason == "OutputsIncomplete"] == [("Warning", f"{OUTSIDE}.")]
        assert not [note for note in plain.events if note.reason == "OutputsIncomplete"]
        assert [OUTSIDE in note.message for note in found.events] == [False, True], "the end and the outputs are two pieces of news"
        assert status(found)["message"].endswith(f". {OUTSIDE}.")
        again = after(observed, found)
        assert plan(again, NOW + 5) == plan(without_pods(again), NOW + 50) == Plan(rule="finished")


def test_a_long_failure_and_a_long_note_are_both_told() -> None:
    raised = RunReport(exit_code=1, failure=Failure(reason=Reason.SCRIPT_RAISED, message="m" * 1000, hint="h" * 1000))
    found = status(plan(seen(job(), Pod().ran(1, raised).published(succeeded=False, note="n" * 1000))))
    assert found["message"].startswith("M" + "m" * 999 + ". H")
    assert found["message"].endswith("h… N" + "n" * 999 + ".")
    assert len(found["message"]) == 2048
    assert found["failure"]["hint"] == "h" * 1000


def test_a_job_that_succeeded_with_a_conflict_in_its_outputs_fails_where_it_asks_for_that_and_says_what_is_kept() -> None:
    conflict = Failure(reason=Reason.OUTPUT_CONFLICT, message="somebody else has written s3://bucket/log.csv", hint="compare the two")
    pod = Pod().ran().published(exit_code=1, succeeded=False, failure=conflict, kept=1, note="this run's log.csv is kept")
    found = plan(seen(job(), pod))
    assert (reason(found), status(found)["failure"]["cause"]) == ("OutputConflict", "UserError")
    assert status(found)["message"] == "Somebody else has written s3://bucket/log.csv. Compare the two. This run's log.csv is kept."
    assert (status(found)["outputs"]["kept"], conditions(found)["Failed"]) == (1, "True")


def test_the_signatures_of_a_model_that_was_loaded_are_told() -> None:
    model = contract.PublishedModel(uri="s3://bucket/tf_model/1/", signatures=("predict", "serving_default"), verified=True)
    told = status(plan(seen(job(), Pod().ran().published(model=model))))["model"]
    assert (list(told["signatures"]), told["verified"]) == (["predict", "serving_default"], True)


def test_a_script_that_raised_is_only_judged_when_what_it_wrote_is_published() -> None:
    assert plan(seen(job(), Pod().ran(1, RAISED)), CREATED + 61).status is None
    found = plan(seen(job(), Pod().ran(1, RAISED).published(succeeded=False)))
    assert status(found)["failure"] == {
        "cause": "UserError",
        "reason": "ScriptRaised",
        "message": "KeyError: 'a'",
        "exitCode": 1,
        "exception": "KeyError: 'a'",
        "file": "train.py",
        "line": 41,
        "attempt": 0,
        "pod": "iris-chief-0",
    }
    assert conditions(found) == {"Accepted": "True", "Failed": "True", "Finished": "True", "Stalled": "True"}
    assert status(found)["outputs"]["objects"] == 4


def test_a_finished_job_is_never_written_again() -> None:
    for pod in (Pod().ran().published(), Pod().ran(1, RAISED).published(succeeded=False)):
        observed = done(seen(job(), pod))
        assert plan(observed, NOW + 5) == Plan(rule="finished")
        assert plan(without_pods(observed), NOW + 50) == Plan(rule="finished")
        assert plan(replace(without_pods(observed), gone=(pod.record(),)), NOW + 50) == Plan(rule="finished")


def test_a_finished_job_stays_finished_when_its_spec_is_changed_and_only_says_that_it_saw_it() -> None:
    observed = done(seen(job(), Pod().ran().published()))
    changed = replace(observed, pods=(), job=replace(observed.job, generation=2, spec={**observed.job.spec, "suspend": True}))
    found = plan(changed)
    assert status(found) == {**observed.job.status, "observedGeneration": 2}
    assert plan(after(changed, found)) == Plan(rule="finished")


def test_an_invalid_spec_fails_and_names_the_field() -> None:
    found = plan(seen(job(args=["${nonsense}"])))
    assert reason(found) == "InvalidSpec"
    assert "spec.args.0" in status(found)["message"]
    assert "${bucket}" in status(found)["message"]
    assert conditions(found)["Accepted"] == "False"


def test_an_inline_script_that_is_too_long_is_an_invalid_spec_though_its_text_is_not_kept() -> None:
    fits, long = (job(script={"name": "a.py", "inline": "x" * length}) for length in (262_144, 262_145))
    assert plan(seen(fits)).rule == "no_pod"
    assert reason(plan(seen(long))) == "InvalidSpec"
    assert "262145 characters" in status(plan(seen(long)))["message"]


OLDER = {
    "a model that holds the checkpoints": {"model": {"path": "${bucket}/out"}, "checkpoints": {"path": "${bucket}/out/ckpt"}},
    "one folder for both": {"model": {"path": "${bucket}/out"}, "checkpoints": {"path": "${cos}/out/"}},
    "checkpoints of one attempt": {"checkpoints": {"path": "${bucket}/out/${attempt}"}},
    "a literal placeholder in an output": {"outputs": [{"path": "${bucket}/${x}/y"}]},
    "a literal placeholder in an input": {"inputs": [{"name": "a", "uri": "s3://bucket/${date}/"}]},
    "a literal placeholder in a file": {"dependencies": {"files": [{"uri": "${bucket}/${x"}]}},
    "a literal placeholder in the archive": {"dependencies": {"archive": {"uri": "${bucket}/${bucket}/a.zip"}}},
    "a literal placeholder in the script": {"script": {"uri": "${bucket}/${user}/a.py"}},
}
"""What the last version took, and a new job may not have, or could not for a while."""


@pytest.mark.parametrize("spec", OLDER.values(), ids=OLDER)
class TestAJobThatAnOlderVersionAccepted:
    def test_goes_on_while_it_runs(self, spec: dict[str, Any]) -> None:
        found = plan(seen(job(**spec), Pod().fetched().running()))
        assert status(found)["phase"] == "Running"
        assert found.deletions == ()

    def test_is_not_failed_while_it_is_suspended_and_gets_its_next_pod_when_it_is_resumed(self, spec: dict[str, Any]) -> None:
        ran = seen(job(**spec), Pod().fetched().running())
        ran = after(ran, plan(ran))
        stopping = replace(ran, job=replace(ran.job, spec={**ran.job.spec, "suspend": True}))
        stopping = after(stopping, plan(stopping))
        stopped = after(stopping, plan(without_pods(stopping)))
        assert stopped.job.status["phase"] == "Suspended"
        resumed = without_pods(replace(stopped, job=replace(stopped.job, spec=job(**spec).spec)))
        found = plan(done(resumed, NOW + 5), NOW + 5)
        assert [each["metadata"]["name"] for each in pods(found)] == ["iris-chief-0-r1"]

    def test_is_refused_as_a_new_one_unless_it_is_good_by_now(self, spec: dict[str, Any]) -> None:
        found = plan(seen(job(**spec)))
        if spec == OLDER["a model that holds the checkpoints"]:
            assert len(pods(found)) == 1
        else:
            assert reason(found) == "InvalidSpec"
            assert found.creates == ()


def test_an_input_that_is_not_declared_is_an_invalid_spec_also_in_the_environment() -> None:
    found = plan(seen(job(env=[{"name": "DATA", "value": "${inputs.mnist}"}])))
    assert reason(found) == "InvalidSpec"
    assert "${inputs.mnist}" in status(found)["message"]


def test_an_unknown_runtime_fails_and_lists_the_known_ones() -> None:
    found = plan(seen(job(runtime="tf3")))
    assert reason(found) == "UnknownRuntime"
    assert "tf1, tf2" in status(found)["message"]
    assert "Did you mean tf2? Create the job again" in status(found)["message"]
    assert "id you mean" not in status(plan(seen(job(runtime="pytorch"))))["message"]
    assert found.creates == ()


def test_packages_are_refused_where_the_admin_allows_no_index_and_handed_to_the_pod_where_one_is() -> None:
    named = job(dependencies={"requirements": ["nltk==3.9.1"]})
    found = plan(seen(named))
    assert reason(found) == "InvalidSpec"
    for words in ("spec.dependencies.requirements", "'nltk==3.9.1'", "packageIndex.url"):
        assert words in status(found)["message"]
    assert found.creates == ()
    index = PackageIndex(url="https://packages.example.com/simple")
    allowed = decide(seen(named), CONFIGURATION.model_copy(update={"package_index": index}), CREATED)
    assert len(pods(allowed)) == 1
    assert status(plan(seen(named, Pod().running())))["phase"] == "Running"


def test_a_runtime_that_an_admin_removes_does_not_end_a_running_job() -> None:
    assert status(plan(seen(job(runtime="tf3"), Pod().running())))["phase"] == "Running"


@pytest.mark.parametrize("owner", [None, "somebody-else"], ids=["without an owner", "with a forged owner"])
def test_a_foreign_pod_with_our_name_is_a_conflict_and_never_a_success(owner: str | None) -> None:
    found = plan(seen(job(), replace(Pod().ran().published(), owner=owner)))
    assert reason(found) == "NameConflict"
    assert found.creates == ()
    assert found.deletions == ()


def test_the_pod_of_a_deleted_job_of_the_same_name_is_waited_for() -> None:
    left_over = replace(Pod(), owner="the-last-one", created=CREATED - 100)
    assert plan(seen(job(), left_over), CREATED + 1) == Plan(rule="name_taken", requeue_at=CREATED + 3)
    told = plan(seen(job(), left_over), CREATED + 5)
    assert (told.creates, told.requeue_at, status(told)["pending"]["reason"]) == ((), CREATED + 60, "PredecessorEnding")
    assert "pod iris-chief-0 of an earlier job" in status(told)["pending"]["message"]
    ending = plan(seen(job(), replace(left_over, deleted=CREATED + 30)), CREATED + 90)
    assert status(ending)["pending"]["reason"] == "PredecessorEnding"
    assert plan(seen(job())).creates != ()


def test_what_a_library_coloured_or_broke_into_lines_is_told_plainly_in_one() -> None:
    raised = contract.Failure(
        reason=Reason.SCRIPT_RAISED,
        message="ValueError: in call().\n\n\x1b[1mInput 0\x1b[0m is odd\x07",
        exception="ValueError: a\nb",
        traceback="Traceback:\n  \x1b[31mline\x1b[0m\n",
    )
    pod = Pod().ran(1, contract.RunReport(exit_code=1, failure=raised)).published(succeeded=False)
    found = status(plan(seen(job(), pod)))
    assert found["message"] == "ValueError: in call(). Input 0 is odd."
    assert found["failure"]["exception"] == "ValueError: a b"
    assert found["failure"]["traceback"] == "Traceback:\n  line\n"


def test_a_foreign_pod_of_another_name_is_ignored() -> None:
    assert plan(seen(job(), replace(Pod(), owner=None, name="iris-helper"))).rule == "no_pod"


class TestSuspend:
    def test_a_job_that_is_created_suspended_waits_and_begins_with_attempt_zero(self) -> None:
        observed = seen(job(suspend=True))
        found = plan(observed)
        assert (found.creates, conditions(found)["Suspended"], status(found)["attempt"]) == ((), "True", 0)
        resumed = after(observed, found)
        resumed = replace(resumed, job=replace(resumed.job, spec={**resumed.job.spec, "suspend": False}, generation=2))
        told = plan(resumed)
        assert (conditions(told)["Suspended"], told.creates, told.requeue_at) == ("False", (), NOW), "written before there is a pod"
        begun = plan(after(resumed, told))
        assert ([pod["metadata"]["name"] for pod in pods(begun)], begun.status) == (["iris-chief-0"], None)

    def test_the_pod_of_a_suspended_job_is_deleted_gently_and_once(self) -> None:
        observed = seen(job(suspend=True), Pod().running())
        found = plan(observed)
        assert [(gone.name, gone.uid) for gone in found.deletions] == [("iris-chief-0", POD_UID)]
        going = replace(after(observed, found), pods=(replace(Pod().running(), deleted=NOW + 60).record(),))
        assert (plan(going).deletions, plan(going).status) == ((), None)

    def test_a_resumed_job_runs_as_the_next_attempt(self) -> None:
        stopped = replace(Pod().ran(143).published(succeeded=False, kept=1, note="best.bin may be cut short"), deleted=NOW + 60)
        observed = done(seen(job(suspend=True), Pod().running()))
        assert plan(replace(observed, pods=(stopped.record(),))).status is None
        held = done(replace(observed, pods=(replace(stopped, held=True).record(),)))
        assert held.job.status["phase"] == "Suspended", "a finalizer of somebody else's may keep what has ended for as long as it likes"
        observed = replace(observed, pods=(), gone=(stopped.record(),))
        assert [(note.type, note.reason) for note in plan(observed).events] == [("Normal", "Suspended"), ("Warning", "OutputsIncomplete")]
        observed = done(observed)
        assert (observed.job.status["phase"], observed.job.status["attempt"]) == ("Suspended", 1)
        assert observed.job.status["outputs"]["kept"] == 1
        assert observed.job.status["logs"]["uri"].endswith("/attempt-0/logs/")
        assert plan(observed, NOW + 10_000).status is None
        assert plan(replace(observed, gone=()), NOW + 10_000).status is None
        resumed = replace(observed, job=replace(observed.job, spec={**observed.job.spec, "suspend": False}))
        found = plan(resumed, NOW + 10_000)
        assert conditions(found)["Suspended"] == "False"
        assert [pod["metadata"]["name"] for pod in pods(plan(after(resumed, found), NOW + 10_000))] == ["iris-chief-0-r1"]
        running = replace(after(resumed, found), pods=(Pod(attempt=1, created=NOW + 10_001).record(),))
        assert plan(running, NOW + 10_002).deletions == ()
        assert conditions(plan(replace(running, pods=(Pod(attempt=1).running().record(),)), NOW + 10_005))["Running"] == "True"

    def test_a_suspension_that_is_taken_back_midway_ends_in_the_next_attempt_and_not_in_a_failure(self) -> None:
        observed = done(seen(job(suspend=True), Pod().running()))
        stopped = replace(Pod().ran(143).published(succeeded=False), deleted=NOW + 60).record()
        back = replace(observed, job=replace(observed.job, spec={**observed.job.spec, "suspend": False}), pods=(stopped,))
        assert plan(back).status is None
        gone = replace(back, pods=(), gone=(stopped,))
        found = plan(gone)
        assert (status(found)["attempt"], found.creates) == (1, ())
        assert [pod["metadata"]["name"] for pod in pods(plan(after(gone, found)))] == ["iris-chief-0-r1"]

    def test_a_resume_has_the_whole_time_to_start_also_where_the_suspension_was_taken_back_midway(self) -> None:
        observed = done(seen(job(suspend=True, pendingDeadlineSeconds=60), Pod().running()))
        going = replace(Pod().running(), deleted=NOW + 600)
        back = replace(observed, job=replace(observed.job, spec={**observed.job.spec, "suspend": False}), pods=(going.record(),))
        gone = replace(back, pods=(), gone=(going.record(),))
        resumed = after(gone, plan(gone, NOW + 500))
        pending = replace(resumed, pods=(Pod(attempt=1, created=NOW + 501, node="").record(),), gone=())
        assert plan(pending, NOW + 558).deletions == ()
        assert status(plan(pending, NOW + 562))["failure"]["reason"] == "PendingDeadlineExceeded"

    def test_a_script_that_had_ended_before_it_was_suspended_has_ended(self) -> None:
        assert status(plan(seen(job(suspend=True), Pod().ran().published())))["phase"] == "Succeeded"
        assert reason(plan(seen(job(suspend=True), Pod().ran(1, RAISED).published(succeeded=False)))) == "ScriptRaised"

    def test_a_script_that_finishes_while_it_is_being_suspended_has_succeeded(self) -> None:
        observed = done(seen(job(suspend=True), Pod().running()))
        ended = replace(Pod().ran().published(), deleted=NOW + 60)
        assert status(plan(replace(observed, pods=(ended.record(),))))["phase"] == "Succeeded"


class TestPodGone:
    def test_a_pod_that_somebody_deleted_fails_the_job_and_is_not_made_anew(self) -> None:
        found = plan(seen(job(), gone=(Pod().running(),)))
        assert (reason(found), found.creates) == ("PodDeleted", ())

    def test_a_pod_that_only_the_status_remembers_counts_as_deleted(self) -> None:
        observed = without_pods(done(seen(job(), Pod().running())))
        found = plan(observed)
        assert (reason(found), found.creates) == ("PodDeleted", ())
        assert status(found)["startTime"] == rfc3339(CREATED + 2)

    def test_a_pod_that_succeeded_before_it_was_deleted_has_succeeded(self) -> None:
        assert status(plan(seen(job(), gone=(Pod().ran().published(),))))["phase"] == "Succeeded"

    @pytest.mark.parametrize(
        "moment", [Pod(), Pod().fetching(), Pod().running(), Pod().ran()], ids=["waiting", "fetching", "running", "ended"]
    )
    def test_a_pod_is_waited_for_while_it_is_being_deleted(self, moment: Pod) -> None:
        assert plan(seen(job(), replace(moment, deleted=NOW + 30))) == Plan(rule="pod_going", requeue_at=NOW + 90)

    def test_a_pod_that_ended_because_somebody_deleted_it_says_so(self) -> None:
        stopped = Failure(reason=Reason.TERMINATED, message="told to stop")
        for code, told in [(143, RunReport(exit_code=143, failure=stopped)), (137, None), (143, None)]:
            pod = replace(Pod().ran(code, told).published(succeeded=False), deleted=NOW)
            assert reason(plan(seen(job(), pod))) == "PodDeleted"

    def test_a_node_that_does_not_answer_is_told_of_while_nobody_knows_more(self) -> None:
        pod = replace(Pod().running(), deleted=NOW - 61)
        found = plan(seen(job(), pod))
        assert conditions(found)["Running"] == "Unknown"
        assert "node-a" in status(found)["message"]
        tainted = replace(Pod().running(), deleted=NOW + 30).condition("DisruptionTarget", "True", "DeletionByTaintManager")
        assert conditions(plan(seen(job(), tainted)))["Running"] == "Unknown"

    def test_a_pod_whose_labels_were_removed_does_not_run_on_unseen(self) -> None:
        found = plan(seen(job(), gone=(Pod().running(),)))
        assert [gone.uid for gone in found.deletions] == [POD_UID]
        assert "or lost its label tftraining.dev/job-uid" in status(found)["message"]
        seen_going = plan(seen(job(), gone=(replace(Pod().running(), deleted=NOW),)))
        assert "label" not in status(seen_going)["message"]


class TestWaiting:
    def test_an_ordinary_start_is_not_written_before_it_lasts(self) -> None:
        assert plan(seen(job(), Pod()), CREATED + 5).requeue_at == CREATED + 11
        found = plan(seen(job(), Pod()), CREATED + 12)
        assert (status(found)["phase"], conditions(found)["Reconciling"]) == ("Pending", "True")

    def test_a_long_fetch_is_shown(self) -> None:
        assert plan(seen(job(), Pod().fetching()), CREATED + 4).status is None
        assert status(plan(seen(job(), Pod().fetching()), CREATED + 6))["phase"] == "Fetching"

    def test_a_long_publish_is_shown(self) -> None:
        assert plan(seen(job(), Pod().ran()), CREATED + 62).status is None
        assert status(plan(seen(job(), Pod().ran()), CREATED + 64))["phase"] == "Publishing"

    def test_a_job_that_no_node_can_take_says_so_and_is_not_called_running(self) -> None:
        pod = replace(Pod(), node="").condition(
            "PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
        )
        found = plan(seen(job(resources={"gpus": 2}), pod))
        assert status(found)["pending"]["reason"] == "Unschedulable"
        assert "2 of nvidia.com/gpu" in status(found)["message"]
        assert conditions(found) == {"Accepted": "True", "Scheduled": "False", "Running": "False", "Reconciling": "True"}
        assert [note.type for note in found.events] == ["Warning"]

    def test_a_scheduler_that_counts_its_nodes_anew_causes_no_write(self) -> None:
        def pod(count: int) -> Pod:
            return Pod(node="").condition("PodScheduled", "False", "Unschedulable", f"0/{count} nodes are available.")

        observed = done(seen(job(), pod(10)))
        assert plan(replace(observed, pods=(pod(11).record(),))).status is None

    def test_a_reason_that_is_no_longer_true_goes_at_once(self) -> None:
        observed = done(seen(job(), Pod(node="").condition("PodScheduled", "False", "Unschedulable")), CREATED + 5)
        found = plan(replace(observed, pods=(Pod().record(),)), CREATED + 5)
        assert "pending" not in status(found)

    def test_a_pull_and_the_back_off_after_it_read_the_same(self) -> None:
        error = "rpc error: not found"
        pull = Pod().container("fetch", waiting={"reason": "ErrImagePull", "message": error})
        back_off = Pod().container(
            "fetch", waiting={"reason": "ImagePullBackOff", "message": f'Back-off pulling image "x": ErrImagePull: {error}'}
        )
        observed = done(seen(job(runtime="tf1"), pull))
        assert observed.job.status["pending"]["reason"] == "ImageUnavailable"
        assert "registry.test/trainer:tf1" in observed.job.status["message"]
        assert "runtime tf1" in observed.job.status["message"]
        assert plan(replace(observed, pods=(back_off.record(),))).status is None

    @pytest.mark.parametrize(
        ("message", "reason", "words"),
        [
            (
                'secret "tftraining-storage" not found',
                "SecretNotFound",
                ["spec.storage.secretName", "tftraining-storage", "team-a", "accessKey"],
            ),
            ('secret "tftraining-datasets" not found', "SecretNotFound", ["spec.datasets.secretName", "tftraining-datasets"]),
            (
                "couldn't find key accessKey in Secret team-a/tftraining-storage",
                "SecretKeyNotFound",
                ["spec.storage.secretName", "accessKey", "tftraining-storage", "endpoint, bucket, accessKey and secretKey are all needed"],
            ),
        ],
    )
    def test_a_missing_secret_is_named_with_its_field_and_the_remedy(self, message: str, reason: str, words: list[str]) -> None:
        found = plan(seen(job(), Pod().container("fetch", waiting={"reason": "CreateContainerConfigError", "message": message})))
        assert status(found)["pending"]["reason"] == reason
        assert all(word in status(found)["message"] for word in words)

    @pytest.mark.parametrize(
        ("message", "words", "job_spec"),
        [
            (
                'secret "tftraining-storage" not found',
                ["which the operator's configuration names (defaults.storageSecretName), as the job has no spec.storage.secretName"],
                {},
            ),
            ('secret "mine" not found', ["the Secret mine, which spec.storage.secretName names,"], {"storage": {"secretName": "mine"}}),
            (
                "couldn't find key endpoint in Secret team-a/tftraining-datasets",
                ["which the operator's configuration names (defaults.datasetsSecretName), as the job has no spec.datasets.secretName"],
                {},
            ),
        ],
    )
    def test_a_missing_secret_is_told_by_who_has_named_it(self, message: str, words: list[str], job_spec: dict[str, Any]) -> None:
        waiting = Pod().container("fetch", waiting={"reason": "CreateContainerConfigError", "message": message})
        assert all(word in status(plan(seen(job(**job_spec), waiting)))["message"].replace("The", "the") for word in words)

    @pytest.mark.parametrize(
        ("message", "reason", "words"),
        [
            (
                'secret "wandb" not found',
                "SecretNotFound",
                "The Secret wandb, which spec.env[1].valueFrom.secretKeyRef (variable WANDB_API_KEY) names, does not exist in namespace "
                "team-a: create it with the keys apiKey, entity, and the job goes on by itself",
            ),
            (
                "couldn't find key entity in Secret team-a/wandb",
                "SecretKeyNotFound",
                "The Secret wandb, which spec.env[3].valueFrom.secretKeyRef (variable WANDB_ENTITY) names, has no key entity in namespace "
                "team-a: add it, and the job goes on by itself",
            ),
            (
                'secret "tftraining-storage" not found',
                "SecretNotFound",
                "The Secret tftraining-storage, which spec.env[4].valueFrom.secretKeyRef (variable KEY) names, does not exist in namespace "
                "team-a: create it with the key accessKey, and the job goes on by itself; until then its CPUs, "
                "memory and GPUs stay reserved on its node",
            ),
        ],
    )
    def test_a_secret_that_a_variable_lacks_is_named_with_the_variable_and_the_keys(self, message: str, reason: str, words: str) -> None:
        def source(name: str, key: str, **more: bool) -> dict[str, Any]:
            return {"secretKeyRef": {"name": name, "key": key} | more}

        env = [
            {"name": "PLAIN", "value": "x"},
            {"name": "WANDB_API_KEY", "valueFrom": source("wandb", "apiKey")},
            {"name": "WANDB_NOTE", "valueFrom": source("wandb", "note", optional=True)},
            {"name": "WANDB_ENTITY", "valueFrom": source("wandb", "entity")},
            {"name": "KEY", "valueFrom": source("tftraining-storage", "accessKey")},
        ]
        waiting = Pod().fetched().container("trainer", waiting={"reason": "CreateContainerConfigError", "message": message})
        found = plan(seen(job(env=env), waiting))
        assert status(found)["pending"]["reason"] == reason
        assert status(found)["message"].startswith(words)

    def test_an_image_name_that_cannot_be_one_ends_the_job_at_once(self) -> None:
        found = plan(seen(job(), Pod().container("fetch", waiting={"reason": "InvalidImageName"})))
        assert reason(found) == "ImageUnavailable"
        assert len(found.deletions) == 1

    def test_a_pod_that_the_cluster_refuses_is_tried_again_and_the_job_says_why(self) -> None:
        found = plan(seen(job(), refusal='pods "iris-chief-0" is forbidden: exceeded quota: gpus'))
        assert status(found)["pending"]["reason"] == "PodRefused"
        assert "exceeded quota: gpus" in status(found)["message"]
        assert len(pods(found)) == 1

    @pytest.mark.parametrize(
        "observed",
        [
            after_a_look(seen(job(pendingDeadlineSeconds=60), refusal="exceeded quota")),
            after_a_look(seen(job(pendingDeadlineSeconds=60), replace(Pod(), name="iris-chief-0", owner="the-last-one", deleted=CREATED))),
            seen(job(pendingDeadlineSeconds=60), Pod()),
            seen(job(pendingDeadlineSeconds=60), Pod().fetching()),
            seen(job(pendingDeadlineSeconds=60), Pod().container("fetch", waiting={"reason": "ImagePullBackOff"})),
        ],
        ids=["refused", "its predecessor's pod", "starting", "fetching", "image"],
    )
    def test_a_job_that_waits_beyond_its_pending_deadline_fails_with_what_it_waited_for(self, observed: Observed) -> None:
        assert decide(observed, CONFIGURATION, CREATED + 59).rule
        found = plan(observed, CREATED + 65)
        assert reason(found) == "PendingDeadlineExceeded"
        assert [item.uid for item in found.deletions] == [pod.uid for pod in observed.pods if pod.owner_uid == observed.job.uid]
        assert "waited because" in status(found)["message"]

    def test_the_deadline_does_not_begin_anew_when_a_pod_that_was_refused_is_made_at_last(self) -> None:
        refused = after_a_look(seen(job(pendingDeadlineSeconds=3600), refusal="exceeded quota"))
        made = replace(refused, refusal="", pods=(Pod(created=CREATED + 3590, node="").record(),))
        assert plan(made, CREATED + 3599).deletions == ()
        assert reason(plan(made, CREATED + 3605)) == "PendingDeadlineExceeded"

    def test_a_resumed_job_is_not_failed_for_having_waited_before_it_was_suspended(self) -> None:
        refused = after_a_look(seen(job(pendingDeadlineSeconds=3600), refusal="exceeded quota"))
        paused = replace(refused, job=replace(refused.job, spec={**refused.job.spec, "suspend": True}))
        paused = after(paused, plan(paused, CREATED + 60))
        resumed = replace(paused, job=replace(paused.job, spec={**paused.job.spec, "suspend": False}))
        found = plan(resumed, CREATED + 7200)
        assert status(found)["phase"] == "Pending"
        again = after(resumed, found)
        assert plan(again, CREATED + 7210).creates != ()
        assert reason(plan(again, CREATED + 7200 + 3600)) == "PendingDeadlineExceeded"

    def test_nor_for_its_name_that_is_still_taken_when_it_is_resumed(self) -> None:
        paused = after_a_look(seen(job(suspend=True, pendingDeadlineSeconds=3600)))
        spec = {**paused.job.spec, "suspend": False}
        taken = replace(Pod(), owner="the-last-one", deleted=CREATED + 7000).record()
        found = plan(replace(paused, job=replace(paused.job, spec=spec), pods=(taken,)), CREATED + 7200)
        assert status(found)["pending"]["reason"] == "PredecessorEnding"

    def test_a_job_that_was_created_while_the_operator_was_down_still_gets_its_time(self) -> None:
        observed = seen(job(pendingDeadlineSeconds=60))
        late = CREATED + 5000
        assert plan(observed, late).creates != ()
        assert plan(replace(observed, pods=(Pod(created=late).record(),)), late + 1).deletions == ()


class TestBackstops:
    def test_a_script_that_the_launcher_could_not_stop_is_deleted_after_its_deadline(self) -> None:
        observed = seen(job(activeDeadlineSeconds=60, terminationGracePeriodSeconds=10), Pod().running(at=CREATED + 4))
        assert plan(observed, CREATED + 60).requeue_at == CREATED + 4 + 60 + 10 + 120
        found = plan(observed, CREATED + 195)
        assert (reason(found), len(found.deletions)) == ("DeadlineExceeded", 1)

    @pytest.mark.parametrize(
        ("told", "ends_after", "why"),
        [
            ("none", 60, "which was shortened while it ran"),
            ("3600", 60, "which was shortened while it ran"),
            ("60", 60 + 10 + 120, "did not stop when it was told to"),
            ("30", 60 + 10 + 120, "did not stop when it was told to"),
            ("a pod of an older version", 60 + 10 + 120, "did not stop when it was told to"),
        ],
    )
    def test_a_deadline_that_is_shortened_while_the_script_runs_is_kept_by_the_operator(self, told: str, ends_after: int, why: str) -> None:
        raw = Pod().running(at=CREATED + 4).raw()
        raw["metadata"]["annotations"]["tftraining.dev/active-deadline-seconds"] = told
        record = pod_record(raw)
        assert record is not None
        observed = replace(seen(job(activeDeadlineSeconds=60, terminationGracePeriodSeconds=10)), pods=(record,))
        assert plan(observed, CREATED + 4 + ends_after - 1).requeue_at == CREATED + 4 + ends_after
        found = plan(observed, CREATED + 4 + ends_after)
        assert (reason(found), len(found.deletions), why in status(found)["message"]) == ("DeadlineExceeded", 1, True)

    def test_a_pod_is_told_in_its_annotation_which_deadline_it_keeps(self) -> None:
        made = [pods(plan(seen(job(**spec))))[0]["metadata"]["annotations"] for spec in ({}, {"activeDeadlineSeconds": 60})]
        assert [each["tftraining.dev/active-deadline-seconds"] for each in made] == ["none", "60"]

    def test_a_publisher_that_cannot_start_while_the_script_runs_is_told_with_the_remedy_and_once(self) -> None:
        waits = {"reason": "CreateContainerConfigError", "message": 'secret "tftraining-storage" not found'}
        observed = seen(job(), Pod().running().container(contract.PUBLISHER, waiting=waits))
        found = plan(observed)
        assert (status(found)["phase"], status(found)["pending"]["reason"]) == ("Running", "SecretNotFound")
        assert conditions(found)["Running"] == "True"
        assert "create it with the keys endpoint" in status(found)["message"]
        assert [(event.type, event.reason) for event in found.events] == [("Normal", "Running"), ("Warning", "SecretNotFound")]
        again = after(observed, found)
        assert plan(again, NOW + 5).status is None
        mended = plan(replace(again, pods=(Pod().running().record(),)))
        assert "pending" not in status(mended)
        assert mended.events == ()

    def test_a_stuck_publisher_is_stopped_but_a_slow_one_gets_its_time(self) -> None:
        observed = seen(job(resources={"workspace": "4Gi"}), Pod().ran(at=CREATED + 60))
        assert plan(observed, CREATED + 1000).deletions == ()
        found = plan(observed, CREATED + 60 + 90 + 1024 + 1)
        assert (reason(found), len(found.deletions)) == ("PublishFailed", 1)

    def test_a_trainer_that_cannot_be_started_does_not_leave_the_publisher_waiting(self) -> None:
        found = plan(seen(job(), Pod().ran(128, reason="StartError")))
        assert (reason(found), len(found.deletions)) == ("ContainerNotStarted", 1)

    def test_an_older_attempt_that_still_lives_is_deleted(self) -> None:
        found = plan(seen(job({"attempt": 1}), Pod(attempt=0).running(), Pod(attempt=1).running()))
        assert [gone.name for gone in found.deletions] == ["iris-chief-0"]


class TestForgery:
    """Whoever may write the status of a job, or its pod's labels, makes no false end of it."""

    forged_success: ClassVar[dict[str, Any]] = {
        "phase": "Succeeded",
        "completionTime": rfc3339(CREATED + 5),
        "conditions": [
            {"type": kind, "status": "True", "reason": "Published", "lastTransitionTime": rfc3339(CREATED + 5)}
            for kind in ("Succeeded", "Finished")
        ],
    }

    def test_a_phase_is_only_a_word(self) -> None:
        assert plan(seen(job({"phase": "Succeeded"}))).creates != ()

    def test_a_success_while_the_script_still_runs_is_corrected(self) -> None:
        place = contract.run_prefix("team-a", JOB, job().uid, 0)
        whole = {**self.forged_success, "outputs": {"manifest": f"s3://bucket/{place}manifest.json"}}
        assert status(plan(seen(job(whole), Pod().running())))["phase"] == "Running"

    def test_a_failure_while_the_script_still_runs_is_corrected(self) -> None:
        failed = done(seen(job(), Pod().ran(1, RAISED).published(succeeded=False)))
        assert status(plan(replace(failed, pods=(Pod().running().record(),))))["phase"] == "Running"

    def test_the_phase_of_a_finished_job_is_put_right(self) -> None:
        observed = done(seen(job(), Pod().ran().published()))
        forged = replace(observed, job=replace(observed.job, status={**observed.job.status, "phase": "Running"}))
        assert status(plan(forged))["phase"] == "Succeeded"

    def test_a_changed_attempt_label_changes_nothing(self) -> None:
        raw = Pod().running().raw()
        raw["metadata"]["labels"] |= {"tftraining.dev/attempt": "7"}
        record = pod_record(raw)
        assert record is not None
        assert status(plan(replace(seen(job()), pods=(record,))))["attempt"] == 0

    def test_a_running_pod_of_the_right_attempt_outweighs_a_forged_number(self) -> None:
        found = plan(seen(job({"attempt": 999}), Pod().running()))
        assert status(found)["attempt"] == 0

    def test_a_report_beside_user_code_cannot_claim_what_only_the_cluster_knows(self) -> None:
        for claimed in (Reason.PREEMPTED, Reason.NODE_LOST, Reason.POD_DELETED, Reason.STORAGE_UNAVAILABLE):
            told = RunReport(exit_code=3, failure=Failure(reason=claimed, message="not my fault"))
            assert reason(plan(seen(job(), Pod().ran(3, told).published(succeeded=False)))) == "ScriptExited"

    def test_a_report_of_failure_is_not_believed_of_a_script_that_ended_well(self) -> None:
        assert status(plan(seen(job(), Pod().ran(0, replace_code(RAISED, 0)).published())))["phase"] == "Succeeded"

    def test_a_publish_report_that_contradicts_itself_is_no_success(self) -> None:
        broken = Pod().ran().published(failure=Failure(reason=Reason.PUBLISH_FAILED, message="half of it"))
        assert reason(plan(seen(job(), broken))) == "PublishFailed"
        assert isinstance(PublishReport(), PublishReport)


def replace_code(report: RunReport, code: int) -> RunReport:
    return RunReport(exit_code=code, failure=report.failure)


def test_a_later_attempt_keeps_the_default_runtime_of_the_first_also_when_an_admin_has_changed_it() -> None:
    resumed = done(seen(job(suspend=True)))
    assert resumed.job.status["runtime"] == "tf2"
    changed = CONFIGURATION.model_copy(update={"default_runtime": "tf1"})
    spec = {**resumed.job.spec, "suspend": False}
    resumed = done(replace(resumed, job=replace(resumed.job, spec=spec)))
    made = pods(decide(resumed, changed, NOW))[0]
    assert made["spec"]["containers"][0]["image"] == CONFIGURATION.runtimes["tf2"].image
    forged = replace(resumed.job, spec=spec, status={**resumed.job.status, "runtime": "unheard-of"})
    made = pods(decide(replace(resumed, job=forged), changed, NOW))[0]
    assert made["spec"]["containers"][0]["image"] == CONFIGURATION.runtimes["tf1"].image


class TestCredentialsInSight:
    """What stands in a job for all to read is told, and told nowhere else."""

    ENV = ({"name": "WANDB_API_KEY", "value": "CANARY-0123456789"}, {"name": "EPOCHS", "value": "3"})

    def test_a_job_that_shows_a_credential_gets_one_event_with_field_and_remedy(self) -> None:
        [note] = plan(seen(job(env=list(self.ENV), args=["--db=postgres://me:CANARY@db/x", "--lr=1"]))).events
        assert (note.type, note.reason) == ("Warning", "CredentialInSight")
        assert note.message.startswith("spec.env[0].value (WANDB_API_KEY), spec.args[0]: ")
        assert "spec.env[].valueFrom.secretKeyRef" in note.message
        assert "CANARY" not in note.message

    def test_no_event_tells_of_it_again_while_the_pod_is_refused_or_runs(self) -> None:
        showing = job(env=list(self.ENV))
        assert not any(each.reason == "CredentialInSight" for each in plan(seen(showing, refusal="exceeded quota")).events)
        assert not any(each.reason == "CredentialInSight" for each in plan(seen(showing, Pod().fetched().running())).events)

    def test_a_job_without_one_gets_none(self) -> None:
        assert plan(seen(job(env=[{"name": "TF_CPP_MIN_LOG_LEVEL", "value": "1"}], args=["--tokens", "3"]))).events == ()

    @pytest.mark.parametrize(
        "spec",
        [
            {"args": ["--token=CANARY-0123456789${nowhere}"]},
            {"env": [{"name": "API_TOKEN", "value": "CANARY-0123456789${nowhere}"}]},
            {"args": ["--ok", "--password", "CANARY${inputs.absent}"]},
        ],
    )
    def test_a_spec_that_cannot_be_used_is_told_without_the_credential_in_it(self, spec: dict[str, Any]) -> None:
        found = plan(seen(job(**spec)))
        assert reason(found) == "InvalidSpec"
        assert "CANARY" not in str(found.status)
        assert "CANARY" not in str(found.events)
