"""The custom resource definition: generated, current, complete and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from tftraining_operator.api.crd import definition, render
from tftraining_operator.api.fields import Model
from tftraining_operator.api.schema import SchemaError, structural
from tftraining_operator.api.spec import MUTABLE, Spec
from tftraining_operator.api.status import Status

COMMITTED = Path(__file__).parents[4] / "crds" / "tftraining.dev_tftrainingjobs.yaml"
VERSION = definition()["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]["properties"]


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


EVERY = [entry for part in ("spec", "status") for entry in nodes(SCHEMA[part], part)]


def test_the_committed_definition_is_the_generated_one() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == render(), "run `make generate`"


def test_the_definition_fits_into_the_annotation_of_kubectl_apply() -> None:
    assert len(render().encode()) < 200_000


def test_generating_twice_gives_the_same_bytes() -> None:
    assert render() == render()
    assert yaml.safe_load(render()) == definition()


@pytest.mark.parametrize(("path", "node"), EVERY, ids=[path for path, _ in EVERY])
def test_every_node_is_typed_bounded_and_described(path: str, node: dict[str, Any]) -> None:
    assert "type" in node or node.get("x-kubernetes-int-or-string") is True
    if node.get("type") == "string" and "enum" not in node:
        assert "maxLength" in node
    if node.get("type") == "array":
        assert "maxItems" in node
        assert "x-kubernetes-list-type" in node
    if "additionalProperties" in node:
        assert "maxProperties" in node
    if not path.endswith(("[]", "{}")):
        assert len(node["description"]) > 10, path
    assert not {"$ref", "anyOf", "const", "title", "propertyNames", "x-persisted-default"} & set(node)


def test_every_field_that_may_be_left_out_says_what_then_holds_or_is_explained_by_its_absence() -> None:
    without = {"inline", "name", "sha256", "uri", "archive"}
    fields = [(path, node) for path, node in EVERY if path.startswith("spec.") and node.get("type") not in {"object", "array", "boolean"}]
    for path, node in fields:
        name = path.rpartition(".")[2]
        if not path.endswith(("[]", "{}")) and name not in without and "value" not in name:
            assert any(word in node["description"] for word in ("Default", "default", "Example", "Unique")), path


def test_defaults_that_are_stored_are_few_and_part_of_the_api() -> None:
    defaults = {path: node["default"] for path, node in EVERY if "default" in node}
    assert defaults == {
        **{f"spec.replicas.{role}.resources.gpus": 0 for role in ("chief", "worker", "ps", "evaluator")},
        "spec.resources": {},
        "spec.resources.gpus": 0,
        "spec.suspend": False,
        "status": {"observedGeneration": -1, "phase": "Pending"},
    }


def test_every_field_but_the_changeable_ones_has_a_rule_that_keeps_it() -> None:
    rules = SCHEMA["spec"]["x-kubernetes-validations"]
    kept = {rule["fieldPath"][1:] for rule in rules if "cannot be changed after creation" in rule["message"]}
    changeable = {Spec.model_fields[name].alias for name in MUTABLE}
    assert kept | changeable == set(SCHEMA["spec"]["properties"])
    assert not kept & changeable


def test_no_field_exists_that_does_not_work_yet() -> None:
    assert set(SCHEMA["spec"]["properties"]) == {
        "runtime", "script", "dependencies", "args", "env", "inputs", "outputs", "model", "checkpoints", "storage", "datasets", "resources",
        "resourceClass", "scheduling",
        "activeDeadlineSeconds", "pendingDeadlineSeconds", "inactivitySeconds", "onInactivity", "preflight", "retry", "suspend", "stop",
        "replicas", "successPolicy",
        "terminationGracePeriodSeconds", "podRetentionSeconds", "ttlSecondsAfterFinished", "managedBy",
    }  # fmt: skip
    assert set(SCHEMA["spec"]["properties"]["resources"]["properties"]) == {
        "cpu", "cpuLimit", "memory", "gpus", "gpuResource", "sharedMemory", "workspace",
    }  # fmt: skip
    assert set(SCHEMA["status"]["properties"]) == {
        "observedGeneration", "phase", "message", "attempt", "runtime", "startTime", "runningTime", "completionTime", "conditions", "pods",
        "resources",
        "attempts", "retries", "restart", "ending", "resolvedArgs", "code", "fetched", "notes", "pending", "preflight", "failure", "stop",
        "model", "replicas", "checkpoint", "outputs", "logs", "postMortem", "usage",
    }  # fmt: skip


def test_kubectl_get_shows_what_a_user_asks_first() -> None:
    columns = {column["name"]: column.get("priority", 0) for column in VERSION["additionalPrinterColumns"]}
    assert [name for name, priority in columns.items() if priority == 0] == ["Phase", "Reason", "Runtime", "GPUs", "Age"]
    assert [name for name, priority in columns.items() if priority == 1] == ["Attempt", "Node", "Model"]


class Union(Model):
    value: int | str


class FixedTuple(Model):
    value: tuple[int, str]


class Anything(Model):
    value: Any


@pytest.mark.parametrize("model", [Union, FixedTuple, Anything])
def test_a_model_that_no_structural_schema_can_express_is_refused_with_its_place(model: type[BaseModel]) -> None:
    with pytest.raises(SchemaError, match=rf"{model.__name__}\.value"):
        structural(model)


def test_an_optional_field_is_one_that_is_not_required() -> None:
    assert structural(Status).get("required") is None
    assert structural(Spec)["required"] == ["script"]
