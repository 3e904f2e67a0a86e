"""The loop around the core: many jobs do not stop the process, and what is in doubt is asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from tftraining_operator.core.configuration import Configuration, Runtime
from tftraining_operator.core.observe import job_record, pod_record
from tftraining_operator.core.records import ContainerRecord, Deletion, JobRecord, Key, Plan, PodRecord, Raw
from tftraining_operator.kube.client import KubeApi
from tftraining_operator.kube.errors import ApiError, ConflictError, NotFoundError, RefusedError, UnavailableError
from tftraining_operator.runtime.guard import Guard
from tftraining_operator.runtime.informer import Informer
from tftraining_operator.runtime.metrics import Metrics
from tftraining_operator.runtime.queues import Queues
from tftraining_operator.runtime.reconciler import Reconciler
from tftraining_operator.runtime.recorder import Recorder
from tftraining_operator.runtime.rivals import Rivals
from tftraining_operator.runtime.store import Store
from tftraining_operator.runtime.survey import NodeSurvey
from tftraining_operator.runtime.watches import Watches
from tftraining_operator.runtime.workqueue import Priority, WorkQueue

from .board import CREATED, Board

NOW = 1_800_000_000.0
CONFIGURATION = Configuration(default_runtime="tf2", runtimes={"tf2": Runtime(image="image")})
JOBS = "/apis/tftraining.dev/v1alpha1/namespaces/n/tftrainingjobs"
PODS = "/api/v1/namespaces/n/pods"
KEY = Key("n", "iris")
ENDED = {
    "observedGeneration": 1,
    "phase": "Succeeded",
    "completionTime": CREATED,
    "conditions": [
        {"type": kind, "status": "True", "reason": "Published", "lastTransitionTime": CREATED} for kind in ("Succeeded", "Finished")
    ],
}
CONFIGMAPS = "/api/v1/namespaces/n/configmaps"


def job(name: str = "iris", **fields: Any) -> JobRecord:
    return replace(JobRecord(Key("n", name), f"uid-{name}", 1, NOW, "1", {"script": {"uri": "${bucket}/a.py"}}, {}), **fields)


def loop_with(board: KubeApi, store: Store, *, may_act: bool = True) -> tuple[Reconciler, WorkQueue]:
    metrics = Metrics()
    queue = WorkQueue(asyncio.get_running_loop().time, lambda: 1.0)
    queue.start()
    recorder = Recorder(board, "pod-1", lambda: NOW, metrics)
    survey = NodeSurvey(board, queue, (), lambda: NOW)
    rivals = Rivals("tftraining-operator.own", lambda: NOW)
    queues = Queues(board, queue, (), lambda: NOW, lambda: NOW, enabled=False)
    return Reconciler(board, store, queue, recorder, CONFIGURATION, lambda: NOW, metrics, lambda: may_act, survey, rivals, queues), queue


async def test_thousands_of_jobs_that_need_nothing_do_not_keep_the_loop_from_other_things() -> None:
    store = Store()
    reconciler, queue = loop_with(Board(), store)
    for index in range(500):
        store.put_job(job(f"job-{index}", deleted_at=NOW))
        queue.add(Key("n", f"job-{index}"), Priority.BACKGROUND)
    worker = asyncio.create_task(reconciler.work())
    turns = 0
    while len(queue):
        await asyncio.sleep(0)
        turns += 1
    worker.cancel()
    assert turns >= 500


async def test_a_process_that_does_not_lead_writes_nothing_and_loses_no_key() -> None:
    board, store = Board(), Store()
    reconciler, queue = loop_with(board, store, may_act=False)
    store.put_job(job())
    queue.add(Key("n", "iris"))
    worker = asyncio.create_task(reconciler.work())
    for _ in range(20):
        await asyncio.sleep(0)
    worker.cancel()
    assert board.requests == []
    queue.add(Key("n", "iris"))
    assert await queue.get() == Key("n", "iris")


@pytest.mark.parametrize("writes", range(2))
async def test_a_process_that_loses_its_lease_in_the_middle_of_a_look_makes_not_one_write_more(writes: int) -> None:
    board, store = Board(), Store()
    store.put_job(stored(board, script={"name": "a.py", "inline": "print(1)"}))

    asked: list[int] = []

    def leads() -> bool:
        asked.append(len([verb for verb, _ in board.requests if verb in {"create", "set_status"}]))
        return asked[-1] < writes

    reconciler, queue = loop_with(Guard(board, leads), store)
    queue.add(KEY)
    worker = asyncio.create_task(reconciler.work())
    async with asyncio.timeout(5):
        while not asked or asked[-1] < writes or KEY not in queue._due:  # noqa: ASYNC110 - happens elsewhere
            await asyncio.sleep(0)
    worker.cancel()
    assert asked == list(range(writes + 1)), "a new job gets a ConfigMap and a pod"


async def test_the_pod_that_it_made_is_known_at_once_so_that_a_late_watch_does_not_make_another() -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    store.put_job(job())
    await reconciler.reconcile(Key("n", "iris"))
    await reconciler.reconcile(Key("n", "iris"))
    assert board.requests.count(("create", PODS)) == 1


async def test_a_status_written_on_an_old_version_is_decided_again_on_the_newest_without_waiting_for_the_watch() -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    metadata = {"name": "iris", "namespace": "n", "uid": "uid-iris", "resourceVersion": "9"}
    board.objects[f"{JOBS}/iris"] = {"metadata": metadata, "spec": {"runtime": "unheard-of"}, "status": {}}
    store.put_job(job(spec={"runtime": "unheard-of", "script": {"uri": "${bucket}/a.py"}}))
    try:
        await reconciler.reconcile(Key("n", "iris"))
    except ConflictError:
        observed = store.observe(Key("n", "iris"))
        assert observed is not None
        assert observed.job.resource_version == "9"
    else:
        raise AssertionError


def stored(board: Board, **spec: Any) -> JobRecord:
    """Put a job on the board and return what is known of it."""
    metadata = {"name": "iris", "namespace": "n", "uid": "uid-iris", "generation": 1, "creationTimestamp": CREATED, "resourceVersion": "0"}
    board.objects[f"{JOBS}/iris"] = {"metadata": metadata, "spec": spec, "status": {}}
    record = job_record(board.objects[f"{JOBS}/iris"])
    assert record is not None
    return record


async def test_an_inline_script_reaches_its_configmap_and_is_kept_nowhere() -> None:
    board, store, text = Board(), Store(), "print('🙂')" * 20_000
    reconciler, _ = loop_with(board, store)
    store.put_job(stored(board, script={"name": "a.py", "inline": text}))
    await reconciler.reconcile(Key("n", "iris"))
    (configmap,) = (item for place, item in board.objects.items() if place.startswith(CONFIGMAPS))
    assert configmap["data"] == {"a.py": text}
    assert board.requests.count(("get", f"{JOBS}/iris")) == 1
    observed = store.observe(Key("n", "iris"))
    assert observed is not None
    assert len(repr(observed)) < 2000
    (plan,) = (item["value"] for item in board.objects[f"{PODS}/iris-chief-0"]["spec"]["containers"][0]["env"] if "PLAN" in item["name"])
    assert sha256(text.encode()).hexdigest() in plan, "fetch refuses another text in its place"


@pytest.mark.parametrize("now", ["deleted", "of another job", "of another script"])
async def test_a_job_that_is_another_one_by_now_gives_no_script_to_the_pod_that_was_decided_on(now: str) -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    store.put_job(stored(board, script={"name": "a.py", "inline": "print(1)"}))
    found = board.objects.pop(f"{JOBS}/iris")
    metadata = found["metadata"] | {"resourceVersion": "2"} | ({"uid": "another"} if now == "of another job" else {})
    if now != "deleted":
        board.objects[f"{JOBS}/iris"] = {**found, "metadata": metadata, "spec": {"script": {"name": "a.py", "inline": "print(2)"}}}
    with pytest.raises(ConflictError):
        await reconciler.reconcile(Key("n", "iris"))
    assert "create" not in {verb for verb, _ in board.requests}
    assert (store.observe(Key("n", "iris")) is None) == (now == "deleted")


async def test_once_a_pod_of_a_group_is_taken_the_others_are_created_together() -> None:
    class Slow(Board):
        under_way, most = 0, list[int]()

        async def create(self, path: str, body: Raw) -> Raw:
            self.under_way += 1
            self.most.append(self.under_way)
            await asyncio.sleep(0)
            self.under_way -= 1
            return await super().create(path, body)

    board, store = Slow(), Store()
    reconciler, _ = loop_with(board, store)
    store.put_job(stored(board, script={"uri": "${bucket}/a.py"}, replicas={"worker": {"count": 12}}))
    await reconciler.reconcile(KEY)
    assert sum(place.startswith(f"{PODS}/") for place in board.objects) == 12
    assert board.most == [1, 1, *range(1, 9), *range(1, 4)], "the Service, a pod, and then some at a time"


async def test_of_a_job_that_ended_or_is_gone_no_time_is_kept_at_which_it_would_have_been_looked_at() -> None:
    board, store = Board(), Store()
    reconciler, queue = loop_with(board, store)
    for name, spec in (("ended", {"suspend": True, "script": {"uri": "${bucket}/a.py"}}), ("gone", {})):
        board.objects[f"{JOBS}/{name}"] = {"metadata": {"name": name, "resourceVersion": "1"}, "spec": {}, "status": {}}
        if name == "ended":
            store.put_job(job(name, spec=spec))
        queue.add_after(Key("n", name), 30 * 86_400)
        await reconciler.reconcile(Key("n", name))
    assert queue._due == {}


async def test_a_pod_to_delete_that_is_gone_already_is_forgotten_so_that_a_suspension_goes_on_at_once() -> None:
    board, store = Board(), Store()
    reconciler, queue = loop_with(board, store)
    made = stored(board, script={"uri": "${bucket}/a.py"}, suspend=True)
    store.put_job(made)
    owned = PodRecord(KEY, "iris-chief-0", "pod-1", made.uid, "Running", NOW, "1")
    store.put_pod(owned)
    board.trouble = lambda path: NotFoundError(404, "NotFound", path) if path.startswith(PODS) else None
    await reconciler.reconcile(KEY)
    assert store.pod_count == 0
    assert await queue.get() == KEY, "nothing else would bring it back"
    await reconciler.reconcile(KEY)
    assert board.objects[f"{JOBS}/iris"]["status"]["phase"] == "Suspended"


async def test_a_pod_that_was_deleted_without_a_watch_telling_of_it_is_asked_for_soon() -> None:
    board, store = Board(), Store()
    reconciler, queue = loop_with(board, store)
    made = stored(board, script={"uri": "${bucket}/a.py"}, suspend=True)
    store.put_job(made)
    store.put_pod(PodRecord(KEY, "iris-chief-0", "pod-1", made.uid, "Running", NOW, "1"))
    await reconciler.reconcile(KEY)
    assert queue._due[KEY] - asyncio.get_running_loop().time() <= 2
    board.trouble = lambda path: NotFoundError(404, "NotFound", path) if path.startswith(PODS) else None
    for _ in range(2):
        await reconciler.reconcile(KEY)
    assert board.objects[f"{JOBS}/iris"]["status"]["phase"] == "Suspended"


async def test_what_is_due_stays_due_although_the_pod_of_an_earlier_attempt_cannot_be_deleted() -> None:
    board, store = Board(), Store()
    reconciler, queue = loop_with(board, store)
    made = stored(board, script={"uri": "${bucket}/a.py"}, activeDeadlineSeconds=30)
    store.put_job(replace(made, status={"attempt": 1}))
    for attempt in ("", "-r1"):
        running = ContainerRecord("trainer", "running", started_at=NOW)
        store.put_pod(PodRecord(KEY, f"iris-chief-0{attempt}", f"pod{attempt}", made.uid, "Running", NOW, "1", containers=(running,)))
    board.trouble = lambda path: ApiError(403, "Forbidden", "a policy forbids it") if path.startswith(PODS) else None
    with pytest.raises(ApiError):
        await reconciler.reconcile(KEY)
    assert board.objects[f"{JOBS}/iris"]["status"]["phase"] == "Running"
    assert queue._due[KEY] - asyncio.get_running_loop().time() <= 30 + 30 + 120, "its deadline, grace period, and what the launcher is left"


async def test_a_job_whose_time_has_come_goes_although_a_policy_keeps_one_of_its_pods() -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    made = stored(board, script={"uri": "${bucket}/a.py"}, ttlSecondsAfterFinished=0, podRetentionSeconds=0)
    store.put_job(replace(made, status={**ENDED, "attempt": 1}))
    store.put_pod(PodRecord(KEY, "iris-chief-0", "pod-1", made.uid, "Failed", NOW - 60, "1"))
    board.trouble = lambda path: ApiError(403, "Forbidden", "a policy forbids it") if path.startswith(PODS) else None
    with pytest.raises(ApiError, match="policy"):
        await reconciler.reconcile(KEY)
    assert f"{JOBS}/iris" not in board.objects


async def test_a_pod_that_is_refused_again_and_again_costs_one_configmap() -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    store.put_job(stored(board, script={"name": "a.py", "inline": "print(1)"}))
    board.trouble = lambda path: RefusedError(403, "Forbidden", "exceeded quota") if path == PODS else None
    for _ in range(5):
        with pytest.raises(RefusedError):
            await reconciler.reconcile(KEY)
    assert (board.requests.count(("create", CONFIGMAPS)), board.requests.count(("create", PODS))) == (1, 5)
    board.trouble = lambda _: None
    board.objects = {place: each for place, each in board.objects.items() if not place.startswith(CONFIGMAPS)}
    await reconciler.reconcile(KEY)
    assert f"{PODS}/iris-chief-0" in board.objects
    assert [place for place in board.objects if place.startswith(CONFIGMAPS)], "somebody had deleted it meanwhile"
    assert store._beside == {}, "nothing of it is kept"


async def test_what_it_has_written_itself_is_no_news_and_yet_looked_at_again_when_it_has_to_be() -> None:
    board, store = Board(), Store()
    reconciler, queue = loop_with(board, store)
    informer = Informer(store, queue, Watches())
    store.put_job(stored(board, script={"uri": "${bucket}/a.py"}, pendingDeadlineSeconds=7))
    await reconciler.reconcile(KEY)
    created = pod_record(board.objects[f"{PODS}/iris-chief-0"])
    assert created is not None
    informer.pod(created, deleted=False, listed=False)
    assert len(queue) == 0
    assert queue._due[KEY] - asyncio.get_running_loop().time() <= 7, "its pod may never be heard of again"


class Talkative(Board):
    """A server whose watch tells of a pod before its answer does, if it likes as of one that runs already."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self.told: dict[str, Any] = {}
        self.queue: WorkQueue | None = None

    async def create(self, path: str, body: Raw) -> Raw:
        made = await super().create(path, body)
        record = pod_record({**made, **self.told})
        assert record is not None
        assert self.queue is not None
        Informer(self._store, self.queue, Watches()).pod(replace(record, resource_version="1000"), deleted=False, listed=False)
        return made


