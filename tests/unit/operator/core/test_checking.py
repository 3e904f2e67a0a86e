"""The check of a job that waits: when it is made, what is made of what it says, and that nobody's run is touched by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
from tftrainer.fetch.wanted import ARCHIVE_FIELD, SCRIPT_FIELD, file_field
from tftrainer.messages.contract import Failure, FetchReport, Pinned, Preflight, Reason
from tftraining_operator.core import attempts, build, checking, names
from tftraining_operator.core.decide import decide
from tftraining_operator.core.reasons import REASONS
from tftraining_operator.core.records import JobRecord, Observed, Plan

from .given import CONFIGURATION, CREATED, JOB, UID, Pod, after, job, seen

NAME = names.check_name(JOB, UID)
MAIN = "iris-chief-0"
DUE = CREATED + 1 + checking.AFTER_SECONDS
QUOTA = (
    'pods "iris-chief-0" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=4, '
    "limited: requests.nvidia.com/gpu=4"
)
MISSING = Failure(
    reason=Reason.IMPORT_MISSING, message="train.py imports nothing, which is nowhere", hint="put it there", file="a.py", line=3
)
NO_INPUT = "folder s3://bucket/a/ is empty or does not exist (named by spec.inputs[a].uri)"
DIFFERS = f"s3://bucket/train.py has the SHA-256 {'5' * 64}, but spec.script.sha256 is {'7' * 64}"
IN_ORDER = FetchReport(script=Pinned(uri="s3://bucket/train.py", sha256="5" * 64), objects=4, bytes=100)


def waiting(**changes: Any) -> Pod:
    return replace(Pod(node="").condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available: 3 x."), **changes)


def check(**changes: Any) -> Pod:
    return replace(Pod(name=NAME, node="node-b"), **changes)


def wanted(gpus: int = 1, preflight: str | None = None, **more: Any) -> JobRecord:
    spec = {"resources": {"gpus": gpus}, "inputs": [{"name": each, "uri": f"${{bucket}}/{each}/"} for each in "abc"]}
    return job(**spec | ({"preflight": preflight} if preflight else {}) | more)


def plan(observed: Observed, now: float = DUE) -> Plan:
    return decide(observed, CONFIGURATION, now)


def checked(found: Plan) -> dict[str, Any]:
    assert found.status is not None, found
    return dict(found.status.get("preflight") or {})


def told(observed: Observed, *pods: Pod, now: float = DUE) -> Observed:
    """Return the job with these pods and the status that it is given then."""
    observed = replace(observed, pods=tuple(pod.record() for pod in pods))
    return after(observed, plan(observed, now))


def gone(found: Plan) -> list[str]:
    return [each.name for each in found.deletions]


class TestWhenItIsMade:
    @pytest.mark.parametrize(
        ("gpus", "preflight", "made"),
        [
            (1, None, True),
            (0, None, False),
            (1, "Auto", True),
            (0, "Auto", False),
            (0, "Always", True),
            (1, "Always", True),
            (1, "Never", False),
            (0, "Never", False),
        ],
    )
    def test_by_gpus_and_by_what_the_job_says(self, gpus: int, preflight: str | None, made: bool) -> None:
        assert (plan(seen(wanted(gpus, preflight), waiting())).check is not None) == made

    @pytest.mark.parametrize(("given", "says", "made"), [("Never", None, False), ("Never", "Auto", True), ("Always", "Never", False)])
    def test_by_what_the_admin_says_where_the_job_does_not(self, given: str, says: str | None, made: bool) -> None:
        defaults = CONFIGURATION.defaults.model_copy(update={"preflight": Preflight(given)})
        admins = CONFIGURATION.model_copy(update={"defaults": defaults})
        assert (decide(seen(wanted(1, says), waiting()), admins, DUE).check is not None) == made
        always = admins.model_copy(update={"defaults": defaults.model_copy(update={"preflight": Preflight.ALWAYS})})
        assert decide(seen(wanted(0), waiting()), always, DUE).check is not None

    def test_ten_seconds_after_its_pod_was_made_and_somebody_looks_then(self) -> None:
        early = plan(seen(wanted(), waiting()), DUE - 0.1)
        assert early.check is None
        assert early.requeue_at is not None
        assert early.requeue_at <= DUE
        assert plan(seen(wanted(), waiting())).check is not None

    def test_also_for_a_pod_that_no_scheduler_has_looked_at_and_one_behind_a_gate(self) -> None:
        assert plan(seen(wanted(), Pod(node=""))).check is not None
        assert plan(seen(wanted(), Pod(node="").condition("PodScheduled", "False", "SchedulingGated"))).check is not None

    def test_for_a_pod_that_a_quota_refuses(self) -> None:
        first = plan(seen(wanted(), refusal=QUOTA), CREATED)
        assert first.check is None
        later = plan(after(seen(wanted(), refusal=QUOTA), first), CREATED + checking.AFTER_SECONDS)
        assert later.check is not None
        assert [each["kind"] for each in later.creates] == ["ConfigMap", "Pod"], "and the job's own pod is tried again all the same"

    @pytest.mark.parametrize(
        "pod",
        [Pod(), Pod(node="").condition("PodScheduled", "True"), Pod().fetching(), Pod().running(), waiting(deleted=DUE), Pod().ran(1)],
        ids=["placed", "placed without a name", "fetching", "running", "going", "ended"],
    )
    def test_not_for_one_that_has_its_place_or_goes(self, pod: Pod) -> None:
        assert plan(seen(wanted(), pod)).check is None

    def test_not_for_one_that_nobody_has_refused_yet(self) -> None:
        assert plan(seen(wanted())).check is None

    def test_not_of_one_whose_time_to_wait_is_over(self) -> None:
        found = plan(seen(wanted(), waiting()), CREATED + 4000)
        assert found.status is not None
        assert (found.status["failure"]["reason"], found.check) == ("PendingDeadlineExceeded", None)

    def test_not_while_it_is_suspended_or_deleted(self) -> None:
        assert plan(seen(wanted(suspend=True), waiting())).check is None
        assert plan(seen(replace(wanted(), deleted_at=DUE), waiting())).check is None

    def test_not_where_the_cluster_has_refused_it_or_somebody_has_its_name(self) -> None:
        assert plan(replace(seen(wanted(), waiting()), unchecked=True)).check is None
        assert plan(seen(wanted(), waiting(), check(owner="another"))).check is None

    @pytest.mark.parametrize("result", ["Started", "Passed", "Failed", "Inconclusive"])
    def test_once_for_a_job(self, result: str) -> None:
        known = {"preflight": {"result": result, "message": "m", "lastUpdateTime": "2026-01-01T00:00:00Z"}}
        assert plan(seen(job(known, resources={"gpus": 1}), waiting())).check is None

    def test_not_for_a_later_attempt_of_code_that_was_fetched(self) -> None:
        status = {"attempt": 1, "code": {"script": {"uri": "s3://bucket/train.py", "sha256": "5" * 64}}}
        assert plan(seen(job(status, resources={"gpus": 1}), waiting(attempt=1))).check is None

    def test_an_ordinary_start_of_a_gpu_job_costs_nothing_more(self) -> None:
        def course(record: JobRecord) -> list[tuple[bool, int, bool]]:
            observed, found = seen(record), []
            for pod, now in [
                (waiting(), CREATED + 1.2),
                (Pod(), CREATED + 9),
                (Pod().fetching(), CREATED + 12),
                (Pod().running(), CREATED + 20),
            ]:
                observed = replace(observed, pods=(pod.record(),))
                planned = plan(observed, now)
                found.append((planned.status is not None, len(planned.events), planned.check is not None))
                observed = after(observed, planned)
            return found

        assert course(wanted()) == course(wanted(preflight="Never"))


class TestWhatItSays:
    def test_that_it_is_being_made(self) -> None:
        found = plan(seen(wanted(), waiting(), check().fetching()))
        assert checked(found)["result"] == "Started"
        assert found.status is not None
        assert found.status["pending"]["message"].endswith(f"; pod {NAME} checks it meanwhile")
        assert found.status["message"].endswith(f" Pod {NAME} checks it meanwhile.")
        assert found.deletions == ()

    def test_that_its_own_pod_has_no_place_either(self) -> None:
        unplaced = check(node="", created=DUE)
        first = plan(seen(wanted(), waiting(), unplaced), DUE + 0.1)
        assert checked(first)["message"] == f"pod {NAME} checks it meanwhile"
        assert first.requeue_at == DUE + 10
        later = replace(after(seen(wanted()), first), pods=(waiting().record(), unplaced.record()))
        assert checked(plan(later, DUE + 10))["message"] == f"pod {NAME}, which is to check it meanwhile, waits for a place itself"
        assert plan(replace(later, pods=(waiting().record(), check(created=DUE).record())), DUE + 10).status is None

    def test_that_a_secret_is_missing_before_a_gpu_is_held_for_want_of_it(self) -> None:
        lacking = check().container(
            "fetch", waiting={"reason": "CreateContainerConfigError", "message": 'secret "tftraining-storage" not found'}
        )
        found = plan(seen(wanted(), waiting(), lacking))
        assert checked(found)["result"] == "Started"
        assert found.status is not None
        assert found.status["pending"]["reason"] == "Unschedulable"
        assert found.status["pending"]["message"].endswith(
            "; the Secret tftraining-storage, which the operator's configuration names (defaults.storageSecretName), as the job has no "
            "spec.storage.secretName, does not exist in namespace team-a: create it with the keys endpoint, bucket, accessKey and secretKey"
        )
        mended = plan(replace(after(seen(wanted()), found), pods=(waiting().record(), check().fetching().record())), DUE + 5)
        assert checked(mended)["message"] == f"pod {NAME} checks it meanwhile"

    def test_that_all_is_in_order_once_and_its_pod_goes(self) -> None:
        started = told(seen(wanted()), waiting(), check().fetching())
        observed = replace(started, pods=(waiting().record(), replace(check().fetched(IN_ORDER), phase="Succeeded").record()))
        found = plan(observed, DUE + 5)
        words = "checked while it waits: code, arguments, 3 inputs and the bucket are fine"
        assert (checked(found)["result"], checked(found)["message"]) == ("Passed", words)
        assert found.status is not None
        assert found.status["pending"]["message"].endswith(f"; {words}")
        assert found.status["pending"]["reason"] == "Unschedulable"
        assert [(each.type, each.reason) for each in found.events] == [("Normal", "Checked")]
        assert gone(found) == [NAME], "what it said is written first"
        assert found.status["code"]["script"] == {"uri": "s3://bucket/train.py", "sha256": "5" * 64}
        again = plan(replace(after(observed, found), pods=(waiting().record(),)), DUE + 6)
        assert (again.status, again.events, again.deletions, again.check) == (None, (), (), None)

    def test_its_pod_stays_until_what_it_says_is_written(self) -> None:
        observed = replace(seen(wanted(), waiting(), check().fetched(IN_ORDER)), nodes_awaited=True)
        found = plan(observed)
        assert (found.status, found.deletions) == (None, ())
        told = plan(replace(observed, nodes_awaited=False))
        assert (checked(told)["result"], gone(told)) == ("Passed", [NAME])

    def test_before_the_kubelet_has_put_the_phase_right(self) -> None:
        assert checked(plan(seen(wanted(), waiting(), check().fetched(IN_ORDER))))["result"] == "Passed"

    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            ({"inputs": []}, "code, arguments and the bucket"),
            ({"inputs": [{"name": "a", "uri": "${bucket}/a/"}]}, "code, arguments, 1 input and the bucket"),
        ],
    )
    def test_what_was_checked(self, spec: dict[str, Any], words: str) -> None:
        found = plan(seen(wanted(**spec), waiting(), check().fetched(IN_ORDER)))
        assert checked(found)["message"] == f"checked while it waits: {words} are fine"

    def test_the_reason_to_wait_stays_steady_beside_it(self) -> None:
        observed = told(seen(wanted()), waiting(), check().fetched(IN_ORDER))
        other = waiting(conditions=()).condition("PodScheduled", "False", "Unschedulable", "0/4 nodes are available: 4 y.")
        soon = plan(replace(observed, pods=(other.record(),)), DUE + 5)
        assert soon.status is None, "numbers that change by themselves are told after 30 s"
        late = plan(replace(observed, pods=(other.record(),)), DUE + 31)
        assert late.status is not None
        message = late.status["pending"]["message"]
        assert "4 y" in message
        assert message.count("checked while it waits") == 1

    def test_and_stays_told_when_the_job_runs_without_words_about_it(self) -> None:
        observed = told(seen(wanted()), waiting(), check().fetched(IN_ORDER))
        found = plan(replace(observed, pods=(Pod().running().record(),)), DUE + 60)
        assert checked(found)["result"] == "Passed"
        assert found.status is not None
        assert found.status["message"] == "The script runs in pod iris-chief-0 on node node-a."


class TestAFinding:
    def failed(self, failure: Failure = MISSING) -> Pod:
        return check().fetched(FetchReport(failure=failure), exit_code=1)

    @pytest.mark.parametrize("reason", sorted(checking.CERTAIN))
    def test_that_is_certain_ends_the_job_as_its_start_would(self, reason: Reason) -> None:
        failure = Failure(reason=reason, message="what", hint="do", exception="E", file="a.py", line=3)
        retries = {"userError": 3, "infrastructure": 3, "storage": 3}
        found = plan(seen(wanted(retry=retries), waiting(), self.failed(failure)))
        at_start = plan(seen(wanted(retry=retries), Pod().fetched(FetchReport(failure=failure), exit_code=1)))
        assert found.status is not None
        assert at_start.status is not None
        assert found.status["phase"] == "Failed"
        assert found.status["failure"] | {"pod": MAIN} == at_start.status["failure"]
        assert found.status["failure"]["pod"] == NAME
        assert checked(found)["result"] == "Failed"
        states = [{each["type"]: (each["status"], each["reason"]) for each in of.status["conditions"]} for of in (found, at_start)]  # type: ignore[index]
        assert states[0] == states[1]
        assert [each.reason for each in found.events] == [reason]
        assert gone(found) == [MAIN], "the pod of the check stays for its log"
        assert found.check is None

    def test_also_where_the_pod_was_refused(self) -> None:
        first = seen(wanted(), refusal=QUOTA)
        observed = after(first, plan(first, CREATED))
        found = plan(replace(observed, pods=(self.failed().record(),)))
        assert found.status is not None
        assert (found.status["phase"], found.creates, found.deletions) == ("Failed", (), ())

    @pytest.mark.parametrize(
        ("reason", "message", "spec"),
        [
            (Reason.OBJECT_NOT_FOUND, f"object s3://bucket/train.py does not exist (named by {SCRIPT_FIELD})", {}),
            (Reason.OBJECT_NOT_FOUND, f"object s3://bucket/a.zip does not exist (named by {ARCHIVE_FIELD})", {}),
            (Reason.OBJECT_NOT_FOUND, f"folder s3://bucket/lib/ is empty or does not exist (named by {file_field(0)})", {}),
            (Reason.OBJECT_NOT_FOUND, "spec.script.path is 'a.py', but the dependencies bring no such file", {}),
            (Reason.OBJECT_NOT_FOUND, f"object s3://bucket/x.py does not exist (named by {SCRIPT_FIELD}); also: {NO_INPUT}", {}),
            (Reason.DIGEST_MISMATCH, DIFFERS, {"script": {"uri": "s3://bucket/train.py", "sha256": "7" * 64}}),
            (Reason.DIGEST_MISMATCH, DIFFERS, {"dependencies": {"archive": {"uri": "s3://bucket/a.zip", "sha256": "7" * 64}}}),
            (Reason.DIGEST_MISMATCH, DIFFERS, {"dependencies": {"files": [{"uri": "s3://bucket/a.py", "sha256": "7" * 64}]}}),
        ],
    )
    def test_of_code_that_is_not_there_or_not_what_is_demanded_is_certain(self, reason: Reason, message: str, spec: dict[str, Any]) -> None:
        found = plan(seen(wanted(**spec), waiting(), self.failed(Failure(reason=reason, message=message))))
        assert found.status is not None
        assert (found.status["phase"], found.status["failure"]["reason"]) == ("Failed", reason)

    @pytest.mark.parametrize(
        ("reason", "message"),
        [
            (Reason.OBJECT_NOT_FOUND, NO_INPUT),
            (Reason.OBJECT_NOT_FOUND, "no object matches s3://bucket/b/* (named by spec.args[1])"),
            (Reason.OBJECT_NOT_FOUND, "object s3://bucket/train.py does not exist"),
            (Reason.OBJECT_NOT_FOUND, f"{NO_INPUT}; also: object s3://bucket/x.py does not exist (named by {SCRIPT_FIELD})"),
            (Reason.DIGEST_MISMATCH, "s3://bucket/train.py was replaced while it was fetched"),
            (Reason.DIGEST_MISMATCH, DIFFERS),
            (Reason.STORAGE_DENIED, "http://s3 refuses requests because its clock and the node's differ by minutes"),
            (Reason.STORAGE_MISCONFIGURED, "http://s3 does not answer like an S3 server"),
            (Reason.BUCKET_NOT_FOUND, "bucket 'b' does not exist at http://s3"),
        ],
    )
    def test_that_may_come_right_before_the_start_is_told_and_ends_nothing(self, reason: Reason, message: str) -> None:
        observed = seen(wanted(), waiting(), self.failed(Failure(reason=reason, message=message, hint="do this")))
        found = plan(observed)
        assert found.status is not None
        assert (found.status["phase"], checked(found)["result"]) == ("Pending", "Inconclusive")
        words = f"hecked while it waits, and not again before it starts: {message}; do this"
        assert found.status["pending"]["message"].endswith(f"; c{words}")
        assert found.status["message"].endswith(f" C{words}.")
        assert gone(found) == [NAME]
        again = plan(replace(after(observed, found), pods=(waiting().record(),)), DUE + 60)
        assert (again.status, again.check) == (None, None), "it stays told, and is not looked for again"

    @pytest.mark.parametrize("reason", sorted(set(Reason) - checking.CERTAIN - checking.TOLD))
    def test_that_is_not_says_nothing(self, reason: Reason) -> None:
        found = plan(seen(wanted(), waiting(), self.failed(Failure(reason=reason, message="the store is away"))))
        assert found.status is not None
        assert found.status["phase"] == "Pending"
        assert checked(found)["result"] == "Inconclusive"
        assert "the store is away" in checked(found)["message"]
        assert "store" not in found.status["message"]
        assert gone(found) == [NAME]

    def test_that_packages_cannot_be_had_counts_where_the_run_is_on_the_same_kind_of_node(self) -> None:
        pod = self.failed(Failure(reason=Reason.REQUIREMENTS_UNSATISFIABLE, message="no wheel"))
        runtime = CONFIGURATION.runtimes["tf2"].model_copy(update={"node_selector": {"kubernetes.io/arch": "amd64"}})
        pinned = CONFIGURATION.model_copy(update={"runtimes": {"tf2": runtime}})
        found = decide(seen(wanted(), waiting(), pod), pinned, DUE)
        assert found.status is not None
        assert found.status["failure"]["reason"] == "RequirementsUnsatisfiable"
        assert checked(plan(seen(wanted(), waiting(), pod)))["result"] == "Inconclusive"

    def test_that_a_module_is_missing_counts_beside_packages_where_the_run_is_on_the_same_kind_of_node(self) -> None:
        record = wanted(dependencies={"requirements": ["torch==2.0"]})
        runtime = CONFIGURATION.runtimes["tf2"].model_copy(update={"node_selector": {"kubernetes.io/arch": "amd64"}})
        index = {"package_index": CONFIGURATION.package_index.model_copy(update={"url": "https://index.test/simple"})}
        anywhere, pinned = (CONFIGURATION.model_copy(update=each) for each in (index, index | {"runtimes": {"tf2": runtime}}))
        observed = seen(record, waiting(), self.failed())
        assert checked(decide(observed, anywhere, DUE))["result"] == "Inconclusive"
        found = decide(observed, pinned, DUE)
        assert found.status is not None
        assert (checked(found)["result"], found.status["phase"]) == ("Failed", "Failed")

    def test_in_whatever_words_is_told_in_plain_ones(self) -> None:
        failure = Failure(reason=Reason.INPUT_CONFLICT, message="\x1b[31mno\nobject\x07 there")
        assert checked(plan(seen(wanted(), waiting(), self.failed(failure))))["message"] == "no object there"

    def test_of_what_is_certain_nothing_is_ever_tried_again_and_all_is_the_jobs_own(self) -> None:
        assert all(REASONS[each].budget is None for each in checking.CERTAIN | checking.OF_ARCHITECTURE)
        assert {REASONS[each].cause for each in checking.CERTAIN} == {"UserError", "Spec"}

    @pytest.mark.parametrize("pod", [Pod(), Pod().fetching(), Pod().running()], ids=["placed", "fetching", "running"])
    def test_that_comes_too_late_touches_no_run(self, pod: Pod) -> None:
        with_check, without = plan(seen(wanted(), pod, self.failed())), plan(seen(wanted(), pod))
        assert gone(with_check) == [NAME]
        assert replace(with_check, deletions=()) == without

    def test_stays_the_end_whoever_died_before_the_pod_was_deleted(self) -> None:
        observed = told(seen(wanted()), waiting(), self.failed())
        for pods in [(waiting(), self.failed()), (Pod().running(), self.failed()), (Pod().running(),), (self.failed(),), ()]:
            found = plan(replace(observed, pods=tuple(pod.record() for pod in pods)), DUE + 3)
            assert found.rule == "finished"
            assert found.status is None
            assert gone(found) == [MAIN] * any(pod.name == "" for pod in pods)

    def test_keeps_its_pod_for_as_long_as_pods_are_kept(self) -> None:
        observed = told(seen(wanted(podRetentionSeconds=60)), waiting(), self.failed())
        observed = replace(observed, pods=(self.failed().record(),))
        assert gone(plan(observed, CREATED + 62)) == []
        assert plan(observed, CREATED + 62).requeue_at == CREATED + 63
        assert gone(plan(observed, CREATED + 64)) == [NAME]


class TestACheckThatCannotBeMade:
    @pytest.mark.parametrize(
        "pod",
        [
            check(phase="Failed", reason="Evicted", message="The node was low on memory"),
            check(phase="Failed", reason="DeadlineExceeded"),
            check().fetched("not a report", exit_code=137),
            check().fetched("", exit_code=64),
            check().fetched(FetchReport(failure=MISSING), exit_code=0),
            check(phase="Succeeded"),
        ],
        ids=["evicted", "took too long", "killed", "of an older image", "contradicts itself", "says nothing"],
    )
    def test_says_nothing_of_the_job_and_is_not_made_again(self, pod: Pod) -> None:
        observed = seen(wanted(), waiting(), pod)
        found = plan(observed)
        assert checked(found)["result"] == "Inconclusive"
        assert found.status is not None
        assert found.status["message"] == plan(seen(wanted(preflight="Never"), waiting())).status["message"]  # type: ignore[index]
        assert (gone(found), found.events, found.check) == ([NAME], found.events[:1], None)
        again = plan(replace(after(observed, found), pods=(waiting().record(),)), DUE + 60)
        assert (again.check, again.status) == (None, None)

    def test_and_one_whose_pod_somebody_deletes_neither(self) -> None:
        observed = told(seen(wanted()), waiting(), check().fetching())
        found = plan(replace(observed, pods=(waiting().record(),)), DUE + 5)
        assert (checked(found)["result"], found.check) == ("Inconclusive", None)

    def test_while_it_waits_itself_the_job_goes_its_way(self) -> None:
        observed = told(seen(wanted()), waiting(), check(node=""))
        over = plan(replace(observed, pods=(waiting().record(), check(node="").record())), CREATED + 4000)
        assert over.status is not None
        assert over.status["failure"]["reason"] == "PendingDeadlineExceeded"
        ended = after(observed, over)
        assert gone(plan(replace(ended, pods=(check(node="").record(),)), CREATED + 4001)) == [NAME]


class TestACheckThatTakesTooLong:
    OVER = CREATED + 1 + build.CHECK_SECONDS

    @pytest.mark.parametrize(
        "pod",
        [check(node=""), check().fetching(), check(node="node-lost"), check(deleted=DUE).fetching()],
        ids=["without a place", "running", "of a node that is lost", "going on a node that is lost"],
    )
    def test_is_given_up_after_half_an_hour_and_somebody_looks_then(self, pod: Pod) -> None:
        observed = told(seen(wanted()), waiting(), check().fetching())
        observed = replace(observed, pods=(waiting().record(), pod.record()))
        early = plan(observed, self.OVER - 1)
        assert gone(early) == []
        assert early.requeue_at is not None
        assert early.requeue_at <= self.OVER
        found = plan(after(observed, early), self.OVER)
        assert (checked(found)["result"], gone(found)) == ("Inconclusive", [NAME] * (pod.deleted is None))
        assert checked(found)["message"] == f"pod {NAME} has not checked anything within 30 minutes"
        assert found.status is not None
        assert "30 minutes" not in found.status["message"]
        again = plan(replace(after(observed, found), pods=(waiting().record(),)), self.OVER + 60)
        assert (again.check, again.status) == (None, None)

    @pytest.mark.parametrize("phase", ["Pending", "Failed"])
    def test_for_want_of_a_secret_goes_on_saying_so(self, phase: str) -> None:
        waits = {"reason": "CreateContainerConfigError", "message": 'secret "tftraining-storage" not found'}
        lacking = check(phase=phase).container("fetch", waiting=waits)
        found = plan(seen(wanted(), waiting(), lacking), self.OVER)
        assert (checked(found)["result"], gone(found)) == ("Inconclusive", [NAME])
        assert found.status is not None
        assert (
            "; checked while it waits, and not again before it starts: the Secret tftraining-storage" in found.status["pending"]["message"]
        )

    def test_says_nothing_then_that_it_found_in_time(self) -> None:
        assert checked(plan(seen(wanted(), waiting(), check().fetched(IN_ORDER)), self.OVER))["result"] == "Passed"


class TestAQuotaThatCountsChecksToo:
    PODS = 'pods "iris-chief-0" is forbidden: exceeded quota: q, requested: pods=1, used: pods=4, limited: pods=4'
    BOTH = (
        'pods "iris-chief-0" is forbidden: exceeded quota: q, requested: pods=1,requests.nvidia.com/gpu=1, '
        "used: pods=4,requests.nvidia.com/gpu=4, limited: pods=4,requests.nvidia.com/gpu=4"
    )
    OWN = QUOTA.replace("nvidia.com/gpu", "test.dev/tpu")

    def refused(self, refusal: str, **resources: Any) -> Observed:
        observed = seen(job(resources={"gpus": 1, **resources}), refusal=refusal)
        return after(observed, plan(observed, CREATED))

    @pytest.mark.parametrize(
        ("refusal", "resources", "made"),
        [
            (QUOTA, {}, True),
            (OWN, {"gpuResource": "test.dev/tpu"}, True),
            (OWN, {}, False),
            (PODS, {}, False),
            (BOTH, {}, False),
            ("exceeded quota: in other words", {}, False),
            ('pods "iris-chief-0" is forbidden: violates PodSecurity', {}, True),
        ],
    )
    def test_has_no_check_made_and_gets_back_what_one_takes_that_does_not_run(
        self, refusal: str, resources: dict[str, Any], made: bool
    ) -> None:
        observed = self.refused(refusal, **resources)
        assert (plan(observed).check is not None) == made
        for idle in (check(node=""), check()):
            found = plan(replace(observed, pods=(idle.record(),)))
            assert (checked(found)["result"], gone(found)) == (("Started", []) if made else ("Inconclusive", [NAME]))
            assert found.creates, "the job's own pod is tried all the same"

    def test_does_not_end_one_that_runs_or_has_ended(self) -> None:
        observed = self.refused(self.PODS)
        assert gone(plan(replace(observed, pods=(check().fetching().record(),)))) == []
        found = plan(replace(observed, pods=(check().fetched(IN_ORDER).record(),)))
        assert checked(found)["result"] == "Passed"


class TestAnImageThatHasChangedMeanwhile:
    RUNTIMES: ClassVar = {"tf2": CONFIGURATION.runtimes["tf2"].model_copy(update={"image": "registry.test/trainer:new"})}
    UPGRADED = CONFIGURATION.model_copy(update={"runtimes": RUNTIMES})
    NEW = "registry.test/trainer:new"

    @pytest.mark.parametrize("own", ["registry.test/trainer:tf2", "", None], ids=["the older one", "empty", "of an older operator"])
    def test_checks_no_pod_that_has_another(self, own: str | None) -> None:
        assert decide(seen(wanted(), waiting(checked_with=own)), self.UPGRADED, DUE).check is None
        assert decide(seen(wanted(), waiting(checked_with=self.NEW)), self.UPGRADED, DUE).check is not None

    @pytest.mark.parametrize(
        ("own", "checks"),
        [("registry.test/trainer:tf2", NEW), (NEW, "registry.test/trainer:tf2"), ("registry.test/trainer:tf2",) * 2, (NEW, None)],
        ids=["the pod's own is older", "the check's is older", "both are older", "the check's is unknown"],
    )
    def test_is_told_nothing_by_a_check_of_another(self, own: str, checks: str | None) -> None:
        said = check(checked_with=checks).fetched(FetchReport(failure=MISSING), exit_code=1)
        observed = told(seen(wanted()), waiting(), check().fetching())
        found = decide(replace(observed, pods=(waiting(checked_with=own).record(), said.record())), self.UPGRADED, DUE + 3)
        assert (checked(found)["result"], gone(found)) == ("Inconclusive", [NAME])
        assert found.status is not None
        assert found.status["phase"] == "Pending"

    def test_is_what_the_annotations_of_both_pods_say(self) -> None:
        first = plan(seen(wanted()), CREATED)
        [own] = [body for body in first.creates if body["kind"] == "Pod"]
        made = plan(seen(wanted(), waiting())).check
        assert made is not None
        assert {each["metadata"]["annotations"][names.CHECKED_WITH] for each in (own, made)} == {"registry.test/trainer:tf2"}
        [unchecked] = [body for body in plan(seen(wanted(preflight="Never")), CREATED).creates if body["kind"] == "Pod"]
        assert names.CHECKED_WITH not in unchecked["metadata"]["annotations"]


class TestAForgedCheck:
    FORGED = check().fetched(FetchReport(failure=MISSING), exit_code=1)
    FINE = check().fetched(IN_ORDER)
    CODE: ClassVar = {"script": {"uri": "s3://bucket/train.py", "sha256": "6" * 64}}

    @pytest.mark.parametrize("forged", [FORGED, FINE], ids=["failed", "passed"])
    @pytest.mark.parametrize(
        "record",
        [
            wanted(preflight="Never"),
            wanted(gpus=0),
            job({"code": CODE}, resources={"gpus": 1}),
            job({"preflight": {"result": "Inconclusive", "message": "m", "lastUpdateTime": "2026-01-01T00:00:00Z"}}, resources={"gpus": 1}),
        ],
        ids=["that is not to be checked", "without GPUs", "whose code is pinned", "that was checked"],
    )
    def test_of_a_job_that_is_not_checked_goes_and_decides_nothing(self, record: JobRecord, forged: Pod) -> None:
        with_it, without = plan(seen(record, waiting(), forged)), plan(seen(record, waiting()))
        assert gone(with_it) == [NAME]
        assert replace(with_it, deletions=()) == without

    @pytest.mark.parametrize("forged", [FORGED, FINE], ids=["failed", "passed"])
    def test_of_before_the_job_waited_goes_too(self, forged: Pod) -> None:
        early = replace(forged, created=CREATED)
        with_it, without = plan(seen(wanted(), waiting(), early)), plan(seen(wanted(), waiting()))
        assert gone(with_it) == [NAME]
        assert replace(with_it, deletions=()) == replace(without, check=None)


class TestACheckThatIsNotNeededAnyMore:
    @pytest.mark.parametrize("pod", [Pod(), Pod().fetching(), Pod().running()], ids=["placed", "fetching", "running"])
    def test_goes_when_the_job_starts_and_leaves_nothing(self, pod: Pod) -> None:
        observed = told(seen(wanted()), waiting(), check().fetching())
        found = plan(replace(observed, pods=(pod.record(), check().fetching().record())), DUE + 30)
        assert gone(found) == [NAME]
        if found.status is not None:
            assert "preflight" not in found.status

    def test_goes_with_a_job_that_is_suspended_and_is_made_anew_when_that_waits_again(self) -> None:
        observed = told(seen(wanted()), waiting(), check().fetching())
        stopped = replace(observed, job=replace(observed.job, spec={**observed.job.spec, "suspend": True}))
        found = plan(stopped, DUE + 1)
        assert set(gone(found)) == {MAIN, NAME}
        stopped = after(stopped, found)
        suspended = told(stopped, now=DUE + 2)
        assert "preflight" not in suspended.job.status
        resumed = replace(suspended, job=replace(suspended.job, spec={**suspended.job.spec, "suspend": False}))
        resumed = told(resumed, now=DUE + 3)
        again = replace(resumed, pods=(waiting(attempt=1, created=DUE + 4).record(),))
        assert plan(again, DUE + 14).check is not None

    @pytest.mark.parametrize("pod", [waiting(), None], ids=["its pod waits", "its pod is refused"])
    def test_goes_with_a_job_that_is_stopped_and_says_no_more(self, pod: Pod | None) -> None:
        observed = told(seen(wanted()), waiting(), check().fetching())
        stopped = replace(observed, job=replace(observed.job, spec={**observed.job.spec, "stop": True}))
        found = plan(replace(stopped, pods=tuple(each.record() for each in (pod, check().fetching()) if each is not None)), DUE + 1)
        assert sorted(gone(found)) == sorted([NAME] if pod is None else [MAIN, NAME])
        assert found.status is not None
        assert found.status["phase"] == ("Stopped" if pod is None else "Stopping")
        assert "preflight" not in found.status

    def test_goes_with_a_job_that_is_stopped(self) -> None:
        observed = told(seen(wanted()), waiting(), check().fetching())
        stopped = replace(observed, job=replace(observed.job, spec={**observed.job.spec, "stop": True}))
        found = plan(stopped, DUE + 1)
        assert set(gone(found)) == {MAIN, NAME}
        late = replace(check().fetched(FetchReport(failure=MISSING), exit_code=1), phase="Failed")
        ended = plan(replace(after(stopped, found), pods=(late.record(),)), DUE + 2)
        assert ended.status is not None
        assert ended.status["phase"] == "Stopped"
        assert "failure" not in ended.status
        assert plan(seen(wanted(stop=True), waiting())).check is None

    def test_goes_with_a_job_that_is_deleted_also_where_its_pods_are_to_stay(self) -> None:
        going = seen(replace(wanted(), deleted_at=DUE), waiting(), check().fetching())
        assert set(gone(plan(going))) == {MAIN, NAME}
        assert gone(plan(replace(going, job=replace(going.job, orphaning=True)))) == [NAME]

    def test_that_is_on_its_way_out_is_not_deleted_twice(self) -> None:
        assert gone(plan(seen(wanted(), Pod().running(), check(deleted=DUE).fetching()))) == []


def test_a_pod_of_that_name_that_is_not_the_jobs_own_says_nothing() -> None:
    forged = check(owner="another").fetched(FetchReport(failure=MISSING), exit_code=1)
    assert plan(seen(wanted(), waiting(), forged)) == replace(plan(seen(wanted(), waiting())), check=None)


def test_the_check_is_no_attempt_of_the_job() -> None:
    found = plan(seen(wanted(), waiting(), check().fetching()))
    assert found.status is not None
    assert [each["name"] for each in found.status["pods"]] == [MAIN]
    assert found.status["attempt"] == 0


def test_the_server_is_asked_for_the_pod_of_a_check_that_no_watch_has_told_of_yet() -> None:
    started = told(seen(wanted()), waiting(), check().fetching())
    known = replace(started, pods=(waiting().record(),))
    assert attempts.doubtful(known) == {NAME: ""}
    assert attempts.doubtful(started) == {}
    assert attempts.doubtful(replace(known, gone=(check().record(),))) == {}
    passed = told(started, waiting(), check().fetched(IN_ORDER))
    assert attempts.doubtful(replace(passed, pods=(waiting().record(),))) == {}
