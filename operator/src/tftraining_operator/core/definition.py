"""Whether the definition that the API server serves is the one that this operator was made with: its fields, as OpenAPI shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tftraining_operator.api import API_VERSION, GROUP, KIND, VERSION, crd
from tftraining_operator.core.observe import mapping, sequence

PATH: Final = f"/openapi/v3/apis/{GROUP}/{VERSION}"
"""Where the API server shows the schema; whoever is authenticated may read it, and the definition itself only an admin."""
_SHOWN: Final = 5
_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class Differences:
    """Fields by their paths: `missing` are those that only this operator knows, `unknown` those that only the definition has."""

    missing: tuple[str, ...]
    unknown: tuple[str, ...]


def compare(document: Mapping[str, Any]) -> Differences | None:
    """Return how the served definition differs; None where the OpenAPI document has none (yet)."""
    for schema in map(mapping, mapping(mapping(document.get("components")).get("schemas")).values()):
        kinds = map(mapping, sequence(schema.get("x-kubernetes-group-version-kind")))
        if any((kind.get("group"), kind.get("version"), kind.get("kind")) == (GROUP, VERSION, KIND) for kind in kinds):
            served, own = set(_fields(schema)), set(_fields(_own()))
            return Differences(tuple(sorted(own - served)), tuple(sorted(served - own)))
    return None


def outdated(missing: tuple[str, ...], deployment: str) -> str:
    """Return what to say where the definition lacks fields: what an operator writes into them would be lost.

    `deployment` is the operator's own, as kubectl takes it: `-n NAMESPACE deploy/NAME`.
    """
    return (
        f"the CustomResourceDefinition of {KIND} ({API_VERSION}) in the cluster is older than this operator and lacks {_list(missing)}: "
        f"upgrade it, {_by(deployment)}; until then it waits"
    )


def narrower(missing: tuple[str, ...], deployment: str) -> str:
    """Return what to say where the definition lacks only fields of what users write: nothing that an operator writes is lost."""
    return (
        f"the CustomResourceDefinition of {KIND} ({API_VERSION}) in the cluster is older than this operator and lacks {_list(missing)}: "
        f"what jobs say there is dropped, all else works; upgrade it, {_by(deployment)}"
    )


def newer(unknown: tuple[str, ...]) -> str:
    """Return what to say where the definition has fields that this operator does not know."""
    return (
        f"the CustomResourceDefinition of {KIND} ({API_VERSION}) in the cluster is newer than this operator and has {_list(unknown)}: "
        "what jobs say there counts for nothing; upgrade the operator, by helm upgrade, or roll the definition back with it"
    )


def absent(deployment: str) -> str:
    """Return what to say where there is no definition."""
    return f"no CustomResourceDefinition of {KIND} ({API_VERSION}) is served: install it, {_by(deployment)}; until then the operator waits"


def _by(deployment: str) -> str:
    printed = f"kubectl exec {deployment} -- python3 -I -m tftraining_operator crd"
    return f"by helm upgrade with crds.enabled=true or, as an admin, by: {printed} | kubectl apply --server-side --force-conflicts -f -"


def _own() -> Mapping[str, Any]:
    [version] = crd.definition()["spec"]["versions"]
    return mapping(version["schema"]["openAPIV3Schema"])


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    for part in ("spec", "status"):
        yield from _below(mapping(mapping(schema.get("properties")).get(part)), part, _DEPTH)


def _below(schema: Mapping[str, Any], path: str, depth: int) -> Iterator[str]:
    if depth:
        for name, child in mapping(schema.get("properties")).items():
            yield f"{path}.{name}"
            yield from _below(mapping(child), f"{path}.{name}", depth - 1)
        yield from _below(mapping(schema.get("items")), f"{path}[]", depth - 1) if "items" in schema else ()


def _list(fields: tuple[str, ...]) -> str:
    more = f" and {len(fields) - _SHOWN} more fields" if len(fields) > _SHOWN else ""
    return f"{', '.join(fields[:_SHOWN])}{more}"
