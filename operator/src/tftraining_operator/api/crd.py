"""The custom resource definition, generated: `python -m tftraining_operator.api.crd` prints it."""

from __future__ import annotations

import sys
from typing import Any

import yaml

from tftraining_operator.api import GROUP, KIND, PLURAL, VERSION, creation
from tftraining_operator.api.schema import structural
from tftraining_operator.api.spec import Spec
from tftraining_operator.api.status import Phase, Status

HEADER = "# Generated from the models in operator/src/tftraining_operator/api: change those, then run `make generate`.\n"


def render() -> str:
    """Return the custom resource definition as YAML, the same bytes at every call."""
    return HEADER + yaml.safe_dump(definition(), sort_keys=False, allow_unicode=True, width=160)


def definition() -> dict[str, Any]:
    """Return the custom resource definition as an object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["tftj"],
                "categories": ["training"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": _schema()},
                }
            ],
        },
    }


def _columns() -> list[dict[str, Any]]:
    def column(name: str, path: str, kind: str = "string", **extra: Any) -> dict[str, Any]:
        return {"name": name, "type": kind, "jsonPath": path, **extra}

    return [
        column("Phase", ".status.phase", description="Where the job stands"),
        column(
            "Reason",
            ".status['failure','pending','restart','stop'].reason",
            description="Why it failed or starts again, what it is waiting for, or how it was stopped",
        ),
        column("Runtime", ".status.runtime", description="The runtime that the job uses"),
        column("GPUs", ".status.resources.gpus", "integer", description="GPUs that the job asks for"),
        column("Age", ".metadata.creationTimestamp", "date"),
        column("Attempt", ".status.attempt", "integer", priority=1),
        column("Node", ".status.pods[0].node", priority=1, description="The node that the script runs on"),
        column("Model", ".status.model.uri", priority=1, description="The newest SavedModel that the run published"),
    ]


def _schema() -> dict[str, Any]:
    status = structural(Status)
    # Tools that compare generations would take an object without a status for a healthy one before the operator has seen it.
    status["default"] = {"observedGeneration": -1, "phase": Phase.PENDING.value}
    return {
        "type": "object",
        "description": "A TFTrainingJob trains a TensorFlow model: it runs a Python script on a node and publishes what the script wrote.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "tftraining.dev/v1alpha1"},
            "kind": {"type": "string", "description": KIND},
            "metadata": {"type": "object"},
            "spec": structural(Spec),
            "status": status,
        },
        **creation.validations(),
    }


if __name__ == "__main__":
    sys.stdout.write(render())
