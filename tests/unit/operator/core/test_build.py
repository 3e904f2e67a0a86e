"""The pod of a job: its fixed shape, and what of a spec reaches it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from tftrainer.messages import contract
from tftraining_operator.api.spec import Spec
from tftraining_operator.core.build import THREADS, BuildError, check, configmap, pod
from tftraining_operator.core.case import Case
from tftraining_operator.core.configuration import Configuration, Defaults, Outputs, PackageIndex, Resources, Runtime, Toleration
from tftraining_operator.core.effective import effective
from tftraining_operator.core.records import Raw

from .given import CONFIGURATION, UID, job, seen

GOLDEN = Path(__file__).parent / "golden"
EVERYTHING: dict[str, Any] = {
    "runtime": "tf1",
    "script": {"name": "train.py", "inline": "print(1)\n"},
    "dependencies": {
        "archive": {"uri": "s3://bucket/iris.zip", "sha256": "0" * 64},
        "files": [{"uri": "${bucket}/conf/"}],
        "requirements": ["nltk==3.9.1"],
    },
    "args": ["--data", "${datasets}/a.csv", "--job=${job}", "$(HOME)"],
    "env": [{"name": "DATA", "value": "${inputs.mnist}/x"}, {"name": "PRICE", "value": "$(HOME) $$ $${x}"}],
    "inputs": [{"name": "mnist", "uri": "${bucket}/mnist/"}],
    "outputs": [{"path": "${bucket}/tf_model"}, {"path": "${cos}/report.csv", "onConflict": "Replace"}],
    "model": {"path": "${bucket}/tf_model", "required": False},
    "checkpoints": {"path": "${bucket}/checkpoints", "intervalSeconds": 30},
    "storage": {"secretName": "team-storage"},
    "resources": {"cpu": 2, "memory": "4Gi", "gpus": 1, "sharedMemory": "1Gi", "workspace": "20Gi"},
    "activeDeadlineSeconds": 3600,
    "terminationGracePeriodSeconds": 60,
}
ADMINS = Configuration(
    default_runtime="tf1",
    runtimes={
        "tf1": Runtime(
            image="registry.test/trainer:tf1",
            image_pull_secrets=("pull",),
            node_selector={"pool": "gpu"},
            tolerations=(Toleration(key="gpu", operator="Exists", effect="NoSchedule"),),
            labels={"team": "ml", "tftraining.dev/job-uid": "not-this-one"},
            annotations={"sidecar.istio.io/inject": "false"},
        )
    },
    outputs=Outputs(keep_outside_bucket="512Mi"),
    package_index=PackageIndex(url="https://packages.example.com/simple"),
    reports_url="http://operator.test.svc:8080/v1/reports",
)


NAMED: dict[str, Any] = {
    "script": {"uri": "${bucket}/code/${job}/train-${attempt}.py"},
    "inputs": [{"name": "all", "uri": "s3://bucket/"}],
    "outputs": [{"path": "${bucket}/${job}/$${x}"}],
    "model": {"path": "${bucket}/${job}/${attempt}"},
    "checkpoints": {"path": "${bucket}/${job}-checkpoints"},
    "dependencies": {"files": [{"uri": "${bucket}/conf/", "into": "./lib"}]},
    "env": [{"name": "A", "value": "s3://bucket/a"}, {"name": "B", "value": "text s3://bucket/b"}],
}


def built(configuration: Configuration = CONFIGURATION, attempt: int = 0, make: Callable[..., Raw] = pod, **spec: Any) -> dict[str, Any]:
    record = job(**{"retry": {}} | spec)
    case = Case(seen(record), configuration, 0.0)
    return dict(
        make(
            record,
            effective(case.spec, configuration, case.runtime_name, configuration.runtimes[case.runtime_name]),
            configuration,
            attempt,
        )
    )


def container(made: dict[str, Any], name: str) -> dict[str, Any]:
    containers = [*made["spec"].get("initContainers", ()), *made["spec"]["containers"]]
    return next(dict(entry) for entry in containers if entry["name"] == name)


def environment(made: dict[str, Any], name: str) -> dict[str, str]:
    """Return the environment as a process sees it: the kubelet takes two dollars for one."""
    return {entry["name"]: entry.get("value", "(from a Secret)").replace("$$", "$") for entry in container(made, name)["env"]}


def plan(made: dict[str, Any], name: str = contract.FETCH) -> contract.Plan:
    return contract.decode_plan(environment(made, name)[contract.PLAN_VARIABLE])


@pytest.mark.parametrize(
    ("name", "make", "configuration", "spec"),
    [
        ("smallest", pod, CONFIGURATION, {}),
        ("everything", pod, ADMINS, EVERYTHING),
        ("check-of-smallest", check, CONFIGURATION, {}),
        ("check-of-everything", check, ADMINS, EVERYTHING),
    ],
    ids=["smallest", "everything", "check of smallest", "check of everything"],
)
def test_the_pod_is_the_golden_one(name: str, make: Callable[..., Raw], configuration: Configuration, spec: dict[str, Any]) -> None:
    path = GOLDEN / f"{name}.yaml"
    text = yaml.safe_dump(built(configuration, make=make, **spec), sort_keys=True, width=140)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "if this is meant, run with UPDATE_GOLDEN=1 and review the difference"


@pytest.mark.parametrize("spec", [{}, EVERYTHING], ids=["smallest", "everything"])
def test_every_container_keeps_the_restricted_standard(spec: dict[str, Any]) -> None:
    made = built(**spec)
    assert made["spec"]["securityContext"]["runAsNonRoot"] is True
    assert made["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert made["spec"]["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName", "nodeName", "hostname"} & set(made["spec"])
    assert {key for volume in made["spec"]["volumes"] for key in volume} <= {"name", "emptyDir", "configMap", "projected"}
    for name in contract.CONTAINERS:
        rights = container(made, name)["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["capabilities"] == {"drop": ["ALL"]}


def test_the_trainer_has_no_credentials_and_cannot_write_what_fetch_found() -> None:
    made = built(**EVERYTHING)
    assert not [entry for entry in container(made, "trainer")["env"] if "valueFrom" in entry]
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container(made, "trainer")["volumeMounts"]}
    assert mounts == {
        "/workspace": False,
        "/workspace/datasets": True,
        "/workspace/inputs": True,
        "/run/tftraining": True,
        "/tmp": False,
        "/dev/shm": False,
    }


def test_the_containers_do_not_share_their_temporary_folders() -> None:
    made = built()
    folders = [
        mount["name"] for name in contract.CONTAINERS for mount in container(made, name)["volumeMounts"] if mount["mountPath"] == "/tmp"
    ]
    assert len(set(folders)) == 3


def test_the_dataset_librarys_credentials_are_only_there_when_something_names_it() -> None:
    def secrets(made: dict[str, Any], name: str) -> set[str]:
        return {entry["valueFrom"]["secretKeyRef"]["name"] for entry in container(made, name)["env"] if "valueFrom" in entry}

    assert secrets(built(), "fetch") == {"tftraining-storage"}
    for text in ("${datasets}/a", "--x=${ai_dataset_lib}/a"):
        assert secrets(built(args=[text]), "fetch") == {"tftraining-storage", "tftraining-datasets"}
        assert secrets(built(args=[text]), "publisher") == {"tftraining-storage"}
    assert secrets(built(inputs=[{"name": "a", "uri": "${datasets}/a"}]), "fetch") == {"tftraining-storage", "tftraining-datasets"}
    assert secrets(built(storage={"secretName": "mine"}), "publisher") == {"mine"}


def test_keys_that_a_secret_may_leave_out_are_optional() -> None:
    references = {
        entry["valueFrom"]["secretKeyRef"]["key"]: entry["valueFrom"]["secretKeyRef"].get("optional", False)
        for entry in container(built(), "publisher")["env"]
        if "valueFrom" in entry
    }
    assert references == {key: key in contract.OPTIONAL_CREDENTIAL_KEYS for key in contract.CREDENTIAL_KEYS}


def test_the_plan_carries_the_spec_verbatim_and_is_the_same_for_all_three() -> None:
    made = built(**EVERYTHING)
    assert plan(made, "fetch") == plan(made, "trainer") == plan(made, "publisher")
    assert plan(made).args == ("--data", "${datasets}/a.csv", "--job=${job}", "$(HOME)")
    assert (plan(made).grace_seconds, plan(made).active_deadline_seconds, plan(made).workspace_bytes) == (60, 3600, 20 * 1024**3)
    assert plan(made).shared_memory_bytes == 1024**3
    assert plan(made).script == contract.Script(name="train.py", sha256=sha256(b"print(1)\n").hexdigest())
    assert made["spec"]["terminationGracePeriodSeconds"] == 90


@pytest.mark.parametrize("word", contract.OnConflict)
def test_what_is_done_with_an_output_in_conflict_reaches_every_container(word: contract.OnConflict) -> None:
    made = built(outputs=[{"path": "${bucket}/a", "onConflict": word.value}, {"path": "${bucket}/b"}])
    wanted = (contract.Output(path="${bucket}/a", on_conflict=word), contract.Output(path="${bucket}/b"))
    assert [plan(made, name).outputs for name in contract.CONTAINERS] == [wanted] * 3


@pytest.mark.parametrize(
    ("spec", "seconds", "done"),
    [
        ({}, None, contract.OnInactivity.FAIL),
        ({"inactivitySeconds": 600}, 600, contract.OnInactivity.FAIL),
        ({"inactivitySeconds": 600, "onInactivity": "Report"}, 600, contract.OnInactivity.REPORT),
    ],
)
def test_what_is_done_with_a_script_that_hangs_reaches_every_container(
    spec: dict[str, Any], seconds: int | None, done: contract.OnInactivity
) -> None:
    made = built(**spec)
    for name in contract.CONTAINERS:
        assert (plan(made, name).inactivity_seconds, plan(made, name).on_inactivity) == (seconds, done)


@pytest.mark.parametrize(("given", "kept"), [("0", 0), ("512Mi", 512 * 1024**2), ("1Gi", 1024**3), ("1048576", 1024**2)])
def test_how_much_is_kept_of_files_outside_of_the_bucket_reaches_every_container(given: str, kept: int) -> None:
    made = built(CONFIGURATION.model_copy(update={"outputs": Outputs(keep_outside_bucket=given)}))
    assert [plan(made, name).kept_bytes for name in contract.CONTAINERS] == [kept] * 3


def test_a_script_of_a_bucket_keeps_its_own_name() -> None:
    assert plan(built(script={"uri": "s3://bucket/code/premade.py"})).script == contract.Script(
        name="premade.py", uri="s3://bucket/code/premade.py"
    )


def test_the_users_variables_are_resolved_and_never_expanded_by_the_kubelet() -> None:
    seen_by_script = environment(built(**EVERYTHING), "trainer")
    assert seen_by_script["DATA"] == "/workspace/inputs/mnist/x"
    # As written, but for the literal placeholder; in the pod every dollar is doubled, so that the kubelet leaves it alone.
    written = next(entry["value"] for entry in container(built(**EVERYTHING), "trainer")["env"] if entry["name"] == "PRICE")
    assert written == "$$(HOME) $$$$ $${x}"


def test_the_users_variables_reach_nothing_but_the_script() -> None:
    made = built(env=[{"name": "MPLCONFIGDIR", "value": "/tmp/mine"}])
    assert environment(made, "trainer")["MPLCONFIGDIR"] == "/tmp/mine"
    assert [entry["name"] for entry in container(made, "trainer")["env"]].count("MPLCONFIGDIR") == 1
    assert environment(made, "fetch")["MPLCONFIGDIR"] == "/tmp/matplotlib"


def test_a_variable_from_a_secret_is_left_to_the_kubelet_and_reaches_the_script_alone() -> None:
    source = {"secretKeyRef": {"name": "wandb", "key": "apiKey"}}
    optional = {"secretKeyRef": {"name": "hub", "key": "token", "optional": True}}
    made = built(env=[{"name": "WANDB_API_KEY", "valueFrom": source}, {"name": "HF_TOKEN", "valueFrom": optional}])
    assert container(made, "trainer")["env"][-2:] == [
        {"name": "WANDB_API_KEY", "valueFrom": source},
        {"name": "HF_TOKEN", "valueFrom": optional},
    ]
    for other in ("fetch", "publisher"):
        assert not {"WANDB_API_KEY", "HF_TOKEN"} & {entry["name"] for entry in container(made, other)["env"]}
    assert plan(made, "trainer").secret_variables == ("WANDB_API_KEY", "HF_TOKEN")


def test_memory_and_gpus_are_limits_and_idle_cpus_may_be_used() -> None:
    assert container(built(**EVERYTHING), "trainer")["resources"] == {
        "requests": {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"},
        "limits": {"memory": "4Gi", "nvidia.com/gpu": "1"},
    }


LIMITED = CONFIGURATION.model_copy(update={"defaults": Defaults(resources=Resources(cpu_limit="2"))})


@pytest.mark.parametrize(
    ("configuration", "resources", "reserved", "limit", "threads"),
    [
        (CONFIGURATION, {"cpu": "500m", "cpuLimit": 2}, "500m", "2", "2"),
        (CONFIGURATION, {"cpuLimit": "1500m"}, "1", "1500m", "2"),
        (CONFIGURATION, {"cpuLimit": "300m"}, "300m", "300m", "1"),
        (LIMITED, {}, "1", "2", "2"),
        (LIMITED, {"cpu": 4}, "4", "4", "4"),
        (LIMITED, {"cpu": 1, "cpuLimit": 8}, "1", "8", "8"),
    ],
)
def test_with_a_cpu_limit_every_container_has_one_and_the_script_no_more_threads_than_that(
    configuration: Configuration, resources: dict[str, Any], reserved: str, limit: str, threads: str
) -> None:
    made = built(configuration, resources=resources)
    trainer = container(made, "trainer")["resources"]
    assert (trainer["requests"]["cpu"], trainer["limits"]["cpu"]) == (reserved, limit)
    assert [container(made, name)["resources"]["limits"]["cpu"] for name in ("fetch", "publisher")] == ["1", "1"]
    assert {environment(made, "trainer")[name] for name in THREADS} == {threads}
    assert not set(THREADS) & set(environment(made, "publisher"))


def test_without_a_cpu_limit_no_container_has_one_and_idle_cpus_are_used() -> None:
    made = built()
    assert all("cpu" not in container(made, name)["resources"]["limits"] for name in ("fetch", "trainer", "publisher"))
    assert not set(THREADS) & set(environment(made, "trainer"))


def test_a_number_of_threads_that_the_job_sets_is_left_as_it_is() -> None:
    made = built(resources={"cpuLimit": 2}, env=[{"name": "OMP_NUM_THREADS", "value": "7"}])
    assert environment(made, "trainer")["OMP_NUM_THREADS"] == "7"
    assert [entry["name"] for entry in container(made, "trainer")["env"]].count("OMP_NUM_THREADS") == 1


def test_a_container_without_gpus_sees_none_of_a_node() -> None:
    assert environment(built(), "trainer")["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert "NVIDIA_VISIBLE_DEVICES" not in environment(built(resources={"gpus": 1}), "trainer")
    assert environment(built(resources={"gpus": 1}), "publisher")["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_what_an_admin_adds_to_a_runtime_is_in_the_pod_but_replaces_nothing_of_ours() -> None:
    made = built(ADMINS)
    assert made["spec"]["nodeSelector"] == {"pool": "gpu"}
    assert made["spec"]["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert made["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert made["metadata"]["labels"]["team"] == "ml"
    assert made["metadata"]["labels"]["tftraining.dev/job-uid"] == UID
    assert made["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"


def test_pod_and_configmap_belong_to_the_job_and_to_the_attempt() -> None:
    record = job()
    script = configmap(record, Case(seen(record), CONFIGURATION, 0.0).spec, 1)
    made = built(attempt=1)
    assert script is not None
    assert script["metadata"]["name"].startswith("iris-chief-0-r1-script-")
    assert record.inline is not None
    assert script["data"] == {"train.py": record.inline.sha256}, "who creates it puts the text in"
    assert {"name": "inline", "configMap": {"name": script["metadata"]["name"]}} in made["spec"]["volumes"]
    for owned in (script, made):
        assert [(owner["uid"], owner["controller"]) for owner in owned["metadata"]["ownerReferences"]] == [(UID, True)]


def test_an_inline_script_at_its_limit_grows_neither_pod_nor_plan() -> None:
    assert len(msgspec.json.encode(built(script={"name": "a.py", "inline": "x" * 262_144}))) < 16_000


@pytest.mark.parametrize(
    "spec", [{"args": ["${inputs.a}"]}, {"env": [{"name": "A", "value": "${inputs.a}"}]}], ids=["argument", "environment"]
)
def test_an_input_that_is_not_declared_is_refused_with_its_place(spec: dict[str, Any]) -> None:
    with pytest.raises(BuildError, match=r"spec\.(args\[0\]|env\[A\]): .*\$\{inputs\.a\}"):
        built(**spec)


@pytest.mark.parametrize(("memory", "limit"), [("512Mi", "1Gi"), ("1024Mi", "1Gi"), ("3Gi", "3Gi")])
def test_a_model_is_loaded_with_the_memory_of_the_script_and_room_for_tensorflow(memory: str, limit: str) -> None:
    made = built(model={"path": "${bucket}/m"}, resources={"memory": memory})
    assert container(made, contract.PUBLISHER)["resources"]["limits"] == {"memory": limit}
    assert container(made, contract.FETCH)["resources"]["limits"] == {"memory": "512Mi"}
    assert plan(made).model == contract.WantedModel(path="${bucket}/m", required=True)


def test_the_record_of_a_job_is_a_spec_with_its_defaults_filled_in_and_without_the_inline_script() -> None:
    variables = environment(built(**EVERYTHING), contract.PUBLISHER)
    record = json.loads(variables[contract.SPEC_VARIABLE])
    assert record["script"] == {"name": "train.py"}
    assert record["resources"] == {
        "cpu": "2",
        "memory": "4Gi",
        "workspace": "20Gi",
        "sharedMemory": "1Gi",
        "gpus": 1,
        "gpuResource": "nvidia.com/gpu",
    }
    assert record["args"] == EVERYTHING["args"]
    assert record["checkpoints"] == EVERYTHING["checkpoints"]
    again = Spec.model_validate({**record, "script": EVERYTHING["script"]})
    assert again.model_dump(exclude={"resources"}) == Spec.model_validate(EVERYTHING).model_dump(exclude={"resources"})


def test_name_and_attempt_are_put_into_the_uris_of_the_plan() -> None:
    found = plan(built(attempt=3, **NAMED))
    assert (found.script.uri, found.script.name) == ("${bucket}/code/iris/train-3.py", "train-3.py")
    assert [each.path for each in found.outputs] == ["${bucket}/iris/${x}"]
    assert found.model is not None
    assert found.checkpoints is not None
    assert (found.model.path, found.checkpoints.path) == ("${bucket}/iris/3", "${bucket}/iris-checkpoints")
    assert (found.files[0].into, found.inputs[0].uri) == ("./lib", "s3://bucket/")
    assert found.addresses == (contract.Variable(name="A", value="s3://bucket/a"),)


def test_a_key_that_is_too_long_with_the_jobs_name_is_told_when_the_pod_is_made() -> None:
    with pytest.raises(BuildError, match=r"spec\.model\.path: key"):
        built(name="j" * 253, model={"path": "${bucket}/${job}-${job}"})


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ({"path": "./src/train.py"}, contract.Script(name="./src/train.py", path="./src/train.py")),
        ({"module": "package.train"}, contract.Script(module="package.train")),
    ],
)
def test_a_script_that_the_dependencies_bring_needs_no_configmap(script: dict[str, str], expected: contract.Script) -> None:
    made = built(script=script, dependencies={"archive": {"uri": "${bucket}/p.zip"}})
    assert plan(made).script == expected
    assert "inline" not in [volume["name"] for volume in made["spec"]["volumes"]]


class TestThePodOfACheck:
    """It is the job's `fetch` and nothing else: what it may and has is the same, what it takes of a cluster is little."""

    QUEUED = Configuration(
        default_runtime="tf2",
        runtimes={
            "tf2": Runtime(
                image="i",
                node_selector={"pool": "gpu", "kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux"},
                labels={"kueue.x-k8s.io/queue-name": "gpus", "team": "ml"},
                annotations={"kueue.x-k8s.io/pod-group-total-count": "1", "sidecar.istio.io/inject": "false"},
            )
        },
    )

    def test_has_the_very_container_of_the_run_told_that_it_only_checks(self) -> None:
        run, made = (container(built(ADMINS, make=make, **EVERYTHING), contract.FETCH) for make in (pod, check))
        assert made | {"env": [], "command": []} == run | {"env": [], "command": []}
        assert made["command"] == [*run["command"], "--contract=4"]
        other = [(one, another) for one, another in zip(run["env"], made["env"], strict=True) if one != another]
        assert [one["name"] for one, _ in other] == [contract.PLAN_VARIABLE]
        plans = [plan(built(ADMINS, make=make, **EVERYTHING)) for make in (pod, check)]
        assert plans[1] == msgspec.structs.replace(plans[0], check_only=True)

    def test_takes_no_gpu_and_no_node_that_is_kept_for_them(self) -> None:
        made = built(ADMINS, make=check, **EVERYTHING)
        assert "nvidia.com/gpu" not in json.dumps(made["spec"])
        assert not {"tolerations", "nodeSelector", "initContainers"} & made["spec"].keys()
        assert made["spec"]["imagePullSecrets"] == [{"name": "pull"}]

    def test_runs_where_its_image_does_and_in_no_queue(self) -> None:
        made = built(self.QUEUED, make=check)
        assert made["spec"]["nodeSelector"] == {"kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux"}
        assert "kueue" not in json.dumps(made)
        assert made["metadata"]["labels"]["team"] == "ml"
        assert made["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"

    def test_mounts_the_script_of_the_attempt_that_waits(self) -> None:
        made = built(make=check, attempt=2)
        [volume] = [each for each in made["spec"]["volumes"] if each["name"] == "inline"]
        assert (
            volume["configMap"]["name"] == dict(configmap(job(), Case(seen(job()), CONFIGURATION, 0.0).spec, 2) or {})["metadata"]["name"]
        )
        assert plan(made).attempt == 2

    def test_is_selected_by_nobody_who_wants_the_pods_of_a_run(self) -> None:
        labels = built(ADMINS, make=check, **EVERYTHING)["metadata"]["labels"]
        assert labels["tftraining.dev/job-uid"] == UID
        assert labels["tftraining.dev/role"] == labels["app.kubernetes.io/component"] == "check"
        assert not {"tftraining.dev/job-name", "tftraining.dev/attempt", "tftraining.dev/index"} & labels.keys()

    def test_has_an_end_and_stays_in_what_a_quota_on_limits_takes(self) -> None:
        made = built(make=check, resources={"cpuLimit": 2})
        assert made["spec"]["activeDeadlineSeconds"] == 1800
        assert container(made, contract.FETCH)["resources"] == {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},
        }
