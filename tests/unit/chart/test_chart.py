"""What the chart renders: every value has its effect, nothing else is accepted, and the rights are the least that the operator needs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from localcluster import binaries
from localcluster.failure import ClusterError
from tftrainer.local import plan as local
from tftraining_operator.core.configuration import Maxima, Scheduling
from tftraining_operator.settings import Settings, SettingsError, load_settings

REPOSITORY = Path(__file__).resolve().parents[3]
CHART = REPOSITORY / "helm" / "tftraining-operator"
EXAMPLES = REPOSITORY / "examples"
NAMESPACE = "training-system"

Object = dict[str, Any]
Values = Mapping[str, Any]


def find_helm() -> str | None:
    """Return helm from PATH, or the one that was built for the local cluster."""
    with contextlib.suppress(ClusterError):
        return shutil.which("helm") or binaries.built().path("helm")
    return None


HELM = find_helm()
pytestmark = pytest.mark.skipif(HELM is None, reason="no helm on PATH, and none built: `make up` builds one")


def helm(*arguments: str, values: Values | None = None) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    command = [HELM, *arguments, str(CHART), "--namespace", NAMESPACE, "--values", "-"]
    # without a cluster: nothing of it may change what is rendered
    environment = {**os.environ, "KUBECONFIG": os.devnull}
    return subprocess.run(command, env=environment, input=json.dumps(values or {}), capture_output=True, text=True, check=False)


def render(**values: Any) -> list[Object]:
    result = helm("template", "tftraining", values=values)
    assert result.returncode == 0, result.stderr
    return [item for item in yaml.safe_load_all(result.stdout) if item]


def refusal(**values: Any) -> str:
    result = helm("template", "tftraining", values=values)
    assert result.returncode != 0
    return result.stderr


def only(objects: list[Object], kind: str, name: str) -> Object:
    found = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    assert len(found) == 1, [(item["kind"], item["metadata"]["name"]) for item in objects]
    return found[0]


def settings_of(objects: list[Object], folder: Path) -> Settings:
    file = folder / "config.yaml"
    file.write_text(only(objects, "ConfigMap", "tftraining-operator")["data"]["config.yaml"])
    return load_settings(file)


def pod_specs(objects: list[Object]) -> Iterator[Object]:
    for item in objects:
        if item["kind"] == "Pod":
            yield item["spec"]
        elif item["kind"] == "Deployment":
            yield item["spec"]["template"]["spec"]


def test_the_definition_in_the_chart_is_the_generated_one() -> None:
    generated = REPOSITORY / "crds" / "tftraining.dev_tftrainingjobs.yaml"
    assert (CHART / "files" / "crd.yaml").read_text() == generated.read_text(), "run `make generate`"


def test_the_definition_is_installed_unchanged_and_stays_when_the_release_goes() -> None:
    installed = only(render(), "CustomResourceDefinition", "tftrainingjobs.tftraining.dev")
    assert installed["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert installed["spec"] == yaml.safe_load((CHART / "files" / "crd.yaml").read_text())["spec"]


def test_the_definition_can_be_left_out() -> None:
    assert "CustomResourceDefinition" not in {item["kind"] for item in render(crds={"enabled": False})}


def test_the_operator_reads_the_configuration_as_it_is_rendered(tmp_path: Path) -> None:
    settings = settings_of(render(), tmp_path)
    assert settings == Settings.model_validate(
        {
            "leaseNamespace": NAMESPACE,
            "leaseName": "tftraining-operator",
            "defaultRuntime": "tf2",
            "runtimes": yaml.safe_load((CHART / "values.yaml").read_text())["runtimes"],
            "reportsUrl": f"http://tftraining-operator-reports.{NAMESPACE}.svc:8080/v1/reports",
        }
    )


def test_every_value_of_the_configuration_reaches_the_operator(tmp_path: Path) -> None:
    runtime = {
        "image": "registry.example.com/trainer@sha256:0",
        "imagePullPolicy": "Always",
        "imagePullSecrets": ["pull"],
        "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "labels": {"team": "a"},
        "annotations": {"mesh/inject": "false"},
        "description": "own",
    }
    values = {
        "watchNamespaces": ["a", "b"],
        "defaultRuntime": "own",
        "runtimes": {"own": runtime, "tf1": None},
        "resourceClasses": {
            "v100-x1": {
                "cpu": 8,
                "cpuLimit": "9500m",
                "memory": "64Gi",
                "workspace": "1.5Ti",
                "sharedMemory": "16Gi",
                "gpus": 0,
                "gpuResource": "nvidia.com/mig-1g.5gb",
                "nodeSelector": {"gpu": "v100"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "images": {"own": "registry.example.com/trainer:gpu"},
                "description": "one V100",
            },
            "small": {"cpu": "1", "memory": "2Gi", "resourceClaimTemplate": "one-gpu"},
        },
        "defaults": {
            "resources": {"cpu": "500m", "memory": "1Gi", "workspace": "1Ti", "sharedMemory": "1Gi"},
            "gpuResource": "amd.com/gpu",
            "storageSecretName": "s",
            "datasetsSecretName": "d",
            "pendingDeadlineSeconds": 7,
            "terminationGracePeriodSeconds": 0,
            "podRetentionSeconds": 60,
        },
        # beyond what a floating-point number is printed with digits for
        "implicitFetchBytes": 40 * 1024**4,
        "outputs": {"keepOutsideBucket": "20.5Gi"},
        "retries": {"maxMemory": "64Gi"},
        "maxima": {
            "cpu": "16",
            "memory": "256Gi",
            "workspace": "2Ti",
            "gpus": 0,
            "activeDeadlineSeconds": 31_622_400,
            "ttlSecondsAfterFinished": 0,
            "retries": 5,
        },
        "scheduling": {
            "allowedPriorityClasses": ["high", "low"],
            "allowedNodeSelectorKeys": ["topology.kubernetes.io/zone", "disk"],
            "allowedTolerationKeys": ["nvidia.com/gpu"],
        },
        "kueue": {"enabled": True},
        "packageIndex": {"url": "https://packages.example.com/simple"},
        "logFormat": "console",
        "logLevel": "debug",
    }
    settings = settings_of(render(**values, reports={"enabled": False}, metrics={"namespaces": 7}), tmp_path)
    values["metricsNamespaces"] = 7
    values["runtimes"] = {"own": runtime, "tf2": yaml.safe_load((CHART / "values.yaml").read_text())["runtimes"]["tf2"]}
    assert settings == Settings.model_validate({**values, "leaseNamespace": NAMESPACE, "leaseName": "tftraining-operator"})


def test_nothing_is_bounded_and_nothing_of_nodes_and_priority_allowed_as_installed(tmp_path: Path) -> None:
    settings = settings_of(render(), tmp_path)
    assert (settings.maxima, settings.scheduling, settings.resource_classes) == (Maxima(), Scheduling(), {})
    assert not settings.kueue.enabled


@pytest.mark.parametrize(("bound", "default"), [({"memory": "2Gi"}, "2560Mi"), ({"cpu": "900m"}, "1"), ({"workspace": "9Gi"}, "10Gi")])
def test_a_default_that_is_over_its_bound_is_refused_when_the_operator_starts(bound: Values, default: str, tmp_path: Path) -> None:
    [name] = bound
    why = f"defaults.resources.{name}: {default} is more than maxima.{name}, which allows {bound[name]}"
    with pytest.raises(SettingsError, match=why):
        settings_of(render(maxima=bound), tmp_path)


@pytest.mark.parametrize(("given", "read"), [("512Mi", "512Mi"), ("0", "0"), (0, "0"), (2**40, str(2**40))])
def test_how_much_is_kept_of_files_outside_of_the_bucket_is_a_size_or_a_number(given: str | int, read: str, tmp_path: Path) -> None:
    assert settings_of(render(outputs={"keepOutsideBucket": given}), tmp_path).outputs.keep_outside_bucket == read


def test_a_run_without_a_cluster_has_the_defaults_of_the_chart() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert {
        "defaultRuntime": values["defaultRuntime"],
        "workspace": values["defaults"]["resources"]["workspace"],
        "sharedMemory": values["defaults"]["resources"]["sharedMemory"],
        "keepOutsideBucket": values["outputs"]["keepOutsideBucket"],
        "pendingDeadlineSeconds": values["defaults"]["pendingDeadlineSeconds"],
        "terminationGracePeriodSeconds": values["defaults"]["terminationGracePeriodSeconds"],
    } == {
        "defaultRuntime": local.RUNTIME,
        "workspace": local.WORKSPACE,
        "sharedMemory": local.SHARED_MEMORY,
        "keepOutsideBucket": local.KEPT,
        "pendingDeadlineSeconds": local.PENDING_SECONDS,
        "terminationGracePeriodSeconds": local.GRACE_SECONDS,
    }


@pytest.mark.parametrize(("bound", "part"), [({"memory": "9Gi"}, "memory: 10Gi"), ({"cpu": "2"}, "cpu: 2500m"), ({"gpus": 0}, "gpus: 1")])
def test_a_class_that_is_over_a_bound_is_refused_when_the_operator_starts(bound: Values, part: str, tmp_path: Path) -> None:
    classes = {"big": {"cpu": "2500m", "memory": "10Gi", "gpus": 1}}
    [name] = bound
    why = f"resourceClasses.big.{part} is more than maxima.{name}, which allows {bound[name]}"
    with pytest.raises(SettingsError, match=why):
        settings_of(render(resourceClasses=classes, maxima=bound), tmp_path)
    assert (
        settings_of(render(resourceClasses=classes, maxima={"cpu": "2500m", "memory": "10Gi", "gpus": 1}), tmp_path)
        .resource_classes["big"]
        .gpus
    )


def test_an_image_of_a_class_for_a_runtime_outside_of_the_catalogue_is_refused_before_anything_is_installed() -> None:
    classes = {"gpu": {"cpu": "1", "memory": "1Gi", "images": {"tf3": "x"}}}
    assert 'resourceClasses.gpu.images: "tf3" is not in runtimes (tf1, tf2)' in refusal(resourceClasses=classes)


def test_a_default_runtime_outside_of_the_catalogue_is_refused_before_anything_is_installed() -> None:
    assert '"tf3" is not in runtimes (tf1, tf2)' in refusal(defaultRuntime="tf3")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"imagePullPolicy": "Always"}, "imagePullPolicy"),
        ({"image": {"tag": "1"}}, "tag"),
        ({"runtimes": {"tf2": {"img": "x"}}}, "img"),
        ({"runtimes": {"own": {"description": "no image"}}}, "image"),
        ({"defaults": {"memory": "1Gi"}}, "memory"),
        ({"defaults": {"resources": {"memory": "a lot"}}}, "memory"),
        ({"outputs": {"keepOutsideBucket": "a lot"}}, "keepOutsideBucket"),
        ({"retries": {"maxMemory": "all"}}, "maxMemory"),
        ({"maxima": {"gpus": -1}}, "gpus"),
        ({"maxima": {"gpus": "many"}}, "gpus"),
        ({"maxima": {"memory": "all"}}, "memory"),
        ({"maxima": {"activeDeadlineSeconds": 0}}, "activeDeadlineSeconds"),
        ({"maxima": {"gpu": 1}}, "gpu"),
        ({"outputs": {"keepOutsideBucket": "500m"}}, "keepOutsideBucket"),
        ({"outputs": {"keepOutsideBucket": -1}}, "keepOutsideBucket"),
        ({"outputs": {"keepBeside": "1Gi"}}, "keepBeside"),
        ({"watchNamespaces": ["*"]}, "watchNamespaces"),
        ({"logLevel": "trace"}, "logLevel"),
        ({"dev": {"enable": True}}, "enable"),
        ({"metrics": {"service": {"port": 1}}}, "port"),
        ({"rbac": {"create": True}}, "create"),
        ({"nodes": {"watch": True}}, "watch"),
        ({"resourceClasses": {"a": {"cpu": "1"}}}, "memory"),
        ({"scheduling": {"allowedNodeSelectorKeys": ["*"]}}, "allowedNodeSelectorKeys"),
        ({"scheduling": {"allowedTolerationKeys": [""]}}, "allowedTolerationKeys"),
        ({"scheduling": {"allowedPriorityClasses": "high"}}, "allowedPriorityClasses"),
        ({"scheduling": {"priorityClasses": []}}, "priorityClasses"),
        ({"kueue": {"enabled": "yes"}}, "enabled"),
        ({"resourceClasses": {"a": {"cpu": "1", "memory": "2Gi", "gpu": 1}}}, "gpu"),
        ({"resourceClasses": {"a": {"cpu": "1Gi", "memory": "2Gi"}}}, "cpu"),
        ({"resourceClasses": {"a": {"cpu": "1", "memory": "2Gi", "gpuResource": "gpu"}}}, "gpuResource"),
        ({"resourceClasses": {"A_1": {"cpu": "1", "memory": "2Gi"}}}, "A_1"),
    ],
)
def test_a_value_that_nothing_reads_or_that_is_wrong_is_refused_by_name(values: Values, named: str) -> None:
    assert named in refusal(**values)


def test_the_schema_closes_every_object_that_is_not_a_map_of_strings() -> None:
    def visit(schema: Object, path: str) -> Iterator[str]:
        if schema.get("type") == "object" and "additionalProperties" not in schema:
            yield path
        for key in ("properties", "definitions"):
            for name, child in schema.get(key, {}).items():
                yield from visit(child, f"{path}/{name}")
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                yield from visit(schema[key], f"{path}/{key}")

    assert list(visit(json.loads((CHART / "values.schema.json").read_text()), "")) == []


def test_the_reference_names_every_value_with_its_default() -> None:
    def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict) and value and not path.startswith("runtimes"):
            for name, child in value.items():
                yield from leaves(child, f"{path}.{name}".lstrip("."))
        else:
            yield path, value

    text = (REPOSITORY / "docs" / "reference" / "chart-values.md").read_text()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path, default in leaves({name: value for name, value in values.items() if name != "runtimes"}):
        shown = default if default and isinstance(default, str) else json.dumps(default)
        assert f"| `{path}` | `{shown}` |" in text, f"docs/reference/chart-values.md lacks `{path}` with default `{shown}`"


def test_the_rights_are_these_and_no_more() -> None:
    objects = render()
    assert only(objects, "ClusterRole", "tftraining-operator")["rules"] == [
        {"apiGroups": ["tftraining.dev"], "resources": ["tftrainingjobs"], "verbs": ["get", "list", "watch", "delete"]},
        {"apiGroups": ["tftraining.dev"], "resources": ["tftrainingjobs/status"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "delete"]},
        {"apiGroups": [""], "resources": ["configmaps", "services"], "verbs": ["create"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    ]
    assert only(objects, "Role", "tftraining-operator-lease")["rules"] == [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["tftraining-operator"],
            "verbs": ["get", "update"],
        },
    ]


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["a", "b"]}, {"dev": {"enabled": True}}])
def test_no_role_reaches_secrets_or_has_a_wildcard(values: Values) -> None:
    rules = [rule for item in render(**values) if item["kind"] in {"Role", "ClusterRole"} for rule in item["rules"]]
    words = [word for rule in rules for part in rule.values() for word in part]
    assert rules
    assert "*" not in words
    assert "secrets" not in words


@pytest.mark.parametrize("watched", [[], ["a", "b"]], ids=["all namespaces", "some namespaces"])
def test_the_roles_of_kubernetes_get_the_rights_on_jobs_and_nobody_that_of_writing_a_status(watched: list[str]) -> None:
    found = {
        item["metadata"]["name"].removeprefix(f"tftraining-operator-{NAMESPACE}-"): item
        for item in render(watchNamespaces=watched)
        if any("aggregate-to-" in label for label in item["metadata"].get("labels", {}))
    }
    joined = {
        role: {label.rpartition("aggregate-to-")[2] for label in item["metadata"]["labels"] if "/aggregate-to-" in label}
        for role, item in found.items()
    }
    assert joined == {"view": {"view", "edit", "admin"}, "edit": {"edit", "admin"}}
    assert found["view"]["rules"] == [
        {"apiGroups": ["tftraining.dev"], "resources": ["tftrainingjobs"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["tftraining.dev"], "resources": ["tftrainingjobs/status"], "verbs": ["get"]},
    ]
    verbs = ["create", "update", "patch", "delete", "deletecollection"]
    assert found["edit"]["rules"] == [{"apiGroups": ["tftraining.dev"], "resources": ["tftrainingjobs"], "verbs": verbs}]


def test_the_roles_of_kubernetes_can_be_left_alone() -> None:
    assert "aggregate-to" not in yaml.safe_dump_all(render(rbac={"aggregateClusterRoles": False}))


def test_with_namespaces_given_nothing_is_cluster_wide_but_the_definition() -> None:
    off: dict[str, Any] = {"reports": {"enabled": False}, "nodes": {"read": False}, "rbac": {"aggregateClusterRoles": False}}
    objects = render(watchNamespaces=["a", "b"], dev={"enabled": True, "namespaces": ["a"]}, **off)
    assert {item["kind"] for item in objects if "namespace" not in item["metadata"]} == {"CustomResourceDefinition"}
    for kind in ("Role", "RoleBinding"):
        found = [
            item["metadata"]["namespace"] for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, "tftraining-operator")
        ]
        assert found == ["a", "b"]


@pytest.mark.parametrize("watched", [[], ["a", "b"]], ids=["all namespaces", "some namespaces"])
def test_pods_find_the_operator_by_the_service_that_its_configuration_names_and_it_may_review_their_tokens(
    watched: list[str], tmp_path: Path
) -> None:
    objects = render(watchNamespaces=watched)
    service = only(objects, "Service", "tftraining-operator-reports")
    address, _, route = settings_of(objects, tmp_path).reports_url.removeprefix("http://").partition("/")
    assert address == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc:{service['spec']['ports'][0]['port']}"
    assert route == "v1/reports"
    selected = only(objects, "Deployment", "tftraining-operator")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= selected.items()
    role = only(objects, "ClusterRole", f"tftraining-operator-{NAMESPACE}-reports")
    assert role["rules"] == [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]


def test_without_reports_there_is_no_service_for_them_and_pods_get_no_token(tmp_path: Path) -> None:
    objects = render(reports={"enabled": False})
    assert settings_of(objects, tmp_path).reports_url == ""
    assert not [item for item in objects if item["metadata"]["name"].endswith("-reports")]


@pytest.mark.parametrize("watched", [[], ["a", "b"]], ids=["all namespaces", "some namespaces"])
def test_nodes_can_be_listed_unless_an_admin_says_no(watched: list[str]) -> None:
    name = f"tftraining-operator-{NAMESPACE}-nodes"
    role = only(render(watchNamespaces=watched), "ClusterRole", name)
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    assert name not in {item["metadata"]["name"] for item in render(watchNamespaces=watched, nodes={"read": False})}


def test_the_test_job_runs_where_the_operator_looks() -> None:
    for watched, expected in (([], NAMESPACE), (["a", NAMESPACE], NAMESPACE), (["a", "b"], "a")):
        objects = render(watchNamespaces=watched)
        assert only(objects, "Pod", "tftraining-operator-test")["spec"]["containers"][0]["args"][1] == expected
        assert only(objects, "Role", "tftraining-operator-test")["metadata"]["namespace"] == expected


def test_every_pod_passes_pod_security_restricted() -> None:
    for spec in pod_specs(render(dev={"enabled": True})):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert {next(iter(volume.keys() - {"name"})) for volume in spec.get("volumes", [])} <= {"configMap", "emptyDir"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]


def test_another_configuration_makes_another_pod() -> None:
    def checksum(**values: Any) -> str:
        template = only(render(**values), "Deployment", "tftraining-operator")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum() == checksum()
    assert checksum() != checksum(logLevel="debug")


def test_metrics_get_a_service_only_on_demand() -> None:
    name = "tftraining-operator-metrics"
    assert name not in {item["metadata"]["name"] for item in render()}
    objects = render(metrics={"service": {"enabled": True, "annotations": {"prometheus.io/scrape": "true"}}})
    service = only(objects, "Service", name)
    labels = only(objects, "Deployment", "tftraining-operator")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["metadata"]["annotations"] == {"prometheus.io/scrape": "true"}


def test_where_the_operators_pod_runs_can_be_chosen() -> None:
    toleration = {"key": "infra", "operator": "Exists"}
    spec = only(
        render(
            image={"reference": "r.example.com/o:1", "pullPolicy": "Always", "pullSecrets": ["pull"]},
            nodeSelector={"infra": "yes"},
            tolerations=[toleration],
            priorityClassName="system-cluster-critical",
            resources={"limits": {"memory": "1Gi"}},
        ),
        "Deployment",
        "tftraining-operator",
    )["spec"]["template"]["spec"]
    assert (spec["nodeSelector"], spec["tolerations"], spec["imagePullSecrets"]) == ({"infra": "yes"}, [toleration], [{"name": "pull"}])
    assert spec["priorityClassName"] == "system-cluster-critical"
    assert "priorityClassName" not in only(render(), "Deployment", "tftraining-operator")["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert (container["image"], container["imagePullPolicy"]) == ("r.example.com/o:1", "Always")
    assert container["resources"]["limits"] == {"memory": "1Gi"}


def test_one_process_is_no_business_of_a_drain_and_of_two_it_takes_one_at_a_time() -> None:
    assert [item for item in render() if item["kind"] == "PodDisruptionBudget"] == []
    objects = render(replicas=2)
    budget, deployment = (only(objects, kind, "tftraining-operator") for kind in ("PodDisruptionBudget", "Deployment"))
    assert deployment["spec"]["replicas"] == 2
    assert (budget["spec"]["maxUnavailable"], budget["spec"]["selector"]) == (1, deployment["spec"]["selector"])


def test_two_processes_go_to_two_nodes_where_there_are_two_and_those_of_the_last_version_do_not_count() -> None:
    assert "topologySpreadConstraints" not in only(render(), "Deployment", "tftraining-operator")["spec"]["template"]["spec"]
    deployment = only(render(replicas=2), "Deployment", "tftraining-operator")
    (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert (spread["labelSelector"], spread["matchLabelKeys"]) == (deployment["spec"]["selector"], ["pod-template-hash"])


@pytest.mark.parametrize("replicas", [1, 2])
def test_an_upgrade_has_the_next_process_ready_before_the_last_one_ends(replicas: int) -> None:
    strategy = only(render(replicas=replicas), "Deployment", "tftraining-operator")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_the_development_store_is_off_unless_asked_for() -> None:
    assert not [item for item in render() if item["kind"] in {"Secret", "NetworkPolicy"}]


def test_the_development_store_hands_its_secrets_to_the_namespaces_named() -> None:
    objects = render(dev={"enabled": True, "namespaces": ["a", NAMESPACE]})
    secrets = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item["stringData"] for item in objects if item["kind"] == "Secret"
    }
    names = ("tftraining-storage", "tftraining-datasets")
    assert set(secrets) == {(namespace, name) for namespace in (NAMESPACE, "a") for name in names}
    assert len({(data["accessKey"], data["secretKey"]) for data in secrets.values()}) == 1
    assert {data["endpoint"] for data in secrets.values()} == {f"http://tftraining-dev-s3.{NAMESPACE}.svc:8333"}
    assert [secrets["a", name]["bucket"] for name in names] == ["tftraining", "datasets"]


def data_of_the_development_store(**values: Any) -> Object:
    spec = only(render(dev={"enabled": True, **values}), "Deployment", "tftraining-dev-s3")["spec"]["template"]["spec"]
    [volume] = [each for each in spec["volumes"] if each["name"] == "data"]
    return {key: value for key, value in volume.items() if key != "name"}


def test_the_development_store_keeps_its_data_in_its_pod_or_in_a_claim() -> None:
    assert data_of_the_development_store(size="3Gi") == {"emptyDir": {"sizeLimit": "3Gi"}}
    assert data_of_the_development_store(claim="kept") == {"persistentVolumeClaim": {"claimName": "kept"}}


def test_the_development_store_needs_two_secrets() -> None:
    assert "datasetsSecretName" in refusal(dev={"enabled": True}, defaults={"datasetsSecretName": "tftraining-storage"})


@pytest.mark.parametrize(("name", "rows"), [("iris_training.csv", 120), ("iris_test.csv", 30)])
def test_the_data_set_has_a_header_and_rows_of_four_measurements_and_a_class(name: str, rows: int) -> None:
    text = only(render(dev={"enabled": True}), "ConfigMap", "tftraining-dev-s3")["data"][name]
    header, *lines = text.splitlines()
    assert header == f"{rows},4,setosa,versicolor,virginica"
    assert len(lines) == rows
    for line in lines:
        *measurements, species = line.split(",")
        assert len(measurements) == 4
        assert all(0 < float(value) < 10 for value in measurements)
        assert species in {"0", "1", "2"}


@pytest.mark.parametrize(
    ("values", "namespace"),
    [
        ({"dev": {"enabled": True}}, "default"),
        ({"dev": {"enabled": True, "namespaces": []}}, NAMESPACE),
        ({"dev": {"enabled": True, "claim": "kept"}}, "default"),
        ({"dev": {"enabled": True}, "watchNamespaces": ["a"]}, "a"),
        ({}, NAMESPACE),
    ],
)
def test_the_notes_hold_a_job_for_a_namespace_that_can_run_it(values: Values, namespace: str) -> None:
    result = helm("install", "tftraining", "--dry-run=client", values=values)
    assert result.returncode == 0, result.stderr
    notes = result.stdout.partition("NOTES:")[2]
    job = yaml.safe_load(notes.partition("<<'END'\n")[2].partition("\nEND\n")[0])
    assert job["kind"] == "TFTrainingJob"
    assert job["metadata"]["namespace"] == namespace
    compile(job["spec"]["script"]["inline"], "hello.py", "exec")
    assert ("create secret generic tftraining-storage" in notes) is (not values.get("dev"))
    assert ("loses all data" in notes) is bool(values.get("dev") and not values["dev"].get("claim"))


@pytest.mark.parametrize("file", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_an_example_names_a_runtime_of_the_catalogue_and_its_inline_script_compiles(file: str) -> None:
    spec = yaml.safe_load((EXAMPLES / file).read_text())["spec"]
    assert spec["runtime"] in yaml.safe_load((CHART / "values.yaml").read_text())["runtimes"]
    compile(spec["script"].get("inline", ""), spec["script"].get("name", ""), "exec")