@pytest.mark.parametrize(("told", "looks"), [({}, 0), ({"status": {"phase": "Failed"}}, 1)])
async def test_what_a_watch_tells_during_a_look_brings_another_only_if_there_is_something_to_do(told: dict[str, Any], looks: int) -> None:
    store = Store()
    board = Talkative(store)
    reconciler, queue = loop_with(board, store)
    board.queue, board.told = queue, told
    store.put_job(stored(board, script={"uri": "${bucket}/a.py"}))
    queue.add(KEY)
    await reconciler.reconcile(await queue.get())
    queue.done(KEY)
    assert len(queue) == looks


@pytest.mark.parametrize(("seconds", "phases"), [(0.0, ["Failed"]), (1.0, ["Running", "Failed"])])
async def test_a_script_that_ends_as_soon_as_it_has_begun_is_told_of_once(seconds: float, phases: list[str]) -> None:
    board, store = Board(), Store()
    reconciler, queue = loop_with(board, store)
    informer, written = Informer(store, queue, Watches()), list[str]()
    made = stored(board, script={"uri": "${bucket}/a.py"})
    store.put_job(made)
    running = ContainerRecord("trainer", "running", started_at=NOW)
    over = tuple(ContainerRecord(name, "terminated", exit_code=code) for name, code in (("trainer", 1), ("publisher", 0)))
    pod = PodRecord(KEY, "iris-chief-0", "pod-1", made.uid, "Running", NOW, "1")
    store.put_pod(pod)
    for version, containers in (("2", (running,)), ("3", over)):
        informer.pod(replace(pod, containers=containers, resource_version=version), deleted=False, listed=False)
        await asyncio.sleep(seconds)
        while len(queue):
            key = await queue.get()
            await reconciler.reconcile(key)
            queue.done(key)
            written.append(board.objects[f"{JOBS}/iris"]["status"]["phase"])
    assert written == phases


