"""Started in a cluster that is not as it should be, the operator does what it can, and the rest as soon as it can."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from chart import PATHS, rendered
from control import Operator, Played, until
from controlplane import ControlPlane, control_plane
from faults import FaultProxy
from localcluster.failure import ClusterError


@pytest.fixture
def undefined(tmp_path: Path) -> Iterator[Played]:
    """Return a namespace of a control plane that does not know TFTrainingJobs."""
    try:
        with control_plane(service_accounts=True) as plane:
            played = Played(plane, "early")
            played.create_namespace()
            yield played
    except ClusterError as error:
        pytest.skip(f"the control plane's programs are not built: {error}")


def test_where_the_definition_comes_after_the_operator_jobs_are_watched_all_the_same(undefined: Played, tmp_path: Path) -> None:
    with FaultProxy(undefined.plane) as proxy, Operator(proxy, undefined.namespace, tmp_path) as operator:
        operator.start(wait=False)
        until(lambda: "the definition does not fit" in operator.log(), "it has asked for the definition")
        assert operator.terminate() < 30, "it can be told to stop meanwhile"
        operator.start(wait=False)
        until(lambda: operator.log().count("the definition does not fit") == 2, "it has asked again")
        undefined.install_definition()
        until(lambda: "tftraining_leader 1.0" in operator.page("metrics"), "it leads")
        for name in ("first", "second"):
            undefined.submit(name)
            until(lambda name=name: [pod for pod in undefined.pods() if name in pod["metadata"]["name"]], "the watch tells of it", 20)


def test_a_watched_namespace_that_is_gone_stops_nothing_in_the_others_and_is_taken_up_when_it_is_back(
    plane: ControlPlane, proxy: FaultProxy, played: Played, tmp_path: Path
) -> None:
    other = Played(plane, f"{played.namespace}-gone")
    other.create_namespace()
    items = [item for item in rendered(played.namespace, watchNamespaces=[played.namespace, other.namespace]) if item["kind"] in PATHS]
    for item in items:
        played.call("POST", _path(item), item)
    proxy.as_user = f"system:serviceaccount:{played.namespace}:{played.namespace}-operator"
    # With a namespace its roles go.
    (binding,) = (item for item in items if (item["kind"], item["metadata"].get("namespace")) == ("RoleBinding", other.namespace))
    played.call("DELETE", f"{_path(binding)}/{binding['metadata']['name']}")
    with Operator(proxy, played.namespace, tmp_path) as operator:
        path = tmp_path / "one.yaml"
        names = {"watchNamespaces": [played.namespace, other.namespace], "leaseName": f"{played.namespace}-operator"}
        path.write_text(json.dumps(json.loads(path.read_text()) | names))
        operator.start()
        assert "tftraining_namespaces_skipped 1.0" in operator.page("metrics")
        assert other.namespace in next(line for line in operator.log().splitlines() if "namespace skipped" in line)
        played.submit("here")
        played.run(played.wait_for_pod("here-chief-0"))
        played.wait_for_phase("here", "Running")
        other.submit("there")
        played.call("POST", _path(binding), binding)
        until(other.pods, "the namespace is taken up again", 75)
        until(lambda: "tftraining_namespaces_skipped 0.0" in operator.page("metrics"), "it is not skipped any more", 75)
        assert operator.page("healthz") == "ok"
    other.call("DELETE", other.jobs_path)


@pytest.mark.parametrize("ahead", [7200.0, -7200.0], ids=["ahead", "behind"])
def test_on_a_machine_whose_clock_is_hours_wrong_no_job_meets_a_deadline_that_is_not_its_own(
    proxy: FaultProxy, played: Played, tmp_path: Path, ahead: float
) -> None:
    with Operator(proxy, played.namespace, tmp_path, ahead_seconds=ahead) as operator:
        operator.start()
        played.submit("waits", pendingDeadlineSeconds=3600)
        # Played containers have been running for months.
        played.submit("runs", activeDeadlineSeconds=300_000_000)
        played.submit("late", pendingDeadlineSeconds=1)
        played.run(played.wait_for_pod("runs-chief-0"))
        status = played.wait_for_phase("runs", "Running")
        assert played.wait_for_phase("late", "Failed")["failure"]["reason"] == "PendingDeadlineExceeded"
        since = next(item["lastTransitionTime"] for item in status["conditions"] if item["type"] == "Accepted")
        assert abs(datetime.fromisoformat(since).timestamp() - time.time()) < 60
        assert (played.phase("waits"), played.phase("runs")) == ("Pending", "Running")


def _path(item: dict[str, Any]) -> str:
    return PATHS[item["kind"]].format(namespace=item["metadata"].get("namespace"))
