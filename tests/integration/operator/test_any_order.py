"""Whatever happens to a job, in any order, with an operator that is killed, blind, restarted or configured anew: what is promised holds."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import inprocess
import pytest
import structlog
from control import Played
from controlplane import ControlPlane
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from played_kubelet import Object, ended, evicted, fetching, running
from tftraining_operator.core.configuration import Configuration, Runtime
from tftraining_operator.core.records import Key
from tftraining_operator.kube import paths
from tftraining_operator.kube.client import KubeClient
from tftraining_operator.kube.credentials import find_credentials
from tftraining_operator.kube.errors import RefusedError

SEQUENCES = int(os.environ.get("SEQUENCES", "200"))
STEPS = 25
Found = TypeVar("Found")
CATALOGUES = {
    "as installed": Configuration(default_runtime="tf2", runtimes={name: Runtime(image=f"localhost/{name}:x") for name in ("tf1", "tf2")}),
    "other images": Configuration(default_runtime="tf1", runtimes={name: Runtime(image=f"localhost/{name}:y") for name in ("tf1", "tf2")}),
    "without tf1": Configuration(default_runtime="tf2", runtimes={"tf2": Runtime(image="localhost/tf2:x")}),
}
WORKERS: Object = {"worker": {"count": 2}}
ROLES: Object = {"chief": {}, "worker": {"count": 1}, "ps": {"count": 1}}
ANY_POD = st.integers(0, 2)
_NAMES = itertools.count()


class Admin(KubeClient):
    """The API server's verbs, with those that the operator has no use for."""

    async def patch(self, path: str, operations: list[Object]) -> None:
        """Change an object."""
        await self._request("PATCH", path, operations, "application/json-patch+json")

    async def take_away(self, path: str) -> None:
        """Delete an object that no kubelet, and nobody else, is waited for."""
        await self._request("DELETE", path, {"gracePeriodSeconds": 0})


class Server:
    """The real API server, asked from one loop; the namespace is the test's own."""

    def __init__(self, plane: ControlPlane) -> None:
        self.played = Played(plane, f"any-{secrets.token_hex(3)}")
        self.played.create_namespace()
        self._runner = asyncio.Runner()
        self.client = self.run(self._connect(plane))
        self.writes = 0

    def run(self, work: Coroutine[Any, Any, Found]) -> Found:
        return self._runner.run(work)

    def close(self) -> None:
        self.run(self.client.close())
        self._runner.close()

    def change(self, kind: tuple[str, str], name: str, operations: list[Object], part: str = "") -> None:
        """Change an object, or a part of it."""
        self.writes += 1
        self.run(self.client.patch(paths.item(kind, self.played.namespace, name) + part, operations))

    def take_away(self, pod: Object) -> None:
        """Take a pod away, as a kubelet does when its containers have ended."""
        self.writes += 1
        self.run(self.client.take_away(paths.item(paths.PODS, self.played.namespace, pod["metadata"]["name"])))

    def delete(self, pod: Object) -> None:
        """Delete a pod; one that has a node stays until it is taken away."""
        self.writes += 1
        path = paths.item(paths.PODS, self.played.namespace, pod["metadata"]["name"])
        self.run(self.client.delete(path, uid=pod["metadata"]["uid"]))

    def bind(self, pod: Object) -> None:
        """Give a pod a node, as a scheduler does."""
        self.writes += 1
        name = pod["metadata"]["name"]
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"name": "node-a"}}
        self.run(self.client.create(paths.item(paths.PODS, self.played.namespace, name) + "/binding", body))

    @staticmethod
    async def _connect(plane: ControlPlane) -> Admin:
        return Admin(await find_credentials(plane.kubeconfig), "any-order")


SERVER: list[Server] = []