async def test_a_job_that_expires_with_its_end_is_deleted_though_no_watch_brings_it_back() -> None:
    board, store = Board(), Store()
    reconciler, queue = loop_with(board, store)
    store.put_job(stored(board, script={"uri": "${bucket}/a.py"}, runtime="unheard-of", ttlSecondsAfterFinished=0))
    queue.add(KEY)
    for _ in range(2):
        # The second look is asked for by the first, whose write is no news to the informer.
        await reconciler.reconcile(await asyncio.wait_for(queue.get(), 5))
        queue.done(KEY)
    assert len(queue) == 0
    assert f"{JOBS}/iris" not in board.objects


@pytest.mark.parametrize("deleted", [True, False])
async def test_jobs_that_a_quota_refuses_are_tried_at_once_when_a_pod_of_their_namespace_ends(deleted: bool) -> None:
    store = Store()
    _, queue = loop_with(Board(), store)
    informer = Informer(store, queue, Watches())
    for name in ("a", "b", "c", "d"):
        store.refuse(Key("n", name), "exceeded quota")
        queue.retry(Key("n", name))
    store.refuse(Key("elsewhere", "e"), "exceeded quota")
    pod = PodRecord(KEY, "iris-chief-0", "pod-1", "uid", "Running", NOW, "1")
    store.put_pod(pod)
    ended = replace(pod, phase="Running" if deleted else "Succeeded", resource_version="2")
    for _ in range(2):
        informer.pod(ended, deleted=deleted, listed=False)
    assert [await queue.get() for _ in range(len(queue))] == [KEY, *(Key("n", name) for name in "abc")]


