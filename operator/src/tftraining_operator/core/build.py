"""The pod of a job, and the ConfigMap of its inline script: fixed in shape, so that nothing a user writes reaches a security field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from tftrainer import placeholders
from tftrainer.messages import contract

from tftraining_operator.api import API_VERSION, KIND
from tftraining_operator.api.quantities import amount
from tftraining_operator.api.spec import Spec, Variable
from tftraining_operator.core import names, pins
from tftraining_operator.core.attempts import members
from tftraining_operator.core.configuration import Configuration, Runtime, Toleration
from tftraining_operator.core.effective import SIDE_CPU, SIDE_REQUESTS, Effective, newer_fields, sizes, told
from tftraining_operator.core.records import JobRecord, Raw

USER: Final = 1000
"""uid and gid of all three containers: what one writes in the workspace the others can read."""
PUBLISH_SECONDS: Final = 30
"""Time for publishing after a stop: what the pod gets on top of the script's own grace period."""
WORKSPACE_SLACK: Final = 1.25
"""The launcher stops a script at the workspace's size; the kubelet's eviction, which loses the outputs, is only the backstop."""
_SIDE_SPACE: Final = "1Gi"
_SIDE_MEMORY: Final = "512Mi"
CHECK_SECONDS: Final = 1800
"""What a check may take, the pull of its image included."""
CHECK_GRACE_SECONDS: Final = 5
_OF_FETCH: Final = ("workspace", "state", "tmp-fetch", "inline")
"""The volumes that `fetch` mounts."""
ARCHITECTURE: Final = "kubernetes.io/arch"
"""Label of nodes that says for which processors they are."""
_OF_IMAGES: Final = (ARCHITECTURE, "kubernetes.io/os")
"""Labels of nodes that say which images run there."""
PORT: Final = 2222
"""The port of `TF_CONFIG` on which replicas hear each other, as everywhere that TensorFlow's clusters are made for."""
_QUEUE: Final = "kueue.x-k8s.io/"
"""What labels and annotations of Kueue begin with."""
THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)
"""Variables by which libraries choose the number of threads that compute; left alone, they take one for each CPU of the node."""
_LEAST_LOADING_MEMORY: Final = "1Gi"
_CLAIM: Final = "devices"
"""How a pod calls its claim of devices."""


class BuildError(ValueError):
    """A spec from which no pod can be made. The text names the field, its value and what was expected."""


def beside(job: JobRecord, spec: Spec, attempt: int) -> tuple[Raw, ...]:
    """Return what the pods of an attempt need before there are any, in the order in which it is created."""
    made = (service(job) if len(members(job.spec)) > 1 else None, configmap(job, spec, attempt))
    return tuple(each for each in made if each is not None)


def service(job: JobRecord) -> Raw:
    """Return the headless Service that gives the pods of all attempts names, also before their containers are ready: they wait for it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names.service_name(job.key.name, job.uid),
            "namespace": job.key.namespace,
            "labels": names.service_labels(job.key.name, job.uid),
            "ownerReferences": _owner(job),
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": names.selector(job.uid),
            "ports": [{"name": "tensorflow", "port": PORT, "protocol": "TCP"}],
        },
    }


def configmap(job: JobRecord, spec: Spec, attempt: int) -> Raw | None:
    """Return the ConfigMap of an inline script with the script's digest in place of its text, None for a script that lies elsewhere."""
    if spec.script.inline is None or spec.script.name is None:
        return None
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.script_name(job.key.name, job.uid, attempt),
            "namespace": job.key.namespace,
            "labels": names.labels(job.key.name, job.uid, names.CHIEF, 0, attempt),
            "ownerReferences": _owner(job),
        },
        "immutable": True,
        "data": {spec.script.name: spec.script.inline},
    }


