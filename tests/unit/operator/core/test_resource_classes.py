"""Named sizes: what a job gets by its class, what becomes of it when the class changes, and what is told of both."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError
from tftrainer.messages import contract
from tftrainer.messages.contract import RunReport, Usage
from tftraining_operator.core.case import Case
from tftraining_operator.core.configuration import Configuration, ResourceClass, Runtime, Toleration
from tftraining_operator.core.decide import decide
from tftraining_operator.core.nodes import Node, Nodes, Taint
from tftraining_operator.core.records import Observed, Plan, PodRecord, Raw

from .given import CONFIGURATION, CREATED, Pod, after, job, pods, seen

NOW = CREATED + 100
GPU = "nvidia.com/gpu"
V100 = ResourceClass(
    cpu="8",
    cpu_limit="9500m",
    memory="64Gi",
    gpus=2,
    gpu_resource="nvidia.com/mig-1g.5gb",
    workspace="100Gi",
    shared_memory="8Gi",
    node_selector={"accelerator": "v100", "pool": "of-the-class"},
    tolerations=(Toleration(key="gpu", operator="Exists"),),
    images={"tf2": "registry.test/trainer:tf2-gpu"},
)
RUNTIMES = {
    "tf1": Runtime(image="registry.test/trainer:tf1"),
    "tf2": Runtime(
        image="registry.test/trainer:tf2",
        node_selector={"pool": "of-the-runtime", "disk": "ssd", "kubernetes.io/arch": "amd64"},
        tolerations=(Toleration(key="team"),),
    ),
}


def admins(**classes: ResourceClass) -> Configuration:
    return CONFIGURATION.model_copy(update={"runtimes": RUNTIMES, "resource_classes": classes})


ADMINS = admins(v100=V100, small=ResourceClass(cpu="1", memory="2Gi"))


def plan(observed: Observed, configuration: Configuration = ADMINS, now: float = NOW) -> Plan:
    return decide(observed, configuration, now)


def made(configuration: Configuration = ADMINS, **spec: Any) -> dict[str, Any]:
    [pod] = pods(plan(seen(job(**spec)), configuration))
    return dict(pod)


def trainer(pod: Raw) -> dict[str, Any]:
    return next(dict(each) for each in pod["spec"]["containers"] if each["name"] == contract.TRAINER)


def of_class(*kept: Pod, status: dict[str, Any] | None = None, **spec: Any) -> Observed:
    """Return a job of the class whose pods were made when the class was as it is in `ADMINS`."""
    observed = seen(job(status, resourceClass="v100", **spec), *kept)
    told = made(resourceClass="v100", **spec)["metadata"]["annotations"]["tftraining.dev/resources"]
    return replace(observed, pods=tuple(replace(pod, resources=told) for pod in observed.pods))


class TestAPod:
    def test_has_what_the_class_gives(self) -> None:
        pod = made(resourceClass="v100")
        assert trainer(pod)["resources"] == {
            "requests": {"cpu": "8", "memory": "64Gi", "nvidia.com/mig-1g.5gb": "2"},
            "limits": {"cpu": "9500m", "memory": "64Gi", "nvidia.com/mig-1g.5gb": "2"},
        }
        volumes = {each["name"]: each["emptyDir"]["sizeLimit"] for each in pod["spec"]["volumes"] if "emptyDir" in each}
        assert (volumes["shm"], volumes["workspace"]) == ("8Gi", str(125 * 1024**3))
        assert "NVIDIA_VISIBLE_DEVICES" not in {each["name"] for each in trainer(pod)["env"]}, "it has GPUs"

    def test_runs_where_the_class_says_beside_the_runtime(self) -> None:
        spec = made(resourceClass="v100")["spec"]
        assert spec["nodeSelector"] == {"pool": "of-the-class", "disk": "ssd", "kubernetes.io/arch": "amd64", "accelerator": "v100"}
        assert spec["tolerations"] == [{"key": "team"}, {"key": "gpu", "operator": "Exists"}]

    def test_has_the_image_that_the_class_has_for_its_runtime_and_the_runtime_s_own_where_it_has_none(self) -> None:
        images = {
            name: {
                each["image"]
                for part in ("initContainers", "containers")
                for each in made(resourceClass="v100", runtime=name)["spec"][part]
            }
            for name in ("tf1", "tf2")
        }
        assert images == {"tf1": {"registry.test/trainer:tf1"}, "tf2": {"registry.test/trainer:tf2-gpu"}}

    def test_has_what_the_class_leaves_open_by_default(self) -> None:
        pod = made(resourceClass="small")
        assert trainer(pod)["resources"] == {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}
        assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}} in pod["spec"]["volumes"]

    def test_has_the_space_that_the_job_names_beside_its_class(self) -> None:
        pod = made(resourceClass="v100", resources={"gpus": 0, "workspace": "4Gi", "sharedMemory": "1Gi"})
        volumes = {each["name"]: each["emptyDir"]["sizeLimit"] for each in pod["spec"]["volumes"] if "emptyDir" in each}
        assert (volumes["shm"], volumes["workspace"]) == ("1Gi", str(5 * 1024**3))

    def test_grows_in_memory_from_what_the_class_gives(self) -> None:
        begun = {"attempt": 1, "retries": {"outOfMemory": 1}}
        [pod] = pods(plan(seen(job(begun, resourceClass="small", retry={"outOfMemory": 3, "memoryGrowth": 1.5}))))
        assert trainer(pod)["resources"]["limits"]["memory"] == "3072Mi"

    def test_of_a_check_takes_no_gpu_and_none_of_the_nodes_of_the_class_but_has_its_image(self) -> None:
        waits = replace(Pod(node="", checked_with="registry.test/trainer:tf2-gpu"), created=NOW - 60).condition(
            "PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu."
        )
        check = plan(of_class(waits)).check
        assert check is not None, "a job of a class with GPUs is checked while it waits"
        spec = check["spec"]
        assert "mig" not in json.dumps(spec["containers"][0]["resources"])
        assert (spec["nodeSelector"], "tolerations" in spec) == ({"kubernetes.io/arch": "amd64"}, False)
        assert spec["containers"][0]["image"] == "registry.test/trainer:tf2-gpu"

    def test_leaves_a_record_that_is_a_spec_of_its_own(self) -> None:
        publisher = next(each for each in made(resourceClass="v100")["spec"]["containers"] if each["name"] == contract.PUBLISHER)
        record = json.loads(next(each["value"] for each in publisher["env"] if each["name"] == contract.SPEC_VARIABLE))
        assert "resourceClass" not in record
        assert record["resources"] == {
            "cpu": "8",
            "cpuLimit": "9500m",
            "memory": "64Gi",
            "workspace": "100Gi",
            "sharedMemory": "8Gi",
            "gpus": 2,
            "gpuResource": "nvidia.com/mig-1g.5gb",
        }


CLAIMS = admins(v100=ResourceClass(cpu="1", memory="1Gi", gpus=2, resource_claim_template="two-gpus", images=V100.images))


class TestAClassWithAClaim:
    def test_gets_its_devices_by_that_alone(self) -> None:
        pod = made(CLAIMS, resourceClass="v100")
        assert pod["spec"]["resourceClaims"] == [{"name": "devices", "resourceClaimTemplateName": "two-gpus"}]
        assert trainer(pod)["resources"] == {
            "requests": {"cpu": "1", "memory": "1Gi"},
            "limits": {"memory": "1Gi"},
            "claims": [{"name": "devices"}],
        }
        others = [each for part in ("initContainers", "containers") for each in pod["spec"][part] if each["name"] != contract.TRAINER]
        assert not any("claims" in each["resources"] for each in others)

    def test_sees_no_gpu_but_those_of_the_claim(self) -> None:
        # A container runtime that hands out GPUs by this variable would hand out all of the node's.
        assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in trainer(made(CLAIMS, resourceClass="v100"))["env"]

    def test_counts_its_gpus_under_no_name(self) -> None:
        found = plan(seen(job(resourceClass="v100"), Pod().running()), CLAIMS).status
        assert found is not None
        assert (found["resources"]["gpus"], "gpuResource" in found["resources"]) == (2, False)

    @pytest.mark.parametrize(
        ("waits", "reason", "words"),
        [
            (Pod(node=""), "ClaimMissing", "ResourceClaimTemplate two-gpus of resource class v100: that has to be in namespace team-a"),
            (
                Pod(node="").condition(
                    "PodScheduled",
                    "False",
                    "Unschedulable",
                    "0/1 nodes are available: 1 cannot allocate all claims. still not schedulable, preemption: 0/1 nodes are available: 1 "
                    "Preemption is not helpful for scheduling.",
                ),
                "DevicesNotAvailable",
                "free now: 0/1 nodes are available: 1 cannot allocate all claims; if there are any, it starts by itself",
            ),
        ],
        ids=["no template", "no device"],
    )
    def test_is_told_what_its_claim_lacks(self, waits: Pod, reason: str, words: str) -> None:
        found = plan(seen(job(resourceClass="v100"), waits), CLAIMS, NOW + 60).status
        assert found is not None
        assert (found["pending"]["reason"], words in found["pending"]["message"]) == (reason, True), found["pending"]["message"]

    def test_is_checked_without_it(self) -> None:
        waits = Pod(node="", checked_with="registry.test/trainer:tf2-gpu")
        check = plan(seen(job(resourceClass="v100"), waits), CLAIMS).check
        assert check is not None
        assert "resourceClaims" not in check["spec"]
        assert "claims" not in check["spec"]["containers"][0]["resources"]

    def test_has_no_resource_beside_it(self) -> None:
        with pytest.raises(ValidationError, match=r"gpuResource is a\.example/gpu beside resourceClaimTemplate x, expected one of them"):
            ResourceClass(cpu="1", memory="1Gi", gpu_resource="a.example/gpu", resource_claim_template="x")


class TestAnUnknownClass:
    @pytest.mark.parametrize(
        ("classes", "told"),
        [
            ({"v100-x1": V100, "a100": V100}, "known are a100, v100-x1. Did you mean v100-x1? Create the job again with one of these"),
            ({"cpu": V100}, "known are cpu. Create the job again"),
            ({}, "known are none. Create the job again"),
        ],
    )
    def test_fails_before_a_pod_with_what_there_is(self, classes: dict[str, ResourceClass], told: str) -> None:
        found = plan(seen(job(resourceClass="v100-x2")), admins(**classes))
        assert (found.creates, found.status is not None) == ((), True)
        assert found.status is not None
        assert (found.status["phase"], found.status["failure"]["reason"]) == ("Failed", "UnknownResourceClass")
        assert f"The class 'v100-x2' of spec.resourceClass is not in the operator's catalogue; {told}" in found.status["message"]
        assert "resources" not in found.status

    def test_is_known_by_nobody_before_a_suspended_job_begins(self) -> None:
        found = plan(seen(job(resourceClass="v100-x2", suspend=True))).status
        assert found is not None
        assert found["phase"] == "Suspended"


EVICTED = replace(Pod().ran(143), phase="Failed").condition("DisruptionTarget", "True", "EvictionByEvictionAPI")


class TestAClassThat:
    @pytest.mark.parametrize("later", [admins(), admins(v100=ResourceClass(cpu="1", memory="1Gi", gpus=7))], ids=["is removed", "changes"])
    def test_has_gone_leaves_what_runs_as_it_is(self, later: Configuration) -> None:
        observed = of_class(Pod().running())
        for configuration in (ADMINS, later):
            found = plan(observed, configuration)
            assert (found.deletions, found.creates) == ((), ())
            assert found.status is not None
            assert found.status["phase"] == "Running"
            assert found.status["resources"] == {
                "cpu": "8",
                "cpuLimit": "9500m",
                "memory": "64Gi",
                "workspace": "100Gi",
                "sharedMemory": "8Gi",
                "gpus": 2,
                "gpuResource": "nvidia.com/mig-1g.5gb",
            }
        peak = RunReport(exit_code=0, usage=Usage(memory=1024**3))
        ended = plan(of_class(Pod().ran(report=peak, at=CREATED + 64).published(at=CREATED + 64)), later).status
        assert ended is not None
        assert (ended["phase"], ended["usage"]["gpuSeconds"], ended["usage"]["cpuSeconds"]) == ("Succeeded", 2 * 62, 8 * 62)
        assert ended["usage"]["advice"] == "1280Mi of memory would do: the script held 1024Mi of 64Gi at the most."

    def test_is_removed_ends_the_job_when_its_next_attempt_is_to_begin(self) -> None:
        observed = of_class(EVICTED, retry={"infrastructure": 1})
        restarting = after(observed, plan(observed, admins()))
        assert restarting.job.status["phase"] == "Restarting"
        found = plan(restarting, admins(), NOW + 1000).status
        assert found is not None
        assert (found["phase"], found["failure"]["reason"]) == ("Failed", "UnknownResourceClass")

    def test_changes_is_in_the_next_attempt_as_it_is_then(self) -> None:
        later = admins(v100=V100.model_copy(update={"memory": "80Gi", "gpus": 4}))
        observed = of_class(EVICTED, retry={"infrastructure": 1})
        restarting = after(observed, plan(observed, later))
        begun = after(restarting, plan(restarting, later, NOW + 1000))
        assert (begun.job.status["attempt"], begun.job.status["resources"]["gpus"]) == (1, 4)
        [pod] = pods(plan(begun, later, NOW + 1000))
        assert trainer(pod)["resources"]["limits"]["memory"] == "80Gi"
        assert json.loads(pod["metadata"]["annotations"]["tftraining.dev/resources"])["gpus"] == 4

    @pytest.mark.parametrize("told", ["", "{", "[]", "null", '{"gpus": -1}', '{"cpu": "a lot"}', "[" * 900, '{"gpus": 1e999}'])
    def test_a_pod_tells_nothing_good_of_is_what_the_catalogue_has(self, told: str) -> None:
        observed = of_class(Pod().running())
        found = plan(replace(observed, pods=tuple(replace(pod, resources=told) for pod in observed.pods))).status
        assert found is not None
        assert (found["phase"], found["resources"]["gpus"]) == ("Running", 2)


def test_gpus_that_a_job_itself_asks_for_are_in_its_status_too() -> None:
    found = plan(seen(job(resources={"gpus": 3}), Pod().running())).status
    assert found is not None
    assert (found["resources"]["gpus"], found["resources"]["gpuResource"], found["resources"]["memory"]) == (3, GPU, "2560Mi")


def test_a_job_without_a_class_has_none_in_its_status_whatever_its_pod_tells() -> None:
    observed = seen(job(), Pod().running())
    found = plan(replace(observed, pods=tuple(replace(pod, resources='{"gpus": 7}') for pod in observed.pods))).status
    assert found is not None
    assert "resources" not in found
    assert Case(observed, ADMINS, NOW).wanted.gpus == 0


def unplaced(*nodes: Node, message: str = "0/1 nodes are available: 1 Insufficient x.") -> Observed:
    """Return a job of the class whose pod no node takes."""
    waits = Pod(node="").condition("PodScheduled", "False", "Unschedulable", message)
    return replace(of_class(waits), nodes=Nodes(nodes, {node.name: {} for node in nodes}) if nodes else None)


def node(labels: dict[str, str], devices: int = 2, gib: int = 128, taints: tuple[Taint, ...] = ()) -> Node:
    has = {"cpu": Decimal(16), "memory": Decimal(gib * 1024**3), "pods": Decimal(110), "nvidia.com/mig-1g.5gb": Decimal(devices)}
    return Node("node-a", has, labels, taints)


LABELS = {"pool": "of-the-class", "disk": "ssd", "kubernetes.io/arch": "amd64", "accelerator": "v100"}
NEVER = (
    "0/1 nodes are available: 1 Insufficient nvidia.com/mig-1g.5gb. preemption: 0/1 nodes are available: 1 Preemption is not helpful for"
)


@pytest.mark.parametrize(
    ("observed", "reason", "words"),
    [
        pytest.param(
            unplaced(node(LABELS, devices=0)),
            "ResourceNotOffered",
            "no node offers nvidia.com/mig-1g.5gb, of which spec.resourceClass asks for 2",
            id="a device that no node offers",
        ),
        pytest.param(
            unplaced(node({})),
            "NoMatchingNode",
            "accelerator=v100 that runtime tf2 and resource class v100 demand: an admin has to label a node, or to correct nodeSelector in "
            "the catalogues of runtimes and resource classes",
            id="labels that no node has",
        ),
        pytest.param(
            unplaced(node(LABELS, gib=32)),
            "TooLargeForAnyNode",
            "create the job again with less (spec.resourceClass), or ask an admin for a larger node",
            id="more than any node has",
        ),
        pytest.param(
            unplaced(node(LABELS, taints=(Taint("x", "", "NoSchedule"), Taint("gpu", "", "NoSchedule")))),
            "NodesTainted",
            "kept for others by the taint x:NoSchedule, which runtime tf2 and resource class v100 do not tolerate: ask an admin",
            id="a taint",
        ),
        pytest.param(
            unplaced(message=f"{NEVER} scheduling."),
            "TooLargeForAnyNode",
            "spec.resourceClass (v100) asks for cpu 8, memory 64Gi, 2 of nvidia.com/mig-1g.5gb",
            id="in the scheduler's own words",
        ),
    ],
)
def test_what_a_job_of_a_class_waits_for_is_told_by_its_class(observed: Observed, reason: str, words: str) -> None:
    found = plan(observed, now=NOW + 60).status
    assert found is not None
    assert (found["pending"]["reason"], words in found["pending"]["message"]) == (reason, True), found["pending"]["message"]


def test_a_quota_that_is_too_small_for_a_class_is_told_with_the_class() -> None:
    said = (
        'pods "x" is forbidden: exceeded quota: q, requested: requests.memory=64Gi, used: requests.memory=0, limited: requests.memory=8Gi'
    )
    for spec, told in (({"resourceClass": "v100"}, True), ({"resources": {"memory": "64Gi"}}, False)):
        found = plan(seen(job(**spec), refusal=said)).status
        assert found is not None
        assert found["pending"]["reason"] == "QuotaTooSmall"
        assert ("by spec.resourceClass (v100), so that it is another class that it needs" in found["pending"]["message"]) is told


def test_a_job_of_a_class_that_needs_more_memory_is_told_to_name_a_larger_one() -> None:
    killed = Pod().ran(137, reason="OOMKilled").container(contract.PUBLISHER, terminated={"exitCode": 0})
    found = plan(of_class(killed)).status
    assert found is not None
    assert found["failure"]["message"] == "the script needed more memory than spec.resourceClass (64Gi) gives it"
    assert found["failure"]["hint"].startswith("name a larger spec.resourceClass, or let the script use less")


def test_the_record_of_a_pod_has_what_its_class_gave_and_nothing_of_one_without() -> None:
    assert isinstance(Pod().record(), PodRecord)
    assert (Pod().record().resources, "tftraining.dev/resources" in made()["metadata"]["annotations"]) == ("", False)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("cpu", "1Gi", "must be a number of CPUs"),
        ("memory", "1024", "must be a size with a unit"),
        ("memory", "999999999Ti", "expected less than 4194304Ti"),
        ("gpu_resource", "gpu", "must be an extended resource"),
        ("cpu_limit", "1500m", "cpuLimit is 1500m, expected at least cpu, which is 2 and reserved"),
        ("gpus", -1, "greater than or equal to 0"),
    ],
)
def test_a_class_that_no_pod_could_be_made_with_is_refused(field: str, value: object, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ResourceClass.model_validate({"cpu": "2", "memory": "1Gi", field: value})


def test_nodes_are_looked_at_for_the_labels_of_classes_too() -> None:
    assert ADMINS.node_labels == {"pool", "disk", "kubernetes.io/arch", "accelerator"}