async def test_a_pod_that_is_accepted_after_refusals_wakes_the_next_job_of_its_namespace() -> None:
    board, store = Board(), Store()
    reconciler, queue = loop_with(board, store)
    for name in ("iris", "next", "last"):
        store.refuse(Key("n", name), "exceeded quota")
    store.put_job(job())
    board.objects[f"{JOBS}/iris"] = {"metadata": {"name": "iris", "resourceVersion": "1"}, "spec": {}, "status": {}}
    await reconciler.reconcile(KEY)
    assert Key("n", "next") in {await queue.get() for _ in range(len(queue))}


async def test_a_thousand_jobs_whose_pods_are_refused_ask_together_no_more_than_25_times_a_second() -> None:
    board, store = Board(), Store()
    board.trouble = lambda path: RefusedError(403, "Forbidden", "exceeded quota") if path == PODS else None
    reconciler, queue = loop_with(board, store)
    for index in range(1000):
        made = job(f"job-{index}")
        board.objects[f"{JOBS}/{made.key.name}"] = {"metadata": {"name": made.key.name, "resourceVersion": "1"}, "spec": {}, "status": {}}
        store.put_job(made)
    for waits in (lambda number: number / 25, lambda number: 40):
        for number, each in enumerate(store, start=1):
            with pytest.raises(RefusedError) as refused:
                await reconciler.reconcile(each)
            before = asyncio.get_running_loop().time()
            queue._due.clear()
            reconciler._again(each, refused.value, 0.0)
            assert queue._due[each] - before >= waits(number) - 0.01
    assert len([path for verb, path in board.requests if verb == "create" and path == PODS]) == 2000