def pod(job: JobRecord, wanted: Effective, configuration: Configuration, attempt: int, index: int = 0, *, new: bool = True) -> Raw:
    """Return the pod of one replica, that of the role of `wanted` with this index.

    Of a job that is not `new`, what URIs hold beside known placeholders is taken as it is written.

    Raises:
        BuildError: the spec holds something that only shows when it is put together, such as an unknown placeholder.

    """
    plan = _plan(job, wanted, configuration, attempt, index, new=new)
    encoded = _encoded(plan)
    name = names.pod_name(job.key.name, wanted.role, index, attempt)
    return _made(
        job,
        name,
        {**wanted.runtime.labels, **wanted.place.labels, **names.labels(job.key.name, job.uid, wanted.role, index, attempt)},
        {**wanted.runtime.annotations, **wanted.place.annotations}
        | {
            "kubectl.kubernetes.io/default-container": contract.TRAINER,
            names.DEADLINE: str(wanted.active_seconds_left or "none"),
        }
        | ({names.EARLIER: str(wanted.ran_seconds)} if wanted.ran_seconds else {})
        | ({names.CHECKED_WITH: wanted.runtime.image} if plan.checked_before else {})
        | ({names.RESOURCES: told(wanted)} if wanted.spec.resource_class is not None else {}),
        {
            "terminationGracePeriodSeconds": wanted.grace_seconds + PUBLISH_SECONDS,
            **({"hostname": name, "subdomain": names.service_name(job.key.name, job.uid)} if plan.peers else {}),
            **_placement(wanted.runtime, wanted.node_selector, wanted.tolerations),
            **({"priorityClassName": priority} if (priority := wanted.spec.scheduling.priority_class_name) else {}),
            **_claims(wanted),
            "initContainers": [_fetch(wanted, encoded)],
            "containers": [_trainer(wanted, plan, encoded), _publisher(wanted, encoded, configuration.reports_url)],
            "volumes": [*_volumes(job, wanted, attempt), *([_reports_token()] if configuration.reports_url else [])],
        },
    )


def workload(
    job: JobRecord,
    replicas: Sequence[tuple[str, Effective]],
    configuration: Configuration,
    attempt: int,
    *,
    priority: int,
    active: bool,
    new: bool,
) -> Raw:
    """Return the Workload of Kueue by which an attempt waits for its place: the pods of each role with what they ask for, all or none.

    What queues do not count, as variables and volumes, is left out: whoever may read Workloads need not read a job's plan.

    Raises:
        BuildError: no pod can be made of the spec.

    """
    counts = Counter(role for role, _ in replicas)
    named = replicas[0][1].spec.scheduling
    reference = {"group": "scheduling.k8s.io", "kind": "PriorityClass", "name": named.priority_class_name}
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {
            "name": names.workload_name(job.key.name, job.uid, attempt),
            "namespace": job.key.namespace,
            "labels": names.workload_labels(job.key.name, job.uid, attempt),
            "ownerReferences": _owner(job),
        },
        "spec": {
            "active": active,
            "queueName": named.queue,
            "priority": priority,
            **({"priorityClassRef": reference} if named.priority_class_name is not None else {}),
            "podSets": [
                {"name": role, "count": counts[role], "template": _counted(pod(job, wanted, configuration, attempt, new=new))}
                for role, wanted in dict(replicas).items()
            ],
        },
    }


def _counted(pod: Raw) -> dict[str, Any]:
    """Return of a pod what a queue counts and what decides where it can run."""
    spec = pod["spec"]
    containers = {
        kind: [{field: each[field] for field in ("name", "image", "resources")} for each in spec[kind]]
        for kind in ("initContainers", "containers")
    }
    rest = ("nodeSelector", "tolerations", "priorityClassName", "resourceClaims", "restartPolicy")
    return {"spec": {**containers, **{field: spec[field] for field in rest if field in spec}}}