class AnyOrder(RuleBasedStateMachine):
    """One job of one or several replicas, its user, its admin, its pods, time, and an operator."""

    @initialize(infrastructure=st.integers(0, 2), suspend=st.booleans(), replicas=st.sampled_from([{}, WORKERS, ROLES]))
    def the_user_creates_the_job(self, infrastructure: int, suspend: bool, replicas: Object) -> None:
        self.server = SERVER[0]
        self.name, self.ahead, self.catalogue = f"job-{next(_NAMES)}", 0.0, "as installed"
        self.key = Key(self.server.played.namespace, self.name)
        self.path = paths.item(paths.JOBS, *self.key)
        body = {"runtime": "tf1", "script": {"uri": "s3://bucket/a.py"}, "suspend": suspend, "retry": {"infrastructure": infrastructure}}
        body["replicas"], self.leader = replicas, "worker" if replicas == WORKERS else "chief"
        job = {"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "metadata": {"name": self.name}, "spec": body}
        self.uid = self.server.run(self.server.client.create(paths.collection(paths.JOBS, self.key.namespace), job))["metadata"]["uid"]
        self.proved: set[int] = set()
        self.end: str | None = None
        self.known: tuple[Any, list[Object]] | None = None
        self.pods_at_end: set[str] = set()
        self.starts()

    # The operator

    def starts(self) -> None:
        """Begin anew with a process that knows nothing, and lists everything."""
        self.operator = inprocess.Operator(self.server.client, self.key, CATALOGUES[self.catalogue], lambda: time.time() + self.ahead)
        self.sees_all()

    def sees_all(self) -> None:
        self.server.run(self.operator.sees_all())

    def look(self) -> int:
        before = self.operator.api.writes
        try:
            return self.server.run(self.operator.look())
        finally:
            if self.operator.api.writes != before:
                self.check()

    @rule()
    def the_operator_sees_all_and_looks(self) -> None:
        self.sees_all()
        self.look()

    @rule()
    def only_the_watch_of_pods_tells(self) -> None:
        self.server.run(self.operator.sees_pods())
        self.look()

    @rule()
    def only_the_watch_of_jobs_tells(self) -> None:
        self.server.run(self.operator.sees_jobs())
        self.look()

    @rule()
    def the_operator_looks_at_what_it_knows(self) -> None:
        self.look()

    @rule(writes=st.integers(0, 3), applied=st.booleans())
    def the_operator_is_killed_at_one_of_its_writes(self, writes: int, applied: bool) -> None:
        self.operator.api.writes_left, self.operator.api.applied = writes, applied
        self.sees_all()
        try:
            self.look()
        except inprocess.KilledError:
            self.starts()
        self.operator.api.writes_left = None

    @rule(catalogue=st.sampled_from(sorted(CATALOGUES)))
    def the_admin_changes_the_catalogue(self, catalogue: str) -> None:
        self.catalogue = catalogue
        self.starts()

    # Time

    @rule(seconds=st.sampled_from([2, 15, 400]))
    def time_passes(self, seconds: int) -> None:
        self.ahead += seconds

    @rule(seconds=st.sampled_from([-60, 60]))
    def the_clock_is_set(self, seconds: int) -> None:
        self.ahead += seconds

    # The user

    def wants(self, **spec: Any) -> None:
        self.server.change(
            paths.JOBS, self.name, [{"op": "add", "path": f"/spec/{field}", "value": value} for field, value in spec.items()]
        )

    @rule(suspend=st.booleans())
    def the_user_suspends_or_resumes(self, suspend: bool) -> None:
        self.wants(suspend=suspend)

    @rule()
    def the_user_stops(self) -> None:
        self.wants(stop=True)

    @rule(seconds=st.sampled_from([30, 3600]))
    def the_user_changes_a_deadline(self, seconds: int) -> None:
        self.wants(pendingDeadlineSeconds=seconds)

    @rule(seconds=st.sampled_from([1, 86400]))
    def the_user_changes_how_long_pods_stay(self, seconds: int) -> None:
        self.wants(podRetentionSeconds=seconds)

    # The pods

    @property
    def pods(self) -> list[Object]:
        """The job's pods as they are; asked for anew only where somebody has written since."""
        now = (self.server.writes, self.operator, self.operator.api.writes)
        if self.known is None or self.known[0] != now:
            self.known = (now, self.server.run(self._list()))
        return self.known[1]

    async def _list(self) -> list[Object]:
        path = paths.collection(paths.PODS, self.key.namespace)
        everything = [dict(item) async for _, items in self.server.client.pages(path) for item in items]
        own = [pod for pod in everything if pod["metadata"]["ownerReferences"][0]["uid"] == self.uid]
        # The latest attempt last, and of it the one whose success is the job's.
        return sorted(own, key=lambda pod: (attempt_of(pod), self.leads(pod), pod["metadata"]["name"]))

    def leads(self, pod: Object) -> bool:
        return bool(pod["metadata"]["name"].startswith(f"{self.name}-{self.leader}-0"))

    def picked(self, which: int) -> Object | None:
        """Return one of the pods that have not ended, by a number of any size; None where there is none."""
        going_on = [pod for pod in reversed(self.pods) if not over(pod)]
        return going_on[which % len(going_on)] if going_on else None

    def shows(self, status: Callable[[Object], Object], which: int) -> Object | None:
        """Show something of a pod that has not ended, and return the pod; None where there is none, or it cannot be."""
        pod = self.picked(which)
        if pod is None:
            return None
        value = {**pod["status"], **status(pod)}
        try:
            self.server.change(paths.PODS, pod["metadata"]["name"], [{"op": "add", "path": "/status", "value": value}], "/status")
        except RefusedError:
            # What has ended does not begin to run again.
            return None
        return pod

    @rule()
    def the_pod_gets_a_node(self) -> None:
        for pod in self.pods:
            if not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]:
                self.server.bind(pod)

    @rule(which=ANY_POD)
    def the_pod_fetches(self, which: int) -> None:
        self.shows(fetching, which)

    @rule(which=ANY_POD)
    def the_pod_runs(self, which: int) -> None:
        self.shows(running, which)

    @rule()
    def all_pods_run(self) -> None:
        for which in range(len(self.pods)):
            self.shows(running, which)

    @rule(code=st.sampled_from([0, 0, 3, 143]), which=ANY_POD)
    def the_pod_ends(self, code: int, which: int) -> None:
        pod = self.shows(lambda pod: ended(pod, code), which)
        if pod is not None and code == 0 and self.leads(pod):
            self.proved.add(attempt_of(pod))

    @rule(which=ANY_POD)
    def the_pod_is_evicted(self, which: int) -> None:
        self.shows(lambda pod: evicted(pod, "2026-01-01T00:00:00Z"), which)

    @rule(which=ANY_POD)
    def somebody_deletes_the_pod(self, which: int) -> None:
        for pod in self.pods[-1 - which :][:1]:
            self.server.delete(pod)

    @rule(which=ANY_POD)
    def the_pod_loses_its_label(self, which: int) -> None:
        for pod in self.pods[-1 - which :][:1]:
            if pod["metadata"].get("labels", {}).get("tftraining.dev/job-uid"):
                self.server.change(
                    paths.PODS, pod["metadata"]["name"], [{"op": "remove", "path": "/metadata/labels/tftraining.dev~1job-uid"}]
                )

    @rule()
    def pods_that_were_deleted_go(self) -> None:
        for pod in self.pods:
            if "deletionTimestamp" in pod["metadata"]:
                self.server.take_away(pod)

    # What is promised

    def check(self) -> None:
        pods, job = self.pods, dict(self.server.run(self.server.client.get(self.path)))
        live = [pod for pod in pods if not over(pod)]
        assert len({attempt_of(pod) for pod in live}) <= 1, f"two attempts at once: {[pod['metadata']['name'] for pod in live]}"
        status = job["status"]
        true = {each["type"] for each in status.get("conditions", []) if each["status"] == "True"}
        uids = {pod["metadata"]["uid"] for pod in pods}
        if "Succeeded" in true:
            assert status["attempt"] in self.proved, "a success that nobody has shown"
        if self.end is not None:
            assert self.end in true, f"what had ended {self.end} is now {status['phase']}"
            assert uids <= self.pods_at_end, "a job that had ended got another pod"
        elif "Finished" in true:
            self.end, self.pods_at_end = ("Succeeded" if "Succeeded" in true else "Failed"), uids

    def teardown(self) -> None:
        """Let all faults stop: it comes to rest, its job to an end, and then nothing is written any more."""
        if not hasattr(self, "operator"):
            return
        try:
            self.settles()
            self.wants(suspend=False)
            for _ in range(8):
                self.ahead += 400
                self.pods_that_were_deleted_go()
                self.settles()
                if self.end is not None:
                    break
                self.all_pods_run()
                self.settles()
                self.the_pod_ends(0, 0)
            self.settles()
            assert self.end is not None, "it never comes to an end"
        finally:
            self.server.run(self.server.client.take_away(self.path))
            for pod in self.pods:
                self.server.take_away(pod)

    def settles(self) -> None:
        for _ in range(6):
            self.sees_all()
            if self.look() == 0:
                break
            self.pods_that_were_deleted_go()
        self.sees_all()
        assert self.look() == 0, "it never comes to rest"