async def test_one_job_whose_pod_is_refused_is_tried_every_ten_seconds_at_the_least() -> None:
    board, store = Board(), Store()
    board.trouble = lambda path: RefusedError(403, "Forbidden", "exceeded quota") if path == PODS else None
    metadata = {"name": "iris", "namespace": "n", "uid": "uid-iris", "generation": 1, "creationTimestamp": CREATED, "resourceVersion": "1"}
    board.objects[f"{JOBS}/iris"] = {"metadata": metadata, "spec": {"script": {"uri": "${bucket}/a.py"}}, "status": {}}
    reconciler, queue = loop_with(board, store)
    store.put_job(job())
    for _ in range(20):
        with pytest.raises(RefusedError) as refused:
            await reconciler.reconcile(Key("n", "iris"))
        queue._due.clear()
        before = asyncio.get_running_loop().time()
        reconciler._again(Key("n", "iris"), refused.value, 0.0)
        assert queue._due[Key("n", "iris")] - before <= 10


async def test_a_job_that_wants_no_pod_any_more_does_not_count_among_those_that_are_refused() -> None:
    board, store = Board(), Store()
    board.objects[f"{JOBS}/iris"] = {"metadata": {"name": "iris", "resourceVersion": "1"}, "spec": {}, "status": {}}
    reconciler, _ = loop_with(board, store)
    store.put_job(job(spec={"script": {"uri": "${bucket}/a.py"}, "suspend": True}))
    store.refuse(Key("n", "iris"), "exceeded quota")
    await reconciler.reconcile(Key("n", "iris"))
    assert store.refused_count == 0


