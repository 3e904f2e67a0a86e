"""The real operator, as a process, against a real API server without nodes, with a proxy between them that makes faults."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from control import Operator, Played
from controlplane import ControlPlane, control_plane
from faults import FaultProxy
from localcluster.failure import ClusterError


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """Return a control plane with the custom resource definition."""
    try:
        with control_plane() as started:
            Played(started, "default").install_definition()
            yield started
    except ClusterError as error:
        pytest.skip(f"the control plane's programs are not built: {error}")


@pytest.fixture
def played(plane: ControlPlane) -> Played:
    """Return a fresh namespace, with the test in the kubelet's place."""
    played = Played(plane, f"test-{secrets.token_hex(3)}")
    played.create_namespace()
    return played


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