def attempt_of(pod: Object) -> int:
    """Return the number of a pod's attempt, whatever labels it has lost."""
    found = re.search(r"-r(\d+)$", pod["metadata"]["name"])
    return int(found[1]) if found is not None else 0


def over(pod: Object) -> bool:
    """Tell whether nothing of a pod runs any more."""
    return pod.get("status", {}).get("phase") in {"Failed", "Succeeded"}


@pytest.fixture
def server(plane: ControlPlane) -> Iterator[Server]:
    """Return the API server for all sequences."""
    # A line for each decision of thousands would be all that there is to read.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    SERVER[:] = [Server(plane)]
    yield SERVER[0]
    SERVER[0].close()
    structlog.reset_defaults()


@pytest.mark.timeout(0)
def test_in_any_order_of_what_can_happen_one_attempt_runs_ends_are_true_and_for_ever_and_all_comes_to_rest(server: Server) -> None:
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_an_order_that_chance_seldom_finds_comes_to_rest_too(server: Server) -> None:
    """A pod that runs loses its label while nobody looks, and the next process hears nothing of it."""
    life = AnyOrder()
    life.the_user_creates_the_job(infrastructure=1, suspend=False, replicas={})
    life.look()
    life.the_pod_gets_a_node()
    life.the_pod_runs(0)
    life.the_operator_sees_all_and_looks()
    life.the_pod_loses_its_label(0)
    life.starts()
    life.look()
    life.time_passes(15)
    life.look()
    life.teardown()