def check(job: JobRecord, wanted: Effective, configuration: Configuration, attempt: int, *, new: bool = True) -> Raw:
    """Return the pod that checks a job while its attempt waits: that attempt's `fetch`, without what it cannot start without.

    It needs the ConfigMap of the attempt's inline script.

    Raises:
        BuildError: as of `pod`.

    """
    plan = msgspec.structs.replace(_plan(job, wanted, configuration, attempt, new=new), check_only=True, peers={})
    runtime = wanted.runtime
    # A queue that holds the job back would hold back its check.
    labels, annotations = (
        {key: value for key, value in every.items() if not key.startswith(_QUEUE)} for every in (runtime.labels, runtime.annotations)
    )
    # Neither the nodes that are kept for GPUs nor those that have them: but the image must be one for the node.
    anywhere = {key: wanted.node_selector[key] for key in _OF_IMAGES if key in wanted.node_selector}
    volumes = [each for each in _volumes(job, wanted, attempt) if each["name"] in _OF_FETCH]
    return _made(
        job,
        names.check_name(job.key.name, job.uid),
        labels | names.check_labels(job.uid),
        annotations | {names.CHECKED_WITH: runtime.image},
        {
            "terminationGracePeriodSeconds": CHECK_GRACE_SECONDS,
            "activeDeadlineSeconds": CHECK_SECONDS,
            **_placement(runtime, anywhere),
            "containers": [_fetch(wanted, _encoded(plan), contract.CHECK_CONTRACT)],
            "volumes": volumes,
        },
    )


def _encoded(plan: contract.Plan) -> str:
    for number, argument in enumerate(plan.args):
        _resolved(argument, plan, f"spec.args[{number}]")
    try:
        return contract.encode_plan(plan)
    except contract.ContractError as error:
        raise BuildError(f"spec is too large: {error}") from error


