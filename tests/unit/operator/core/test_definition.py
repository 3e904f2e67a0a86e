"""A definition is judged by its fields: one that lacks some would lose what is written there."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tftraining_operator.api import crd
from tftraining_operator.core import definition

KIND = {"group": "tftraining.dev", "version": "v1alpha1", "kind": "TFTrainingJob"}


def document() -> dict[str, Any]:
    """Return what a server shows of the definition that this operator prints."""
    schema = copy.deepcopy(crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    other = {"x-kubernetes-group-version-kind": [{**KIND, "kind": "TFTrainingJobList"}]}
    return {"components": {"schemas": {"list": other, "job": {**schema, "x-kubernetes-group-version-kind": [KIND]}}}}


def properties(served: dict[str, Any], part: str) -> dict[str, Any]:
    return dict_of(served["components"]["schemas"]["job"]["properties"][part]["properties"])


def dict_of(value: Any) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def test_the_operators_own_definition_differs_in_nothing() -> None:
    assert definition.compare(document()) == definition.Differences((), ())


def test_an_older_definition_lacks_fields_at_any_depth() -> None:
    served = document()
    del properties(served, "status")["attempt"]
    del dict_of(properties(served, "spec")["inputs"]["items"]["properties"])["uri"]
    found = definition.compare(served)
    assert found == definition.Differences(("spec.inputs[].uri", "status.attempt"), ())
    said = definition.outdated(("spec.inputs[].uri", "status.attempt"), "-n x deploy/y")
    assert "older than this operator and lacks spec.inputs[].uri, status.attempt" in said
    assert "kubectl exec -n x deploy/y -- python3 -I -m tftraining_operator crd | kubectl apply --server-side" in said


def test_a_newer_definition_has_fields_that_the_operator_does_not_know() -> None:
    served = document()
    properties(served, "spec")["market"] = {"type": "object", "properties": {"spot": {"type": "integer"}}}
    assert definition.compare(served) == definition.Differences((), ("spec.market", "spec.market.spot"))


def test_of_many_fields_some_are_named() -> None:
    assert definition.newer(tuple("abcdefg")).partition(" has ")[2].startswith("a, b, c, d, e and 2 more fields: ")


@pytest.mark.parametrize("served", [{}, {"components": 3}, {"components": {"schemas": {"x": None, "y": {"properties": 1}}}}])
def test_a_document_without_the_definition_says_nothing_of_it(served: dict[str, Any]) -> None:
    assert definition.compare(served) is None


def test_a_definition_that_goes_round_in_a_circle_is_read_to_an_end() -> None:
    served = document()
    circle: dict[str, Any] = {"type": "object"}
    circle["properties"] = {"again": circle}
    properties(served, "spec")["circle"] = circle
    found = definition.compare(served)
    assert found is not None
    assert "spec.circle.again" in found.unknown
