"""A real S3 server for the session; pods and jobs that use it."""

from __future__ import annotations

import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tftrainer.messages.contract import Plan, Script

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.integration.trainer.pods import Pod, StoreServer, running_gateway, running_store

SEAWEEDFS, VERSITYGW = "seaweedfs", "versitygw"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that is marked `every_store` once with each server (with the second as one of a `long` matrix), others with the first."""
    if "store_server" in metafunc.fixturenames:
        both = metafunc.definition.get_closest_marker("every_store")
        second = [pytest.param(VERSITYGW, marks=[pytest.mark.long] if both.kwargs.get("long") else [])] if both else []
        metafunc.parametrize("store_server", [SEAWEEDFS, *second], indirect=True, scope="session")


@pytest.fixture
def heard() -> Iterator[None]:
    """Programs started meanwhile hear signals, even where these tests themselves were started to ignore them: `nohup make test &`."""
    previous = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    """SeaweedFS on loopback, ended with the session."""
    with running_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    """VersityGW on loopback, ended with the session."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as server:
        yield server


@pytest.fixture(scope="session")
def store_server(request: pytest.FixtureRequest) -> StoreServer:
    """Return the S3 server of the test."""
    server: StoreServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def pod(tmp_path: Path, store_server: StoreServer) -> Pod:
    """Return a new pod with buckets of its own."""
    return Pod(tmp_path / "pod", store_server, store_server.new_bucket(), store_server.new_bucket())


@pytest.fixture
def plan() -> Plan:
    """Return a job whose script is `code/train.py` of the bucket."""
    return Plan(
        namespace="team", job="iris", uid=str(uuid.uuid4()), runtime="tf2", script=Script(name="train.py", uri="${bucket}/code/train.py")
    )