async def test_a_job_whose_time_has_come_is_deleted_by_its_uid_and_forgotten_where_it_is_gone() -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    store.put_job(replace(stored(board, ttlSecondsAfterFinished=0), status=ENDED))
    await reconciler.reconcile(KEY)
    assert ("delete", f"{JOBS}/iris") in board.requests
    assert f"{JOBS}/iris" not in board.objects
    board.trouble = lambda path: NotFoundError(404, "NotFound", path)
    await reconciler.reconcile(KEY)
    assert store.observe(KEY) is None


async def test_a_job_that_was_given_more_time_is_not_deleted_by_what_was_known_of_it_before() -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    store.put_job(replace(stored(board, ttlSecondsAfterFinished=0), status=ENDED))
    now = board.objects[f"{JOBS}/iris"]
    now |= {
        "spec": {**now["spec"], "ttlSecondsAfterFinished": 3600},
        "status": ENDED,
        "metadata": {**now["metadata"], "resourceVersion": "9"},
    }
    with pytest.raises(ConflictError):
        await reconciler.reconcile(KEY)
    await reconciler.reconcile(KEY)
    assert f"{JOBS}/iris" in board.objects


@pytest.mark.parametrize("begun", [True, False], ids=["the job's watch is late", "somebody has made it"])
async def test_a_pod_of_an_attempt_that_has_not_begun_is_deleted_only_once_the_server_says_so(begun: bool) -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    status: dict[str, Any] = {
        "observedGeneration": 1,
        "phase": "Restarting",
        "attempt": 1,
        "restart": {"attempt": 1, "at": "2027-01-15T08:10:00Z"},
    }
    known = stored(board, script={"uri": "${bucket}/a.py"}, retry={"infrastructure": 3})
    store.put_job(replace(known, status=status))
    now = board.objects[f"{JOBS}/iris"]
    if begun:
        now |= {
            "status": {**status, "restart": {**status["restart"], "begun": True}},
            "metadata": {**now["metadata"], "resourceVersion": "1"},
        }
    else:
        now["status"] = status
    owner = {"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "name": "iris", "uid": "uid-iris", "controller": True}
    pod = await board.create(PODS, {"metadata": {"name": "iris-chief-0-r1", "namespace": "n", "ownerReferences": [owner]}, "status": {}})
    made = pod_record(pod)
    assert made is not None
    store.put_pod(made)
    await reconciler.reconcile(KEY)
    assert (("delete", f"{PODS}/iris-chief-0-r1") in board.requests) is not begun


@pytest.mark.parametrize(
    ("spec", "metadata", "deletes"),
    [
        ({"suspend": True}, {}, True),
        ({"stop": True}, {}, True),
        ({}, {"deletionTimestamp": CREATED}, True),
        ({"activeDeadlineSeconds": 1}, {}, False),
    ],
    ids=["suspended", "stopped", "being deleted", "neither"],
)
async def test_beside_a_rival_pods_of_suspended_stopped_and_deleted_jobs_go_all_the_same(
    spec: dict[str, Any], metadata: dict[str, Any], deletes: bool
) -> None:
    board, store = Board(), Store()
    reconciler, _ = loop_with(board, store)
    stored(board, script={"uri": "${bucket}/a.py"}, **spec)
    board.objects[f"{JOBS}/iris"]["metadata"] |= metadata
    known = job_record(board.objects[f"{JOBS}/iris"])
    assert known is not None
    store.put_job(known)
    owner = {"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "name": "iris", "uid": "uid-iris", "controller": True}
    body = {"metadata": {"name": "iris-chief-0", "namespace": "n", "ownerReferences": [owner]}, "status": {"phase": "Running"}}
    made = pod_record(await board.create(PODS, body))
    assert made is not None
    store.put_pod(made)
    stamp = {"manager": "tftraining-operator.a.a", "time": CREATED, "subresource": "status"}
    reconciler._rivals.see({"metadata": {"name": "iris", "namespace": "n", "uid": "uid-iris", "managedFields": [stamp]}}, "ADDED")
    for _ in range(3):
        await reconciler.reconcile(KEY)
        if f"{PODS}/iris-chief-0" not in board.objects:
            store.drop_pod(replace(made, deleted_at=NOW))
    writes = [verb for verb, path in board.requests if verb in {"delete", "set_status", "create"} and path != PODS]
    assert (0 < writes.count("delete") <= 2, writes.count("set_status") <= 1) == (deletes, True), "one more asks whether it is gone"
    assert deletes or writes == []


@pytest.mark.parametrize("trouble", [None, UnavailableError(500, "InternalError", "failed calling webhook")])
async def test_what_is_due_in_the_past_brings_a_job_back_after_a_while_and_no_sooner_than_its_failures_do(
    monkeypatch: pytest.MonkeyPatch, trouble: ApiError | None
) -> None:
    board, store = Board(), Store()
    plan = Plan(rule="waiting", requeue_at=NOW - 60, deletions=() if trouble is None else (Deletion("iris-chief-0", "u"),))
    monkeypatch.setattr("tftraining_operator.runtime.reconciler.decide", lambda *_: plan)
    reconciler, queue = loop_with(board, store)
    store.put_job(job())
    board.trouble = lambda _: trouble
    queue.add(KEY)
    worker = asyncio.create_task(reconciler.work())
    await asyncio.sleep(0.5)
    worker.cancel()
    looks = reconciler._metrics.reconciles.labels("waiting")._value.get()
    assert looks == 1 if trouble is None else 2 <= looks <= 5
