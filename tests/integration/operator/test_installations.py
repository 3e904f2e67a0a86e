"""Two installations on the same namespace, and an operator whose definition is older, newer or not there."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from control import Operator, Played, RefusedError, until
from faults import FaultProxy

DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tftrainingjobs.tftraining.dev"
SERVED = "/openapi/v3/apis/tftraining.dev/v1alpha1"
FIELDS = "/spec/versions/0/schema/openAPIV3Schema/properties/{part}/properties/{field}"
RIVAL = "another installation works on the same jobs"


@pytest.fixture
def second(proxy: FaultProxy, played: Played, tmp_path: Path) -> Iterator[Operator]:
    """Return an operator of another installation on the same namespace; its name sorts behind the first one's."""
    with Operator(proxy, played.namespace, tmp_path, identity="two") as operator:
        path = tmp_path / "two.yaml"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"leaseName": "z-second"}))
        yield operator


def writes(played: Played, lease: str) -> int:
    """Return how many writes of statuses and pods the API server's audit log ascribes to an installation."""
    agent = f"tftraining-operator.{played.namespace}.{lease}/"
    entries = [json.loads(line) for line in played.plane.audit_log.read_text().splitlines()]
    ours = [entry for entry in entries if entry.get("userAgent", "").startswith(agent)]
    return len([entry for entry in ours if entry["objectRef"]["resource"] in {"pods", "tftrainingjobs"}])


def rested(played: Played, lease: str, seconds: float = 1.0) -> int:
    """Return how many writes an installation has made once it has made none for a while: that nothing happens shows only in time."""
    deadline, since, seen = time.monotonic() + 20, time.monotonic(), writes(played, lease)
    while time.monotonic() - since < seconds:
        assert time.monotonic() < deadline, f"{lease} never rests"
        if (now := writes(played, lease)) != seen:
            since, seen = time.monotonic(), now
        time.sleep(0.1)
    return seen


def finish(played: Played, name: str) -> None:
    """Play a whole run of a job's pod, and wait for the job's end."""
    pod = played.wait_for_pod(f"{name}-chief-0")
    played.run(pod)
    played.wait_for_phase(name, "Running")
    played.end(pod)
    played.wait_for_phase(name, "Succeeded")


def run_while_asleep(operator: Operator, played: Played, job: str) -> None:
    """Have a job run by the other installation, so that it is a rival's write that this one wakes up to."""
    assert operator.process is not None
    operator.process.send_signal(signal.SIGSTOP)
    played.submit(job)
    played.run(played.wait_for_pod(f"{job}-chief-0"))
    played.wait_for_phase(job, "Running")
    operator.process.send_signal(signal.SIGCONT)


def test_of_two_installations_on_one_namespace_the_later_by_name_says_so_and_gives_way(
    operator: Operator, second: Operator, played: Played, proxy: FaultProxy
) -> None:
    second.start()
    until(lambda: proxy.watching == 4, "both watch jobs and pods")
    run_while_asleep(second, played, "first")
    until(lambda: RIVAL in second.log(), "the second notices the first")
    assert "gives_way=True" in second.log()
    assert "tftraining_rival_namespaces 1.0" in second.page("metrics")
    before = rested(played, "z-second")
    finish(played, "first")
    played.submit("next")
    finish(played, "next")
    assert rested(played, "z-second") == before
    assert [pod["metadata"]["name"] for pod in played.pods()] == ["first-chief-0", "next-chief-0"]
    assert second.page("healthz") == "ok"


def test_an_installation_that_goes_on_names_the_other_all_the_same(
    operator: Operator, second: Operator, played: Played, proxy: FaultProxy
) -> None:
    second.start()
    until(lambda: proxy.watching == 4, "both watch jobs and pods")
    run_while_asleep(operator, played, "theirs")
    until(lambda: RIVAL in operator.log(), "the first notices the second")
    assert f"tftraining-operator.{played.namespace}.z-second" in operator.log()
    assert "gives_way=False" in operator.log()


def test_an_installation_that_comes_after_another_takes_its_jobs_over_at_once(operator: Operator, second: Operator, played: Played) -> None:
    pod = played.start("handed")
    operator.kill()
    second.start()
    played.end(pod)
    played.wait_for_phase("handed", "Succeeded")
    assert RIVAL not in second.log()


@contextmanager
def changed(played: Played, operation: dict[str, Any]) -> Iterator[None]:
    """Change the served definition, wait until it is served so, and put it right again."""
    before = played.call("GET", DEFINITION)["spec"]
    shown = json.dumps(played.call("GET", SERVED))
    played.call("PATCH", DEFINITION, [operation], "application/json-patch+json")
    until(lambda: json.dumps(played.call("GET", SERVED)) != shown, "the change is served")
    try:
        yield
    finally:
        played.call("PATCH", DEFINITION, [{"op": "replace", "path": "/spec", "value": before}], "application/json-patch+json")
        until(lambda: json.dumps(played.call("GET", SERVED)) == shown, "the definition is served as before")


def readiness(operator: Operator) -> str:
    """Return what the operator says when it is asked whether it is ready, also if it is not."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{operator.port}/readyz", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""


@pytest.fixture
def unstarted(proxy: FaultProxy, played: Played, tmp_path: Path) -> Iterator[Operator]:
    """Return an operator that does not run yet."""
    with Operator(proxy, played.namespace, tmp_path) as operator:
        yield operator


def test_with_an_older_definition_it_waits_and_names_the_fix_and_goes_on_once_that_is_done(unstarted: Operator, played: Played) -> None:
    with changed(played, {"op": "remove", "path": FIELDS.format(part="status", field="attempt")}):
        unstarted.start(wait=False)
        until(lambda: "lacks status.attempt: upgrade it" in readiness(unstarted), "it says so")
        fix = f"kubectl exec -n {played.namespace} deploy/tftraining-operator -- python3 -I -m tftraining_operator crd | kubectl apply"
        assert fix in unstarted.log()
        assert unstarted.page("healthz") == "ok"
        assert "tftraining_leader 0.0" in unstarted.page("metrics")
    until(lambda: "tftraining_leader 1.0" in unstarted.page("metrics"), "it leads")


def test_with_a_newer_definition_it_works_and_names_what_it_does_not_know(unstarted: Operator, played: Played) -> None:
    with changed(played, {"op": "add", "path": FIELDS.format(part="spec", field="tomorrow"), "value": {"type": "string"}}):
        unstarted.start()
        assert "is newer than this operator and has spec.tomorrow" in unstarted.log()
        played.submit("future", tomorrow="sunny")
        finish(played, "future")


def test_without_a_definition_it_waits_and_names_the_fix_and_hears_of_jobs_once_there_is_one(unstarted: Operator, played: Played) -> None:
    played.call("DELETE", DEFINITION)

    def gone() -> bool:
        try:
            return not played.call("GET", played.jobs_path)
        except RefusedError as error:
            return error.status == 404

    until(gone, "the definition is gone")
    try:
        unstarted.start(wait=False)
        until(lambda: "install it, by helm upgrade" in readiness(unstarted), "it says so")
    finally:
        played.install_definition()
    until(lambda: "tftraining_leader 1.0" in unstarted.page("metrics"), "it leads")
    for name in ("one", "two"):
        played.submit(name)
        until(lambda name=name: f"{name}-chief-0" in [pod["metadata"]["name"] for pod in played.pods()], "it hears of the job")