def _made(job: JobRecord, name: str, labels: Mapping[str, str], annotations: Mapping[str, str], rest: Mapping[str, Any]) -> Raw:
    """Return a pod of a job; `rest` is what of its spec all pods do not have in common."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": job.key.namespace,
            "labels": labels,
            "annotations": {**annotations, names.JOB: job.key.name},
            "ownerReferences": _owner(job),
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **rest,
        },
    }


def _plan(job: JobRecord, wanted: Effective, configuration: Configuration, attempt: int, index: int = 0, *, new: bool) -> contract.Plan:
    try:
        return placeholders.in_uris(_verbatim(job, wanted, configuration, attempt, index), strict=new)
    except placeholders.PlaceholderError as error:
        raise BuildError(str(error)) from error


def _place(job: JobRecord, wanted: Effective, attempt: int, index: int) -> dict[str, Any]:
    """Return the fields of a plan that say which of several replicas a pod is, and where the others are; none where it is alone.

    Each attempt has names of its own: no address of an earlier one is ever taken for that of a peer. They are as short as the first of
    a pod's search domains takes them: with `.NAMESPACE.svc`, every look for one would ask two others before it.
    """
    expected, domain = members(job.spec), names.service_name(job.key.name, job.uid)
    if len(expected) == 1:
        return {}
    hosts = [(role, f"{names.pod_name(job.key.name, role, each, attempt)}.{domain}:{PORT}") for role, each in expected]
    peers = {role: tuple(host for each, host in hosts if each == role) for role, _ in hosts}
    plain_keras = contract.OTHER_KERAS.isdisjoint(variable.name for variable in wanted.spec.env)
    return {"role": wanted.role, "index": index, "peers": peers, "peers_seconds": wanted.pending_seconds, "plain_keras": plain_keras}


def _verbatim(job: JobRecord, wanted: Effective, configuration: Configuration, attempt: int, index: int) -> contract.Plan:
    spec = wanted.spec
    archive = spec.dependencies.archive
    script = spec.script
    return contract.Plan(
        namespace=job.key.namespace,
        job=job.key.name,
        uid=job.uid,
        runtime=wanted.runtime_name,
        script=contract.Script(
            name=script.name or script.path or "",
            uri=script.uri,
            # Of an inline script too: whoever may create ConfigMaps could have put another one into its place.
            sha256=script.sha256 or (job.inline.sha256 if job.inline is not None else None),
            path=script.path,
            module=script.module,
        ),
        attempt=attempt,
        **_place(job, wanted, attempt, index),
        image=wanted.runtime.image,
        archive=contract.Reference(uri=archive.uri, sha256=archive.sha256) if archive else None,
        files=tuple(contract.Reference(uri=file.uri, sha256=file.sha256, into=file.into or "") for file in spec.dependencies.files),
        requirements=spec.dependencies.requirements,
        package_index=configuration.package_index.url if spec.dependencies.requirements else "",
        inputs=tuple(contract.Input(name=entry.name, uri=entry.uri) for entry in spec.inputs),
        outputs=tuple(contract.Output(path=entry.path, on_conflict=entry.on_conflict) for entry in spec.outputs),
        args=spec.args,
        addresses=tuple(
            contract.Variable(name=each.name, value=each.value) for each in spec.env if each.value.startswith(contract.S3_SCHEMES)
        ),
        secret_variables=tuple(variable.name for variable in spec.env if variable.value_from is not None),
        grace_seconds=wanted.grace_seconds,
        publish_seconds=PUBLISH_SECONDS,
        active_deadline_seconds=wanted.active_seconds_left,
        inactivity_seconds=spec.inactivity_seconds,
        on_inactivity=spec.on_inactivity or contract.OnInactivity.FAIL,
        workspace_bytes=wanted.workspace_bytes,
        shared_memory_bytes=amount(wanted.shared_memory),
        gpus=wanted.gpus,
        implicit_fetch_bytes=configuration.implicit_fetch_bytes,
        kept_bytes=amount(configuration.outputs.keep_outside_bucket),
        pins=pins.for_plan(job.status),
        model=contract.WantedModel(path=spec.model.path, required=spec.model.required) if spec.model else None,
        checkpoints=_checkpoints(spec),
        checked_before=wanted.preflight.covers(gpus=wanted.gpus),
    )


def _placement(runtime: Runtime, selector: Mapping[str, str], tolerations: Sequence[Toleration] = ()) -> dict[str, Any]:
    placement: dict[str, Any] = {}
    if selector:
        placement["nodeSelector"] = dict(selector)
    if tolerations:
        placement["tolerations"] = [toleration.model_dump(exclude_defaults=True) for toleration in tolerations]
    if runtime.image_pull_secrets:
        placement["imagePullSecrets"] = [{"name": name} for name in runtime.image_pull_secrets]
    return placement


def _claims(wanted: Effective) -> dict[str, Any]:
    template = wanted.claim_template
    return {"resourceClaims": [{"name": _CLAIM, "resourceClaimTemplateName": template}]} if template else {}


def _container(name: str, command: Sequence[str], runtime: Runtime, **rest: Any) -> dict[str, Any]:
    return {
        "name": name,
        "image": runtime.image,
        "imagePullPolicy": runtime.image_pull_policy,
        # -I keeps the user's files and variables away from our own start-up.
        "command": ["python3", "-I", "-m", "tftrainer", *command],
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        **rest,
    }


def _fetch(wanted: Effective, plan: str, needs: int = 1) -> dict[str, Any]:
    """Return the container that fetches; `needs` is what the image has to know beside what the spec demands."""
    credentials = _credentials(contract.STORAGE_PREFIX, wanted.storage_secret)
    if wanted.uses_datasets:
        credentials += _credentials(contract.DATASETS_PREFIX, wanted.datasets_secret)
    mounts = [_mount("workspace", contract.WORKSPACE), _mount("state", contract.STATE), _mount("tmp-fetch", "/tmp")]  # noqa: S108
    if wanted.spec.script.inline is not None:
        mounts.append(_mount("inline", contract.INLINE_FOLDER, read_only=True))
    needs = max([needs, *(each.contract for each in newer_fields(wanted.spec))])
    return _container(
        contract.FETCH,
        ["fetch", *([f"{contract.CONTRACT_OPTION}{needs}"] if needs > 1 else [])],
        wanted.runtime,
        env=[*_own_environment(plan, devices=False), *credentials],
        resources=_side_resources(wanted),
        volumeMounts=mounts,
    )


def _trainer(wanted: Effective, plan: contract.Plan, encoded: str) -> dict[str, Any]:
    devices = {name: str(count) for name, count in wanted.devices.items()}
    own = [*_own_environment(encoded, devices=bool(devices)), *_threads(wanted)]
    limit = {"cpu": wanted.cpu_limit} if wanted.cpu_limit else {}
    users = [_variable(variable, plan) for variable in wanted.spec.env]
    taken = {variable["name"] for variable in users}
    return _container(
        contract.TRAINER,
        ["run"],
        wanted.runtime,
        env=[*(variable for variable in own if variable["name"] not in taken), *users],
        resources={
            "requests": {"cpu": wanted.cpu, "memory": wanted.memory, **devices},
            "limits": {**limit, "memory": wanted.memory, **devices},
            **({"claims": [{"name": _CLAIM}]} if wanted.claim_template else {}),
        },
        volumeMounts=[
            _mount("workspace", contract.WORKSPACE),
            _mount("workspace", contract.DATASETS, read_only=True, folder="datasets"),
            _mount("workspace", contract.INPUTS, read_only=True, folder="inputs"),
            # Read-only, so that user code cannot forge what fetch found; a lock can be held on it all the same.
            _mount("state", contract.STATE, read_only=True),
            _mount("tmp-trainer", "/tmp"),  # noqa: S108
            _mount("shm", "/dev/shm"),  # noqa: S108
        ],
    )


def _variable(variable: Variable, plan: contract.Plan) -> dict[str, Any]:
    """Return one of the script's variables; what comes from a Secret only the kubelet ever reads."""
    if variable.value_from is None:
        return {"name": variable.name, "value": _literal(_resolved(variable.value, plan, f"spec.env[{variable.name}]"))}
    source = variable.value_from.secret_key_ref
    optional = {"optional": True} if source.optional else {}
    return {"name": variable.name, "valueFrom": {"secretKeyRef": {"name": source.name, "key": source.key} | optional}}


