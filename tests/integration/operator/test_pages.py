"""What the pages for an admin tell to do does what they say, on a real API server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from control import ROOT, Operator, Played, RefusedError, until
from localcluster import binaries
from played_kubelet import ended

PAGES = ROOT / "docs" / "how-to"


def block(page: str, language: str, holding: str) -> str:
    """Return the one block of code of a page that holds some words."""
    [found] = [text for text in re.findall(rf"```{language}\n(.*?)```", (PAGES / page).read_text(), re.DOTALL) if holding in text]
    return str(found)


def kubectl(played: Played, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl as the administrator."""
    environment = {**os.environ, "KUBECONFIG": str(played.plane.kubeconfig)}
    return subprocess.run([binaries.built().path("kubectl"), *argv], env=environment, capture_output=True, text=True, check=False)


def test_jobs_that_are_restored_as_the_page_says_have_their_end_or_wait_and_none_trains_again(
    operator: Operator, played: Played, tmp_path: Path
) -> None:
    for name in ("done", "waits"):
        played.submit(name)
    pod = played.wait_for_pod("done-chief-0")
    played.run(pod)
    played.end(pod)
    before = played.wait_for_phase("done", "Succeeded")
    copy = kubectl(played, "get", "tftj", "-n", played.namespace, "-o", "json").stdout
    (tmp_path / "jobs.json").write_text(copy)
    played.call("DELETE", played.jobs_path)
    for each in played.pods():
        played.remove(each)
    script = block("backup-and-restore.md", "sh", "restore.py").partition("<<'END'\n")[2].partition("\nEND\n")[0]

    def restored(*argv: str) -> str:
        done = subprocess.run([sys.executable, "-c", script, f"{tmp_path}/jobs.json", *argv], capture_output=True, text=True, check=True)
        path = tmp_path / f"restored-{'-'.join(argv)}.json"
        path.write_text(done.stdout)
        return str(path)

    for argv in (["create", "-f", restored()], ["replace", "--subresource=status", "-f", restored("ended")]):
        made = kubectl(played, *argv)
        assert made.returncode == 0, made.stderr
    played.wait_for_phase("waits", "Suspended")
    status = played.wait_for_phase("done", "Succeeded")
    assert status["outputs"] == before["outputs"]
    played.change("done", suspend=False)
    played.change("waits", suspend=False)
    played.wait_for_pod("waits-chief-0")
    assert [pod["metadata"]["name"] for pod in played.pods()] == ["waits-chief-0"]
    assert played.phase("done") == "Succeeded"


POLICIES = "/apis/admissionregistration.k8s.io/v1"


def test_the_policy_of_the_page_bounds_gpus_and_demands_a_deadline_in_its_namespace(played: Played) -> None:
    policy, binding = yaml.safe_load_all(block("quotas.md", "yaml", "ValidatingAdmissionPolicy"))
    binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] = played.namespace
    played.call("POST", f"{POLICIES}/validatingadmissionpolicies?fieldValidation=Strict", policy)
    played.call("POST", f"{POLICIES}/validatingadmissionpolicybindings?fieldValidation=Strict", binding)
    try:
        refused = until(lambda: _refusal(played, activeDeadlineSeconds=60, resources={"gpus": 8}), "the policy holds")
        assert "at most 4 GPUs for one job here: spec.resources.gpus" in refused
        assert "spec.activeDeadlineSeconds is needed here" in _refusal(played)
        played.submit("fits", activeDeadlineSeconds=259200, resources={"gpus": 4})
    finally:
        played.call("DELETE", f"{POLICIES}/validatingadmissionpolicybindings/tftrainingjobs")
        played.call("DELETE", f"{POLICIES}/validatingadmissionpolicies/tftrainingjobs")


def _refusal(played: Played, **spec: Any) -> str:
    """Return what the API server says against such a job, empty if nothing."""
    body = {"script": {"name": "a.py", "inline": "pass"}, **spec}
    job = {"apiVersion": "tftraining.dev/v1alpha1", "kind": "TFTrainingJob", "metadata": {"name": "probe"}, "spec": body}
    try:
        played.call("POST", f"{played.jobs_path}?dryRun=All", job)
    except RefusedError as error:
        return str(error)
    return ""


@pytest.fixture
def node(played: Played) -> Iterator[str]:
    """Return the name of a node that nobody is behind, and that goes with the test: what nodes have is told to jobs of all others."""
    name = f"node-{played.namespace}"
    played.call("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    yield name
    played.call("DELETE", f"/api/v1/nodes/{name}")


def test_a_node_is_drained_with_the_flag_of_the_page_and_the_next_attempt_follows(operator: Operator, played: Played, node: str) -> None:
    played.submit("drained")
    pod = played.wait_for_pod("drained-chief-0")
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "drained-chief-0"}, "target": target}
    played.call("POST", f"{played.pods_path}/drained-chief-0/binding", body)
    played.run(pod)
    played.wait_for_phase("drained", "Running")
    [command] = [line for line in block("drain-a-node.md", "sh", "kubectl drain").splitlines() if line.startswith("kubectl drain")]
    argv = [node if word == "NODE" else word for word in command.split()[1:]]
    argv = ["--timeout=2s" if word.startswith("--timeout") else word for word in argv]
    without = kubectl(played, *[word for word in argv if word != "--delete-emptydir-data"])
    assert "cannot delete Pods with local storage (use --delete-emptydir-data to override)" in without.stderr
    assert "deletionTimestamp" not in played.wait_for_pod("drained-chief-0")["metadata"]
    kubectl(played, *argv)
    going = played.wait_for_pod("drained-chief-0")
    assert "deletionTimestamp" in going["metadata"]
    played.show(going, {**ended(going, 143), "conditions": going["status"]["conditions"]})
    status = played.wait_for_phase("drained", "Restarting")
    assert (status["attempts"][0]["reason"], status["retries"]) == ("Evicted", {"infrastructure": 1})
    assert 'tftraining_attempts_failed_total{cause="Infrastructure"} 1.0' in operator.page("metrics")
    assert json.loads(kubectl(played, "get", "node", node, "-o", "json").stdout)["spec"]["unschedulable"] is True
