"""The real operator, as a process, against a real API server without nodes, with a proxy between them that makes faults."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from control import Operator, Played, lasting_plane
from controlplane import ControlPlane
from faults import FaultProxy


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """Return a control plane with the custom resource definition, in which roles are aggregated."""
    yield from lasting_plane(controllers="clusterrole-aggregation-controller")


@pytest.fixture
def played(plane: ControlPlane) -> Iterator[Played]:
    """Return a fresh namespace, with the test in the kubelet's place; its jobs go, before an operator of all namespaces sees them."""
    played = Played(plane, f"test-{secrets.token_hex(3)}")
    played.create_namespace()
    yield played
    played.call("DELETE", played.jobs_path)


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[FaultProxy]:
    """Return the proxy that the operator speaks through."""
    with FaultProxy(plane) as proxy:
        yield proxy


@pytest.fixture
def operator(proxy: FaultProxy, played: Played, tmp_path: Path) -> Iterator[Operator]:
    """Return a running operator that watches the test's namespace."""
    with Operator(proxy, played.namespace, tmp_path) as operator:
        operator.start()
        yield operator