def _publisher(wanted: Effective, plan: str, reports_url: str) -> dict[str, Any]:
    reports = [{"name": contract.REPORTS_VARIABLE, "value": reports_url}] if reports_url else []
    return _container(
        contract.PUBLISHER,
        ["publish"],
        wanted.runtime,
        env=[
            *_own_environment(plan, devices=False),
            *reports,
            *_record(wanted),
            *_credentials(contract.STORAGE_PREFIX, wanted.storage_secret),
        ],
        resources=_side_resources(wanted, _loading_memory(wanted) if wanted.spec.model else _SIDE_MEMORY),
        volumeMounts=[
            _mount("workspace", contract.WORKSPACE),
            _mount("state", contract.STATE),
            _mount("tmp-publisher", "/tmp"),  # noqa: S108
            *([_mount("reports-token", contract.REPORTS_TOKEN_FOLDER, read_only=True)] if reports else []),
        ],
    )


def _record(wanted: Effective) -> list[dict[str, Any]]:
    """Return the variable with what the job is, complete with defaults, for the lock file that the publisher leaves."""
    spec: dict[str, Any] = wanted.spec.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    for will in ("suspend", "stop"):
        spec.pop(will, None)
    spec["script"].pop("inline", None)
    spec["runtime"] = wanted.runtime_name
    # What a class gave stands in its place: the record tells what ran, also when the catalogue has another class of that name.
    spec.pop("resourceClass", None)
    spec["resources"] = sizes(wanted)
    encoded = msgspec.json.encode(spec).decode()
    # As with the plan, one variable holds no more; what is left out is a record, and nothing depends on it.
    return [{"name": contract.SPEC_VARIABLE, "value": _literal(encoded)}] if len(encoded.encode()) <= contract.PLAN_LIMIT else []


def _own_environment(plan: str, *, devices: bool) -> list[dict[str, Any]]:
    # Images made for GPUs ask for all of a node's by default, also in containers that were given none. Those of a claim come by CDI.
    none = [] if devices else [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}]
    return [
        {"name": contract.PLAN_VARIABLE, "value": _literal(plan)},
        {"name": "HOME", "value": "/tmp"},  # noqa: S108
        {"name": "MPLCONFIGDIR", "value": "/tmp/matplotlib"},  # noqa: S108
        {"name": "PYTHONUNBUFFERED", "value": "1"},
        *none,
    ]


def _resolved(value: str, plan: contract.Plan, field: str) -> str:
    try:
        return placeholders.resolve(value, plan)
    except ValueError as error:
        raise BuildError(f"{field}: {error}") from error


def _literal(value: str) -> str:
    """Keep the kubelet from expanding `$(NAME)` in a value: a doubled dollar is one."""
    return value.replace("$", "$$")


def _credentials(prefix: str, secret: str) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{prefix}{end}",
            "valueFrom": {
                "secretKeyRef": {"name": secret, "key": key} | ({"optional": True} if key in contract.OPTIONAL_CREDENTIAL_KEYS else {})
            },
        }
        for key, end in contract.CREDENTIAL_KEYS.items()
    ]


def _mount(volume: str, path: str, *, read_only: bool = False, folder: str = "") -> dict[str, Any]:
    mount: dict[str, Any] = {"name": volume, "mountPath": path}
    if folder:
        mount["subPath"] = folder
    if read_only:
        mount["readOnly"] = True
    return mount


def _volumes(job: JobRecord, wanted: Effective, attempt: int) -> list[dict[str, Any]]:
    space = str(int(wanted.workspace_bytes * WORKSPACE_SLACK))
    volumes: list[dict[str, Any]] = [
        {"name": "workspace", "emptyDir": {"sizeLimit": space}},
        {"name": "state", "emptyDir": {"sizeLimit": _SIDE_SPACE}},
        {"name": "tmp-fetch", "emptyDir": {"sizeLimit": _SIDE_SPACE}},
        {"name": "tmp-trainer", "emptyDir": {"sizeLimit": space}},
        {"name": "tmp-publisher", "emptyDir": {"sizeLimit": _SIDE_SPACE}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": wanted.shared_memory}},
    ]
    if wanted.spec.script.inline is not None:
        volumes.append({"name": "inline", "configMap": {"name": names.script_name(job.key.name, job.uid, attempt)}})
    return volumes


def _reports_token() -> dict[str, Any]:
    """Return the volume with the token by which the operator knows whose report it gets; no container but the publisher mounts it."""
    token = {"audience": contract.REPORTS_AUDIENCE, "expirationSeconds": 3600, "path": contract.REPORTS_TOKEN_NAME}
    return {"name": "reports-token", "projected": {"sources": [{"serviceAccountToken": token}]}}


def _owner(job: JobRecord) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": job.key.name,
            "uid": job.uid,
            "controller": True,
            # Blocking needs a right on the job's finalizers that clusters with a strict admission demand, and brings nothing here.
            "blockOwnerDeletion": False,
        }
    ]


def _checkpoints(spec: Spec) -> contract.WantedCheckpoints | None:
    wanted = spec.checkpoints
    return contract.WantedCheckpoints(path=wanted.path, interval_seconds=wanted.interval_seconds) if wanted else None


def _loading_memory(wanted: Effective) -> str:
    """Return what the publisher may take to load a model: what training it took, which is free by then, and room for TensorFlow."""
    return wanted.memory if amount(wanted.memory) > amount(_LEAST_LOADING_MEMORY) else _LEAST_LOADING_MEMORY


def _side_resources(wanted: Effective, memory: str = _SIDE_MEMORY) -> dict[str, Any]:
    cpu = {"cpu": SIDE_CPU} if wanted.cpu_limit else {}
    return {"requests": dict(SIDE_REQUESTS), "limits": {**cpu, "memory": memory}}


def _threads(wanted: Effective) -> list[dict[str, Any]]:
    """Return the variables that keep the script to as many threads as it may use CPUs; without a limit idle CPUs are to be used."""
    return [{"name": name, "value": str(amount(wanted.cpu_limit))} for name in THREADS] if wanted.cpu_limit else []
